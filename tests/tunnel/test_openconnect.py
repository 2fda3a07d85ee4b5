"""OpenConnect beside a real ocserv: each way to log in, what goes wrong, where its packets go."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.dns_server import DnsServer
from tests.lab.ocserv_server import DOMAIN, PASSWORD, RESOLVER, TOTP_SECRET, USER, OcservServer
from tests.lab.openvpn_server import identity
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import Capture, reaches
from tests.lab.waiting import until
from tests.tunnel.product import AnyProduct, echoes, first_line, kill, our_routes, our_rules, programs
from tests.tunnel.secrets_everywhere import left, seen
from tests.unit.oc_options import unjudged

INSIDE, INSIDE_TOO = "10.66.0.1", "10.66.0.2"
"""Addresses of the server in the range that it pushes."""
NAME = "vpn.office.example"
PASSPHRASE = "open sesame 4d1c"  # noqa: S105 - the lab's
UNSEEN = (PASSWORD, TOTP_SECRET, identity(USER).key.splitlines()[1])

Make = Callable[..., AnyProduct]


@pytest.fixture
def make(lab: Lab, tmp_path: Path) -> Make:
    """Give a maker of the product beside an ocserv, with the keywords of `OcservServer`."""
    return lambda **server: AnyProduct(
        lab, tmp_path, OcservServer(lab.vpn_server, tmp_path / "server", **server)
    )


def server_of(product: AnyProduct) -> OcservServer:
    """Return the server as what it is."""
    assert isinstance(product.vpn, OcservServer)
    return product.vpn


def pinned(product: AnyProduct) -> set[str]:
    """Return the addresses that rules of ours keep on the gateway, of both families."""
    rules = [*our_rules(product.host, V4), *our_rules(product.host, V6)]
    return {rule["dst"] for rule in rules if "dst" in rule}


def script_pid(product: AnyProduct) -> int | None:
    """Return the process of the script that openconnect waits for."""
    for pid in product.host.pids():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if any(word.endswith("vpnc_script.py") for word in words) and words[0] != "openconnect":
                return pid
    return None


def visible(pid: int) -> str:
    """Return what others may see of a process."""
    return "".join(Path(f"/proc/{pid}/{file}").read_text() for file in ("cmdline", "environ"))


@contextlib.contextmanager
def while_the_script_waits(product: AnyProduct, sidecar: Sidecar) -> Iterator[int]:
    """Hold the entrypoint, so that openconnect's first call of the script is not answered meanwhile."""
    sidecar.wait_for_line("openconnect: POST")
    sidecar.process.signal(signal.SIGSTOP)
    try:
        yield until(lambda: script_pid(product), 5, "the script")
    finally:
        sidecar.process.signal(signal.SIGCONT)


@pytest.mark.parametrize("login", ["password", "password+totp", "certificate"])
def test_each_way_to_log_in_and_no_secret_is_seen(make: Make, login: str) -> None:
    """Both ways, and no secret in a list of arguments, an environment, the log, the status or a file."""
    product = make(login=login)
    sidecar = product.sidecar({"LOG_LEVEL": "debug"}).start()
    with while_the_script_waits(product, sidecar) as script:
        of_the_script = visible(script)
    sidecar.wait_until_ready()
    assert product.unreached(V4) == product.unreached(V6) == {}
    assert "INTERNAL_IP4_ADDRESS" in of_the_script
    assert not any(secret in of_the_script for secret in UNSEEN)
    # What server and user wrote down themselves.
    known = {*(product.directory / "server").rglob("*"), product.directory / "client.pem"}
    assert seen(sidecar, UNSEEN, folders=[product.directory], known=known) == []
    assert sidecar.terminate() == 0
    assert left(sidecar, UNSEEN, folders=[product.directory], known=known) == []


@pytest.mark.parametrize("login", ["certificate", "certificate+password"])
def test_a_certificate_whose_key_has_a_passphrase(make: Make, login: str) -> None:
    """The passphrase is asked for before the password, and seen as little."""
    product = make(login=login)
    product.directory.joinpath("client.pem").write_text(under_passphrase(product.directory / "client.pem"))
    alone = {"VPN_PASSWORD": PASSPHRASE}
    sidecar = product.start(**(alone if login == "certificate" else {"VPN_KEY_PASSPHRASE": PASSPHRASE}))
    assert not any(PASSPHRASE in visible(pid) for pid in sidecar.client_pids())


def under_passphrase(identity: Path) -> str:
    """Return a certificate with its key, the key encrypted."""
    certificate = identity.read_text().partition("-----BEGIN PRIVATE")[0]
    encrypt = ["openssl", "pkey", "-in", str(identity), "-aes256", "-passout", f"pass:{PASSPHRASE}"]
    return certificate + subprocess.run(encrypt, capture_output=True, text=True, check=True).stdout


