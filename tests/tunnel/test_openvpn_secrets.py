"""One-time codes and passphrases: given in the form that the server wants, once, and never to be seen."""

import asyncio
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entrypoint.clients.base import Report
from entrypoint.clients.openvpn import OpenVPN
from tests.lab.openvpn_login import TOTP_SEED, totp_uri
from tests.lab.openvpn_server import OpenVPNServer, with_locked_key
from tests.lab.topology import Lab
from tests.lab.waiting import until
from tests.tunnel.attempt import Attempt, Word
from tests.tunnel.product import Product, first_line
from tests.tunnel.secrets_everywhere import left, seen

USER, PASSWORD, PASSPHRASE = "ada", "correct horse 7f3a", "open sesame 2c81"
PERIOD = 5
"""Seconds for which a code holds: more than a reconnection takes."""
ASKS = {
    "scrv1": ('static-challenge "Enter your code" 1',),
    "concat": ("static-challenge Code 1 concat",),
    "crv1": (),
}
"""How a configuration says which form the server wants."""


def ada(seed: str | None = None, password: str = PASSWORD) -> dict[str, Any]:
    """Return the client's keywords for the user that the servers know."""
    login = {"username": Word(USER), "password": Word(password)}
    return {**login, "totp": Word(seed)} if seed else login


def used(server: OpenVPNServer) -> list[str]:
    """Return the codes that the server has accepted."""
    return (server.directory / "used").read_text().split()


def outcome(client: OpenVPN, lab: Lab) -> tuple[Report, bytes]:
    """Return the report once connected or failed, and all that others could see of the process."""

    async def scenario() -> tuple[Report, bytes]:
        async with Attempt(client, lab.sidecar) as attempt:
            report = await attempt.until(lambda report: report.connected or report.failure is not None)
            return report, attempt.seen_from_outside()

    return asyncio.run(scenario())


@pytest.mark.parametrize("form", ASKS)
def test_a_code_is_given_in_the_form_that_the_server_wants(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN], form: str
) -> None:
    """Encoded beside the password, behind it, or after the password when it is asked for."""
    server = make_server(login=(USER, PASSWORD), codes=form)
    client = make_client(server.client_config("verb 4", *ASKS[form]), **ada(TOTP_SEED))
    report, shown = outcome(client, lab)
    assert report.connected, report
    assert server.login_attempts() == (2 if form == "crv1" else 1)
    for secret in (PASSWORD, TOTP_SEED):
        assert secret.encode() not in shown + repr(report).encode()


