# SPDX-License-Identifier: Apache-2.0
"""`python -m sim run`: a scenario by name or a saved case by its directory, built for, simulated and told about."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from rich.table import Table

from models.errors import UserError
from sim.build import FLAVOURS, Flavour, build
from sim.console import console
from sim.paths import BUILD
from sim.simulation import SimulationOutcome, read_summaries, simulate, write_spec
from tb.case import CASE_FILE, Case
from tb.scenarios import SCENARIOS
from tb.scenarios.builder import chosen_format

if TYPE_CHECKING:
    from sim.kernel_arrays import KernelArraysOptions
    from sim.programs import ProgramsOptions

CasePath = Literal["batch", "agent"]
CASE_PATHS: tuple[CasePath, ...] = get_args(CasePath)
MODULE = "tb.run_cases"
MAIN_JOB = "kernel-arrays"
SHRINKABLE = "mixed"
PROGRAMS = "programs"
PROGRAM = "program"
EVERYTHING = "all"
RUN_TIMEOUT = 900.0
"""Seconds of one simulator process."""


@dataclass(frozen=True)
class RunOptions:
    """What a person asked for on the command line, not yet checked."""

    seed: int = 1
    flavour: str | None = None
    waves: bool = False
    waves_from: int = 0
    case_path: str = "batch"
    entry_format: str | None = None
    recording: Path | None = None
    json_file: Path | None = None
    shrink: bool = False
    program: Path | None = None
    disturb: int | None = None

    def chosen_flavour(self) -> Flavour:
        """The build. Errors: UserError if there is none of that name, or if it has no waves and they are asked for."""
        wanted = self.flavour or ("checked" if self.waves else "fast")
        if self.waves and wanted != "checked":
            raise UserError(f"The build {wanted} records no waves; leave --build away or give --build checked.")
        for flavour in FLAVOURS:
            if flavour == wanted:
                return flavour
        raise UserError(f"There is no build {wanted}; choose one of {', '.join(FLAVOURS)}.")

    def chosen_path(self) -> CasePath:
        """Who hands over requests. Errors: UserError if there is no such path."""
        for path in CASE_PATHS:
            if path == self.case_path:
                return path
        raise UserError(f"There is no path {self.case_path}; choose one of {', '.join(CASE_PATHS)}.")


def known_cases() -> dict[str, str]:
    """Names that `run` takes, with the first line of what each is."""
    cases = {
        EVERYTHING: f"{MAIN_JOB}, then {PROGRAMS}; what `make` runs",
        MAIN_JOB: "every array that the real kernel wrote, in the kernel's format and in every driver's",
        PROGRAMS: "the recorded programs of the project, performed by the RTL",
        PROGRAM: "with a FILE: a program recorded with `python -m sim record`, performed by the RTL",
    }
    for name, builder in sorted(SCENARIOS.items()):
        cases.setdefault(name.replace("_", "-"), (builder.__doc__ or "").strip().split("\n")[0])
    return cases


def scenario_name(text: str) -> str:
    """The scenario that a person named. Errors: UserError listing the known ones."""
    name = text.replace("-", "_")
    if name not in SCENARIOS:
        known = ", ".join(known_cases())
        raise UserError(f"There is no case {text}; choose one of {known}, or give the directory of a saved case.")
    return name


def _case_and_spec(text: str, options: RunOptions) -> tuple[Case, dict[str, object]]:
    """The case, and how the simulator's side gets the same one."""
    directory = Path(text)
    if (directory / CASE_FILE).is_file():
        if options.entry_format is not None:
            raise UserError("A saved case has its own format; leave --format away.")
        return Case.load(directory), {"directory": str(directory.resolve())}
    name = scenario_name(text)
    parameters: dict[str, Any] = {}
    if options.entry_format is not None:
        chosen_format(options.entry_format)
        # The simulator runs in another directory.
        path = Path(options.entry_format)
        parameters["format"] = str(path.resolve()) if path.is_file() else options.entry_format
    case = SCENARIOS[name](options.seed, parameters)
    return case, {"builder": name, "parameters": parameters, "seed": options.seed}


SHOWN = (
    "format_name",
    "requests",
    "checked",
    "mismatches",
    "failures",
    "reasons",
    "cycles",
    "event_hash",
    "counters",
    "figures",
)
"""What the table shows of a verdict."""


def _tell(case: Case, outcome: SimulationOutcome, summaries: list[dict[str, Any]]) -> None:
    table = Table("what", title=f"{case.name}, seed {case.seed}")
    table.add_column("value", overflow="fold")
    for summary in summaries:
        for key in SHOWN:
            value = summary.get(key)
            if isinstance(value, dict):
                value = ", ".join(f"{name} {count}" for name, count in value.items())
            if value is not None and value != "":
                table.add_row(key.replace("_", " "), str(value))
    console.print(table)
    if outcome.waves is not None:
        console.print(f"waves: {outcome.waves}", markup=False)
    if outcome.failure:
        console.print(outcome.failure, markup=False)
    console.print(f"{'passed' if outcome.passed else 'FAILED'}: {case.name}; log: {outcome.log}", markup=False)


