"""How the image starts its programs, read from the Dockerfile, for the interpreter and packages of here."""

import json
import re
import shlex
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tests.lab.traffic import ROOT

PYTHON = (f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}", "-S")
"""The interpreter without the .pth files of this machine and of its virtual environment (among them that
of the editable install): each start would pay for them, and the image has none."""


@dataclass(frozen=True, slots=True)
class Image:
    """What the Dockerfile says, with our interpreter and module path in place of the image's."""

    entrypoint: tuple[str, ...]
    healthcheck: tuple[str, ...]
    environment: dict[str, str]


def read(dockerfile: Path = ROOT / "Dockerfile") -> Image:
    """Read it; raises ValueError where it is written in another way than is understood here."""
    text = dockerfile.read_text().replace("\\\n", " ")
    start = re.search(r'exec (?:/usr/bin/)?python3 ([^"\n]*?) ?"\$@"', text)
    check = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", text, re.MULTILINE)
    if start is None or check is None:
        raise ValueError(
            f'cannot read {dockerfile}: saw no `exec python3 ... "$@"` or no HEALTHCHECK ... CMD [...]; '
            "bring bench/image.py up to date"
        )
    environment = {
        name: value
        for line in re.findall(r"^ENV (.*)$", text, re.MULTILINE)
        for name, _, value in (word.partition("=") for word in shlex.split(line))
    }
    return Image(
        entrypoint=(*PYTHON, *shlex.split(start[1]), "run"),
        healthcheck=(*PYTHON, *json.loads(check[1])[1:]),
        environment={**environment, "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"},
    )
