"""WireGuard's programs: none hangs for ever, none is left behind, and no fault of theirs is the end of us."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from tests.lab.waiting import until
from tests.tunnel.product import AnyProduct, Kernel, first_line, programs
from tests.tunnel.test_wireguard_handshake import HURRIED, hurried
from tests.tunnel.wireguarded import stand_in

MISSING_PRIVILEGE = 77
STOP_WITHIN = 9.0
"""`docker stop` grants 10 s."""


def test_a_wireguard_go_that_stands_still_is_told(make_wireguard: Callable[..., AnyProduct]) -> None:
    """`wg` would wait for its answer for ever; it is ended, and asks again until there is one."""
    product = make_wireguard()
    sidecar = hurried(product).start().wait_until_ready()
    (stopped,) = programs(product.host, "wireguard-go")
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: f"run: kill -CONT {stopped}" in first_line(sidecar), 6, "the cause")
    hangs = "does not end: it has no answer within 1 s"
    until(lambda: hangs in sidecar.status()["client"]["detail"], 6, "what `wg` meets")
    os.kill(stopped, signal.SIGCONT)
    sidecar.wait_until_ready()
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: programs(product.host, "wg"), 3, "`wg` to hang")
    assert sidecar.terminate(STOP_WITHIN) == 0
    assert programs(product.host, "wg") == []


def test_a_program_that_hangs_does_not_outlive_us(make_wireguard: Callable[..., AnyProduct]) -> None:
    """Whether we are stopped or killed."""
    product = make_wireguard()
    path = stand_in(product, "wg", '[ "$1" = show ] && exec sleep 60\nexec /usr/bin/wg "$@"\n')
    for end in ("terminate", "kill"):
        sidecar = product.sidecar({"PATH": path}).start()
        until(lambda: programs(product.host, "sleep"), 5, "`wg` to hang")
        getattr(sidecar, end)()
        until(lambda: programs(product.host, "sleep") == [], 1, "it to be gone")


def test_a_stop_while_the_link_is_made_leaves_none(make_wireguard: Callable[..., AnyProduct]) -> None:
    """The kernel's own WireGuard, played by a bridge: the link is there before `ip` says so."""
    product = make_wireguard()
    path = stand_in(
        product,
        "ip",
        'case "$*" in *sidegate-probe*) exit 0 ;; *"type wireguard")\n'
        '[ "$2" = add ] && /usr/sbin/ip link add "$3" type bridge && exec sleep 60\n'
        'echo "[]"; exit 0 ;; esac\n'
        'exec /usr/sbin/ip "$@"\n',
    )
    before = Kernel.of(product.host)
    sidecar = product.sidecar({"PATH": path}).start()
    until(lambda: "client" in Kernel.of(product.host).links, 5, "the link")
    assert sidecar.terminate(STOP_WITHIN) == 0
    assert Kernel.of(product.host) == before


def test_without_a_descriptor_left_it_goes_on(make_wireguard: Callable[..., AnyProduct]) -> None:
    """The handshakes cannot be looked at: that is told, and over when there are descriptors again."""
    product = make_wireguard()
    sidecar = hurried(product).start().wait_until_ready()
    pid = sidecar.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), hard))
    sidecar.wait_for_line("the tunnel is gone; .*cannot run wg: saw Too many open files")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    sidecar.wait_until_ready()
    assert sidecar.terminate(STOP_WITHIN) == 0


def test_a_fault_of_ours_is_not_ready(make_wireguard: Callable[..., AnyProduct], tmp_path: Path) -> None:
    """Whatever ends the look at the handshakes: what was seen last does not count for ever."""
    product = make_wireguard()
    broken = tmp_path / "broken"
    fault = HURRIED + (
        "import pathlib\nasked = wg_session.Session.look\n"
        "def look(*told):\n"
        f"    if pathlib.Path({str(broken)!r}).exists(): raise ZeroDivisionError\n"
        "    return asked(*told)\n"
        "wg_session.Session.look = look\n"
    )
    sidecar = hurried(product, fault, VPN_UP_TIMEOUT="1s").start().wait_until_ready()
    broken.touch()
    until(lambda: "a fault of sidegate ended the look at its handshakes" in first_line(sidecar), 5, "it")
    broken.unlink()
    sidecar.wait_until_ready()
    broken.touch()
    sidecar.wait_until_unready()
    assert sidecar.terminate(STOP_WITHIN) == 0


def test_without_net_admin_no_device_is_asked_for(make_wireguard: Callable[..., AnyProduct]) -> None:
    """Whether the kernel has WireGuard cannot be told then: what may not be needed is not named."""
    sidecar = make_wireguard().sidecar(capabilities=[], tun_device=False).start()
    assert sidecar.process.wait() == MISSING_PRIVILEGE, sidecar.lines
    told = "\n".join(sidecar.lines)
    assert "cap_add: [NET_ADMIN]" in told
    assert "/dev/net/tun" not in told
