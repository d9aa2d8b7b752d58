# SPDX-License-Identifier: Apache-2.0
"""Defects that HMM once had, or was sent with, put into the model on purpose: each a patch that a test takes back.

Product code has no switch for them. Source: the commits named at each; the first version of "mm/hmm: use flags array"
and its review, March 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.hmm import page_walk, walk
from models.hmm.errors import HmmError
from models.hmm.look import Seen, Viewer
from models.hmm.page_table import EntryFlags, EntryKind, Span
from models.hmm.page_walk import PageWalk
from models.hmm.range import EntryWords
from models.hmm.vma import Vma, VmFlags

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


def _seen(patch: Patch, change: Callable[[Viewer, Span, Seen], Seen]) -> None:
    """Let what is seen in page-table pages be changed."""
    look = Viewer.look

    def planted(viewer: Viewer, span: Span) -> Seen:
        seen = look(viewer, span)
        return seen if span.table is None else change(viewer, span, seen)

    patch.setattr(Viewer, "look", planted)


def _of_kind(span: Span, kind: EntryKind) -> Any:
    assert span.table is not None
    return span.table.kind[span.part] == kind


def _taken_for_good(kind: EntryKind, *, writable: bool) -> Plant:
    """Entries of a kind are taken for such as need no fault, but nothing is written for them."""

    def plant(patch: Patch) -> None:
        def change(viewer: Viewer, span: Span, seen: Seen) -> Seen:
            chosen = _of_kind(span, kind)
            return replace(
                seen,
                valid=seen.valid | chosen,
                writable=seen.writable | (chosen & writable),
                migrating=seen.migrating & ~chosen,
            )

        _seen(patch, change)

    return plant


def device_write_from_area(patch: Patch) -> None:
    """Memory of the device is writable because the area is, whatever its entry says."""

    def change(viewer: Viewer, span: Span, seen: Seen) -> Seen:
        words = seen.words | np.where(seen.device_private, np.uint64(viewer.words.write), np.uint64(0))
        return replace(seen, words=words, writable=seen.writable | seen.device_private)

    _seen(patch, change)


def every_device_page_is_own(patch: Patch) -> None:
    """The owner is not looked at: another device's page is handed out (before 08ddddda667b)."""
    patch.setattr(Viewer, "_own", lambda viewer, device_private, pfn: device_private)


def no_device_page_is_own(patch: Patch) -> None:
    """Device pages are brought back though that was not asked (before "clarify fault logic for device private
    memory").
    """
    patch.setattr(Viewer, "_own", lambda viewer, device_private, pfn: np.zeros(pfn.size, dtype=np.bool_))


def foreign_pages_fail(patch: Patch) -> None:
    """A request for another device's page fails (before 8a295dbbaf72)."""
    look = Viewer.look
    patch.setattr(Viewer, "look", lambda viewer, span: look(replace(viewer, foreign_faults=False), span))


def hidden_pages_are_valid(patch: Patch) -> None:
    """NUMA hints are not seen (before "support automatic NUMA balancing")."""

    def change(viewer: Viewer, span: Span, seen: Seen) -> Seen:
        assert span.table is not None
        flags = span.table.flags[span.part]
        hidden = _of_kind(span, EntryKind.PRESENT) & ((flags & np.uint8(EntryFlags.PROTNONE)) != 0)
        words = seen.words | np.where(hidden, np.uint64(viewer.words.valid), np.uint64(0))
        return replace(seen, words=words, valid=seen.valid | hidden)

    _seen(patch, change)


def zero_page_is_special(patch: Patch) -> None:
    """The page of zeros is an error (before "allow snapshot of the special zero page")."""
    look = Viewer.look
    patch.setattr(Viewer, "look", lambda viewer, span: look(replace(viewer, zero_pfn=0), span))


def mixed_areas_are_barred(patch: Patch) -> None:
    """Pages in VM_MIXEDMAP areas are refused (before 87c01d57fa23)."""
    patch.setattr(page_walk, "OUT_OF_SIGHT", page_walk.OUT_OF_SIGHT | VmFlags.VM_MIXEDMAP)


def gaps_are_nothing(patch: Patch) -> None:
    """What is not mapped at all is told as empty (before "return error for non-vma snapshots")."""
    barred = PageWalk._barred_part

    def planted(own: PageWalk, start: int, end: int, vma: Vma | None) -> Any:
        part = barred(own, start, end, vma)
        part.seen.words[:] = 0
        return part

    patch.setattr(PageWalk, "_barred_part", planted)


