"""What providers' configurations and servers ask of OpenVPN, each with a real server that does its half."""

import asyncio
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from entrypoint.clients.base import Report
from entrypoint.clients.openvpn import OpenVPN
from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.openvpn_server import OpenVPNServer, identity
from tests.lab.topology import Lab
from tests.lab.traffic import reaches
from tests.lab.waiting import until
from tests.tunnel.attempt import Attempt
from tests.tunnel.product import PUSH, Kernel, Product, echoes, first_line


def openvpn_key(directory: Path, kind: str, *more: str) -> str:
    """Make a key with `openvpn --genkey`."""
    file = directory / f"{kind}.key"
    subprocess.run(["openvpn", "--genkey", kind, file, *more], check=True)
    return file.read_text()


def block(name: str, content: str) -> str:
    """Return an inline file."""
    return f"<{name}>\n{content}</{name}>"


def tls_lines(directory: Path, kind: str) -> tuple[list[str], list[str]]:
    """Return a server's lines and a client's for an additional key of the control channel."""
    directory.mkdir(exist_ok=True)
    if kind == "tls-crypt-v2":
        servers = openvpn_key(directory, "tls-crypt-v2-server")
        file = directory / "v2-client.key"
        argv = ("openvpn", "--tls-crypt-v2", directory / "tls-crypt-v2-server.key", "--genkey")
        subprocess.run([*argv, "tls-crypt-v2-client", file], check=True, capture_output=True)
        return [block(kind, servers)], [block(kind, file.read_text())]
    shared = block(kind, openvpn_key(directory, kind))
    if kind == "tls-auth":
        return [shared, "key-direction 0"], [shared, "key-direction 1"]
    return [shared], [shared]


@pytest.mark.parametrize("kind", ["tls-auth", "tls-crypt", "tls-crypt-v2"])
def test_the_control_channel_may_have_a_key_of_its_own(
    make_product: Callable[..., Product], tmp_path: Path, kind: str
) -> None:
    """As commercial providers have it, inline."""
    servers, clients = tls_lines(tmp_path / "keys", kind)
    product = make_product(lines=servers)
    product.server.write_client_config(product.config, *clients)
    product.start()
    assert product.unreached() == {}


@pytest.mark.parametrize(
    ("servers", "clients"),
    [
        (("comp-lzo no", "allow-compression asym"), ("comp-lzo no",)),
        (("comp-lzo yes", "allow-compression yes"), ("comp-lzo",)),
        (("compress", "allow-compression asym"), ("compress",)),
        (("compress stub-v2",), ("compress stub-v2",)),
        (("compress stub-v2",), ()),
        (("comp-lzo no", "allow-compression asym", 'push "comp-lzo no"'), ()),
        (("compress stub-v2", 'push "compress stub-v2"'), ("comp-lzo",)),
    ],
    ids=" ".join,
)
def test_stubs_of_compression_fit(
    make_product: Callable[..., Product], servers: Sequence[str], clients: Sequence[str]
) -> None:
    """Where both sides have the line, and where the server's own comes with its options."""
    product = make_product(lines=servers)
    product.server.write_client_config(product.config, *clients)
    sidecar = product.start()
    assert product.unreached() == {}
    noted = [line for line in sidecar.lines if "fits only a server that has it, too" in line]
    assert len(noted) == len(clients)


@pytest.mark.parametrize("flags", ["def1", "def1 ipv6", "", "autolocal def1 bypass-dhcp"])
def test_all_traffic_through_the_tunnel_leaves_the_lan_alone(
    lab: Lab, make_product: Callable[..., Product], flags: str
) -> None:
    """With and without def1, where openvpn takes the default route away; at the end all is as before."""
    product = make_product(push=(f"redirect-gateway {flags}".strip(), *PUSH))
    before = Kernel.of(lab.sidecar)
    with echoes(lab):
        sidecar = product.start()
        assert product.unreached() == product.unreached(V6) == {}
        assert sidecar.terminate() == 0
    assert Kernel.of(lab.sidecar) == before


