import asyncio
import json
import logging
import selectors
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from healthcheck import web
from healthcheck.facts import Facts
from healthcheck.server import BACKLOG, listen, serve
from healthcheck.verdict import verdict
from tests.unit.endpoint import PATIENCE_SECONDS, get, receive, send, serving
from tests.unit.facts import HEALTHY, client, facts

ROOT = Path(__file__).parents[2]
PATHS = ("/livez", "/readyz", "/healthz", "/status", "/metrics")
LATE_ACK_SECONDS = 0.035
"""The kernel holds an acknowledgement back for 40 ms (TCP_DELACK_MIN of net/tcp.h)."""
CONNECTION_BYTES_MAX = 1 << 16
"""What each may cost, its request and its objects together."""
BROKEN = facts(state="reconnecting", client=client(connected=False, failure="no answer"))


def _no_facts() -> Facts:
    raise AssertionError("livez has no use for facts")


def test_alive_is_answered_without_facts() -> None:
    """Livez says only that the loop turns: it does not look at anything that can be broken."""

    async def scenario() -> None:
        async with serving(_no_facts) as port:
            answer = await get(port, "/livez")
            assert (answer.status, answer.body) == (200, "alive\n")

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
@pytest.mark.parametrize(("seen", "status"), [(HEALTHY, 200), (BROKEN, 503)])
def test_readiness_is_the_status_and_the_lines_of_the_verdict(path: str, seen: Facts, status: int) -> None:
    """200 or 503, and a line for each check, as plain text."""

    async def scenario() -> None:
        async with serving(lambda: seen) as port:
            answer = await get(port, path)
            assert answer.status == status
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            assert answer.body == "\n".join(verdict(seen).lines()) + "\n"

    asyncio.run(scenario())


def test_each_request_reads_the_facts_anew() -> None:
    """A sidecar that breaks is unready with the next request on the same connection."""

    async def scenario() -> None:
        seen = [HEALTHY]
        async with serving(lambda: seen[0]) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\nhost: test\r\n\r\n")
            assert (await receive(reader)).status == 200
            seen[0] = BROKEN
            writer.write(b"GET /readyz HTTP/1.1\r\nhost: test\r\n\r\n")
            assert (await receive(reader)).status == 503
            writer.close()

    asyncio.run(scenario())


def test_the_status_is_json_with_the_keys_of_the_contract() -> None:
    """The status has all facts under their fixed names; times are ISO 8601 in UTC."""

    async def scenario() -> None:
        waiting = facts(client=client(next_attempt=1_750_000_060.0))
        async with serving(lambda: waiting) as port:
            answer = await get(port, "/status")
        assert answer.headers["content-type"] == "application/json"
        status = json.loads(answer.body)
        assert set(status) == {
            *("state", "since", "client", "tunnel", "networks", "checks", "overlaps", "restarts"),
            *("version", "ready", "warnings", "probe", "gate"),
        }
        assert status["since"] == "2025-06-15T15:06:40.250Z"
        assert status["client"]["next_attempt"] == "2025-06-15T15:07:40.000Z"
        assert status["tunnel"] == {"interface": "tun0", "up": True, "addresses": ["10.99.0.2"]}
        assert [network["gateway"] for network in status["networks"]] == ["172.30.0.1"]
        assert [check["name"] for check in status["checks"]] == [
            *("network", "policy", "client", "tunnel", "replies")
        ]
        assert status["overlaps"][0]["route"] == "10.0.0.0/8"
        assert (status["state"], status["ready"], status["restarts"]) == ("up", True, 3)

    asyncio.run(scenario())


def test_a_status_without_a_tunnel_says_null() -> None:
    """What is not there is null, not left out."""

    async def scenario() -> None:
        async with serving(lambda: facts(tunnel=None)) as port:
            status = json.loads((await get(port, "/status")).body)
        assert status["tunnel"] is None
        assert status["client"]["next_attempt"] is None
        assert status["ready"] is False

    asyncio.run(scenario())