def looks_fail_at_errors(patch: Patch) -> None:
    """A look at what cannot be had fails, instead of telling it (before "add missing call to
    hmm_range_need_fault()").
    """
    barred = PageWalk._barred_part

    def planted(own: PageWalk, start: int, end: int, vma: Vma | None) -> Any:
        raise HmmError("EFAULT", "planted", start)

    assert barred is not None
    patch.setattr(PageWalk, "_barred_part", planted)


def errors_succeed(patch: Patch) -> None:
    """0 is returned with ERROR in an entry that was asked for (before "return -EFAULT when setting HMM_PFN_ERROR")."""

    def change(viewer: Viewer, span: Span, seen: Seen) -> Seen:
        bad = seen.refused | seen.bare
        words = np.where(bad, np.uint64(viewer.words.error), seen.words)
        no = np.zeros(bad.size, dtype=np.bool_)
        return replace(seen, words=words, valid=seen.valid | bad, writable=seen.writable | bad, refused=no, bare=no)

    _seen(patch, change)


def errors_in_the_wrong_place(patch: Patch) -> None:
    """ERROR is written from the start of the array on (before "hmm_pfns_bad() was accessing wrong struct")."""
    write = PageWalk._write

    def planted(own: PageWalk, entries: Any, words: Any) -> None:
        if bool((words == own._viewer.words.error).all()):
            own._pfns[: words.size] = words
            own.done += words.size
        else:
            write(own, entries, words)

    patch.setattr(PageWalk, "_write", planted)


def moving_pages_keep_their_input(patch: Patch) -> None:
    """Entries of a 2 MiB that is being moved are not written (before d08faca018c4)."""
    write = PageWalk._write

    def planted(own: PageWalk, entries: Any, words: Any) -> None:
        table = own._mm.page_table.table(own._start + own.done * 4096)
        if table is not None and table.huge and table.kind[0] == EntryKind.MIGRATION:
            own.done += words.size
        else:
            write(own, entries, words)

    patch.setattr(PageWalk, "_write", planted)


def results_on_failure(patch: Patch) -> None:
    """A call that fails writes into entries that it did not reach (before "do not set pfns when returning an
    error").
    """
    run = PageWalk.run

    async def planted(own: PageWalk) -> None:
        try:
            await run(own)
        except HmmError:
            own._pfns[own.done :] = 0
            raise

    patch.setattr(PageWalk, "run", planted)


def _faults(patch: Patch, change: Callable[[PageWalk, int, int, bool], tuple[int, bool]]) -> None:
    fault_pages = PageWalk._fault_pages

    async def planted(own: PageWalk, vma: Vma, start: int, end: int, write: bool) -> None:
        end, write = change(own, start, end, write)
        await fault_pages(own, vma, start, end, write)

    patch.setattr(PageWalk, "_fault_pages", planted)


def _in_hole_or_huge(own: PageWalk, start: int) -> bool:
    entry = own._mm.page_table.lookup(start)
    return entry.hole or entry.huge


def holes_lose_write_requests(patch: Patch) -> None:
    """A hole is faulted for reading: NONE was stored before the WRITE bit was read (first version of 2018)."""
    _faults(patch, lambda own, start, end, write: (end, write and not own._mm.page_table.lookup(start).hole))


def huge_parts_fault_one_page(patch: Patch) -> None:
    """In a hole or a huge entry only the first page is faulted (first version of 2018)."""
    _faults(patch, lambda own, start, end, write: (start + 4096 if _in_hole_or_huge(own, start) else end, write))


def one_page_at_a_time(patch: Patch) -> None:
    """Only the page that needs it is faulted, not what follows it."""
    _faults(patch, lambda own, start, end, write: (start + 4096, write))


def write_faults_without_permission(patch: Patch) -> None:
    """A write to an area that may not be written is tried for ever (before "hmm_range_fault() infinite loop")."""

    async def planted(own: PageWalk, vma: Vma, start: int, end: int, write: bool) -> None:
        if write and VmFlags.VM_WRITE not in vma.flags:
            await own._mm.host.pause("planted")
            return
        await fault_pages(own, vma, start, end, write)

    fault_pages = PageWalk._fault_pages
    patch.setattr(PageWalk, "_fault_pages", planted)


def _needs(patch: Patch, change: Callable[[Any, Seen, Any, Any], tuple[Any, Any]]) -> None:
    needs = PageWalk._needs

    def planted(own: PageWalk, requests: Any, seen: Seen) -> tuple[Any, Any]:
        need, write = needs(own, requests, seen)
        return change(requests, seen, need, write)

    patch.setattr(PageWalk, "_needs", planted)


