import re
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrypoint.clients.wg_config import Config, Peer, parse, setconf, without_ipv6
from entrypoint.clients.wg_text import Endpoint
from entrypoint.clients.wireguard import WireGuard
from entrypoint.faults import BadSettings
from tests.unit.wireguard_maker import BASE, INTERFACE, OTHERS, OURS, PEER, SHARED, THEIRS

PROVIDERS = f"""\ufeff# Device: Clever Mole
[Interface]
# Bouncing = 0
PrivateKey={OURS}
Address = 10.2.0.2/32,fc00:bbbb::2/128   # both families
DNS = 10.64.0.1, fc00:bbbb::1, corp.example
MTU = 1380
Table = auto
SaveConfig = true
FwMark = 0xca6c
ListenPort = 51821

[peer]
publickey = {THEIRS}
PRESHAREDKEY = {SHARED}
AllowedIPs = 0.0.0.0/0, ::0/0
Endpoint = [2001:db8::1]:51820
PersistentKeepalive = 15

[Peer]
PublicKey = {OTHERS}
AllowedIPs = 10.5.0.1/24
AllowedIPs = 10.6.0.0/24
PersistentKeepalive = off
""".replace("\n", "\r\n")
"""All that such a file can have, with a byte order mark and the line ends of Windows."""


def parsed(text: str) -> Config:
    """Return the configuration, which has to be without a fault."""
    config, faults = parse(text)
    assert faults == []
    assert config
    return config


def faults_of(text: str) -> list[str]:
    """Return the faults; there are some exactly where there is no configuration."""
    config, faults = parse(text)
    assert (config is None) == bool(faults)
    return faults


def client(file: Path, text: str, *, ipv6: bool = True, interface: str | None = None) -> WireGuard:
    """Make a client for a kernel that has WireGuard."""
    file.write_text(text)
    return WireGuard(file, interface=interface, ipv6=ipv6, kernel=lambda: True)


def test_a_providers_file_is_read_whole() -> None:
    """Keys in any case, several peers, both families, comments behind values."""
    config = parsed(PROVIDERS.lstrip("\ufeff"))
    assert config.private_key == OURS
    assert config.listen_port == 51821
    assert config.addresses == (ip_interface("10.2.0.2/32"), ip_interface("fc00:bbbb::2/128"))
    assert config.resolvers == (ip_address("10.64.0.1"), ip_address("fc00:bbbb::1"))
    assert config.search == ("corp.example",)
    assert config.mtu == 1380
    assert config.peers == (
        Peer(
            public_key=THEIRS,
            preshared_key=SHARED,
            allowed=(ip_network("0.0.0.0/0"), ip_network("::/0")),
            endpoint=Endpoint("2001:db8::1", 51820),
            keepalive=15,
        ),
        Peer(
            public_key=OTHERS,
            allowed=(ip_network("10.5.0.0/24"), ip_network("10.6.0.0/24")),
            keepalive=0,
        ),
    )
    assert config.routes == tuple(map(ip_network, ("0.0.0.0/0", "::/0", "10.5.0.0/24", "10.6.0.0/24")))
    told = "\n".join(config.notes)
    assert "line 9 (SaveConfig) is left out: " in told
    assert "line 10 (FwMark) is left out: " in told


def test_a_file_of_windows_is_a_file(tmp_path: Path) -> None:
    """A byte order mark and CRLF are taken as they are."""
    assert client(tmp_path / "wg.conf", PROVIDERS).title.startswith("wireguard with ")


@pytest.mark.parametrize(
    ("table", "routes"),
    [("off", ()), ("auto", (ip_network("0.0.0.0/0"),)), ("main", (ip_network("0.0.0.0/0"),))],
)
def test_table_says_whether_the_tunnel_gets_routes(table: str, routes: tuple[object, ...]) -> None:
    """Off makes none; the main table is where they go anyhow."""
    assert parsed(f"{INTERFACE}Table = {table}\n{PEER}").routes == routes


def test_a_keepalive_that_is_not_set_is_added_and_told() -> None:
    """Behind Docker's NAT nobody reaches a silent container; what the file says stays."""
    added = parsed(BASE)
    assert added.peers[0].keepalive == 25
    assert [
        note for note in added.notes if "PersistentKeepalive = 25 is added to the [Peer] of line 5" in note
    ]
    off = parsed(f"{BASE}PersistentKeepalive = 0\n")
    assert (off.peers[0].keepalive, off.notes) == (0, ())


