from ipaddress import ip_address

import pytest

from entrypoint.remarks import crowds, moved, remarks, why_no_tunnel
from tests.unit.kernel_values import DOCKER, DUAL, Seen

BOTH = DUAL.link("tun0", "tun").address("tun0", "10.99.0.2/24")
POD = Seen().link("eth0").address("eth0", "10.244.1.5/32")


@pytest.mark.parametrize(
    ("name", "refused"), [("eth0", True), ("lo", True), ("tun0", False), ("tun1", False)]
)
def test_a_link_that_is_no_tunnel_cannot_become_one(name: str, *, refused: bool) -> None:
    """One that is not there yet can, and so can the tunnel that a killed run left."""
    why = why_no_tunnel(BOTH.snapshot, name)
    assert (why is not None) == refused
    assert why is None or why.startswith(f"cannot use VPN_INTERFACE={name}: ")
    assert why_no_tunnel(BOTH.snapshot, None) is None


@pytest.mark.parametrize(
    ("seen", "link", "gateway", "remark"),
    [
        (BOTH, "eth0", "172.30.0.1", None),
        (BOTH, "eth0", "172.30.0.9", "goes before 172.30.0.1, which a default route names"),
        (BOTH, "eth0", "fd00:30::9", "goes before fd00:30::1, which a default route names"),
        (BOTH, "eth0", "fe80::9", "goes before fd00:30::1, which a default route names"),
        (DOCKER, "eth0", "fd00:30::9", None),
        (POD, "eth0", "169.254.1.1", None),
        (POD, "eth0", "10.244.0.1", None),
        (BOTH, "eth1", "172.31.0.1", "there is no eth1 yet"),
        (BOTH, "tun0", "10.99.0.1", "tun0 is a tunnel"),
        (BOTH, "eth0", "10.20.0.1", "lies in no network of eth0"),
        (BOTH, "eth0", "fd00:31::9", "lies in no network of eth0"),
    ],
)
def test_what_is_strange_about_a_gateway_is_told(
    seen: Seen, link: str, gateway: str, remark: str | None
) -> None:
    """An interface may be named before it is there, and a pod's gateway lies outside of its network."""
    address = ip_address(gateway)
    found = list(remarks(seen.snapshot, {(link, address.version): address}))
    assert len(found) == (remark is not None)
    assert all(text.startswith(f"GATEWAYS={link}={gateway}") and str(remark) in text for text in found)


@pytest.mark.parametrize(("priority", "told"), [(None, False), (90, False), (91, False), (88, True)])
def test_rules_that_had_to_move_are_told(priority: int | None, *, told: bool) -> None:
    """Behind RULE_PRIORITY stand only those by destination, where there are no others."""
    assert (moved(priority, 90) is not None) == told


def test_a_link_with_more_routers_than_are_copied_is_named() -> None:
    """And no other is."""
    assert list(crowds(frozenset())) == []
    (told,) = crowds(frozenset({"eth0"}))
    assert told.startswith("cannot copy every route by another router of eth0: saw more than 512")
