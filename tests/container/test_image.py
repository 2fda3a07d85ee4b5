import re
from collections.abc import Callable
from pathlib import Path

import entrypoint
from tests.container.conftest import HARDENED, wait_until_ready
from tests.lab.docker import Container, DockerLab
from tests.lab.docker_image import IMAGE
from tests.lab.openvpn_server import OpenVPNServer
from tests.unit.oc_options import unjudged


def shell(lab: DockerLab, script: str) -> str:
    """Run a script in the image under test, without a network."""
    done = lab.run("--network=none", "--entrypoint=sh", IMAGE, "-euc", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_image_says_what_it_is(lab: DockerLab) -> None:
    """The OCI labels are there, and the version is the code's own."""
    labels = lab.engine.inspect(IMAGE)["Config"]["Labels"]
    said = {name.removeprefix("org.opencontainers.image."): text for name, text in labels.items()}
    assert said["title"] == "Sidegate"
    assert said["version"] == entrypoint.__version__
    assert said["licenses"] == "MIT"
    assert "VPN" in said["description"]
    version = lab.run("--network=none", IMAGE, "version")
    assert entrypoint.__version__ in version.stdout, version.stderr


def test_no_build_tools_are_left(lab: DockerLab) -> None:
    """There is no compiler, no pip, no package list and no program with a set-uid or set-gid bit."""
    found = shell(
        lab,
        r"""
        command -v gcc cc make pip pip3 git || true
        find / -xdev \( -name pip -o -name setuptools -o -name wheel \) -print
        find / -xdev -type f -perm /6000 -print
        find /var/lib/apt/lists /var/cache/apt -type f -print
        """,
    )
    assert found == ""


def test_no_service_manager_is_there(lab: DockerLab) -> None:
    """What openconnect's libraries recommend for a whole machine; and apt is content all the same."""
    assert shell(lab, "command -v systemctl udevadm || true; dpkg --audit") == ""
    assert "upgraded, 0 newly installed" in shell(lab, "apt-get --simulate install openconnect")


def test_every_option_of_its_openconnect_is_judged(lab: DockerLab) -> None:
    """A newer openconnect has more of them than the machine's own."""
    assert unjudged(shell(lab, "openconnect --help || true")) == []


def test_no_source_is_compiled_at_the_start(lab: DockerLab) -> None:
    """Every module of the entrypoint and of the health check comes from its bytecode, on a read-only root."""
    modules = "entrypoint.__main__, healthcheck.__main__"
    verbose = lab.run(
        *("--network=none", "--read-only", "--entrypoint=python3", IMAGE, "-v", "-c", f"import {modules}")
    )
    assert verbose.returncode == 0, verbose.stderr[-2000:]
    from_bytecode = re.findall(r"# code object from '(/.*)'", verbose.stderr)
    from_source = re.findall(r"# code object from (/.*)", verbose.stderr)
    assert any("/opt/sidegate/pyroute2/" in file for file in from_bytecode)
    assert any("/opt/sidegate/entrypoint/" in file for file in from_bytecode)
    assert from_source == []


def test_the_bytecode_of_every_module_is_there(lab: DockerLab) -> None:
    """Also what is imported late has its bytecode beside it."""
    missing = shell(
        lab,
        "find /opt/sidegate /usr/lib/python3* -name '*.py' | while read -r file; do"
        '  set -- "${file%/*}/__pycache__/$(basename "$file" .py)".*.pyc;'
        '  test -e "$1" || echo "$file";'
        "done",
    )
    assert missing == ""


def test_the_wrapper_is_the_entrypoint(lab: DockerLab) -> None:
    """`sidegate` in a shell of the container is the same program."""
    assert entrypoint.__version__ in shell(lab, "sidegate version")


def test_tini_is_process_one(ready_sidecar: Container) -> None:
    """Process 1 reaps; the entrypoint is its child."""
    first = ready_sidecar.execute("cat", "/proc/1/comm").stdout.strip()
    child = ready_sidecar.execute("sh", "-c", "read -r pid </proc/1/task/1/children; cat /proc/$pid/cmdline")
    assert first == "tini"
    assert child.stdout.split("\0")[1:-1] == ["-m", "entrypoint", "run"]


def test_it_needs_no_more_than_documented(
    server: OpenVPNServer, vpn_directory: Path, start_sidecar: Callable[..., Container]
) -> None:
    """A read-only root, no new privileges and NET_ADMIN alone suffice for a tunnel."""
    server.write_client_config(vpn_directory / "office.ovpn")
    sidecar = start_sidecar(privileges=HARDENED)
    wait_until_ready(sidecar)
    assert sidecar.execute("touch", "/probe", check=False).returncode != 0
    (kept,) = re.findall(r"(?m)^CapEff:\s*(\w+)", sidecar.execute("cat", "/proc/1/status").stdout)
    assert int(kept, 16) == 1 << 12, "CAP_NET_ADMIN is number 12 of linux/capability.h"
    assert sidecar.tunnel_address()
