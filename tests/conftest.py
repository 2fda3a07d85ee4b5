"""What tests share: hosts, the lab, servers and the program under test."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.lab.namespaces import Namespace, Namespaces
from tests.lab.openvpn_server import OpenVPNServer
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab

NEED_ROOT = frozenset({"kernel", "tunnel", "container"})
"""Directories whose tests make namespaces."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail where root is missing: a skip would look like a pass."""
    if os.geteuid() and NEED_ROOT.intersection(item.path.parts):
        pytest.fail(
            "cannot make network namespaces: this is not root; run as root, or `make check` for the rest",
            pytrace=False,
        )


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    """Give a group of hosts to add to."""
    with Namespaces() as group:
        yield group


@pytest.fixture
def namespace(namespaces: Namespaces) -> Namespace:
    """Give one empty host."""
    return namespaces.add("host")[0]


@pytest.fixture
def make_lab() -> Iterator[Callable[..., Lab]]:
    """Give a builder of labs with the keywords of `Lab`."""
    with ExitStack() as stack:

        def make(**options: Any) -> Lab:
            return stack.enter_context(Lab(**options))

        yield make


@pytest.fixture
def lab(make_lab: Callable[..., Lab], request: pytest.FixtureRequest) -> Lab:
    """Give the lab as it usually is, or with the keywords that an indirect parameter holds."""
    return make_lab(**getattr(request, "param", {}))


@pytest.fixture
def make_server(lab: Lab, tmp_path: Path) -> Callable[..., OpenVPNServer]:
    """Give a starter of OpenVPN servers in the lab, with the keywords of `OpenVPNServer`."""

    def make(**options: Any) -> OpenVPNServer:
        return OpenVPNServer(lab.vpn_server, tmp_path / "server", **options).start()

    return make


@pytest.fixture
def server(make_server: Callable[..., OpenVPNServer]) -> OpenVPNServer:
    """Give a running OpenVPN server that pushes the route which covers the LAN."""
    return make_server()


@pytest.fixture
def make_sidecar(lab: Lab, tmp_path: Path) -> Callable[..., Sidecar]:
    """Give a maker of sidecars in the lab: their environment, and the keywords of `Sidecar`."""

    def make(environment: Mapping[str, str], **options: Any) -> Sidecar:
        return Sidecar(lab.sidecar, tmp_path / "container", environment, **options)

    return make
