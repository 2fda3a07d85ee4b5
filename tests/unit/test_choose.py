"""Which client is chosen, and what is said where that cannot be or something else was meant."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from entrypoint.clients import choose, find_config
from entrypoint.clients.base import Client
from entrypoint.clients.kind import kind_of
from entrypoint.faults import BadSettings
from entrypoint.settings import load
from tests.unit.wireguard_maker import BASE as WIREGUARD

OPENVPN = "client\ndev tun\nremote 192.0.2.1 1194\npeer-fingerprint 00\nauth-user-pass\n"
LOGIN = {"VPN_USERNAME": "alice", "VPN_PASSWORD": "s3cret"}
PAGE = "<!DOCTYPE html>\n<html>\n<head><title>Log in</title>\n" + "<p>x</p>" * 100 + "\n</html>\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder in which configurations are looked for."""
    found = tmp_path / "vpn"
    found.mkdir()
    monkeypatch.setattr(find_config, "CONFIG_FOLDER", found)
    return found


@pytest.fixture
def chosen(tmp_path: Path) -> Callable[[Mapping[str, str]], Client]:
    """Give the maker of the client that an environment asks for."""
    return lambda environ: choose.create(load(environ)[0], tmp_path, ipv6=True)


@pytest.fixture
def faults(chosen: Callable[[Mapping[str, str]], Client]) -> Callable[..., tuple[str, ...]]:
    """Give what is wrong with an environment."""

    def ask(**environ: str) -> tuple[str, ...]:
        with pytest.raises(BadSettings) as caught:
            chosen(environ)
        return caught.value.texts

    return ask


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (OPENVPN, "openvpn"),
        ("\n--remote x\n", "openvpn"),
        ("<ca>\n</ca>\n", "openvpn"),
        (WIREGUARD, "wireguard"),
        ("# mine\n[ peer ]\n", "wireguard"),
        (PAGE, None),
        ("Dear user, your account is ready.\n", None),
        ("# nothing else\n\n", None),
    ],
)
def test_a_configuration_is_told_by_its_lines(text: str, kind: str | None) -> None:
    """A page that asks for a login is what many browsers save."""
    assert kind_of(text) == kind


@pytest.mark.parametrize("name", ["my.ovpn", "MY.OVPN", "office.Conf"])
def test_a_configuration_is_found_in_any_case(
    folder: Path, chosen: Callable[[Mapping[str, str]], Client], name: str
) -> None:
    """Windows writes capitals."""
    (folder / name).write_text(OPENVPN)
    (folder / "README.txt").write_text("not a configuration")
    assert chosen(LOGIN).title == f"openvpn with {folder / name}"


def test_what_lies_there_instead_is_named(folder: Path, faults: Callable[..., tuple[str, ...]]) -> None:
    """An archive that was not unpacked is seen at once; of many files some are named."""
    assert "saw no *.ovpn and no *.conf;" in faults()[0]
    (folder / "provider.zip").touch()
    assert "saw no *.ovpn and no *.conf (but provider.zip);" in faults()[0]
    for count in range(9):
        (folder / f"{count}.crt").touch()
    assert "(but 0.crt, 1.crt, 2.crt, 3.crt, 4.crt, …);" in faults()[0]


def test_a_file_in_the_folders_place_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Callable[..., tuple[str, ...]]
) -> None:
    """`-v ./my.ovpn:/vpn`."""
    (tmp_path / "file").write_text(OPENVPN)
    monkeypatch.setattr(find_config, "CONFIG_FOLDER", tmp_path / "file")
    (fault,) = faults()
    assert "saw a file there; mount its folder there" in fault
    assert not list(folder.iterdir())


@pytest.mark.parametrize("asked", ["auto", "openvpn", "wireguard"])
def test_a_web_page_is_told_once(folder: Path, faults: Callable[..., tuple[str, ...]], asked: str) -> None:
    """Not by what a client would make of its first line."""
    (folder / "my.ovpn").write_text(PAGE)
    (fault,) = faults(VPN_CLIENT=asked)
    assert "saw no configuration of OpenVPN, nor of WireGuard" in fault


