"""VPN_DNS beside the real engine's resolver, whose file the engine makes and shares."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container.conftest import HARDENED, PRIVILEGES, wait_until_ready
from tests.container.stack import Stack, recipe
from tests.lab.addresses import V4
from tests.lab.dns_server import DnsServer
from tests.lab.docker import NETWORK, Container, DockerLab
from tests.lab.docker_image import IMAGE
from tests.lab.docker_parts import SERVICE_IMAGE
from tests.lab.openvpn_server import PUSH_VPN, OpenVPNServer
from tests.lab.waiting import until

INTRANET = "10.50.0.80"
VPN_DNS = ("--env=VPN_DNS=vpn", f"--dns={V4.docker_gateway}")
"""Docker's resolver asks the host's for what it does not know; the machine's own is none of the lab's."""
LITTLE = ("--cap-drop=ALL", *PRIVILEGES, "--security-opt=no-new-privileges")


@pytest.fixture
def push_dns(
    lab: DockerLab, make_server: Callable[..., OpenVPNServer], vpn_directory: Path
) -> Iterator[None]:
    """Start a server that pushes a resolver and a domain, the resolver, the host's, and a neighbour."""
    make_server(
        push=(PUSH_VPN, f"dhcp-option DNS {V4.server_b}", "dhcp-option DOMAIN corp.example")
    ).write_client_config(vpn_directory / "office.ovpn")
    behind = DnsServer(lab.server_b, V4.server_b, {"intranet.corp.example": INTRANET}).start()
    hosts = DnsServer(lab.server_a, V4.docker_gateway, {}).start()
    lab.start("neighbour", "--network", NETWORK, SERVICE_IMAGE, "sleep", "600")
    yield
    behind.process.terminate()
    hosts.process.terminate()


def look_up(container: Container, name: str) -> str | None:
    """Ask the container's C library for an IPv4 address."""
    words = container.execute("getent", "ahostsv4", name, check=False).stdout.split()
    return words[0] if words else None


def file_of(lab: DockerLab, container: Container) -> Path:
    """Return where the engine keeps the container's resolv.conf."""
    return Path(lab.engine.inspect(container.name)["ResolvConfPath"])


def wait_for_names(container: Container) -> None:
    """Wait until the VPN's resolver is asked."""
    wait_until_ready(container)
    until(lambda: look_up(container, "intranet.corp.example"), 10, "a name of the VPN")


@pytest.mark.usefixtures("push_dns")
def test_neighbours_and_the_vpn_are_both_found(
    lab: DockerLab, start_sidecar: Callable[..., Container]
) -> None:
    """Also by the service, which shares the file; after a stop, a start, a kill and a start as well."""
    sidecar = start_sidecar(*VPN_DNS, "--dns-search=side", privileges=LITTLE)
    wait_for_names(sidecar)
    service = lab.start_service("vpn")
    neighbour = lab.engine.inspect("neighbour")["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
    for container in (sidecar, service):
        assert look_up(container, "intranet.corp.example") == INTRANET
        assert look_up(container, "intranet") == INTRANET
        assert look_up(container, "neighbour") == neighbour
        assert look_up(container, "neighbour.side") == neighbour
    file = file_of(lab, sidecar)
    assert "127.0.0.83" in file.read_text()
    sidecar.stop()
    engines = file.read_text()
    assert "nameserver 127.0.0.11" in engines
    assert "sidegate" not in engines
    lab.engine.docker("start", "vpn")
    wait_for_names(sidecar)
    lab.engine.docker("kill", "vpn")
    sidecar.wait()
    lab.engine.docker("start", "vpn")
    wait_for_names(sidecar)
    assert look_up(sidecar, "neighbour") == neighbour
    sidecar.stop()
    assert file.read_text() == engines


@pytest.mark.usefixtures("push_dns")
def test_a_second_network_changes_nothing(lab: DockerLab, start_sidecar: Callable[..., Container]) -> None:
    """Its neighbours are found as well, whatever the engine makes of resolv.conf."""
    sidecar = start_sidecar(*VPN_DNS)
    wait_for_names(sidecar)
    lab.engine.docker("network", "create", "second")
    lab.start("other", "--network", "second", SERVICE_IMAGE, "sleep", "600")
    lab.engine.docker("network", "connect", "second", "vpn")
    until(lambda: look_up(sidecar, "other"), 10, "the new neighbour's name")
    assert look_up(sidecar, "neighbour")
    assert look_up(sidecar, "intranet.corp.example") == INTRANET
    lab.engine.docker("network", "disconnect", "second", "vpn")
    assert look_up(sidecar, "intranet.corp.example") == INTRANET


@pytest.mark.usefixtures("push_dns")
def test_the_recipe(lab: DockerLab, tmp_path: Path, vpn_directory: Path) -> None:
    """compose.example.yml with the page's lines: its service finds the VPN's names, and its neighbours."""
    stack = Stack(lab, tmp_path / "stack")
    stack.add("compose.override.yml", recipe("Names of the VPN"))
    # The machine's own resolver is none of the lab's, and a stack has a neighbour or two.
    neighbour = f"{{image: '{SERVICE_IMAGE}', command: sleep 600, init: true}}"
    stack.add("beside.yml", f"services: {{vpn: {{dns: [{V4.docker_gateway}]}}, db: {neighbour}}}\n")
    shutil.copy(vpn_directory / "office.ovpn", stack.directory / "vpn")
    stack.up()
    web = stack.container("web")

    def told(name: str) -> str:
        # It says "Connecting to NAME (ADDRESS:PORT)"; nobody listens there.
        return web.execute("wget", "-T", "1", "-O-", f"http://{name}:9/", check=False).stderr

    until(lambda: INTRANET in told("intranet.corp.example"), 10, "a name of the VPN")
    networks = lab.engine.inspect(stack.container("db").name)["NetworkSettings"]["Networks"]
    (address,) = (network["IPAddress"] for network in networks.values())
    assert address in told("db")


@pytest.mark.usefixtures("push_dns")
def test_a_read_only_root_needs_a_file_of_its_own(
    lab: DockerLab, tmp_path: Path, vpn_directory: Path, start_sidecar: Callable[..., Container]
) -> None:
    """The engine makes resolv.conf read-only with the root; the message says what to do, and that works."""
    volume = f"{vpn_directory}:/vpn:ro"
    done = lab.run("--network", NETWORK, "--volume", volume, *HARDENED, *VPN_DNS, IMAGE)
    assert done.returncode == 78
    assert "/etc/resolv.conf" in done.stderr
    assert "read_only" in done.stderr
    assert "mount" in done.stderr
    own = tmp_path / "resolv.conf"
    own.write_text("nameserver 127.0.0.11\noptions ndots:0\n")
    sidecar = start_sidecar(*VPN_DNS, f"--volume={own}:/etc/resolv.conf", privileges=HARDENED)
    wait_for_names(sidecar)
    assert look_up(sidecar, "neighbour")
    assert "127.0.0.83" in own.read_text()
    sidecar.stop()
    assert own.read_text() == "nameserver 127.0.0.11\noptions ndots:0\n"
