"""No secret is to be seen anywhere, and no core dump holds one."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.openvpn_server import identity
from tests.lab.waiting import until
from tests.tunnel.product import Product, programs
from tests.tunnel.secrets_everywhere import left, seen

USER, PASSWORD, STOLEN = "ada", 'correct "horse" 7f3ä', "stolen-9be2"
KEY = identity("client").key.splitlines()[1]
"""A line of the private key that stands in the configuration."""
NOISY = {"LOG_LEVEL": "debug", "VPN_ARGS": "--verb 3", "LANG": "C.UTF-8"}
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


@pytest.fixture
def guarded(make_product: Callable[..., Product]) -> Product:
    """Give the product beside a server that asks for user name and password."""
    return make_product(login=(USER, PASSWORD))


def given(product: Product, password: str, *, as_file: bool) -> tuple[dict[str, str], set[Path]]:
    """Return the settings with a password, and the files that hold a secret by the user's own will."""
    known = {product.config}
    login = {"VPN_USERNAME": USER, **NOISY}
    if not as_file:
        return {**login, "VPN_PASSWORD": password}, known
    file = product.directory / "password"
    file.write_text(f"{password}\n")
    return {**login, "VPN_PASSWORD_FILE": str(file)}, {*known, file}


@pytest.mark.parametrize(("password", "as_file"), [(PASSWORD, True), (STOLEN, False)], ids=["right", "wrong"])
def test_no_secret_of_openvpn_is_anywhere(guarded: Product, password: str, *, as_file: bool) -> None:
    """Neither password nor private key: up, or refused again and again, and after the end."""
    environment, known = given(guarded, password, as_file=as_file)
    sidecar = guarded.sidecar(environment).start()
    if password == PASSWORD:
        sidecar.wait_until_ready()
    else:
        sidecar.wait_for_line("next attempt in 2 s")
    # The server's own files hold what it compares with.
    known |= set((guarded.directory / "server").rglob("*"))
    assert seen(sidecar, [password, KEY], folders=[guarded.directory], known=known) == []
    assert sidecar.terminate() == 0
    assert left(sidecar, [password, KEY], folders=[guarded.directory], known=known) == []
    # The control: at this verbosity openvpn tells the commands that it is given.
    assert any("MANAGEMENT: CMD" in line for line in sidecar.lines)


def test_a_token_that_the_server_gives_for_the_password_is_nowhere(
    make_product: Callable[..., Product],
) -> None:
    """It is as good as the password for a while, and comes among the pushed options."""
    product = make_product(login=(USER, PASSWORD), lines=("auth-gen-token 600",))
    environment, known = given(product, PASSWORD, as_file=False)
    sidecar = product.sidecar(environment).start().wait_until_ready()
    assert "auth-token" in sidecar.wait_for_line("PUSH: Received control message")
    assert seen(sidecar, ["SESS_ID_"], folders=[product.directory / "container"], known=known) == []


def test_a_secret_that_is_put_there_is_found(product: Product) -> None:
    """The control: an argument, an environment, a file and its name, base64, the log, what health tells."""
    planted = {
        place: f"planted-{place}-51ce"
        for place in ("argument", "environment", "content", "name", "log", "reason", "encoded")
    }
    hook = product.directory / "hook"
    hook.write_text(f"#!/bin/sh\necho {planted['log']}; sleep 0.2; echo {planted['reason']}; exit 1\n")
    hook.chmod(0o755)
    sidecar = product.sidecar({"ON_UP": str(hook)}).start().wait_until_ready()
    until(lambda: sidecar.status()["warnings"], 5, "the hook to fail")
    product.host.spawn(
        *("sh", "-c", f"sleep 60; : {planted['argument']}"), environment={"X": planted["environment"]}
    )
    until(lambda: programs(product.host, "sleep"), 5, "the shell to be there")
    run = sidecar.directory / "run"
    (run / "file").write_bytes(b"\0\0" + planted["content"].encode() + b"\0")
    (run / planted["name"]).touch()
    (run / "encoded").write_text("cGxhbnRlZC1lbmNvZGVkLTUxY2U=")
    found = seen(sidecar, list(planted.values()))
    for place, secret in {
        "argument list of sh": planted["argument"],
        "environment of sh": planted["environment"],
        "environment of sleep": planted["environment"],
        str(run / "file"): planted["content"],
        f"name of {run / planted['name']}": planted["name"],
        str(run / "encoded"): planted["encoded"],
        "log": planted["log"],
        "/status": planted["reason"],
        "/readyz": planted["reason"],
        "sidegate status": planted["reason"],
        "python -m healthcheck": planted["reason"],
    }.items():
        assert f"{place}: {secret}" in found
    assert f"log: {planted['name']}" not in found


