"""User names and passwords: refused, healed, odd, and never to be seen."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.lab.sidecar import Sidecar
from tests.lab.waiting import until
from tests.tunnel.product import Product, first_line

USER, PASSWORD, ODD_PASSWORD = "ada", "correct horse 7f3a", 'quote " and ü here'
REFUSED = "the server refused the user name or password"


@pytest.fixture
def guarded(make_product: Callable[..., Product]) -> Product:
    """Give the product beside a server that asks for user name and password."""
    return make_product(login=(USER, PASSWORD))


def secret_file(product: Product, value: str) -> Path:
    """Write a secret as Docker and Kubernetes mount one."""
    file = product.directory / "password"
    file.write_text(f"{value}\n")
    file.chmod(0o600)
    return file


def attempts_at(sidecar: Sidecar) -> list[float]:
    """Return the times in seconds at which an attempt was refused, by the log."""
    lines = [line for line in sidecar.lines if REFUSED in line and "next attempt" in line]
    return [datetime.fromisoformat(line.split()[0]).timestamp() for line in lines]


def test_wrong_credentials_are_named_and_not_hammered(guarded: Product) -> None:
    """The server sees an attempt, another after 1 s, another after 2 s; health and log say why."""
    sidecar = guarded.sidecar({"VPN_USERNAME": USER, "VPN_PASSWORD": "wrong battery"}).start()
    for count, delay in enumerate((1, 2, 4), start=1):
        line = sidecar.wait_for_line(f"next attempt in {delay} s", 15)
        assert f"warning openvpn: {REFUSED}" in line
        assert guarded.server.login_attempts() == count
        assert f"client: openvpn is not running: {REFUSED}" in first_line(sidecar)
        assert sidecar.status()["state"] == "failed"
    first, second, third = attempts_at(sidecar)
    assert 1 <= second - first < 2
    assert 2 <= third - second < 3
    assert REFUSED in sidecar.status()["client"]["failure"]
    assert sidecar.process.running
    assert sidecar.terminate() == 0


def test_the_back_off_has_a_cap(guarded: Product) -> None:
    """RESTART_DELAY_MAX is the longest wait."""
    sidecar = guarded.sidecar(
        {"VPN_USERNAME": USER, "VPN_PASSWORD": "wrong", "RESTART_DELAY_MAX": "300ms"}
    ).start()
    until(lambda: len(attempts_at(sidecar)) >= 4, 10, "four attempts")
    assert "next attempt in 0.3 s" in sidecar.wait_for_line("next attempt")


def test_the_right_password_in_the_file_heals_without_a_restart(guarded: Product) -> None:
    """A secret's file is read anew at each attempt."""
    file = secret_file(guarded, "wrong")
    sidecar = guarded.sidecar({"VPN_USERNAME": USER, "VPN_PASSWORD_FILE": str(file)}).start()
    sidecar.wait_for_line("next attempt in 1 s")
    secret_file(guarded, PASSWORD)
    sidecar.wait_until_ready()
    assert guarded.unreached() == {}
    assert sidecar.status()["client"]["failure"] is None


def test_a_secret_file_that_is_gone_is_named_and_healed(guarded: Product) -> None:
    """The run goes on without it, says what is missing, and takes it when it is back."""
    file = secret_file(guarded, PASSWORD)
    sidecar = guarded.sidecar({"VPN_USERNAME": USER, "VPN_PASSWORD_FILE": str(file)}).start()
    sidecar.wait_until_ready()
    file.unlink()
    seen = len(sidecar.lines)
    guarded.host.run("kill", "-KILL", str(sidecar.status()["client"]["pid"]))
    told = sidecar.wait_for_line(f"cannot read VPN_PASSWORD_FILE='?{file}'?: ", after=seen)
    assert "No such file or directory" in told
    secret_file(guarded, PASSWORD)
    sidecar.wait_until_ready()


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("ada", 'a "quoted" word'),
        ("ada", "it's"),
        ("ada", r"back\slash\\n \" end"),
        ("ada", "  blanks around  "),
        ("ada", "Grüße, 世界"),
        ("ada lovelace@example", "# no comment; $HOME `id` %s"),
        ('Jürgen "J" O\'Hara', "p"),
    ],
)
@pytest.mark.parametrize("as_file", [False, True], ids=["value", "file"])
def test_a_password_may_hold_anything_printable(
    make_product: Callable[..., Product], user: str, password: str, *, as_file: bool
) -> None:
    """Quotes, backslashes, blanks and umlauts reach the server as they are."""
    product = make_product(login=(user, password))
    given = {"VPN_USERNAME": user, "LANG": "C.UTF-8"}
    if as_file:
        given["VPN_PASSWORD_FILE"] = str(secret_file(product, password))
    else:
        given["VPN_PASSWORD"] = password
    product.sidecar(given).start().wait_until_ready()
    assert product.server.login_attempts() == 1


def test_a_json_log_hides_secrets_and_parses(guarded: Product) -> None:
    """Also a secret that JSON writes in another way than it is."""
    guarded.server.accept_login(USER, ODD_PASSWORD)
    sidecar = guarded.sidecar(
        {"VPN_USERNAME": USER, "VPN_PASSWORD": ODD_PASSWORD, "LOG_FORMAT": "json", "LANG": "C.UTF-8"}
    )
    sidecar.start().wait_until_ready()
    assert sidecar.terminate() == 0
    messages = [json.loads(line) for line in sidecar.lines]
    assert all({"time", "level", "message"} == set(message) for message in messages)
    assert not any(ODD_PASSWORD in message["message"] for message in messages)
