# SPDX-License-Identifier: Apache-2.0
"""The cocotb module that runs a list of cases in one process, checks each, and leaves what it found in files.

The list comes in the JSON file that $HMM_SPEC names:

    {"cases": [{"builder": NAME, "parameters": {...}, "seed": N} or {"directory": PATH}, ...],
     "path": "batch" or "agent", "out": DIRECTORY, "keep_arrays": false}

For each case, DIRECTORY/NNNN-NAME/result.json holds the verdict, and beside it events.npy and responses.npy if
`keep_arrays` is true or the case failed; a failed case is saved there too. DIRECTORY/summary.json lists all verdicts.
Lines on standard output tell about each case: `@begin ` and its index, and when it ends `@progress ` and a JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.errors import UserError
from tb.case import Case, CaseResult
from tb.environment import CasePath, Environment, Interrupted
from tb.scenarios import SCENARIOS
from tb.scoreboard import Verdict, check_case

BEGIN_MARK = "@begin "
PROGRESS_MARK = "@progress "
TOLD = ("name", "seed", "passed", "requests", "checked", "cycles", "event_hash", "cpu_seconds", "lines")
"""What a progress line tells of a case that ended."""
SHOWN_LINES = 5
"""Failure lines of the first failing cases that the test's message repeats."""


@dataclass(frozen=True)
class CaseEntry:
    """One entry of the list: a saved case, or a scenario with its parameters and seed."""

    directory: Path | None
    builder: str
    parameters: dict[str, Any]
    seed: int

    @property
    def name(self) -> str:
        """For files and messages, before the case is there."""
        return self.builder if self.directory is None else self.directory.name

    def load(self) -> Case:
        """The case. Errors: UserError for an unknown scenario, wrong parameters or a directory without a case."""
        if self.directory is not None:
            return Case.load(self.directory)
        if self.builder not in SCENARIOS:
            raise UserError(f"There is no scenario {self.builder}; choose one of {', '.join(sorted(SCENARIOS))}.")
        return SCENARIOS[self.builder](self.seed, self.parameters)


@dataclass(frozen=True)
class Spec:
    """The whole list."""

    entries: tuple[CaseEntry, ...]
    path: CasePath
    out: Path
    keep_arrays: bool


def read_entry(data: dict[str, Any]) -> CaseEntry:
    """One entry. Errors: UserError if it is neither kind."""
    if "directory" in data:
        return CaseEntry(directory=Path(data["directory"]), builder="", parameters={}, seed=0)
    if "builder" in data:
        return CaseEntry(
            directory=None,
            builder=str(data["builder"]),
            parameters=dict(data.get("parameters", {})),
            seed=int(data.get("seed", 1)),
        )
    raise UserError(f"Give each case a builder or a directory: {json.dumps(data)} has neither.")


def read_spec(path: Path) -> Spec:
    """The list in a file. Errors: UserError if it cannot be read or says something unknown."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        entries = tuple(read_entry(entry) for entry in data["cases"])
        out = Path(data["out"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no list of cases ({error!r}); write it with sim.simulation.write_spec.") from None
    wanted = data.get("path", "batch")
    for known in get_args(CasePath):
        if wanted == known:
            return Spec(entries, known, out, bool(data.get("keep_arrays", False)))
    raise UserError(f"There is no path {wanted}; choose one of {', '.join(get_args(CasePath))}.")


def tell(mark: str, data: Any) -> None:
    """One line for whoever watches this process."""
    sys.stdout.write(mark + json.dumps(data) + "\n")
    sys.stdout.flush()


def write_json(path: Path, data: Any) -> None:
    """Readable JSON, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def keep_arrays(directory: Path, result: CaseResult) -> None:
    """The arrays of a result beside its verdict."""
    np.save(directory / "events.npy", result.events)
    np.save(directory / "responses.npy", result.responses)
    np.save(directory / "action_results.npy", result.action_results)
    np.save(directory / "request_data.npy", result.request_data)


async def run_entry(environment: Environment, entry: CaseEntry, spec: Spec, directory: Path) -> dict[str, Any]:
    """Runs and checks one case; returns what result.json holds. Errors: UserError for a case that makes no sense."""
    case = entry.load()
    result = await environment.run(case, spec.path, device_events=bool(case.parameters.get("device_events", False)))
    saved = directory / "case"
    # A scenario with parameters is more than its name and seed say: then the saved case is what runs again.
    target: Path | None = entry.directory if entry.directory is not None else (saved if entry.parameters else None)
    verdict: Verdict = check_case(case, result, None if target is None else str(target))
    if not verdict.passed:
        case.save(saved)
    if spec.keep_arrays or not verdict.passed:
        keep_arrays(directory, result)
    if result.dump:
        cocotb.log.error("%s makes no progress:\n%s", case.name, result.dump)
    data = verdict.as_data()
    data["dump"] = result.dump
    write_json(directory / "result.json", data)
    return data


def broken_entry(entry: CaseEntry, message: str) -> dict[str, Any]:
    """The result of a case that could not even be run."""
    return {"name": entry.name, "seed": entry.seed, "passed": False, "failures": 1, "lines": [message]}


@cocotb.test()
async def run_cases(dut: SimHandleBase) -> None:
    """
    Stimulus: every case of the list, from reset, one after the other.
    Checking: the scoreboard's verdict on each; all of them run, also after one failed.
    Covers: CASE-LIST
    """
    spec = read_spec(Path(os.environ["HMM_SPEC"]))
    environment = Environment(dut)
    summary: list[dict[str, Any]] = []
    interrupted = False
    for index, entry in enumerate(spec.entries):
        directory = spec.out / f"{index:04d}-{entry.name}"
        directory.mkdir(parents=True, exist_ok=True)
        tell(BEGIN_MARK, index)
        started = time.process_time()
        try:
            data = await run_entry(environment, entry, spec, directory)
        except UserError as error:
            data = broken_entry(entry, str(error))
        except Interrupted:
            interrupted = True
            break
        except Exception as error:  # the other cases are run all the same
            cocotb.log.error("%s could not be run:\n%s", entry.name, traceback.format_exc())
            data = broken_entry(entry, f"{entry.name} could not be run: {error!r}")
        data["cpu_seconds"] = round(time.process_time() - started, 3)
        summary.append(data)
        shown = {key: data.get(key) for key in TOLD}
        tell(PROGRESS_MARK, {"index": index, "of": len(spec.entries), **shown})
    write_json(spec.out / "summary.json", summary)
    failed = [data for data in summary if not data["passed"]]
    lines = [line for data in failed for line in data["lines"][:SHOWN_LINES]][:SHOWN_LINES]
    if interrupted:
        raise AssertionError(f"Interrupted after {len(summary)} of {len(spec.entries)} cases.")
    assert not failed, "\n".join([f"{len(failed)} of {len(summary)} cases failed", *lines])
    assert summary, "The list has no cases."
