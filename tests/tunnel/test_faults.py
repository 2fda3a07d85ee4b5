"""What breaks under the running product, and comes back by itself."""

import signal
from collections.abc import Callable

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import reaches
from tests.lab.waiting import until
from tests.tunnel.product import (
    BACK_WITHIN,
    PRIORITY,
    TABLE,
    TUNNEL,
    Kernel,
    Product,
    echoes,
    kernel_events,
    kill,
    our_routes,
    our_rules,
    programs,
    seconds_until,
)


def client_of(sidecar: Sidecar) -> int | None:
    """Return the process id of the running client, None while there is none."""
    pid: int | None = sidecar.status()["client"]["pid"]
    return pid


def wait_for_another_client(sidecar: Sidecar, than: int | None, timeout: float = 5.0) -> None:
    """Wait until another client runs and the sidecar is ready."""
    until(lambda: client_of(sidecar) not in {None, than}, timeout, "another client")
    sidecar.wait_until_ready()


@pytest.mark.parametrize("push", ["redirect-gateway def1 ipv6", "redirect-gateway ipv6"])
def test_a_killed_client_finds_its_server_again(make_product: Callable[..., Product], push: str) -> None:
    """Killed with the default route in its hands: all is put back, and the next client connects."""
    product = make_product(push=(push,))
    before = Kernel.of(product.host)
    sidecar = product.start()
    old = client_of(sidecar)
    assert old
    kill(old)
    wait_for_another_client(sidecar, old)
    assert product.unreached(V4) == {}
    assert sidecar.status()["restarts"] == 1
    assert sidecar.terminate() == 0
    assert Kernel.of(product.host) == before


def test_the_first_restart_is_immediate_and_the_next_ones_are_not(product: Product) -> None:
    """A client that is killed again and again is started at once, then after 1 s, then after 2 s."""
    sidecar = product.start()
    for told in ("next attempt now", "next attempt in 1 s", "next attempt in 2 s"):
        seen = len(sidecar.lines)
        old = client_of(sidecar)
        assert old
        kill(old)
        sidecar.wait_for_line(f"warning openvpn: .*; {told}$", after=seen)
        wait_for_another_client(sidecar, old)
    assert sidecar.status()["restarts"] == 3


def test_a_killed_client_is_named_as_such(product: Product) -> None:
    """The log says what ended the client, not what followed from it."""
    sidecar = product.start()
    old = client_of(sidecar)
    assert old
    kill(old)
    assert "openvpn: was ended by SIGKILL" in sidecar.wait_for_line("next attempt now")


FAULTS_OF_THE_TUNNEL = {
    "deleted": f"link del {TUNNEL}",
    "set-down": f"link set {TUNNEL} down",
    "without-address": f"address del {{address}} dev {TUNNEL}",
}


@pytest.mark.parametrize("fault", FAULTS_OF_THE_TUNNEL.values(), ids=FAULTS_OF_THE_TUNNEL)
@pytest.mark.parametrize("server_has_ipv6", [True, False], ids=["both", "IPv4"])
def test_a_lost_tunnel_is_made_again(
    lab: Lab, make_product: Callable[..., Product], fault: str, *, server_has_ipv6: bool
) -> None:
    """A tunnel that somebody took away, set down or robbed of its address: VPN hosts are answered again."""
    product = make_product() if server_has_ipv6 else make_product(ipv6=False, push=())
    sidecar = product.start()
    lab.sidecar.ip(fault.format(address=f"{product.tunnel_address()}/24"))
    until(lambda: sidecar.status()["restarts"] == 1, 5, "the client to be started again")
    sidecar.wait_until_ready()
    assert reaches(lab.vpn_server, product.tunnel_address(), SERVICE_PORT) is None
    assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None


TAKEN_AWAY = {
    "rule": f"rule del from {V4.docker} priority {PRIORITY}",
    "rule-IPv6": f"-6 rule del from {V6.docker} priority {PRIORITY}",
    "table": f"route flush table {TABLE}",
    "table-IPv6": f"-6 route flush table {TABLE}",
    "default": f"route del default table {TABLE}",
    "connected": f"route del {V4.docker} table {TABLE}",
}


