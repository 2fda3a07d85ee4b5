"""A setting that is accepted has its effect: seen in the kernel, at the endpoint, in the log."""

import http.client

from tests.lab.addresses import V4, V6
from tests.lab.sidecar import Sidecar
from tests.lab.waiting import until
from tests.tunnel.product import Product, our_routes, our_rules


def test_priority_and_table_are_those_asked_for(standing: Product) -> None:
    """RULE_PRIORITY and ROUTE_TABLE, for both families."""
    sidecar = standing.start(RULE_PRIORITY="120", ROUTE_TABLE="9000")
    try:
        for family in (V4, V6):
            rules = our_rules(standing.host, family)
            # The tunnel's own side has the highest table that may be ours.
            both = {(120, "9000", "lo"), (120, "9063", "lo")}
            assert {(rule["priority"], rule["table"], rule["iif"]) for rule in rules} == both
            assert family.docker in {f"{rule['src']}/{rule.get('srclen')}" for rule in rules}
            assert {route["table"] for route in our_routes(standing.host, family)} == {"9000", "9063"}
            assert standing.unreached(family) == {}
    finally:
        sidecar.terminate()


def test_the_tunnel_has_the_name_asked_for(standing: Product) -> None:
    """VPN_INTERFACE names the link that openvpn makes, and the one that is looked for."""
    sidecar = standing.start(VPN_INTERFACE="office0")
    try:
        assert sidecar.status()["tunnel"]["interface"] == "office0"
        assert standing.host.addresses("office0")
    finally:
        sidecar.terminate()


def test_settings_come_from_a_dotenv_file_where_the_environment_is_silent(standing: Product) -> None:
    """ENV_FILE gives what the environment does not; what stands in both is the environment's."""
    file = standing.directory / "settings.env"
    file.write_text('RULE_PRIORITY=130  # ours\nROUTE_TABLE="9001"\n')
    sidecar = standing.start(ENV_FILE=str(file), ROUTE_TABLE="9002")
    try:
        rules = our_rules(standing.host)
        assert {(rule["priority"], rule["table"]) for rule in rules} == {(130, "9002"), (130, "9065")}
    finally:
        sidecar.terminate()


def test_the_endpoint_listens_where_it_is_told(standing: Product) -> None:
    """HEALTH_LISTEN on the container's address: others of its network can ask."""
    sidecar = standing.sidecar({"HEALTH_LISTEN": f"{V4.sidecar}:9900"}).start()
    try:

        def ask() -> int:
            connection = http.client.HTTPConnection(V4.sidecar, 9900, timeout=2)
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status
            except OSError:
                return 0
            finally:
                connection.close()

        until(lambda: standing.lab.neighbour.call(ask) == http.client.OK, 5, "the neighbour to be answered")
    finally:
        sidecar.terminate()


def test_a_quiet_log_tells_only_what_is_wrong(standing: Product) -> None:
    """LOG_LEVEL=warning: a run without a fault says nothing at all."""
    sidecar = standing.start(LOG_LEVEL="warning")
    assert sidecar.terminate() == 0
    assert sidecar.lines == []


def test_a_noisy_log_tells_the_states(standing: Product) -> None:
    """LOG_LEVEL=debug tells each transition."""
    sidecar = standing.start(LOG_LEVEL="debug")
    assert sidecar.terminate() == 0
    told = "\n".join(sidecar.lines)
    for step in ("starting -> connecting", "connecting -> up", "up -> stopping", "stopping -> stopped"):
        assert step in told


def test_two_sidecars_of_one_file_system_do_not_meet(standing: Product) -> None:
    """What a run keeps belongs to its network namespace: another namespace's run is not asked for health."""
    sidecar = standing.start()
    try:
        elsewhere = Sidecar(standing.lab.neighbour, sidecar.directory, {})
        code, said = elsewhere.healthcheck()
        assert code == 1
        assert "the default" in said
    finally:
        sidecar.terminate()
