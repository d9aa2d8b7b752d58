# SPDX-License-Identifier: Apache-2.0
"""The cocotb module that replays one recorded program and leaves what it found in a file.

What to do comes in the JSON file that $HMM_SPEC names; write_program_spec() writes it. OUT/result.json holds the
verdict. Lines on standard output tell how far it is: `@progress ` and a JSON object {"pieces": handed over, "of": all}.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase

from models.driver import Driver
from models.errors import UserError
from models.formats import EntryFormat
from models.program_recording import load_program
from models.program_replay import PlanOptions, ReplayPlan, make_plan
from tb.case import DEFAULT_CONFIGURATION
from tb.configurations import named_configuration
from tb.failure import WAVES_BEFORE
from tb.program_bench import ProgramMachine, ProgramSettings
from tb.run_cases import PROGRESS_MARK, tell, write_json
from tb.scenarios.builder import chosen_format

RESULT = "result.json"
DEFAULT_FORMAT = "hmm_2018_flags"
DEFAULT_EVERY = 400
"""About one disturbance in so many pieces."""
SHOWN_LINES = 5
TOLD_SHARE = 50
"""Progress is told that often."""
LANES = 1 + named_configuration(DEFAULT_CONFIGURATION).ports
"""The engine, and the client ports of the default configuration."""


@dataclass(frozen=True)
class ProgramSpec:
    """What to replay. `program`: the recording's file; `entry_format`: a name or a file; `every`: about one disturbance
    in so many pieces, 0 none; `first_accesses`: only so many, None: all.
    """

    program: str
    seed: int
    out: str
    entry_format: str = DEFAULT_FORMAT
    every: int = DEFAULT_EVERY
    first_accesses: int | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return Path(self.program).stem

    def rerun(self, cycle: int = 0) -> str:
        """The command that runs it again with waves, from shortly before `cycle`."""
        words = ["python", "-m", "sim", "run", "program", self.program, "--seed", str(self.seed)]
        if self.entry_format != DEFAULT_FORMAT:
            words += ["--format", self.entry_format]
        words += ["--build", "checked", "--waves"]
        if cycle > WAVES_BEFORE:
            words += ["--waves-from", str(cycle - WAVES_BEFORE)]
        return shlex.join(words)

    def failure_line(self, text: str, cycle: int = 0) -> str:
        """Everything about a failure in one line."""
        when = f" | cycle {cycle}" if cycle else ""
        return f"{self.name} | {text}{when} | seed {self.seed} | rerun: {self.rerun(cycle)}"


def write_program_spec(path: Path, spec: ProgramSpec) -> Path:
    """Writes what run_program() reads; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(spec))
    return path


def read_program_spec(path: Path) -> ProgramSpec:
    """The spec in a file. Errors: UserError if it is none."""
    try:
        return ProgramSpec(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} says no program ({error}); write it with tb.run_program.write_program_spec.") from None


def plan_of(spec: ProgramSpec, fmt: EntryFormat) -> ReplayPlan:
    """The work. Errors: UserError for a file that is no recording, or one that cannot be replayed in the format."""
    # Hardware that asks for a permission of its own before an atomic access never gets it from the calls of 2018.
    options = PlanOptions(lanes=LANES, atomics=fmt.atomic == 0, writes=fmt.write != 0)
    return make_plan(load_program(Path(spec.program)), options, first_accesses=spec.first_accesses)


def lines_of(spec: ProgramSpec, verdict: dict[str, Any]) -> list[str]:
    """The failures of a verdict, one line each."""
    wrong = [spec.failure_line(each["text"], each["cycle"]) for each in verdict["mismatch_lines"]]
    return wrong + [spec.failure_line(text) for text in verdict["broken"]]


async def replay_program(
    dut: SimHandleBase, spec: ProgramSpec, driver: type[Driver] = Driver, machine: type[ProgramMachine] = ProgramMachine
) -> dict[str, Any]:
    """Replays and returns the verdict, which is also written down."""
    fmt = chosen_format(spec.entry_format)
    plan = plan_of(spec, fmt)
    told = 0

    def progress(done: int) -> None:
        nonlocal told
        share = done * TOLD_SHARE // plan.pieces.size
        if share > told:
            told = share
            tell(PROGRESS_MARK, {"pieces": done, "of": plan.pieces.size})

    bench = machine(dut, plan, ProgramSettings(spec.seed, fmt, spec.every), driver=driver, progress=progress)
    verdict = await bench.run()
    verdict |= {"program": spec.program, "seed": spec.seed, "format": fmt.name, "every": spec.every}
    verdict["lines"] = lines_of(spec, verdict)
    verdict["passed"] = not verdict["lines"] and verdict["mismatches"] == 0
    write_json(Path(spec.out) / RESULT, verdict)
    return verdict


@cocotb.test()
async def run_program(dut: SimHandleBase) -> None:
    """
    Stimulus: a recorded program, with a host thread that moves pages and forks.
    Checking: every byte that is loaded, every answer, the rules over the journal, data only under grants.
    Covers: PROGRAM-REPLAY
    """
    verdict = await replay_program(dut, read_program_spec(Path(os.environ["HMM_SPEC"])))
    lines = verdict["lines"]
    assert verdict["passed"], "\n".join([f"{verdict['mismatches']} answers are wrong", *lines[:SHOWN_LINES]])
