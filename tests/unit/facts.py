"""Facts of a healthy sidecar, for the tests of health to change one by one."""

from dataclasses import replace
from typing import Any

from healthcheck.facts import ClientFacts, Facts, NetworkFacts, OverlapFacts, ReplyFacts, TunnelFacts

ETH0 = NetworkFacts(
    interface="eth0", network="172.30.0.0/16", address="172.30.0.2", gateway="172.30.0.1", table=7100
)
ETH1 = NetworkFacts(
    interface="eth1", network="172.31.0.0/16", address="172.31.0.2", problem="saw two gateways; set GATEWAYS"
)
CLIENT = ClientFacts(
    name="openvpn",
    alive=True,
    pid=42,
    connected=True,
    detail="CONNECTED",
    server="198.51.100.1",
    pushed=("route 10.0.0.0 255.0.0.0", "auth-token SESS_ID_c2VjcmV0"),
)
TUNNEL = TunnelFacts(interface="tun0", up=True, addresses=("10.99.0.2",))
REPLY = ReplyFacts(source="172.30.0.2", destination="10.20.0.5")
OVERLAP = OverlapFacts(route="10.0.0.0/8", network="10.20.0.0/24", seen="a connection from 10.20.0.5")

HEALTHY = Facts(
    version="1.2.3",
    state="up",
    since=1_750_000_000.25,
    client=CLIENT,
    tunnel=TUNNEL,
    networks=(ETH0,),
    replies=(REPLY,),
    overlaps=(OVERLAP,),
    restarts=3,
    repairs=7,
)


def facts(**changes: Any) -> Facts:
    """Give the healthy facts with fields changed."""
    return replace(HEALTHY, **changes)


def client(**changes: Any) -> ClientFacts:
    """Give the healthy client with fields changed."""
    return replace(CLIENT, **changes)
