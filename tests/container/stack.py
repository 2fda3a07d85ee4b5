"""compose.example.yml as a user has it: beside what it needs, and with one of the recipes or none."""

import re
import shutil
from pathlib import Path

from tests.lab.docker import Container, DockerLab
from tests.lab.docker_image import REPOSITORY

EXAMPLE = REPOSITORY / "compose.example.yml"
GREETING = "reached by the LAN and by the VPN"
UP_TIMEOUT = 60.0
"""Seconds for `docker compose up`, which returns once the sidecar is healthy and the service runs."""


def recipe(heading: str, language: str = "yaml") -> str:
    """Return the first block of a language below a heading of the README or a page of docs, as it stands."""
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    section = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"no document has a recipe {heading!r}"
    block = re.search(rf"^```{language}\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    assert block, f"the recipe {heading!r} has no block of {language}"
    return block[1]


class Stack:
    """A directory with compose.yml and what it names; `up` starts it."""

    def __init__(self, lab: DockerLab, directory: Path) -> None:
        """Copy the example there."""
        self.lab = lab
        self.directory = directory
        self._files = ["compose.yml"]
        (directory / "vpn").mkdir(parents=True)
        shutil.copy(EXAMPLE, directory / "compose.yml")

    def add(self, name: str, text: str) -> None:
        """Put another compose file beside it."""
        (self.directory / name).write_text(text)
        self._files.append(name)

    def know_host(self, name: str, address: str, service: str = "vpn") -> None:
        """Let a service know a name that no resolver of the lab knows."""
        self.add(f"host-{name}.yml", f'services: {{{service}: {{extra_hosts: ["{name}:{address}"]}}}}\n')

    def up(self) -> "Stack":
        """`docker compose up`, until it is healthy."""
        self.compose("up", "--detach")
        return self

    def compose(self, *argv: str) -> str:
        """Run `docker compose`."""
        files = [word for name in self._files for word in ("--file", name)]
        done = self.lab.engine.docker("compose", *files, *argv, timeout=UP_TIMEOUT, directory=self.directory)
        return done.stdout

    def container(self, service: str) -> Container:
        """Find the container of a service."""
        name = self.compose("ps", "--all", "--format", "{{.Name}}", service).strip()
        return Container(self.lab.engine, name)
