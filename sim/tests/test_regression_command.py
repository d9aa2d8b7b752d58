# SPDX-License-Identifier: Apache-2.0
"""Tests of `python -m sim regress`: choice of cases, status, budget, JUnit, and a kill, with a stand-in simulator."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from models.errors import UserError
from sim.paths import ROOT
from sim.regression import command
from sim.regression.command import RegressOptions, run_regression
from sim.regression.file import Budget
from sim.regression.report import budget_verdict, write_junit
from sim.regression.results import CaseResult, Verdict
from sim.tests.fake_simulator import fake_case, started, write_fake

LIST = """\
about: a list for the stand-in, which looks only at `do`
budget: {{cpu_seconds: {budget}}}
cases:
  - {{scenario: smoke, parameters: {{do: pass}}, seeds: 3, tags: [quick]}}
  - {{scenario: races, parameters: {{do: {second}}}, seeds: [7], tags: [quick, odd]}}
  - {{scenario: fences, parameters: {{do: {third}}}, seeds: 2, configurations: [tiny], limit_seconds: 0.2}}
"""


class Bench:
    """A list of five cases, run by the stand-in."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.program = write_fake(directory)
        monkeypatch.setattr(command, "build_all", lambda kinds, waves: lambda kind: self.program)
        monkeypatch.setattr(command, "OUT", directory / "out")
        self.write()

    def write(self, *, second: str = "pass", third: str = "pass", budget: float = 100) -> None:
        """Writes the list."""
        text = LIST.format(second=second, third=third, budget=budget)
        (self.directory / "own.yaml").write_text(text, encoding="utf-8")

    def run(self, **options: Any) -> bool:
        """Runs it."""
        store = self.directory / "results.sqlite"
        return run_regression(RegressOptions(str(self.directory / "own.yaml"), store=store, jobs=2, **options))

    def rows(self, columns: str = "case_id, verdict") -> list[tuple[Any, ...]]:
        """What the last run left."""
        database = sqlite3.connect(self.directory / "results.sqlite")
        rows = database.execute(f"SELECT {columns} FROM report WHERE run = (SELECT max(id) FROM run) ORDER BY id")
        found = rows.fetchall()
        database.close()
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_regress_passes_and_keeps_results(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Stimulus: five cases that pass.
    Checking: True; a row for each with seed, configuration, cycles and a line that runs it again; plain lines.
    Covers: REGRESS-STORE, REGRESS-TIERS
    """
    assert bench.run()
    rows = bench.rows("case_id, seed, configuration, verdict, cycles, rerun, tools, revision")
    assert sorted(row[:5] for row in rows) == [
        ("fences.tiny.s1", 1, "tiny", "passed", 100),
        ("fences.tiny.s2", 2, "tiny", "passed", 100),
        ("races.s7", 7, "default", "passed", 100),
        ("smoke.s1", 1, "default", "passed", 100),
        ("smoke.s2", 2, "default", "passed", 100),
        ("smoke.s3", 3, "default", "passed", 100),
    ]
    assert all(f"--case {row[0]}" in row[5] and "verilator" in row[6] and row[7] for row in rows)
    told = capsys.readouterr().out
    assert "passed: own, 6 of 6 cases passed" in told and "\x1b" not in told


def test_regress_fails_with_rerun_line(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Stimulus: a case that fails and a configuration at which the simulator crashes.
    Checking: False; each failure has its message, log and rerun line; JUnit has one failure and two errors; the rerun
        line's choice runs just that case.
    Covers: REGRESS-JUNIT, RERUN
    """
    bench.write(second="fail", third="crash")
    junit = bench.directory / "junit.xml"
    assert not bench.run(junit=junit)
    told = capsys.readouterr().out
    assert "FAILED: races.s7" in told and "it was wrong" in told and "--case races.s7" in told
    assert "CRASHED: fences.tiny.s1" in told and "the last words" in told
    suites = JUnitXml.fromfile(str(junit))
    assert (suites.tests, suites.failures, suites.errors) == (6, 1, 2)
    assert "rerun: python -m sim regress" in junit.read_text(encoding="utf-8")
    before = started(bench.directory)
    assert not bench.run(case_ids=("races.s7",))
    assert bench.rows() == [("races.s7", "failed")]
    assert started(bench.directory) == before + 1


def test_regress_chooses(bench: Bench) -> None:
    """
    Stimulus: an expression, tags, a seed, and what no case is.
    Checking: the rows of just these cases; one sentence if there are none.
    Covers: REGRESS-FILTER
    """
    assert bench.run(expression="smoke and not s2")
    assert sorted(row[0] for row in bench.rows()) == ["smoke.s1", "smoke.s3"]
    assert bench.run(tags=("quick", "odd"))
    assert bench.rows() == [("races.s7", "passed")]
    assert bench.run(tags=("odd",), seed=10)
    assert bench.rows("case_id, seed, rerun")[0][:2] == ("races.s16", 16)
    assert "--seed 10" in bench.rows("rerun")[0][0]
    with pytest.raises(UserError, match="No case of own"):
        bench.run(expression="no_such_case")
    with pytest.raises(UserError, match=r"no case races\.s8 in own"):
        bench.run(case_ids=("races.s8",))


def test_regress_only_failed(bench: Bench) -> None:
    """
    Stimulus: a run with failures; then only those; then, mended, only those; then again.
    Checking: the second and third run are of the failed cases; the last has nothing to do and passes.
    Covers: REGRESS-ONLY-FAILED
    """
    bench.write(second="fail", third="crash")
    assert not bench.run()
    assert not bench.run(only_failed=True)
    assert sorted(row[0] for row in bench.rows()) == ["fences.tiny.s1", "fences.tiny.s2", "races.s7"]
    bench.write()
    assert bench.run(only_failed=True)
    assert len(bench.rows()) == 3
    before = started(bench.directory)
    assert bench.run(only_failed=True)
    assert started(bench.directory) == before


def test_regress_repeats(bench: Bench) -> None:
    """
    Stimulus: three rounds of two cases; then a case whose events differ each time.
    Checking: six results with their rounds; the second round of the other case fails.
    Covers: REGRESS-REPEAT, DETERMINISM
    """
    assert bench.run(repeat=3, expression="fences")
    assert sorted(bench.rows("round, seed")) == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
    bench.write(second="unstable")
    assert not bench.run(repeat=2, expression="races")
    assert bench.rows("round, verdict") == [(1, "passed"), (2, "failed")]


def test_regress_until_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Stimulus: cases that pass until a seed of the third round, which fails.
    Checking: False in the third round; seeds moved from round to round; nothing ran after the failure.
    Covers: REGRESS-UNTIL-FAILURE
    """
    text = bench.program.read_text(encoding="utf-8")
    bench.program.write_text(
        text.replace(
            'do = entry["parameters"]["do"]\n        act',
            'do = "fail" if entry["seed"] > 2000 else "pass"\n        act',
        ),
        encoding="utf-8",
    )
    assert not bench.run(until_failure=True, expression="races")
    assert bench.rows("round, seed, verdict") == [(1, 7, "passed"), (2, 1007, "passed"), (3, 2007, "failed")]


def test_regress_hung_case(bench: Bench) -> None:
    """
    Stimulus: two cases that hang, with a limit of a second, beside four that pass.
    Checking: those two are hung and the others passed.
    Covers: REGRESS-HANG
    """
    bench.write(third="hang")
    assert not bench.run()
    assert [row[0] for row in bench.rows() if row[1] == "hung"] == ["fences.tiny.s1", "fences.tiny.s2"]
    assert len([row for row in bench.rows() if row[1] == "passed"]) == 4


def test_regress_budget(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Stimulus: times below, over, and more than three times over a budget, by run and by core; a list with a budget of
        nothing, whole and filtered.
    Checking: fine, a warning, a failure; the whole list fails by its budget alone, a part of it is not judged.
    Covers: REGRESS-BUDGET
    """
    assert budget_verdict(Budget(cpu_seconds=10), 2, 9.0) == (True, "9.0 s of processor time, budget 10 s")
    good, words = budget_verdict(Budget(cpu_seconds=10), 2, 11.0)
    assert good and "warning" in words
    assert budget_verdict(Budget(cpu_seconds=10), 2, 31.0)[0] is False
    assert budget_verdict(Budget(cpu_seconds=10, per="core"), 2, 31.0)[0] is True
    assert budget_verdict(Budget(cpu_seconds=10, per="core"), 2, 61.0)[0] is False
    bench.write(budget=0.001)
    assert not bench.run()
    assert "more than 3 times the budget" in capsys.readouterr().out
    assert bench.run(expression="smoke")


def test_regress_junit_takes_any_text(tmp_path: Path) -> None:
    """
    Stimulus: a message with control characters and markup.
    Checking: the file can be read, and the words are in it.
    Covers: REGRESS-JUNIT
    """
    result = CaseResult(case=fake_case("fail"), verdict=Verdict.FAILED, message="\x1b[31mred <b> & \x00 end\nsecond")
    write_junit(tmp_path / "out.xml", "own", [result], lambda each: "again")
    case = next(iter(next(iter(JUnitXml.fromfile(str(tmp_path / "out.xml"))))))
    assert "red <b> &" in case.result[0].message and "second" in case.result[0].text


KILLED = """
import sys
from pathlib import Path
from sim.regression import command
directory = Path(sys.argv[1])
command.OUT = directory / "out"
command.build_all = lambda kinds, waves: lambda kind: directory / "fake_simulator"
command.run_regression(command.RegressOptions(str(directory / "own.yaml"), store=directory / "results.sqlite", jobs=1))
"""


def test_regress_killed_in_the_middle(bench: Bench) -> None:
    """
    Stimulus: a run that is killed (-9) while its fifth case hangs; then the same list, mended.
    Checking: the file opens, the four results before are there, the run has no end; no simulator is left running; the
        next run passes.
    Covers: REGRESS-STORE-KILL
    """
    bench.write(third="hang")
    text = (bench.directory / "own.yaml").read_text(encoding="utf-8")
    (bench.directory / "own.yaml").write_text(
        text.replace("limit_seconds: 0.2", "limit_seconds: 600"), encoding="utf-8"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(bench.directory)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    simulator = ""
    deadline = time.monotonic() + 60
    while not simulator and time.monotonic() < deadline:
        time.sleep(0.1)
        logs = list(bench.directory.rglob("simulation.log"))
        if any("for ever" in log.read_text(encoding="utf-8") for log in logs):
            simulator = next(
                path.parent.name
                for path in Path("/proc").glob("[0-9]*/cmdline")
                if str(bench.program).encode() in path.read_bytes()
            )
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and simulator
    assert sorted(bench.rows()) == [(name, "passed") for name in ("races.s7", "smoke.s1", "smoke.s2", "smoke.s3")]
    database = sqlite3.connect(bench.directory / "results.sqlite")
    assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert database.execute("SELECT finished FROM run").fetchall() == [(None,)]
    database.close()
    while (Path("/proc") / simulator).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not (Path("/proc") / simulator).exists()
    bench.write()
    assert bench.run()
