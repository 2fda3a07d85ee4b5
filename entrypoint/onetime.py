"""One-time codes of VPN_TOTP_SECRET (RFC 6238)."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from entrypoint.faults import BadSettings
from entrypoint.files import Secret

if TYPE_CHECKING:
    from pyotp import TOTP

log = logging.getLogger(__name__)

URI_SCHEME = "otpauth:"
"""How the text in a QR code begins; it may name other digits, another period, another hash."""


class OneTimeCodes:
    """Gives each code out once: a server that knows its trade refuses one that it has seen."""

    def __init__(self, secret: Secret) -> None:
        """Check the secret; raises BadSettings as `fresh` does."""
        self._secret = secret
        self._given_in: int | None = None
        self._totp()

    async def fresh(self) -> str:
        """Return a code that was not given out yet, in the next period where this one's was.

        A period mostly has 30 s. Raises BadSettings where the secret's file is gone, or holds no such secret.
        """
        totp = self._totp()
        now = time.time()
        period = int(now // totp.interval)
        if period == self._given_in:
            period += 1
            wait = period * totp.interval - now
            log.info("waiting %.0f s for the next one-time code: each can be used once", wait)
            await asyncio.sleep(wait)
        self._given_in = period
        return totp.at(period * totp.interval)

    def _totp(self) -> "TOTP":
        import pyotp  # noqa: PLC0415 - 11 ms of start-up that only those pay who use it

        # By itself the library refuses less than 112 bits; many servers hand out 80, as Google's example did.
        pyotp.TOTP.min_secret_length_bits = 1
        secret = self._secret.reveal().strip()
        try:
            if secret.startswith(URI_SCHEME):
                totp = pyotp.parse_uri(secret)
            else:
                totp = pyotp.TOTP("".join(secret.split()).replace("-", "").rstrip("="))
        except ValueError:
            # The library's own words may hold a part of it.
            raise _unfit(self._secret) from None
        if not isinstance(totp, pyotp.TOTP):
            raise _unfit(self._secret)
        return totp


def _unfit(secret: Secret) -> BadSettings:
    return BadSettings(
        f"cannot make one-time codes: {secret.name} is neither a secret in base32 (letters and 2 to 7) nor "
        "an otpauth://totp/ address; take what your VPN shows beside the QR code"
    )
