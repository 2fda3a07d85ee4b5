"""Child processes whose output is collected line by line, and which are ended by their own id."""

import codecs
import contextlib
import io
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TAIL = 40
"""Lines of output that an error shows."""
_PIPE_BYTES = 1 << 16
"""What a pipe holds at most (pipe(7)): so much is read in one go."""


def lives(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class LoggedProcess:
    """A running program with its standard output and error.

    Who looks at the output reads what is in the pipe by then: what the program wrote before is there,
    however late the thread is that keeps the pipe from filling.

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
        self._unfinished = ""
        self._decoder = io.IncrementalNewlineDecoder(
            codecs.getincrementaldecoder("utf-8")("replace"), translate=True
        )
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
        )
        if self._child.stdout is None:
            raise AssertionError("the output was asked for as a pipe")
        self._pipe = self._child.stdout.fileno()
        os.set_blocking(self._pipe, False)
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
            self._take()
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
                self._take()
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
        wakes = select.poll()
        wakes.register(self._pipe, select.POLLIN)
        while not self._ended:
            wakes.poll()
            with self._changed:
                self._take()
        if self._child.stdout:
            self._child.stdout.close()

    def _take(self) -> None:
        """Read what is in the pipe; the lock is held."""
        if self._ended:
            return
        try:
            data = os.read(self._pipe, _PIPE_BYTES)
        except BlockingIOError:
            return
        text = self._unfinished + self._decoder.decode(data, final=not data)
        *new, self._unfinished = text.split("\n")
        if not data:
            self._ended = True
            new += filter(None, [self._unfinished])
        self._lines += new
        self._changed.notify_all()