def test_the_stop_logs_out(make: Make) -> None:
    """The server need not hold a session that nobody will take up again, and the log says how it ended."""
    product = make()
    sidecar = product.start()
    assert sidecar.terminate() == 0
    assert any("openconnect: Send BYE packet" in line for line in sidecar.lines)
    assert not any("cannot tell sidegate" in line for line in sidecar.lines)
    # Nor has a packet come before the link was up.
    assert not any("Failed to write" in line for line in sidecar.lines)


def test_what_the_server_pushes_is_told(make: Make) -> None:
    """Routes, resolver and domain stand in the status; addresses, routes and MTU in the kernel are ours."""
    product = make()
    sidecar = product.start()
    told = sidecar.status()
    assert {f"route {V4.vpn_network}", f"route {V6.vpn_network}"} <= set(told["client"]["pushed"])
    assert {f"dns {RESOLVER}", f"domain {DOMAIN}"} <= set(told["client"]["pushed"])
    assert told["client"]["server"] == V4.vpn_endpoint
    (link,) = product.host.ip_json("link", "show", "dev", "tun0")
    assert 1280 <= link["mtu"] < 1500
    ours = [route for route in our_routes(product.host) if route.get("table", "main") == "main"]
    to = {route["dst"] for route in ours if route["dev"] == "tun0"}
    assert to == {V4.vpn_network, V4.tunnel}


@pytest.mark.parametrize("address", [V4.vpn_endpoint, f"https://[{V6.vpn_endpoint}]:443/"])
def test_without_routes_everything_goes_through_the_tunnel(make: Make, address: str) -> None:
    """A full tunnel takes both families, leaves the default route as it was, and reaches its server."""
    product = make(routes=(), address=address)
    before = product.host.ip_json("route", "show", "default")
    product.start()
    for option, somewhere in (("-4", "203.0.113.1"), ("-6", "2001:db8:ffff::1")):
        assert product.host.ip_json(option, "route", "get", somewhere)[0]["dev"] == "tun0"
    assert product.host.ip_json("route", "show", "default") == before
    assert product.unreached(V4) == product.unreached(V6) == {}


def test_what_the_server_excludes_stays_on_the_gateway(make: Make) -> None:
    """A network inside the pushed range that the server wants to be left out."""
    product = make(more=("no-route = 10.77.0.0/255.255.0.0",))
    product.start()
    assert product.host.ip_json("route", "get", "10.77.0.1")[0]["dev"] == "eth0"
    assert product.host.ip_json("route", "get", "10.78.0.1")[0]["dev"] == "tun0"


@pytest.mark.parametrize("lab", [{"sidecar_ipv6": False}], ids=["no-ipv6"], indirect=True)
def test_a_container_without_ipv6_gets_its_tunnel(make: Make) -> None:
    """The server's IPv6 is not asked for."""
    product = make()
    sidecar = product.start()
    assert "fd00" not in sidecar.wait_for_line("openconnect: Configured as")
    assert product.unreached(V4) == {}


def test_the_tunnel_has_the_name_that_was_asked_for(make: Make) -> None:
    """VPN_INTERFACE; and VPN_SERVER alone is enough to choose openconnect."""
    product = make()
    product.start(VPN_INTERFACE="office", VPN_CLIENT="auto")
    assert product.host.addresses("office")


def test_a_password_may_hold_any_letter(make: Make) -> None:
    """Umlauts, quotes and what a shell would read reach the server as they are, whatever LANG says."""
    product = make()
    password = "Grüße, 世界 \"x\" $HOME `id` 'y'"  # noqa: S105 - the lab's
    subprocess.run(
        ["ocpasswd", "--passwd", str(product.directory / "server/passwd"), "ada"],
        input=f"{password}\n{password}\n",
        text=True,
        capture_output=True,
        check=True,
    )
    product.start(VPN_PASSWORD=password)


def test_wrong_credentials_are_named_and_not_hammered(make: Make) -> None:
    """The server sees an attempt, another after 1 s, another after 2 s; health and log say why."""
    product = make()
    sidecar = product.sidecar({"VPN_PASSWORD": "wrong battery"}).start()
    for count, delay in enumerate((1, 2, 4), start=1):
        line = sidecar.wait_for_line(f"next attempt in {delay} s", 15)
        assert "Login failed." in line
        assert server_of(product).login_attempts() == count
        assert "Login failed." in first_line(sidecar)
        assert "; check VPN_SERVER, VPN_USERNAME and VPN_PASSWORD, " in line
        assert "wrong battery" not in line
    assert sidecar.process.running
    assert sidecar.terminate() == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ("", "Certificate from VPN server .* failed verification"),
        (
            "--servercert pin-sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "match server's certificate",
        ),
    ],
    ids=["unknown", "another"],
)
def test_a_wrong_certificate_is_never_accepted(make: Make, args: str, told: str) -> None:
    """Even if the password is the word that openconnect asks for: it is not asked, and nothing is sent."""
    product = make()
    sidecar = product.sidecar({"VPN_ARGS": args, "VPN_PASSWORD": "yes"}).start()
    sidecar.wait_for_line(told)
    assert "Error in the certificate" in sidecar.wait_for_line("next attempt in 2 s")
    assert server_of(product).login_attempts() == 0
    assert product.host.ip_json("link", "show", "type", "tun") == []


