import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.container.conftest import HARDENED, PRIVILEGES, wait_until_ready
from tests.lab.docker import Container
from tests.lab.openvpn_server import OpenVPNServer
from tests.lab.waiting import until

_TELL = "for each in /proc/[0-9]*; do cat $each/comm; grep -E '^(CapEff|NoNewPrivs):' $each/status; done"


@pytest.mark.parametrize("privileges", [PRIVILEGES, HARDENED], ids=["docker's", "hardened"])
def test_no_process_may_do_more_than_documented(
    server: OpenVPNServer,
    vpn_directory: Path,
    start_sidecar: Callable[..., Container],
    privileges: tuple[str, ...],
) -> None:
    """Client and program have what the container was given, the client gains nothing, a hook has nothing."""
    server.write_client_config(vpn_directory / "office.ovpn")
    hook = "--env=ON_UP=sh -c 'grep -E \"^(CapEff|CapPrm|NoNew)\" /proc/self/status >/run/told'"
    sidecar = start_sidecar(hook, privileges=privileges)
    wait_until_ready(sidecar)
    told = sidecar.execute("sh", "-c", _TELL).stdout
    found = dict(re.findall(r"(?m)^(\S+)\nCapEff:\s*(\w+)\nNoNewPrivs:\s*\d$", told))
    assert found["tini"] == found["openvpn"]
    if privileges is HARDENED:
        assert int(found["openvpn"], 16) == 1 << 12, "CAP_NET_ADMIN is number 12 of linux/capability.h"
    assert re.search(r"(?m)^openvpn\nCapEff:\s*\w+\nNoNewPrivs:\s*1$", told)
    until(lambda: "NoNew" in sidecar.execute("cat", "/run/told", check=False).stdout, 5, "the hook")
    hooked = sidecar.execute("cat", "/run/told").stdout.split()
    assert hooked == ["CapPrm:", "0" * 16, "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
