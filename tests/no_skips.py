"""A pytest plugin: with CI set in the environment, a skip that could have been a test is a failure.

What a machine lacks can be installed, by tests/setup; its kernel cannot be changed from here. So a
skip passes only where its reason begins with "this kernel has no ".
"""

import os

import pytest

EXCUSED = "this kernel has no "
"""How the reason of a skip begins that stands in CI, too."""


class NoSkips:
    """Collects the skips of a run."""

    def __init__(self) -> None:
        self.unexcused: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See a test's skip, in its setup or in its call."""
        self._look(report.nodeid, report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """See the skip of a whole file."""
        self._look(report.nodeid, report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run."""
        if self.unexcused and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the skips that failed the run."""
        if self.unexcused:
            terminalreporter.section("skipped although it can be set up (tests/setup)", red=True)
            for line in self.unexcused:
                terminalreporter.line(line)

    def _look(self, test: str, report: pytest.TestReport | pytest.CollectReport) -> None:
        # An expected failure also counts as skipped; it has no reason of this kind.
        if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
            reason = str(report.longrepr[2]).removeprefix("Skipped: ")
            if not reason.startswith(EXCUSED):
                self.unexcused.append(f"{test}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the run when CI says that it is one."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        config.pluginmanager.register(NoSkips(), "no-skips")
