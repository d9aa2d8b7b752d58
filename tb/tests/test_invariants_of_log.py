# SPDX-License-Identifier: Apache-2.0
"""The checks over journal and event log on short ones made by hand: a clean run, and each way to break it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.host_events import (
    CommitBegun,
    CommitEnded,
    ContextBound,
    ContextForgotten,
    ContextUnbound,
    CpuMapping,
    HostEventRecord,
    InvalidationAnswered,
    InvalidationEnded,
    InvalidationStarted,
    Journal,
    Meaning,
    SlotChanged,
)
from models.memory_events import SpaceReleased
from models.pages import Window
from models.structures import Access, Opcode
from tb.invariants import LOG_CHECKS, RtlRun
from tb.records import EVENT_DTYPE, EventKind

VA, PASID, SPACE, PFN = 0x5000, 1, 10, 7
WINDOW = Window(0x100, 16)
WRITES, READS, OWN = Meaning(True, PFN, True), Meaning(True, PFN), Meaning(True, 0x103, True)
NOTHING = Meaning(False)
Row = dict[str, int]


def journal_of(slot: Meaning = WRITES) -> Journal:
    """A page is committed in cycle 100, invalidated until 200, its context forgotten in 300 and released in 310."""
    now = [0]
    journal = Journal(lambda: now[0])
    cpu = CpuMapping(True, slot.pfn, True)
    events: list[tuple[int, HostEventRecord]] = [
        (50, ContextBound(PASID, SPACE)),
        (100, CommitBegun(PASID, VA, VA + 0x1000)),
        (110, SlotChanged(PASID, VA, NOTHING, slot, cpu)),
        (120, CommitEnded(PASID, VA, VA + 0x1000)),
        (180, InvalidationStarted(1, SPACE, VA, VA + 0x1000)),
        (190, SlotChanged(PASID, VA, slot, NOTHING, cpu)),
        (200, InvalidationAnswered(1)),
        (210, InvalidationEnded(1)),
        (290, ContextUnbound(PASID)),
        (300, ContextForgotten(PASID)),
        (310, SpaceReleased(SPACE)),
    ]
    for cycle, event in events:
        now[0] = cycle
        journal.add(event)
    return journal


def grant(
    begin: int, end: int, *, pasid: int = PASID, pfn: int = PFN, write: bool = True, memory: int = 0
) -> list[Row]:
    """A response with a grant of the page, and its release."""
    common = {"pasid": pasid, "va": VA + 8, "client": 1, "id": 3, "code": int(Access.READ)}
    extra = int(write) << 8 | memory << 10
    return [
        {"kind": EventKind.TRANSLATION, "cycle": begin, "pa": pfn << 12 | 8, "extra": extra, **common},
        {"kind": EventKind.GRANT_END, "cycle": end, **common},
    ]


def fence(taken: int, complete: int) -> list[Row]:
    """A fence."""
    return [
        {"kind": EventKind.COMMAND, "cycle": taken, "code": int(Opcode.FENCE)},
        {"kind": EventKind.FENCE, "cycle": complete},
    ]


def answer(cycle: int, tag: int) -> list[Row]:
    """A RESUME."""
    return [{"kind": EventKind.COMMAND, "cycle": cycle, "code": int(Opcode.RESUME), "va": tag}]


def found(rows: list[Row], slot: Meaning = WRITES) -> dict[str, list[str]]:
    """What each check finds, by its name; those that find nothing are left out."""
    log = np.zeros(len(rows), dtype=EVENT_DTYPE)
    for place, row in enumerate(sorted(rows, key=lambda each: each["cycle"])):
        for name, value in row.items():
            log[name][place] = value
    run = RtlRun(journal_of(slot), log, WINDOW)
    return {name: lines for name, check in LOG_CHECKS.items() if (lines := check(run))}


@pytest.mark.parametrize(
    ("rows", "slot"),
    [
        ([], WRITES),
        (grant(101, 199) + fence(150, 199) + answer(160, 5) + answer(170, 6), WRITES),
        (grant(101, 199, write=False), WRITES),
        (grant(130, 140, pfn=3, memory=1), OWN),
        (fence(150, 160) + grant(151, 170), WRITES),
    ],
)
def test_invariants_of_log_clean(rows: list[Row], slot: Meaning) -> None:
    """
    Stimulus: grants inside their time, also of less than the slot allows and of device memory; fences; answers.
    Checking: nothing is found.
    Covers: INVARIANTS
    """
    assert found(rows, slot) == {}


@pytest.mark.parametrize(
    ("rows", "slot", "name", "line"),
    [
        (
            grant(101, 205),
            WRITES,
            "I1",
            "I1: pfn 0x7 at 0x5000 of PASID 1 was in use in cycles 101 to 205, after its invalidation was answered",
        ),
        (
            grant(220, 230),
            WRITES,
            "I1",
            "I1: pfn 0x7 at 0x5000 of PASID 1 was in use in cycles 220 to 230, after its invalidation was answered",
        ),
        (answer(1, 5) + answer(2, 5), WRITES, "I13", "I13: the fault 0x5 was answered 2 times"),
        (
            grant(101, 170) + fence(120, 160),
            WRITES,
            "I14",
            "I14: the fence that was taken in cycle 120 is complete in cycle 160 under the grant of client 1, id 3, "
            "given in cycle 101",
        ),
        (
            grant(101, 150, pasid=2),
            WRITES,
            "I20",
            "I20: pfn 0x7 at 0x5000 of PASID 2 was in use in cycles 101 to 150, which no slot of that context granted",
        ),
        (
            grant(101, 150),
            READS,
            "I5",
            "I5: pfn 0x7 at 0x5000 of PASID 1 was in use in cycles 101 to 150, for writing, which its slot did not "
            "grant",
        ),
        (
            grant(130, 140, pfn=7, memory=1),
            WRITES,
            "I20",
            "I20: pfn 0x107 at 0x5000 of PASID 1 was in use in cycles 130 to 140, which no slot of that context "
            "granted",
        ),
    ],
)
def test_invariants_of_log_broken(rows: list[Row], slot: Meaning, name: str, line: str) -> None:
    """
    Stimulus: the shortest log that breaks each.
    Checking: only that one is found, and its line.
    Covers: INVARIANTS, I1, I5, I13, I14, I20
    """
    assert found(rows, slot) == {name: [line]}


def test_invariants_of_log_release() -> None:
    """
    Stimulus: a translation after the release of the address space.
    Checking: I18 tells it, beside I1.
    Covers: INVARIANTS, I18
    """
    lines = found(grant(320, 330))
    assert lines.keys() == {"I1", "I18"}
    assert lines["I18"] == ["I18: 0x5008 of PASID 1 was translated in cycle 320, after the release in cycle 310"]


def test_invariants_of_log_every_check_is_seen() -> None:
    """
    Stimulus: the names of the checks, and those that are seen failing here.
    Checking: the same.
    Covers: INVARIANTS
    """
    checks: dict[str, Callable[[RtlRun], list[str]]] = LOG_CHECKS
    assert set(checks) == {"I1", "I5", "I13", "I14", "I18", "I20"}