def test_wg_is_given_what_it_knows_and_our_mark() -> None:
    """Nothing of wg-quick's, numbers where there were names, the peers that call us without an endpoint."""
    text = setconf(parsed(PROVIDERS.lstrip("\ufeff")), 0x5347, {THEIRS: (ip_address("2001:db8::7"), 51820)})
    assert text == (
        f"[Interface]\nPrivateKey = {OURS}\nFwMark = 0x5347\nListenPort = 51821\n"
        f"[Peer]\nPublicKey = {THEIRS}\nPresharedKey = {SHARED}\nAllowedIPs = 0.0.0.0/0, ::/0\n"
        "Endpoint = [2001:db8::7]:51820\nPersistentKeepalive = 15\n"
        f"[Peer]\nPublicKey = {OTHERS}\nAllowedIPs = 10.5.0.0/24, 10.6.0.0/24\nPersistentKeepalive = 0\n"
    )


def test_a_container_without_ipv6_takes_the_rest(tmp_path: Path) -> None:
    """Addresses, routes and resolvers of IPv6 would fail there."""
    config = without_ipv6(parsed(PROVIDERS.lstrip("\ufeff")))
    items = (*config.addresses, *config.routes, *config.resolvers)
    assert {item.version for item in items} == {4}
    with pytest.raises(BadSettings, match="IPv6 addresses alone"):
        client(tmp_path / "wg.conf", BASE.replace("10.2.0.2/32", "fd00::2/128"), ipv6=False)


ONE_FAULT = {
    "key-short": (BASE.replace(OURS, OURS[1:]), "line 2: PrivateKey is no key: saw 43 characters"),
    "key-no-base64": (
        BASE.replace(THEIRS, "!" * 43 + "="),
        "line 6: PublicKey is no key: it is not 32 bytes",
    ),
    "key-spare-bits": (
        BASE.replace(OURS, OURS[:42] + "9="),
        "line 2: PrivateKey is no key: it is not 32 bytes",
    ),
    "no-private-key": (BASE.replace(f"PrivateKey = {OURS}\n", ""), "of line 1 has no PrivateKey; add it"),
    "no-address": (BASE.replace("Address = 10.2.0.2/32\n", ""), "the [Interface] of line 1 has no Address"),
    "no-public-key": (BASE.replace(f"PublicKey = {THEIRS}\n", ""), "the [Peer] of line 5 has no PublicKey"),
    "no-allowed": (BASE.replace("0.0.0.0/0", ""), "the [Peer] of line 5 has no AllowedIPs"),
    "no-peer": (INTERFACE, "it has no [Peer]"),
    "no-interface": ("client\nremote a 1194\n", "it has no [Interface]"),
    "nobody-to-call": (BASE.replace("Endpoint = vpn.example.com:51820\n", ""), "no [Peer] has an Endpoint"),
    "address": (BASE.replace("10.2.0.2/32", "10.2.0.300/32"), "line 3: Address has '10.2.0.300/32'"),
    "allowed": (BASE.replace("0.0.0.0/0", "everything"), "line 7: AllowedIPs has 'everything'"),
    "endpoint": (BASE.replace(":51820", ""), "line 8: Endpoint is 'vpn.example.com'; write"),
    "endpoint-port": (BASE.replace("51820", "0"), "line 8: Endpoint is 'vpn.example.com:0'"),
    "endpoint-ipv6": (BASE.replace("vpn.example.com", "2001:db8::1"), "an IPv6 address in brackets"),
    "mtu": (f"{INTERFACE}MTU = 100\n{PEER}", "line 4: MTU is no whole number from 576 to 65535"),
    "table": (f"{INTERFACE}Table = 1234\n{PEER}", "line 4: Table names a table of its own"),
    "dns": (f"{INTERFACE}DNS = 10.0.0.1 bad_/name\n{PEER}", "line 4: DNS has 'bad_/name'"),
    "keepalive": (f"{BASE}PersistentKeepalive = often\n", "line 9: PersistentKeepalive is no whole number"),
    "unknown": (f"{INTERFACE}Jc = 4\n{PEER}", "line 4 has 'Jc', which [Interface] does not know; remove it"),
    "typo": (f"{INTERFACE}Adress = 10.0.0.1\n{PEER}", "line 4 has 'Adress', which"),
    "misplaced": (f"{INTERFACE}AllowedIPs = ::/0\n{PEER}", "it belongs into [Peer]"),
    "twice": (f"{INTERFACE}PrivateKey = {OTHERS}\n{PEER}", "line 4 has PrivateKey again, after line 2"),
    "peer-twice": (f"{BASE}{PEER}", "the [Peer] of line 9 is that of line 5 again"),
    "interface-twice": (f"{BASE}{INTERFACE}", "line 9 begins a second [Interface]"),
    "section": (f"{BASE}[Peeer]\nPublicKey = x\n", "line 9 begins a section that is neither"),
    "before": (f"MTU = 1400\n{BASE}", "line 1 stands before [Interface]"),
    "no-equals": (f"{BASE}hello\n", "line 9 is no KEY = VALUE"),
    "empty": (f"{INTERFACE}MTU =\n{PEER}", "line 4 has 'MTU' without a value"),
    "hook": (f"{INTERFACE}PostUp = iptables -A x\n{PEER}", "line 4 has 'PostUp', which starts a program"),
}


