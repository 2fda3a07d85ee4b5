import os
from pathlib import Path

import pytest

from entrypoint.clients.ovpn_files import Files, look

LOCKED = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
OLDER = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
PLAIN = "-----BEGIN PRIVATE KEY-----\n"


def seen(folder: Path, text: str, *args: str, left_out: tuple[str, ...] = ()) -> Files:
    """Look at the files of a configuration in a folder."""
    return look(text, args, folder, left_out)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("ca ca.crt", "ca.crt"),
        ("tls-auth ta.key 1", "ta.key"),
        ("--tls-crypt-v2 'my keys/v2.key'", "my keys/v2.key"),
        ("auth-user-pass login.txt", "login.txt"),
        ("http-proxy 10.0.0.1 3128 proxy.txt basic", "proxy.txt"),
        ("setenv opt crl-verify crl.pem", "crl.pem"),
        ("ca /etc/no-such.pem", "/etc/no-such.pem"),
    ],
)
def test_a_file_that_is_not_there_is_named_with_its_line(tmp_path: Path, line: str, name: str) -> None:
    """Relative to the configuration, as openvpn looks for it; once it lies there all is well."""
    (fault,) = seen(tmp_path, f"client\n{line}\n").faults
    assert fault.startswith("line 2 (")
    assert f"names {tmp_path / name}: no such file" in fault
    assert "a relative name starts at the configuration's folder" in fault
    if not name.startswith("/"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        assert seen(tmp_path, f"client\n{line}\n").faults == ()


@pytest.mark.parametrize(
    "text",
    [
        "auth-user-pass\naskpass\nauth-user-pass stdin\n",
        "http-proxy 10.0.0.1 3128 auto\nsocks-proxy 10.0.0.1 1080\nca [inline]\n",
        "<ca>\nkey no-such.key\n</ca>\n",
        "# ca no-such.crt\n",
    ],
)
def test_what_names_no_file_is_no_fault(tmp_path: Path, text: str) -> None:
    """Words in a file's place, inline files, comments."""
    assert seen(tmp_path, text).faults == ()


def test_files_of_connection_blocks_and_arguments_count(tmp_path: Path) -> None:
    """A fault for each file, all at once."""
    text = "client\n<connection>\nremote a\ntls-crypt tc.key\n</connection>\ncert my.crt\n"
    places = [fault.partition(" names ")[0] for fault in seen(tmp_path, text, "--ca", "ca.crt").faults]
    assert places == ["line 4 (tls-crypt)", "line 6 (cert)", "VPN_ARGS (--ca)"]


def test_files_of_what_is_left_out_are_not_asked_for(tmp_path: Path) -> None:
    """The settings' user name takes the place of a file's."""
    assert seen(tmp_path, "auth-user-pass login.txt\n", left_out=("auth-user-pass",)).faults == ()


def test_a_directory_or_a_pipe_in_a_files_place(tmp_path: Path) -> None:
    """Revocation lists may be a directory; a pipe would be waited for without end."""
    (tmp_path / "crls").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert seen(tmp_path, "crl-verify crls dir\n").faults == ()
    assert "no plain file" in seen(tmp_path, "ca pipe\n").faults[0]


@pytest.mark.parametrize(("key", "locked"), [(LOCKED, True), (OLDER, True), (PLAIN, False)])
@pytest.mark.parametrize("inline", [True, False])
def test_an_encrypted_key_is_told_from_a_plain_one(
    tmp_path: Path, key: str, *, locked: bool, inline: bool
) -> None:
    """In both spellings of PEM, wherever it lies."""
    (tmp_path / "my.key").write_text(key)
    text = f"<key>\n{key}</key>\n" if inline else "key my.key\n"
    assert seen(tmp_path, text).key_locked == locked
    (tmp_path / "pass").touch()
    assert not seen(tmp_path, f"{text}askpass pass\n").key_locked


def test_a_key_in_pkcs12_may_be_encrypted(tmp_path: Path) -> None:
    """Nobody knows before it is opened."""
    (tmp_path / "my.p12").touch()
    assert seen(tmp_path, "pkcs12 my.p12\n") == Files((), key_locked=False, key_in_pkcs12=True)
