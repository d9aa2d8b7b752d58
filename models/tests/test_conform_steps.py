# SPDX-License-Identifier: Apache-2.0
"""Recorded calls made in the model, by their names, and the events that they cause."""

from __future__ import annotations

from typing import Any

import pytest

from models.conform.judge import run_alone
from models.conform.notes import InexpressibleError, parse_note
from models.conform.steps import Surroundings, perform
from models.hmm.page_table import EntryKind
from models.hmm.vma import VmFlags
from models.tests.present_bench import PLACE, READ_WRITE, PresentBench, mapped


async def no_driver(address: int, pages: int, default_flags: int, pfn_flags_mask: int, owner: bool) -> None:
    """Nobody asks HMM here."""


def made(calls: list[list[Any]], flags: VmFlags = READ_WRITE) -> PresentBench:
    """Eight pages of anonymous memory, and calls made there."""
    bench = PresentBench()
    bench.area(8, flags)
    bench.mm.page_table.ensure_table(PLACE)
    run_alone(perform(calls, Surroundings(bench.mm, PLACE, None, no_driver)))
    return bench


@pytest.mark.parametrize(
    ("calls", "pages", "events"),
    [
        ([["read", 1, 2]], ".rr.....", ""),
        ([["write", 0, 3]], "www.....", ""),
        ([["fill", 2, 1, 119]], "..w.....", ""),
        ([["read", 0, 2], ["write", 1, 1]], "rw......", "CLEAR"),
        ([["mlock", 0, 8], ["munlock", 0, 8]], "wwwwwwww", ""),
        ([["write", 0, 2], ["mprotect", 1, 1, "r"]], "wr......", "PROTECTION_VMA"),
        ([["write", 0, 2], ["munmap", 1, 4]], "w.......", "UNMAP"),
        ([["write", 0, 2], ["madvise", 0, 8, "DONTNEED"]], "........", "CLEAR"),
        ([["write", 0, 2], ["madvise", 0, 8, "COLD"], ["sleep_us", 5]], "ww......", ""),
        ([["write", 0, 2], ["fork"], ["child_exit"]], "rr......", "PROTECTION_PAGE"),
        ([["write", 0, 1], ["mmap", 0, 1, "r", "private|anon|fixed", "", 0]], "........", "UNMAP"),
        ([["write", 0, 2], ["mremap", 0, 2, 2, "maymove|fixed", 16]], "........", "UNMAP UNMAP"),
        ([["write", 0, 2], ["mremap", 0, 8, 1, "", None]], "w.......", "UNMAP"),
        ([["munmap", 9, 0, "errno=22"]], "........", ""),
    ],
)
def test_steps_pages_and_events(calls: list[list[Any]], pages: str, events: str) -> None:
    """
    Stimulus: Calls on eight empty pages with a page-table page.
    Checking: What is mapped afterwards, and the invalidations in their order.
    Covers: CONFORM-STEPS
    """
    bench = made(calls)
    assert mapped(bench, 8) == pages
    assert " ".join(event.name for event in bench.events) == events


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (["frobnicate", 1], 'the call "frobnicate" is not known'),
        (["madvise", 0, 1, "FROB"], 'the advice "FROB" is not known'),
        (["mprotect", 0, 1, "q"], "arguments that are not understood"),
        (["munmap", 0], "arguments that are not understood"),
        (["munmap", 0, 0], "fails with EINVAL"),
        (["munmap", 0, 1, "errno=22"], "does not fail, but it did"),
        (["mremap", 0, 1, 1, "frob", 4], "arguments that are not understood"),
    ],
)
def test_steps_that_cannot_be_made(call: list[Any], part: str) -> None:
    """
    Stimulus: Calls that are not known, not understood, or do not end as recorded.
    Checking: Each is refused with a sentence.
    Covers: CONFORM-STEPS
    """
    with pytest.raises(InexpressibleError, match=part):
        made([call])


def test_steps_notes() -> None:
    """
    Stimulus: Notes on pages.
    Checking: Their parts.
    Covers: CONFORM-NOTES
    """
    note = parse_note("marker cache m=0 !uptodate")
    assert (note.first, note.marker, note.maps, note.references, note.kind) == ("cache", True, 0, None, None)
    assert note.words == {"!uptodate"}
    note = parse_note("device own w m=1 x")
    assert note.kind is EntryKind.DEVICE_PRIVATE and note.alone and not note.foreign
    assert parse_note("device foreign m=2").foreign and not parse_note("device foreign m=2").alone
    assert parse_note("anon m=1 r=12 !lru").references == 12
    assert parse_note("marker").marker and parse_note("marker").first == "none"
