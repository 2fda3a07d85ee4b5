import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrypoint.clients.config_file import MAX_BYTES, decode
from entrypoint.clients.openvpn import OpenVPN
from entrypoint.clients.ovpn_config import Checked, check, scripts_wished
from entrypoint.clients.ovpn_needs import Wishes
from entrypoint.clients.ovpn_text import LINE_MAX_BYTES, directives, split
from entrypoint.faults import BadSettings
from entrypoint.files import Secret
from entrypoint.launch import Launch
from tests.unit.openvpn_maker import make_openvpn

KNOWN = "peer-fingerprint 00\ncert my.crt\nkey my.key\n"
"""How both sides know each other."""
BASE = "client\ndev tun\nremote vpn.example.com 1194\n" + KNOWN
WISHES = Wishes(scripts=False, credentials=False, passphrase=False, codes=False, interface=False, ipv6=True)


def checked(text: str, *args: str, **wishes: bool) -> Checked:
    """Return the configuration, which has to be without a fault."""
    result, faults = check(text, args, replace(WISHES, **wishes))
    assert faults == []
    assert result
    return result


def faults_of(text: str, *args: str, **wishes: bool) -> list[str]:
    """Return the faults."""
    result, faults = check(text, args, replace(WISHES, **wishes))
    assert (result is None) == bool(faults)
    return faults


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., OpenVPN]:
    """Give a maker of clients for `vpn.ovpn`, with the keywords of `OpenVPN`."""
    for name in ("my.crt", "my.key"):
        (tmp_path / name).touch()

    def build(text: str | None = BASE, **options: Any) -> OpenVPN:
        return make_openvpn(tmp_path, text, **options)

    return build


def launch_of(client: OpenVPN) -> Launch:
    """Return how it is started."""

    async def ask() -> Launch:
        launch = await client.open(lambda _report: None)
        await client.close()
        return launch

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("remote a 1194 # comment", ["remote", "a", "1194"]),
        ("; daemon", []),
        ('setenv a "b c"', ["setenv", "a", "b c"]),
        ("setenv a 'b\\c'", ["setenv", "a", "b\\c"]),
        ('cd "C:\\\\x\\"y"', ["cd", 'C:\\x"y']),
        ("a b\\ c", ["a", "b c"]),
        ('a""b', ['a""b']),
        ("a#b", ["a#b"]),
        ("\tdaemon\r", ["daemon"]),
        ('""', [""]),
    ],
)
def test_a_line_is_cut_as_openvpn_cuts_it(line: str, words: list[str]) -> None:
    """Comments, both kinds of quotation marks, and backslashes."""
    assert split(line) == words


@given(st.text(st.sampled_from("ab \"'\\#;\t<>/\n-")))
@example('"\\')
@example("\\")
def test_no_text_breaks_the_reader(text: str) -> None:
    """It is read, or refused with a sentence."""
    try:
        found = [directive.first for directive in directives(text)]
    except ValueError as error:
        found, told = [], str(error)
    else:
        told = "line "
    assert told.startswith("line ")
    assert found == sorted(set(found))


def test_what_fights_supervision_is_left_out_line_by_line() -> None:
    """Each with its reason; all other lines keep their number and their letters."""
    text = BASE + "daemon\nverb 3\n--user nobody\nstatus /var/log/s 5\nmanagement localhost 7505\n"
    result = checked(text)
    assert result.text == BASE + "\nverb 3\n\n\n\n"
    assert [note.partition(":")[0] for note in result.notes] == [
        "line 7 (daemon) is left out",
        "line 9 (user) is left out",
        "line 10 (status) is left out",
        "line 11 (management) is left out",
    ]


@pytest.mark.parametrize("args", [("--verb 3",), ("--verb", "3", "--setenv A B")])
def test_an_option_and_its_value_in_one_word_are_refused(args: tuple[str, ...]) -> None:
    """Somebody quoted all of VPN_ARGS; a blank within a value is fine, and no value is shown."""
    (fault,) = faults_of(BASE, *args)
    assert fault.startswith('VPN_ARGS has "--')
    assert "with a blank in one word" in fault
    assert "quotes around values alone" in fault
    assert checked(BASE, "--setenv", "A", "B C").args == ("--setenv", "A", "B C")


