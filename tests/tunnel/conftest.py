"""What the tests of the whole product share."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from entrypoint.clients.openvpn import OpenVPN
from tests.lab.topology import Lab
from tests.lab.wireguard_server import WireGuardServer
from tests.tunnel.product import AnyProduct, Product
from tests.unit.openvpn_maker import make_openvpn


@pytest.fixture
def make_client(tmp_path: Path) -> Callable[..., OpenVPN]:
    """Give a maker of clients for a configuration's text, with the keywords of `OpenVPN`."""
    return functools.partial(make_openvpn, tmp_path)


@pytest.fixture
def make_product(lab: Lab, tmp_path: Path) -> Callable[..., Product]:
    """Give a maker of the product in the lab, with the keywords of its `OpenVPNServer`."""
    return lambda **server: Product(lab, tmp_path, **server)


@pytest.fixture
def product(make_product: Callable[..., Product]) -> Product:
    """Give the product beside a server that pushes what covers the LAN, in both families."""
    return make_product()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Product]:
    """Give a lab and a product that the tests of a file share, because they only look.

    An indirect parameter holds the keywords of `Lab` and, below "server", those of `OpenVPNServer`.
    """
    options: dict[str, Any] = dict(getattr(request, "param", {}))
    server = options.pop("server", {})
    with Lab(**options) as lab:
        yield Product(lab, tmp_path_factory.mktemp("product"), **server)


@pytest.fixture
def make_wireguard(lab: Lab, tmp_path: Path) -> Callable[..., AnyProduct]:
    """Give a maker of the product beside a server with the keywords of `WireGuardServer`."""
    return lambda **server: AnyProduct(
        lab, tmp_path, WireGuardServer(lab.vpn_server, tmp_path / "server", **server)
    )


@pytest.fixture(scope="module")
def wireguard_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyProduct]:
    """Give a lab with a server of WireGuard that the tests of a file share."""
    directory = tmp_path_factory.mktemp("wireguard")
    with Lab() as lab:
        yield AnyProduct(lab, directory, WireGuardServer(lab.vpn_server, directory / "server"))


@pytest.fixture
def standing_wireguard(wireguard_lab: AnyProduct) -> AnyProduct:
    """Give it with the client's configuration as it was, for tests that leave nothing behind."""
    wireguard_lab.settings = wireguard_lab.vpn.settings(wireguard_lab.directory)
    return wireguard_lab
