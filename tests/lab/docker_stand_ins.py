"""Stand-ins for what cannot be had here: a vendor's package, and images of other VPN containers.

Each is a real OpenVPN client in other clothes; the images are made from the image under test.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab.docker_engine import Engine
from tests.lab.docker_image import IMAGE

VENDOR = """#!/bin/sh -e
# `connect` returns while its daemon goes on, as most vendors' programs do.
case $1 in
connect) exec openvpn --config /vpn/account.conf --daemon vendor-vpn --writepid /run/vendor-vpn.pid ;;
disconnect) kill "$(cat /run/vendor-vpn.pid)" ;;
esac
"""
CONTROL = """Package: vendor-vpn
Version: 1.0
Architecture: all
Maintainer: A vendor <vendor@example.org>
Depends: openvpn
Description: stand-in for a vendor's client
"""


def vendor_package(directory: Path) -> Path:
    """Build a Debian package whose program `vendor-vpn` makes a tunnel and daemonises."""
    root = directory / "vendor-vpn"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(CONTROL)
    program = root / "usr/bin/vendor-vpn"
    program.parent.mkdir(parents=True)
    program.write_text(VENDOR)
    program.chmod(0o755)
    package = directory / "vendor-vpn_1.0_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(root), str(package)],
        check=True,
        capture_output=True,
    )
    shutil.rmtree(root)
    return package


def other_image(
    engine: Engine, directory: Path, name: str, options: Sequence[str], lines: Sequence[str]
) -> None:
    """Make an image of a name that runs OpenVPN with these options, and then these lines of iproute2."""
    directory.mkdir()
    script = [
        "#!/bin/sh -e",
        f"openvpn --config /vpn/other.conf --daemon --writepid /run/other.pid {' '.join(options)}",
        "until ip address show dev tun0 2>/dev/null | grep -q 'inet '; do sleep 0.1; done",
        *(f"ip {line}" for line in lines),
        "trap 'kill $(cat /run/other.pid); exit 0' TERM",
        "while :; do sleep 1; done",
    ]
    (directory / "run").write_text("\n".join(script) + "\n")
    (directory / "Dockerfile").write_text(
        f'FROM {IMAGE}\nCOPY run /run-other\nENTRYPOINT ["/usr/bin/tini", "--", "sh", "/run-other"]\n'
        "HEALTHCHECK --interval=1s CMD ip address show dev tun0\n"
    )
    build(engine, directory, name)


def build(engine: Engine, directory: Path, name: str) -> None:
    """Build an image for which nothing has to be downloaded: the lab has no way out."""
    engine.docker("build", "--network=none", f"--tag={name}", str(directory))
