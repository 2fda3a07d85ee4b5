"""WireGuard is up when somebody answered, and calls again who has fallen silent."""

from collections.abc import Callable

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import reaches
from tests.lab.waiting import until
from tests.lab.wireguard_server import PORT, preshared_key, private_key, public_key
from tests.tunnel.product import AnyProduct, Kernel, echoes, first_line
from tests.tunnel.wireguarded import EVERYTHING, stand_in, with_config

SILENT = "198.51.100.77"
"""Nobody has this address, and nobody says so."""
MOVED = "198.51.100.11"
HURRIED = """
from entrypoint.clients import wg_session, wg_tools, wg_watch
wg_session.REJECT_AFTER_SECONDS, wg_session.ANSWER_SECONDS = 1.5, 0.5
wg_watch.CALL_SECONDS, wg_tools.LIMIT_SECONDS = 0.5, 1.0
"""
"""WireGuard's three minutes in a second and a half, as Python's start-up takes it in (site)."""


def hurried(product: AnyProduct, code: str = HURRIED, **environment: str) -> Sidecar:
    """Describe a sidecar in which WireGuard's times are short."""
    folder = product.directory / "hurried"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return product.sidecar({"PYTHONPATH": str(folder), **environment})


NEVER = {
    "nobody": lambda text: text.replace(V4.vpn_endpoint, SILENT),
    "wrong-server-key": lambda text: text.replace(
        public_key(private_key("server")), public_key(private_key("stranger"))
    ),
    "wrong-own-key": lambda text: text.replace(private_key("client"), private_key("stranger")),
    "wrong-preshared-key": lambda text: text.replace(
        "[Peer]", f"[Peer]\nPresharedKey = {preshared_key('stranger')}"
    ),
}


@pytest.mark.parametrize("change", NEVER.values(), ids=NEVER)
def test_without_a_handshake_it_is_never_ready(
    standing_wireguard: AnyProduct, change: Callable[[str], str]
) -> None:
    """The link alone is no tunnel; health and log say what does not answer, and the LAN is served."""
    product = standing_wireguard
    before = Kernel.of(product.host)
    sidecar = with_config(product, change).sidecar({"VPN_UP_TIMEOUT": "1s"}).start()
    sidecar.wait_for_line("ip address add 10.99.0.2/32 dev client")
    until(lambda: "no handshake with 198.51.100." in first_line(sidecar), 2, "the cause")
    assert not sidecar.ready()
    sidecar.wait_for_line(
        r"brought up no tunnel within 1 s \(it says: no handshake with 198\.51\.100\.\d+:51820: "
    )
    assert reaches(product.lab.laptop, V4.server_a, SERVICE_PORT) is None
    into_tunnel = [line for line in sidecar.lines if "dev client scope link" in line and "table" not in line]
    assert not into_tunnel, "no route before a handshake"
    assert sidecar.terminate() == 0
    assert Kernel.of(product.host) == before


def test_a_name_that_is_not_known_is_told_and_tried_again(make_wireguard: Callable[..., AnyProduct]) -> None:
    """The container goes on, with a growing delay; once the name is known the tunnel comes."""
    sidecar = make_wireguard(endpoint=f"vpn.lab:{PORT}").sidecar().start()
    sidecar.wait_for_line(
        r"wireguard: the server's name vpn\.lab cannot be looked up: .*; next attempt in 1 s"
    )
    assert "cannot be looked up" in first_line(sidecar)
    sidecar.knows("vpn.lab", V4.vpn_endpoint)
    sidecar.wait_until_ready()


def test_an_address_that_is_silent_gives_way_to_the_next(make_wireguard: Callable[..., AnyProduct]) -> None:
    """A name with several addresses, of which the preferred one does not answer; the next is IPv6."""
    product = make_wireguard(endpoint=f"vpn.lab:{PORT}")
    sidecar = hurried(product)
    sidecar.knows("vpn.lab", SILENT, V6.vpn_endpoint)
    sidecar.start().wait_until_ready()
    assert sidecar.status()["client"]["server"] == V6.vpn_endpoint
    assert sidecar.status()["restarts"] == 0
    assert product.unreached(V4) == {}


