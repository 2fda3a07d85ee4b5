import asyncio
import time
from pathlib import Path

import pytest

from entrypoint.faults import BadSettings
from entrypoint.files import Secret
from entrypoint.onetime import OneTimeCodes

# The secret and the codes of RFC 6238, appendix B.
RFC_SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RFC_CODES = {59: "94287082", 1111111109: "07081804", 20000000000: "65353130"}
SHORT = "JBSWY3DPEHPK3PXP"


def codes_of(value: str) -> OneTimeCodes:
    """Make codes of a secret."""
    return OneTimeCodes(Secret("VPN_TOTP_SECRET", value))


@pytest.mark.parametrize(("now", "code"), RFC_CODES.items())
def test_codes_are_those_of_the_rfc(monkeypatch: pytest.MonkeyPatch, now: int, code: str) -> None:
    """Eight digits by an address as in a QR code, six by the bare secret."""
    monkeypatch.setattr(time, "time", lambda: float(now))
    address = f"otpauth://totp/vpn:ada?secret={RFC_SEED}&digits=8&algorithm=SHA1&issuer=vpn"
    assert asyncio.run(codes_of(address).fresh()) == code
    assert asyncio.run(codes_of(RFC_SEED).fresh()) == code[2:]


@pytest.mark.parametrize("value", [SHORT, SHORT.lower(), "JBSW Y3DP EHPK 3PXP", f" {SHORT[:13]}===\n"])
def test_a_secret_may_be_written_as_people_write_it(value: str) -> None:
    """In small letters, in groups of four, padded; of 80 bits, as many servers hand them out."""
    assert len(asyncio.run(codes_of(value).fresh())) == 6


@pytest.mark.parametrize(
    "value",
    [
        "secret-1890",
        "A",
        "otpauth://hotp/vpn?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&counter=1",
        "otpauth://totp/vpn",
        "otpauth://totp/vpn?secret=JBSWY3DPEHPK3PXP&period=0",
        "https://example.com/",
    ],
)
def test_what_is_no_secret_is_refused_without_being_shown(value: str) -> None:
    """Counters, too: nobody would keep the count."""
    with pytest.raises(BadSettings, match="VPN_TOTP_SECRET is neither") as caught:
        codes_of(value)
    assert value not in str(caught.value)


def test_a_code_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second wish in the same period waits for the next, and takes the code of that."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(time, "time", lambda: 65.0)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    codes = codes_of(RFC_SEED)
    first, second = (asyncio.run(codes.fresh()) for _ in range(2))
    assert first != second
    assert waits == [25.0]


def test_a_secrets_file_is_read_anew(tmp_path: Path) -> None:
    """It can be rotated, and its loss is told."""
    file = tmp_path / "totp"
    file.write_text(f"{SHORT}\n")
    codes = OneTimeCodes(Secret("VPN_TOTP_SECRET", file=file))
    file.unlink()
    with pytest.raises(BadSettings, match="VPN_TOTP_SECRET_FILE"):
        asyncio.run(codes.fresh())
