# SPDX-License-Identifier: Apache-2.0
"""Tests of the runner of regressions, with a program that stands in for the simulator."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from sim.regression.case import RegressionCase
from sim.regression.results import CaseResult, Verdict
from sim.regression.run import Run, RunSettings, split
from sim.tests.fake_simulator import fake_case, fake_test, started, write_fake

P, F, C, H = Verdict.PASSED, Verdict.FAILED, Verdict.CRASHED, Verdict.HUNG


def settings(directory: Path, **changes: object) -> RunSettings:
    program = write_fake(directory)
    made = RunSettings(out=directory / "out", executable=lambda kind: program, report=lambda result: None)
    for name, value in changes.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def verdicts(results: Sequence[CaseResult]) -> dict[str, Verdict]:
    assert len({result.case.id for result in results}) == len(results), "one result each"
    return {result.case.id: result.verdict for result in results}


def test_regression_many_cases_one_process(tmp_path: Path) -> None:
    """
    Stimulus: five cases of one configuration, one of which fails, and one of another.
    Checking: two processes; each verdict is right, with cycles, seconds, and the failure's line.
    Covers: REGRESS-GROUP
    """
    cases = [*(fake_case("pass", seed) for seed in range(1, 5)), fake_case("fail", 9)]
    run = Run(settings(tmp_path))
    results = run.run([*cases, fake_case("pass", 20, configuration="tiny")])
    expected = {"pass.s1": P, "pass.s2": P, "pass.s3": P, "pass.s4": P, "fail.s9": F, "pass.s20": P}
    assert verdicts(results) == expected
    assert started(tmp_path) == 2
    failed = next(result for result in results if not result.passed)
    assert failed.message == "it was wrong"
    assert all(result.cycles == 100 and result.seconds == 0.5 for result in results)
    assert run.cpu_seconds > 0


@pytest.mark.parametrize(("do", "verdict", "words"), [("crash", C, "SIGABRT"), ("hang", H, "did not end within")])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_regression_dead_case_alone_fails(tmp_path: Path, do: str, verdict: Verdict, words: str, place: int) -> None:
    """
    Stimulus: a case at which the simulator dies or hangs, first, in the middle or last of four; one that fails.
    Checking: it has that verdict and the last lines of the log; the others ran, those behind it in a second process.
    Covers: REGRESS-CRASH, REGRESS-HANG
    """
    cases = [fake_case("pass", 1), fake_case("fail", 2), fake_case("pass", 3)]
    cases.insert(place, fake_case(do, 7, limit=0.1))
    results = Run(settings(tmp_path)).run(cases)
    assert verdicts(results) == {"pass.s1": P, "fail.s2": F, "pass.s3": P, f"{do}.s7": verdict}
    message = next(result.message for result in results if result.case.id == f"{do}.s7")
    assert words in message
    assert ("the last words" if do == "crash" else "for ever") in message
    assert started(tmp_path) == (1 if place == 3 else 2)


def test_regression_two_dead_cases(tmp_path: Path) -> None:
    """
    Stimulus: two cases of five at which the process dies.
    Checking: just these two are crashed; three processes.
    Covers: REGRESS-CRASH
    """
    cases = [fake_case("crash", 1), fake_case("pass", 2), fake_case("crash", 3), fake_case("pass", 4)]
    results = Run(settings(tmp_path)).run(cases)
    assert verdicts(results) == {"crash.s1": C, "pass.s2": P, "crash.s3": C, "pass.s4": P}
    assert started(tmp_path) == 3


def test_regression_bad_start_and_bad_end(tmp_path: Path) -> None:
    """
    Stimulus: a process that ends before its first case; one whose only case passes but which ends with a status.
    Checking: all cases of the first are crashed, after one try; so is that of the second.
    Covers: REGRESS-CRASH
    """
    results = Run(settings(tmp_path)).run([fake_case("mute", 1), fake_case("pass", 2)])
    assert verdicts(results) == {"mute.s1": C, "pass.s2": C}
    assert all("cannot even start" in result.message for result in results)
    assert started(tmp_path) == 1
    assert verdicts(Run(settings(tmp_path)).run([fake_case("late", 3)])) == {"late.s3": C}


def test_regression_silent_start_is_hung(tmp_path: Path) -> None:
    """
    Stimulus: a simulator that says nothing.
    Checking: its cases are hung when the limit for the start is over.
    Covers: REGRESS-HANG
    """
    chosen = settings(tmp_path, start_limit=0.05)
    chosen.executable(fake_case("pass").kind).write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    before = time.monotonic()
    assert verdicts(Run(chosen).run([fake_case("pass", 1), fake_case("pass", 2)])) == {"pass.s1": H, "pass.s2": H}
    assert time.monotonic() - before < 20


def test_regression_cocotb_tests(tmp_path: Path) -> None:
    """
    Stimulus: cocotb tests that pass, fail, are skipped, crash and hang.
    Checking: each has its verdict; a test that was not run failed; those beside a dead one ran.
    Covers: REGRESS-TESTS
    """
    names = ["pass_a", "fail_b", "skip_c", "crash_d", "pass_e", "hang_f", "pass_g"]
    results = Run(settings(tmp_path)).run([fake_test(name, limit=0.1) for name in names])
    expected = {"pass_a": P, "fail_b": F, "skip_c": F, "crash_d": C, "pass_e": P, "hang_f": H, "pass_g": P}
    assert verdicts(results) == expected
    messages = {result.case.id: result.message for result in results}
    assert "was wrong" in messages["fail_b"]
    assert "was not run" in messages["skip_c"]


def test_regression_stops_at_first_failure(tmp_path: Path) -> None:
    """
    Stimulus: a failing case beside one that would hang for its whole limit, and many behind.
    Checking: the run ends at once with one failure, and nothing is reported after it.
    Covers: REGRESS-UNTIL-FAILURE
    """
    hanging = fake_case("hang", 5, configuration="tiny", limit=60)
    cases = [fake_case("pass", 1), fake_case("fail", 2), *(fake_case("pass", seed) for seed in range(3, 9)), hanging]
    before = time.monotonic()
    results = Run(settings(tmp_path, jobs=2, stop_at_first=True)).run(cases)
    assert time.monotonic() - before < 20
    assert verdicts(results) == {"pass.s1": P, "fail.s2": F}


def test_regression_same_case_other_events(tmp_path: Path) -> None:
    """
    Stimulus: two rounds of a case with the same events and of one with other events each time.
    Checking: the second time the second case failed, for that reason; the first passed twice.
    Covers: REGRESS-REPEAT, DETERMINISM
    """
    run = Run(settings(tmp_path))
    cases = [fake_case("pass", 1), fake_case("unstable", 2)]
    assert verdicts(run.run(cases, 1)) == {"pass.s1": P, "unstable.s2": P}
    second = run.run(cases, 2)
    assert verdicts(second) == {"pass.s1": P, "unstable.s2": F}
    assert "not the same each time" in second[1].message
    assert [result.round for result in run.results] == [1, 1, 2, 2]


def test_regression_groups_are_balanced() -> None:
    """
    Stimulus: cases of two kinds whose seconds are known.
    Checking: no group mixes kinds; no case is lost; long cases stand alone, short ones together; longest group first.
    Covers: REGRESS-GROUP
    """
    cases = [fake_case("pass", seed) for seed in range(1, 21)]
    cases += [fake_case("pass", seed, configuration="tiny") for seed in range(21, 25)]
    seconds = {case.id: 0.1 for case in cases} | {"pass.s3": 40.0, "pass.s22": 50.0}
    groups = split(cases, 2, seconds)
    assert sorted(case.seed for group in groups for case in group.cases) == list(range(1, 25))
    assert all(len({case.kind for case in group.cases}) == 1 for group in groups)
    cost = [sum(seconds[case.id] for case in group.cases) for group in groups]
    assert cost == sorted(cost, reverse=True)
    assert max(cost) < 55 and len(groups) <= 7
    kept: list[RegressionCase] = [case for group in split(cases, 2, seconds, keep_order=True) for case in group.cases]
    assert kept == cases
