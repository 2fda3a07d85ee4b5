"""The product in the lab, with strangers beside it, and what must hold whatever was done to it."""

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.chaos.gate import Gate
from tests.chaos.quiet import STRANGERS, Quiet
from tests.lab.addresses import SECOND_PORT, SERVICE_PORT, V4, V6
from tests.lab.leaks import LeakProbe, into, outward
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import reaches
from tests.lab.waiting import until
from tests.tunnel.product import AnyProduct, Kernel, programs
from tests.tunnel.test_every_client import VPNS

T = TypeVar("T")

PATIENCE_SECONDS = 45.0
"""Within which all is well again: a client's own time-outs and a busy machine are in it."""
AT_ONCE_SECONDS = 5.0
"""Within which what health calls ready is so, and the kernel is as wanted."""
LIE_SECONDS = 3.0
"""For so long together health may say ready while somebody is not reached: an ask that nobody answers takes
two seconds, and a lost packet or a busy machine is over after one."""
SILENCE_SECONDS = {"openvpn": 4.0, "openvpn-tcp": 4.0, "wireguard": 12.0, "openconnect": 5.0}
"""So much longer where the server or the way to it was silent, as nobody can know sooner: ping-restart of
openvpn(8), three asks of the probe with WireGuard, and of openconnect twice the server's dpd and a look
each second."""
MORE_MEMORY_BYTES = 24 << 20
"""What a run may hold beyond what it held when it was first ready."""
MORE_DESCRIPTORS = 12

PROGRAMS = {"openvpn": "openvpn", "wireguard": "wireguard-go", "openconnect": "openconnect"}
"""The client's program, by the first word of a kind of VPNS."""
KINDS = ("openvpn", "openvpn-tcp", "wireguard", "openconnect")
SESSIONS = {
    "openvpn": "udp port 1194",
    "openvpn-tcp": "tcp port 1194",
    "wireguard": "udp port 51820",
    "openconnect": "ip",
}
"""What the client's own packets are."""


