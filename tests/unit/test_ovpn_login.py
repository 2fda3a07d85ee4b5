import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.clients import management
from entrypoint.clients.credentials import Credentials
from entrypoint.clients.openvpn import SOCKET_NAME
from entrypoint.clients.ovpn_login import Login, prepare
from entrypoint.clients.ovpn_needs import Form
from entrypoint.faults import BadSettings
from entrypoint.files import Secret
from entrypoint.onetime import OneTimeCodes
from tests.unit.openvpn_maker import make_openvpn

NAME, WORD = Secret("VPN_USERNAME", "ada"), Secret("VPN_PASSWORD", "bar")
BOTH = Credentials(username=NAME, password=WORD)
TOTP = Secret("VPN_TOTP_SECRET", "JBSWY3DPEHPK3PXP")
LOGIN_QUESTION = management.Question("Auth", username=True)
CONFIG = "client\ndev tun\nremote 192.0.2.1\npeer-fingerprint 00\n"
CHALLENGE = b">PASSWORD:Verification Failed: 'Auth' ['CRV1:R,E:Om01:Y3Ix:PIN']\r\n"
QUESTION = b">PASSWORD:Need 'Auth' username/password\r\nSUCCESS: verb=1\r\n"


def answered(login: Login, question: management.Question = LOGIN_QUESTION) -> list[str]:
    """Return the commands that answer a question."""
    return asyncio.run(login.answer(question, 1)).decode().splitlines()


@pytest.mark.parametrize(
    ("form", "password"),
    [("scrv1", '"SCRV1:YmFy:ODY3NTMw"'), ("concat", '"bar867530"'), (None, '"bar"')],
)
def test_a_code_goes_where_the_server_looks_for_it(
    monkeypatch: pytest.MonkeyPatch, form: Form | None, password: str
) -> None:
    """As openvpn's notes on its management interface have it, and not at all unasked."""

    async def fresh(_: OneTimeCodes) -> str:
        return "867530"

    monkeypatch.setattr(OneTimeCodes, "fresh", fresh)
    login, faults = prepare(replace(BOTH, totp=TOTP), key_locked=False)
    login.form = form
    assert faults == []
    assert answered(login) == ['username "Auth" "ada"', f'password "Auth" {password}']


@pytest.mark.parametrize("question", ["HTTP Proxy", "Token"])
def test_a_question_without_a_setting_is_named(question: str) -> None:
    """It would wait for an answer forever."""
    login, _ = prepare(BOTH, key_locked=False)
    with pytest.raises(BadSettings, match=question):
        answered(login, management.Question(question, username=True))


def test_the_key_has_its_own_word_or_the_password_without_a_name() -> None:
    """VPN_KEY_PASSPHRASE goes before; a password where no key is locked is half a login."""
    key = management.Question("Private Key", username=False)
    own = Secret("VPN_KEY_PASSPHRASE", "sesame")
    assert answered(prepare(replace(BOTH, passphrase=own), key_locked=True)[0], key)[0].endswith('"sesame"')
    assert answered(prepare(Credentials(password=WORD), key_locked=True)[0], key)[0].endswith('"bar"')
    _, (fault,) = prepare(Credentials(password=WORD), key_locked=False)
    assert "VPN_PASSWORD without VPN_USERNAME" in fault
    with pytest.raises(BadSettings, match="set VPN_KEY_PASSPHRASE"):
        answered(prepare(BOTH, key_locked=True)[0], key)


def test_a_challenge_is_answered_in_its_session_alone(tmp_path: Path) -> None:
    """A process that was ended in between leaves no challenge to the next."""
    client = make_openvpn(tmp_path, CONFIG, username=NAME, password=WORD, totp=TOTP)

    async def session(*said: bytes) -> str:
        await client.open(lambda _: None)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        heard = b""
        for part in said:
            writer.write(part)
            if part is QUESTION:
                heard = await asyncio.wait_for(reader.readuntil(b'password "Auth" '), 5)
                heard = await reader.readline()
        writer.close()
        await client.close()
        return heard.decode()

    async def sessions(*each: Sequence[bytes]) -> list[str]:
        return [await session(*said) for said in each]

    first, _, third = asyncio.run(sessions((CHALLENGE, QUESTION), (CHALLENGE,), (QUESTION,)))
    assert first.startswith('"CRV1::Om01::')
    assert third == '"bar"\n'
