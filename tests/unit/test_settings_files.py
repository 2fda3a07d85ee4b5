from pathlib import Path

import pytest

from entrypoint.faults import BadSettings
from entrypoint.files import VALUE_MAX_BYTES, Secret
from entrypoint.settings import Settings, load


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """Give the path of a dotenv file that is not there yet."""
    return tmp_path / "sidegate.env"


def load_file(env_file: Path, content: str, **environ: str) -> Settings:
    """Load a dotenv file beside an environment; no warning may come."""
    env_file.write_text(content)
    loaded, warnings = load({"ENV_FILE": str(env_file), **environ})
    assert warnings == []
    return loaded


def faults(environ: dict[str, object]) -> tuple[str, ...]:
    """Return what is wrong with an environment."""
    with pytest.raises(BadSettings) as caught:
        load({name: str(value) for name, value in environ.items()})
    return caught.value.texts


def test_a_file_holds_the_value_of_any_setting(tmp_path: Path) -> None:
    """`docker secret` and Kubernetes mount values as files; the line end is not part of them."""
    held = tmp_path / "networks"
    held.write_text("10.20.0.0/24\n")
    assert load({"LAN_NETWORKS_FILE": str(held)}) == load({"LAN_NETWORKS": "10.20.0.0/24"})


def test_blanks_in_a_secret_are_kept(tmp_path: Path) -> None:
    """Only line ends go, those of Windows too."""
    held = tmp_path / "password"
    held.write_bytes(b" p w \r\n")
    loaded, _ = load({"VPN_PASSWORD_FILE": str(held)})
    assert loaded.vpn_password is not None
    assert loaded.vpn_password.reveal() == " p w "


def test_a_rotated_secret_is_read_anew(tmp_path: Path) -> None:
    """The next attempt takes what stands in the file by then."""
    held = tmp_path / "password"
    held.write_text("old")
    loaded, _ = load({"VPN_PASSWORD_FILE": str(held)})
    held.write_text("new\n")
    assert [secret.reveal() for secret in loaded.secrets] == ["new"]
    held.unlink()
    with pytest.raises(BadSettings, match=r"cannot read VPN_PASSWORD_FILE=.*No such file"):
        loaded.secrets[0].reveal()


def test_a_secret_in_the_environment_stays_as_it_is() -> None:
    """There is nothing to read anew."""
    assert load({"VPN_PASSWORD": "pw"})[0].vpn_password == Secret("VPN_PASSWORD", value="pw")


def test_a_name_beside_its_file_is_a_fault(tmp_path: Path) -> None:
    """Which of the two was meant cannot be guessed; neither value is shown."""
    held = tmp_path / "password"
    held.write_text("from-file")
    assert faults({"VPN_PASSWORD": "from-env", "VPN_PASSWORD_FILE": held}) == (
        "VPN_PASSWORD and VPN_PASSWORD_FILE are both set; leave one of them",
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory; mount the file there"),
        (b"", "it is empty; write the value into it, or leave VPN_PASSWORD_FILE out"),
        (b"\n", "it is empty; write the value into it, or leave VPN_PASSWORD_FILE out"),
        (b"\xff\xfe", "it holds no UTF-8 text; write the value alone into it"),
        (
            b"x" * (VALUE_MAX_BYTES + 1),
            f"it holds more than {VALUE_MAX_BYTES} bytes; name the file that holds the value alone",
        ),
    ],
)
def test_a_file_that_holds_no_value_is_named(tmp_path: Path, content: bytes | None, why: str) -> None:
    """The fault tells the setting, the path, what was seen and what to do."""
    held = tmp_path / "password"
    if content is not None:
        held.write_bytes(content)
    assert faults({"VPN_PASSWORD_FILE": held}) == (f"cannot read VPN_PASSWORD_FILE='{held}': {why}",)


def test_a_directory_is_no_value(tmp_path: Path) -> None:
    """Docker makes a directory where the host has no file."""
    (text,) = faults({"VPN_PASSWORD_FILE": tmp_path})
    told = f"cannot read VPN_PASSWORD_FILE='{tmp_path}': it is a directory; mount the file itself"
    assert text.startswith(told)


def test_a_file_is_named_from_the_root() -> None:
    """A relative path would depend on a directory that nobody thinks of."""
    (text,) = faults({"LAN_NETWORKS_FILE": "networks/lan"})
    assert text.startswith("LAN_NETWORKS_FILE='networks/lan' is not an absolute path")


def test_a_secret_written_where_its_file_is_named_is_not_shown() -> None:
    """Many write the password itself into NAME_FILE."""
    (text,) = faults({"VPN_PASSWORD_FILE": "hunter2-of-alice"})
    assert (
        text
        == "VPN_PASSWORD_FILE is not an absolute path; write it from the root, like /run/secrets/vpn_password"
    )


