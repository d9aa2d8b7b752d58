# SPDX-License-Identifier: Apache-2.0
"""What HMM's calls return, for the journal: what was asked, what the words say, and what the CPU has.

And whether a call that only looks leaves everything as it was.

Source: docs/host.md, "The journal".
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Bytes, Flags, Words
from models.formats import WORD_MASK
from models.hmm.look import HUGE_ORDER
from models.hmm.memory_map import MemoryMap
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.page_walk import PageWalk
from models.hmm.range import EntryWords, Requests
from models.hmm.vma import VmFlags
from models.memory_events import CallReturned, Looked

LARGEST_ORDER = 31
"""What five bits of an entry can tell."""


class WatchedLook:
    """A walk that asks for nothing: awaiting it runs it, and each of its own steps is compared with what was before.

    What others do between its steps is none of its doing.
    """

    def __init__(self, mm: MemoryMap, walk: PageWalk, start: int, end: int) -> None:
        self._mm = mm
        self._walk = walk
        self._start = start
        self._end = end

    def __await__(self) -> Generator[Any, Any, None]:
        coroutine: Coroutine[Any, Any, None] = self._walk.run()
        value: Any = None
        failure: BaseException | None = None
        while True:
            place = min(self._start + self._walk.done * PAGE_BYTES, self._end - PAGE_BYTES)
            before = self._state(place)
            try:
                waited = coroutine.send(value) if failure is None else coroutine.throw(failure)
            except StopIteration:
                return
            finally:
                self._compare(place, before)
            failure = None
            try:
                value = yield waited
            except BaseException as error:
                failure = error

    def _state(self, place: int) -> tuple[int, int, list[Words | Bytes]]:
        table = self._mm.page_table.table(place)
        arrays: list[Words | Bytes] = [] if table is None else [table.kind.copy(), table.flags.copy(), table.pfn.copy()]
        return self._mm.invalidations_begun, self._mm.faults_begun, arrays

    def _compare(self, place: int, before: tuple[int, int, list[Words | Bytes]]) -> None:
        told, faulted, arrays = before
        told_now, faulted_now, now = self._state(place)
        if len(now) != len(arrays):
            changed = 1
        else:
            differ = [old != new for old, new in zip(arrays, now, strict=True)]
            changed = int(np.count_nonzero(differ[0] | differ[1] | differ[2])) if differ else 0
        self._mm.journal.add(
            Looked(self._mm.number, self._start, self._end, changed, told_now - told, faulted_now - faulted)
        )


def effective_requests(mm: MemoryMap, start: int, requests: Requests) -> Requests:
    """What counts: of a page of hugetlb memory only the request of its first page in the range."""
    fault = requests.fault.copy()
    for area in mm.vmas.overlapping(start, start + fault.size * PAGE_BYTES):
        if VmFlags.VM_HUGETLB not in area.flags:
            continue
        for va in range(max(start, area.start), min(start + fault.size * PAGE_BYTES, area.end), PAGE_BYTES):
            if va != start and va % area.huge_bytes:
                fault[(va - start) >> PAGE_SHIFT] = False
    return Requests(fault, fault & requests.write, fault & requests.device_private)


def record_call(mm: MemoryMap, start: int, asked: Requests, words: EntryWords, pfns: Words) -> None:
    """Write down what a call returned; only where nothing was invalidated since it began.

    `words`: those of the format; `pfns` uint64[n]: what was returned.
    """
    if words.marks_are_values:
        error = (pfns == np.uint64(words.error)) & (pfns != np.uint64(words.none))
        marked = np.isin(pfns, np.array([words.error, words.special, words.none], dtype=np.uint64))
    else:
        error = marked = (pfns & np.uint64(words.error)) == np.uint64(words.error)
    valid = ((pfns & np.uint64(words.valid)) == np.uint64(words.valid)) & ~marked
    writable = valid & ((pfns & np.uint64(words.write)) == np.uint64(words.write)) & bool(words.write)
    # What lies above the pfn are flags, or the order with flags above it.
    flags = words.valid | words.write | words.device_private
    pfn_part = (1 << words.order_shift) - 1 if words.order_shift else WORD_MASK ^ flags
    pfn, order = (pfns & np.uint64(pfn_part)) >> np.uint64(words.pfn_shift), np.zeros(pfns.size, dtype=np.uint8)
    if words.order_shift:
        order = ((pfns >> np.uint64(words.order_shift)) & np.uint64(LARGEST_ORDER)).astype(np.uint8)
    pfn = np.where(valid, pfn, np.uint64(0))
    mapped, cpu_pfn, cpu_order = cpu_pages(mm, start, pfns.size)
    device = np.zeros(pfns.size, dtype=np.bool_)
    for pagemap in mm.frames.pagemaps:
        device |= pagemap.window.holds(pfn)
    mm.journal.add(
        CallReturned(
            mm.number, start, asked.fault, asked.write, valid, writable, error, device & valid, pfn, order,
            mapped, cpu_pfn, cpu_order,
        )
    )  # fmt: skip


def cpu_pages(mm: MemoryMap, start: int, count: int) -> tuple[Flags, Words, Bytes]:
    """Of `count` pages from `start` on what the CPU's page table has: whether a page, which, of an entry of 2^order."""
    mapped = np.zeros(count, dtype=np.bool_)
    pfn = np.zeros(count, dtype=np.uint64)
    order = np.zeros(count, dtype=np.uint8)
    end = start + count * PAGE_BYTES
    for span in mm.page_table.mapped_spans(start, end):
        table = span.table
        assert table is not None
        part = slice((span.start - start) >> PAGE_SHIFT, (span.end - start) >> PAGE_SHIFT)
        kind = table.kind[span.part]
        hidden = (table.flags[span.part] & np.uint8(EntryFlags.PROTNONE)) != 0
        mapped[part] = ((kind == EntryKind.PRESENT) & ~hidden) | (kind == EntryKind.DEVICE_PRIVATE)
        pfn[part] = table.pfn[span.part]
        order[part] = HUGE_ORDER if table.huge else 0
    for first, large in mm.page_table.large.items():
        low, high = max(first, start), min(first + (PAGE_BYTES << large.order), end)
        if low < high and large.kind is EntryKind.PRESENT:
            part = slice((low - start) >> PAGE_SHIFT, (high - start) >> PAGE_SHIFT)
            mapped[part], order[part] = EntryFlags.PROTNONE not in large.flags, large.order
            begin = large.pfn + ((low - first) >> PAGE_SHIFT)
            pfn[part] = np.arange(begin, begin + ((high - low) >> PAGE_SHIFT), dtype=np.uint64)
    return mapped, pfn, order
