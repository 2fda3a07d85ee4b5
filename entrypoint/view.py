"""What a pass saw and left behind, and whether it is anything that can be served."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from entrypoint import machine
from entrypoint.detect import ContainerNetwork, why_none
from entrypoint.faults import BadSettings
from entrypoint.hostnet import why_host
from entrypoint.network import Snapshot
from entrypoint.remarks import why_no_tunnel
from entrypoint.replies import Reply
from entrypoint.settings import Settings


@dataclass(frozen=True, slots=True)
class View:
    """What the last pass saw and left behind."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    networks: tuple[ContainerNetwork, ...] = ()
    tables: Mapping[str, int] = field(default_factory=dict)
    replies: tuple[Reply, ...] = ()
    problem: str | None = None
    """Why the kernel is not as wanted; None if it is."""
    priority: int | None = None
    """That of our first rule; None where there is none."""


def refuse_host(snapshot: Snapshot) -> None:
    """Raise BadSettings where this is the host's own network: nothing of it is ours to change."""
    if why := why_host(snapshot, machine.hosts()):
        raise BadSettings(why)


def refuse_what_cannot_be_served(view: View, settings: Settings) -> None:
    """Raise BadSettings where this is no container's network, or it cannot be served as the settings say."""
    refuse_host(view.snapshot)
    why = why_none(view.snapshot, view.networks) or why_no_tunnel(view.snapshot, settings.vpn_interface)
    if why:
        raise BadSettings(*why.splitlines())
