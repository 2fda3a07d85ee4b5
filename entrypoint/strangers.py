"""What the environment holds that is no setting of ours, or is hardly meant so. No IO here."""

import difflib
import re
from collections.abc import Collection, Mapping

from entrypoint.files import FILE_SUFFIX
from entrypoint.parse import quoted

ONE_LETTER_OFF = 0.9
"""How like one of ours (difflib's ratio) a name is that lacks a letter: GATEWAY, of a single word."""
NEAR = 0.7
"""A name less like one of ours is no typo of it."""
# Kubernetes sets NAME_SERVICE_HOST, NAME_PORT_80_TCP and so on for each service of the name space:
# a service called "vpn" is no typo.
_SERVICE_LINK = re.compile(
    r".*_(SERVICE_(HOST|PORT.*)|PORT_\d+_(TCP|UDP|SCTP).*)=.*|.*_PORT=\w+://.*", re.DOTALL
)
# Of gluetun's wiki; those that are called as ours are not among them.
_GLUETUNS = re.compile(
    r"(OPENVPN|WIREGUARD|FIREWALL)_\w+|SERVER_(COUNTRIES|REGIONS|CITIES|NAMES|HOSTNAMES)"
    r"|VPN_(SERVICE_PROVIDER|TYPE|ENDPOINT_IP|ENDPOINT_PORT|PORT_FORWARDING\w*)"
)
INSTEAD = (
    "put the provider's own *.ovpn or *.conf into /vpn (it names server, port and keys), and a login into "
    "VPN_USERNAME and VPN_PASSWORD; LAN_NETWORKS names what stays on the LAN"
)


def warnings(given: Mapping[str, str], known: Collection[str]) -> list[str]:
    """Return a text for each name that looks like a typo, and one for all of gluetun's."""
    ours = {*known, *(name + FILE_SUFFIX for name in known), "ENV_FILE"}
    beginnings = tuple({name.split("_")[0] + "_" for name in known})
    others = [
        name for name in sorted(given.keys() - ours) if not _SERVICE_LINK.fullmatch(f"{name}={given[name]}")
    ]
    gluetuns = [name for name in others if _GLUETUNS.fullmatch(name)]
    typos = [
        f"{name} is no setting of ours and is ignored{_meant(name, known)}"
        for name in others
        if name not in gluetuns
        and (name.startswith(beginnings) or difflib.get_close_matches(name, known, cutoff=ONE_LETTER_OFF))
    ]
    if gluetuns:
        typos.append(f"{', '.join(gluetuns)}: as gluetun's settings they are ignored here; {INSTEAD}")
    return typos


def quotes(given: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Return a text for each value in quotes among the settings of any text; no value is shown."""
    return [
        f"{name} begins and ends with a quotation mark, which is taken as a part of it; "
        "write it without, unless it is meant so"
        for name in names
        if quoted(given.get(name, ""))
    ]


def _meant(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name.removesuffix(FILE_SUFFIX), known, n=1, cutoff=NEAR)
    return f"; did you mean {near[0]}?" if near else ""
