"""What it means that the kernel refuses a change, by the error's number. No kernel in here."""

import errno

from entrypoint.changes import Change
from entrypoint.network import LinkAddress, Route

_GONE = {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL}
"""What the kernel says to a deletion of what is not there: route, rule, link, address."""
_BAD_GATEWAY = {errno.EINVAL, errno.ENETUNREACH, errno.EHOSTUNREACH}
"""What it says to a route whose gateway is reached by no link."""


def is_no_fault(code: int, change: Change) -> bool:
    """Tell whether the kernel is already as the change would have made it."""
    if change.verb == "del":
        return code in _GONE
    if code != errno.EEXIST:
        return False
    # A default route that stands in the main table by now is the client's own.
    return isinstance(change.item, LinkAddress) or (change.sets_default and change.is_of_main)


def advice(code: int, change: Change) -> str:
    """Say what to do about a change that was refused; an empty text where nobody knows."""
    if code == errno.EEXIST and change.is_of_main:
        return "; somebody else's route to it stands in the main table, find out whose"
    if code == errno.EEXIST:
        return "; somebody else's route stands there, set ROUTE_TABLE to a range that is free"
    if code == errno.EACCES and isinstance(change.item, LinkAddress):
        return f"; IPv6 is off on it, see sysctl net.ipv6.conf.{change.item.link}.disable_ipv6"
    if isinstance(change.item, Route) and change.item.gateway and code in _BAD_GATEWAY:
        return f"; set GATEWAYS={change.item.link}=<address of its router>"
    return ""
