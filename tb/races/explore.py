# SPDX-License-Identifier: Apache-2.0
"""Slides an action over the window of an event, run by run, and judges every run.

A cell is good if every run passed, and the runs showed the action before the event, behind it, and in the cycle of each
of its marks. Distances are measured from the logs: what was planned does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tb.case import CaseResult, MemorySettings
from tb.environment import Environment
from tb.failure import failure_line
from tb.races.actions import NEVER_MEET
from tb.races.cell import Cell, Timing, build_cell, distances, first_timing, stale_meeting
from tb.races.publication import check_publication
from tb.scoreboard import check_case

BEFORE, AFTER = 4, 4
"""Cycles around the event's window over which the action slides first."""
FURTHER = 3
"""Cycles by which it goes on to slide, to either side, while something is missing."""
SEED_STEP = 1 << 20
MOST_FAILURES = 3
"""Failing runs of a cell that are kept."""
STILL = MemorySettings(read_latency=(3, 3), write_latency=(3, 3))
QUICK = MemorySettings(read_latency=(1, 1), write_latency=(1, 1))
HALTING = STILL.model_copy(update={"ar_pause": 8, "aw_pause": 8})
SCATTERED = MemorySettings(read_latency=(0, 9), write_latency=(0, 9), ar_pause=8, r_pause=4, aw_pause=4, b_pause=4)
WIDE = MemorySettings(read_latency=(0, 24), write_latency=(0, 9), ar_pause=8, aw_pause=8)
VARIANTS: tuple[tuple[MemorySettings, int], ...] = (
    (STILL, 0),
    (STILL, 1),
    (STILL, 2),
    (HALTING, 0),
    (HALTING, 1),
    (QUICK, 0),
    (SCATTERED, 0),
    *((HALTING, 2), (WIDE, 0), (HALTING, 0), (WIDE, 1), (HALTING, 1), (WIDE, 2)) * 3,
)
"""Memories, each with draws of its own, and how many commands stand before that of the action (see build_cell); the
next one is tried where the one before left something unseen.

One beat of read data a cycle: a walk offers its next address, or uses its line, in the cycle after its data, and a
command is executed in the cycle after its own. They meet only where an address has to wait, or a command.
"""

STALE_MEMORY = MemorySettings(read_latency=(0, 20), write_latency=(0, 9))
STALE_DRAWS = 32
STALE_EARLIEST = 32
"""Most cycles by which the host's store is before the meeting."""
QUICKEST_COMMAND = 7
"""Cycles from the store to the command's execution, at least."""


