# SPDX-License-Identifier: Apache-2.0
"""Checks of page tables, HMM's calls, fences and notifiers on journals by hand: the shortest one that breaks each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.host_events import (
    Accessed,
    CommitBegun,
    CommitEnded,
    ContextBound,
    ContextUnbound,
    CpuMapping,
    FenceCompleted,
    FenceTaken,
    GrantEnded,
    GrantGiven,
    HostEventRecord,
    InvalidateTaken,
    InvalidationAnswered,
    InvalidationEnded,
    InvalidationStarted,
    Meaning,
    SlotChanged,
    TablesCompared,
    WritableTaken,
)
from models.invariants import RunFacts, check_by_name
from models.memory_events import (
    CallReturned,
    ErrorAsked,
    IntervalsEnded,
    IntervalsTold,
    Looked,
    NotifierInserted,
    NotifierTold,
    ReadAsked,
    ReadBegun,
    SpaceReleased,
)
from models.structures import Access

VA, NEXT, PASID, SPACE, PFN = 0x2000, 0x3000, 1, 10, 6
Journal = list[HostEventRecord]
BOUND = ContextBound(PASID, SPACE)
NOTHING, WRITES = Meaning(False), Meaning(True, PFN, True)
CPU = CpuMapping(True, PFN, True)
FILLED, CLEARED = SlotChanged(PASID, VA, NOTHING, WRITES, CPU), SlotChanged(PASID, VA, WRITES, NOTHING, CPU)
FIRST_OF_BLOCK = SlotChanged(PASID, VA, NOTHING, Meaning(True, PFN, True, 1), CPU)
SECOND_OF_BLOCK = SlotChanged(PASID, NEXT, NOTHING, Meaning(True, PFN + 1, True, 1), CPU)
COMMITTED = (CommitBegun(PASID, VA, NEXT), CommitEnded(PASID, VA, NEXT))
STARTED, ANSWERED, ENDED = InvalidationStarted(1, SPACE, VA, NEXT), InvalidationAnswered(1), InvalidationEnded(1)
BESIDE = InvalidationStarted(1, SPACE, NEXT, NEXT + 0x1000)
NO, YES = np.zeros(2, dtype=np.bool_), np.ones(2, dtype=np.bool_)
PAGES = np.array([PFN, PFN + 1], dtype=np.uint64)
ORDERS = np.zeros(2, dtype=np.uint8)
ONE = np.array([0, 1], dtype=np.bool_)
CALL = CallReturned(SPACE, VA, YES, YES, YES, YES, NO, NO, PAGES, ORDERS, YES, PAGES, ORDERS)
LOOKED = Looked(SPACE, VA, NEXT, 0, 0, 0)
INSERTED = NotifierInserted(SPACE, 1, 1, 2)
TOLD, OVER = IntervalsTold(SPACE, 1, 3), IntervalsEnded(SPACE, 4)
GIVEN, GIVEN_BACK = GrantGiven(4, PASID, VA + 8, 0), GrantEnded(4)
FORGET, FENCE, COMPLETE = InvalidateTaken(PASID, VA, NEXT - 1), FenceTaken(1), FenceCompleted(1)

CLEAN: list[Journal] = [
    [TablesCompared(PASID, VA, NEXT, 1, ())],
    [BOUND, FIRST_OF_BLOCK, SECOND_OF_BLOCK, *COMMITTED],
    [WritableTaken(PASID, VA, PFN, True)],
    [CALL, replace(CALL, device=YES, writable=NO), replace(CALL, order=ORDERS + 1, cpu_order=ORDERS + 9)],
    [replace(CALL, fault=NO, write=NO, valid=NO, error=YES), LOOKED, ErrorAsked(SPACE, VA, "EFAULT")],
    [GIVEN, FENCE, GIVEN_BACK, COMPLETE, FORGET, FenceTaken(2), GrantGiven(5, PASID, VA, 0), FenceCompleted(2)],
    [FORGET, FENCE, COMPLETE, GrantGiven(4, PASID, VA, 1), GrantGiven(5, 2, VA, 0), GrantGiven(6, PASID, NEXT, 0)],
    [BOUND, FILLED, STARTED, CLEARED, ANSWERED, ENDED],
    [INSERTED, TOLD, NotifierTold(SPACE, 1, 3, 3), IntervalsTold(SPACE, 0, 3), IntervalsEnded(SPACE, 3), OVER],
    [IntervalsTold(SPACE, 0, 2), NotifierInserted(SPACE, 1, 3, 3), OVER],
    [INSERTED, ReadAsked(SPACE, 1, 1, 2), ReadBegun(SPACE, 1, 1)],
    [INSERTED, TOLD, ReadAsked(SPACE, 1, 3, 3), OVER, ReadBegun(SPACE, 1, 3)],
    [BOUND, FILLED, ContextUnbound(PASID), SpaceReleased(SPACE)],
    [BOUND, SpaceReleased(SPACE), ContextUnbound(PASID), ContextBound(PASID, 11), FILLED],
]

BROKEN: list[tuple[Journal, str]] = [
    (
        [TablesCompared(PASID, VA, NEXT, 1, ((VA, 5, 6),))],
        "I4: the device has pfn 0x5 at 0x2000 of PASID 1, the CPU has 0x6",
    ),
    ([replace(CALL, valid=ONE)], "I7: a call succeeded without the page at 0x2000 that it asked for"),
    ([replace(CALL, writable=~ONE)], "I7: a call succeeded without the page at 0x3000 that it asked for"),
    ([replace(CALL, error=ONE)], "I7: a call succeeded without the page at 0x3000 that it asked for"),
    ([ErrorAsked(SPACE, VA, "")], "I8: the page at 0x2000 of space 10 was ERROR, but asked for it could be had"),
    (
        [replace(LOOKED, changed=1)],
        "I9: a look at [0x2000, 0x3000) of space 10 changed 1 entries, told of 0 invalidations, took 0 faults",
    ),
    (
        [replace(LOOKED, told=2, faulted=3)],
        "I9: a look at [0x2000, 0x3000) of space 10 changed 0 entries, told of 2 invalidations, took 3 faults",
    ),
    (
        [replace(CALL, pfn=PAGES + np.array([0, 1], dtype=np.uint64))],
        "I10: entry 1 of the array from 0x2000 on has pfn 0x8, the CPU has 0x7 there",
    ),
    (
        [replace(CALL, order=ORDERS + 1)],
        "I11: entry 0 of the array from 0x2000 on tells order 1, the CPU's entry has order 0",
    ),
    (
        # The page does not lie in its block where its address does.
        [replace(CALL, pfn=PAGES + np.uint64(1), cpu_pfn=PAGES + np.uint64(1), order=ORDERS + 1, cpu_order=ORDERS + 1)],
        "I11: entry 0 of the array from 0x2000 on tells order 1, the CPU's entry has order 1",
    ),
    (
        [BOUND, FIRST_OF_BLOCK, *COMMITTED],
        "I11: the slot of 0x2000 of PASID 1 promises order 1, but its block is not alike",
    ),
    ([GIVEN, FENCE, COMPLETE], "I14: fence 1 was complete under grant 4, which is older"),
    (
        [FORGET, FENCE, COMPLETE, GIVEN],
        "I14: 0x2008 of PASID 1 was granted after the fence behind its invalidation, by a walk from before it",
    ),
    (
        [BOUND, FILLED, BESIDE, CLEARED, ANSWERED, ENDED],
        "I15: the slot of 0x2000 of PASID 1 lost its page to the invalidation of [0x3000, 0x4000)",
    ),
    ([BOUND, STARTED, ENDED], "I15: invalidation 1 ended before it was answered"),
    ([BOUND, STARTED, ANSWERED, ANSWERED, ENDED], "I15: invalidation 1 was answered when it was not open"),
    ([BOUND, STARTED, ANSWERED, ENDED, ENDED], "I15: invalidation 1 ended more often than it started"),
    ([BOUND, STARTED, ANSWERED], "I15: invalidation 1 never ended"),
    ([NotifierInserted(SPACE, 1, 2, 2)], "I16: notifier 1 of space 10 begins with 2"),
    ([INSERTED, TOLD, NotifierTold(SPACE, 1, 3, 1)], "I16: notifier 1 of space 10 was told 3 and has 1"),
    ([INSERTED, TOLD, NotifierTold(SPACE, 1, 4, 4)], "I16: notifier 1 of space 10 was told 4 and has 4"),
    ([INSERTED, IntervalsTold(SPACE, 1, 2)], "I16: the sequence of space 10 is 2 while an invalidation is open"),
    ([INSERTED, IntervalsTold(SPACE, 0, 3)], "I16: the sequence of space 10 is 3 while no invalidation is open"),
    (
        [INSERTED, TOLD, IntervalsTold(SPACE, 0, 3), OVER],
        "I16: the sequence of space 10 is 4 while an invalidation is open",
    ),
    (
        [INSERTED, TOLD, ReadAsked(SPACE, 1, 3, 3), ReadBegun(SPACE, 1, 3)],
        "I17: reading began with 3 under notifier 1 of space 10, which is being invalidated",
    ),
    (
        # Another space's sequence is no excuse.
        [INSERTED, TOLD, ReadAsked(SPACE, 1, 3, 3), IntervalsEnded(11, 4), ReadBegun(SPACE, 1, 3)],
        "I17: reading began with 3 under notifier 1 of space 10, which is being invalidated",
    ),
    ([BOUND, FILLED, SpaceReleased(SPACE)], "I18: the slot of 0x2000 of PASID 1 still grants access after the release"),
    ([BOUND, SpaceReleased(SPACE), FILLED], "I18: the slot of 0x2000 of PASID 1 was filled after the release"),
    (
        [BOUND, SpaceReleased(SPACE), Accessed(PASID, VA, Access.READ, PFN, 0)],
        "I18: the device used 0x2000 of PASID 1 after the release (2)",
    ),
    (
        [WritableTaken(PASID, VA, PFN, False)],
        "I19: the slot of 0x2000 of PASID 1 granted writing to pfn 0x6, which was not marked dirty when it was taken "
        "away",
    ),
]
NAMES = ("I4", "I7", "I8", "I9", "I10", "I11", "I14", "I15", "I16", "I17", "I18", "I19")
FACTS = RunFacts(deadline=1000)


@pytest.mark.parametrize("events", CLEAN)
def test_invariants_memory_clean_journal(events: Journal) -> None:
    """
    Stimulus: Short journals at the edges of the rules.
    Checking: None of these invariants finds anything.
    Covers: INVARIANTS
    """
    for name in NAMES:
        assert check_by_name(name, events, FACTS) == []


@pytest.mark.parametrize(("events", "line"), BROKEN)
def test_invariants_memory_broken_rule(events: Journal, line: str) -> None:
    """
    Stimulus: The shortest journal that breaks an invariant.
    Checking: Its name finds exactly this line.
    Covers: INVARIANTS
    """
    assert check_by_name(line.split(":")[0], events, FACTS) == [line]


def test_invariants_memory_all_names_are_broken() -> None:
    """
    Stimulus: The lines above.
    Checking: Every name has one.
    Covers: INVARIANTS
    """
    assert {line.split(":")[0] for _, line in BROKEN} == set(NAMES)
