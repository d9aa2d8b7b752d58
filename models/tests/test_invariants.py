# SPDX-License-Identifier: Apache-2.0
"""Each rule on journals written by hand: a clean one, and for each way to break it the shortest one that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from models.host_events import (
    Accessed,
    AnswerIgnored,
    AnswerKind,
    AnswerSubmitted,
    CommitBegun,
    CommitEnded,
    ContextBound,
    ContextForgotten,
    ContextUnbound,
    CpuMapping,
    FaultAnswered,
    FaultDropped,
    FaultRecorded,
    FaultTaken,
    HostEventRecord,
    InvalidationAnswered,
    InvalidationEnded,
    InvalidationStarted,
    Journal,
    Meaning,
    RangeBegun,
    SlotChanged,
)
from models.invariants import (
    check_all,
    check_answer_after_commit,
    check_fresh_commit,
    check_isolation,
    check_no_hasty_cancel,
    check_no_install_in_window,
    check_no_page_no_grant,
    check_no_stale_access,
    check_one_answer,
    check_permissions,
)
from models.structures import Access

VA, NEXT, END = 0x1000, 0x2000, 0x3000
NOTHING, READS, WRITES, OTHER = Meaning(False), Meaning(True, 5), Meaning(True, 5, True), Meaning(True, 6)
MAPPED, READ_ONLY, GONE = CpuMapping(True, 5, True), CpuMapping(True, 5, False), CpuMapping(False)
BOUND, OTHER_BOUND = ContextBound(1, 10), ContextBound(2, 20)
ASKED, BEGUN, ENDED = RangeBegun(1, VA, END), CommitBegun(1, VA, END), CommitEnded(1, VA, END)
FILLED = SlotChanged(1, VA, NOTHING, WRITES, MAPPED)
CLEARED = SlotChanged(1, VA, WRITES, NOTHING, MAPPED)
STARTED, ANSWERED, OVER = InvalidationStarted(1, 10, VA, NEXT), InvalidationAnswered(1), InvalidationEnded(1)
BESIDE = InvalidationStarted(1, 10, NEXT, END)
ELSEWHERE = InvalidationStarted(1, 20, VA, NEXT)
RECORDED = FaultRecorded(7, 1, VA + 8, Access.WRITE, True)
TAKEN = FaultTaken(7, 1, VA + 8, Access.WRITE, 100, True)
REPLAY = AnswerSubmitted(7, AnswerKind.REPLAY, 150, True)
CANCEL = AnswerSubmitted(7, AnswerKind.CANCEL, 150, True)
REPLAYED = FaultAnswered(7, AnswerKind.REPLAY)
DEADLINE = 1000


def used(walked_at: int, pfn: int = 5, access: Access = Access.READ, pasid: int = 1) -> Accessed:
    """An access of the page at VA."""
    return Accessed(pasid, VA + 16, access, pfn, walked_at)


def hasty(events: Sequence[HostEventRecord]) -> list[str]:
    """The rule about cancels with a deadline."""
    return check_no_hasty_cancel(events, DEADLINE)


CLEAN: list[list[HostEventRecord]] = [
    [],
    [
        BOUND,
        RECORDED,
        TAKEN,
        ASKED,
        BEGUN,
        FILLED,
        ENDED,
        REPLAY,
        REPLAYED,
        used(7),
        STARTED,
        used(7),
        CLEARED,
        ANSWERED,
        OVER,
    ],
    # An invalidation of other pages, or of another space, changes nothing.
    [
        BOUND,
        ASKED,
        BESIDE,
        ANSWERED,
        OVER,
        RangeBegun(1, VA, NEXT),
        CommitBegun(1, VA, NEXT),
        FILLED,
        CommitEnded(1, VA, NEXT),
        InvalidationStarted(2, 10, NEXT, END),
        InvalidationAnswered(2),
        used(8),
        InvalidationEnded(2),
    ],
    [BOUND, OTHER_BOUND, ASKED, ELSEWHERE, BEGUN, FILLED, ENDED, ANSWERED, used(6), OVER, used(6)],
    # A commit that was checked before the invalidation began may go on until the callback gets the lock.
    [BOUND, ASKED, BEGUN, STARTED, FILLED, ENDED, CLEARED, ANSWERED, OVER],
    # Read, then more permission on the same page, then another page after an invalidation.
    [
        BOUND,
        ASKED,
        BEGUN,
        SlotChanged(1, VA, NOTHING, READS, READ_ONLY),
        ENDED,
        used(4),
        ASKED,
        BEGUN,
        SlotChanged(1, VA, READS, WRITES, MAPPED),
        ENDED,
        used(10, access=Access.WRITE),
        used(4),
    ],
    # A cancel after the deadline, after an invalidation, of what the CPU forbids now or forbade when it was taken.
    [BOUND, RECORDED, TAKEN, AnswerSubmitted(7, AnswerKind.CANCEL, 1100, True), FaultAnswered(7, AnswerKind.CANCEL)],
    [BOUND, RECORDED, TAKEN, STARTED, ANSWERED, OVER, CANCEL, FaultAnswered(7, AnswerKind.CANCEL)],
    [BOUND, STARTED, RECORDED, TAKEN, CANCEL, FaultAnswered(7, AnswerKind.CANCEL), ANSWERED, OVER],
    [BOUND, RECORDED, TAKEN, AnswerSubmitted(7, AnswerKind.CANCEL, 150, False), FaultAnswered(7, AnswerKind.CANCEL)],
    [BOUND, RECORDED, FaultTaken(7, 1, VA, Access.READ, 100, False), CANCEL, FaultAnswered(7, AnswerKind.CANCEL)],
    # A replay of what an invalidation has just taken away again; a tag that is used again; answers too late.
    [BOUND, RECORDED, TAKEN, STARTED, ANSWERED, OVER, REPLAY, REPLAYED],
    [BOUND, RECORDED, FaultDropped(7), AnswerIgnored(7, AnswerKind.REPLAY), RECORDED, FaultDropped(7)],
    # A fault that ended with its context promises nothing, whether its record was taken before that or after it.
    [BOUND, RECORDED, FaultDropped(7), TAKEN, REPLAY, AnswerIgnored(7, AnswerKind.REPLAY)],
    [BOUND, RECORDED, TAKEN, FaultDropped(7), ContextForgotten(1), BOUND, REPLAY, AnswerIgnored(7, AnswerKind.REPLAY)],
    [BOUND, RECORDED, REPLAYED, AnswerIgnored(7, AnswerKind.CANCEL)],
    [BOUND, FaultRecorded(7, 1, VA, Access.READ, False)],
    # Unbinding takes everything away at once.
    [BOUND, ASKED, BEGUN, FILLED, ENDED, ContextUnbound(1), STARTED, ANSWERED, OVER],
]

Check = Callable[[Sequence[HostEventRecord]], list[str]]
BROKEN: list[tuple[Check, list[HostEventRecord], str]] = [
    (
        check_no_stale_access,
        [BOUND, ASKED, BEGUN, FILLED, ENDED, STARTED, CLEARED, ANSWERED, used(5)],
        "I1: the device used 0x1010 of PASID 1 under a grant from before an invalidation that was answered",
    ),
    (
        check_no_stale_access,
        # Walked inside the invalidation, through an entry that is cleared already: by way of an old directory entry.
        [BOUND, ASKED, BEGUN, FILLED, ENDED, STARTED, CLEARED, ANSWERED, OVER, used(7)],
        "I1: the device used 0x1010 of PASID 1 under a grant from before an invalidation that was answered",
    ),
    (check_no_stale_access, [BOUND, used(0)], "I1: the device used 0x1010 of PASID 1, which no slot ever granted"),
    (
        check_no_stale_access,
        [BOUND, OTHER_BOUND, ASKED, BEGUN, FILLED, ENDED, used(6, pasid=2)],
        "I1: the device used 0x1010 of PASID 2, which no slot ever granted",
    ),
    (
        check_no_stale_access,
        [BOUND, ASKED, BEGUN, FILLED, ENDED, STARTED, ANSWERED],
        "I1: the slot of 0x1000 of PASID 1 still grants access after the invalidation of [0x1000, 0x2000) was answered",
    ),
    (
        check_no_install_in_window,
        [BOUND, STARTED, ANSWERED, FILLED],
        "I2: the slot of 0x1000 of PASID 1 was filled inside the invalidation of [0x1000, 0x2000)",
    ),
    (
        check_fresh_commit,
        [BOUND, ASKED, BESIDE, BEGUN],
        "I3: [0x1000, 0x3000) of PASID 1 was committed although it was invalidated since it was asked for",
    ),
    (
        check_fresh_commit,
        [BOUND, STARTED, ASKED, ANSWERED, OVER, BEGUN],
        "I3: [0x1000, 0x3000) of PASID 1 was committed although it was invalidated since it was asked for",
    ),
    (check_fresh_commit, [BOUND, BEGUN], "I3: a commit of [0x1000, 0x3000) that was not asked for"),
    (
        check_fresh_commit,
        [BOUND, RangeBegun(1, VA, NEXT), BEGUN],
        "I3: a commit of [0x1000, 0x3000) that was not asked for",
    ),
    (
        check_fresh_commit,
        [BOUND, ASKED, BEGUN, ENDED, FILLED],
        "I3: the slot of 0x1000 of PASID 1 was filled outside its commit",
    ),
    (
        check_fresh_commit,
        [BOUND, RangeBegun(1, NEXT, END), CommitBegun(1, NEXT, END), FILLED],
        "I3: the slot of 0x1000 of PASID 1 was filled outside its commit",
    ),
    (
        check_permissions,
        [BOUND, SlotChanged(1, VA, NOTHING, OTHER, MAPPED)],
        "I5: the slot of 0x1000 of PASID 1 grants pfn 0x6, the CPU has 0x5",
    ),
    (
        check_permissions,
        [BOUND, SlotChanged(1, VA, READS, WRITES, READ_ONLY)],
        "I5: the slot of 0x1000 of PASID 1 grants writing, the CPU may not write",
    ),
    (
        check_no_page_no_grant,
        [BOUND, SlotChanged(1, VA, NOTHING, READS, GONE)],
        "I6: the slot of 0x1000 of PASID 1 grants access, the CPU has no page there",
    ),
    (
        check_answer_after_commit,
        [BOUND, TAKEN, REPLAY],
        "I7: the fault 0x7 at 0x1008 was replayed before its slot grants access",
    ),
    (
        check_answer_after_commit,
        [BOUND, TAKEN, SlotChanged(1, VA, NOTHING, READS, MAPPED), REPLAY],
        "I7: the fault 0x7 at 0x1008 was replayed before its slot grants access",
    ),
    (
        check_answer_after_commit,
        # Nothing excuses it: the one invalidation was over before, the other is of another page.
        [BOUND, STARTED, ANSWERED, OVER, TAKEN, BESIDE, REPLAY],
        "I7: the fault 0x7 at 0x1008 was replayed before its slot grants access",
    ),
    (
        check_answer_after_commit,
        # The tag of a fault that was dropped is of another fault now.
        [BOUND, RECORDED, FaultDropped(7), RECORDED, TAKEN, REPLAY],
        "I7: the fault 0x7 at 0x1008 was replayed before its slot grants access",
    ),
    (
        hasty,
        [BOUND, TAKEN, BESIDE, CANCEL],
        "I12: the fault 0x7 at 0x1008 was cancelled after 50 of 1000 cycles although the CPU permits the access",
    ),
    (
        hasty,
        [BOUND, STARTED, ANSWERED, OVER, TAKEN, AnswerSubmitted(7, AnswerKind.CANCEL, 1099, True)],
        "I12: the fault 0x7 at 0x1008 was cancelled after 999 of 1000 cycles although the CPU permits the access",
    ),
    (check_one_answer, [BOUND, RECORDED], "I13: the fault 0x7 at 0x1008 got no answer"),
    (check_one_answer, [BOUND, RECORDED, REPLAY, REPLAY, REPLAYED], "I13: the fault 0x7 was answered 2 times"),
    (
        check_one_answer,
        [BOUND, RECORDED, REPLAYED, REPLAYED],
        "I13: an answer took effect for 0x7, which did not wait for one",
    ),
    (
        check_one_answer,
        [BOUND, FaultRecorded(7, 1, VA, Access.READ, False), REPLAYED],
        "I13: an answer took effect for 0x7, which did not wait for one",
    ),
    (
        check_one_answer,
        [BOUND, AnswerIgnored(7, AnswerKind.CANCEL)],
        "I13: an answer to 0x7, which is no fault, was submitted",
    ),
    (
        check_isolation,
        [BOUND, OTHER_BOUND, ASKED, BEGUN, FILLED, ENDED, ELSEWHERE, CLEARED],
        "I20: the slot of 0x1000 of PASID 1 lost its page without an invalidation of its own address space",
    ),
    (
        check_isolation,
        [BOUND, SlotChanged(1, VA, READS, OTHER, MAPPED)],
        "I20: the slot of 0x1000 of PASID 1 lost its page without an invalidation of its own address space",
    ),
    (
        check_isolation,
        [BOUND, FILLED, used(2, pfn=6)],
        "I20: PASID 1 used pfn 0x6 at 0x1010, which its slot did not grant",
    ),
    (
        check_isolation,
        [BOUND, SlotChanged(1, VA, NOTHING, READS, MAPPED), used(2, access=Access.ATOMIC)],
        "I20: PASID 1 used pfn 0x5 at 0x1010, which its slot did not grant",
    ),
]


@pytest.mark.parametrize("events", CLEAN)
def test_invariants_clean_journal(events: list[HostEventRecord]) -> None:
    """What the rules allow is not found.

    Stimulus: short journals at the edges of the rules.
    Checking: all checks together find nothing.
    Covers: I1, I2, I3, I5, I6, I7, I12, I13, I20.
    """
    assert check_all(events, deadline=DEADLINE) == []


@pytest.mark.parametrize(("check", "events", "line"), BROKEN)
def test_invariants_broken_rule(check: Check, events: list[HostEventRecord], line: str) -> None:
    """Every way to break a rule gives exactly one line that says what happened; check_all() has it too.

    Stimulus: the shortest journal that breaks it.
    Checking: the line.
    Covers: I1, I2, I3, I5, I6, I7, I12, I13, I20.
    """
    assert check(events) == [line]
    assert line in check_all(events, deadline=DEADLINE)


def test_invariants_unfinished_run() -> None:
    """In a run that goes on, an open fault is no mistake.

    Stimulus: a recorded fault without an answer.
    Checking: nothing is found unless the run is finished.
    Covers: I13.
    """
    assert check_one_answer([BOUND, RECORDED], finished=False) == []
    assert check_all([BOUND, RECORDED], deadline=DEADLINE, finished=False) == []


def test_invariants_journal_tells_times() -> None:
    """A journal keeps the time of each event, and numbers invalidations.

    Stimulus: two events at different times.
    Checking: times, numbers.
    Covers: JOURNAL.
    """
    now = [3]
    journal = Journal(lambda: now[0])
    journal.add(BOUND)
    now[0] = 8
    journal.add(RECORDED)
    assert journal.times == [3, 8]
    assert [journal.next_invalidation(), journal.next_invalidation()] == [1, 2]
    assert Journal().clock() == 0