@pytest.mark.parametrize(("text", "told"), ONE_FAULT.values(), ids=ONE_FAULT)
def test_a_fault_is_told_with_its_line_and_alone(text: str, told: str) -> None:
    """One thing wrong, one message: what was seen, and after a semicolon what to do."""
    (fault,) = faults_of(text)
    assert told in fault
    assert "; " in fault


def test_all_faults_are_told_at_once() -> None:
    """Nobody corrects a file line by line and starts anew each time."""
    found = faults_of("[Interface]\nAdress = x\nPostUp = x\n[Peer]\nPublicKey = x\nEndpoint = x\n")
    lines = [int(number) for fault in found for number in re.findall(r"\bline (\d+)", fault)[:1]]
    assert sorted(lines) == [1, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace("PrivateKey = ", "PrivateKey : "),
        BASE.replace("PrivateKey = ", ""),
        BASE.replace("PrivateKey = ", f"PrivateKey = {OTHERS} "),
        BASE.replace("PrivateKey = ", "["),
        BASE.replace("PrivateKey = ", "Address = ").replace("=\n", "\n"),
        f"{BASE}PresharedKey = {OURS}x\n",
    ],
)
def test_no_fault_shows_a_key(text: str) -> None:
    """Wherever a private key got to, the message goes into a log."""
    assert faults_of(text)
    assert OURS[:12] not in "\n".join(faults_of(text))


def test_a_configuration_in_a_log_has_no_secret() -> None:
    """Python's own rendering of the values leaves the keys out."""
    told = repr(parsed(PROVIDERS.lstrip("\ufeff")))
    assert OURS not in told
    assert SHARED not in told
    assert THEIRS in told


@given(
    st.text()
    | st.lists(
        st.one_of(
            st.sampled_from(
                [*BASE.splitlines(), *PROVIDERS.split("\r\n"), "[", "=", "Address", "Endpoint = a:"]
            ),
            st.builds(
                "{} = {}".format,
                st.sampled_from(["Address", "DNS", "MTU", "Table", "AllowedIPs", "Endpoint", "PrivateKey"]),
                st.text(),
            ),
        )
    ).map("\n".join)
)
@example("[Interface]\nAddress = \x00")
@example("[Interface]\nMTU = " + "9" * 5000)
def test_no_text_is_more_than_a_fault(text: str) -> None:
    """Whatever stands in the file, the answer is a configuration or faults of a line each."""
    for fault in faults_of(text):
        assert "\n" not in fault


NAMES = {
    "mullvad-se.conf": "mullvad-se",
    "wg-DE-123.conf": "wg-DE-123",
    "a-name-that-is-too-long.conf": "wg0",
    "with blank.conf": "wg0",
}


@pytest.mark.parametrize(("file", "link"), NAMES.items(), ids=NAMES)
def test_the_link_is_called_after_its_file(tmp_path: Path, file: str, link: str) -> None:
    """As wg-quick does; where that is no name of a link, wg0."""
    assert client(tmp_path / file, BASE).link == link
    assert client(tmp_path / file, BASE, interface="vpn7").link == "vpn7"


def test_the_device_is_needed_where_the_kernel_has_no_wireguard(tmp_path: Path) -> None:
    """The kernel's own needs no /dev/net/tun."""
    assert client(tmp_path / "wg.conf", BASE).device is None
    without = WireGuard(tmp_path / "wg.conf", interface=None, ipv6=True, kernel=lambda: False)
    assert without.device == "/dev/net/tun"


def test_the_kernel_is_not_asked_where_the_file_is_wrong(tmp_path: Path) -> None:
    """Trying is the one thing here that touches the kernel."""
    (tmp_path / "wg.conf").write_text(INTERFACE)
    with pytest.raises(BadSettings) as raised:
        WireGuard(
            tmp_path / "wg.conf",
            interface=None,
            ipv6=True,
            kernel=lambda: pytest.fail("asked"),
        )
    assert "it has no [Peer]" in str(raised.value)
