# SPDX-License-Identifier: Apache-2.0
"""Tests of the race explorer, of random plans and of saved regressions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.build import build
from sim.simulation import simulate, write_spec
from tb.case import CaseResult
from tb.races.actions import HOST_ACTIONS
from tb.races.cocotb_slice import SLICE
from tb.races.events import DEVICE_EVENTS
from tb.races.explore import CellResult
from tb.races.publication import check_publication
from tb.records import ACTION_RESULT_DTYPE, EVENT_DTYPE, RESPONSE_DTYPE, DeviceEventKind, EventKind

RING = range(0x1000, 0x1200)
REGRESSIONS = Path(__file__).parents[1] / "data" / "regressions"


@pytest.mark.simulation
def test_races_slice(tmp_path: Path, seed: int) -> None:
    """
    Stimulus: the thin slice of the matrix, in the build with assertions.
    Checking: every cell is good.
    Covers: RACE-MATRIX
    """
    outcome = simulate(build("checked"), "tb.races.cocotb_slice", out=tmp_path, seed=seed)
    assert outcome.passed, outcome.failure


@pytest.mark.simulation
@pytest.mark.slow
def test_races_matrix(tmp_path: Path, seed: int) -> None:
    """
    Stimulus: every action of the host against every event of the device.
    Checking: every cell is good.
    Covers: RACE-MATRIX
    """
    outcome = simulate(build("fast"), "tb.races.cocotb_races", out=tmp_path, seed=seed)
    assert outcome.passed, outcome.failure


def test_races_slice_is_in_the_matrix() -> None:
    """
    Stimulus: the pairs of the slice.
    Checking: each names an action and an event; no action with a command lacks its opcode, no other its register.
    Covers: RACE-MATRIX
    """
    assert all(action in HOST_ACTIONS and event in DEVICE_EVENTS for action, event in SLICE)
    assert all((action.opcode is None) != (action.register is None) for action in HOST_ACTIONS.values())


@pytest.mark.parametrize("lacking", ["before", "behind", "mark", "stale", "nothing"])
def test_races_cell_needs_all_orders(lacking: str) -> None:
    """
    Stimulus: what a cell of two marks showed, with each order and meeting left out once.
    Checking: only the whole is complete.
    Covers: RACE-MATRIX
    """
    cell = CellResult("fence", "slot_read", 1)
    found = {"before": [-3, -9], "behind": [9, 3], "mark": [0, -4], "second": [5, 0]}
    for name, distances in found.items():
        if name != lacking:
            cell.take(distances)
    cell.take(None)
    cell.stale = 0 if lacking == "stale" else None
    assert cell.complete == (lacking == "nothing")


def published(*rows: tuple[int, DeviceEventKind, int]) -> CaseResult:
    """A result with these rows: cycle, kind, and the address of a write, the response of an answer or the counter."""
    events = np.zeros(len(rows), dtype=EVENT_DTYPE)
    for row, (cycle, kind, value) in zip(events, rows, strict=True):
        row["cycle"], row["kind"], row["id"] = cycle, kind, 1
        row["pa" if kind == DeviceEventKind.BUS_WRITE else "extra"] = value
        if kind == DeviceEventKind.BUS_WRITE_DONE:
            row["extra"], row["reason"] = 0, value
    return CaseResult(
        responses=np.zeros(0, dtype=RESPONSE_DTYPE),
        action_results=np.zeros(0, dtype=ACTION_RESULT_DTYPE),
        events=np.zeros(0, dtype=EVENT_DTYPE),
        event_hash="",
        cycles=100,
        device_events=events,
    )


def test_publication_order() -> None:
    """
    Stimulus: a record that is published rightly; FAULT_PUT in the cycle of the answer, before it, after an answer that
    failed, never; an interrupt before FAULT_PUT; a write elsewhere; two records on their way, counted one by one, or
    both too soon.
    Checking: what is published rightly and what is written elsewhere have no failure, all else has.
    Covers: RACE-PUBLICATION
    """
    write, done, put = DeviceEventKind.BUS_WRITE, DeviceEventKind.BUS_WRITE_DONE, DeviceEventKind.FAULT_PUT
    right = published((5, write, 0x1000), (9, done, 0), (10, put, 1))
    assert not check_publication(right, RING)
    assert not check_publication(published((5, write, 0x2000), (9, done, 0)), RING)
    wrong = [
        published((5, write, 0x1000), (9, done, 0), (9, put, 1)),
        published((5, write, 0x1000), (8, put, 1), (9, done, 0)),
        published((5, write, 0x1000), (9, done, 2), (10, put, 1)),
        published((5, write, 0x1000), (9, done, 0)),
    ]
    assert all(check_publication(result, RING) for result in wrong)
    # Two records on their way under one id are answered one after the other.
    two = ((5, write, 0x1000), (6, write, 0x1020), (9, done, 0))
    assert not check_publication(published(*two, (10, put, 1), (11, done, 0), (12, put, 2)), RING)
    assert check_publication(published(*two, (10, put, 2), (11, done, 0)), RING)
    early = np.zeros(1, dtype=EVENT_DTYPE)
    early["cycle"], early["kind"] = 9, EventKind.INTERRUPT
    right.events = early
    assert check_publication(right, RING)


@pytest.mark.simulation
@pytest.mark.parametrize("configuration", ["default", "tiny"])
def test_mixed_passes(configuration: str, tmp_path: Path, seed: int) -> None:
    """
    Stimulus: three plans, one of each memory, in the build with assertions.
    Checking: the scoreboard.
    Covers: RANDOM-MIXED
    """
    parameters = {"configuration": configuration}
    cases = [{"builder": "mixed", "seed": 3 * seed + more, "parameters": parameters} for more in range(3)]
    spec = write_spec(tmp_path / "spec.json", cases, "batch", tmp_path)
    outcome = simulate(build("checked", configuration), "tb.run_cases", out=tmp_path, spec=spec, seed=seed)
    assert outcome.passed, outcome.failure


@pytest.mark.simulation
def test_regressions_pass(tmp_path: Path, seed: int) -> None:
    """
    Stimulus: every case that once failed and was kept, in tb/data/regressions.
    Checking: the scoreboard.
    Covers: REGRESSIONS
    """
    kept = sorted(path.parent for path in REGRESSIONS.glob("*/case.json"))
    assert kept, f"{REGRESSIONS} has no cases"
    spec = write_spec(tmp_path / "spec.json", [{"directory": str(path)} for path in kept], "batch", tmp_path)
    outcome = simulate(build("checked"), "tb.run_cases", out=tmp_path, spec=spec, seed=seed)
    assert outcome.passed, outcome.failure
