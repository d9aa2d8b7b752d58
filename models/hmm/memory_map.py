# SPDX-License-Identifier: Apache-2.0
"""An address space of the host: areas, page table, notifiers, and the system calls that change them.

Calls are named after the system calls; they fail with HmmError and the same errno name. Every change of a page-table
entry that a mirror may have read happens between invalidate start and end; pages are freed after the start returned.
Source: docs/host.md, "Address spaces".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT
from models.hmm.errors import HmmError
from models.hmm.fault_result import Undecided
from models.hmm.frames import HUGE_BYTES, Frames
from models.hmm.kernel_rules import RULES_2018, KernelRules
from models.hmm.notifiers import IntervalNotifiers, InvalidateEvent, MmuNotifier, MmuNotifierRange
from models.hmm.page_table import EntryFlags, EntryKind, PageTable
from models.hmm.system_calls import Advice, MapFlags, Prot, RemapFlags, page_up, protection_flags
from models.hmm.vma import Backing, SharedObject, Vma, VmaList, VmFlags
from models.host_events import Journal
from models.preemption import Preemption, ReadWriteLock

if TYPE_CHECKING:
    from models.hmm.mirror import Hmm

LOWEST_ADDRESS = 1 << 16
TASK_SIZE = (1 << 47) - PAGE_BYTES
"""Where the addresses of a process end."""
MMAP_BASE = 0x7FFF_F000_0000
HEAP_START = 0x5555_5560_0000


PRIVATE = MapFlags.MAP_PRIVATE | MapFlags.MAP_ANONYMOUS
SHARED = MapFlags.MAP_SHARED | MapFlags.MAP_ANONYMOUS
READ_WRITE = Prot.PROT_READ | Prot.PROT_WRITE
PROTECTION_FLAGS = VmFlags.VM_READ | VmFlags.VM_WRITE | VmFlags.VM_EXEC


class MemoryMap:
    """One address space (struct mm_struct).

    Attributes: `number` tells address spaces apart; `vmas`; `page_table`; `mmap_lock`; `open_invalidations`, those that
    were started and have not ended; `intervals`, the interval notifiers; `hmm`, set once a device mirrors the space;
    `journal`, what happened; `rules`, the kernel's; `undecided`, who is asked what no address space knows (no by
    default).
    """

    def __init__(
        self,
        host: Preemption,
        frames: Frames,
        journal: Journal | None = None,
        rules: KernelRules = RULES_2018,
    ) -> None:
        self.host = host
        self.frames = frames
        self.rules = rules
        self.journal = journal if journal is not None else Journal()
        self.number = frames.next_space_number()
        self.vmas = VmaList()
        self.page_table = PageTable()
        self.mmap_lock = ReadWriteLock(host)
        self.open_invalidations: list[MmuNotifierRange] = []
        self.brk_end = HEAP_START
        self.hmm: Hmm | None = None
        self.intervals = IntervalNotifiers()
        self.undecided: Callable[[Undecided, int], bool] = lambda question, va: False
        self._notifiers: list[MmuNotifier] = []
        frames.spaces.append(self)

    def register_notifier(self, notifier: MmuNotifier) -> None:
        """Tell `notifier` of every invalidation that starts from now on (mmu_notifier_register())."""
        self._notifiers.append(notifier)

    def unregister_notifier(self, notifier: MmuNotifier) -> None:
        """Tell it no more."""
        self._notifiers.remove(notifier)

    @asynccontextmanager
    async def invalidation(
        self, start: int, end: int, event: InvalidateEvent, owner: object = None
    ) -> AsyncIterator[None]:
        """Notifiers are told before and after what happens inside the `async with`: those of intervals first.

        `owner`: see MmuNotifierRange.
        """
        update = MmuNotifierRange(self, start, end, event, owner)
        told = list(self._notifiers)
        await self.host.pause("mm: invalidate start")
        self.open_invalidations.append(update)
        self.intervals.begin(update)
        try:
            for notifier in told:
                await notifier.invalidate_range_start(update)
            await self.host.pause("mm: invalidate started")
            yield
            await self.host.pause("mm: invalidate end")
        finally:
            self.open_invalidations.remove(update)
            self.intervals.end()
            for notifier in told:
                await notifier.invalidate_range_end(update)

    async def mmap(
        self, start: int, length: int, prot: Prot = READ_WRITE, flags: MapFlags = PRIVATE, *, may_write: bool = True
    ) -> int:
        """Map anonymous memory; returns its address. `start` is binding only with MAP_FIXED.

        `may_write` False: the area can never be made writable (a shared mapping of a read-only file).
        Errors: HmmError EINVAL, ENOMEM, EEXIST (MAP_FIXED_NOREPLACE), EACCES (PROT_WRITE without may_write).
        """
        end_of_length = page_up(length)
        shared = MapFlags.MAP_SHARED in flags
        if length <= 0 or shared == (MapFlags.MAP_PRIVATE in flags):
            raise HmmError("EINVAL", "a length above 0 and one of MAP_PRIVATE and MAP_SHARED are needed")
        if Prot.PROT_WRITE in prot and not may_write:
            raise HmmError("EACCES", "the area may not be written")
        properties = protection_flags(prot) | VmFlags.VM_MAYREAD
        if may_write:
            properties |= VmFlags.VM_MAYWRITE
        if shared:
            properties |= VmFlags.VM_SHARED
        async with self.mmap_lock.write():
            place = await self._place(start, end_of_length, flags)
            area = Vma(self, place, place + end_of_length, properties, SharedObject() if shared else None)
            self.vmas.insert(area)
        return place

    async def map_pfns(
        self, start: int, length: int, first_pfn: int, prot: Prot = READ_WRITE, *, mixed: bool = False
    ) -> int:
        """Map consecutive pfns that are not the kernel's to manage, as a driver's mmap does (remap_pfn_range()).

        Returns the address; the area is VM_IO | VM_PFNMAP, or VM_MIXEDMAP if `mixed`. Errors: as mmap().
        """
        end_of_length = page_up(length)
        if length <= 0:
            raise HmmError("EINVAL", "a length above 0 is needed")
        kind = VmFlags.VM_MIXEDMAP if mixed else VmFlags.VM_IO | VmFlags.VM_PFNMAP
        properties = protection_flags(prot) | VmFlags.VM_MAYREAD | VmFlags.VM_MAYWRITE | VmFlags.VM_SHARED | kind
        entry_flags = EntryFlags.SPECIAL
        if Prot.PROT_WRITE in prot:
            entry_flags |= EntryFlags.WRITABLE
        async with self.mmap_lock.write():
            place = await self._place(start, end_of_length, MapFlags.MAP_FIXED if start else MapFlags.MAP_PRIVATE)
            store = SharedObject(kind=Backing.DRIVER)
            self.vmas.insert(Vma(self, place, place + end_of_length, properties, store, no_fault=True))
            for page in range(end_of_length >> PAGE_SHIFT):
                self.page_table.set(place + page * PAGE_BYTES, EntryKind.PRESENT, first_pfn + page, entry_flags)
        return place

    async def munmap(self, start: int, length: int) -> None:
        """Unmap [start, start + length). Errors: HmmError EINVAL."""
        end = self._checked_range(start, length)
        async with self.mmap_lock.write():
            await self._unmap(start, end)

    async def mprotect(self, start: int, length: int, prot: Prot) -> None:
        """Change the protection of [start, start + length).

        Errors: HmmError EINVAL, ENOMEM (something in it is not mapped), EACCES (PROT_WRITE where it may never be).
        """
        end = self._checked_range(start, length)
        async with self.mmap_lock.write():
            areas = self._covered(start, end)
            if Prot.PROT_WRITE in prot and any(VmFlags.VM_MAYWRITE not in area.flags for area in areas):
                raise HmmError("EACCES", "an area in the range may never be written")
            self.vmas.split(start)
            self.vmas.split(end)
            for area in self.vmas.overlapping(start, end):
                flags = area.flags & ~PROTECTION_FLAGS | protection_flags(prot)
                if flags == area.flags:
                    continue
                area.flags = flags
                mapped = self.page_table.mapped_spans(area.start, area.end)
                if not mapped:
                    continue  # Nobody has to be told of tables that are not there (change_pmd_range()).
                async with self.invalidation(mapped[0].start, area.end, InvalidateEvent.PROTECTION_VMA):
                    await self._change_protection(area)
            self.vmas.merge_around(start, end)

    async def brk(self, end: int) -> int:
        """Let the heap end at `end`; returns where it ends now (unchanged if that cannot be)."""
        async with self.mmap_lock.write():
            old_top, new_top = page_up(self.brk_end), page_up(end)
            if end < HEAP_START:
                return self.brk_end
            if new_top < old_top:
                await self._unmap(new_top, old_top)
            elif new_top > old_top:
                if new_top > TASK_SIZE or self.vmas.overlapping(old_top, new_top):
                    return self.brk_end
                properties = protection_flags(READ_WRITE) | VmFlags.VM_MAYREAD | VmFlags.VM_MAYWRITE
                self.vmas.insert(Vma(self, old_top, new_top, properties))
            self.brk_end = end
        return end

    async def mremap(
        self, old: int, old_length: int, new_length: int, flags: RemapFlags = RemapFlags.NONE, new: int = 0
    ) -> int:
        """Shrink, grow or move a mapping; returns its address.

        Errors: HmmError EINVAL, EFAULT (not one mapping), ENOMEM (no room, or it would have to move and may not).
        """
        old_length, new_length = page_up(old_length), page_up(new_length)
        fixed = RemapFlags.MREMAP_FIXED in flags
        if new_length == 0 or (fixed and RemapFlags.MREMAP_MAYMOVE not in flags):
            raise HmmError("EINVAL", "a new length above 0 is needed, and MREMAP_MAYMOVE with MREMAP_FIXED")
        end = self._checked_range(old, old_length)
        if fixed and (self._checked_range(new, new_length) > old and new < end):
            raise HmmError("EINVAL", "the old and the new place overlap")
        async with self.mmap_lock.write():
            area = self.vmas.find(old)
            if area is None or not area.contains(old, end):
                raise HmmError("EFAULT", "the old range is not one mapping")
            if fixed:
                await self._unmap(new, new + new_length)
            if new_length < old_length:
                await self._unmap(old + new_length, end)
                old_length, end = new_length, old + new_length
            if not fixed and new_length == old_length:
                return old
            grown_end = old + new_length
            if not fixed and end == area.end and grown_end <= TASK_SIZE and not self.vmas.overlapping(end, grown_end):
                self.vmas.insert(replace(area, start=end, end=grown_end, offset=area.object_page(end)))
                return old
            if RemapFlags.MREMAP_MAYMOVE not in flags:
                raise HmmError("ENOMEM", "the mapping cannot grow in place")
            if not fixed:
                new = await self._place(0, new_length, MapFlags.MAP_PRIVATE)
            await self._move(self._cut_out(old, end), new, new_length)
            return new

    async def madvise(self, start: int, length: int, advice: Advice) -> None:
        """MADV_DONTNEED drops the pages of private memory; MADV_HUGEPAGE and its opposite allow 2 MiB pages.

        Errors: HmmError EINVAL (also for special areas), ENOMEM (something in it is not mapped).
        """
        end = self._checked_range(start, length)
        if advice is not Advice.MADV_DONTNEED:
            await self._advise_huge(start, end, advice is Advice.MADV_HUGEPAGE)
            return
        async with self.mmap_lock.read():
            for area in self._covered(start, end):
                if area.special:
                    raise HmmError("EINVAL", "the area is special")
                first, last = max(start, area.start), min(end, area.end)
                async with self.invalidation(first, last, InvalidateEvent.CLEAR):
                    await self._zap(first, last)

    async def exit(self) -> None:
        """End the address space: mirrors are released first, then everything is unmapped (exit_mmap())."""
        for notifier in list(self._notifiers):
            await notifier.release(self)
        async with self.mmap_lock.write():
            await self._unmap(0, TASK_SIZE + PAGE_BYTES)
        self.frames.spaces.remove(self)

    async def split_huge(self, va: int) -> None:
        """Make the huge entry around `va` 512 small ones, if there is one (split_huge_pmd()).

        One of an area with an object behind it is unmapped instead: its pages can be had from there again.
        """
        table = self.page_table.table(va)
        if table is None or not table.huge:
            return
        first = va // HUGE_BYTES * HUGE_BYTES
        async with self.invalidation(first, first + HUGE_BYTES, InvalidateEvent.CLEAR):
            table = self.page_table.table(va)
            if table is None or not table.huge:
                return
            area = self.vmas.find(va)
            if area is not None and area.shared is not None:
                self.frames.drop(table.pfn[table.counted(slice(None))])
                self.page_table.drop_table(va)
            else:
                self.page_table.split_huge(va, self.frames.zero_pfn)

    async def split_huge_ends(self, start: int, end: int) -> None:
        """Split the huge entries that only partly lie in [start, end)."""
        for va in (start, end):
            if va % HUGE_BYTES:
                await self.split_huge(va)

    async def _place(self, start: int, length: int, flags: MapFlags) -> int:
        if flags & (MapFlags.MAP_FIXED | MapFlags.MAP_FIXED_NOREPLACE):
            end = self._checked_range(start, length)
            if self.vmas.overlapping(start, end):
                if MapFlags.MAP_FIXED_NOREPLACE in flags:
                    raise HmmError("EEXIST", "something is mapped there")
                await self._unmap(start, end)
            return start
        place = self.vmas.gap(length, LOWEST_ADDRESS, MMAP_BASE)
        if place is None:
            raise HmmError("ENOMEM", "no gap is large enough")
        return place

    async def _unmap(self, start: int, end: int) -> None:
        self.vmas.split(start)
        self.vmas.split(end)
        areas = self.vmas.overlapping(start, end)
        if not areas:
            return
        for area in areas:
            self.vmas.remove(area)
        first, last = areas[0].start, areas[-1].end
        async with self.invalidation(first, last, InvalidateEvent.UNMAP):
            await self._zap(first, last)
        self._free_tables(first, last)
        for area in areas:
            if area.shared is not None and area.shared.users == 0 and not area.shared.lasts:
                self.frames.drop(np.array(list(area.shared.pages.values()), dtype=np.uint64))
                area.shared.pages.clear()

    async def _zap(self, start: int, end: int) -> None:
        """Drop the entries and their pages; the caller has started an invalidation."""
        await self.split_huge_ends(start, end)
        for span in self.page_table.mapped_spans(start, end):
            self.frames.drop(self.page_table.zap(span.start, span.end))
            await self.host.pause("mm: zap next table")

    def _free_tables(self, start: int, end: int) -> None:
        """Free page-table pages around [start, end) that no area needs any more."""
        floor, ceiling = start // HUGE_BYTES * HUGE_BYTES, -(-end // HUGE_BYTES) * HUGE_BYTES
        for area in self.vmas.overlapping(floor, ceiling):
            if area.end <= start:
                floor = max(floor, area.end)
            if area.start >= end:
                ceiling = min(ceiling, area.start)
        self.page_table.free_tables(floor, ceiling)

    async def _change_protection(self, area: Vma) -> None:
        """Bring the entries of an area in line with its flags (change_protection())."""
        await self.split_huge_ends(area.start, area.end)
        writable = np.uint8(EntryFlags.WRITABLE)
        for span in self.page_table.mapped_spans(area.start, area.end):
            table = span.table
            assert table is not None
            flags = table.flags[span.part]
            if VmFlags.VM_SHARED in area.flags and VmFlags.VM_WRITE in area.flags:
                flags[table.kind[span.part] == EntryKind.PRESENT] |= writable
            else:
                flags &= ~writable
            await self.host.pause("mm: protect next table")

    async def _move(self, area: Vma, new: int, new_length: int) -> None:
        """Move a whole area's entries to `new` and map `new_length` bytes there (move_vma())."""
        self.vmas.insert(replace(area, start=new, end=new + new_length), merge=False)
        shift = new - area.start
        async with self.invalidation(area.start, area.end, InvalidateEvent.UNMAP):
            for span in self.page_table.mapped_spans(area.start, area.end):
                if shift % HUGE_BYTES or span.end - span.start != HUGE_BYTES:
                    await self.split_huge(span.start)
                self.page_table.move(span.start, span.start + shift, span.end - span.start)
                await self.host.pause("mm: move next table")
        self.vmas.remove(area)
        self._free_tables(area.start, area.end)

    def _cut_out(self, start: int, end: int) -> Vma:
        self.vmas.split(start)
        self.vmas.split(end)
        area = self.vmas.find(start)
        assert area is not None
        return area

    async def _advise_huge(self, start: int, end: int, allow: bool) -> None:
        async with self.mmap_lock.write():
            self._covered(start, end)
            self.vmas.split(start)
            self.vmas.split(end)
            for area in self.vmas.overlapping(start, end):
                area.flags = area.flags & ~VmFlags.VM_HUGEPAGE | (VmFlags.VM_HUGEPAGE if allow else VmFlags.VM_NONE)
            self.vmas.merge_around(start, end)

    def _covered(self, start: int, end: int) -> list[Vma]:
        areas = self.vmas.overlapping(start, end)
        reached = start
        for area in areas:
            if area.start > reached:
                break
            reached = area.end
        if reached < end:
            raise HmmError("ENOMEM", f"{reached:#x} is not mapped")
        return areas

    def _checked_range(self, start: int, length: int) -> int:
        end = start + page_up(length)
        if start % PAGE_BYTES or start < 0 or length <= 0 or end > TASK_SIZE:
            raise HmmError("EINVAL", "an aligned start and a length inside the address space are needed")
        return end