def test_a_pushed_session_token_is_hidden() -> None:
    """OpenVPN's auth-token stands for the password, and no path tells it."""

    async def scenario() -> None:
        async with serving() as port:
            answers = [await get(port, path) for path in PATHS]
        assert "auth-token [hidden]" in json.loads(answers[3].body)["client"]["pushed"]
        assert not any("SESS_ID" in answer.body for answer in answers)

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/", "/nothing", "/livez/", "/readyz%0d%0ax", "/status/client"])
def test_an_unknown_path_is_not_found_on_one_line(path: str) -> None:
    """404 names the paths there are."""

    async def scenario() -> None:
        async with serving() as port:
            answer = await get(port, path)
            assert answer.status == 404
            assert answer.body.count("\n") == 1
            assert all(known in answer.body for known in PATHS)

    asyncio.run(scenario())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_methods_that_could_change_something_are_refused(path: str, method: str) -> None:
    """405 says on one line and in Allow what is taken."""

    async def scenario() -> None:
        async with serving() as port:
            answer = await get(port, path, method=method)
            assert answer.status == 405
            assert answer.headers["allow"] == "GET, HEAD"
            assert answer.body == "cannot take this method; use GET or HEAD\n"

    asyncio.run(scenario())


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_head_is_get_without_the_body(path: str) -> None:
    """Status and headers are those of GET, and nothing follows."""

    async def scenario() -> None:
        async with serving() as port:
            with_body, without = await get(port, path), await get(port, path, method="HEAD")
        assert with_body.body
        assert not without.body
        assert without.status == with_body.status
        assert without.headers.pop("date")
        assert with_body.headers.pop("date")
        assert without.headers == with_body.headers
        assert int(with_body.headers["content-length"]) == len(with_body.body.encode())

    asyncio.run(scenario())


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_no_answer_is_kept_by_a_cache(path: str) -> None:
    """Health of a minute ago is no health."""

    async def scenario() -> None:
        async with serving() as port:
            assert (await get(port, path)).headers["cache-control"] == "no-store"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # the beginning of TLS
        b"GET\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",  # no Host
        b"GET /livez HTTP/1.1\r\nhost: test\r\nx: " + b"x" * web.HEADER_BYTES_MAX,
        b"POST /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nno chunk\r\n",
    ],
)
def test_nonsense_is_refused_without_a_line_in_the_log(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad request is answered 400, the log stays silent, and the next one is served."""

    async def scenario() -> None:
        async with serving() as port:
            assert (await send(port, request_bytes)).status == 400
            assert (await get(port, "/livez")).status == 200

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert not caplog.messages


def test_a_body_that_is_spoiled_after_its_answer_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a second answer, and without a line in the log."""

    async def scenario() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /livez HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
            assert (await receive(reader)).status == 405
            writer.write(b"no chunk\r\n")
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await reader.read() == b""
            writer.close()

    asyncio.run(scenario())
    assert not caplog.messages


def test_a_fault_of_ours_is_a_500_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Facts that cannot be had are a fault: the log has its traceback, the answer has nothing of it."""

    async def scenario() -> None:
        async with serving(_no_facts) as port:
            answer = await get(port, "/readyz")
            assert answer.status == 500
            assert "livez" not in answer.body
            assert (await get(port, "/livez")).status == 200

    asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def _ends(task: asyncio.Task[None]) -> float:
    """Cancel the server; returns the seconds until it has ended."""
    start = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - start


@pytest.mark.parametrize("sent", [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n"])
def test_a_cancel_ends_open_connections_at_once(sent: bytes) -> None:
    """Idle, half-asked and kept-alive connections do not hold up a stop, and the port is free after it."""

    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        address = sock.getsockname()
        task = asyncio.create_task(serve(sock, facts))
        async with serving():
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)
            if sent.endswith(b"\r\n\r\n"):
                assert (await receive(reader)).status == 200
            else:
                assert (await get(address[1], "/livez")).status == 200
            assert await _ends(task) < 0.5
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await reader.read() == b""
            writer.close()
        assert sock.fileno() == -1
        listen(*address).close()

    asyncio.run(scenario())


def test_a_cancel_during_the_import_closes_the_socket() -> None:
    """A stop right after the start leaves nothing open."""

    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        task = asyncio.create_task(serve(sock, facts))
        await asyncio.sleep(0)
        await _ends(task)
        assert sock.fileno() == -1

    asyncio.run(scenario())


def test_signals_stay_with_the_entrypoint() -> None:
    """The server installs no handler of its own."""

    async def scenario() -> None:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        async with serving() as port:
            await get(port, "/livez")
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

    asyncio.run(scenario())


class CountingSelector(selectors.DefaultSelector):
    """Counts how often the loop wakes."""

    wakes = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Count, and wait as the parent does."""
        self.wakes += 1
        return super().select(timeout)


def test_an_idle_server_does_not_wake_the_loop() -> None:
    """Nothing is polled while nobody asks: half a second passes with the waking of the measurement alone."""
    selector = CountingSelector()

    async def scenario() -> None:
        async with serving() as port:
            assert (await get(port, "/livez")).status == 200
            await asyncio.sleep(0.1)
            before = selector.wakes
            await asyncio.sleep(0.5)
            assert selector.wakes - before <= 2

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(scenario())


def test_a_request_that_never_ends_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds a connection open without asking loses it."""
    monkeypatch.setattr(web, "CONNECTION_LIFE_SECONDS", 0.1)

    async def scenario() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /livez HTTP/1.1\r\nhost:")
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await reader.read() == b""
            writer.close()

    asyncio.run(scenario())


async def _is_held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Ask on an open connection; an aborted one is at its end or reset."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        writer.write(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n")
        return (await receive(reader)).status == 200
    return False


def test_a_crowd_of_connections_keeps_no_probe_out() -> None:
    """Past the limit the oldest is ended for each that comes; the others are kept."""

    async def scenario() -> None:
        async with serving() as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(web.CONNECTIONS_MAX)]
            assert (await get(port, "/livez")).status == 200
            assert [await _is_held(*one) for one in held] == [False, *[True] * (web.CONNECTIONS_MAX - 1)]
            for _, writer in held:
                writer.close()

    asyncio.run(scenario())


def test_a_crowd_that_comes_at_once_is_cut_to_the_limit() -> None:
    """The kernel queues them while the loop is busy, and hands over a few in each turn."""

    async def scenario() -> None:
        async with serving() as port:
            held = []
            for _ in range(2):
                # Not awaited one by one: the loop, which is this very thread, accepts none meanwhile.
                crowd = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(BACKLOG)]
                held += [await asyncio.open_connection(sock=sock) for sock in crowd]
                assert (await get(port, "/livez")).status == 200
            kept = [await _is_held(*one) for one in held]
            assert sum(kept) == web.CONNECTIONS_MAX - 1
            for _, writer in held:
                writer.close()

    asyncio.run(scenario())


def test_a_crowd_of_one_address_costs_no_other_its_connection() -> None:
    """Past the limit the oldest goes of whoever holds the most."""

    async def scenario() -> None:
        async with serving() as port:
            first = await asyncio.open_connection("127.0.0.1", port)
            crowd = [
                await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0))
                for _ in range(2 * web.CONNECTIONS_MAX)
            ]
            assert await _is_held(*first)
            for _, writer in (first, *crowd):
                writer.close()

    asyncio.run(scenario())


def test_a_crowd_of_many_addresses_costs_the_loopback_no_connection() -> None:
    """Each holds but one, so that nobody holds the most."""

    async def scenario() -> None:
        async with serving() as port:
            first = await asyncio.open_connection("127.0.0.1", port)
            crowd = [
                await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.9.{number}", 0))
                for number in range(1, 2 * web.CONNECTIONS_MAX)
            ]
            assert await _is_held(*first)
            for _, writer in (first, *crowd):
                writer.close()

    asyncio.run(scenario())


def test_a_crowd_that_sends_without_end_costs_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for his turn is not listened to meanwhile."""
    monkeypatch.setattr(web, "PAUSE_SECONDS", PATIENCE_SECONDS)
    endless = b"POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999999\r\n\r\n" + bytes(2**20)

    async def scenario() -> int:
        async with serving() as port:
            await get(port, "/livez")  # from here on it is nobody's turn
            tracemalloc.start()
            crowd = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(web.CONNECTIONS_MAX)]
            for each in crowd:
                each.settimeout(0)
                assert each.send(endless) > 4 * CONNECTION_BYTES_MAX
            for _ in range(10 * web.CONNECTIONS_MAX):
                await asyncio.sleep(0)  # a turn of the loop, in which it reads what it wants
            used, _ = tracemalloc.get_traced_memory()
            for each in crowd:
                each.close()
            return used

    try:
        assert asyncio.run(scenario()) < web.CONNECTIONS_MAX * CONNECTION_BYTES_MAX
    finally:
        tracemalloc.stop()


