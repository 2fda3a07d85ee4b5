"""All that is done to the product: each is a context, entered as the blow falls and left as it is taken back.

Several may be in effect at once, so none takes for granted that what it wants to break is whole.
"""

import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from tests.chaos.gate import BREAKS
from tests.chaos.stage import Stage, resume, stopped
from tests.lab.addresses import V4, V6
from tests.lab.waiting import until
from tests.tunnel.product import PRIORITY, TABLE

Blow = Callable[[Stage, random.Random], AbstractContextManager[None]]

BURST = 3000
"""Routes: what the event socket holds is some 700 events."""
STORM = 30
DEAF_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
"""What the entrypoint has no use for, and must not die of."""
TOLD_SECONDS = 5.0
"""What the kernel tells: a second, and a busy machine."""
UNREADY_SECONDS = 45.0
"""A probe's three failures, and a busy machine."""

RULES = (
    f"rule del from {V4.docker} priority {PRIORITY} protocol 83",
    f"-6 rule del from {V6.docker} priority {PRIORITY} protocol 83",
    f"rule del from {V4.second} priority {PRIORITY} protocol 83",
    f"rule del fwmark 0x5347 priority {PRIORITY} protocol 83",
    "rule flush protocol 83",
    "-6 rule flush protocol 83",
)
ROUTES = (
    f"route flush table {TABLE}",
    f"-6 route flush table {TABLE}",
    f"route del default table {TABLE}",
    f"route del {V4.docker} table {TABLE}",
    f"route flush table {TABLE + 1}",
    f"route replace default via 172.30.0.77 dev eth0 table {TABLE} proto 83",
)


@contextlib.contextmanager
def client_killed(stage: Stage, chance: random.Random) -> Iterator[None]:
    """End the client's program, at times in order."""
    number = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV))
    for pid in stage.client_pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    yield


@contextlib.contextmanager
def client_frozen(stage: Stage, _: random.Random) -> Iterator[None]:
    """Stop the client's program and let it go on; health says that it is stopped."""
    frozen = stage.client_pids()
    for pid in frozen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    yield
    if stage.at_work() and any(map(stopped, frozen)):
        stage.sidecar.wait_until_unready(TOLD_SECONDS)
    for pid in frozen:
        resume(pid)


@contextlib.contextmanager
def server_gone(stage: Stage, chance: random.Random) -> Iterator[None]:
    """End the server; health says so, and the LAN does not notice."""
    stage.product.vpn.resume()
    if chance.random() < 0.5:
        stage.product.vpn.kill()
    else:
        stage.product.vpn.stop()
    yield
    if stage.sidecar.process.running:
        for pid in stage.client_pids():
            resume(pid)  # who is frozen notices nothing
        said = stage.sidecar.wait_until_unready(UNREADY_SECONDS)
        if not said.startswith(("[-] client", "[-] probe")):
            stage.silenced()  # that was another blow's doing, so the client may not know yet
    stage.product.vpn.start()


@contextlib.contextmanager
def server_frozen(stage: Stage, _: random.Random) -> Iterator[None]:
    """Stop the server and let it go on."""
    stage.silenced()
    stage.product.vpn.pause()
    yield
    stage.product.vpn.resume()


@contextlib.contextmanager
def internet_cut(stage: Stage, _: random.Random) -> Iterator[None]:
    """Cut the way to the server."""
    stage.silenced()
    stage.lab.cut_internet()
    yield
    stage.lab.mend_internet()


@contextlib.contextmanager
def entrypoint_killed(stage: Stage, _: random.Random) -> Iterator[None]:
    """SIGKILL of the entrypoint; another one is started when the step is over."""
    stage.ended_by_us = True
    stage.sidecar.kill()
    yield


@contextlib.contextmanager
def entrypoint_frozen(stage: Stage, _: random.Random) -> Iterator[None]:
    """Stop the entrypoint and let it go on: what happens meanwhile it has to find out."""
    frozen = stage.sidecar.process.pid
    stage.sidecar.process.signal(signal.SIGSTOP)
    # On a busy machine it goes on until its turn comes, and the next blow has to know.
    until(lambda: not stage.at_work(), TOLD_SECONDS, "the entrypoint to stand still")
    yield
    if stage.sidecar.process.running:
        resume(frozen)


@contextlib.contextmanager
def entrypoint_stopped(stage: Stage, _: random.Random) -> Iterator[None]:
    """SIGTERM of the entrypoint: exit code 0 and nothing left; another one is started."""
    was_killed, stage.ended_by_us = stage.ended_by_us, True
    stage.sidecar.process.signal(signal.SIGCONT)
    status = stage.sidecar.terminate(30)
    assert status == 0 or was_killed, f"the stop ended with {status}"
    assert stage.nothing_of_ours() or was_killed, "the stop left something of ours"
    yield


