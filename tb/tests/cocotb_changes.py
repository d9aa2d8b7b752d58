# SPDX-License-Identifier: Apache-2.0
"""Proves the table in docs/interface.md, "Which change needs which command", row by row, on the RTL."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.physical_memory import Owner
from tb.case import Case, CaseResult
from tb.environment import Environment
from tb.records import ActionKind, Done, EventKind
from tb.scoreboard import check_case
from tb.tests.change_cases import ChangeCase, change_case, grant_case, setting_case
from tb.tests.change_rows import OTHER_PAGE, ROWS
from tb.versions import Answer

CHANGES = {variant.name: variant for row in ROWS for variant in row.variants if variant.seeds == 1}
DRAWN = {variant.name: variant for row in ROWS for variant in row.variants if variant.seeds > 1}
NEEDY = [name for name, variant in CHANGES.items() if variant.commands]
SETTINGS = {variant.name: variant for row in ROWS for variant in row.settings}
LIMIT_MS = 1
"""Simulated time after which a case has failed: 100000 cycles."""


def expect(made: ChangeCase, result: CaseResult) -> None:
    """Errors: AssertionError unless every request has the answer that the row says."""
    assert not result.stalled, result.dump
    assert not result.assertion_failures, result.assertion_failure
    for place, expected in enumerate(made.expected):
        row = result.responses[place]
        if expected is None:
            assert not int(row["done"]) & Done.FINISHED, f"request {place} was answered"
            continue
        came = Answer(*(int(row[name]) for name in Answer._fields))
        assert int(row["done"]) & Done.FINISHED, f"request {place} was not answered"
        assert came == expected, f"request {place} was answered {came}, not {expected}"


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in CHANGES])
async def test_change_done_right(dut: SimHandleBase, name: str) -> None:
    """
    Stimulus: pages are asked for, the host makes one change with the commands that it needs, or with none where it
    needs none; the pages are asked for again, or were on their way.
    Checking: every field of every answer before and after; the scoreboard, told that nothing older is in use behind
    the fence, finds nothing.
    Covers: CHANGE-TABLE
    """
    made = change_case(CHANGES[name], done_right=True)
    result = await Environment(dut).run(made.case)
    expect(made, result)
    verdict = check_case(made.case, result)
    assert verdict.passed, verdict.lines[0]


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in NEEDY])
async def test_change_command_left_out(dut: SimHandleBase, name: str) -> None:
    """
    Stimulus: as test_change_done_right, without any command.
    Checking: the old translation, in every field, or the access to memory that was freed; the scoreboard, told that
    the host counts on the change, finds it and calls it by its name.
    Covers: CHANGE-TABLE, INV-I1, INV-I11
    """
    variant = CHANGES[name]
    made = change_case(variant, done_right=False)
    result = await Environment(dut).run(made.case)
    expect(made, result)
    verdict = check_case(made.case, result)
    if variant.frees:
        assert result.owner_violations == 1, "freed memory was not read"
        return
    assert not result.owner_violations, result.owner_violation
    assert any(f"| {variant.rule}: " in line for line in verdict.lines), f"{verdict.lines}"


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in DRAWN], done_right=[False, True])
async def test_change_under_a_walk(dut: SimHandleBase, name: str, done_right: bool) -> None:
    """
    Stimulus: a page is asked for; a word that its walk has read already changes, with and without its command; the
    latency of each read is drawn anew with every seed.
    Checking: without the command always the old answer, and where it comes after the change the scoreboard finds it;
    with it the old answer comes before the command takes effect, and the new one after it. Both happen.
    Covers: CHANGE-TABLE, INV-I1, WALK-DROP
    """
    variant = DRAWN[name]
    (look,) = variant.looks
    seen = {False: 0, True: 0}
    for seed in range(variant.seeds):
        made = change_case(variant, done_right=done_right, seed=seed)
        result = await Environment(dut).run(made.case)
        verdict = check_case(made.case, result)
        finish, store = int(result.responses["finish_cycle"][0]), _cycle_of_store(made.case, result)
        commands = result.events["cycle"][result.events["kind"] == EventKind.COMMAND]
        late = finish > int(commands[0]) if done_right else finish > store
        made.expected = [look.after if done_right and late else look.without]
        expect(made, result)
        found = any(f"| {variant.rule}: " in line for line in verdict.lines)
        assert found is (late and not done_right), f"seed {seed}: {verdict.lines}"
        seen[late] += 1
    assert min(seen.values()) > 2, f"answers before and after the change: {seen}; draw more seeds"


def _cycle_of_store(case: Case, result: CaseResult) -> int:
    """When the first change of a table was done."""
    tables = [region for region in case.image if region.owner == Owner.CONTEXT]
    first, last = tables[0].address, tables[0].address + 8 * tables[0].words.size
    inside = (case.actions["address"] >= first) & (case.actions["address"] < last)
    inside &= case.actions["kind"] == ActionKind.WRITE_MEMORY
    return int(result.action_results["done_cycle"][inside][0])


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
@cocotb.parametrize(fence=[False, True])
async def test_change_fence_left_out(dut: SimHandleBase, fence: bool) -> None:
    """
    Stimulus: a page changes under a grant that is held for long; INVALIDATE, with and without FENCE.
    Checking: without it the host goes on while the old page is in use, with it only after the release.
    Covers: CHANGE-TABLE, FENCE
    """
    made = grant_case(OTHER_PAGE[0], fence=fence)
    result = await Environment(dut).run(made.case)
    expect(made, result)
    goes_on = int(result.action_results["done_cycle"][-1])
    released = int(result.responses["release_cycle"][0])
    assert int((result.events["kind"] == EventKind.INVALIDATION).sum()) == 1
    assert (released < goes_on) is fence, f"released in {released}, the host goes on in {goes_on}"


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in SETTINGS], done_right=[False, True])
async def test_change_of_registers(dut: SimHandleBase, name: str, done_right: bool) -> None:
    """
    Stimulus: a page asked for; registers written with translation on, or after it was switched off; the page again.
    Checking: with it on the registers keep their values and the page its answer; else both are the new ones.
    Covers: CHANGE-TABLE, REG-LOCK
    """
    made = setting_case(SETTINGS[name], done_right=done_right)
    result = await Environment(dut).run(made.case)
    expect(made, result)
    read = result.action_results["data"][made.case.expectations["action"]]
    wrong = np.flatnonzero(read != made.case.expectations["value"])
    assert not wrong.size, f"register read {wrong[0]} is {int(read[wrong[0]]):#x}"
