# SPDX-License-Identifier: Apache-2.0
"""The cocotb module for a thin slice of the race matrix: cells whose meetings have broken real devices."""

from __future__ import annotations

import os

import cocotb
from cocotb.handle import SimHandleBase

from tb.races.cocotb_races import explore_cells

SLICE = (
    ("invalidate_page", "fill"),
    ("invalidate_page", "shared_hit"),
    ("invalidate_context", "context_read"),
    ("fence", "grant"),
    ("fence", "release"),
    ("resume_replay", "merge"),
    ("cancel_range", "put"),
    ("unbind", "level2_read"),
    ("bind", "bus_error"),
    ("quiesce", "lookup_miss"),
    ("format_change", "replay"),
    ("fault_get", "record_write"),
    ("soft_reset", "slot_read"),
    ("soft_reset", "record_write"),
)


@cocotb.test()
async def explore_slice(dut: SimHandleBase) -> None:
    """
    Stimulus: for each of a few pairs the host's action in every cycle of the event's window, each run from reset.
    Checking: the scoreboard on every run; every pair shows both orders and a meeting in one cycle.
    Covers: RACE-MATRIX
    """
    await explore_cells(
        dut, {"pairs": SLICE, "seed": int(os.environ["COCOTB_RANDOM_SEED"]), "out": os.environ["HMM_OUT"]}
    )
