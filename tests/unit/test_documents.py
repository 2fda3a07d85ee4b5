"""What the documents say of the code, held against the code."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from entrypoint import parse

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OF_OTHERS = {
    "Bad LZO decompression header byte": "openvpn",
    "Error in the certificate": "openconnect",
    "Failed to complete authentication": "openconnect",
    "User input required in non-interactive mode": "openconnect",
    "dependency failed to start": "docker compose",
    "error gathering device information": "docker",
}
"""Messages of the table that another program says -> which one."""
_CODE = ("entrypoint", "healthcheck")
_CELL_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_TEST = re.compile(r"\btest_\w+(?:\.py)?")


def messages_of_troubleshooting() -> list[str]:
    """Return what the first columns of the page's tables quote, a part for each pair of backticks."""
    lines = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    return [quoted for row in rows for quoted in _CELL_CODE.findall(row.split("|")[1])]


def code() -> str:
    """Return the source with its string literals joined as the compiler joins them."""
    texts = [path.read_text(encoding="utf-8") for name in _CODE for path in (ROOT / name).rglob("*.py")]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(texts))


def as_written(message: str) -> re.Pattern[str]:
    """Match a message with its values, or with the expressions that the source has for them."""
    words = [re.escape(word) for word in message.split(" ")]
    value = r"\{[^{}]*\}"
    return re.compile(r"\s".join(rf"(?:{word}|{value})" for word in words))


def names_of_tests() -> set[str]:
    """Return every test function and every test file."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    functions = (re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8")) for path in files)
    return {name for found in functions for name in found} | {path.name for path in files}


def missing_links(document: Path) -> list[str]:
    """Return the relative links that lead nowhere."""
    links = _LINK.findall(document.read_text(encoding="utf-8"))
    return [link for link in links if ":" not in link and not (document.parent / link).exists()]


def unknown_tests(texts: Iterable[str]) -> set[str]:
    """Return the tests that are named and not there."""
    known = names_of_tests()
    named = {name for text in texts for name in _TEST.findall(text)}
    return {name for name in named if name not in known and f"{name}.py" not in known}


def test_the_table_of_messages_is_read() -> None:
    """The tests below would hold of an empty table, too."""
    assert "lost its tunnel and does not know it" in messages_of_troubleshooting()
    assert len(messages_of_troubleshooting()) >= 10
    assert DOCUMENTS


@pytest.mark.parametrize("message", [m for m in messages_of_troubleshooting() if m not in OF_OTHERS])
def test_a_message_that_is_explained_is_one_that_the_code_says(message: str) -> None:
    """Who has the message before him looks for it word by word."""
    assert as_written(message).search(code()), f"no source says {message!r}"


@pytest.mark.parametrize("message", OF_OTHERS)
def test_a_message_of_another_program_is_explained_and_not_ours(message: str) -> None:
    """The list of exceptions holds no more than it needs."""
    assert message in messages_of_troubleshooting()
    assert not as_written(message).search(code())


def test_a_message_that_no_source_says_is_found_out() -> None:
    """The search is not so lenient that anything passes: a value stands for one word."""
    for nonsense in (
        "cannot find the gatweay of eth0",
        "brought up two tunnels within",
        "no such text at all",
    ):
        assert not as_written(nonsense).search(code())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    """A page that was moved takes its links along."""
    assert missing_links(document) == []


def test_every_test_that_a_document_names_is_there() -> None:
    """A promise without its test would be an advertisement."""
    assert unknown_tests(path.read_text(encoding="utf-8") for path in DOCUMENTS) == set()


def test_a_test_that_is_not_there_is_found_out() -> None:
    """By function and by file; what is there is known by both."""
    told = ["see test_nothing_of_this_name and tests/unit/test_nowhere.py, but test_documents.py is here"]
    assert unknown_tests(told) == {"test_nothing_of_this_name", "test_nowhere.py"}


def test_the_hook_for_docker_run_reaches_the_hook_as_it_is_meant() -> None:
    """The host's shell leaves it alone, and it is taken apart into a shell and what that shell is to do."""
    (word,) = re.findall(r"`-e ('ON_UP=[^`]+')`", (ROOT / "README.md").read_text(encoding="utf-8"))
    given = subprocess.run(["sh", "-c", f"printf %s {word}"], capture_output=True, text=True, check=True)
    name, _, value = given.stdout.partition("=")
    assert name == "ON_UP"
    assert parse.command(value) == ("sh", "-c", "echo $SIDEGATE_ADDRESSES >/tmp/vpn")


def test_every_room_is_described() -> None:
    """Each module of the entrypoint and each folder of tests, and no file that is there no more."""
    told = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / "entrypoint").glob("*.py")} - {"__init__.py"}
    folders = {f"tests/{path.parent.name}/" for path in (ROOT / "tests").glob("*/__init__.py")}
    rooms = {
        quoted for line in told.splitlines() if line.startswith("|") for quoted in _CELL_CODE.findall(line)
    }
    assert (modules | folders) - rooms == set()
    of_ours = {room for room in rooms if room.endswith(".py") and "/" not in room}
    known = {path.name for folder in (*_CODE, "tests", "bench") for path in (ROOT / folder).rglob("*.py")}
    assert of_ours - known == set()
