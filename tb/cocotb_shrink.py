# SPDX-License-Identifier: Apache-2.0
"""The cocotb module that shrinks a failing case of the scenario `mixed`, all runs in one process.

The JSON file that $HMM_SPEC names: {"seed": N, "parameters": {...}, "out": DIRECTORY, "most_runs": N}. DIRECTORY/case
is the shortest case that fails like the whole one, DIRECTORY/shrunk.json says what is left of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cocotb
from cocotb.handle import SimHandleBase

from tb.case import Case
from tb.environment import Environment
from tb.run_cases import write_json
from tb.scenarios.mixed import REQUESTS, STEPS, mixed
from tb.scoreboard import Verdict, check_case
from tb.shrink import Parameters, Shrinker

SHRUNK_CASE = "case"
SHRUNK_FILE = "shrunk.json"


@cocotb.test()
async def shrink_case(dut: SimHandleBase) -> None:
    """
    Stimulus: the case with fewer and fewer steps and requests.
    Checking: it goes on to fail, with the same check first.
    Covers: RANDOM-SHRINK
    """
    spec = json.loads(Path(os.environ["HMM_SPEC"]).read_text(encoding="utf-8"))
    seed, parameters, out = int(spec["seed"]), dict(spec["parameters"]), Path(spec["out"])
    environment = Environment(dut)

    async def run(chosen: Parameters) -> tuple[Case, Verdict]:
        case = mixed(seed, chosen)
        return case, check_case(case, await environment.run(case), str(out / SHRUNK_CASE))

    _, whole = await run(parameters)
    assert whole.invariants, f"the case with seed {seed} passes: there is nothing to shrink"
    wanted = whole.invariants[0]

    async def fails(chosen: Parameters) -> bool:
        _, verdict = await run(chosen)
        return verdict.invariants[:1] == [wanted]

    steps, requests = int(parameters.get("steps", STEPS)), int(parameters.get("requests", REQUESTS))
    shrinker = Shrinker(fails, most_runs=int(spec["most_runs"]))
    shortest = await shrinker.shrink(parameters, range(steps), range(requests))
    case, verdict = await run(shortest)
    case.save(out / SHRUNK_CASE)
    write_json(
        out / SHRUNK_FILE,
        {
            "invariant": wanted,
            "first": whole.lines[0],
            "line": verdict.lines[0],
            "parameters": shortest,
            "runs": shrinker.runs,
            "steps": [steps, len(shortest["keep_steps"])],
            "requests": [requests, len(shortest["keep_requests"])],
            "cycles": [whole.cycles, verdict.cycles],
        },
    )