def test_blocks_pass_untouched() -> None:
    """A key may hold a line that looks like a directive."""
    text = (
        BASE
        + "<ca>\nup /bin/evil\ndaemon\n"
        + "A" * 1000
        + "\n  </ca>\n<connection>\nremote b\n</connection>\n"
    )
    assert checked(text).text == text


def test_a_block_ends_where_openvpn_sees_its_end() -> None:
    """It reads blocks in pieces of 255 bytes: a tag at a piece's start ends one, and a program follows."""
    text = BASE + "<ca>\n" + "A" * 255 + "</ca>\nup /bin/evil\n"
    assert "line 9 has up" in faults_of(text)[0]


@pytest.mark.parametrize(
    "line",
    [
        "up /etc/openvpn/my-own-script",
        "'up' x",
        "--down x",
        "setenv opt up x",
        "<up>\nx\n</up>",
        "plugin x.so",
        "tls-verify x",
        "providers x",
        "route-up /etc/openvpn/update-resolv-conf",
    ],
)
def test_a_program_is_refused_unless_wished(line: str) -> None:
    """In whatever way it is written; the fault names line, directive and the way out."""
    (fault,) = faults_of(f"{BASE}{line}\n")
    assert fault.startswith("line 7 has ")
    assert 'VPN_ARGS="--script-security 2"' in fault
    assert faults_of(f"{BASE}{line}\n", scripts=True) == []


@pytest.mark.parametrize("line", ["script-security 2", 'script-security " 2x"', "script-security 3"])
def test_a_file_cannot_allow_programs_by_itself(line: str) -> None:
    """Our own level stands in its place, and what it would have allowed is refused all the same."""
    assert line not in checked(f"{BASE}{line}\n").text
    (fault,) = faults_of(f"{BASE}{line}\nup x\n")
    assert fault.startswith("line 8 has up")


@pytest.mark.parametrize(
    "line",
    [
        "up /etc/openvpn/update-resolv-conf",
        "down /etc/openvpn/update-resolv-conf",
        'up "/etc/openvpn/update-systemd-resolved tun"',
    ],
)
def test_a_desktops_resolver_script_is_left_out_with_a_note(line: str) -> None:
    """Half of all providers' files name it, and the image has no such script; whoever wishes it has it."""
    result = checked(f"{BASE}{line}\n")
    assert result.text == f"{BASE}\n"
    (note,) = result.notes
    assert note.startswith(f"line 7 ({line.split(maxsplit=1)[0]}) is left out")
    assert line in checked(f"{BASE}{line}\n", scripts=True).text


def test_the_wish_is_read_from_the_arguments() -> None:
    """Only a level that starts programs is one."""
    assert scripts_wished(["--verb", "3", "--script-security", "2"])
    assert not scripts_wished(["--script-security", "1"])
    assert not scripts_wished(["--script-security"])
    assert not scripts_wished(["script-security", "2"])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("client\n" + KNOWN + "dev tun\n", "no line names the server"),
        ("client\n" + KNOWN + "remote a\n", "no line names the kind of tunnel"),
        ("client\n" + KNOWN + "remote a\ndev vpn\n", 'does not follow from "dev"'),
        ("client\n" + KNOWN + "remote a\ndev null\n", 'does not follow from "dev"'),
        (BASE + "server 10.8.0.0 255.255.255.0\n", "line 7 has server, which makes a server"),
        (BASE + "mode server\n", "line 7 has mode, which makes a server"),
        (BASE + "tls-remote vpn\n", 'line 7 has tls-remote, which openvpn has no more; write "verify-x509'),
        (BASE + "config other.ovpn\n", "line 7 has config"),
        (BASE + "version\n", "line 7 has version"),
        (BASE + "auth-user-pass\n", "set VPN_USERNAME and VPN_PASSWORD"),
        (BASE + "auth-user-pass stdin\n", "set VPN_USERNAME and VPN_PASSWORD"),
        (BASE + "<ca>\nAAA\n", "line 7 opens <ca>, and no line closes it"),
        (BASE + 'setenv a "b\n', "line 7 has a quotation mark"),
        (BASE + "cd c:\\temp\n", "line 7 has a backslash"),
        (BASE + "#" * (LINE_MAX_BYTES + 1), "line 7 is longer than the 254 bytes"),
    ],
)
def test_a_fault_of_the_configuration_names_its_line(text: str, fault: str) -> None:
    """Or what is missing."""
    (only,) = faults_of(text)
    assert fault in only


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (["verb", "3"], "VPN_ARGS has 'verb'"),
        (["--daemon"], "VPN_ARGS has --daemon"),
        (["--management", "localhost", "1"], "VPN_ARGS has --management"),
        (["--up", "/x"], "VPN_ARGS has --up"),
        (["--config", "x"], "VPN_ARGS has --config"),
        (["--script-security", "3"], "VPN_ARGS has --script-security 3"),
        (["--server", "10.8.0.0", "255.255.255.0"], "VPN_ARGS has --server"),
        (["--auth-user-pass"], "set VPN_USERNAME and VPN_PASSWORD"),
    ],
)
def test_an_argument_that_fights_supervision_is_refused(args: list[str], fault: str) -> None:
    """The user wrote it for this program: leaving it out in silence would ignore a wish."""
    (only,) = faults_of(BASE, *args)
    assert fault in only


