"""Many passes in a row: what is undone is told, and what only goes on changing is no fault."""

from entrypoint.changes import Change
from entrypoint.network import Rule
from entrypoint.reconcile import PASSES_MAX, Reconciler
from entrypoint.rtnl import Rtnl
from entrypoint.settings import load
from tests.kernel.conftest import Container
from tests.kernel.held import ours
from tests.kernel.scripted import inside

NETWORKS = PASSES_MAX + 1


class Beside(Rtnl):
    """The kernel, where right after a rule of ours somebody else changes something."""

    lines: list[str]
    """Theirs, one after each rule of ours."""
    container: Container

    async def apply(self, change: Change) -> None:
        """Make ours, then theirs."""
        await super().apply(change)
        if self.lines and isinstance(change.item, Rule):
            self.container.host.ip(self.lines.pop(0))


def problems(container: Container, lines: list[str]) -> list[str | None]:
    """Return what the first reconciliations tell while these lines come in between."""
    settings, _ = load({})
    told: list[str | None] = []

    async def work() -> None:
        async with Beside(settings.route_table) as rtnl:
            rtnl.lines, rtnl.container = [], container
            reconciler = Reconciler(rtnl, settings)
            await reconciler.begin()
            rtnl.lines = lines
            container.host.ip("address add 10.60.0.2/24 dev eth0")
            for _ in range(NETWORKS):
                await reconciler.reconcile()
                told.append(reconciler.view.problem)

    inside(container, work)
    return told


def test_networks_that_come_one_by_one_are_no_fault(container: Container) -> None:
    """Each pass finds another network: all are served in the end, and nobody is accused."""
    lines = [f"address add 10.{61 + number}.0.2/24 dev eth0" for number in range(NETWORKS)]
    assert problems(container, lines) == [None] * NETWORKS
    assert sum("from 10.6" in line for line in ours(container.host)) == 1 + NETWORKS


def test_what_is_undone_in_every_pass_is_told(container: Container) -> None:
    """Somebody deletes a rule as often as it is made: the line says which, and it ends with them."""
    lines = ["rule del from 10.60.0.0/24 priority 90"] * PASSES_MAX
    first, *later = problems(container, lines)
    assert first is not None
    assert "from 10.60.0.0/24" in first
    assert "was undone again" in first
    assert later == [None] * (NETWORKS - 1)


class Flapping(Rtnl):
    """The kernel, whose eth0 goes down and up around the first change of ours that needs it."""

    container: Container
    steady = True

    async def apply(self, change: Change) -> None:
        """Try it while the link is down."""
        down, self.steady = not self.steady, True
        if down:
            self.container.host.ip("link set eth0 down")
        try:
            await super().apply(change)
        finally:
            if down:
                self.container.host.ip("link set eth0 up")


def test_what_was_read_before_it_changed_is_read_again(container: Container) -> None:
    """A change that came too late is no problem to tell, nor one to wait for."""
    settings, _ = load({})

    async def work() -> None:
        async with Flapping(settings.route_table) as rtnl:
            rtnl.container = container
            reconciler = Reconciler(rtnl, settings)
            await reconciler.begin()
            container.host.ip("address add 10.60.0.2/24 dev eth0")
            rtnl.steady = False
            await reconciler.reconcile()
            assert reconciler.view.problem is None
            assert rtnl.steady

    inside(container, work)
    assert "10.60.0.0/24 dev eth0 scope link table 7100 proto 83" in ours(container.host)
