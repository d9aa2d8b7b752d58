# SPDX-License-Identifier: Apache-2.0
"""Tests of the lists of regressions as pytest tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sim.paths import ROOT
from sim.regression import pytest_plugin
from sim.regression.file import REGRESSIONS, load_regression
from sim.regression.pytest_plugin import RegressionItem, run_shared
from sim.tests.fake_simulator import fake_case, started, write_fake


def collected(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (0, 5), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_pytest_collects_the_lists() -> None:
    """
    Stimulus: pytest on the folder of the lists, plain, with -k, as `make test` marks it, and on nightly by its name.
    Checking: the cases of smoke and pr, each once; those chosen by id or by tag; smoke alone; nightly's own cases.
    Covers: REGRESS-PYTEST
    """
    smoke, pr, nightly = (load_regression(name) for name in ("smoke", "pr", "nightly"))
    names = collected("sim/data/regressions")
    assert sorted(name.split("::")[1] for name in names) == sorted(case.id for case in pr.cases)
    chosen = collected("sim/data/regressions", "-k", "races and not checked")
    tagged = [case for case in pr.cases if "races" in case.tags and "races" not in case.id]
    assert tagged
    expected = [case.id for case in pr.cases if "races" in {*case.tags} or "races" in case.id]
    assert sorted(name.split("::")[1] for name in chosen) == sorted(id for id in expected if "checked" not in id)
    quick = collected("sim/data/regressions", "-m", "not pr and not nightly")
    assert sorted(name.split("::")[1] for name in quick) == sorted(case.id for case in smoke.cases)
    assert len(collected("sim/data/regressions/nightly.yaml")) == len(nightly.own_cases)


def test_pytest_shares_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Stimulus: four chosen cases, one failing and one at which the simulator dies, whose results are asked for one by
        one, and again.
    Checking: each has its own verdict and message; two processes in all, of which one because of the crash.
    Covers: REGRESS-PYTEST
    """
    program = write_fake(tmp_path)
    monkeypatch.setattr(pytest_plugin, "OUT", tmp_path / "out")
    monkeypatch.setattr(pytest_plugin, "build", lambda flavour, configuration, design: program)
    cases = [fake_case("pass", 1), fake_case("crash", 2), fake_case("fail", 3), fake_case("pass", 4)]
    session = SimpleNamespace(items=[])
    config = SimpleNamespace(workerinput={"testrunuid": "one"})
    for case in cases:
        item = RegressionItem.__new__(RegressionItem)
        for name, value in (
            ("case", case),
            ("path", REGRESSIONS / "smoke.yaml"),
            ("session", session),
            ("config", config),
        ):
            setattr(item, name, value)
        session.items.append(item)
    for _ in range(2):
        told = [run_shared(item) for item in session.items]
        assert [each.verdict for each in told] == ["passed", "crashed", "failed", "passed"]
        assert "the last words" in told[1].message and told[2].message == "it was wrong"
    assert started(tmp_path) == 2
