"""What a user logs in with, as the settings hold it; each client gives it to its server in its own way."""

from collections.abc import Callable
from dataclasses import dataclass

from entrypoint.faults import BadSettings
from entrypoint.files import Secret
from entrypoint.onetime import OneTimeCodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The secrets of one user; None for what is not set."""

    username: Secret | None = None
    password: Secret | None = None
    passphrase: Secret | None = None
    """Of the private key."""
    totp: Secret | None = None
    """What one-time codes are made from."""

    def unfit(self, check: Callable[[Secret], object]) -> list[str]:
        """Return the faults of user name, password and passphrase: `check` raises BadSettings for them."""
        faults: list[str] = []
        for secret in filter(None, (self.username, self.password, self.passphrase)):
            try:
                check(secret)
            except BadSettings as fault:
                faults += fault.texts
        return faults

    def codes(self, faults: list[str]) -> OneTimeCodes | None:
        """Return what makes the codes, None without a secret; what is wrong with it is added to `faults`."""
        try:
            return OneTimeCodes(self.totp) if self.totp else None
        except BadSettings as fault:
            faults += fault.texts
            return None
