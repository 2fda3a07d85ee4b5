import time
from collections.abc import Callable
from pathlib import Path

from tests.container.conftest import FIRST_HEALTHY, PRIVILEGES, wait_until_ready
from tests.lab.addresses import V4
from tests.lab.docker import NETWORK, Container, DockerLab, fetch
from tests.lab.docker_image import IMAGE
from tests.lab.openvpn_server import READY, OpenVPNServer


def test_a_published_service_answers_both_ways(lab: DockerLab, ready_sidecar: Container) -> None:
    """The laptop reaches the port that server A publishes, server B the address in the VPN."""
    lab.start_service(beside="vpn")
    address = ready_sidecar.tunnel_address()
    assert fetch(lab.laptop, V4.server_a) == f"{V4.sidecar} answers {V4.laptop}"
    assert fetch(lab.server_b, address) == f"{address} answers {V4.server_b}"


def test_without_the_rule_the_lan_times_out(
    lab: DockerLab, server: OpenVPNServer, vpn_directory: Path
) -> None:
    """Control: openvpn alone in the same container and network answers the VPN and loses the LAN."""
    server.write_client_config(vpn_directory / "office.ovpn")
    bare = lab.start(
        "bare",
        *("--network", NETWORK, "--publish", "80:80", "--volume", f"{vpn_directory}:/vpn:ro", *PRIVILEGES),
        *("--entrypoint=openvpn", IMAGE, "--config", "/vpn/office.ovpn"),
    )
    lab.start_service(beside="bare")
    bare.wait_for_line(READY)
    address = bare.tunnel_address()
    assert fetch(lab.server_b, address) == f"{address} answers {V4.server_b}"
    assert fetch(lab.laptop, V4.server_a) == "timed out"


def test_the_lan_is_answered_while_the_server_is_away(
    lab: DockerLab, server: OpenVPNServer, vpn_directory: Path, start_sidecar: Callable[..., Container]
) -> None:
    """The container and its published port outlive the VPN."""
    server.write_client_config(vpn_directory / "office.ovpn")
    began = time.time()
    sidecar = start_sidecar("--health-interval=1s")
    sidecar.wait_for_health("healthy", FIRST_HEALTHY, since=began)
    lab.start_service(beside="vpn")
    server.kill()
    sidecar.wait_for_health("unhealthy", 20, since=time.time())
    assert fetch(lab.laptop, V4.server_a) == f"{V4.sidecar} answers {V4.laptop}"
    assert sidecar.state["Running"]
    assert lab.engine.inspect("vpn")["RestartCount"] == 0


def test_a_password_comes_from_a_secret(
    make_server: Callable[..., OpenVPNServer],
    vpn_directory: Path,
    tmp_path: Path,
    start_sidecar: Callable[..., Container],
    lab: DockerLab,
) -> None:
    """VPN_PASSWORD_FILE is enough to log in, and the password shows up nowhere outside."""
    password = "correct-horse-battery"  # noqa: S105 - it is looked for below
    secret = tmp_path / "password"
    secret.write_text(f"{password}\n")
    server = make_server(login=("alice", password))
    server.write_client_config(vpn_directory / "office.ovpn")
    sidecar = start_sidecar(
        *("--env", "VPN_USERNAME=alice", "--env", "VPN_PASSWORD_FILE=/run/secrets/vpn_password"),
        *("--volume", f"{secret}:/run/secrets/vpn_password:ro"),
    )
    wait_until_ready(sidecar)
    assert server.login_attempts() == 1
    processes = sidecar.execute("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'")
    assert "openvpn" in processes.stdout
    for said in (
        processes.stdout,
        "\n".join(sidecar.lines),
        sidecar.execute("sidegate", "status").stdout,
        str(lab.engine.inspect("vpn")),
    ):
        assert password not in said
