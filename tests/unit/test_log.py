import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from entrypoint import log
from entrypoint.settings import load

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"  # noqa: S105 - of nobody


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Put the root logger back as pytest had it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return what stands on standard output."""
    return capfd.readouterr().out.splitlines()


def set_up(**environ: str) -> logging.Logger:
    """Set the log up from an environment; gives a logger of ours."""
    log.set_up(load(environ)[0])
    return logging.getLogger("entrypoint.test")


def test_a_line_of_text_is_time_level_and_message(capfd: pytest.CaptureFixture[str]) -> None:
    """The time in UTC to the millisecond, on standard output where Docker looks."""
    set_up().warning("%d rules", 2)
    (line,) = lines(capfd)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning 2 rules", line)


def test_a_line_of_json_holds_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    """One object a line, also with a traceback in the message."""
    logger = set_up(LOG_FORMAT="json")
    try:
        int("first\nsecond")
    except ValueError:
        logger.exception("cannot go on")
    (line,) = lines(capfd)
    entry = json.loads(line)
    assert list(entry) == ["time", "level", "message"]
    assert entry["level"] == "error"
    assert entry["message"].startswith("cannot go on\nTraceback ")
    assert entry["message"].endswith(r"'first\nsecond'")


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_says_what_is_told(level: str, told: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """From that one upwards."""
    logger = set_up(LOG_LEVEL=level)
    for each in ("debug", "info", "warning", "error"):
        getattr(logger, each)(each)
    assert [line.split()[-1] for line in lines(capfd)] == told


def test_the_libraries_chatter_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    """A server's "Uvicorn running on" is no event of ours; its warnings are told."""
    set_up()
    logging.getLogger("uvicorn.error").info("running")
    logging.getLogger("asyncio").warning("slow")
    assert [line.split()[-1] for line in lines(capfd)] == ["slow"]


