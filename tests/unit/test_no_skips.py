import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def outcome(directory: Path, source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugin on a file of its own."""
    (directory / "test_probe.py").write_text(f"import pytest\n\n\ndef test_probe():\n    {source}\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.no_skips", "-p", "no:cacheprovider", directory],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "CI"}
        | {"PYTHONPATH": str(ROOT)}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skip_fails_ci_and_is_named(tmp_path: Path) -> None:
    """What could have been installed is no reason to skip where CI is set."""
    done = outcome(tmp_path, 'pytest.skip("openvpn is missing")', CI="true")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_probe: openvpn is missing" in done.stdout


def test_what_the_kernel_lacks_is_excused(tmp_path: Path) -> None:
    """No setup brings another kernel."""
    done = outcome(tmp_path, 'pytest.skip("this kernel has no wireguard")', CI="true")
    assert done.returncode == pytest.ExitCode.OK, done.stdout


def test_by_hand_a_skip_is_a_skip(tmp_path: Path) -> None:
    """Without CI in the environment nothing changes."""
    done = outcome(tmp_path, 'pytest.skip("openvpn is missing")')
    assert done.returncode == pytest.ExitCode.OK, done.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    """Pytest reports both as skipped."""
    done = outcome(tmp_path, 'pytest.xfail("openvpn is missing")', CI="true")
    assert done.returncode == pytest.ExitCode.OK, done.stdout
