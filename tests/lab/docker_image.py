"""The image under test, built from the real Dockerfile without a change to the machine's own network."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.lab import docker_parts
from tests.lab.docker_engine import LEAVE_THE_MACHINE_ALONE, Engine

REPOSITORY = Path(__file__).parents[2]

IMAGE = "sidegate"
"""The name that the documents and compose.example.yml use."""

INPUTS = ("Dockerfile", ".dockerignore", "requirements.txt", "entrypoint", "healthcheck")
"""What the image is made from."""

BUILD_TIMEOUT = 900.0
"""Seconds for packages to come over a slow line; 25 s on a quick one."""

_KEPT = 3
"""Built images that stay in the cache, for going back and forth between states of the source."""

_LAYERS_KEPT = "72h"
"""Age up to which the builder's cache keeps layers that no image of a name needs."""


def images(cache: Path) -> Path:
    """Return a file for `docker load` with the image under test and the service's.

    Built when the source differs from what the cache holds; runs at the same time wait for each other.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / "lock"):
        # Under the lock nobody is making anything: these are of runs that were killed.
        for scratch in cache.glob(f"{docker_parts.SCRATCH}*"):
            shutil.rmtree(scratch)
        base = docker_parts.base_archive(cache)
        docker_parts.extras(cache)
        archive = (
            cache / f"images-{docker_parts.digest(base.name, docker_parts.own_source(), *_source())}.tar"
        )
        if not archive.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix=docker_parts.SCRATCH) as directory:
                _build(cache, base, Path(directory)).rename(archive)
        archive.touch()
        for old in sorted(cache.glob("images-*.tar"), key=lambda file: file.stat().st_mtime)[:-_KEPT]:
            old.unlink()
    return archive


def _build(cache: Path, base: Path, scratch: Path) -> Path:
    # A new base makes everything built on the last one useless.
    data = cache / f"build-{base.stem}"
    for old in set(cache.glob("build-*")) - {data}:
        shutil.rmtree(old)
    with Engine(cache, *LEAVE_THE_MACHINE_ALONE, data=data) as engine:
        if engine.docker("image", "inspect", docker_parts.BASE_IMAGE, check=False).returncode:
            _import(engine, base, docker_parts.BASE_IMAGE, docker_parts.base_changes())
        service = docker_parts.service_archive(cache, scratch)
        _import(engine, service, docker_parts.SERVICE_IMAGE, ['CMD ["sh"]', "ENV PATH=/bin"])
        proxies = [f"--build-arg={name}" for name in docker_parts.PROXIES if name in os.environ]
        engine.docker(
            "build", "--network=host", *proxies, f"--tag={IMAGE}", str(REPOSITORY), timeout=BUILD_TIMEOUT
        )
        archive = scratch / "images.tar"
        engine.docker("save", "--output", str(archive), IMAGE, docker_parts.SERVICE_IMAGE, timeout=120)
        # Old layers go; those of the last days make the next build a matter of seconds.
        engine.docker("image", "prune", "--force", "--filter", f"until={_LAYERS_KEPT}")
    return archive


def _import(engine: Engine, archive: Path, name: str, changes: list[str]) -> None:
    options = [f"--change={change}" for change in changes]
    engine.docker("import", *options, str(archive), name, timeout=120)


def _source() -> Iterator[bytes]:
    """Yield names and contents of all that the image is made from."""
    for name in INPUTS:
        path = REPOSITORY / name
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            yield str(file.relative_to(REPOSITORY)).encode()
            yield file.read_bytes()


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[None]:
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