def test_a_crowd_that_leaves_waits_for_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request goes with its connection: whoever comes back at once would pile them up."""
    monkeypatch.setattr(web, "PAUSE_SECONDS", 10 * PATIENCE_SECONDS)

    async def scenario() -> None:
        async with serving() as port:
            await get(port, "/livez")  # from here on it is nobody's turn
            before = len(asyncio.all_tasks())
            crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            for _, writer in crowd:
                writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(asyncio.all_tasks()) < before + len(crowd):  # noqa: ASYNC110 - nothing tells of them
                    await asyncio.sleep(0)
                for _, writer in crowd:
                    writer.close()
                while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 - nothing tells of them
                    await asyncio.sleep(0)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("10.20.0.5", "10.20.0.5"),
        ("::ffff:10.20.0.5", "10.20.0.5"),
        ("fd00:20::5", "fd00:20::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
    ],
)
def test_whoever_has_a_network_counts_as_one(peer: str, counted: str) -> None:
    """In IPv6 that is everybody."""
    assert web.holder(peer) == counted


def test_a_stop_leaves_those_who_wait_without_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Requests whose turn had not come are no fault."""

    async def scenario() -> None:
        async with serving() as port:
            crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            for _, writer in crowd:
                writer.write(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n")
            assert (await receive(crowd[0][0])).status == 200
        for _, writer in crowd:
            writer.close()

    asyncio.run(scenario())
    assert not caplog.messages


def test_a_connection_made_before_the_server_runs_is_answered() -> None:
    """The port is taken first; who comes early waits in the kernel and is not refused."""

    async def scenario() -> None:
        sock = listen("127.0.0.1", 0)
        early = asyncio.create_task(get(sock.getsockname()[1], "/livez"))
        await asyncio.sleep(0)
        task = asyncio.create_task(serve(sock, facts))
        assert (await early).status == 200
        await _ends(task)

    asyncio.run(scenario())


def test_a_connection_that_is_kept_is_answered_at_once() -> None:
    """Header and body are two writes, and the second does not wait for a late ACK."""

    async def fastest() -> float:
        took = []
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(10):
                began = time.monotonic()
                writer.write(b"GET /readyz HTTP/1.1\r\nhost: test\r\n\r\n")
                await receive(reader)
                took.append(time.monotonic() - began)
            writer.close()
        # The kernel acknowledges the first ones at once, whatever comes.
        return min(took[5:])

    assert asyncio.run(fastest()) < LATE_ACK_SECONDS


def test_a_taken_port_is_an_error_of_listen() -> None:
    """The second listener is told at once, although both may bind under SO_REUSEADDR."""
    with listen("127.0.0.1", 0) as first, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", first.getsockname()[1])


def test_the_ipv6_wildcard_takes_ipv4_too() -> None:
    """`[::]` means every address, as with other servers."""
    with listen("::", 0) as sock, socket.create_connection(("127.0.0.1", sock.getsockname()[1])) as peer:
        assert peer.getpeername()[0] == "127.0.0.1"


def test_a_name_is_no_address_to_listen_on() -> None:
    """No resolver is asked where to listen."""
    with pytest.raises(ValueError, match="localhost"):
        listen("localhost", 0)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("healthcheck.server", ("uvicorn", "h11", "prometheus_client")),
        ("healthcheck.web", ("prometheus_client",)),
    ],
)
def test_what_is_heavy_is_imported_late(module: str, absent: tuple[str, ...]) -> None:
    """Taking the port costs no web server, and serving without a scrape no metrics library."""
    code = f"import {module}, sys; print(*[name for name in {absent!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "\n"


@pytest.mark.parametrize(
    ("path", "first", "last"),
    [
        (None, "uvicorn", "uvicorn.protocols.http.h11_impl"),
        ("/metrics", "prometheus_client", "prometheus_client.process_collector"),
    ],
)
def test_the_loop_turns_during_an_import(path: str | None, first: str, last: str) -> None:
    """A repair of rules does not wait for an import: the loop turns between its first and last module."""
    code = f"""
import asyncio, sys
from healthcheck.server import BACKLOG, listen, serve
from tests.unit.endpoint import get
from tests.unit.facts import facts

async def main():
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    task = asyncio.create_task(serve(sock, facts))
    if {path!r}:
        await get(port, "/livez")
        asking = asyncio.create_task(get(port, {path!r}))
    turns = 0
    while {last!r} not in sys.modules:
        turns += {first!r} in sys.modules
        await asyncio.sleep(0)
    task.cancel()
    print(turns)

asyncio.run(main())
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(run.stdout) > 0
