# SPDX-License-Identifier: Apache-2.0
"""Tests of the script of continuous integration, with stand-ins for what it starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sim.paths import ROOT


def _ci(tmp_path: Path, bootstrap: str, test: str, limit: str = "2700") -> subprocess.CompletedProcess[str]:
    (tmp_path / ".ci").mkdir()
    (tmp_path / "sim").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    script = tmp_path / ".ci/run"
    script.write_text(script.read_text().replace("limit=2700", f"limit={limit}"))
    (tmp_path / "sim/bootstrap.sh").write_text(bootstrap + "\n")
    (tmp_path / "Makefile").write_text(f"test:\n\t@{test}\n")
    return subprocess.run(
        ["bash", str(script)],
        cwd="/",
        env={**os.environ, "CI": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_ci_passes_and_tells_times(tmp_path: Path) -> None:
    """Stimulus: steps that pass, started from another directory.
    Checking: status 0; each step with its budget, and the total.
    Covers: CI-STEPS.
    """
    done = _ci(tmp_path, "exit 0", "echo '12 passed in 3s'")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 passed in 3s" in done.stdout
    told = done.stdout[done.stdout.index("=== result") :]
    assert "set-up" in told and "tests" in told and "total" in told and told.count(" ok\n") == 2


@pytest.mark.parametrize(
    ("bootstrap", "test", "said"),
    [
        ("exit 2", "echo never", "set-up"),
        ("exit 0", "exit 5", "tests"),
    ],
)
def test_ci_fails_with_the_step(tmp_path: Path, bootstrap: str, test: str, said: str) -> None:
    """Stimulus: a set-up or a test run that fails.
    Checking: status 1; the table marks that step, and later steps are not run.
    Covers: CI-STEPS.
    """
    done = _ci(tmp_path, bootstrap, test)
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if "FAILED with status" in line]
    assert len(failed) == 1 and failed[0].startswith(said)
    assert "never" not in done.stdout


def test_ci_total_limit_ends_a_step(tmp_path: Path) -> None:
    """Stimulus: a test run that does not end, a total limit of two seconds.
    Checking: status 1, and the limit is named.
    Covers: CI-LIMIT.
    """
    done = _ci(tmp_path, "exit 0", "sleep 50", limit="2")
    assert done.returncode == 1 and "total limit of 2 s" in done.stdout