def fail_twice() -> None:
    """Raise an error that has another for its cause; both texts hold the password."""
    try:
        raise OSError(f"refused {PASSWORD}\nfor {PASSWORD}")  # noqa: TRY301 - the cause
    except OSError as error:
        raise ValueError(f"{PASSWORD} again") from error


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_secret_is_blacked_out_wherever_it_stands(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    """In the message, in its arguments, and in each line of a traceback with its cause."""
    logger = set_up(VPN_PASSWORD=PASSWORD, LOG_FORMAT=form)
    try:
        fail_twice()
    except ValueError:
        logger.exception("sent: %s", {"password": PASSWORD})
    out = "\n".join(lines(capfd))
    assert out.count(log.REDACTED) == 4
    assert PASSWORD not in out
    assert "Traceback" in out


def test_a_secret_that_begins_with_another_is_blacked_out_whole(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A rotated password often only grew: its rest would tell most of it."""
    held = tmp_path / "password"
    held.write_text("spring")
    logger = set_up(VPN_PASSWORD_FILE=str(held))
    logger.info("sent spring")
    held.write_text("spring-4711")
    logger.info("sent spring-4711 and not spring")
    assert [line.split(" ", 3)[3] for line in lines(capfd)] == ["  sent ***", "  sent *** and not ***"]


def test_a_user_name_is_no_secret(capfd: pytest.CaptureFixture[str]) -> None:
    """One called "openvpn" or "info" would black out the log."""
    set_up(VPN_USERNAME="openvpn", VPN_PASSWORD=PASSWORD).info("openvpn: %s", PASSWORD)
    assert lines(capfd)[0].endswith("openvpn: ***")


def test_a_rotated_secret_is_blacked_out_as_well(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What stands in the file now is the secret; a file that is gone stops no line."""
    held = tmp_path / "password"
    held.write_text("first-secret")
    logger = set_up(VPN_PASSWORD_FILE=str(held))
    held.write_text("second-secret\n")
    logger.info("with second-secret")
    held.unlink()
    logger.info("without")
    assert [line.split(" ", 2)[2].strip() for line in lines(capfd)] == ["with ***", "without"]


def test_a_short_secret_is_no_secret(capfd: pytest.CaptureFixture[str]) -> None:
    """A password of one letter would black out half of the log."""
    set_up(VPN_PASSWORD="e").info("the rule")  # noqa: S106 - of nobody
    assert lines(capfd)[0].endswith("the rule")


@given(
    st.lists(st.text("abc", min_size=4, max_size=8), min_size=1, max_size=3),
    st.text("abc", max_size=20),
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_secret_is_left_in_any_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], secrets: list[str], message: str
) -> None:
    """Whatever the values of a rotated secret share, none stands in the line afterwards."""
    held = tmp_path / "password"
    held.write_text("some-other")
    logger = set_up(VPN_PASSWORD_FILE=str(held))
    for secret in secrets:
        held.write_text(secret)
        logger.info("rotated")
    lines(capfd)
    logger.info("%s", message.join(["", *secrets, ""]))
    (line,) = lines(capfd)
    assert not [secret for secret in secrets if secret in line]


def test_setting_up_again_does_not_double_the_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """Each line is told once."""
    loaded, _ = load({})
    log.set_up(loaded)
    log.set_up(replace(loaded, log_level="warning"))
    logging.getLogger("entrypoint").warning("once")
    assert len(lines(capfd)) == 1


@pytest.mark.parametrize(("error", "code"), [("BadSettings", 78), ("RuntimeError", 70)])
def test_what_ends_the_program_shows_no_secret(error: str, code: int) -> None:
    """Neither a fault's text nor a traceback, which go to standard error past the log."""
    program = f"""
import sys
sys.argv = ["sidegate", "run"]
import entrypoint.__main__ as program
from entrypoint.faults import BadSettings

async def run(settings, warnings):
    raise {error}("cannot go on with " + settings.vpn_password.reveal())

program.run = run
sys.exit(program.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"VPN_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert f"cannot go on with {log.REDACTED}" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("environ", "as_json"),
    [
        ({"LOG_FORMAT": "json", "VPN_CLIENT": "x"}, True),
        ({"VPN_CLIENT": "x"}, False),
        ({"LOG_FORMAT": "jsn"}, False),
    ],
)
def test_why_the_program_ends_is_told_in_the_logs_format(environ: dict[str, str], *, as_json: bool) -> None:
    """Whoever reads JSON reads the last line, too, be it that the settings could not be read."""
    done = subprocess.run(
        [sys.executable, "-m", "entrypoint"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    told = done.stderr.splitlines()
    assert told
    if as_json:
        entries = [json.loads(line) for line in told]
        assert {entry["level"] for entry in entries} == {"error"}
        assert entries[0]["message"].startswith("VPN_CLIENT='x' is not known")
    else:
        assert all(line.startswith("sidegate: ") for line in told)


def test_a_secrets_file_is_read_once_for_a_thousand_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And anew once it has changed."""
    held = tmp_path / "password"
    held.write_text(PASSWORD)
    logger = set_up(VPN_PASSWORD_FILE=str(held))
    reads: list[object] = []
    opened = os.open

    def noted(file: str | Path, *given: int) -> int:
        if file == held:
            reads.append(file)
        return opened(file, *given)

    monkeypatch.setattr(os, "open", noted)
    for _ in range(1000):
        logger.info("sent %s", PASSWORD)
    assert reads == []
    held.write_text("another one")
    logger.info("sent another one")
    assert len(reads) == 1
    assert PASSWORD not in "".join(told := lines(capfd))
    assert told[-1].endswith("sent ***")


@pytest.mark.parametrize(
    ("text", "begun"), [("xx correct", 7), ("xx", 0), (PASSWORD, 0), ("xx c", 1), ("correct horse ba xx", 0)]
)
def test_what_may_be_the_beginning_of_a_secret_is_known(text: str, begun: int) -> None:
    """So much of a text's end is kept back where it is cut."""
    set_up(VPN_PASSWORD=PASSWORD)
    assert log.hide.begun(text) == begun
