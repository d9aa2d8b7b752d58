# SPDX-License-Identifier: Apache-2.0
"""Tests of the file of results: what it holds, and that nothing that ends a process spoils it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from sim.paths import ROOT
from sim.regression.results import CaseResult, Verdict
from sim.regression.store import ResultStore
from sim.tests.fake_simulator import fake_case

WRITER = """
import sys
from pathlib import Path
from sim.regression.results import CaseResult, Verdict
from sim.regression.store import ResultStore
from sim.tests.fake_simulator import fake_case

store = ResultStore(Path(sys.argv[1]))
run = store.begin_run("endless", "abc", "tools", "command")
seed = 0
while True:
    seed += 1
    store.add(run, CaseResult(case=fake_case("pass", seed), verdict=Verdict.PASSED, cycles=seed), "rerun")
    print(seed, flush=True)
"""


def result(do: str, seed: int, verdict: Verdict, seconds: float = 1.0) -> CaseResult:
    return CaseResult(case=fake_case(do, seed), verdict=verdict, seconds=seconds, cycles=7, message="said")


def test_store_holds_everything(tmp_path: Path) -> None:
    """
    Stimulus: a run with a result, opened again.
    Checking: every column, the run's revision, tools and end; the file is in the mode that a kill cannot spoil.
    Covers: REGRESS-STORE
    """
    path = tmp_path / "results.sqlite"
    store = ResultStore(path)
    run = store.begin_run("pr", "abc-dirty", "verilator 5", "python -m sim regress pr")
    store.add(run, result("fail", 3, Verdict.FAILED), "python -m sim run")
    store.end_run(run, 12.5)
    store.close()
    ResultStore(path).close()
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    row = dict(database.execute("SELECT * FROM report").fetchone())
    expected = {"case_id": "fail.s3", "seed": 3, "bench": "device", "build": "fast", "configuration": "default"}
    expected |= {"format": "", "verdict": "failed", "cycles": 7, "cpu_seconds": 1.0, "message": "said", "round": 1}
    expected |= {"rerun": "python -m sim run", "revision": "abc-dirty", "tools": "verilator 5", "regression": "pr"}
    assert {name: row[name] for name in expected} == expected
    finished, spent = database.execute("SELECT finished, cpu_seconds FROM run").fetchone()
    assert finished > 0 and spent == 12.5
    assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    database.close()


def test_store_last_verdicts_and_seconds(tmp_path: Path) -> None:
    """
    Stimulus: a case that failed and then passed; one that passed, then failed in one of two rounds; one never run.
    Checking: the last run decides, and in it a failure; the seconds are those of the last pass.
    Covers: REGRESS-ONLY-FAILED
    """
    store = ResultStore(tmp_path / "results.sqlite")
    first = store.begin_run("pr", "", "", "")
    store.add(first, result("pass", 1, Verdict.FAILED, 9.0), "")
    store.add(first, result("pass", 2, Verdict.PASSED, 2.0), "")
    second = store.begin_run("pr", "", "", "")
    store.add(second, result("pass", 1, Verdict.PASSED, 3.0), "")
    store.add(second, result("pass", 2, Verdict.HUNG, 50.0), "")
    store.add(second, result("pass", 2, Verdict.PASSED, 4.0), "")
    verdicts = store.last_verdicts(["pass.s1", "pass.s2", "pass.s3"])
    assert verdicts == {"pass.s1": Verdict.PASSED, "pass.s2": Verdict.HUNG}
    assert store.seconds() == {"pass.s1": 3.0, "pass.s2": 4.0}
    store.close()


@pytest.mark.parametrize("round_number", range(4))
def test_store_survives_a_kill(tmp_path: Path, seed: int, round_number: int) -> None:
    """
    Stimulus: a process that adds results as fast as it can, killed (-9) after a drawn number of them.
    Checking: the file opens, is whole, holds every result that the process said it had added and at most one more,
        and takes further results.
    Covers: REGRESS-STORE-KILL
    """
    path = tmp_path / "results.sqlite"
    rng = np.random.default_rng([seed, round_number])
    wanted = int(rng.integers(1, 60))
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        told = 0
        for line in process.stdout:
            told = int(line)
            if told >= wanted:
                process.send_signal(signal.SIGKILL)
                break
        told = max([told, *(int(line) for line in process.stdout if line.endswith("\n"))])
    assert process.returncode == -signal.SIGKILL
    store = ResultStore(path)
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    seeds = [row[0] for row in database.execute("SELECT seed FROM result ORDER BY id")]
    assert seeds == list(range(1, len(seeds) + 1))
    assert told <= len(seeds) <= told + 1
    run = store.begin_run("pr", "", "", "")
    store.add(run, result("pass", 1, Verdict.FAILED), "")
    assert store.last_verdicts(["pass.s1"]) == {"pass.s1": Verdict.FAILED}
    store.close()
    database.close()


def test_store_two_writers(tmp_path: Path) -> None:
    """
    Stimulus: two threads with a store each on the same file, new to both.
    Checking: all results of both are there.
    Covers: REGRESS-STORE
    """
    path = tmp_path / "results.sqlite"

    def write(first: int) -> None:
        store = ResultStore(path)
        run = store.begin_run("pr", "", "", "")
        for number in range(first, first + 25):
            store.add(run, result("pass", number, Verdict.PASSED), "")
        store.close()

    threads = [threading.Thread(target=write, args=(first,)) for first in (100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database = sqlite3.connect(path)
    assert database.execute("SELECT count(*), count(DISTINCT seed), count(DISTINCT run) FROM result").fetchone() == (
        50,
        50,
        2,
    )
    database.close()


def test_store_foreign_file_is_one_sentence(tmp_path: Path) -> None:
    """
    Stimulus: a file that is no database; one of another version.
    Checking: one sentence each; the files are as they were.
    Covers: CLI-ERRORS
    """
    path = tmp_path / "results.sqlite"
    path.write_text("these are no results, but they are long enough to be looked at " * 20, encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(UserError, match="holds no results of regressions"):
        ResultStore(path)
    assert path.read_bytes() == before
    other = tmp_path / "other.sqlite"
    database = sqlite3.connect(other)
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()
    with pytest.raises(UserError, match="another version"):
        ResultStore(other)
