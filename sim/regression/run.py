# SPDX-License-Identifier: Apache-2.0
"""Cases into processes, processes side by side: start-up is paid once for many cases, and all processors have work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from sim.regression.case import ProcessKind, RegressionCase
from sim.regression.process import START_LIMIT, Group, Surroundings, run_group
from sim.regression.results import CaseResult, Verdict

USUAL_SECONDS = 0.5
"""Processor seconds of a case that never ran."""
SMALLEST_GROUP = 4.0
LARGEST_GROUP = 30.0
"""Processor seconds of the cases of one process: many enough that its start is small beside them, few enough that the
processors finish together and little runs again after a crash."""
GROUPS_PER_JOB = 3


def split(
    cases: Sequence[RegressionCase],
    jobs: int,
    seconds: Mapping[str, float],
    *,
    keep_order: bool = False,
    group_seconds: float = LARGEST_GROUP,
) -> list[Group]:
    """Groups of one kind each, longest first, or in the order of their first cases. `seconds`: what cases took, by id.

    Cases keep their order inside a group.
    """
    cost = {case.id: seconds.get(case.id, USUAL_SECONDS) for case in cases}
    wanted = min(group_seconds, max(SMALLEST_GROUP, sum(cost.values()) / (GROUPS_PER_JOB * max(1, jobs))))
    chunks: list[list[RegressionCase]] = []
    newest: dict[ProcessKind, list[RegressionCase]] = {}
    for case in cases:
        chunk = newest.get(case.kind)
        fits = chunk is not None and sum(cost[each.id] for each in chunk) + cost[case.id] <= wanted
        if chunk is None or not fits or (keep_order and chunk is not chunks[-1]):
            chunk = newest[case.kind] = []
            chunks.append(chunk)
        chunk.append(case)
    numbers: dict[ProcessKind, int] = {}
    groups = []
    for chunk in chunks:
        kind = chunk[0].kind
        numbers[kind] = numbers.get(kind, -1) + 1
        groups.append(Group(kind, numbers[kind], tuple(chunk)))
    if not keep_order:
        groups.sort(key=lambda group: -sum(cost[case.id] for case in group.cases))
    return groups


@dataclass
class RunSettings:
    """How a list is run. `seconds`: what each case took last time; `stop_at_first`: the first failure ends the run."""

    out: Path
    executable: Callable[[ProcessKind], Path]
    report: Callable[[CaseResult], None]
    jobs: int = 1
    seconds: Mapping[str, float] = field(default_factory=dict)
    stop_at_first: bool = False
    keep_order: bool = False
    group_seconds: float = LARGEST_GROUP
    waves: bool = False
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    start_limit: float = START_LIMIT
    cancel: threading.Event = field(default_factory=threading.Event)


class Run:
    """One pass over a list. Attributes: `results` so far, in the order in which they came; `cpu_seconds` of all
    processes, start-up included."""

    def __init__(self, settings: RunSettings) -> None:
        self.results: list[CaseResult] = []
        self.cpu_seconds = 0.0
        self._settings = settings
        self._lock = threading.Lock()
        self._hashes: dict[str, str] = {}
        self._round = 1

    def run(self, cases: Sequence[RegressionCase], round_number: int = 1) -> list[CaseResult]:
        """Runs cases and returns their results. Errors: what `report` raises; KeyboardInterrupt, with nothing left
        running."""
        settings = self._settings
        self._round = round_number
        before = len(self.results)
        around = Surroundings(
            out=settings.out / f"round-{round_number}",
            executable=settings.executable,
            report=self._report,
            spent=self._spent,
            cancel=settings.cancel,
            waves=settings.waves,
            arguments=settings.arguments,
            environment=settings.environment,
            start_limit=settings.start_limit,
        )
        groups = split(
            cases, settings.jobs, settings.seconds, keep_order=settings.keep_order, group_seconds=settings.group_seconds
        )
        with ThreadPoolExecutor(max_workers=max(1, settings.jobs)) as pool:
            futures = [pool.submit(run_group, group, around) for group in groups]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                for future in futures:
                    if future.done():
                        future.result()
            except BaseException:
                settings.cancel.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return self.results[before:]

    def _spent(self, seconds: float) -> None:
        with self._lock:
            self.cpu_seconds += seconds

    def _report(self, result: CaseResult) -> None:
        with self._lock:
            if self._settings.cancel.is_set():
                return
            result = replace(self._same_again(result), round=self._round)
            self.results.append(result)
            self._settings.report(result)
            if self._settings.stop_at_first and not result.passed:
                self._settings.cancel.set()

    def _same_again(self, result: CaseResult) -> CaseResult:
        """A case that ran before in this run must show the same events."""
        if not result.event_hash:
            return result
        first = self._hashes.setdefault(result.case.id, result.event_hash)
        if first == result.event_hash or not result.passed:
            return result
        message = (
            f"{result.case.id} | events {result.event_hash[:12]}, before {first[:12]} | it is not the same each time"
        )
        return replace(result, verdict=Verdict.FAILED, message=message)
