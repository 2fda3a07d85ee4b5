"""What the container tests need beside the image under test, made from Debian's packages.

No registry of images is asked: a base for the Dockerfile, busybox as an image, and the compose plugin.
Everything is kept in a cache under names that hold a digest of what it was made from.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

SUITE = "trixie"

SCRATCH = "scratch-"
"""How directories begin that hold what is being made."""

BASE_IMAGE = "debian:trixie-slim"
"""The name in the Dockerfile's FROM."""

SERVICE_IMAGE = "busybox:stable"
"""The name in compose.example.yml."""

_SLIM = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
)
"""dpkg's options that make an image of Debian a slim one."""

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
"""Debian's bundle of authorities; where a proxy signs anew, it holds the proxy's."""

_BUNDLE_IN_BASE = "etc/ssl/of-the-building-machine.crt"
_BUSYBOX = "usr/bin/busybox"
_COMPOSE = "usr/libexec/docker/cli-plugins/docker-compose"
_APPLETS = ("cat", "httpd", "ip", "nc", "sh", "sleep", "wget")

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Settings of the machine that reach a build as arguments; docker knows them without an ARG."""


def digest(*parts: bytes | str) -> str:
    """Return a short name for all the parts together."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


def own_source() -> bytes:
    """Return this file: what is made here is made anew when it changes."""
    return Path(__file__).read_bytes()


def base_changes() -> list[str]:
    """Return the settings of the base image, as Dockerfile instructions for `docker import --change`."""
    environment = {"PIP_CERT": f"/{_BUNDLE_IN_BASE}"} if _certificates() else {}
    environment |= {name: os.environ[name] for name in ("PIP_INDEX_URL",) if name in os.environ}
    return ['CMD ["bash"]', *(f"ENV {name}={value}" for name, value in environment.items())]


def base_archive(cache: Path) -> Path:
    """Return a root file system like the Dockerfile's base, as a tar file; 17 s when it is not there yet."""
    archive = cache / f"base-{digest(own_source(), _certificates() or b'')}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix=SCRATCH) as scratch:
            made = Path(scratch) / "base.tar"
            options = [f"--dpkgopt={option}" for option in _SLIM]
            _mmdebstrap("--variant=minbase", *options, SUITE, str(made))
            bundle = _certificates()
            if bundle:
                file = Path(scratch) / "bundle"
                file.write_bytes(bundle)
                with tarfile.open(made, "a") as tar:
                    tar.add(file, f"./{_BUNDLE_IN_BASE}")
            _replace(made, archive, "base-*.tar")
    return archive


def extras(cache: Path) -> Path:
    """Return a directory with the compose plugin and the tree of a busybox image; 4 s the first time.

    Both programs need no library: they are unpacked, not installed.
    """
    directory = cache / f"extras-{digest(own_source())}"
    if not directory.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix=SCRATCH) as scratch:
            unpacked = Path(scratch) / "unpacked"
            _mmdebstrap("--variant=extract", "--include=docker-compose,busybox-static", SUITE, str(unpacked))
            made = Path(scratch) / "extras"
            plugins = made / "config/cli-plugins"
            binaries = made / "busybox/bin"
            plugins.mkdir(parents=True)
            binaries.mkdir(parents=True)
            shutil.move(unpacked / _COMPOSE, plugins / "docker-compose")
            shutil.move(unpacked / _BUSYBOX, binaries / "busybox")
            for applet in _APPLETS:
                (binaries / applet).symlink_to("busybox")
            (made / "busybox/tmp").mkdir(mode=0o1777)
            _replace(made, directory, "extras-*")
    return directory


def docker_configuration(cache: Path) -> Path:
    """Return the directory for DOCKER_CONFIG that holds the compose plugin."""
    return extras(cache) / "config"


def service_archive(cache: Path, scratch: Path) -> Path:
    """Pack the busybox image's tree into a tar file below `scratch`."""
    archive = scratch / "busybox.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(extras(cache) / "busybox", ".")
    return archive


def _certificates() -> bytes | None:
    """Return the authorities that this machine's package index is checked against, if it has a bundle."""
    named = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    file = Path(named) if named else _CERTIFICATES
    return file.read_bytes() if file.exists() else None


def _mmdebstrap(*argv: str) -> None:
    done = subprocess.run(
        ["mmdebstrap", *argv], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise AssertionError(
            f"mmdebstrap {' '.join(argv)} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        )


def _replace(made: Path, target: Path, older: str) -> None:
    """Put what was made in its place, whole, and remove what an older version of it left."""
    for path in target.parent.glob(older):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    made.rename(target)
