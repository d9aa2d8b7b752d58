# SPDX-License-Identifier: Apache-2.0
"""The main job: the RTL consumes every pfns array that the real kernel wrote, in its own format and in every driver's.

Each recording and format is one case or, where it is large, several; they are spread over simulator processes. The job
passed only if every array was linked, every request was answered and checked, and nothing differed.
"""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.formats import load_formats
from models.kernel_recording import KernelRecording, read_recording, recordings
from models.recorded_pages import recorded_format
from sim.build import Flavour, build
from sim.console import Advance, console, progress
from sim.kernel_arrays_report import Row, print_report
from sim.paths import BUILD
from sim.simulation import SimulationOutcome, read_summaries, simulate, write_spec
from tb.scenarios.builder import chosen_format
from tb.scenarios.kernel_arrays import NAME
from tb.scenarios.sampling import DRIVER_FORMAT_RULE, OWN_FORMAT_RULE

MODULE = "tb.run_cases"
OUT = BUILD / "kernel-arrays"
RESULT_FILE = OUT / "result.json"
LARGEST_JOBS = 2
"""Simulator processes side by side."""
OWN_FORMAT_PARTS = 4
DRIVER_CASES_IN_PROCESS = 4
PROCESS_TIMEOUT = 900.0
SHOWN_LINES = 10


@dataclass(frozen=True)
class KernelArraysOptions:
    """What a person asked for. `entry_format` (a name or a file) and `recording`: only that one; None: all."""

    seed: int = 1
    flavour: Flavour = "fast"
    waves: bool = False
    waves_from: int = 0
    case_path: str = "batch"
    entry_format: str | None = None
    recording: Path | None = None
    json_file: Path | None = None


@dataclass(frozen=True)
class _Process:
    """The cases of one simulator process."""

    name: str
    cases: tuple[dict[str, Any], ...]