def test_a_name_is_looked_up_again_once_its_server_is_silent(
    lab: Lab, make_wireguard: Callable[..., AnyProduct]
) -> None:
    """The server moves: the handshake grows old, health says so, the new address is called.

    The routes of a full tunnel stand meanwhile, and take none of WireGuard's own packets.
    """
    product = make_wireguard(endpoint=f"vpn.lab:{PORT}", allowed=EVERYTHING)
    sidecar = hurried(product)
    sidecar.knows("vpn.lab", V4.vpn_endpoint)
    sidecar.start().wait_until_ready()
    with echoes(lab):
        lab.vpn_server.ip(
            f"address del {V4.vpn_endpoint}/24 dev internet", f"address add {MOVED}/24 dev internet"
        )
        told = sidecar.wait_until_unready()
        assert f"no handshake with {V4.vpn_endpoint}:{PORT} (vpn.lab) any more" in told
        sidecar.knows("vpn.lab", MOVED)
        sidecar.wait_for_line(rf"calling {MOVED}:{PORT} \(vpn\.lab\)")
        sidecar.wait_until_ready()
    assert sidecar.status()["restarts"] == 0


def test_a_file_without_keepalive_gets_its_handshake_all_the_same(
    make_wireguard: Callable[..., AnyProduct],
) -> None:
    """WireGuard says nothing while there is nothing to send, so it is given a reason."""
    product = with_config(make_wireguard(), lambda text: f"{text}PersistentKeepalive = off\n")
    product.start()
    assert product.unreached(V4) == {}


def test_a_peer_is_asked_before_it_is_called_dead(make_wireguard: Callable[..., AnyProduct]) -> None:
    """Keys too old may mean that there was nothing to send: something is, and health waits for the answer."""
    product = make_wireguard()
    record = product.directory / "arguments"
    path = stand_in(product, "wg", f'echo "$@" >>{record}\nexec /usr/bin/wg "$@"\n')
    sidecar = hurried(product, PATH=path).start().wait_until_ready()
    assert " persistent-keepalive 1 " not in record.read_text()
    until(lambda: " persistent-keepalive 1 " in record.read_text(), 5, "the peer to be asked")
    assert sidecar.ready()


def test_one_of_several_peers_is_enough_and_the_silent_one_is_told(
    make_wireguard: Callable[..., AnyProduct],
) -> None:
    """A restart for the sake of one peer would cost the others their tunnel."""
    other = f"[Peer]\nPublicKey = {public_key(private_key('stranger'))}\nAllowedIPs = 10.7.0.0/16\n"
    product = with_config(make_wireguard(), lambda text: f"{text}{other}Endpoint = {SILENT}:{PORT}\n")
    sidecar = product.start()
    sidecar.wait_for_line(f"warning wireguard: no handshake with {SILENT}:{PORT}, which is silent")
    assert f"[!] client: no handshake with {SILENT}:{PORT}" in sidecar.readiness()[1]
    assert product.unreached(V4) == {}


@pytest.mark.parametrize("moment", ["starting", "calling"])
def test_a_stop_on_the_way_up_leaves_nothing(standing_wireguard: AnyProduct, moment: str) -> None:
    """While wireguard-go starts, and while nobody answers."""
    product = standing_wireguard
    before, processes = Kernel.of(product.host), set(product.host.pids())
    with_config(product, NEVER["nobody"])
    sidecar = product.sidecar().start()
    line = "ip rule add from all fwmark" if moment == "starting" else "ip address add"
    sidecar.wait_for_line(line)
    assert sidecar.terminate() == 0
    assert Kernel.of(product.host) == before
    assert set(product.host.pids()) == processes
