"""The script that openconnect calls, and the socket at which it is heard: both as they are."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from entrypoint.clients.oc_script import READ_MAX_BYTES, ScriptChannel
from entrypoint.clients.openconnect import SCRIPT

ENVIRONMENT = {
    "reason": "connect",
    "TUNDEV": "tun0",
    "CISCO_SPLIT_INC_0_ADDR": "10.0.0.0",
    "CISCO_BANNER": "two\nlines = here",
    "INTERNAL_IP4_DNS": "10.0.0.53 \udcff",
    "X_OF_SOMEBODY": "else",
}
LIMIT_SECONDS = 10.0


class Heard:
    """What was told, and whether to answer."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, str]] = []
        self.something, self.answers = asyncio.Event(), asyncio.Event()

    async def take(self, told: Mapping[str, str]) -> None:
        """Take it in once `answers` is set."""
        self.told.append(told)
        self.something.set()
        await self.answers.wait()


async def call(path: Path, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start the script as openconnect's shell does."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(SCRIPT), str(path)),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )


async def end_of(script: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Return exit status and what it said."""
    async with asyncio.timeout(LIMIT_SECONDS):
        _, said = await script.communicate()
    return script.returncode, said.decode()


def test_the_script_tells_what_concerns_the_tunnel_and_waits(tmp_path: Path) -> None:
    """Openconnect goes on once what it was told has been taken in; the rest of its environment stays."""

    async def scenario() -> None:
        heard = Heard()
        path = tmp_path / "s.sock"
        path.touch()  # what a killed run left
        channel = ScriptChannel(path, heard.take)
        await channel.listen()
        assert path.stat().st_mode & 0o777 == 0o600
        script = await call(path, ENVIRONMENT)
        async with asyncio.timeout(LIMIT_SECONDS):
            await heard.something.wait()
        assert script.returncode is None
        heard.answers.set()
        assert await end_of(script) == (0, "")
        await channel.close()
        assert not path.exists()
        assert heard.told == [
            {
                name: value
                for name, value in ENVIRONMENT.items()
                if name not in {"CISCO_BANNER", "X_OF_SOMEBODY"}
            }
        ]

    asyncio.run(scenario())


def test_a_call_that_nobody_will_answer_ends_with_the_channel(tmp_path: Path) -> None:
    """The attempt is over: neither side waits for the other."""

    async def scenario() -> None:
        heard = Heard()
        channel = ScriptChannel(tmp_path / "s.sock", heard.take)
        await channel.listen()
        script = await call(tmp_path / "s.sock", ENVIRONMENT)
        async with asyncio.timeout(LIMIT_SECONDS):
            await heard.something.wait()
            await channel.close()
        status, said = await end_of(script)
        assert status == 1
        assert said == "cannot tell sidegate of the tunnel: it hung up\n"

    asyncio.run(scenario())


def test_where_nobody_listens_the_script_says_so(tmp_path: Path) -> None:
    """It has no other task, so there is nothing to undo."""

    async def scenario() -> tuple[int | None, str]:
        return await end_of(await call(tmp_path / "s.sock", ENVIRONMENT))

    status, said = asyncio.run(scenario())
    assert status == 1
    assert said.startswith("cannot tell sidegate of the tunnel: ")


@pytest.mark.parametrize(
    "told", [b"", b"\0\0", b"no separator", b"reason=\xff", b"x" * (READ_MAX_BYTES + 4096)]
)
def test_what_is_no_environment_harms_nobody(tmp_path: Path, told: bytes) -> None:
    """Nothing, garbage, or more than a kernel would hand over; the next call is heard all the same."""

    async def scenario() -> None:
        heard = Heard()
        heard.answers.set()
        channel = ScriptChannel(tmp_path / "s.sock", heard.take)
        await channel.listen()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
        writer.write(told)
        async with asyncio.timeout(LIMIT_SECONDS):
            if len(told) < READ_MAX_BYTES:
                writer.write_eof()
            assert await reader.read() == b"\n"
        writer.close()
        assert await end_of(await call(tmp_path / "s.sock", ENVIRONMENT)) == (0, "")
        assert heard.told[1]["reason"] == "connect"
        await channel.close()

    asyncio.run(scenario())