def run_main_job(options: RunOptions) -> bool:
    """Runs every recorded array; True if everything was checked and nothing differed. Errors: UserError."""
    from sim.kernel_arrays import run_kernel_arrays

    return run_kernel_arrays(_kernel_arrays_options(options)) == 0


def run_everything(options: RunOptions) -> bool:
    """Both jobs, and what came of both at the end; True if nothing was wrong in either. Errors: UserError."""
    from sim.kernel_arrays import perform_kernel_arrays, tell_kernel_arrays
    from sim.programs import own_recordings, perform_programs, tell_programs

    if options.recording is not None or options.json_file is not None or options.entry_format is not None:
        raise UserError(f"--recording, --format and --json belong to one job; leave them away with {EVERYTHING}.")
    programs_options = _programs_options(options)
    arrays = perform_kernel_arrays(_kernel_arrays_options(options))
    programs = perform_programs(own_recordings(), programs_options)
    tell_kernel_arrays(arrays)
    tell_programs(programs)
    return arrays.passed and programs.passed


def _kernel_arrays_options(options: RunOptions) -> KernelArraysOptions:
    from sim.kernel_arrays import KernelArraysOptions

    return KernelArraysOptions(
        seed=options.seed,
        flavour=options.chosen_flavour(),
        waves=options.waves,
        waves_from=options.waves_from,
        case_path=options.chosen_path(),
        entry_format=options.entry_format,
        recording=options.recording,
        json_file=options.json_file,
    )


def run_recorded_programs(text: str, options: RunOptions) -> bool:
    """Replays the project's programs, or the one of a file; True if nothing was wrong. Errors: UserError."""
    from sim.programs import own_recordings, run_programs

    if text == PROGRAM and options.program is None:
        raise UserError(f"Give the file of a recorded program: python -m sim run {PROGRAM} FILE.")
    if options.recording is not None or options.chosen_path() != "batch":
        raise UserError(f"--recording and --path belong to other cases; leave them away with {text}.")
    paths = own_recordings() if options.program is None else [options.program]
    return run_programs(paths, _programs_options(options))


def _programs_options(options: RunOptions) -> ProgramsOptions:
    from sim.programs import ProgramsOptions

    chosen = ProgramsOptions(
        seed=options.seed,
        flavour=options.chosen_flavour(),
        waves=options.waves,
        waves_from=options.waves_from,
        entry_format=options.entry_format,
        json_file=options.json_file,
    )
    return chosen if options.disturb is None else replace(chosen, every=options.disturb)


def run_case(text: str, options: RunOptions) -> bool:
    """Runs and tells; True if everything was checked and nothing differed. Errors: UserError for bad input."""
    if options.program is not None and text != PROGRAM:
        raise UserError(f"Only `run {PROGRAM}` takes a file; leave {options.program} away.")
    if text in (PROGRAM, PROGRAMS):
        return run_recorded_programs(text, options)
    if text == EVERYTHING:
        return run_everything(options)
    if options.disturb is not None:
        raise UserError(f"--disturb belongs to {PROGRAM} and {PROGRAMS}; leave it away.")
    if text.replace("_", "-") == MAIN_JOB:
        return run_main_job(options)
    if options.recording is not None:
        raise UserError(f"--recording belongs to {MAIN_JOB}; leave it away.")
    flavour = options.chosen_flavour()
    if options.shrink and scenario_name(text) != SHRINKABLE:
        raise UserError(f"Only cases of {SHRINKABLE} are plans that can be shrunk; leave --shrink away.")
    case_path = options.chosen_path()
    case, entry = _case_and_spec(text, options)
    out = BUILD / "runs" / f"{case.name}-seed{case.seed}-{flavour}-{case_path}"
    spec = write_spec(out / "spec.json", [entry], case_path, out)
    outcome = simulate(
        build(flavour, case.configuration),
        MODULE,
        out=out,
        spec=spec,
        seed=case.seed,
        waves=options.waves,
        waves_from=options.waves_from,
        timeout=RUN_TIMEOUT,
    )
    summaries = read_summaries(out)
    _tell(case, outcome, summaries)
    if options.json_file is not None:
        result = {"case": case.name, "seed": case.seed, "passed": outcome.passed, "results": summaries}
        options.json_file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.shrink and not outcome.passed:
        from sim.shrink import shrink_case

        shrink_case(case.seed, {} if options.entry_format is None else {"format": options.entry_format}, flavour)
    return outcome.passed
