# SPDX-License-Identifier: Apache-2.0
"""The scoreboard against a fake device: right ones pass, and every single wrong answer is found and named."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from models.structures import Access, Reason
from tb.case import Case, CaseResult
from tb.host_script import When
from tb.records import EventKind
from tb.scenarios import SCENARIOS
from tb.scoreboard import check_case
from tb.tests.fake_device import Behaviour, run_fake
from tb.tests.scoreboard_cases import BASE_VA, NONE, OTHER, OTHER_PFN, PASID, Small, words


def broken(case: Case, result: CaseResult) -> list[str]:
    """The names of the broken invariants, one for each failure line."""
    verdict = check_case(case, result)
    assert verdict.passed == (not verdict.lines)
    names = []
    for line in verdict.lines:
        assert "\n" not in line
        assert f"| seed {case.seed} | rerun: python -m sim run {case.name} --seed {case.seed}" in line
        found = re.search(r"\| ([A-Z0-9]+): ", line)
        assert found is not None, line
        names.append(found.group(1))
    return names


def answers_case() -> Case:
    """One READ and one WRITE of a writable, a read-only and a NONE page, and one of the other context."""
    small = Small.new(order=2)
    memory, tables = small.builder.memory, small.builder.tables
    tables.link_range(PASID, BASE_VA + (1 << 21), words(0x2000, 1, write=False), small.builder.format)
    memory.write_words(small.slot(9), [NONE])
    for page in (0, 512, 9):
        for access in (Access.READ, Access.WRITE):
            small.ask(page, access)
    small.ask(3, pasid=OTHER)
    return small.builder.build()


READ_WRITABLE, WRITE_WRITABLE, READ_ONLY, WRITE_READ_ONLY, READ_NONE = range(5)


def set_answer(row: int, **fields: int) -> Callable[[CaseResult], None]:
    """Changes an answer, and the event log with it, so that only the answer is wrong."""

    def change(result: CaseResult) -> None:
        response = result.responses[row]
        for name, value in fields.items():
            response[name] = value
        event = result.events[
            (result.events["cycle"] == response["finish_cycle"]) & (result.events["id"] == response["id"])
        ]
        assert event.size == 1
        place = int(np.flatnonzero(result.events == event[0])[0])
        aborted = bool(response["status"])
        result.events["kind"][place] = EventKind.FAULT if aborted else EventKind.TRANSLATION
        result.events["pa"][place] = response["pa"]
        result.events["reason"][place] = response["reason"]
        result.events["extra"][place] = (
            int(response["order"]) | int(response["permissions"]) << 8 | int(response["memory"]) << 10
        )

    return change


def test_scoreboard_right_answers_pass() -> None:
    """
    Stimulus: A case without changes on a right device.
    Checking: Nothing is wrong; everything was checked; answers are counted by reason.
    Covers: SCORE-PASS
    """
    case = answers_case()
    verdict = check_case(case, run_fake(case))
    assert verdict.lines == []
    assert verdict.passed
    assert (verdict.requests, verdict.checked, verdict.mismatches) == (7, 7, 0)
    assert verdict.reasons == {"OK": 4, "NOT_PRESENT": 2, "WRITE_PROTECT": 1}


@pytest.mark.parametrize(
    ("row", "fields", "invariant"),
    [
        (READ_WRITABLE, {"pa": 0x1001123}, "I10"),
        (READ_WRITABLE, {"pa": 0x1000124}, "I10"),
        (READ_WRITABLE, {"memory": 1}, "I10"),
        (READ_WRITABLE, {"pa": (OTHER_PFN << 12) + 0x123}, "I20"),
        (READ_WRITABLE, {"order": 3}, "I11"),
        (READ_WRITABLE, {"order": 1}, "I11"),
        (READ_WRITABLE, {"permissions": 0}, "ANSWER"),
        (READ_ONLY, {"permissions": 1}, "I5"),
        (READ_ONLY, {"permissions": 2}, "I5"),
        (WRITE_READ_ONLY, {"status": 0, "reason": 0, "pa": 0x2000123, "permissions": 3}, "I5"),
        (WRITE_READ_ONLY, {"reason": Reason.ATOMIC_DENIED}, "REASON"),
        (READ_NONE, {"status": 0, "reason": 0, "pa": 0x123}, "I6"),
        (READ_NONE, {"reason": Reason.POISON}, "REASON"),
        (READ_NONE, {"pa": 1}, "REASON"),
        (READ_WRITABLE, {"status": 1, "reason": Reason.NOT_PRESENT, "pa": 0, "order": 0, "permissions": 0}, "REASON"),
        (READ_WRITABLE, {"reason": Reason.POISON}, "ANSWER"),
    ],
)
def test_scoreboard_wrong_answer_is_named(row: int, fields: dict[str, int], invariant: str) -> None:
    """
    Stimulus: One field or one answer of a right result made wrong.
    Checking: Exactly one failure, of the right invariant. (An ABORTED that was a grant also changes the log.)
    Covers: SCORE-WRONG
    """
    case = answers_case()
    result = run_fake(case, Behaviour(caches=False))
    result.counters = {}
    status = int(result.responses["status"][row])
    set_answer(row, **fields)(result)
    names = broken(case, result)
    if int(result.responses["status"][row]) == status:
        assert names == [invariant]
    else:
        assert invariant in names


def change_case(*, command: bool, clean: bool = False, again: int = 4, sent: int = PASID) -> Case:
    """A page is read into the cache, then its slot becomes NONE, then it is read again and again."""
    small = Small.new()
    script = small.builder.script
    small.ask(1)
    small.ask(1)
    after = len(script)
    small.builder.script.nop()
    script.write_memory(small.slot(1), NONE, when_answered(2))
    if command:
        script.invalidate(sent, BASE_VA + 0x1000, BASE_VA + 0x1FFF)
        small.fence(1)
    if clean:
        small.builder.expect_clean(PASID, BASE_VA + 0x1000, BASE_VA + 0x1FFF)
    for _ in range(again):
        small.ask(1, after=after, pause=8)
    return small.builder.build()


def when_answered(count: int) -> When:
    """After so many responses."""
    return When(after_request=count)


def test_scoreboard_stale_is_allowed_until_the_fence() -> None:
    """
    Stimulus: A cached page whose slot became NONE: without a command; with one, on a device that drops it.
    Checking: No failure: until the fence either answer is allowed.
    Covers: SCORE-STALE
    """
    unfenced = change_case(command=False)
    result = run_fake(unfenced)
    assert (result.responses["status"] == 0).all()
    assert broken(unfenced, result) == []
    fenced = change_case(command=True)
    result = run_fake(fenced)
    assert set(result.responses["status"].tolist()) == {0, 1}
    assert broken(fenced, result) == []


def test_scoreboard_stale_after_the_fence_is_found() -> None:
    """
    Stimulus: The same with a device that drops nothing; and with a command for another context.
    Checking: I1 for every stale answer behind the fence; none where the command was for somebody else.
    Covers: SCORE-STALE
    """
    case = change_case(command=True)
    result = run_fake(case, Behaviour(drops_cached=False))
    fence = int(result.events["cycle"][result.events["kind"] == EventKind.FENCE][0])
    stale = (result.responses["status"] == 0) & (result.responses["finish_cycle"] >= fence)
    assert stale.sum() >= 1
    assert broken(case, result) == ["I1"] * int(stale.sum())
    elsewhere = change_case(command=True, sent=OTHER)
    assert broken(elsewhere, run_fake(elsewhere)) == []


def test_scoreboard_host_without_command_is_found() -> None:
    """
    Stimulus: The host counts on the page being gone, but sent no command.
    Checking: I1.
    Covers: SCORE-CLEAN
    """
    case = change_case(command=False, clean=True)
    names = broken(case, run_fake(case))
    assert names
    assert set(names) == {"I1"}


def test_scoreboard_none_to_valid_needs_no_command() -> None:
    """
    Stimulus: A NONE slot becomes VALID; a right device, and one that remembers that the page was absent.
    Checking: The right one passes; an ABORTED answer to a request that came after the store is found.
    Covers: SCORE-UPGRADE
    """
    small = Small.new()
    small.builder.memory.write_words(small.slot(1), [NONE])
    small.ask(1)
    small.builder.script.write_memory(small.slot(1), int(words(0x5000, 1)[0]), when_answered(1))
    small.ask(1, after=len(small.builder.script))
    case = small.builder.build()
    assert broken(case, run_fake(case)) == []
    assert broken(case, run_fake(case, Behaviour(caches_absent=True))) == ["REASON"]


def test_scoreboard_more_permission_needs_no_command() -> None:
    """
    Stimulus: A cached read-only page becomes writable; READ, then WRITE, then READ.
    Checking: The READ may still show the old permissions, the WRITE may not be refused.
    Covers: SCORE-UPGRADE
    """
    small = Small.new(write=False)
    small.ask(1)
    small.builder.script.write_memory(small.slot(1), int(words(0x1001, 1)[0]), when_answered(1))
    after = len(small.builder.script)
    for access in (Access.READ, Access.WRITE, Access.READ):
        small.ask(1, access, after=after)
    case = small.builder.build()
    result = run_fake(case)
    assert result.responses["permissions"].tolist() == [0, 0, 3, 3]
    assert broken(case, result) == []
    set_answer(2, status=1, reason=Reason.WRITE_PROTECT, pa=0, permissions=0)(result)
    assert "REASON" in broken(case, result)


def race_case(distance: int) -> Case:
    """A walk and a store with INVALIDATE and FENCE meet, `distance` cycles apart."""
    small = Small.new()
    script = small.builder.script
    small.ask(1, after=len(script))
    script.nop()
    for _ in range(distance):
        script.nop()
    script.write_memory(small.slot(1), NONE)
    script.invalidate(PASID)
    small.fence(1)
    return small.builder.build()


def test_scoreboard_walk_that_is_not_dropped_is_found() -> None:
    """
    Stimulus: A slow walk that read the old slot; store, INVALIDATE and FENCE are over before it ends.
    Checking: A device that drops it passes at every distance; one that answers with the old page breaks I1.
    Covers: SCORE-WALK
    """
    found = []
    for distance in range(12):
        case = race_case(distance)
        assert broken(case, run_fake(case, Behaviour(walk_cycles=40))) == []
        found += broken(case, run_fake(case, Behaviour(walk_cycles=40, drops_walks=False)))
    assert "I1" in found
    assert set(found) <= {"I1", "I14"}


def test_scoreboard_grant_beyond_the_fence_is_found() -> None:
    """
    Stimulus: A long grant, and a fence that was taken while it was open.
    Checking: A device whose fence waits passes; one whose fence does not breaks I14.
    Covers: SCORE-GRANT
    """
    small = Small.new()
    small.ask(1, hold=200)
    small.builder.script.invalidate(PASID, 0, 0xFFF, when_answered(1))
    small.fence(1)
    case = small.builder.build()
    assert broken(case, run_fake(case)) == []
    assert broken(case, run_fake(case, Behaviour(fences_wait=False))) == ["I14"]


def test_scoreboard_smaller_order_only_beside_an_invalidation() -> None:
    """
    Stimulus: A walk of a block of four pages, an invalidation of another page of the context at every distance.
    Checking: A smaller order is right if the invalidation passed by, and for hits on that translation; else it is I11.
    Covers: SCORE-CLIP
    """
    outcomes = set()
    for distance in range(16):
        small = Small.new(order=2)
        script = small.builder.script
        small.ask(1, after=len(script) + 1)
        small.ask(1)
        small.ask(1)
        for _ in range(distance):
            script.nop()
        script.invalidate(PASID, 0, 0xFFF)
        case = small.builder.build()
        result = run_fake(case, Behaviour(clips_orders=True, walk_cycles=10))
        assert broken(case, result) == []
        outcomes.add(tuple(result.responses["order"].tolist()))
    assert {(2, 2, 2), (0, 0, 0)} <= outcomes
    case = answers_case()
    result = run_fake(case)
    set_answer(READ_WRITABLE, order=0)(result)
    assert broken(case, result) == ["I11"]


def test_scoreboard_clipped_order_ends_with_the_next_invalidation() -> None:
    """
    Stimulus: As above, then an INVALIDATE of the page itself, then a walk with the whole order; the answer made small.
    Checking: I11: the small translation was dropped.
    Covers: SCORE-CLIP
    """
    small = Small.new(order=2)
    script = small.builder.script
    small.ask(1)
    script.invalidate(PASID, 0, 0xFFF)
    script.invalidate(PASID, BASE_VA + 0x1000, BASE_VA + 0x1000, when_answered(1))
    small.ask(1, after=small.fence(1))
    case = small.builder.build()
    result = run_fake(case)
    assert result.responses["order"].tolist() == [2, 2]
    assert broken(case, result) == []
    set_answer(1, order=0)(result)
    assert broken(case, result) == ["I11"]


@pytest.mark.parametrize("name", ["smoke", "reasons", "levels", "random_tables", "pressure"])
def test_scoreboard_scenarios_on_the_fake_device(name: str, seed: int) -> None:
    """
    Stimulus: Scenarios without commands on the fake device.
    Checking: All pass.
    Covers: SCORE-PASS
    """
    case = SCENARIOS[name](seed, {"requests": 200} if name in ("random_tables", "pressure") else {})
    if name == "levels":
        case.requests = case.requests[::7].copy()
    assert broken(case, run_fake(case, Behaviour(caches=False))) == []


def test_scoreboard_counts_all_wrong_answers_of_a_broken_device(seed: int) -> None:
    """
    Stimulus: Every answer of a case without changes is wrong.
    Checking: All are counted, twenty are told in words.
    Covers: SCORE-MANY
    """
    case = SCENARIOS["smoke"](seed, {})
    result = run_fake(case, Behaviour(caches=False))
    wrong = result.responses["status"] == 0
    result.responses["pa"][wrong] ^= np.uint64(1 << 20)
    result.responses["reason"][~wrong] = Reason.OUT_OF_RANGE
    verdict = check_case(case, result)
    assert verdict.mismatches == case.requests.size == 96
    assert verdict.failures > verdict.mismatches
    assert len(verdict.lines) == 20