@pytest.mark.parametrize(
    ("asked", "text", "name"),
    [("openvpn", WIREGUARD, "WireGuard"), ("wireguard", OPENVPN, "OpenVPN")],
)
def test_another_clients_file_is_told(
    folder: Path, faults: Callable[..., tuple[str, ...]], asked: str, text: str, name: str
) -> None:
    """One message, and the way out."""
    (folder / "my.conf").write_text(text)
    (fault,) = faults(VPN_CLIENT=asked)
    assert fault == (
        f"cannot use VPN_CONFIG={folder}/my.conf: saw a configuration of {name}; "
        f"leave VPN_CLIENT={asked} out, or set VPN_CLIENT={name.lower()}"
    )


def test_where_the_file_chose_the_client_it_is_named(
    folder: Path, faults: Callable[..., tuple[str, ...]]
) -> None:
    """Nobody set VPN_CLIENT, so no advice to set it otherwise."""
    (folder / "wg0.conf").write_text(WIREGUARD)
    assert faults(VPN_USERNAME="alice") == (
        (
            f"cannot use VPN_USERNAME: saw that {folder}/wg0.conf, which is wireguard's, has no use for it; "
            "leave it out"
        ),
    )
    (fault,) = faults(VPN_CLIENT="wireguard", VPN_USERNAME="alice")
    assert fault == (
        "cannot use VPN_USERNAME: saw that VPN_CLIENT=wireguard has no use for it; "
        "leave it out, or set VPN_CLIENT=openvpn or openconnect"
    )


def test_a_server_beside_a_file_is_refused(
    folder: Path, tmp_path: Path, faults: Callable[..., tuple[str, ...]]
) -> None:
    """Either may be meant, in the folder or by name; with VPN_CLIENT it is plain."""
    (folder / "my.ovpn").write_text(OPENVPN)
    text = "cannot choose the client: saw VPN_SERVER (openconnect's) and {}; leave one of both out, or set "
    assert faults(VPN_SERVER="vpn.example.org", **LOGIN)[0].startswith(text.format(folder / "my.ovpn"))
    other = tmp_path / "other.ovpn"
    (fault,) = faults(VPN_SERVER="vpn.example.org", VPN_CONFIG=str(other), **LOGIN)
    assert fault.startswith(text.format(other))


def test_a_server_alone_chooses_openconnect(
    folder: Path, chosen: Callable[[Mapping[str, str]], Client]
) -> None:
    """Certificates beside it are no configuration, and VPN_CLIENT decides where there is one."""
    (folder / "ca.pem").touch()
    assert chosen({"VPN_SERVER": "vpn.example.org", **LOGIN}).name == "openconnect"
    (folder / "my.ovpn").write_text(OPENVPN)
    both = {"VPN_CLIENT": "openconnect", "VPN_SERVER": "vpn.example.org", **LOGIN}
    assert chosen(both).name == "openconnect"


@pytest.mark.parametrize("option", ["--cafile", "--certificate", "-c", "--sslkey", "-k", "--certif"])
def test_a_file_of_openconnect_that_is_not_there_is_named(
    tmp_path: Path, chosen: Callable[[Mapping[str, str]], Client], option: str
) -> None:
    """At the start, and not by openconnect's own words at each attempt; a key in a token is no file."""
    file = tmp_path / "mine.pem"
    given = {"VPN_CLIENT": "openconnect", "VPN_SERVER": "vpn.example.org", **LOGIN}
    with pytest.raises(BadSettings, match=f"cannot use VPN_ARGS: --[a-z]+ names '{file}': no such file; "):
        chosen({**given, "VPN_ARGS": f"{option} {file}"})
    file.touch()
    assert chosen({**given, "VPN_ARGS": f"{option} {file}"}).name == "openconnect"
    assert chosen({**given, "VPN_ARGS": f"{option} pkcs11:token=x"}).name == "openconnect"