def test_pushed_routes_may_be_refused(lab: Lab, make_product: Callable[..., Product]) -> None:
    """`route-nopull`: the configuration's own routes stand alone, and both sides of them are answered."""
    product = make_product()
    product.server.write_client_config(
        product.config, "route-nopull", f"route {V4.server_b_network.partition('/')[0]} 255.255.255.0"
    )
    sidecar = product.start()
    assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
    assert reaches(lab.server_b, product.tunnel_address(), SERVICE_PORT) is None
    pushed = sidecar.status()["client"]["pushed"]
    assert pushed == [f"route {V4.server_b_network}"]


@pytest.mark.parametrize(
    ("push", "brought"),
    [
        (
            (
                "dhcp-option DNS 10.0.0.53",
                "dhcp-option DNS6 fd00::53",
                "dhcp-option DOMAIN corp.example",
                "dhcp-option DOMAIN-SEARCH lab.example",
            ),
            "10.0.0.53 fd00::53 corp.example lab.example",
        ),
        (
            (
                "dns server 1 address 10.0.0.54 fd00::54",
                "dns server 0 address 10.0.0.55",
                "dns server 2 address 10.0.0.56:5353",
                "dns search-domains lab.example corp.example",
            ),
            "10.0.0.55 10.0.0.54 fd00::54 lab.example corp.example",
        ),
    ],
    ids=["dhcp-option", "dns"],
)
def test_pushed_resolvers_are_reported(
    lab: Lab,
    make_server: Callable[..., OpenVPNServer],
    make_client: Callable[..., OpenVPN],
    push: Sequence[str],
    brought: str,
) -> None:
    """In the spelling of today and in that of OpenVPN 2.6 and later."""
    server = make_server(ipv6=True, push=push)
    report = until_told(make_client(server.client_config()), lab, lambda report: report.connected)
    assert " ".join(map(str, (*report.resolvers, *report.search))) == brought


def until_told(client: OpenVPN, lab: Lab, condition: Callable[[Report], bool]) -> Report:
    """Return the first report of an attempt that fits."""

    async def scenario() -> Report:
        async with Attempt(client, lab.sidecar) as attempt:
            return await attempt.until(condition)

    return asyncio.run(scenario())


def test_a_server_with_a_wrong_certificate_is_named_and_not_accepted(
    make_product: Callable[..., Product],
) -> None:
    """Health says that the certificate does not fit, not that nobody answers."""
    product = make_product()
    text = product.config.read_text()
    product.config.write_text(text.replace(identity("server").fingerprint, identity("another").fingerprint))
    sidecar = product.sidecar().start()
    told = "one side does not trust the other's certificate"
    until(lambda: told in first_line(sidecar), 5, "health to name it")
    assert not product.host.ip_json("link", "show", "type", "tun")


def test_a_server_that_does_not_know_us_is_named(make_product: Callable[..., Product]) -> None:
    """The server drops the client's certificate without a word: health says what that looks like."""
    product = make_product()
    text = product.config.read_text().replace(identity("client").inline(), identity("stranger").inline())
    product.config.write_text(text)
    sidecar = product.sidecar({"VPN_UP_TIMEOUT": "2s"}).start()
    told = "authenticating (a server that does not accept our certificate may say nothing)"
    until(lambda: told in first_line(sidecar), 5, "health to name it")
    assert told in sidecar.wait_for_line("next attempt now")


def test_a_name_that_does_not_resolve_is_named(make_product: Callable[..., Product]) -> None:
    """In health at once, and in the log once the attempt is over."""
    product = make_product()
    text = product.config.read_text().replace(V4.vpn_endpoint, "nobody.invalid")
    product.config.write_text(text)
    sidecar = product.sidecar({"VPN_UP_TIMEOUT": "2s"}).start()
    told = "the server's name cannot be looked up: check `remote` and the container's DNS (nobody.invalid)"
    until(lambda: told in first_line(sidecar), 5, "health to name it")
    assert told in sidecar.wait_for_line("next attempt now")
    sidecar.wait_for_line("Cannot resolve host address: nobody.invalid")