def test_no_code_is_given_twice(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """A reconnection within a code's period waits for the next code, which is taken."""
    server = make_server(login=(USER, PASSWORD), codes="scrv1", period=PERIOD)
    client = make_client(server.client_config(*ASKS["scrv1"]), **ada(totp_uri(PERIOD)))

    async def scenario() -> tuple[float, float]:
        await asyncio.to_thread(until, lambda: time.time() % PERIOD < 0.2, PERIOD + 1, "a period to begin")
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.connected()
            attempt.process.send_signal(signal.SIGUSR1)
            gone = await attempt.until(lambda report: not report.connected)
            went = time.time()
            await attempt.connected()
            assert attempt.process.returncode is None, gone
            return went, time.time()

    went, back = asyncio.run(scenario())
    assert went // PERIOD < back // PERIOD
    assert len(used(server)) == len(set(used(server))) == server.login_attempts() == 2


def test_keys_are_renewed_with_a_new_code(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """A server without session tokens asks again each hour: the code of the start would be refused."""
    server = make_server(login=(USER, PASSWORD), codes="scrv1", period=2, lines=("reneg-sec 3 3",))
    client = make_client(server.client_config(*ASKS["scrv1"]), **ada(totp_uri(2)))

    async def scenario() -> None:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.connected()
            await asyncio.to_thread(until, lambda: len(used(server)) > 1, 10, "a second code to be accepted")
            assert attempt.report.connected

    asyncio.run(scenario())


def test_a_server_that_asks_for_a_code_nobody_can_make_is_named(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """The password was right, and that is said."""
    server = make_server(login=(USER, PASSWORD), codes="crv1")
    client = make_client(server.client_config(), **ada())
    report, _ = outcome(client, lab)
    assert report.failure == "the server wants a one-time code (Enter your code); set VPN_TOTP_SECRET"
    assert report.rejected


def test_a_wrong_password_before_a_code_ends_the_attempt(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """By itself openvpn would go on asking where it waits for a challenge; one refusal is one attempt."""
    server = make_server(login=(USER, PASSWORD), codes="crv1")
    client = make_client(server.client_config(), **ada(TOTP_SEED, "wrong"))

    async def scenario() -> Report:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.ended()
            return attempt.report

    report = asyncio.run(scenario())
    assert report.rejected
    assert (report.failure or "").startswith("the server refused the user name or password")
    assert server.login_attempts() == 1


@pytest.mark.parametrize("kind", ["inline", "older", "file", "pkcs12"])
def test_an_encrypted_key_is_opened(
    lab: Lab,
    make_server: Callable[..., OpenVPNServer],
    make_client: Callable[..., OpenVPN],
    tmp_path: Path,
    kind: str,
) -> None:
    """In the configuration, beside it, in PKCS#8, as older programs wrote it, and in PKCS#12."""
    server = make_server()
    config = with_locked_key(server.client_config("verb 4"), PASSPHRASE, legacy=kind == "older")
    if kind == "file":
        config = _moved_to_file(config, tmp_path / "my.key")
    if kind == "pkcs12":
        config = _moved_to_pkcs12(server.client_config("verb 4"), tmp_path / "my.p12")
    report, shown = outcome(make_client(config, passphrase=Word(PASSPHRASE)), lab)
    assert report.connected, (report, shown)
    assert PASSPHRASE.encode() not in shown + repr(report).encode()


def _moved_to_file(config: str, file: Path) -> str:
    key = re.search(r"<key>\n(.*?)</key>\n", config, re.DOTALL)
    assert key
    file.write_text(key[1])
    return config.replace(key[0], f"key {file.name}\n")


def _moved_to_pkcs12(config: str, file: Path) -> str:
    blocks = re.search(r"<cert>\n(.*?)</cert>\n<key>\n(.*?)</key>\n", config, re.DOTALL)
    assert blocks
    pem = file.with_suffix(".pem")
    pem.write_text(blocks[1] + blocks[2])
    argv = ("openssl", "pkcs12", "-export", "-in", pem, "-out", file, "-passout", f"pass:{PASSPHRASE}")
    subprocess.run(argv, capture_output=True, check=True)
    return config.replace(blocks[0], f"pkcs12 {file.name}\n")


def test_a_password_without_a_user_name_opens_the_key(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """Where no server asks for a login, VPN_PASSWORD is the key's."""
    client = make_client(
        with_locked_key(make_server().client_config(), PASSPHRASE), password=Word(PASSPHRASE)
    )
    assert outcome(client, lab)[0].connected


def test_login_and_passphrase_go_together(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """Each question has its own answer, and at a reconnection again."""
    server = make_server(login=(USER, PASSWORD))
    client = make_client(
        with_locked_key(server.client_config(), PASSPHRASE), passphrase=Word(PASSPHRASE), **ada()
    )

    async def scenario() -> None:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.connected()
            attempt.process.send_signal(signal.SIGUSR1)
            await attempt.until(lambda report: not report.connected)
            await attempt.connected()

    asyncio.run(scenario())
    assert server.login_attempts() == 2


def test_a_wrong_passphrase_is_named_and_not_hammered(product: Product) -> None:
    """Log and health say which setting; the file's next content opens the key without a restart."""
    product.config.write_text(with_locked_key(product.config.read_text(), PASSPHRASE))
    file = product.directory / "passphrase"
    file.write_text("wrong 9be2\n")
    sidecar = product.sidecar({"VPN_KEY_PASSPHRASE_FILE": str(file)}).start()
    line = sidecar.wait_for_line("next attempt")
    assert "next attempt in 1 s" in line
    assert "the passphrase does not open the private key; correct VPN_KEY_PASSPHRASE" in line
    assert "correct VPN_KEY_PASSPHRASE" in first_line(sidecar)
    file.write_text(f"{PASSPHRASE}\n")
    sidecar.wait_until_ready()
    assert product.unreached() == {}
    told = "".join(sidecar.get(path)[1] for path in ("/readyz", "/status", "/metrics"))
    assert sidecar.terminate() == 0
    for secret in ("wrong 9be2", PASSPHRASE):
        assert secret not in told + "\n".join(sidecar.lines)


def test_neither_codes_nor_passphrase_are_anywhere(make_product: Callable[..., Product]) -> None:
    """Up, and after the end: no argument, environment, log, health or file holds one of the four."""
    product = make_product(login=(USER, PASSWORD), codes="scrv1")
    product.config.write_text(with_locked_key(product.config.read_text(), PASSPHRASE))
    sidecar = product.sidecar(
        {
            "VPN_USERNAME": USER,
            "VPN_PASSWORD": PASSWORD,
            "VPN_TOTP_SECRET": TOTP_SEED,
            "VPN_KEY_PASSPHRASE": PASSPHRASE,
            "VPN_ARGS": "--static-challenge Code 1 --verb 4",
            "LOG_LEVEL": "debug",
        }
    ).start()
    sidecar.wait_until_ready()
    secrets = [PASSWORD, TOTP_SEED, PASSPHRASE, *used(product.server)]
    assert len(secrets) == 4
    where: dict[str, Any] = {
        "folders": [product.directory],
        "known": {product.config, *(product.directory / "server").rglob("*")},
    }
    assert seen(sidecar, secrets, **where) == []
    assert sidecar.terminate() == 0
    assert left(sidecar, secrets, **where) == []
