"""Somebody who takes our rule away again and again: repaired, but not at any price."""

import time

from tests.kernel.conftest import Container
from tests.kernel.held import ours
from tests.kernel.test_standing import DOCKER
from tests.kernel.test_watching import cpu_seconds
from tests.lab.waiting import until

FIGHT_SECONDS = 3
PASSES_MAX = 60
"""Ten within a second, then one each half second; unbounded they are several hundred."""
CPU_SECONDS = 1.0
RIGHT_AGAIN_SECONDS = 1.0

OPPONENT = "while :; do ip rule del from 172.30.0.0/16 iif lo lookup 7100 2> /dev/null; sleep 0.003; done"


def test_an_opponent_does_not_take_the_processor_and_does_not_win(container: Container) -> None:
    """Passes and CPU are bounded while it lasts, and soon after it the rule stands again."""
    keeper = container.keep().watching()
    passes, cpu = len(keeper.passes), cpu_seconds(keeper)
    repairs = keeper.passes[-1]["repairs"]
    status = container.host.run("timeout", str(FIGHT_SECONDS), "sh", "-c", OPPONENT, check=False).returncode
    ended = time.monotonic()
    assert status == 124  # it was timeout that ended it
    fought, used = len(keeper.passes) - passes, cpu_seconds(keeper) - cpu
    until(lambda: ours(container.host) == DOCKER, RIGHT_AGAIN_SECONDS, "our rule")
    assert time.monotonic() - ended < 2 * RIGHT_AGAIN_SECONDS
    assert fought < PASSES_MAX
    assert used < CPU_SECONDS
    assert keeper.next_pass(lambda last: last["problem"] is None)["repairs"] > repairs + 5