@contextlib.contextmanager
def named(lab: Lab, addresses: str) -> Iterator[DnsServer]:
    """Have a DNS server on the gateway that knows the VPN server's name while the context lasts."""
    dns = DnsServer(lab.server_a, V4.docker_gateway, {NAME: addresses}).start()
    yield dns
    dns.process.terminate()


def resolve_there(product: AnyProduct, options: str = "timeout:1 attempts:1") -> None:
    """Let the container ask the DNS server on its gateway."""
    folder = product.directory / "container"
    folder.mkdir(exist_ok=True)
    (folder / "resolv.conf").write_text(f"nameserver {V4.docker_gateway}\noptions {options}\n")


def put_inside(lab: Lab) -> None:
    """Give the server addresses that its own routes cover."""
    for address in (INSIDE, INSIDE_TOO):
        lab.vpn_server.ip(f"address add {address}/32 dev internet")
        lab.server_a.ip(f"route add {address} via {V4.vpn_endpoint}")


def test_a_server_that_moves_within_its_own_pushed_range(lab: Lab, make: Make) -> None:
    """Its packets leave by the gateway, DTLS too; openconnect reconnects to where the name leads by then."""
    put_inside(lab)
    product = make(address=NAME, more=("listen-host-is-dyndns = true",))
    resolve_there(product)
    with named(lab, INSIDE):
        sidecar = product.start()
        pid = sidecar.status()["client"]["pid"]
        assert INSIDE in pinned(product)
        with Capture(lab.sidecar, "eth0", f"udp and host {INSIDE}") as dtls:
            assert product.unreached(V4) == {}
        assert dtls.packets
    with named(lab, INSIDE_TOO):
        lab.vpn_server.ip(f"address del {INSIDE}/32 dev internet")
        sidecar.wait_until_unready(15)
        assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
        sidecar.wait_until_ready(30)
    assert {INSIDE, INSIDE_TOO} <= pinned(product)
    assert sidecar.status()["client"]["pid"] == pid
    assert product.unreached(V4) == product.unreached(V6) == {}


def test_a_name_with_several_addresses(lab: Lab, make: Make) -> None:
    """All are kept on the gateway; where one does not answer, openconnect takes the other."""
    product = make(address=NAME, more=(f"listen-host = {V4.vpn_endpoint}",))
    resolve_there(product)
    with named(lab, f"{V4.vpn_endpoint},{V6.vpn_endpoint}"):
        sidecar = product.start()
    assert pinned(product) == {V4.vpn_endpoint, V6.vpn_endpoint}
    assert sidecar.status()["client"]["server"] == V4.vpn_endpoint
    assert product.unreached(V4) == {}


def test_a_name_that_does_not_resolve_is_told(lab: Lab, make: Make) -> None:
    """One clear failure, and another try after the back-off; once it resolves, the tunnel comes."""
    product = make(address=NAME)
    resolve_there(product)
    sidecar = product.sidecar().start()
    line = sidecar.wait_for_line("next attempt in 2 s")
    assert f"openconnect: the server's name {NAME} cannot be looked up: " in line
    assert "cannot be looked up" in first_line(sidecar)
    assert programs(lab.sidecar, "openconnect") == []
    with named(lab, V4.vpn_endpoint):
        sidecar.wait_until_ready()


def test_a_stop_waits_for_no_resolver(lab: Lab, make: Make) -> None:
    """One that is silent holds up neither health nor the end."""
    product = make(address=NAME)
    resolve_there(product, "timeout:5")
    with named(lab, V4.vpn_endpoint) as dns:
        dns.process.signal(signal.SIGSTOP)
        sidecar = product.sidecar().start()
        sidecar.wait_for_line("fwmark")
        until(lambda: "client: " in sidecar.readiness()[1], 3, "the health endpoint")
        assert sidecar.terminate(timeout=2) == 0
        dns.process.signal(signal.SIGCONT)


def test_a_stop_waits_for_no_fresh_code(make: Make) -> None:
    """The next attempt must not show the server the same code again; a new one takes half a minute."""
    product = make(login="password+totp")
    sidecar = product.start()
    kill(sidecar.status()["client"]["pid"])
    until(lambda: "one-time code" in sidecar.status()["client"]["detail"], 5, "the next attempt")
    assert sidecar.terminate(timeout=3) == 0


