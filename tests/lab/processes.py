"""Child processes whose output is collected line by line, and which are ended by their own id."""

import contextlib
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TAIL = 40
"""Lines of output that an error shows."""


def lives(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class LoggedProcess:
    """A running program; a thread collects its standard output and error.

    It leads a session of its own, so that Ctrl-C at the terminal reaches only the lab, which then
    ends everything in order.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        name: str | None = None,
    ) -> None:
        """Start `argv` with `environment` (None: the one of this process) and an open standard input."""
        self.name = name or argv[0]
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=directory,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._collect, name=f"output of {self.name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._child.poll() is None

    @property
    def lines(self) -> list[str]:
        """What it has written so far."""
        with self._changed:
            return list(self._lines)

    def tail(self) -> str:
        """Return the last lines for an error text."""
        return "\n".join(f"    {line}" for line in self.lines[-TAIL:]) or "    (no output)"

    def wait_for_line(self, pattern: str, timeout: float = 10.0, *, after: int = 0) -> str:
        """Return the first line that `pattern` is found in, looking from line number `after` on.

        `len(process.lines)` taken before an action is the `after` that leaves out older lines.
        Raises AssertionError with the output when `timeout` seconds pass or the program ends first.
        """
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout
        seen = after
        with self._changed:
            while True:
                for line in self._lines[seen:]:
                    if wanted.search(line):
                        return line
                seen = max(after, len(self._lines))
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    break
                self._changed.wait(left)
        why = "it ended" if self._ended else f"{timeout:g} s passed"
        raise AssertionError(f"cannot find /{pattern}/ in the output of {self.name}: {why}\n{self.tail()}")

    def follow(self) -> Iterator[str]:
        """Yield its lines as they come, from the first to the program's end."""
        seen = 0
        while True:
            with self._changed:
                while len(self._lines) == seen and not self._ended:
                    self._changed.wait()
                new = self._lines[seen:]
            if not new:
                return
            yield from new
            seen += len(new)

    def end_input(self) -> None:
        """Close the program's standard input."""
        if self._child.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this one process; one that has ended is left alone."""
        self._child.send_signal(number)

    def wait(self, timeout: float = 10.0) -> int:
        """Return the exit status (negative: the signal); AssertionError when it does not end."""
        try:
            status = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end in {timeout:g} s\n{self.tail()}") from None
        # A child that it left behind may hold the pipe: its own last words are there all the same.
        self._reader.join(0.2)
        return status

    def terminate(self, timeout: float = 10.0) -> int:
        """SIGTERM; return the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> int:
        """SIGKILL of this process only, not of its children; return the exit status."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def _collect(self) -> None:
        stream = self._child.stdout
        if stream is None:
            raise AssertionError("the output was asked for as a pipe")
        with stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
