"""Work that takes too long for the event loop, whose turns mend the kernel and answer for health.

None of it is asyncio's own executor: the loop's end waits for that one's threads, however long they take, and
needs one more thread for it, which a limit of processes may refuse (`pids_limit` of Docker: it counts threads
as well).
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Do the work in a thread of this name; what it returns or raises is the future's.

    Raises RuntimeError where no thread can be started.
    """
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    outcome.set_running_or_notify_cancel()  # who waits may be cancelled, the thread may not

    def do() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
            outcome.set_exception(error)

    threading.Thread(target=do, name=name, daemon=True).start()
    return asyncio.wrap_future(outcome)


async def off_loop(work: Callable[[], T], name: str) -> T:
    """Do the work in a thread of this name; where none can be started, at once, and the loop waits for it."""
    try:
        doing = begin(work, name)
    except RuntimeError:
        return work()
    return await doing