def test_a_wrong_value_from_a_file_is_told_as_any_other(tmp_path: Path) -> None:
    """The text names the setting, and is one line even where the file holds many."""
    held = tmp_path / "timeout"
    held.write_text("soon\nor later\n")
    (text,) = faults({"VPN_UP_TIMEOUT_FILE": held})
    assert text.startswith(r"VPN_UP_TIMEOUT='soon\nor later' is no duration")


def test_a_dotenv_file_fills_in_what_the_environment_leaves_open(env_file: Path) -> None:
    """Comments, `export` and quotes as python-dotenv reads them."""
    loaded = load_file(
        env_file, "# ours\nexport RULE_PRIORITY=77\nVPN_ARGS=\"--verb 4\"\nLOG_LEVEL='debug'\n"
    )
    assert (loaded.rule_priority, loaded.vpn_args, loaded.log_level) == (77, ("--verb", "4"), "debug")


def test_the_environment_goes_before_the_dotenv_file(env_file: Path) -> None:
    """What `docker run --env` says holds; an empty value there says nothing."""
    content = "RULE_PRIORITY=77\nROUTE_TABLE=7200\n"
    loaded = load_file(env_file, content, RULE_PRIORITY="88", ROUTE_TABLE="")
    assert (loaded.rule_priority, loaded.route_table) == (88, 7200)


def test_a_name_in_the_environment_silences_name_file_in_the_dotenv_file(env_file: Path) -> None:
    """Both are the same setting: it is overridden, not set twice."""
    loaded = load_file(env_file, "VPN_PASSWORD_FILE=/no/such/file\n", VPN_PASSWORD="pw")  # noqa: S106 - of nobody
    assert [secret.reveal() for secret in loaded.secrets] == ["pw"]


def test_name_file_in_the_environment_silences_the_name_in_the_dotenv_file(
    env_file: Path, tmp_path: Path
) -> None:
    """The same the other way round."""
    held = tmp_path / "password"
    held.write_text("held")
    loaded = load_file(env_file, "VPN_PASSWORD=pw\n", VPN_PASSWORD_FILE=str(held))
    assert [secret.reveal() for secret in loaded.secrets] == ["held"]


def test_nothing_is_put_into_a_value_of_the_dotenv_file(env_file: Path) -> None:
    """A password may hold a dollar sign and braces."""
    loaded = load_file(env_file, "VPN_PASSWORD=a${HOME}b$c\n")
    assert [secret.reveal() for secret in loaded.secrets] == ["a${HOME}b$c"]


def test_a_dotenv_file_written_by_windows_is_read(env_file: Path) -> None:
    """Its editor puts a byte order mark before the first name and ends lines in its own way."""
    assert load_file(env_file, "\ufeffRULE_PRIORITY=77\r\nROUTE_TABLE=7200\r\n").rule_priority == 77


def test_a_typo_in_the_dotenv_file_is_seen_as_well(env_file: Path) -> None:
    """The warning is the same."""
    env_file.write_text("VPN_CONFG=/vpn/x.ovpn\n")
    assert load({"ENV_FILE": str(env_file)})[1] == [
        "VPN_CONFG is no setting of ours and is ignored; did you mean VPN_CONFIG?"
    ]


def test_broken_lines_of_the_dotenv_file_are_counted_out(
    env_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their numbers are told once and by us, never their content: it may be a password."""
    env_file.write_text("RULE_PRIORITY=77\nVPN_PASSWORD='hunter2\n\nthis is: no setting\n")
    (text,) = faults({"ENV_FILE": env_file})
    assert text.startswith(f"cannot read ENV_FILE='{env_file}': no NAME=value in line 2, 4;")
    assert "hunter2" not in text
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"\xff\xfeV\0", "it holds no UTF-8 text"),
        # What stands behind the limit would be ignored in silence.
        (b"#" * VALUE_MAX_BYTES + b"\nLOG_LEVEL=debug\n", f"it holds more than {VALUE_MAX_BYTES} bytes"),
    ],
)
def test_a_dotenv_file_that_cannot_be_read_is_named(env_file: Path, content: bytes | None, why: str) -> None:
    """It stands beside the other faults, as all of them do."""
    if content is not None:
        env_file.write_bytes(content)
    first, second = faults({"ENV_FILE": env_file, "LOG_LEVEL": "loud"})
    assert first.startswith(f"cannot read ENV_FILE='{env_file}': {why}; ")
    assert second.startswith("LOG_LEVEL='loud' is not known; take one of debug, ")