def test_arguments_may_bring_what_the_configuration_lacks() -> None:
    """Server and kind of tunnel count wherever they stand."""
    assert checked("client\n" + KNOWN, "--remote", "a", "--dev", "tap0").device_type == "tap"


@pytest.mark.parametrize(
    ("lines", "kind"),
    [("dev tap0", "tap"), ("dev vpn\ndev-type tap", "tap"), ("dev tap\ndev tun3", "tun")],
)
def test_the_kind_of_tunnel_follows_from_dev(lines: str, kind: str) -> None:
    """The last directive counts, as for openvpn."""
    assert checked(f"client\n{KNOWN}remote a\n{lines}\n").device_type == kind


def test_the_names_of_servers_and_proxies_are_told_from_addresses() -> None:
    """Of all lines and blocks: those are what may fail to be looked up."""
    text = BASE + "remote 192.0.2.1\nremote 2001:db8::1 443 tcp\nsocks-proxy s.example 1080\n"
    text += "<connection>\nremote b.example 443 tcp\nhttp-proxy p.example 8080\n</connection>\n"
    assert checked(text).names == ("vpn.example.com", "s.example", "b.example", "p.example")


def test_a_wanted_name_needs_only_the_kind() -> None:
    """VPN_INTERFACE takes the place of `dev`."""
    text = "client\n" + KNOWN + "remote a\ndev-type tun\n"
    assert checked(text, interface=True).device_type == "tun"
    assert "no line names the kind of tunnel" in faults_of(text)[0]


def test_credentials_of_the_settings_take_the_place_of_a_file() -> None:
    """It would read an inline block even when it is told to ask."""
    text = BASE + "<auth-user-pass>\nbob\nsecret\n</auth-user-pass>\nauth-user-pass\n"
    result = checked(text, credentials=True)
    assert result.text == BASE + "\n" * 5
    assert result.notes == ("line 7 (auth-user-pass) is left out: VPN_USERNAME and VPN_PASSWORD are used",)
    assert checked(text.removesuffix("auth-user-pass\n")).text.startswith(BASE + "<auth-user-pass>")


def test_ipv6_of_the_configuration_is_left_out_where_there_is_none() -> None:
    """It would die of its own address as of a pushed one."""
    text = BASE + "route-ipv6 fd00::/8\nifconfig-ipv6 fd00::2/64 fd00::1\n"
    assert checked(text).text == text
    assert checked(text, ipv6=False).text == BASE + "\n\n"


def test_every_fault_is_told_at_once() -> None:
    """One start is enough to see them all."""
    faults = faults_of("client\n" + KNOWN + "up x\nmode server\nauth-user-pass\n", "--daemon")
    assert len(faults) == 6


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"client\0", "NUL"),
        (b"\xff\xfe", "UTF-8"),
        (b"#" * (MAX_BYTES + 1), "larger"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, fault: str) -> None:
    """Each with what is wrong with it."""
    with pytest.raises(ValueError, match=fault):
        decode(data)


