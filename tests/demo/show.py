"""What the demo prints."""

import re
import sys
import time

from tests.demo.stage import ROWS, Findings

PICTURE = """\

  laptop 10.20.0.5                             server B 10.50.0.10     VPN host 10.20.0.77
      |                                             |                       |
  ====+==== LAN 10.20.0.0/24                  ======+==== VPN 10.0.0.0/8 ===+====
      |                                             |
  server A 10.20.0.2 ------- internet ------- VPN server
      |  publishes :80   198.51.100.0/24            :
      |                                             :  pushes "route 10.0.0.0 255.0.0.0":
  ====+==== Docker 172.30.0.0/16                    :  the LAN lies inside of it
      |                                             :
  [ eth0 172.30.0.2    sidecar + service   tun0 10.99.0.2 ]

  The laptop's connection arrives at 172.30.0.2, server B's at 10.99.0.2: the source address of
  each reply tells which way it has to leave. That is the rule.
"""

_KERNEL_LINE = re.compile(r"\bip (-6 )?(rule|route) \w+ .*")
_QUESTION_WIDTH, _ANSWER_WIDTH = 58, 20


def say(text: str = "") -> None:
    """Print at once, also into a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Progress:
    """Lines that tell what is being done, with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one."""
        say(f"[{time.monotonic() - self._started:5.1f} s] {text}")


def table(without: Findings, with_rule: Findings) -> str:
    """Return who reaches whom, without the rule and with it."""
    lines = [("who reaches the service", "without the rule", "with Sidegate")]
    lines += [
        (row.question, _answer(left), _answer(right))
        for row, left, right in zip(ROWS, without.answers, with_rule.answers, strict=True)
    ]
    lines.append(
        (
            "echoes lost on an open LAN connection as the tunnel came up",
            f"{without.echo.lost} of {without.echo.sent}",
            f"{with_rule.echo.lost} of {with_rule.echo.sent}",
        )
    )
    width = max(_QUESTION_WIDTH, *(len(question) for question, _, _ in lines))
    rule = "-" * (width + 2 * _ANSWER_WIDTH)
    rows = [f"{question:<{width}}  {left:<{_ANSWER_WIDTH - 2}}{right}" for question, left, right in lines]
    return "\n".join([rows[0], rule, *rows[1:]])


def kernel_lines(log: list[str]) -> list[str]:
    """Return the log's changes to the kernel, as iproute2 lines."""
    return [match.group() for line in log if (match := _KERNEL_LINE.search(line))]


def indent(text: str) -> str:
    """Return a block set off from the left."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _answer(problem: str | None) -> str:
    return problem or "answered"