@dataclass
class _Work:
    """What is to be done, and what came of it."""

    rows: list[Row]
    processes: list[_Process]
    outcomes: dict[str, SimulationOutcome] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class KernelArraysReport:
    """What came of the job, to be told: `result` is what result.json holds."""

    rows: list[Row]
    problems: list[str]
    result: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether everything was checked and nothing differed."""
        return bool(self.result["passed"])


def run_kernel_arrays(options: KernelArraysOptions) -> int:
    """Runs the job and tells about it; exit status 0 only if everything was checked and nothing differed.

    Errors: UserError for a bad recording or format.
    """
    report = perform_kernel_arrays(options)
    tell_kernel_arrays(report)
    return 0 if report.passed else 1


def perform_kernel_arrays(options: KernelArraysOptions) -> KernelArraysReport:
    """Runs the job and writes its results down. Errors: UserError for a bad recording or format."""
    started = time.monotonic()
    work = plan(options)
    executable = build(options.flavour)
    _simulate_all(work, executable, options)
    collect(work)
    seconds = time.monotonic() - started
    result = result_data(work, options, seconds)
    for path in (RESULT_FILE, options.json_file):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return KernelArraysReport(work.rows, work.problems, result)


def tell_kernel_arrays(report: KernelArraysReport) -> None:
    """Prints the tables, and what was wrong."""
    print_report(report.rows, [OWN_FORMAT_RULE, DRIVER_FORMAT_RULE])
    for line in report.problems[:SHOWN_LINES]:
        console.print(line, markup=False)
    state, result = "passed" if report.passed else "FAILED", report.result
    told = f"{state}: kernel-arrays, seed {result['seed']}, {result['seconds']:.0f} s; {RESULT_FILE}"
    console.print(told, markup=False)


def plan(options: KernelArraysOptions) -> _Work:
    """The cases, spread over processes. Errors: UserError for a bad recording or format."""
    paths = recordings() if options.recording is None else (options.recording,)
    work = _Work([], [])
    driver_cases: list[dict[str, Any]] = []
    for path in paths:
        recording = read_recording(path)
        own = recorded_format(recording.information).name
        if not recording.good_arrays:
            raise UserError(f"{path} holds no array that a driver may use; give another recording.")
        for text in [options.entry_format] if options.entry_format is not None else [own, *load_formats()]:
            if text == own and any(row.format_name == own and row.recording == path.name for row in work.rows):
                continue
            is_own = chosen_format(text).name == own
            row, cases = _row_and_cases(recording, text, is_own, options.seed, len(work.rows))
            work.rows.append(row)
            if is_own:
                work.processes += [_Process(f"{row.number:02d}-{part}", (case,)) for part, case in enumerate(cases)]
            else:
                driver_cases += cases
    for first in range(0, len(driver_cases), DRIVER_CASES_IN_PROCESS):
        work.processes.append(
            _Process(f"drivers-{first:02d}", tuple(driver_cases[first : first + DRIVER_CASES_IN_PROCESS]))
        )
    return work


def _row_and_cases(
    recording: KernelRecording, text: str, is_own: bool, seed: int, number: int
) -> tuple[Row, list[dict[str, Any]]]:
    good = recording.good_arrays
    parts = min(OWN_FORMAT_PARTS if is_own else 1, len(good))
    row = Row(
        number=number,
        recording=recording.path.name,
        kernel=recording.information.kernel,
        format_name=chosen_format(text).name,
        own=is_own,
        arrays=len(recording.arrays),
        entries=sum(array.pages for array in recording.arrays),
        arrays_to_link=len(good),
        entries_to_link=sum(array.pages for array in good),
        cases=parts,
    )
    format_text = str(Path(text).resolve()) if Path(text).is_file() else text
    parameters = {"recording": str(recording.path.resolve()), "format": format_text, "parts": parts}
    return row, [{"builder": NAME, "parameters": {**parameters, "part": part}, "seed": seed} for part in range(parts)]


def _simulate_all(work: _Work, executable: Path, options: KernelArraysOptions) -> None:
    total = sum(len(process.cases) for process in work.processes)
    jobs = max(1, min(LARGEST_JOBS, len(os.sched_getaffinity(0))))
    lock = threading.Lock()

    def run(process: _Process, advance: Advance) -> SimulationOutcome:
        out = OUT / process.name
        spec = write_spec(out / "spec.json", list(process.cases), options.case_path, out)

        def follow(_: dict[str, Any]) -> None:
            with lock:
                advance(1, process.name)

        return simulate(
            executable,
            MODULE,
            out=out,
            spec=spec,
            seed=options.seed,
            waves=options.waves,
            waves_from=options.waves_from,
            timeout=PROCESS_TIMEOUT,
            progress=follow,
        )

    with progress("kernel arrays", total) as advance, ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = {process.name: pool.submit(run, process, advance) for process in work.processes}
        try:
            work.outcomes = {name: future.result() for name, future in futures.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def collect(work: _Work) -> None:
    """Adds what the processes left up in the rows, and notes whatever is missing or wrong."""
    by_place = {(row.recording, row.format_name): row for row in work.rows}
    for process in work.processes:
        outcome = work.outcomes[process.name]
        summaries = read_summaries(outcome.out)
        if len(summaries) != len(process.cases):
            work.problems.append(f"{process.name}: {len(summaries)} of {len(process.cases)} cases were run")
        for case, summary in zip(process.cases, summaries, strict=False):
            chosen = case["parameters"]
            row = by_place[Path(chosen["recording"]).name, chosen_format(chosen["format"]).name]
            row.add(summary)
            work.problems += summary["lines"]
        if not outcome.passed and all(summary["passed"] for summary in summaries):
            work.problems.append(f"{process.name}: {outcome.failure}")
    work.problems += [f"{row.kernel} as {row.format_name}: {text}" for row in work.rows for text in row.problems()]


def result_data(work: _Work, options: KernelArraysOptions, seconds: float) -> dict[str, Any]:
    """What result.json holds."""
    return {
        "job": "kernel-arrays",
        "passed": not work.problems and all(outcome.passed for outcome in work.outcomes.values()),
        "seed": options.seed,
        "build": options.flavour,
        "seconds": round(seconds, 1),
        "sampling": [OWN_FORMAT_RULE, DRIVER_FORMAT_RULE],
        "rows": [row.as_data() for row in work.rows],
        "problems": work.problems,
    }
