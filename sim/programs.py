# SPDX-License-Identifier: Apache-2.0
"""The second job: recorded programs, whose loads and stores the RTL performs while the host makes their system calls.

Each program is one simulator process. It passed only if everything was performed, every byte was right, and no rule was
broken. Source: docs/programs.md.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.entries import none_word
from models.errors import UserError
from models.program_recording import load_program
from models.program_replay import check_calls
from sim.build import Flavour, build
from sim.console import Advance, console, progress
from sim.paths import BUILD, SIM_DATA
from sim.programs_report import print_programs
from sim.simulation import SimulationOutcome, simulate
from tb.run_program import DEFAULT_EVERY, DEFAULT_FORMAT, RESULT, ProgramSpec, plan_of, write_program_spec
from tb.scenarios.builder import chosen_format

JOB = "programs"
ONE = "program"
MODULE = "tb.run_program"
RECORDINGS = SIM_DATA / "programs"
OUT = BUILD / "programs"
RESULT_FILE = OUT / RESULT
LARGEST_JOBS = 2
"""Simulator processes side by side."""
PROCESS_TIMEOUT = 3600.0
SHOWN_LINES = 10


@dataclass(frozen=True)
class ProgramsOptions:
    """What a person asked for. `entry_format`: a name or a file; `every`: about one disturbance in so many accesses."""

    seed: int = 1
    flavour: Flavour = "fast"
    waves: bool = False
    waves_from: int = 0
    entry_format: str | None = None
    every: int = DEFAULT_EVERY
    json_file: Path | None = None
    first_accesses: int | None = None


@dataclass(frozen=True)
class _Work:
    """One program: what to do, where, and how many pieces it is."""

    spec: ProgramSpec
    out: Path
    pieces: int


def own_recordings() -> list[Path]:
    """The project's recordings."""
    return sorted(RECORDINGS.glob("*.npz"))


@dataclass(frozen=True)
class ProgramsReport:
    """What came of the job, to be told: `result` is what result.json holds; `waves`: recorded files."""

    result: dict[str, Any]
    waves: list[Path]

    @property
    def passed(self) -> bool:
        """Whether everything was performed and nothing was wrong."""
        return bool(self.result["passed"])


def run_programs(paths: Sequence[Path], options: ProgramsOptions) -> bool:
    """Replays and tells; True if everything was performed and nothing was wrong. Errors: UserError for bad input."""
    report = perform_programs(paths, options)
    tell_programs(report)
    return report.passed


def perform_programs(paths: Sequence[Path], options: ProgramsOptions) -> ProgramsReport:
    """Replays and writes the results down. Errors: UserError for bad input."""
    started = time.monotonic()
    work = [_plan(path, number, options) for number, path in enumerate(paths)]
    if not work:
        raise UserError(f"There are no recordings in {RECORDINGS}; record a program with `python -m sim record`.")
    executable = build(options.flavour)
    outcomes = _simulate_all(work, executable, options)
    verdicts, problems = collect(work, outcomes)
    result = {
        "job": JOB,
        "passed": not problems,
        "seed": options.seed,
        "build": options.flavour,
        "seconds": round(time.monotonic() - started, 1),
        "names": [each.spec.name for each in work],
        "programs": verdicts,
        "problems": problems,
    }
    for file in (RESULT_FILE, options.json_file):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return ProgramsReport(result, [outcome.waves for outcome in outcomes if outcome.waves is not None])


def tell_programs(report: ProgramsReport) -> None:
    """Prints the table, and what was wrong."""
    result = report.result
    if result["programs"]:
        print_programs(result["programs"])
    for line in result["problems"][:SHOWN_LINES]:
        console.print(line, markup=False)
    for path in report.waves:
        console.print(f"waves: {path}", markup=False)
    state = "passed" if report.passed else "FAILED"
    told = f"{state}: {', '.join(result['names'])}, seed {result['seed']}, {result['seconds']:.0f} s; {RESULT_FILE}"
    console.print(told, markup=False)


def _plan(path: Path, number: int, options: ProgramsOptions) -> _Work:
    """Everything that can be refused is refused here. Errors: UserError."""
    text = options.entry_format or DEFAULT_FORMAT
    fmt = chosen_format(text)
    none_word(fmt)
    load_program(path)
    # The simulator runs in another directory.
    text = str(Path(text).resolve()) if Path(text).is_file() else text
    out = OUT / f"{number:02d}-{path.stem}-seed{options.seed}-{options.flavour}"
    spec = ProgramSpec(
        program=str(path.resolve()),
        seed=options.seed,
        out=str(out.resolve()),
        entry_format=text,
        every=options.every,
        first_accesses=options.first_accesses,
    )
    plan = plan_of(spec, fmt)
    check_calls(plan)
    return _Work(spec, out, int(plan.pieces.size))


def _simulate_all(work: list[_Work], executable: Path, options: ProgramsOptions) -> list[SimulationOutcome]:
    jobs = max(1, min(LARGEST_JOBS, len(os.sched_getaffinity(0))))
    lock = threading.Lock()

    def run(each: _Work, advance: Advance) -> SimulationOutcome:
        done = 0
        (each.out / RESULT).unlink(missing_ok=True)

        def follow(said: dict[str, Any]) -> None:
            nonlocal done
            with lock:
                advance(int(said["pieces"]) - done, each.spec.name)
            done = int(said["pieces"])

        return simulate(
            executable,
            MODULE,
            out=each.out,
            spec=write_program_spec(each.out / "spec.json", each.spec),
            seed=options.seed,
            waves=options.waves,
            waves_from=options.waves_from,
            timeout=PROCESS_TIMEOUT,
            progress=follow,
        )

    with progress(JOB, sum(each.pieces for each in work)) as advance, ThreadPoolExecutor(max_workers=jobs) as pool:
        # The longest first, so that it is not alone at the end.
        order = sorted(range(len(work)), key=lambda place: -work[place].pieces)
        futures = {place: pool.submit(run, work[place], advance) for place in order}
        try:
            return [futures[place].result() for place in range(len(work))]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def collect(work: list[_Work], outcomes: list[SimulationOutcome]) -> tuple[list[dict[str, Any]], list[str]]:
    """The verdicts that the processes left, and whatever is missing or wrong, one line each."""
    verdicts: list[dict[str, Any]] = []
    problems: list[str] = []
    for each, outcome in zip(work, outcomes, strict=True):
        path = each.out / RESULT
        if not path.is_file():
            first = (outcome.failure or "the simulator left no result").strip().replace("\n", "; ")
            problems.append(each.spec.failure_line(first))
            continue
        verdict = json.loads(path.read_text(encoding="utf-8"))
        verdicts.append({"name": each.spec.name, **verdict})
        problems += verdict["lines"]
        if verdict["pieces"] != each.pieces:
            problems.append(each.spec.failure_line(f"{verdict['pieces']} of {each.pieces} pieces were performed"))
        if not outcome.passed and verdict["passed"]:
            problems.append(each.spec.failure_line(outcome.failure.replace("\n", "; ")))
    return verdicts, problems