def need_is_inverted(patch: Patch) -> None:
    """A page is faulted if the CPU has it (second version of 2018)."""
    _needs(patch, lambda requests, seen, need, write: (requests.fault & seen.valid, write))


def write_need_is_dropped(patch: Patch) -> None:
    """Where a write fault is needed none is made (second version of 2018)."""
    _needs(patch, lambda requests, seen, need, write: (need & ~write, write & False))


def requests_are_overwritten(patch: Patch) -> None:
    """What entries ask for is gone before it is read (before "do not ignore specific pte fault flag")."""
    requests = EntryWords.requests
    patch.setattr(EntryWords, "requests", lambda words, pfns: requests(words, np.zeros_like(pfns)))


def gaps_are_followed(patch: Patch) -> None:
    """A range across a gap has no area there, and that is not looked at (before "hmm_range_fault() NULL pointer
    bug").
    """
    next_part = PageWalk._next_part

    def planted(own: PageWalk, va: int) -> Any:
        assert own._mm.vmas.find(va) is not None
        return next_part(own, va)

    patch.setattr(PageWalk, "_next_part", planted)


def lost_sequences_go_on(patch: Patch) -> None:
    """A call goes on when its range was invalidated (before "always return EBUSY for invalid ranges")."""
    run = PageWalk.run

    async def planted(own: PageWalk) -> None:
        own._still_good = lambda: None
        await run(own)

    patch.setattr(PageWalk, "run", planted)


def pfn_is_added_twice(patch: Patch) -> None:
    """The raw entry is put into the word besides the pfn (first version of 2018)."""
    mapped = Viewer._mapped
    patch.setattr(Viewer, "_mapped", lambda viewer, pfn, *rest: mapped(viewer, pfn, *rest) | (pfn << np.uint64(12)))


def special_areas_succeed(patch: Patch) -> None:
    """hmm_vma_fault() on a special area returns 0 (first version of 2018)."""
    fault = walk.hmm_vma_fault

    async def planted(hmm_range: Any, block: bool) -> None:
        if not hmm_range.vma.special:
            await fault(hmm_range, block)

    patch.setattr(walk, "hmm_vma_fault", planted)


def zero_masks_match(patch: Patch) -> None:
    """A flag of 0 is taken to be set, so that with NONE = 0 nothing is ever asked for (first version of 2018)."""
    matches = EntryWords._matches

    def planted(words: EntryWords, pfns: Any, mask: int) -> Any:
        return np.ones(pfns.shape, dtype=np.bool_) if mask == 0 else matches(words, pfns, mask)

    patch.setattr(EntryWords, "_matches", planted)


BY_RECORDINGS: dict[str, Plant] = {
    "empty entries are not faulted": _taken_for_good(EntryKind.NONE, writable=True),
    "swap entries are valid for reading": _taken_for_good(EntryKind.SWAP, writable=False),
    "swap entries succeed with nothing": _taken_for_good(EntryKind.SWAP, writable=True),
    "device write from area": device_write_from_area,
    "every device page is own": every_device_page_is_own,
    "no device page is own": no_device_page_is_own,
    "foreign pages fail": foreign_pages_fail,
    "hidden pages are valid": hidden_pages_are_valid,
    "zero page is special": zero_page_is_special,
    "mixed areas are barred": mixed_areas_are_barred,
    "gaps are nothing": gaps_are_nothing,
    "looks fail at errors": looks_fail_at_errors,
    "errors succeed": errors_succeed,
    "errors in the wrong place": errors_in_the_wrong_place,
    "results on failure": results_on_failure,
    "holes lose write requests": holes_lose_write_requests,
    "huge parts fault one page": huge_parts_fault_one_page,
    "one page at a time": one_page_at_a_time,
    "write faults without permission": write_faults_without_permission,
    "need is inverted": need_is_inverted,
    "write need is dropped": write_need_is_dropped,
    "requests are overwritten": requests_are_overwritten,
    "gaps are followed": gaps_are_followed,
    "lost sequences go on": lost_sequences_go_on,
    "pfn is added twice": pfn_is_added_twice,
}
"""Defects that the recordings find."""
BY_UNIT_TEST: dict[str, Plant] = {
    "moving pages succeed with nothing": _taken_for_good(EntryKind.MIGRATION, writable=True),
    "moving pages keep their input": moving_pages_keep_their_input,
    "special areas succeed": special_areas_succeed,
    "zero masks match": zero_masks_match,
}
"""Defects in what no recording shows: requests for moving pages, the calls of 2018."""
