"""What openconnect says of its options, held against what we say of them."""

import re

from entrypoint.clients.oc_arguments import REFUSED, TAKEN, check


def unjudged(told: str) -> list[str]:
    """Return the options of `openconnect --help` that are neither taken nor refused as what they are."""
    offered = set(re.findall(r"^ +(?:-\w, +)?--([a-z0-9-]+=?)", told, re.MULTILINE))
    assert len(offered) > 60, told
    return sorted(name for name in offered - TAKEN if not _is_refused(name))


def _is_refused(name: str) -> bool:
    plain = name.rstrip("=")
    faults = check((f"--{name}x" if name.endswith("=") else f"--{name}",)).faults
    return plain in REFUSED and [
        fault.startswith(f"cannot use VPN_ARGS: --{plain}: ") for fault in faults
    ] == [True]