@pytest.mark.parametrize("taken", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
def test_what_is_taken_away_comes_back(standing: Product, taken: str) -> None:
    """Rules and routes that somebody deletes are back in no time, and nothing else changes."""
    sidecar = standing.start()
    try:
        before = Kernel.of(standing.host)
        standing.host.ip(taken)
        took = seconds_until(lambda: Kernel.of(standing.host) == before, BACK_WITHIN, f"{taken} undone")
        assert took < BACK_WITHIN
        assert standing.unreached(V4) == {}
        sidecar.wait_until_ready(1)
        assert sidecar.status()["restarts"] == 0
    finally:
        assert sidecar.terminate() == 0


def test_the_main_default_route_deleted_while_up_comes_back(lab: Lab, product: Product) -> None:
    """The LAN is answered all along; the next client has the route that it was started with."""
    sidecar = product.start()
    main = lab.sidecar.ip_json("route", "show", "default")
    lab.sidecar.ip("route del default")
    assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
    old = client_of(sidecar)
    assert old
    kill(old)
    wait_for_another_client(sidecar, old)
    assert lab.sidecar.ip_json("route", "show", "default") == main
    assert product.unreached(V4) == {}


def test_a_link_that_went_down_and_up_serves_again(lab: Lab, product: Product) -> None:
    """eth0 loses every route with it, and its IPv6 address; all come back, the main table's default too."""
    sidecar = product.start()
    main = [lab.sidecar.ip_json(option, "route", "show", "default") for option in ("-4", "-6")]
    lab.sidecar.ip("link set eth0 down")
    sidecar.wait_until_unready()
    lab.sidecar.ip("link set eth0 up")
    until(
        lambda: reaches(lab.laptop, V4.server_a, SERVICE_PORT, timeout=0.2) is None,
        3,
        "the laptop to be answered",
    )
    sidecar.wait_until_ready(20)
    for family in (V4, V6):
        assert product.unreached(family) == {}
    assert [lab.sidecar.ip_json(option, "route", "show", "default") for option in ("-4", "-6")] == main


def test_a_killed_entrypoint_is_succeeded_without_a_gap(lab: Lab, product: Product) -> None:
    """The next run adopts rule and table, ends the old client and starts one of its own."""
    first = product.start()
    old = client_of(first)
    rules, routes = our_rules(lab.sidecar), our_routes(lab.sidecar)
    both = len(rules) + len(our_rules(lab.sidecar, V6))
    with echoes(lab), kernel_events(lab.sidecar) as events:
        first.kill()
        assert our_rules(lab.sidecar) == rules
        second = product.start()
    assert our_rules(lab.sidecar) == rules
    assert our_routes(lab.sidecar) == routes
    ours = [event for event in events if f"lookup {TABLE}" in event or f"table {TABLE}" in event]
    assert ours == [], "what stands is adopted, not made anew"
    assert second.wait_for_line(rf"adopted {both} rules")
    assert programs(lab.sidecar, "openvpn") == [client_of(second)]
    assert old != client_of(second)
    assert product.unreached(V4) == {}


@pytest.mark.parametrize("push", ["redirect-gateway def1 ipv6", "redirect-gateway ipv6"])
def test_a_killed_entrypoint_owes_nothing_after_the_next_stop(
    make_product: Callable[..., Product], push: str
) -> None:
    """Entrypoint and client both killed with the default route moved: the next run puts all back."""
    product = make_product(push=(push,))
    before = Kernel.of(product.host)
    first = product.start()
    client = client_of(first)
    assert client
    # Frozen, it cannot tidy up when the kernel tells it that its parent is gone.
    product.host.run("kill", "-STOP", str(client))
    first.kill()
    kill(client)
    second = product.start()
    assert product.unreached(V4) == {}
    assert second.terminate() == 0
    assert Kernel.of(product.host) == before


def test_an_old_client_that_hangs_is_ended_by_the_next_run(product: Product) -> None:
    """A client that outlived its entrypoint and ignores SIGTERM does not stand beside the new one."""
    first = product.start()
    old = client_of(first)
    assert old
    product.host.run("kill", f"-{signal.SIGSTOP}", str(old))
    first.kill()
    second = product.start()
    assert programs(product.host, "openvpn") == [client_of(second)]
    assert product.unreached(V4) == {}
