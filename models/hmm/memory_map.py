# SPDX-License-Identifier: Apache-2.0
"""An address space of the host: areas, page table, notifiers, and the system calls that change them.

Calls are named after the system calls; they fail with HmmError and the same errno name. Every change of a page-table
entry that a mirror may have read happens between invalidate start and end; pages are freed after the start returned.
Source: docs/host.md, "Address spaces".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from models.arrays import PAGE_BYTES, PAGE_SHIFT
from models.hmm.errors import HmmError
from models.hmm.fault_result import Undecided
from models.hmm.frames import Frames
from models.hmm.kernel_rules import RULES_2018, KernelRules
from models.hmm.notifiers import IntervalNotifiers, InvalidateEvent, MmuNotifier, MmuNotifierRange
from models.hmm.operations.advise import madvise
from models.hmm.operations.huge import split_entry, split_entry_at, split_silently
from models.hmm.operations.move import mremap
from models.hmm.operations.protect import mprotect
from models.hmm.operations.unmap import unmap, unmap_everything
from models.hmm.page_table import EntryFlags, EntryKind, PageTable
from models.hmm.system_calls import Advice, MapFlags, Prot, RemapFlags, page_up, protection_flags
from models.hmm.vma import Backing, SharedObject, Vma, VmaList, VmFlags
from models.host_events import Journal
from models.memory_events import SpaceReleased
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


class MemoryMap:
    """One address space (struct mm_struct).

    Attributes: `number` tells address spaces apart; `vmas`; `page_table`; `mmap_lock`; `open_invalidations`, those that
    were started and have not ended; `invalidations_begun`, `faults_begun`: how many so far; `intervals`, the interval
    notifiers; `hmm`, set once a device mirrors the space; `journal`, what happened; `rules`, the kernel's; `undecided`,
    who is asked what no address space knows (no by default).
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
        self.intervals = IntervalNotifiers(host, journal=self.journal, space=self.number)
        self.invalidations_begun = 0
        self.faults_begun = 0
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
        self, start: int, end: int, event: InvalidateEvent, owner: object = None, *, blockable: bool = True
    ) -> AsyncIterator[None]:
        """Notifiers are told before and after what happens inside the `async with`: those of intervals first.

        `owner`, `blockable`: see MmuNotifierRange. Errors: HmmError EAGAIN if somebody would have had to wait and may
        not: then nothing may change, and whoever was told of the start has been told of the end.
        """
        update = MmuNotifierRange(self, start, end, event, owner, blockable)
        told: list[MmuNotifier] = []
        if blockable:
            await self.host.pause("mm: invalidate start")
        self.invalidations_begun += 1
        self.open_invalidations.append(update)
        if not await self.intervals.begin(update):
            self.open_invalidations.remove(update)
            raise HmmError("EAGAIN", "a notifier of an interval would have to wait")
        try:
            for notifier in list(self._notifiers):
                if await notifier.invalidate_range_start(update) is False:
                    raise HmmError("EAGAIN", "a notifier would have to wait")
                told.append(notifier)
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
            await unmap(self, start, end)

    async def mprotect(self, start: int, length: int, prot: Prot) -> None:
        """Change the protection of [start, start + length).

        Errors: HmmError EINVAL, ENOMEM (something in it is not mapped), EACCES (PROT_WRITE where it may never be); what
        lies before has changed then.
        """
        end = self._checked_range(start, length)
        async with self.mmap_lock.write():
            await mprotect(self, start, end, prot)

    async def brk(self, end: int) -> int:
        """Let the heap end at `end`; returns where it ends now (unchanged if that cannot be)."""
        async with self.mmap_lock.write():
            old_top, new_top = page_up(self.brk_end), page_up(end)
            if end < HEAP_START:
                return self.brk_end
            if new_top < old_top:
                await unmap(self, new_top, old_top)
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
            return await mremap(self, old, old_length, new_length, flags, new)

    async def madvise(self, start: int, length: int, advice: Advice) -> None:
        """Follow an advice on [start, start + length). Errors: HmmError as operations.advise.madvise()."""
        await madvise(self, start, self._checked_range(start, length), advice)

    async def exit(self) -> None:
        """End the address space: mirrors are released first, then everything is unmapped (exit_mmap())."""
        await self.intervals.release(self)
        for notifier in list(self._notifiers):
            await notifier.release(self)
        self.journal.add(SpaceReleased(self.number))
        async with self.mmap_lock.write():
            await unmap_everything(self)
        self.frames.spaces.remove(self)

    async def split_huge(self, va: int) -> None:
        """Make the huge entry around `va` 512 small ones, if there is one (split_huge_pmd()).

        One of an area with an object behind it is unmapped instead: its pages can be had from there again.
        """
        table = self.page_table.table(va)
        if table is not None and table.huge:
            await split_entry(self, va)

    async def split_huge_told(self, va: int) -> None:
        """The same, told to the notifiers even where there is none (split_huge_pmd_address())."""
        await split_entry_at(self, va)

    def split_huge_silently(self, va: int) -> None:
        """The same by somebody who has told the notifiers."""
        split_silently(self, va)

    def free_place(self, length: int) -> int:
        """An address where `length` bytes are free. Errors: HmmError ENOMEM."""
        place = self.vmas.gap(length, LOWEST_ADDRESS, MMAP_BASE)
        if place is None:
            raise HmmError("ENOMEM", "no gap is large enough")
        return place

    @property
    def highest(self) -> int:
        """Where the addresses of a process end."""
        return TASK_SIZE

    async def _place(self, start: int, length: int, flags: MapFlags) -> int:
        if flags & (MapFlags.MAP_FIXED | MapFlags.MAP_FIXED_NOREPLACE):
            end = self._checked_range(start, length)
            if self.vmas.overlapping(start, end):
                if MapFlags.MAP_FIXED_NOREPLACE in flags:
                    raise HmmError("EEXIST", "something is mapped there")
                await unmap(self, start, end)
            return start
        return self.free_place(length)

    def _checked_range(self, start: int, length: int) -> int:
        end = start + page_up(length)
        if start % PAGE_BYTES or start < 0 or length <= 0 or end > TASK_SIZE:
            raise HmmError("EINVAL", "an aligned start and a length inside the address space are needed")
        return end
