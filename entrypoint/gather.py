"""Puts together what health has to know."""

from entrypoint import __version__
from entrypoint.detect import ContainerNetwork
from entrypoint.overlap import Overlap
from entrypoint.reconcile import Reconciler
from entrypoint.supervisor import Supervisor
from healthcheck.facts import ClientFacts, Facts, NetworkFacts, OverlapFacts, ReplyFacts, TunnelFacts


def gather(supervisor: Supervisor, reconciler: Reconciler, overlaps: list[Overlap]) -> Facts:
    """Return the facts of this moment."""
    view, report = reconciler.view, supervisor.report
    return Facts(
        version=__version__,
        state=supervisor.state.value,
        since=supervisor.since,
        client=ClientFacts(
            name=supervisor.client.name,
            alive=supervisor.alive,
            pid=supervisor.tree.pid if supervisor.tree and supervisor.alive else None,
            connected=report.connected,
            stands=report.stands,
            detail=report.detail,
            failure=report.failure or supervisor.failure,
            server=str(report.server) if report.server else None,
            pushed=report.pushed,
            next_attempt=supervisor.next_attempt,
        ),
        tunnel=_tunnel(supervisor),
        networks=tuple(
            NetworkFacts(
                interface=network.link,
                network=str(network.network),
                address=str(network.interface.ip),
                gateway=str(network.gateway) if network.gateway else None,
                table=view.tables.get(network.link),
                problem=_broken(network) or network.problem,
            )
            for network in view.networks
        ),
        policy_problem=view.problem,
        replies=tuple(
            ReplyFacts(source=str(reply.source), destination=str(reply.destination), problem=reply.problem)
            for reply in view.replies
        ),
        overlaps=tuple(
            OverlapFacts(route=str(overlap.route), network=str(overlap.network), seen=overlap.seen)
            for overlap in overlaps
        ),
        restarts=supervisor.restarts,
        repairs=reconciler.repairs,
    )


def _broken(network: ContainerNetwork) -> str | None:
    if not network.up:
        return "its link is down"
    return None if network.carrier else "its link has no carrier: the other end is down"


def _tunnel(supervisor: Supervisor) -> TunnelFacts | None:
    if supervisor.tunnel is None:
        return None
    link, addresses = supervisor.tunnel
    return TunnelFacts(interface=link.name, up=link.up, addresses=tuple(str(a) for a in addresses))
