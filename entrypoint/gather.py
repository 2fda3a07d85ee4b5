"""Puts together what health, the hooks and the resolver have to know."""

from entrypoint import __version__
from entrypoint.dns import Dns, Surroundings
from entrypoint.hooks import Hooks, TunnelEvent
from entrypoint.kill_switch import KillSwitch
from entrypoint.lifecycle import State
from entrypoint.log import hide
from entrypoint.overlap import Overlap
from entrypoint.probe import Probe
from entrypoint.reconcile import Reconciler
from entrypoint.resolv_conf import Choice, upstream
from entrypoint.supervisor import Supervisor
from healthcheck.facts import (
    ClientFacts,
    Facts,
    GateFacts,
    NetworkFacts,
    OverlapFacts,
    ProbeFacts,
    ReplyFacts,
    TunnelFacts,
    WarningFacts,
)


def gather(
    supervisor: Supervisor,
    reconciler: Reconciler,
    overlaps: list[Overlap],
    probe: Probe | None,
    hooks: Hooks,
    *,
    dns: Dns,
    kill_switch: KillSwitch,
) -> Facts:
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
            stopped=bool(supervisor.tree and supervisor.tree.stopped),
            connected=report.connected,
            stands=report.stands if report.connected else "",
            # What a program or a server said may quote what it was told.
            detail=hide(report.detail),
            failure=hide(report.failure or supervisor.failure or "") or None,
            server=str(report.server) if report.server else None,
            # In one go, as it is thousands at times.
            pushed=tuple(hide("\n".join(report.pushed)).split("\n")) if report.pushed else (),
            next_attempt=supervisor.next_attempt,
        ),
        tunnel=_tunnel(supervisor),
        probe=_probe(probe) if probe else None,
        gate=GateFacts(problem=kill_switch.problem, repairs=kill_switch.repairs) if kill_switch.on else None,
        networks=tuple(
            NetworkFacts(
                interface=network.link,
                network=str(network.network),
                address=str(network.interface.ip),
                gateway=str(network.gateway) if network.gateway else None,
                table=view.tables.get(network.link),
                problem=network.fault or network.problem,
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
            for overlap in (overlaps if supervisor.tunnel else ())
        ),
        warnings=(
            *((WarningFacts(name="client", text=report.warning),) if report.warning else ()),
            *(
                WarningFacts(name=setting.lower(), text=hide(f"{setting} failed: {failure}"))
                for setting, failure in hooks.failures.items()
            ),
            *((WarningFacts(name="dns", text=dns.problem),) if dns.problem else ()),
            *(
                (WarningFacts(name="firewall", text=kill_switch.problem),)
                if kill_switch.problem and not kill_switch.on
                else ()
            ),
        ),
        restarts=supervisor.restarts,
        repairs=reconciler.repairs,
    )


def tunnel_event(supervisor: Supervisor, reconciler: Reconciler) -> TunnelEvent | None:
    """Return what hooks are told of the tunnel; None where it is gone by now."""
    if supervisor.tunnel is None:
        return None
    tunnel, report = supervisor.tunnel, supervisor.report
    return TunnelEvent(
        client=supervisor.client.name,
        interface=tunnel.link.name,
        addresses=tuple(map(str, tunnel.addresses)),
        server=str(report.server or ""),
        gateways=tuple(
            f"{network.link}={network.gateway.address}"
            for network in reconciler.view.networks
            if network.gateway and network.gateway.address
        ),
        resolvers=tuple(map(str, report.resolvers)),
        search=report.search,
    )


def _probe(probe: Probe) -> ProbeFacts:
    return ProbeFacts(
        target=str(probe.target),
        alive=probe.alive,
        failures=probe.failures,
        problem=probe.problem,
        round_trip_seconds=probe.round_trip,
        asks_total=probe.asks,
        failed_total=probe.failed,
    )


def surroundings(supervisor: Supervisor, reconciler: Reconciler, choice: Choice) -> Surroundings:
    """Return what decides who is asked for names at this moment; `choice` is VPN_DNS."""
    networks = reconciler.view.networks
    stands = supervisor.state is State.UP or supervisor.coming_up
    if not stands or not supervisor.tunnel:
        return Surroundings(networks=networks)
    report, link = supervisor.report, supervisor.tunnel.link
    return Surroundings(upstream(choice, report.resolvers, report.search, link.name), networks)


def _tunnel(supervisor: Supervisor) -> TunnelFacts | None:
    tunnel = supervisor.tunnel
    if tunnel is None:
        return None
    return TunnelFacts(
        interface=tunnel.link.name, up=tunnel.link.up, addresses=tuple(map(str, tunnel.addresses))
    )
