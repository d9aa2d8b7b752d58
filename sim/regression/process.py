# SPDX-License-Identifier: Apache-2.0
"""Many cases in one simulator process. A case at which the process dies or hangs is a failure; the rest runs again.

What a process says on its log tells only how far it is and which case it died at. Verdicts come from the results that
tb.run_cases writes for each case, and from the results file of cocotb tests.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from sim.benches import BENCHES
from sim.paths import ROOT
from sim.regression.case import CASES_MODULE, ProcessKind, RegressionCase
from sim.regression.results import CaseResult, Verdict
from sim.simulation import SimulationOutcome, TestOutcome, last_lines, simulate, write_spec

BEGIN_MARK = "@begin "
START_LIMIT = 60.0
"""Processor seconds from the start of a process to its first case."""
WAITING_FACTOR = 10.0
"""A limit counts processor seconds, so that a busy machine makes no failures. What only waits has so many times as
long by the clock."""
CLOCK_NANOSECONDS = 10
SHOWN_LINES = 5
_TEST_BEGINS = re.compile(r"\brunning (\S+) \(\d+/\d+\)")
CANCELLED = "cancelled"


@dataclass(frozen=True)
class Group:
    """Cases that run one after the other in a process; `number` tells groups of a kind apart."""

    kind: ProcessKind
    number: int
    cases: tuple[RegressionCase, ...]

    @property
    def name(self) -> str:
        """For files and messages."""
        return f"{self.kind}-{self.number:02d}"


@dataclass(frozen=True)
class Surroundings:
    """What all processes of a run share. `report` is called from several threads, `spent` with processor seconds."""

    out: Path
    executable: Callable[[ProcessKind], Path]
    report: Callable[[CaseResult], None]
    spent: Callable[[float], None] = lambda seconds: None
    cancel: Event = field(default_factory=Event)
    waves: bool = False
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    start_limit: float = START_LIMIT


def run_group(group: Group, around: Surroundings) -> None:
    """Runs all cases of a group, in as many processes as it takes, and reports each."""
    pending = list(group.cases)
    attempt = 0
    while pending and not around.cancel.is_set():
        out = around.out / (group.name if attempt == 0 else f"{group.name}-again{attempt}")
        watched = _TestsProcess(pending, around, out) if group.kind.tests else _ListProcess(pending, around, out)
        outcome = watched.run(around.executable(group.kind))
        around.spent(outcome.cpu_seconds)
        if around.cancel.is_set() and outcome.stopped:
            return
        ended = watched.finish(outcome)
        for result in ended:
            around.report(result)
        done = watched.reported | {result.case.id for result in ended}
        pending = [case for case in pending if case.id not in done]
        attempt += 1


class _Process:
    """A process under way: which case is at work, and since when."""

    def __init__(self, cases: Sequence[RegressionCase], around: Surroundings, out: Path) -> None:
        self.cases = list(cases)
        self.around = around
        self.out = out
        self.reported: set[str] = set()
        self.running: RegressionCase | None = None
        self._since = time.monotonic()
        self._cpu = 0.0
        self._cpu_since = 0.0

    def begin(self, case: RegressionCase | None) -> None:
        """`case` is at work from now on; None: nobody knows which."""
        self.running = case
        self._since = time.monotonic()
        self._cpu_since = self._cpu

    def stop(self, cpu_seconds: float) -> str:
        """Why the process must end now, or ""."""
        self._cpu = cpu_seconds
        if self.around.cancel.is_set():
            return CANCELLED
        limit = self.running.limit_seconds if self.running else self.around.start_limit
        waited = time.monotonic() - self._since
        if cpu_seconds - self._cpu_since <= limit and waited <= WAITING_FACTOR * limit:
            return ""
        what = f"The case {self.running.id}" if self.running else "The simulator's start"
        return f"{what} did not end within {limit:g} s of processor time"

    def casualties(self, outcome: SimulationOutcome, left: Sequence[RegressionCase]) -> list[CaseResult]:
        """Of the cases that a process left undone: the one it ended at, or all if it did not even begin one."""
        verdict = Verdict.HUNG if outcome.stopped or outcome.timed_out else Verdict.CRASHED
        guilty = list(left)
        if self.running is not None or self.reported:
            guilty = [self.running or left[0]]
        message = outcome.failure or f"The simulator ended early; the last lines are:\n{last_lines(outcome.log)}"
        return [self.result(case, verdict, message) for case in guilty]

    def result(self, case: RegressionCase, verdict: Verdict, message: str = "", **figures: Any) -> CaseResult:
        """What became of a case here."""
        return CaseResult(case=case, verdict=verdict, message=message, log=self.out / "simulation.log", **figures)


class _ListProcess(_Process):
    """Scenarios and saved cases: tb.run_cases tells about each as it begins and ends."""

    def __init__(self, cases: Sequence[RegressionCase], around: Surroundings, out: Path) -> None:
        super().__init__(cases, around, out)
        self._last: CaseResult | None = None

    def run(self, executable: Path) -> SimulationOutcome:
        """Runs the process to its end."""
        entries = [_absolute(case.entry) for case in self.cases]
        kind = self.cases[0].kind
        return simulate(
            executable,
            CASES_MODULE,
            out=self.out,
            spec=write_spec(self.out / "spec.json", entries, kind.path, self.out),
            seed=self.cases[0].seed,
            waves=self.around.waves,
            timeout=float("inf"),
            progress=self._ended,
            lines=self._line,
            stop=self.stop,
            arguments=self.around.arguments,
            environment=self.around.environment,
        )

    def _line(self, line: str) -> None:
        if line.startswith(BEGIN_MARK):
            self.begin(self.cases[int(line.removeprefix(BEGIN_MARK))])

    def _ended(self, data: dict[str, Any]) -> None:
        case = self.cases[data["index"]]
        lines = data.get("lines") or []
        result = self.result(
            case,
            Verdict.PASSED if data["passed"] else Verdict.FAILED,
            "\n".join(lines[:SHOWN_LINES]),
            seconds=float(data.get("cpu_seconds") or 0.0),
            cycles=int(data.get("cycles") or 0),
            event_hash=str(data.get("event_hash") or ""),
        )
        self.begin(None)
        if len(self.reported) == len(self.cases) - 1:
            # Whether the process itself ends well counts for its last case.
            self._last = result
            return
        self.reported.add(case.id)
        self.around.report(result)

    def finish(self, outcome: SimulationOutcome) -> list[CaseResult]:
        """Results that were not reported when the process ended."""
        if self._last is not None:
            untold = outcome.exit_status != 0 and all(test.passed for test in outcome.tests)
            if self._last.passed and (outcome.stopped or untold):
                return [replace(self._last, verdict=Verdict.CRASHED, message=outcome.failure)]
            return [self._last]
        return self.casualties(outcome, [case for case in self.cases if case.id not in self.reported])


class _TestsProcess(_Process):
    """cocotb tests: one results file for all, when the process ends."""

    def run(self, executable: Path) -> SimulationOutcome:
        """Runs the process to its end."""
        kind = self.cases[0].kind
        self._by_name = {f"{case.module}.{case.test}": case for case in self.cases}
        names = "|".join(re.escape(name) for name in self._by_name)
        return simulate(
            executable,
            ",".join(dict.fromkeys(case.module for case in self.cases)),
            out=self.out,
            seed=self.cases[0].seed,
            waves=self.around.waves,
            testcase=f"^({names})(/.*)?$",
            timeout=float("inf"),
            top=BENCHES[kind.bench].top,
            lines=self._line,
            stop=self.stop,
            arguments=self.around.arguments,
            environment=self.around.environment,
        )

    def _line(self, line: str) -> None:
        found = _TEST_BEGINS.search(line)
        case = self._by_name.get(found[1].split("/")[0]) if found else None
        if case is not None:
            self.begin(case)

    def finish(self, outcome: SimulationOutcome) -> list[CaseResult]:
        """Results of all tests, or of the one that the process ended at."""
        if not outcome.tests:
            return self.casualties(outcome, self.cases)
        of_case: dict[str, list[TestOutcome]] = {case.id: [] for case in self.cases}
        for test in outcome.tests:
            case = self._by_name.get(test.name.split("/")[0])
            if case is not None:
                of_case[case.id].append(test)
        total = sum(test.seconds for test in outcome.tests) or 1.0
        results = []
        for case in self.cases:
            tests = of_case[case.id]
            message = "\n".join(f"{test.name}: {test.message}" for test in tests if not test.passed)
            if not tests:
                message = f"{case.module}.{case.test} was not run: it is skipped, or its results are missing."
            share = sum(test.seconds for test in tests) / total
            results.append(
                self.result(
                    case,
                    Verdict.FAILED if message else Verdict.PASSED,
                    message,
                    seconds=outcome.cpu_seconds * share,
                    cycles=round(sum(test.simulated_ns for test in tests) / CLOCK_NANOSECONDS),
                )
            )
        if outcome.exit_status != 0 and all(result.passed for result in results):
            results[-1] = replace(results[-1], verdict=Verdict.CRASHED, message=outcome.failure)
        return results


def _absolute(entry: dict[str, Any]) -> dict[str, Any]:
    """The simulator runs in another directory."""
    return {**entry, "directory": str(ROOT / entry["directory"])} if "directory" in entry else entry