@contextlib.contextmanager
def start_cut_short(stage: Stage, chance: random.Random) -> Iterator[None]:
    """End the entrypoint, start another one, and end that at some moment of its start."""
    stage.ended_by_us = True
    stage.sidecar.kill()
    stage.start()
    with contextlib.suppress(AssertionError):
        stage.sidecar.wait_for_line("(?!)", chance.random() * 1.5)
    stage.ended_by_us = True
    if chance.random() < 0.5:
        stage.sidecar.kill()
    else:
        status = stage.sidecar.terminate(30)
        # Where another blow took the network away, 78 says so; before Python runs, nobody hears a signal.
        unheard = status == -signal.SIGTERM and not stage.sidecar.lines
        assert unheard or status in {0, 78}, f"the stop of a start ended with {status}"
        # One that came before all else was read takes over nothing of the run that was killed.
        told = any("no rule, route or process of ours is left" in line for line in stage.sidecar.lines)
        assert stage.nothing_of_ours() or not told, "the stop of a start left something of ours"
    yield


@contextlib.contextmanager
def deaf_signal(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Send a signal that means nothing to it."""
    stage.sidecar.process.signal(chance.choice(DEAF_SIGNALS))
    yield


@contextlib.contextmanager
def rules_deleted(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Delete some of our rules."""
    stage.try_ip(*chance.sample(RULES, chance.randint(1, 3)))
    yield


@contextlib.contextmanager
def rule_deleted_again_and_again(stage: Stage, _: random.Random) -> Iterator[None]:
    """Delete a rule as often as it comes back, for a while."""
    stage.try_ip(*RULES[:1] * STORM)
    yield


@contextlib.contextmanager
def routes_deleted(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Delete or bend some of our routes."""
    stage.try_ip(*chance.sample(ROUTES, chance.randint(1, 3)))
    yield


@contextlib.contextmanager
def main_default_deleted(stage: Stage, _: random.Random) -> Iterator[None]:
    """Delete the main table's default route, and set it again as an operator would."""
    stage.try_ip("route del default dev eth0")
    yield
    stage.try_ip(f"route add default via {V4.docker_gateway} dev eth0")


@contextlib.contextmanager
def tunnel_broken(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Delete the tunnel, set it down, or take its addresses."""
    name = stage.product.vpn.tunnel
    stage.try_ip(chance.choice((f"link del {name}", f"link set {name} down", f"-4 address flush dev {name}")))
    yield


@contextlib.contextmanager
def cable_pulled(stage: Stage, _: random.Random) -> Iterator[None]:
    """Set eth0 down and up: the kernel empties IPv4's tables and takes IPv6's addresses."""
    stage.try_ip("link set eth0 down")
    yield
    stage.try_ip("link set eth0 up")
    if stage.ended_by_us:
        stage.try_ip(f"-6 address add {V6.sidecar}/64 dev eth0 nodad")
        stage.set_main_defaults()


@contextlib.contextmanager
def address_taken(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Take the container's address and give it back."""
    line = chance.choice((f"{V4.sidecar}/16 dev eth0", f"{V6.sidecar}/64 dev eth0 nodad"))
    stage.try_ip(f"address del {line.removesuffix(' nodad')}")
    yield
    stage.try_ip(f"address add {line}")
    if stage.ended_by_us:
        stage.set_main_defaults()


@contextlib.contextmanager
def second_network_switched(stage: Stage, _: random.Random) -> Iterator[None]:
    """Connect the container to a second network, or take it out of that again."""
    stage.switch_second_network()
    yield


@contextlib.contextmanager
def burst_of_routes(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Fill the event socket by a table that may become ours, or make many routes elsewhere."""
    link, table = chance.choice(("lo", "eth0")), chance.choice((TABLE + 50, 9000, "main"))
    routes = [f"10.{i >> 8}.{i & 255}.0/24 dev {link} table {table}" for i in range(BURST)]
    stage.try_batch(f"route add {route}" for route in routes)
    stage.try_ip(*RULES[:1])
    yield
    stage.try_batch(f"route del {route}" for route in routes)


@contextlib.contextmanager
def rule_in_front(stage: Stage, _: random.Random) -> Iterator[None]:
    """Have the kernel put somebody's rule, which names no priority, right before ours."""
    stage.try_ip("rule add from 10.78.0.0/16 lookup 78")
    yield
    stage.try_ip("rule del from 10.78.0.0/16 lookup 78")


@contextlib.contextmanager
def gate_broken(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Open the kill switch's gate in one way or another; where the entrypoint is at work, it closes again."""
    if stage.closed:
        stage.gate.break_(chance.choice(BREAKS))
        if stage.at_work():
            stage.gate.see_that_it_is_back()
    yield


BLOWS: dict[str, Blow] = {
    blow.__name__: blow
    for blow in (
        client_killed,
        client_frozen,
        server_gone,
        server_frozen,
        internet_cut,
        entrypoint_killed,
        entrypoint_frozen,
        entrypoint_stopped,
        start_cut_short,
        deaf_signal,
        rules_deleted,
        rule_deleted_again_and_again,
        routes_deleted,
        main_default_deleted,
        tunnel_broken,
        cable_pulled,
        address_taken,
        second_network_switched,
        burst_of_routes,
        rule_in_front,
        gate_broken,
    )
}