class Stage:
    """Lab, server, service and sidecar; a context manager that takes all of it away."""

    def __init__(
        self,
        kind: str,
        *,
        probe: bool = False,
        closed: bool = False,
        longest: float = 60.0,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Describe it; `kind` is one of KINDS.

        `probe`: somebody is asked through the tunnel. `closed`: with the kill switch, and somebody tries to
        get out all the time, `longest` seconds at most. `patience`: seconds within which all must be well.
        """
        self.kind = kind
        # WireGuard alone would take minutes to notice that its server is gone.
        self.probe = probe or kind == "wireguard"
        self.closed = closed
        self.longest = longest
        self.patience = patience
        self.second_network = False
        """Whether the sidecar is in it."""
        self.ended_by_us = False
        """Whether the entrypoint's end was our doing."""
        self._last_wrong = ""
        self._silence = 0.0
        self._lie_began: float | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidegate-chaos-")))
            self.lab = stack.enter_context(Lab())
            self.product = AnyProduct(self.lab, directory, VPNS[self.kind](self.lab, directory))
            self.host = self.lab.sidecar
            self.gate = Gate(self.host)
            self.host.ip(*STRANGERS)
            self.before = Kernel.of(self.host)
            self.start()
            self._open = stack.enter_context(self._connect())
            self._quiet = {False: self._come_to_rest()}
            self.switch_second_network()
            self._quiet[True] = self._come_to_rest()
            allowed = f"(host {V4.vpn_endpoint} and {SESSIONS[self.kind]}) or dst {V4.neighbour}"
            # The second network's cable comes and goes, its bridge stays.
            self._captures = (
                stack.enter_context(outward(self.lab.server_a, "veth-sidecar", self.host, allowed)),
                stack.enter_context(into(self.lab.server_a, "docker1", allowed)),
            )
            stack.enter_context(LeakProbe(self.host, (V4.laptop, V6.laptop), self.longest))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def sidecar(self) -> Sidecar:
        """The present run of the entrypoint."""
        return self._sidecar

    @property
    def got_out(self) -> list[str]:
        """What left by the container's links and is neither a reply nor the client's own, a packet a line.

        Nor did it leave while somebody had broken the gate.
        """
        seen = sorted(packet for capture in self._captures for packet in capture.packets)
        return [packet for packet in seen if not self.gate.explains(packet)]

    def at_work(self) -> bool:
        """Whether the entrypoint runs and nobody has stopped it."""
        return self.sidecar.process.running and not stopped(self.sidecar.process.pid)

    def client_pids(self) -> list[int]:
        """Return the processes of the client's program."""
        return programs(self.host, PROGRAMS[self.kind.partition("-")[0]])

    def try_ip(self, *lines: str) -> None:
        """Run iproute2 commands, of which any may fail: another blow may have been there before."""
        for line in lines:
            self.host.run("ip", *line.split(), check=False)

    def try_batch(self, lines: Iterable[str]) -> None:
        """Run very many of them in one process."""
        text = "".join(f"{line}\n" for line in lines)
        self.host.run("ip", "-force", "-batch", "-", stdin=text, check=False, timeout=60)

    def start(self) -> None:
        """Start the entrypoint and wait until it is ready."""
        environment = {
            "RESTART_DELAY_MAX": "1s",
            # Docker tells no gateway of a second network.
            "GATEWAYS": f"eth1={V4.second_gateway},eth1={V6.second_gateway}",
        }
        if self.probe:
            environment |= {"HEALTH_TARGET": V4.server_b, "HEALTH_INTERVAL": "1s"}
        if self.closed:
            environment["KILL_SWITCH"] = "on"
        self._sidecar = self.product.sidecar(environment).start()
        self.ended_by_us = False

    def switch_second_network(self) -> None:
        """Connect it, or disconnect it."""
        self.second_network = not self.second_network
        if self.second_network:
            self.lab.connect_second_network()
        else:
            self.lab.disconnect_second_network()

    def silenced(self) -> None:
        """Note that until all is well the client may rightly take a dead session for a living one."""
        self._silence = SILENCE_SECONDS[self.kind]

    def settle(self) -> None:
        """Wait until all is well again, and see that all of it is; AssertionError says what is not.

        Until then health must say so: what it calls ready while somebody is not reached is a fault, too.
        """
        if not self.sidecar.process.running:
            if not self.ended_by_us:
                ended = self.sidecar.process.wait()
                raise AssertionError(f"the entrypoint ended by itself with {ended}\n{self._log()}")
            self.start()
        self._lie_began = None
        self.gate.see_that_it_is_back(AT_ONCE_SECONDS)
        self._until(self._well, self.patience, "both ways, and health that says so")
        self._until(lambda: not self.differences(), AT_ONCE_SECONDS, "rules and routes as in a quiet state")
        self._silence = 0.0
        self._until(self._well, 0, "health and both ways to stay well")
        self._echo_on_open_connection()
        self._see_that_nothing_grows()
        assert not (self.closed and self.got_out), "\n".join(["got out past the tunnel:", *self.got_out[:9]])

    def set_main_defaults(self) -> None:
        """Set the main table's default routes where nobody is there to do it."""
        self.try_ip(
            f"route add default via {V4.docker_gateway}", f"-6 route add default via {V6.docker_gateway}"
        )

    def see_that_the_lan_is_answered(self) -> None:
        """Whatever became of the VPN; AssertionError where it is not."""
        self._until(lambda: reaches(self.lab.laptop, V4.server_a, SERVICE_PORT) is None, 10, "the laptop")

    def stop(self) -> None:
        """End in order: exit code 0, and the kernel as it was before the first start."""
        if self.second_network:
            self.switch_second_network()
        status = self.sidecar.terminate(30)
        assert status == 0, f"the stop ended with {status}\n{self._log()}"
        until(lambda: Kernel.of(self.host) == self.before, AT_ONCE_SECONDS, "the kernel as before")
        assert not self.client_pids(), "a client was left behind"

    def nothing_of_ours(self) -> bool:
        """Whether no rule and no route bears our tag."""
        return not self._look().ours

    def differences(self) -> str:
        """Tell what is not as in a quiet state; nothing if all is."""
        return self._quiet[self.second_network].differences(self._look())

    def _well(self) -> bool:
        began = time.monotonic()
        ready, said = self.sidecar.readiness()
        unreached = self._unreached() if ready else {}
        self._see_that_health_is_honest(began, unreached)
        # By the time that it can be told it may be over.
        self._last_wrong = str(unreached or "") if ready else said
        return not self._last_wrong

    def _see_that_health_is_honest(self, began: float, unreached: dict[str, str | None]) -> None:
        """Judge a look that began then; it takes a while, so health has to say ready before and after."""
        if not unreached or not self.sidecar.ready():
            self._lie_began = None
            return
        if self._lie_began is None:
            # One look alone may have seen the tunnel go and come again.
            self._lie_began = began
            return
        lasted = time.monotonic() - self._lie_began
        assert lasted <= LIE_SECONDS + self._silence, (
            f"health said ready for {lasted:.1f} s of who is not reached: {unreached}"
        )

    def _unreached(self) -> dict[str, str | None]:
        try:
            with ThreadPoolExecutor(2) as pool:
                both = list(pool.map(self.product.unreached, (V4, V6)))
        except (AssertionError, IndexError):
            return {"everybody": "the tunnel has no address"}
        found = both[0] | both[1]
        if self.second_network:
            why = reaches(self.lab.laptop, V4.server_a, SECOND_PORT)
            found |= {"laptop by the second network": why} if why else {}
        return found

    def _come_to_rest(self) -> Quiet:
        self._until(lambda: self._well() and self._both_known(), self.patience, "the first readiness")
        seen = [self._look()]

        def at_rest() -> bool:
            seen.append(self._look())
            return seen[-1] == seen[-2]

        self._until(at_rest, AT_ONCE_SECONDS, "a state that stays")
        if not hasattr(self, "_first"):
            self._first = self._size()
        return seen[-1]

    def _both_known(self) -> bool:
        """Whether health names the second network, where there is one, by both families."""
        said = self.sidecar.readiness()[1]
        return not self.second_network or (V4.second in said and V6.second in said)

    def _look(self) -> Quiet:
        return Quiet.of(self.host, self.product.vpn.tunnel)

    def _connect(self) -> socket.socket:
        self.see_that_the_lan_is_answered()
        where = V4.server_a, SERVICE_PORT
        return self.lab.laptop.call(lambda: socket.create_connection(where, AT_ONCE_SECONDS))

    def _echo_on_open_connection(self) -> None:
        self._open.settimeout(self.patience)
        word = b"stillup?"
        try:
            self._open.sendall(word)
            answer = self._open.recv(len(word), socket.MSG_WAITALL)
        except OSError as error:
            raise AssertionError(f"the LAN connection that was open is lost: {error}") from None
        assert answer == word, "the LAN connection that was open was closed"

    def _see_that_nothing_grows(self) -> None:
        memory, descriptors = self._size()
        assert memory < self._first[0] + MORE_MEMORY_BYTES, (
            f"{memory >> 20} MB, at first {self._first[0] >> 20}"
        )
        assert descriptors <= self._first[1] + MORE_DESCRIPTORS, f"{descriptors} descriptors"

    def _size(self) -> tuple[int, int]:
        proc = Path(f"/proc/{self.sidecar.process.pid}")
        resident = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return resident, len(list((proc / "fd").iterdir()))

    def _until(self, condition: Callable[[], T | None], seconds: float, what: str) -> None:
        """Wait as `until`; what is wrong is told in full."""
        try:
            until(lambda: condition() or not self.sidecar.process.running, seconds, what)
            assert self.sidecar.process.running, "the entrypoint ended"
        except AssertionError as error:
            said = [str(error), f"last seen wrong: {self._last_wrong}"]
            said += ["now:", self.sidecar.readiness()[1], f"unreached: {self._unreached()}"]
            if hasattr(self, "_quiet"):
                said.append(self.differences())
            raise AssertionError("\n".join([*said, self._log()])) from None

    def _log(self) -> str:
        return self.sidecar.process.tail()


def stopped(pid: int) -> bool:
    """Whether somebody has stopped a process; one that has ended is not stopped."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def resume(pid: int) -> None:
    """SIGCONT of a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
