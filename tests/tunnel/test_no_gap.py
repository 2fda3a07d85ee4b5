"""Promise 2: an echo every millisecond over an established LAN connection loses none, whatever happens."""

from collections.abc import Callable

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.topology import Lab
from tests.lab.traffic import reaches
from tests.lab.waiting import until
from tests.tunnel.product import Product, echoes, kill


def test_none_is_lost_while_the_tunnel_comes_up_and_goes_down(lab: Lab, product: Product) -> None:
    """From before the start until after the end."""
    with echoes(lab):
        sidecar = product.start()
        assert product.unreached() == {}
        assert sidecar.terminate() == 0


@pytest.mark.parametrize("redirect", ["redirect-gateway def1 ipv6", "redirect-gateway ipv6"])
def test_none_is_lost_while_the_default_route_moves(
    lab: Lab, make_product: Callable[..., Product], redirect: str
) -> None:
    """The client takes the main table's default route over, and gives it back."""
    product = make_product(push=(redirect,))
    with echoes(lab):
        assert product.start().terminate() == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_none_is_lost_while_the_server_is_gone_and_back(lab: Lab, product: Product, end: str) -> None:
    """A server that says farewell, and one that falls silent: the client reconnects, both ways are back."""
    sidecar = product.start()
    with echoes(lab):
        getattr(product.server, end)()
        sidecar.wait_until_unready()
        assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
        product.server.start()
        sidecar.wait_until_ready(20)
        assert product.unreached(V4) == product.unreached(V6) == {}


def test_none_is_lost_while_the_client_is_killed(lab: Lab, product: Product) -> None:
    """SIGKILL of openvpn: a new one takes over."""
    sidecar = product.start()
    with echoes(lab):
        old = sidecar.status()["client"]["pid"]
        kill(old)
        until(lambda: sidecar.status()["client"]["pid"] not in {None, old}, 5, "a new client")
        sidecar.wait_until_ready()


def test_none_is_lost_while_the_entrypoint_is_killed_and_started_again(lab: Lab, product: Product) -> None:
    """SIGKILL of the entrypoint: the rules stay, and the next run adopts them."""
    first = product.start()
    with echoes(lab):
        first.kill()
        product.start()
