"""What openvpn's questions are answered with: user name, password, one-time code, passphrase."""

import base64
from dataclasses import dataclass, replace

from entrypoint.clients import management
from entrypoint.clients import management_commands as commands
from entrypoint.clients.credentials import Credentials
from entrypoint.clients.ovpn_needs import Form
from entrypoint.faults import BadSettings
from entrypoint.files import Secret
from entrypoint.onetime import OneTimeCodes


@dataclass(kw_only=True)
class Login:
    """The secrets of one client, and how its server wants them."""

    credentials: tuple[Secret, Secret] | None = None
    """User name and password."""
    passphrase: Secret | None = None
    """Of the private key."""
    codes: OneTimeCodes | None = None
    form: Form | None = None
    """How the server wants a code with each login: encoded (static challenge), or behind the password; None
    where it does not, unless it asks (dynamic challenge)."""
    challenge: management.Challenge | None = None
    """What the server asked for when it refused the login before; it belongs to the next one."""

    @property
    def may_be_asked(self) -> bool:
        """Whether the server may ask for a code after the login, and would be given it."""
        return self.codes is not None and self.form is None

    def takes(self, refusal: management.Refusal) -> bool:
        """Tell whether a refusal only asks for a code that can be given at the next question."""
        self.challenge = refusal.challenge if self.codes else None
        return self.challenge is not None

    async def answer(self, question: management.Question, verbosity: int) -> bytes:
        """Return the commands for openvpn, once a fresh code can be had where one is needed.

        Raises BadSettings with what is missing, gone or unfit.
        """
        if question.about == "Private Key":
            return self._passphrase(question)
        if question.about != "Auth" or not question.username:
            raise BadSettings(
                "cannot log in: saw that openvpn asks for a secret that Sidegate has no setting for: "
                + management.shown(question.about)
            )
        if not self.credentials:
            raise BadSettings(
                "cannot log in: saw that openvpn asks for a login; set VPN_USERNAME and VPN_PASSWORD"
            )
        username, password = (secret.reveal() for secret in self.credentials)
        challenge, self.challenge = self.challenge, None
        if challenge:
            username = challenge.username or username
            password = f"CRV1::{challenge.state}::{await self._code() if challenge.wants_answer else ''}"
        elif self.form == "scrv1":
            password = f"SCRV1:{_base64(password)}:{_base64(await self._code())}"
        elif self.form == "concat":
            password += await self._code()
        try:
            return commands.credentials(question.about, username, password, verbosity)
        except ValueError as error:
            raise BadSettings(
                f"cannot log in: VPN_USERNAME or VPN_PASSWORD {error}; take shorter ones"
            ) from None

    async def _code(self) -> str:
        return await self.codes.fresh() if self.codes else ""

    def _passphrase(self, question: management.Question) -> bytes:
        if not self.passphrase:
            raise BadSettings("cannot open the private key: saw that it is encrypted; set VPN_KEY_PASSPHRASE")
        try:
            return commands.password(question.about, self.passphrase.reveal())
        except ValueError as error:
            raise BadSettings(f"cannot open the private key: {self.passphrase.name} {error}") from None


def prepare(given: Credentials, *, key_locked: bool) -> tuple[Login, list[str]]:
    """Put together what the settings hold; returns it with every fault of theirs.

    `key_locked`: there is a private key that may need a passphrase; then a VPN_PASSWORD without a user name
    is that.
    """
    if key_locked and given.password and not (given.username or given.passphrase):
        given = replace(given, password=None, passphrase=given.password)
    login, username, password = Login(passphrase=given.passphrase), given.username, given.password
    faults = given.unfit(_see_that_it_is_quotable)
    if username and password:
        login.credentials = (username, password)
    elif username or password:
        has, lacks = ("VPN_USERNAME", "VPN_PASSWORD") if username else ("VPN_PASSWORD", "VPN_USERNAME")
        faults.append(f"cannot log in: saw {has} without {lacks}; set both, or none")
    login.codes = given.codes(faults)
    if given.totp and not (username or password):
        faults.append(
            "cannot log in: saw VPN_TOTP_SECRET without VPN_USERNAME and VPN_PASSWORD; set them, too"
        )
    return login, faults


def _see_that_it_is_quotable(secret: Secret) -> None:
    try:
        commands.quote(secret.reveal())
    except ValueError as error:
        raise BadSettings(f"cannot log in: {secret.name} {error}; correct it") from None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
