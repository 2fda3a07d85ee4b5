"""ON_UP and ON_DOWN, what is apart from real programs."""

import asyncio

from entrypoint.hooks import Hooks, TunnelEvent
from entrypoint.settings import load


def test_a_fault_of_ours_is_told_and_the_next_hook_runs() -> None:
    """What no environment can hold makes the start raise; ON_DOWN comes all the same."""

    async def run() -> dict[str, str]:
        hooks = Hooks(load({"ON_UP": "true", "ON_DOWN": "true"})[0])
        hooks.up(TunnelEvent(client="\ud800", interface="tun0"))
        await hooks.ended()
        told = dict(hooks.failures)
        hooks.up(TunnelEvent(client="openvpn", interface="tun0"))
        await hooks.ended()
        assert hooks.failures == {}
        return told

    assert asyncio.run(run())["ON_UP"].startswith("a fault of sidegate ended it: UnicodeEncodeError")
