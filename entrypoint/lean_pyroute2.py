"""The part of pyroute2 that we use, without the rest.

Importing any module of pyroute2 first runs the package's own `__init__`, which loads NDB, sqlite and much
more: 50 ms of each start and 6 MB for good. `pyroute2.minimal` is behind the same door. So the package is put
into place without being run, and its modules are found in it as ever.
"""

import importlib.util
import sys

_found = importlib.util.find_spec("pyroute2")
if _found is None:
    raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
sys.modules.setdefault("pyroute2", importlib.util.module_from_spec(_found))

from pyroute2.iproute.linux import AsyncIPRoute  # noqa: E402 - the point of this module
from pyroute2.netlink import NLM_F_DUMP, NLM_F_MULTI, NLM_F_REQUEST  # noqa: E402
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError  # noqa: E402
from pyroute2.netlink.nlsocket import NetlinkRequest  # noqa: E402
from pyroute2.netlink.rtnl import RTM_GETROUTE, RTM_NEWROUTE  # noqa: E402
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: E402

__all__ = [
    "NLM_F_DUMP",
    "NLM_F_MULTI",
    "NLM_F_REQUEST",
    "RTM_GETROUTE",
    "RTM_NEWROUTE",
    "AsyncIPRoute",
    "NetlinkDumpInterrupted",
    "NetlinkError",
    "NetlinkRequest",
    "rtmsg",
]
