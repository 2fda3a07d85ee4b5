"""An echo every millisecond over an established LAN connection loses none where OpenVPN moves the default.

What every client has to hold is in test_every_client.py.
"""

from collections.abc import Callable

import pytest

from tests.lab.topology import Lab
from tests.tunnel.product import Product, echoes


@pytest.mark.parametrize("redirect", ["redirect-gateway def1 ipv6", "redirect-gateway ipv6"])
def test_none_is_lost_while_the_default_route_moves(
    lab: Lab, make_product: Callable[..., Product], redirect: str
) -> None:
    """The client takes the main table's default route over, and gives it back."""
    product = make_product(push=(redirect,))
    with echoes(lab):
        assert product.start().terminate() == 0