def test_windows_texts_are_accepted() -> None:
    """A byte order mark goes, line ends stay."""
    text = decode(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    assert text.startswith("client\r\n")
    assert checked(text).text == text


def test_a_missing_file_or_a_directory_is_explained(make: Callable[..., OpenVPN], tmp_path: Path) -> None:
    """Docker makes a directory out of a mount whose source is not there."""
    with pytest.raises(BadSettings, match=r"VPN_CONFIG=.*no such file"):
        make(None)
    (tmp_path / "vpn.ovpn").mkdir()
    with pytest.raises(BadSettings, match=r"VPN_CONFIG=.*a directory"):
        make(None)


def test_what_is_no_plain_file_is_not_read(make: Callable[..., OpenVPN], tmp_path: Path) -> None:
    """A pipe without a writer would be waited for without end, a device may have none."""
    (tmp_path / "vpn.ovpn").symlink_to("/dev/zero")
    with pytest.raises(BadSettings, match="no plain file"):
        make(None)


def test_faults_of_file_arguments_and_credentials_come_together(make: Callable[..., OpenVPN]) -> None:
    """All of them name their setting, none shows a secret."""
    with pytest.raises(BadSettings) as caught:
        make(
            "client\n" + KNOWN + "up x\n",
            args=["--daemon"],
            username=Secret("VPN_USERNAME", "hidden\nsignal SIGTERM"),
        )
    texts = caught.value.texts
    assert len(texts) == 6
    assert "VPN_USERNAME holds a line break" in texts[0]
    assert "VPN_USERNAME without VPN_PASSWORD" in texts[1]
    assert "hidden" not in str(caught.value)


def test_the_command_line_holds_what_the_settings_say_and_no_secret(
    make: Callable[..., OpenVPN], tmp_path: Path
) -> None:
    """Our filters come before the configuration's own, the user's arguments after our script security."""
    client = make(
        BASE + "daemon\n",
        username=Secret("VPN_USERNAME", "alice"),
        password=Secret("VPN_PASSWORD", "s3cret"),
        interface="vpn0",
        args=["--script-security", "2", "--verb", "4"],
        ipv6=False,
    )
    launch = launch_of(client)
    line = " ".join(launch.argv)
    parts = (
        "openvpn --suppress-timestamps --server-poll-timeout 10",
        "--pull-filter ignore ifconfig-ipv6 --pull-filter ignore route-ipv6",
        f"--cd {tmp_path} --config stdin",
        "--script-security 1 --script-security 2 --verb 4 --dev vpn0 --dev-type tun",
        f"--auth-user-pass --mark {0x5347} --auth-retry none",
        f"--management {tmp_path}/openvpn.sock unix --management-client",
        "--management-query-passwords --management-up-down",
    )
    assert line == " ".join(parts)
    assert launch.stdin.decode() == BASE + "\n"
    assert b"s3cret" not in line.encode() + launch.stdin


def test_with_no_wishes_the_command_line_is_short(make: Callable[..., OpenVPN]) -> None:
    """Neither name, filters nor credentials are asked for."""
    argv = launch_of(make()).argv
    assert not {"--dev", "--pull-filter", "--auth-user-pass"} & set(argv)


def test_a_file_of_another_user_is_explained(make: Callable[..., OpenVPN], tmp_path: Path) -> None:
    """Root in a container without CAP_DAC_OVERRIDE is stopped by modes like anybody else."""
    make()
    config = tmp_path / "vpn.ovpn"
    config.chmod(0o000)
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    program = f"""
from pathlib import Path
from entrypoint.clients.credentials import Credentials
from entrypoint.clients.openvpn import OpenVPN
from entrypoint.faults import BadSettings
try:
    OpenVPN(Path({str(config)!r}), Credentials(), interface=None, args=(), ipv6=True, run_dir=Path())
except BadSettings as fault:
    print(fault)
"""
    done = subprocess.run([*drop, sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"VPN_CONFIG={config}: user {os.geteuid()} may not read it" in done.stdout
    assert f"{config} is ----------, owner " in done.stdout
    assert "chmod o+r" in done.stdout
