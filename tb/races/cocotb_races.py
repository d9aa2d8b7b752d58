# SPDX-License-Identifier: Apache-2.0
"""The cocotb module that explores cells of the race matrix, all in one process.

The JSON file that $HMM_SPEC names: {"pairs": [[action, event], ...], "seed": N, "out": DIRECTORY, "at": null or
[variant, cycle]}; without it, the whole matrix with $COCOTB_RANDOM_SEED into $HMM_OUT. DIRECTORY/cells.json holds what
each cell showed; a progress line tells about each as it ends.
"""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase

from tb.environment import Environment, Interrupted
from tb.races.actions import HOST_ACTIONS
from tb.races.events import DEVICE_EVENTS
from tb.races.explore import CellResult, Explorer
from tb.run_cases import PROGRESS_MARK, tell, write_json

SHOWN_LINES = 5


@cocotb.test()
async def explore_races(dut: SimHandleBase) -> None:
    """
    Stimulus: for each pair the host's action in every cycle of the event's window, each run from reset.
    Checking: the scoreboard on every run; every pair shows both orders and a meeting in one cycle.
    Covers: RACE-MATRIX
    """
    if "HMM_SPEC" in os.environ:
        spec = json.loads(Path(os.environ["HMM_SPEC"]).read_text(encoding="utf-8"))
    else:
        pairs = [(action, event) for action in HOST_ACTIONS for event in DEVICE_EVENTS]
        spec = {"pairs": pairs, "seed": int(os.environ["COCOTB_RANDOM_SEED"]), "out": os.environ["HMM_OUT"]}
    await explore_cells(dut, spec)


async def explore_cells(dut: SimHandleBase, spec: dict[str, Any]) -> None:
    """Explores what a list says. Errors: AssertionError with the first lines of what is wrong."""
    out = Path(spec["out"])
    explorer = Explorer(Environment(dut), int(spec["seed"]), out)
    cells: list[CellResult] = []
    for index, (action, event) in enumerate(spec["pairs"]):
        try:
            if spec.get("at") is None:
                cell = await explorer.explore(action, event)
            else:
                cell = await explorer.run_at(action, event, *spec["at"])
        except Interrupted:
            break
        except Exception as error:  # the other cells are explored all the same
            cocotb.log.error("%s,%s could not be explored:\n%s", action, event, traceback.format_exc())
            cell = CellResult(action, event, explorer.seed, problems=[f"{action},{event} broke down: {error!r}"])
        cells.append(cell)
        tell(
            PROGRESS_MARK,
            {"index": index, "of": len(spec["pairs"]), "name": f"{action},{event}", "passed": cell.passed},
        )
    write_json(out / "cells.json", [cell.as_data() for cell in cells])
    lines = [line for cell in cells for line in (*cell.problems, *cell.reruns)]
    assert not lines, "\n".join(lines[:SHOWN_LINES])
    assert len(cells) == len(spec["pairs"]), "the exploration was interrupted"
