"""ON_UP and ON_DOWN: told what the tunnel is, never in the tunnel's way."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.addresses import V4, V6
from tests.lab.waiting import until
from tests.tunnel.product import PUSH, TUNNEL, Kernel, Product

USER, PASSWORD = "ada", "correct horse 7f3a"
STOP_WITHIN = 9.0
"""`docker stop` grants 10 s."""


def script(product: Product, name: str, *lines: str) -> str:
    """Write a hook that notes each of its runs with the environment that it was given; returns its path."""
    file = product.directory / name
    # What a shell adds to its environment is not in here: it is what the kernel got at the start.
    note = f"tr '\\0' '\\n' </proc/$$/environ >'{file}.new'; mv '{file}.new' '{file}.run'"
    order = f"echo {name} >>'{product.directory}/order'"
    file.write_text("\n".join(("#!/bin/sh", note, order, *lines, "")))
    file.chmod(0o755)
    return str(file)


def told(hook: str) -> dict[str, str]:
    """Return the environment of a hook's last run."""
    lines = until(
        lambda: Path(f"{hook}.run").exists() and Path(f"{hook}.run").read_text(), 5, f"{hook} to run"
    )
    return dict(line.split("=", 1) for line in str(lines).splitlines())


def order(product: Product) -> list[str]:
    """Return the names of the hooks that ran, in their order."""
    file = product.directory / "order"
    return file.read_text().split() if file.exists() else []


def test_hooks_are_told_of_the_tunnel_and_of_no_secret(make_product: Callable[..., Product]) -> None:
    """All that the README lists and the little that every child gets; output is in the log."""
    dns = ("dhcp-option DNS 10.50.0.53", "dhcp-option DNS 10.50.0.54", "dhcp-option DOMAIN lab.example")
    product = make_product(login=(USER, PASSWORD), push=(*PUSH, *dns))
    up, down = script(product, "up", "echo hello from the hook"), script(product, "down")
    sidecar = product.start(ON_UP=f"{up} now", ON_DOWN=down, VPN_USERNAME=USER, VPN_PASSWORD=PASSWORD)
    facts = {
        "SIDEGATE_EVENT": "up",
        "SIDEGATE_CLIENT": "openvpn",
        "SIDEGATE_INTERFACE": TUNNEL,
        "SIDEGATE_ADDRESSES": f"{product.tunnel_address(V4)}/24 {product.tunnel_address(V6)}/64",
        "SIDEGATE_SERVER": V4.vpn_endpoint,
        "SIDEGATE_GATEWAYS": f"eth0={V4.docker_gateway} eth0={V6.docker_gateway}",
        "SIDEGATE_RESOLVERS": "10.50.0.53 10.50.0.54",
        "SIDEGATE_SEARCH": "lab.example",
    }
    assert told(up) == {"PATH": os.environ["PATH"], **facts}
    sidecar.wait_for_line(r"info    ON_UP: hello from the hook$")
    assert not Path(f"{down}.run").exists()
    assert sidecar.terminate() == 0
    assert told(down) == {"PATH": os.environ["PATH"], **facts, "SIDEGATE_EVENT": "down"}
    assert order(product) == ["up", "down"]
    assert PASSWORD not in "\n".join(sidecar.lines)


def test_a_tunnel_that_comes_again_is_told_again(product: Product) -> None:
    """A killed client: down, and up once another has its tunnel."""
    sidecar = product.start(ON_UP=script(product, "up"), ON_DOWN=script(product, "down"))
    until(lambda: order(product) == ["up"], 5, "the first up")
    os.kill(sidecar.status()["client"]["pid"], signal.SIGKILL)
    until(lambda: order(product) == ["up", "down", "up"], 10, "down and up")
    assert sidecar.ready()
    assert sidecar.terminate() == 0
    assert order(product) == ["up", "down", "up", "down"]


def test_a_hook_that_fails_is_a_warning_and_nothing_more(product: Product) -> None:
    """Ready all the same; /readyz, /status, /metrics, the HEALTHCHECK command and the log name it."""
    up = script(product, "up", "echo no such share >&2", "exit 3")
    sidecar = product.start(ON_UP=up)
    line = "ON_UP failed: it ended with exit code 3; its last words: no such share"
    sidecar.wait_for_line(f"warning {line}")
    ready, text = sidecar.readiness()
    assert ready
    assert text.splitlines()[-1] == f"[!] on_up: {line}"
    assert sidecar.status()["warnings"] == [{"name": "on_up", "text": line}]
    assert 'sidegate_warnings{warning="on_up"} 1.0' in sidecar.get("/metrics")[1]
    code, said = sidecar.healthcheck()
    assert (code, f"warning: on_up: {line}" in said) == (0, True)
    # Once it works the warning is over.
    script(product, "up")
    os.kill(sidecar.status()["client"]["pid"], signal.SIGKILL)
    until(lambda: order(product) == ["up", "up"], 10, "the hook's second run")
    until(lambda: sidecar.status()["warnings"] == [], 2, "the warning to be over")


def test_a_hook_that_is_gone_is_a_warning(product: Product) -> None:
    """What was there at the start may be unmounted since."""
    up, down = script(product, "up"), script(product, "down")
    sidecar = product.start(ON_UP=up, ON_DOWN=down)
    Path(down).unlink()
    os.kill(sidecar.status()["client"]["pid"], signal.SIGKILL)
    told_line = sidecar.wait_for_line("warning ON_DOWN failed: it ended with exit code 127")
    assert f"{down}: No such file or directory" in told_line
    sidecar.wait_until_ready()


def test_hooks_that_hang_do_not_hold_up_the_stop(product: Product) -> None:
    """Nor do they together with a client that hangs; ON_UP is ended for ON_DOWN to run; nothing is left."""
    hang = ("trap '' TERM", "sleep 300 & sleep 301")
    before, processes = Kernel.of(product.host), set(product.host.pids())
    sidecar = product.start(ON_UP=script(product, "up", *hang), ON_DOWN=script(product, "down", *hang))
    until(lambda: order(product) == ["up"], 5, "ON_UP")
    os.kill(sidecar.status()["client"]["pid"], signal.SIGSTOP)
    began = time.monotonic()
    assert sidecar.terminate() == 0
    assert time.monotonic() - began < STOP_WITHIN
    assert order(product) == ["up", "down"]
    assert Kernel.of(product.host) == before
    assert set(product.host.pids()) == processes
    assert any("ON_DOWN failed: it still ran at the stop and was ended" in line for line in sidecar.lines)
