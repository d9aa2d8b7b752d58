# SPDX-License-Identifier: Apache-2.0
"""The walk behind all of HMM's calls: look at a range part by part, fault what was asked for, look again.

Source: docs/host.md, "Asking HMM"; walk_page_range() of mm/pagewalk.c, hmm_vma_walk_*(), hmm_vma_fault() of mm/hmm.c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Words
from models.hmm.errors import HmmError
from models.hmm.fault import FaultResult, handle_mm_fault
from models.hmm.fault_hugetlb import LEVEL_SHIFT
from models.hmm.look import Seen, Viewer
from models.hmm.memory_map import MemoryMap
from models.hmm.migration import wait_for_migration
from models.hmm.page_table import EntryFlags, EntryKind, LargeEntry, Span
from models.hmm.range import Requests
from models.hmm.vma import Vma, VmFlags

LARGE_SHIFT = 30
"""log2 of the bytes of an entry of 1 GiB."""
OUT_OF_SIGHT = VmFlags.VM_IO | VmFlags.VM_PFNMAP


@dataclass(frozen=True)
class Part:
    """The part [start, end) of a range that is judged together. `vma` is None in a gap.

    `joint`: one entry, or none, for the whole part, so its requests are taken together. `first_only`: only the request
    of its first page counts. `barred`: it is a gap, or an area of a kind that is not looked into.
    """

    start: int
    end: int
    vma: Vma | None
    seen: Seen
    joint: bool
    first_only: bool = False
    barred: bool = False


class PageWalk:
    """One walk over [start, start + 4096 * pfns.size).

    `done`: how many entries are final. Errors carry the address at which they arose.
    """

    def __init__(
        self,
        mm: MemoryMap,
        start: int,
        pfns: Words,
        viewer: Viewer,
        *,
        fault: bool,
        block: bool = True,
        still_good: Callable[[], None] = lambda: None,
    ) -> None:
        """`fault`: entries ask for pages; else they are only written. `block`: wait for pages that are being moved.

        `still_good` is called before each new look and raises if nothing that it could tell is worth anything.
        """
        self._mm = mm
        self._start = start
        self._end = start + pfns.size * PAGE_BYTES
        self._pfns = pfns
        self._viewer = viewer
        self._fault = fault
        self._block = block
        self._still_good = still_good
        self.done = 0

    async def run(self) -> None:
        """Walk the range; where something had to be faulted, look again from there."""
        self._still_good()
        while self.done < self._pfns.size:
            await self._mm.host.pause("hmm: walk next table")
            if await self._finish(self._next_part(self._start + self.done * PAGE_BYTES)):
                self._still_good()

    def _next_part(self, va: int) -> Part:
        """The part that starts at `va`, as it is at this moment."""
        vma = self._mm.vmas.find(va)
        if vma is None:
            following = self._mm.vmas.overlapping(va, self._end)
            end = following[0].start if following else self._end
            return self._barred_part(va, end, None)
        end = min(self._end, vma.end)
        if self._viewer.dialect.anywhere and (vma.flags & OUT_OF_SIGHT or VmFlags.VM_READ not in vma.flags):
            return self._barred_part(va, end, vma)
        if VmFlags.VM_HUGETLB in vma.flags:
            return self._hugetlb_part(va, end, vma)
        large_start = va >> LARGE_SHIFT << LARGE_SHIFT
        large = self._mm.page_table.large.get(large_start) if self._mm.page_table.large else None
        if large is not None:
            end = min(end, large_start + (1 << LARGE_SHIFT))
            return self._large_part(va, end, vma, large, large_start, large.order)
        span: Span = next(self._mm.page_table.units(va, end))
        joint = span.table is None or span.table.huge
        return Part(span.start, span.end, vma, self._viewer.look(span), joint)

    def _barred_part(self, start: int, end: int, vma: Vma | None) -> Part:
        nothing = self._viewer.nothing((end - start) // PAGE_BYTES)
        nothing.words[:] = self._viewer.words.error
        return Part(start, end, vma, nothing, joint=True, barred=True)

    def _hugetlb_part(self, va: int, end: int, vma: Vma) -> Part:
        """A part of one huge page: its entry, or a hole if not even the table of the entry is there."""
        start = va // vma.huge_bytes * vma.huge_bytes
        end = min(end, start + vma.huge_bytes)
        order = vma.huge_bytes.bit_length() - 1 - PAGE_SHIFT
        if not self._mm.page_table.has_directory(start, PAGE_SHIFT + order + LEVEL_SHIFT):
            return Part(va, end, vma, self._viewer.nothing((end - va) // PAGE_BYTES), joint=True)
        return self._large_part(va, end, vma, self._mm.page_table.large.get(start), start, order)

    def _large_part(self, va: int, end: int, vma: Vma, entry: LargeEntry | None, start: int, order: int) -> Part:
        first, count = (va - start) >> PAGE_SHIFT, (end - va) >> PAGE_SHIFT
        seen = self._viewer.look_large(entry, order, first, count)
        return Part(va, end, vma, seen, joint=True, first_only=VmFlags.VM_HUGETLB in vma.flags)

    async def _finish(self, part: Part) -> bool:
        """Write the part's entries up to the first that has to be faulted or waited for, and do that.

        Returns whether something was done, so that it has to be looked at again. Errors: HmmError EFAULT, EPERM,
        ENOMEM, EBUSY.
        """
        seen = part.seen
        count = seen.words.size
        entries = self._pfns[self.done : self.done + count]
        if not self._fault:
            self._write(entries, seen.words)
            return False
        requests = self._viewer.words.requests(entries)
        if part.first_only:
            requests = Requests(requests.fault[:1], requests.write[:1], requests.device_private[:1])
            seen = Seen(
                seen.words, seen.valid[:1], seen.writable[:1], seen.device_private[:1], seen.migrating[:1],
                seen.refused[:1], seen.bare[:1],
            )  # fmt: skip
        need, write = self._needs(requests, seen)
        acts = need | (requests.fault & seen.bare)
        if not bool(acts.any()):
            self._write(entries, seen.words)
            return False
        if part.barred:
            raise HmmError("EFAULT", f"the page at {part.start:#x} cannot be looked at", part.start)
        first = int(np.argmax(acts))
        assert part.vma is not None
        if part.joint:
            place, write_fault = part.start, bool(write.any() if self._viewer.dialect.joint_requests else write[first])
        else:
            self._write(entries[:first], seen.words[:first])
            place, write_fault = part.start + first * PAGE_BYTES, bool(write[first])
        if seen.refused[first] or not need[first]:
            raise HmmError("EFAULT", f"the page at {place:#x} cannot be had", place)
        if seen.migrating[first]:
            await self._wait_for_migration(place)
        else:
            await self._fault_pages(part.vma, place, part.end, write_fault)
        return True

    def _write(self, entries: Words, words: Words) -> None:
        """The next entries are final. Bits of the driver's own stay in them."""
        entries[:] = words | (entries & np.uint64(self._viewer.words.sticky))
        self.done += words.size

    def _needs(self, requests: Requests, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """bool[n] each: which pages need a fault, and which of these for writing (hmm_pte_need_fault())."""
        write = requests.write & ~seen.writable
        need = (requests.fault & ~seen.valid) | write
        if self._viewer.dialect.by_owner:
            return need & ~seen.device_private, write & ~seen.device_private
        if self._viewer.words.device_private:
            # Device memory comes back only where that is asked for, however little its entry permits.
            write = np.where(seen.device_private, requests.write & requests.device_private, write)
            need = np.where(seen.device_private, requests.fault & requests.device_private, need)
        return need, write

    async def _wait_for_migration(self, va: int) -> None:
        if not self._block:
            self._mm.mmap_lock.release_read()
            raise HmmError("EBUSY", f"the page at {va:#x} is being moved", va)
        await wait_for_migration(self._mm.frames, self._mm.page_table.lookup(va).pfn)

    async def _fault_pages(self, vma: Vma, start: int, end: int, write: bool) -> None:
        """Fault every page of [start, end) alike (hmm_vma_fault(), hmm_vma_walk_hole_())."""
        if write and VmFlags.VM_WRITE not in vma.flags:
            raise HmmError("EPERM", f"the area at {start:#x} may not be written", start)
        for va in range(start, end, PAGE_BYTES):
            if self._fits(vma, va, write):
                continue
            result = await handle_mm_fault(self._mm, vma, va, write=write, may_wait=self._block)
            if result is FaultResult.DONE:
                continue
            if result is FaultResult.RETRY:
                raise HmmError("EBUSY", f"the page at {va:#x} is being moved", va)
            if result is FaultResult.OOM:
                raise HmmError("ENOMEM", f"no memory for the page at {va:#x}", va)
            raise HmmError("EFAULT", f"the page at {va:#x} cannot be had: {result.name}", va)

    def _fits(self, vma: Vma, va: int, write: bool) -> bool:
        """Whether a fault would find nothing to do."""
        if VmFlags.VM_HUGETLB in vma.flags:
            large = self._mm.page_table.large.get(va // vma.huge_bytes * vma.huge_bytes)
            return (
                large is not None
                and large.kind is EntryKind.PRESENT
                and (EntryFlags.WRITABLE in large.flags or not write)
            )
        entry = self._mm.page_table.lookup(va)
        if entry.kind is not EntryKind.PRESENT or EntryFlags.PROTNONE in entry.flags:
            return False
        return entry.writable or not write
