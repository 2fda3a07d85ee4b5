"""The difference between wanted and seen, tried on a model of the kernel."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from entrypoint.changes import Change, difference
from entrypoint.network import MARK, PROTOCOL, Route, Rule, Snapshot
from entrypoint.policy import Wanted
from tests.unit.kernel_values import route, rule

STRANGER = 4

TABLES = (7100, 7101)
networks = st.sampled_from(["172.30.0.0/16", "172.31.0.0/16", "10.244.1.5/32", "fd00:30::/64"])
gateways = {4: ("172.30.0.1", "172.30.0.9"), 6: ("fd00:30::1", "fe80::1")}


@st.composite
def our_routes(draw: st.DrawFn) -> Route:
    """Draw a connected route or a default of a table of ours."""
    table = draw(st.sampled_from(TABLES))
    destination = draw(st.one_of(st.sampled_from(["default", "default6"]), networks))
    if not destination.startswith("default"):
        return route(destination, table=table, protocol=PROTOCOL)
    version = 6 if destination == "default6" else 4
    via = draw(st.sampled_from(gateways[version]))
    return route(destination, table=table, via=via, protocol=PROTOCOL, onlink=draw(st.booleans()))


def place(item: Route) -> tuple[object, int]:
    """Return where a route stands: two cannot stand at one place."""
    return item.destination, item.table


our_rules = st.builds(
    rule,
    networks,
    st.sampled_from(TABLES),
    st.sampled_from([90, 95]),
    to=st.sampled_from([None, "10.20.0.0/24"]),
    mark=st.sampled_from([0, MARK]),
).filter(lambda r: r.destination is None or r.destination.version == r.source.version)
strange_routes = st.builds(
    route,
    st.sampled_from(["default", "10.0.0.0/8", "172.30.0.0/16", "fd00:77::/64"]),
    table=st.sampled_from([254, 200]),
    protocol=st.just(STRANGER),
)
strange_rules = st.builds(
    rule, networks, st.sampled_from([*TABLES, 200]), st.sampled_from([90, 95]), protocol=st.just(STRANGER)
)
wanted = st.builds(
    Wanted,
    routes=st.lists(our_routes(), max_size=5, unique_by=place).map(tuple),
    rules=st.lists(our_rules, max_size=4, unique=True).map(tuple),
)
snapshots = st.builds(
    lambda ours, theirs, rules, their_rules: Snapshot(
        routes=(*ours, *theirs),
        # The kernel holds two equal rules never, even where their protocols differ.
        rules=tuple({item: item for item in (*rules, *their_rules)}.values()),
    ),
    st.lists(our_routes(), max_size=5, unique_by=place),
    st.lists(strange_routes, max_size=3, unique_by=place),
    st.lists(our_rules, max_size=4, unique=True),
    st.lists(strange_rules, max_size=3, unique=True),
)


class Model:
    """A kernel as far as it matters: what stands where, and whose it is."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.routes = list(snapshot.routes)
        self.rules = list(snapshot.rules)

    @property
    def snapshot(self) -> Snapshot:
        """What a reader would see."""
        return Snapshot(routes=tuple(self.routes), rules=tuple(self.rules))

    def apply(self, change: Change) -> None:
        """Do what the kernel does; AssertionError where it would refuse."""
        item = change.item
        assert isinstance(item, Rule | Route)
        assert item.protocol == PROTOCOL
        held: list[Route] | list[Rule] = self.rules if isinstance(item, Rule) else self.routes
        if change.verb == "del":
            # Found by protocol, too: an equal one of a stranger is another.
            found = [index for index, one in enumerate(held) if one == item and one.protocol == PROTOCOL]
            assert found
            del held[found[0]]
        elif isinstance(item, Rule):
            assert change.verb == "add"
            assert item not in self.rules
            self.rules.append(item)
        else:
            there = [index for index, one in enumerate(self.routes) if place(one) == place(item)]
            assert bool(there) == (change.verb == "replace")
            for index in there:
                assert self.routes[index].protocol == PROTOCOL
                del self.routes[index]
            self.routes.append(item)


def whose(snapshot: Snapshot, protocol: int) -> set[Route | Rule]:
    """Return what somebody holds."""
    everything: tuple[Route | Rule, ...] = (*snapshot.routes, *snapshot.rules)
    return {item for item in everything if item.protocol == protocol}


@given(wanted, snapshots)
def test_the_changes_lead_from_any_state_to_the_wanted_one(want: Wanted, seen: Snapshot) -> None:
    """All that is wanted stands, of ours nothing else, and each step is one that the kernel takes."""
    model = Model(seen)
    for change in difference(want, seen):
        model.apply(change)
    after = model.snapshot
    assert {*want.routes, *want.rules} <= {*after.routes, *after.rules}
    assert whose(after, PROTOCOL) <= {*want.routes, *want.rules}


@given(wanted, snapshots)
def test_a_second_pass_finds_nothing_to_change(want: Wanted, seen: Snapshot) -> None:
    """Otherwise each event of our own change would bring the next."""
    model = Model(seen)
    for change in difference(want, seen):
        model.apply(change)
    assert difference(want, model.snapshot) == []


@given(wanted, snapshots)
def test_strangers_are_never_touched(want: Wanted, seen: Snapshot) -> None:
    """What they hold is the same afterwards; nothing of it is named in a step that takes or moves."""
    model = Model(seen)
    for change in difference(want, seen):
        model.apply(change)
        if change.verb != "add":
            assert isinstance(change.item, Rule | Route)
            assert change.item.protocol == PROTOCOL
    assert whose(model.snapshot, STRANGER) == whose(seen, STRANGER)


@given(wanted, snapshots)
def test_the_new_stands_before_the_old_goes(want: Wanted, seen: Snapshot) -> None:
    """Routes, then rules, then what is taken: rules before the routes that they lead to."""
    order = {
        ("route", "add"): 0,
        ("route", "replace"): 0,
        ("rule", "add"): 1,
        ("rule", "del"): 2,
        ("route", "del"): 3,
    }
    steps = [
        order["rule" if isinstance(change.item, Rule) else "route", change.verb]
        for change in difference(want, seen)
    ]
    assert steps == sorted(steps)


@given(snapshots)
def test_a_removal_leaves_nothing_of_ours(seen: Snapshot) -> None:
    """And the default goes before the connected route that its gateway is reached by."""
    steps = difference(Wanted(), seen)
    model = Model(seen)
    for change in steps:
        model.apply(change)
    assert whose(model.snapshot, PROTOCOL) == set()
    taken = [step.item.gateway is None for step in steps if isinstance(step.item, Route)]
    assert taken == sorted(taken)


def test_the_networks_of_the_model_are_canonical() -> None:
    """A model that held what no kernel holds would prove nothing."""
    assert ip_network("172.30.0.0/16") == rule("172.30.0.0/16").source
