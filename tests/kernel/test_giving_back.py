"""The removal at the stop, when the kernel cannot be asked."""

import asyncio
import resource

import pytest

from entrypoint.reconcile import Reconciler
from entrypoint.rtnl import Rtnl
from entrypoint.settings import load
from tests.kernel.conftest import Container
from tests.kernel.held import ours
from tests.kernel.scripted import inside

FEW = 3
"""Descriptors: no new one can be had."""


@pytest.mark.parametrize("back", [True, False], ids=["for-a-moment", "for-good"])
def test_a_stop_without_a_free_descriptor_is_no_fault_of_ours(
    container: Container, caplog: pytest.LogCaptureFixture, *, back: bool
) -> None:
    """It is tried again, and what stays is told; the next run adopts it."""
    settings, _ = load({})
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def work() -> None:
        async with Rtnl(7100) as rtnl:
            reconciler = Reconciler(rtnl, settings)
            await reconciler.begin()
            # As after a dump that was interrupted: the new socket is opened with its first request.
            async with Rtnl(7100) as fresh:
                reconciler = Reconciler(fresh, settings)
                resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, limits[1]))
                if back:
                    loop = asyncio.get_running_loop()
                    loop.call_later(0.3, resource.setrlimit, resource.RLIMIT_NOFILE, limits)
                try:
                    assert await reconciler.remove() == back
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    inside(container, work)
    assert bool(ours(container.host)) != back
    assert ("Too many open files" in caplog.text) != back
