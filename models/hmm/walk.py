# SPDX-License-Identifier: Apache-2.0
"""The calls of 2018: hmm_vma_get_pfns(), hmm_vma_fault(), hmm_vma_range_done() (mm/hmm.c of Linux 4.17).

One walk serves snapshot and fault. It keeps the documented contract, not the early defects: a fault result is looked up
again, an entry is judged by its own request before it is overwritten, `block` has its documented effect, a write fault
where writing is not allowed ends with EPERM, an invalidated range keeps its words. Source: docs/host.md, "Asking HMM".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import PAGE_BYTES, Flags, Words
from models.hmm.errors import HmmError
from models.hmm.fault import FaultResult, handle_mm_fault
from models.hmm.memory_map import MemoryMap
from models.hmm.migration import wait_for_migration
from models.hmm.mirror import Hmm
from models.hmm.page_table import EntryFlags, EntryKind, Span
from models.hmm.range import EntryWords, HmmRange
from models.hmm.vma import VmFlags


async def hmm_vma_get_pfns(hmm_range: HmmRange) -> None:
    """Write what the CPU's page table says now into range.pfns; nothing is faulted. The mmap lock is held for reading.

    Afterwards the range is tracked, and the caller must call hmm_vma_range_done() exactly once.
    Errors: HmmError EINVAL (range not inside one area, no mirror; a special area: all entries SPECIAL), EPERM (the
    area may not be read: all entries NONE). Then the range is not tracked.
    """
    hmm, words = _begin(hmm_range)
    await _Walk(hmm.mm, hmm_range, words, fault=False, block=True).run()


async def hmm_vma_fault(hmm_range: HmmRange, block: bool) -> None:
    """Make every requested page present, and writable where that was asked, and write what the page table says then.

    The mmap lock is held for reading. An entry with VALID on the way in asks for the page, VALID and WRITE for a
    writable page, DEVICE_PRIVATE besides for its return from device memory; any other entry asks for nothing, but
    shows the page table's state afterwards too. From the first page that must be faulted on, all pages up to the end of
    its 2 MiB (and of the range) are faulted alike. With `block` False it never waits for others.
    Afterwards the range is tracked as after hmm_vma_get_pfns().
    Errors: as hmm_vma_get_pfns(); EFAULT (a page cannot be had: its entry is ERROR), EPERM (a write fault in an area
    that may not be written), ENOMEM, EBUSY (it would have had to wait: the mmap lock was dropped). Then the range is
    not tracked, and entries that are not final are NONE.
    """
    hmm, words = _begin(hmm_range)
    walk = _Walk(hmm.mm, hmm_range, words, fault=True, block=block)
    try:
        await walk.run()
    except HmmError:
        hmm_range.pfns[walk.done :] = words.none
        if walk.failed is not None:
            hmm_range.pfns[walk.failed] = words.error
        hmm.untrack(hmm_range)
        raise


def hmm_vma_range_done(hmm_range: HmmRange) -> bool:
    """Stop tracking; returns True if nothing in the range was invalidated since the call: then its words may be used.

    Call it under the lock that the driver's invalidation callback takes. Errors: UserError if the range is not tracked.
    """
    hmm = hmm_range.vma.mm.hmm
    assert hmm is not None
    return hmm.untrack(hmm_range)


def _begin(hmm_range: HmmRange) -> tuple[Hmm, EntryWords]:
    """Check the range, and track it."""
    words = hmm_range.words()
    mm, vma = hmm_range.vma.mm, hmm_range.vma
    if not mm.mmap_lock.read_held:
        raise RuntimeError("hold the mmap lock for reading while you ask HMM")
    inside = hmm_range.start < hmm_range.end and vma.contains(hmm_range.start, hmm_range.end)
    if not inside or hmm_range.start % PAGE_BYTES or hmm_range.end % PAGE_BYTES:
        raise HmmError("EINVAL", "the range is not inside one area")
    if hmm_range.pfns.size != hmm_range.pages:
        raise HmmError("EINVAL", "pfns has another length than the range")
    if mm.hmm is None or not mm.hmm.mirrors:
        raise HmmError("EINVAL", "no mirror is registered")
    if vma.special:
        hmm_range.pfns[:] = words.special
        raise HmmError("EINVAL", "the area is special")
    if VmFlags.VM_READ not in vma.flags:
        hmm_range.pfns[:] = words.none
        raise HmmError("EPERM", "the area may not be read")
    mm.hmm.track(hmm_range)
    return mm.hmm, words


@dataclass(frozen=True)
class _Seen:
    """What n entries of the page table are: their words, and bool[n] for each property."""

    words: Words
    valid: Flags
    writable: Flags
    device_private: Flags
    migrating: Flags
    lost: Flags


class _Walk:
    """One walk over a range. `done`: how many entries are final; `failed`: the entry that cannot be had."""

    def __init__(self, mm: MemoryMap, hmm_range: HmmRange, words: EntryWords, *, fault: bool, block: bool) -> None:
        self._mm = mm
        self._range = hmm_range
        self._words = words
        self._fault = fault
        self._block = block
        self.done = 0
        self.failed: int | None = None

    async def run(self) -> None:
        """Walk 2 MiB by 2 MiB; where something had to be faulted, look again."""
        while self.done < self._range.pages:
            await self._mm.host.pause("hmm: walk next table")
            va = self._range.start + self.done * PAGE_BYTES
            await self._walk_span(next(self._mm.page_table.spans(va, self._range.end)))

    async def _walk_span(self, span: Span) -> None:
        """Finish the entries of the span up to the first that has to be faulted or waited for, and do that."""
        count = (span.end - span.start) // PAGE_BYTES
        entries = self._range.pfns[self.done : self.done + count]
        seen = self._look(span, count)
        if not self._fault:
            entries[:] = seen.words
            self.done += count
            return
        requests = self._words.requests(entries)
        write = requests.write & ~seen.writable
        fault = (requests.fault & ~seen.valid) | write
        if self._words.device_private:
            # Device memory comes back only where that is asked for, however little its entry permits.
            write = np.where(seen.device_private, requests.write & requests.device_private, write)
            fault = np.where(seen.device_private, requests.fault & requests.device_private, fault)
        if not bool(fault.any()):
            entries[:] = seen.words
            self.done += count
            return
        first = int(np.argmax(fault))
        write_fault = bool(write[first])
        if span.table is None or span.table.huge:
            await self._fault_pages(span.start, span.end, write_fault)
            return
        entries[:first] = seen.words[:first]
        self.done += first
        va = span.start + first * PAGE_BYTES
        if seen.lost[first]:
            self.failed = self.done
            raise HmmError("EFAULT", f"the page at {va:#x} was lost to a memory error")
        if seen.migrating[first]:
            await self._wait_for_migration(va)
        else:
            await self._fault_pages(va, span.end, write_fault)

    def _look(self, span: Span, count: int) -> _Seen:
        """The span's part of the page table, as it is at this moment."""
        none = np.full(count, self._words.none, dtype=np.uint64)
        if span.table is None:
            nothing = np.zeros(count, dtype=np.bool_)
            return _Seen(none, nothing, nothing, nothing, nothing, nothing)
        kind = span.table.kind[span.part]
        device_private = kind == EntryKind.DEVICE_PRIVATE
        valid = (kind == EntryKind.PRESENT) | device_private
        writable = valid & ((span.table.flags[span.part] & np.uint8(EntryFlags.WRITABLE)) != 0)
        lost = kind == EntryKind.HWPOISON
        mapped = (span.table.pfn[span.part] << np.uint64(self._words.pfn_shift)) | np.uint64(self._words.valid)
        mapped |= np.where(writable, np.uint64(self._words.write), np.uint64(0))
        mapped |= np.where(device_private, np.uint64(self._words.device_private), np.uint64(0))
        words = np.where(valid, mapped, np.where(lost, np.uint64(self._words.error), none))
        return _Seen(words, valid, writable, device_private, kind == EntryKind.MIGRATION, lost)

    async def _wait_for_migration(self, va: int) -> None:
        if not self._block:
            self._mm.mmap_lock.release_read()
            raise HmmError("EBUSY", f"the page at {va:#x} is being moved")
        await wait_for_migration(self._mm.frames, self._mm.page_table.lookup(va).pfn)

    async def _fault_pages(self, start: int, end: int, write: bool) -> None:
        """Fault every page of [start, end) alike (hmm_vma_walk_hole_())."""
        vma = self._range.vma
        if write and VmFlags.VM_WRITE not in vma.flags:
            raise HmmError("EPERM", "the area may not be written")
        for va in range(start, end, PAGE_BYTES):
            entry = self._mm.page_table.lookup(va)
            if entry.kind is EntryKind.PRESENT and (entry.writable or not write):
                continue
            result = await handle_mm_fault(self._mm, vma, va, write=write, may_wait=self._block)
            if result is FaultResult.DONE:
                continue
            if result is FaultResult.RETRY:
                raise HmmError("EBUSY", f"the page at {va:#x} is being moved")
            if result is FaultResult.OOM:
                raise HmmError("ENOMEM", f"no memory for the page at {va:#x}")
            self.failed = (va - self._range.start) // PAGE_BYTES
            raise HmmError("EFAULT", f"the page at {va:#x} cannot be had: {result.name}")
