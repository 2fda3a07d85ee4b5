"""The script by which a lab's OpenVPN server takes logins: user name, password, one-time code."""

from pathlib import Path
from typing import Literal

TOTP_SEED = "JBSWY3DPEHPK3PXP"
"""Of the one-time codes that the lab's servers ask for, in base32."""

Form = Literal["scrv1", "concat", "crv1"]
"""How a server wants a code: encoded beside the password, behind it, or on demand after the password."""


def totp_uri(period: int) -> str:
    """Return the secret as a QR code would hold it, for codes that change each `period` seconds."""
    return f"otpauth://totp/lab:ada?secret={TOTP_SEED}&issuer=lab&period={period}"


# openvpn hands over the name of a file with two lines, user name and password, at each attempt. A code counts
# once, in its own period and in the next, by the word of oathtool.
_SCRIPT = """#!/bin/sh
PATH=/usr/bin:/bin
cd '{directory}'
echo attempt >>attempts
user=$(sed -n 1p "$1")
given=$(sed -n 2p "$1")
right=$(sed -n 2p login)
test "$user" = "$(sed -n 1p login)" || exit 1
form={form}
case "$form" in
    none) test "$given" = "$right"; exit ;;
    crv1)
        if test "$given" = "$right"; then
            state=$(date +%s%N)
            echo "$state" >state
            printf 'CRV1:R,E:%s:%s:Enter your code' "$state" "$(printf %s "$user" | base64)" \\
                >"$auth_failed_reason_file"
            exit 1
        fi ;;
esac
codes=$(oathtool --totp --base32 --time-step-size={period}s --window=1 --now='{period} seconds ago' {secret})
for code in $codes; do
    case "$form" in
        scrv1) wanted="SCRV1:$(printf %s "$right" | base64):$(printf %s "$code" | base64)" ;;
        concat) wanted=$right$code ;;
        crv1) wanted="CRV1::$(cat state)::$code" ;;
    esac
    if test "$given" = "$wanted" && ! grep --quiet --line-regexp "$code" used; then
        echo "$code" >>used
        exit 0
    fi
done
exit 1
"""


def write_verify_script(directory: Path, form: Form | None, period: int) -> None:
    """Write `verify`, which compares with the two lines in `login` and notes each attempt in `attempts`."""
    script = directory / "verify"
    (directory / "used").touch()
    script.write_text(
        _SCRIPT.format(directory=directory, form=form or "none", period=period, secret=TOTP_SEED)
    )
    script.chmod(0o700)
