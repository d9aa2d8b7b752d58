# SPDX-License-Identifier: Apache-2.0
"""Tests of shrinking, of plans that are left out in part, and of the format in force. No simulator."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from models.errors import UserError
from models.formats import load_formats
from models.registers import CONTROL_ENABLE, CONTROL_SOFT_RESET, Register
from tb.case import Case, CaseResult
from tb.host_script import format_registers
from tb.records import ACTION_RESULT_DTYPE, EVENT_DTYPE, RESPONSE_DTYPE, ActionKind
from tb.scenarios.mixed import draw_plan, mixed
from tb.shrink import Parameters, Shrinker
from tb.switching import follow_switching, format_of_registers
from tb.tests.small_case import small_builder, with_actions


def shrunk(steps: set[int], requests: set[int], *, most_runs: int = 400) -> tuple[Parameters, int]:
    """What is left of 24 steps and 90 requests if just these are needed, and no pauses are; and the runs it took."""

    async def fails(chosen: Parameters) -> bool:
        return steps <= set(chosen["keep_steps"]) and requests <= set(chosen["keep_requests"])

    shrinker = Shrinker(fails, most_runs=most_runs)
    return asyncio.run(shrinker.shrink({}, range(24), range(90))), shrinker.runs


@pytest.mark.parametrize(("steps", "requests"), [({7}, {3}), ({0, 23}, {1, 44, 89}), (set(), {0}), (set(), set())])
def test_shrink_finds_what_is_needed(steps: set[int], requests: set[int]) -> None:
    """
    Stimulus: failures that need some steps and some requests together.
    Checking: exactly those are left, and everything is plain; fewer than 250 runs.
    Covers: RANDOM-SHRINK
    """
    best, runs = shrunk(steps, requests)
    assert (set(best["keep_steps"]), set(best["keep_requests"])) == (steps, requests)
    assert best["plain_memory"] and best["no_pauses"] and best["no_holds"]
    assert runs < 250


def test_shrink_stops() -> None:
    """
    Stimulus: as before, with ten runs only.
    Checking: what is left still fails.
    Covers: RANDOM-SHRINK
    """
    best, runs = shrunk({5}, {70}, most_runs=10)
    assert runs == 10 and 5 in best["keep_steps"] and 70 in best["keep_requests"]


def soft_resets_of(case: Case) -> int:
    """How many soft resets the host of a case writes."""
    writes = case.actions[case.actions["kind"] == ActionKind.WRITE_REGISTER]
    controls = writes["data"][writes["address"] == Register.CONTROL]
    return int((controls & np.uint64(CONTROL_SOFT_RESET.mask) != 0).sum())


def test_mixed_soft_resets_are_rare() -> None:
    """
    Stimulus: the plans of 40 seeds; one that has a soft reset without that step.
    Checking: some plans have soft resets and most have none, or one; what is left without the step has none.
    Covers: RANDOM-MIXED
    """
    plans = {seed: draw_plan(seed, 24, 8, 4, 9) for seed in range(1, 41)}
    counts = [sum(kind == "soft_reset" for _, kind in plan.steps) for plan in plans.values()]
    assert 8 <= sum(count > 0 for count in counts) <= 24
    assert sum(count > 1 for count in counts) <= 5
    seed = next(seed for seed, count in zip(plans, counts, strict=True) if count == 1)
    others = [number for number, kind in plans[seed].steps if kind != "soft_reset"]
    assert soft_resets_of(mixed(seed, {})) == 1
    assert soft_resets_of(mixed(seed, {"keep_steps": others})) == 0


def test_mixed_is_one_case_for_a_seed() -> None:
    """
    Stimulus: a plan twice, another seed, the plan with parts left out, the plan with nothing at all.
    Checking: the same actions and requests for the same plan; fewer with parts left out, and those that are kept ask
    for the same places; a list that is none is refused.
    Covers: RANDOM-MIXED
    """
    case, again, other = mixed(5, {}), mixed(5, {}), mixed(6, {})
    assert (case.actions == again.actions).all() and (case.requests == again.requests).all()
    assert case.requests.size == other.requests.size and (case.requests != other.requests).any()
    part = mixed(5, {"keep_steps": [3, 9], "keep_requests": [1, 2, 50], "no_pauses": True})
    assert part.actions.size < case.actions.size
    assert part.requests["va"].tolist() == case.requests["va"][[1, 2, 50]].tolist()
    assert not part.requests["pause"].any()
    assert mixed(5, {"keep_steps": [], "keep_requests": []}).requests.size == 0
    with pytest.raises(UserError, match="keep_steps"):
        mixed(5, {"keep_steps": "all"})


def test_format_of_registers_is_the_format() -> None:
    """
    Stimulus: every known format through its registers.
    Checking: it comes back, but for name and description.
    Covers: FORMAT-SWITCH
    """
    for fmt in load_formats().values():
        came = format_of_registers(format_registers(fmt))
        assert came == replace(fmt, name=came.name, description=came.description)


def result_of(case: Case) -> CaseResult:
    """All actions done, action n from cycle 10 n to 10 n + 5."""
    results = np.zeros(case.actions.size, dtype=ACTION_RESULT_DTYPE)
    results["start_cycle"] = 10 * np.arange(case.actions.size)
    results["done_cycle"] = results["start_cycle"] + 5
    results["done"] = 1
    empty = np.zeros(0, dtype=EVENT_DTYPE)
    return CaseResult(np.zeros(0, dtype=RESPONSE_DTYPE), results, empty, "", 10_000)


def test_switching_follows_the_host() -> None:
    """
    Stimulus: a host that writes a format register while translation is on, switches off, writes another, switches on,
    and at last goes back to the first format.
    Checking: a locked write counts for nothing; each format from the enable on; the cycles of the one disable each.
    Covers: FORMAT-SWITCH
    """
    case = small_builder("switching").build()
    first = case.actions.size

    def write(register: Register, value: int) -> tuple[ActionKind, dict[str, int]]:
        return ActionKind.WRITE_REGISTER, {"address": register, "data": value}

    on, off = write(Register.CONTROL, CONTROL_ENABLE.mask), write(Register.CONTROL, 0)
    was = case.entry_format.write
    changed, back = write(Register.FORMAT_WRITE, 1 << 60), write(Register.FORMAT_WRITE, was)
    case = with_actions(case, changed, off, changed, on, off, back, on)
    found = follow_switching(case, result_of(case))
    assert [fmt.write for fmt in found.formats] == [was, 1 << 60, was]
    assert found.formats[2] is case.entry_format
    assert found.starts == [0, 10 * (first + 3), 10 * (first + 6)]
    assert found.off == [10 * (first + 1) + 5, 10 * (first + 4) + 5]
    assert [found.epoch(cycle) for cycle in (0, 10 * first + 29, 10 * first + 30)] == [0, 0, 1]
    assert found.off_within(0, found.off[0]) and not found.off_within(found.off[0] + 1, found.off[1] - 1)