@dataclass
class CellResult:
    """What a cell showed. Distances are cycles from the event to the action's effect, one list for each mark.

    `stale`: meetings with what was read before the action changed it; None where there can be none.
    `problems`: what is missing or wrong, in words; `reruns`: command lines.
    """

    action: str
    event: str
    seed: int
    runs: int = 0
    before: int = 0
    behind: int = 0
    stale: int | None = None
    met: list[int] = field(default_factory=list)
    distances: list[list[int]] = field(default_factory=list)
    cycles: int = 0
    failures: int = 0
    problems: list[str] = field(default_factory=list)
    reruns: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Nothing is wrong and nothing is missing."""
        return not self.problems

    @property
    def complete(self) -> bool:
        """Both orders, and every mark met in its own cycle, or in the one before where the contract forbids that."""
        if not (self.before and self.behind and self.met):
            return False
        if (self.action, self.event) in NEVER_MEET:
            return not any(self.met) and all(1 in distances for distances in self.distances)
        return all(self.met) and self.stale != 0

    def take(self, found: list[int] | None) -> None:
        """Counts the distances of one run; None: the action or the event did not happen."""
        if found is None:
            return
        if not self.met:
            self.met = [0] * len(found)
            self.distances = [[] for _ in found]
        self.before += all(distance < 0 for distance in found)
        self.behind += all(distance > 0 for distance in found)
        for mark, distance in enumerate(found):
            self.met[mark] += distance == 0
            self.distances[mark] = sorted({*self.distances[mark], distance})

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "passed": self.passed}


def rerun_line(action: str, event: str, seed: int, variant: int, cycle: int) -> str:
    """The command that performs one run of a cell again."""
    return f"python -m sim races --pair {action},{event} --seed {seed} --at {variant}:{cycle}"


class Explorer:
    """Explores cells one after the other in one simulation. `out`: where failing cases are saved."""

    def __init__(self, environment: Environment, seed: int, out: Path) -> None:
        self.environment = environment
        self.seed = seed
        self.out = out

    async def explore(self, action: str, event: str) -> CellResult:
        """Slides until the cell is complete or nothing is left to try."""
        result = CellResult(action, event, self.seed)
        for variant in range(len(VARIANTS)):
            await self._slide(result, variant)
            if result.complete or result.failures:
                break
        if build_cell(action, event, self.seed, STILL, 0).can_be_stale and not result.failures:
            await self._meet_stale(result)
        if not result.complete:
            result.problems.append(_missing(result))
        return result

    async def _meet_stale(self, result: CellResult) -> None:
        """Meetings while data are on their way, or in the walk's hands, that were read before the host changed them.

        That takes a slow read of the walk and a quick one of the command: draws without a slow one are passed over.
        """
        result.stale = 0
        for variant in range(len(VARIANTS), len(VARIANTS) + STALE_DRAWS):
            prepared = await self._prepare(result, variant)
            if prepared is None:
                return
            met = prepared.cell.marks(prepared.outcome)[-1][0]
            reads = prepared.cell.changed_reads(prepared.outcome, met)
            first = max(reads[-1] + 1, met - STALE_EARLIEST) if reads else met
            for cycle in range(first, met - QUICKEST_COMMAND + 1):
                await self._run(result, prepared.cell, _at(prepared.timing, cycle), variant)
                if result.stale or result.failures:
                    return

    async def run_at(self, action: str, event: str, variant: int, cycle: int) -> CellResult:
        """One run alone."""
        result = CellResult(action, event, self.seed)
        prepared = await self._prepare(result, variant)
        if prepared is not None:
            await self._run(result, prepared.cell, _at(prepared.timing, cycle), variant)
        return result

    async def _slide(self, result: CellResult, variant: int) -> None:
        prepared = await self._prepare(result, variant)
        if prepared is None:
            return
        cell, timing, first, last = prepared.cell, prepared.timing, prepared.first, prepared.last
        for cycle in range(first - BEFORE, last + AFTER + 1):
            await self._run(result, cell, _at(timing, cycle), variant)
        for cycle in _further(first - BEFORE, last + AFTER):
            if result.complete:
                return
            await self._run(result, cell, _at(timing, cycle), variant)

    async def _prepare(self, result: CellResult, variant: int) -> _Prepared | None:
        """The cell with its times, and the first and last cycle in which the action is to begin.

        Two runs find that out: one for the end of what comes before, one with the action long behind the event.
        """
        settings, headstart = VARIANTS[variant] if variant < len(VARIANTS) else (STALE_MEMORY, variant % 3)
        seed = self.seed + variant * SEED_STEP
        cell = build_cell(result.action, result.event, seed, settings, 0, headstart=headstart)
        timing = first_timing(cell, await self._simulate(cell, Timing()))
        cell = build_cell(result.action, result.event, seed, settings, timing.tag, headstart=headstart)
        outcome = await self._simulate(cell, timing)
        effect, marks = cell.effect(outcome), cell.marks(outcome)
        if effect is None or not all(marks):
            result.problems.append(
                f"{result.action},{result.event} with memory {variant}: the "
                f"{'action had no effect' if effect is None else 'event did not happen'} undisturbed"
            )
            result.reruns.append(rerun_line(result.action, result.event, self.seed, variant, timing.action_cycle))
            return None
        lead = effect - timing.action_cycle
        cycles = [mark[0] for mark in marks]
        return _Prepared(cell, timing, min(cycles) - lead, max(cycles) - lead, outcome)

    async def _simulate(self, cell: Cell, timing: Timing) -> CaseResult:
        return await self.environment.run(cell.at(timing), device_events=True)

    async def _run(self, result: CellResult, cell: Cell, timing: Timing, variant: int) -> None:
        case = cell.at(timing)
        outcome = await self.environment.run(case, device_events=True)
        saved = self.out / "cases" / f"{result.action}-{result.event}-{variant}-{timing.action_cycle}"
        verdict = check_case(case, outcome, str(saved))
        lines = list(verdict.lines)
        if not (outcome.stalled or outcome.owner_violations or outcome.assertion_failures):
            published = check_publication(outcome, cell.world.fault_ring_addresses)
            lines += [failure_line(case, failure, str(saved)) for failure in published]
        result.runs += 1
        result.cycles += outcome.cycles
        found = distances(cell, outcome)
        if verdict.passed and not lines:
            result.take(found)
            if result.stale is not None:
                result.stale += stale_meeting(cell, outcome)
            return
        result.failures += 1
        if result.failures <= MOST_FAILURES:
            case.save(saved)
            result.problems.append(f"distance {found}: {lines[0] if lines else 'not all was checked'}")
            result.reruns.append(rerun_line(result.action, result.event, self.seed, variant, timing.action_cycle))


@dataclass(frozen=True)
class _Prepared:
    """A cell, its times, the first and last cycle in which the action is to begin, and the run that told so."""

    cell: Cell
    timing: Timing
    first: int
    last: int
    outcome: CaseResult


def _at(timing: Timing, cycle: int) -> Timing:
    return Timing(timing.pause, timing.answer_cycle, cycle, timing.tag)


def _further(first: int, last: int) -> Iterator[int]:
    for step in range(1, FURTHER + 1):
        yield first - step
        yield last + step


def _missing(result: CellResult) -> str:
    lacks = []
    if not result.before:
        lacks.append("the action before the event")
    if not result.behind:
        lacks.append("the action behind the event")
    if result.stale == 0:
        lacks.append("a meeting with what was read before the change")
    if (result.action, result.event) in NEVER_MEET:
        lacks.append(f"the event in the cycle before and never in the action's (distances {result.distances})")
    elif not result.met or not all(result.met):
        lacks.append(f"a meeting in one cycle (met {result.met}, distances {result.distances})")
    return f"{result.action},{result.event} never showed {', '.join(lacks)} in {result.runs} runs"