@pytest.mark.parametrize("protocol", ["gp", "pulse", "nc", "f5", "fortinet", "array"])
def test_the_program_takes_each_protocol(make: Make, protocol: str) -> None:
    """As far as it can be tried without such a server: openconnect tries to connect to a closed port."""
    product = make()
    sidecar = product.sidecar({"VPN_SERVER": f"{V4.vpn_endpoint}:9", "VPN_PROTOCOL": protocol}).start()
    line = sidecar.wait_for_line("next attempt")
    assert "ended with exit code 1" in line
    # This one asks more than a user name and a password, and does so before it connects.
    told = (
        "User input required"
        if protocol == "array"
        else f"connect to {V4.vpn_endpoint}:9: Connection refused"
    )
    assert told in line


REFUSED = {
    "protocol": (
        {"VPN_PROTOCOL": "anyconect"},
        "VPN_PROTOCOL='anyconect' is not known; take one of anyconnect",
    ),
    "server": ({"VPN_SERVER": "vpn example"}, "VPN_SERVER='vpn example' is no server"),
    "nobody": ({"VPN_USERNAME": ""}, "saw neither VPN_USERNAME nor a client certificate"),
    "no-password": ({"VPN_PASSWORD": ""}, "VPN_USERNAME without VPN_PASSWORD"),
    "passphrase": ({"VPN_KEY_PASSPHRASE": "x"}, "VPN_KEY_PASSPHRASE: VPN_ARGS names no client certificate"),
    "totp": ({"VPN_TOTP_SECRET": "not base32!"}, "VPN_TOTP_SECRET"),
    "script": ({"VPN_ARGS": "--script /bin/true"}, "--script: addresses and routes are set by Sidegate"),
    "config": (
        {"VPN_CONFIG": "/vpn/x"},
        "cannot use VPN_CONFIG: saw that VPN_CLIENT=openconnect has no use for it",
    ),
    "no-server": ({"VPN_SERVER": ""}, "saw no VPN_SERVER, which openconnect needs"),
}


@pytest.mark.parametrize(("environment", "named"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_named(lab: Lab, tmp_path: Path, environment: dict[str, str], named: str) -> None:
    """One message with what to do, exit 78."""
    given = {"VPN_CLIENT": "openconnect", "VPN_SERVER": NAME, "VPN_USERNAME": "ada", "VPN_PASSWORD": "x"}
    sidecar = Sidecar(lab.sidecar, tmp_path / "container", {**given, **environment}).start()
    assert sidecar.process.wait() == os.EX_CONFIG, sidecar.process.tail()
    (fault,) = [line for line in sidecar.lines if line.startswith("sidegate: ")]
    assert named in fault.replace('"', "'")
    assert ";" in fault


def test_every_option_of_the_program_is_judged() -> None:
    """What `openconnect --help` lists is taken or refused, with a value where it has one."""
    told = subprocess.run(["openconnect", "--help"], capture_output=True, text=True, check=False).stdout
    assert unjudged(told) == []


GROUPS = ("select-group = staff[Staff]", "select-group = guests[Guests]")


def test_a_group_is_chosen_by_an_argument(make: Make) -> None:
    """Without one the server's question has no answer, and no other line is taken for it and shown."""
    product = make(login="password+totp", more=GROUPS)
    sidecar = product.sidecar().start()
    assert "User input required" in sidecar.wait_for_line("next attempt")
    assert sidecar.terminate() == 0
    assert not any(PASSWORD in line for line in sidecar.lines)
    product.start(VPN_ARGS=f"{product.settings['VPN_ARGS']} --authgroup Staff")


NONSENSE = {
    "the-container-s-network": ("172.30.0.0/16", ("172.30.0.0/16", "172.30.0.1/32", V4.lan)),
    "everything-twice": (V4.tunnel, ("0.0.0.0/1", "128.0.0.0/1", V6.vpn_network)),
    "the-container-itself": (
        "172.30.9.0/24",
        (f"{V4.sidecar}/32", f"{V4.vpn_endpoint}/32", "169.254.0.0/16"),
    ),
}


@pytest.mark.parametrize(("pool", "routes"), NONSENSE.values(), ids=NONSENSE)
def test_what_a_server_pushes_does_not_touch_the_lan(
    lab: Lab, make: Make, pool: str, routes: tuple[str, ...]
) -> None:
    """A pool in the container's own network, routes to its gateway, to itself and to the server."""
    product = make(routes=routes, pool=pool)
    with echoes(lab):
        sidecar = product.start()
        assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
        assert reaches(lab.neighbour, V4.sidecar, SERVICE_PORT) is None
        assert sidecar.terminate() == 0
