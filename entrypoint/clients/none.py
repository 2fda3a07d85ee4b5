"""No client of ours: somebody else makes the tunnel in this network namespace."""

from collections.abc import Callable
from typing import ClassVar

from entrypoint.clients.base import Report
from entrypoint.launch import Launch


class NoClient:
    """A tunnel that comes and goes as its maker likes: what stands in the kernel is all there is to know."""

    name: ClassVar[str] = "none"
    makes_tunnel = False
    device: str | None = None
    title = "a tunnel that somebody else makes"
    hosts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Say that nothing but the tunnel is waited for."""
        report(Report(connected=True, stands="of ours is needed: somebody else makes the tunnel"))
        return Launch()

    async def mends_itself(self) -> bool:
        """Tell that whoever made the tunnel makes it again: there is nothing to restart."""
        return True

    async def close(self) -> None:
        """Nothing was taken."""