def test_what_a_program_quotes_of_a_secret_is_hidden_from_health(guarded: Product) -> None:
    """The last words of a program stand in /readyz, /status and the health log that Docker keeps."""
    environment, known = given(guarded, PASSWORD, as_file=False)
    hook = guarded.directory / "hook"
    hook.write_text(f"#!/bin/sh\necho 'cannot log in as ada with {PASSWORD}'; exit 1\n")
    hook.chmod(0o755)
    sidecar = guarded.sidecar({**environment, "ON_UP": str(hook)}).start().wait_until_ready()
    until(lambda: sidecar.status()["warnings"], 5, "the hook to fail")
    assert sidecar.status()["warnings"][0]["text"].endswith("cannot log in as ada with ***")
    assert seen(sidecar, [PASSWORD], folders=[], known=known) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"VPN_TOTP_SECRET": "{secret}", "VPN_UP_TIMEOUT": "soon"},
        {"VPN_PASSWORD": "{secret}\x01", "VPN_USERNAME": "ada"},
        {"VPN_PASSWORD": "{secret}", "VPN_PASSWORD_FILE": "/etc/hostname"},
        {"VPN_PASSWORD": "{secret}"},
        {"VPN_ARGS": "--setenv X '{secret}"},
        {"ON_UP": "/bin/true '{secret}"},
        {"ON_DOWN": "/no/such/program {secret}"},
    ],
    ids="+".join,
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_no_error_shows_a_secret(product: Product, command: str, wrong: dict[str, str]) -> None:
    """Whatever is wrong with it or beside it, and whichever command says so."""
    secret = "hidden-7a60"  # noqa: S105 - of nobody
    sidecar = product.sidecar({name: value.format(secret=secret) for name, value in wrong.items()})
    code, said = sidecar.run(command)
    assert code in ({78} if command == "run" else {0, 78}), said
    assert secret not in said


def test_a_broken_line_of_the_env_file_is_told_by_its_number_alone(product: Product) -> None:
    """The line may be the password's."""
    file = product.directory / "settings.env"
    file.write_text('LOG_LEVEL=info\nVPN_PASSWORD="hidden-7a60\n')
    code, said = product.sidecar({"ENV_FILE": str(file)}).run("run")
    assert code == 78
    assert "in line 2" in said
    assert "hidden" not in said


def limits(pid: int) -> list[str]:
    """Return soft and hard limit of a process' core dumps."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4:6] for line in lines if line.startswith("Max core file size"))


def cores(folder: Path) -> list[Path]:
    """Return what looks like a core dump."""
    return [file for file in folder.rglob("core*") if file.is_file()]


@pytest.fixture
def dumping() -> Iterator[None]:
    """Let the test's children dump as much as they may, as Docker does."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.usefixtures("dumping")
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_client_that_crashes_leaves_no_core_dump(product: Product, number: signal.Signals) -> None:
    """In a folder that it can write to; the limit is the one that also stops a dump into a program."""
    sidecar = product.start()
    assert limits(sidecar.process.pid) == ["1", "1"]
    client = sidecar.status()["client"]["pid"]
    assert [limits(pid) for pid in sidecar.client_pids()] == [["1", "1"]]
    assert Path(f"/proc/{client}/cwd").readlink() == product.directory
    os.kill(client, number)
    sidecar.wait_for_line(f"was ended by {number.name}")
    sidecar.wait_until_ready()
    assert cores(product.directory) == []


@pytest.mark.usefixtures("dumping")
def test_a_program_that_crashes_without_the_limit_leaves_one(tmp_path: Path, product: Product) -> None:
    """The control, where this machine's kernel writes core dumps into the program's folder."""
    product.host.run("sh", "-c", f"cd {tmp_path} && kill -ABRT $$", check=False)
    assert bool(cores(tmp_path)) == (CORE_PATTERN.read_text()[0] not in "|/@")
