import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import healthcheck.ask
from healthcheck.__main__ import SAID_BYTES_MAX, check
from healthcheck.ask import TIMEOUT_SECONDS, AskError, ask, run_dir
from healthcheck.facts import Facts, WarningFacts
from tests.unit.endpoint import serving
from tests.unit.facts import ETH1, HEALTHY, client, facts

ROOT = Path(__file__).parents[2]
DRIBBLE_SECONDS = 5.0
COMMAND = (sys.executable, "-S", "-m", "healthcheck")
"""Without site-packages, so that an import from outside the standard library cannot work."""


def _run(listen: str | None, **further: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT), **further}
    if listen is not None:
        environment["HEALTH_LISTEN"] = listen
    run = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert not run.stderr
    assert run.returncode in {0, 1}
    assert run.stdout.endswith("\n")
    assert run.stdout.count("\n") == 1
    assert len(run.stdout.encode()) <= SAID_BYTES_MAX
    return run


def _against_endpoint(seen: Facts) -> subprocess.CompletedProcess[str]:
    async def scenario() -> subprocess.CompletedProcess[str]:
        async with serving(lambda: seen) as port:
            return await asyncio.to_thread(_run, f"127.0.0.1:{port}")

    return asyncio.run(scenario())


@contextmanager
def _peer(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Listen on the loopback and treat one connection as `behave` says; gives `address:port`."""

    def accept() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                behave(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield "{}:{}".format(*listener.getsockname())
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _says(answer: bytes) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    return behave


def _hangs(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def _dribbles(connection: socket.socket) -> None:
    """Send a byte now and then: no single wait is long, all together are."""
    end = time.monotonic() + DRIBBLE_SECONDS
    with suppress(OSError):
        while time.monotonic() < end:
            connection.sendall(b"H")
            time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_a_ready_sidecar_is_exit_0() -> None:
    """The line says what holds."""
    run = _against_endpoint(HEALTHY)
    assert run.returncode == 0
    assert run.stdout.startswith("ready: network: eth0 172.30.0.0/16 by 172.30.0.1; policy: ")
    assert "replies: the kernel sends all 1 test replies the right way" in run.stdout


def test_a_warning_is_said_and_is_exit_0() -> None:
    """What should be looked at does not make Docker call the sidecar unhealthy."""
    run = _against_endpoint(facts(warnings=(WarningFacts(name="hook", text="saw exit code 3"),)))
    assert run.returncode == 0
    assert run.stdout.endswith("; warning: hook: saw exit code 3\n")


def test_an_unready_sidecar_is_exit_1_with_the_first_broken_link() -> None:
    """The line names the root cause and nothing that waits for it."""
    run = _against_endpoint(facts(client=client(alive=False, failure="wrong password"), restarts=0))
    assert run.returncode == 1
    assert run.stdout == "not ready: client: openvpn is not running: wrong password\n"


def test_a_stopping_sidecar_is_exit_1() -> None:
    """Every check may hold: a sidecar on its way out is not ready."""
    run = _against_endpoint(facts(state="stopping"))
    assert (run.returncode, run.stdout) == (1, "not ready: state: the sidecar is stopping\n")


def test_what_is_said_never_exceeds_what_docker_keeps() -> None:
    """Hundreds of networks make a line of 4096 bytes and no more."""
    run = _against_endpoint(facts(networks=(*HEALTHY.networks, *[ETH1] * 200)))
    assert run.returncode == 0
    assert len(run.stdout.encode()) == SAID_BYTES_MAX


def test_a_refused_connection_is_exit_1_and_says_where() -> None:
    """Nobody listens: the line has the address, what named it and what to look at."""
    listen = f"127.0.0.1:{_free_port()}"
    run = _run(listen)
    assert run.returncode == 1
    assert run.stdout == (
        f"cannot ask {listen} (named by HEALTH_LISTEN): saw the connection refused;"
        " is sidegate running in this network namespace?\n"
    )


def test_an_endpoint_switched_off_is_exit_1() -> None:
    """Without an endpoint nobody can say that the sidecar is well."""
    run = _run("off")
    assert run.returncode == 1
    assert run.stdout.startswith("cannot ask for health: saw the endpoint off (named by HEALTH_LISTEN)")


@pytest.mark.parametrize(
    "listen", ["localhost:9797", "9797", "1.2.3.4", "::1:9797", "[::1]", "[::1]:http", "x\ny:1"]
)
def test_an_address_that_is_none_is_exit_1(listen: str) -> None:
    """Names are never resolved, since that could take longer than the health check may."""
    run = _run(listen)
    assert run.returncode == 1
    assert run.stdout.startswith(f"cannot ask for health: saw {listen!r} (named by HEALTH_LISTEN)")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"RTSP/1.0 200 OK\r\n\r\n[+] network: x\n",
        b"HTTP/1.1 2OO OK\r\n\r\n[+] network: x\n",
        b"\0\xff" * 1000,
    ],
)
def test_what_is_no_http_is_exit_1(answer: bytes) -> None:
    """Another program on the port is told from a sidecar that is not well."""
    with _peer(_says(answer)) as listen:
        run = _run(listen)
    assert run.returncode == 1
    assert "where an HTTP answer has to be; another program holds the port" in run.stdout


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nIt works!",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\nno such page\n",
        b"HTTP/1.1 503 Service Unavailable\r\n\r\nService Unavailable",
        b"HTTP/1.1 200 OK\r\n\r\n[+] network: x\n[-] client: gone\n",
    ],
)
def test_an_answer_that_is_no_verdict_is_exit_1(answer: bytes) -> None:
    """Status 200 alone is no proof: another web server gives it, too."""
    with _peer(_says(answer)) as listen:
        run = _run(listen)
    assert run.returncode == 1
    assert run.stdout.startswith("cannot tell health: saw status ")


def test_an_answer_cut_short_is_exit_1() -> None:
    """A body shorter than its header says is no verdict."""
    with _peer(_says(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n[+] network: x\n")) as listen:
        run = _run(listen)
    assert run.returncode == 1
    assert "saw 15 of 400 bytes" in run.stdout


def test_a_hanging_server_is_exit_1_in_time() -> None:
    """A process that accepts and says nothing is given up before Docker gives us up."""
    start = time.monotonic()
    with _peer(_hangs) as listen:
        run = _run(listen)
    assert run.returncode == 1
    assert "saw no whole answer in 3 s" in run.stdout
    assert TIMEOUT_SECONDS <= time.monotonic() - start < TIMEOUT_SECONDS + 2


def test_a_dribbling_server_does_not_stretch_the_limit(tmp_path: Path) -> None:
    """The time limit is for the whole answer and not for each byte of it."""
    with _peer(_dribbles) as listen:
        (tmp_path / "endpoint").write_text(f"{listen}\n")
        start = time.monotonic()
        with pytest.raises(AskError, match=r"saw no whole answer in 0\.3 s"):
            ask("/readyz", directory=str(tmp_path), timeout=0.3)
        assert time.monotonic() - start < DRIBBLE_SECONDS / 2


def test_the_file_of_the_running_entrypoint_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file says where it listens in truth; the environment is of whoever asks."""
    monkeypatch.setenv("HEALTH_LISTEN", "off")
    with _peer(_says(b"HTTP/1.1 200 OK\r\n\r\n[+] network: x\n")) as listen:
        (tmp_path / "endpoint").write_text(f"{listen}\n")
        assert check(str(tmp_path)) == (True, "ready: network: x")
    (tmp_path / "endpoint").write_text("off\n")
    monkeypatch.setenv("HEALTH_LISTEN", listen)
    ready, text = check(str(tmp_path))
    assert not ready
    assert f"saw the endpoint off (named by {tmp_path}/endpoint)" in text


@pytest.mark.parametrize(
    ("wildcard", "loopback"),
    [
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - a user's setting, on which nothing listens here
        ("[::]", "::1"),
        ("[0::0]", "::1"),
    ],
)
def test_a_wildcard_is_asked_at_the_loopback(tmp_path: Path, wildcard: str, loopback: str) -> None:
    """An address to listen on is no address to connect to."""
    family = socket.AF_INET6 if ":" in loopback else socket.AF_INET
    with socket.create_server((loopback, 0), family=family) as listener:
        (tmp_path / "endpoint").write_text(f"{wildcard}:{listener.getsockname()[1]}\n")
        peers: list[str] = []

        def accept() -> None:
            connection, peer = listener.accept()
            with connection:
                peers.append(peer[0])
                _says(b"HTTP/1.1 200 OK\r\n\r\nhello")(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        answer = ask("/livez", directory=str(tmp_path), timeout=5)
        thread.join()
    assert (answer.status, answer.body) == (200, "hello")
    assert peers == [loopback]


def test_without_file_and_environment_the_default_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default is the contract's, and the error says that it was the default."""
    assert healthcheck.ask.DEFAULT_LISTEN == "127.0.0.1:9797"
    free = f"127.0.0.1:{_free_port()}"
    monkeypatch.setattr(healthcheck.ask, "DEFAULT_LISTEN", free)
    monkeypatch.delenv("HEALTH_LISTEN", raising=False)
    with pytest.raises(AskError, match=rf"^cannot ask {free} \(the default\): saw the connection refused"):
        ask("/readyz", directory=str(tmp_path))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A directory in the file's place is an error with the path in it, and no traceback."""
    (tmp_path / "endpoint").mkdir()
    with pytest.raises(AskError, match=r"cannot learn where sidegate listens: saw .*endpoint"):
        ask("/readyz", directory=str(tmp_path))


def test_each_network_namespace_has_its_own_directory() -> None:
    """The directory bears the inode of the namespace, as lsns and ip-netns know it."""
    link = Path("/proc/self/ns/net").readlink().name  # net:[4026531840]
    assert run_dir() == f"/run/sidegate/{link.removeprefix('net:[').removesuffix(']')}"


def test_a_closed_standard_output_does_not_change_the_exit_status() -> None:
    """Whoever wants the exit status alone gets no traceback for it."""
    shell = 'exec "$@" >&-'
    environment = {"PYTHONPATH": str(ROOT), "HEALTH_LISTEN": "off"}
    run = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", *COMMAND], env=environment, capture_output=True, check=False
    )
    assert (run.returncode, run.stderr) == (1, b"")


def test_only_the_standard_library_is_imported_and_little_of_it() -> None:
    """The command starts every few seconds: what costs milliseconds stays out."""
    code = "import sys, healthcheck.__main__ as it; it.main(); print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROOT,
        env={"HEALTH_LISTEN": f"127.0.0.1:{_free_port()}"},
        capture_output=True,
        text=True,
        check=True,
    )
    said, modules = run.stdout.splitlines()
    assert "saw the connection refused" in said
    loaded = set(modules.split())
    packages = {name.partition(".")[0] for name in loaded} - {"__main__"}
    assert packages - sys.stdlib_module_names == {"healthcheck"}
    costly = {"http", "urllib", "asyncio", "dataclasses", "typing", "json", "re", "ipaddress"}
    assert not loaded & {*costly, "encodings.idna"}
