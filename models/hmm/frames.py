# SPDX-License-Identifier: Apache-2.0
"""Physical pages with reference counts: of system memory, and of devices' own memory.

A page's reference count is the number of page-table entries that map it (migration entries included), plus whoever
holds it for a moment. Its bytes are real: they lie in a PhysicalMemory. Source: docs/host.md, "Pages".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, WORD_BYTES, Words
from models.errors import UserError
from models.hmm.errors import HmmError
from models.pages import Window
from models.physical_memory import Owner, PhysicalMemory

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap
    from models.hmm.vma import Vma
    from models.preemption import HostEvent

PAGE_WORDS = PAGE_BYTES // WORD_BYTES
HUGE_PAGES = 512
"""Pages of a 2 MiB page."""
HUGE_BYTES = HUGE_PAGES * PAGE_BYTES


@dataclass
class HugePool:
    """The huge pages of one size that were set aside: how many are free, and how many of those somebody reserved."""

    free: int
    reserved: int = 0

    def take(self, *, reserved: bool) -> bool:
        """Take one, out of the reserve if `reserved`; returns whether there was one."""
        if reserved and self.reserved:
            self.reserved -= 1
        elif self.free <= self.reserved:
            return False
        self.free -= 1
        return True


MigrateToRam = Callable[["MemoryMap", "Vma", int], Awaitable[None]]
"""What a device does when the CPU wants a page of its memory at a virtual address (dev_pagemap_ops.migrate_to_ram).

The mmap lock is held for reading. Errors: HmmError if the page cannot be brought back.
"""


class FramePool:
    """The pages of one memory; the page at `memory.base` has the pfn `first_pfn`.

    A page that was given back is the next one to be handed out, so that a stale access meets new data soon. At most
    `limit` pages are taken from the memory.
    """

    def __init__(self, memory: PhysicalMemory, first_pfn: int, limit: int | None = None) -> None:
        self.memory = memory
        self.first_pfn = first_pfn
        self.count = memory.size >> PAGE_SHIFT
        self._references = np.zeros(self.count, dtype=np.int32)
        self._poisoned = np.zeros(self.count, dtype=np.bool_)
        self._free: list[int] = []
        self._left = self.count if limit is None else limit

    def holds(self, pfn: int) -> bool:
        """Whether `pfn` is one of this pool."""
        return self.first_pfn <= pfn < self.first_pfn + self.count

    def address(self, pfn: int) -> int:
        """Address of the page in its memory."""
        return self.memory.base + ((pfn - self.first_pfn) << PAGE_SHIFT)

    def allocate(self) -> int:
        """A page of zeros with one reference. Errors: HmmError ENOMEM if none is left."""
        if not self._free:
            self._grow()
        pfn = self._free.pop()
        self._hand_out(pfn, 1)
        return pfn

    def allocate_huge(self) -> int:
        """The first pfn of 512 consecutive aligned pages of zeros with one reference each.

        Errors: HmmError ENOMEM if there is no such piece.
        """
        if self._left < HUGE_PAGES:
            raise HmmError("ENOMEM", "no free piece of 2 MiB")
        try:
            address = self.memory.allocate(HUGE_BYTES, HUGE_BYTES, Owner.NONE)
        except UserError:
            raise HmmError("ENOMEM", "no free piece of 2 MiB") from None
        self._left -= HUGE_PAGES
        pfn = self.first_pfn + ((address - self.memory.base) >> PAGE_SHIFT)
        self._hand_out(pfn, HUGE_PAGES)
        return pfn

    def allocate_order(self, order: int) -> int:
        """The first pfn of 2^order consecutive aligned pages with one reference each; order 0 or 9.

        Errors: HmmError ENOMEM if there is no such piece.
        """
        if order == 0:
            return self.allocate()
        if 1 << order != HUGE_PAGES:
            raise HmmError("ENOMEM", f"no free piece of 2^{order} pages")
        return self.allocate_huge()

    def take(self, pfns: Words) -> None:
        """One more reference to each of the pages uint64[n], which may repeat."""
        np.add.at(self._references, self._indices(pfns), 1)

    def drop(self, pfns: Words) -> None:
        """One reference less to each of the pages uint64[n]; those without any are free and may be handed out again.

        Errors: RuntimeError if a page has no reference left to drop.
        """
        indices = self._indices(pfns)
        np.add.at(self._references, indices, -1)
        counts = self._references[indices]
        if bool((counts < 0).any()):
            raise RuntimeError(f"page {int(pfns[np.argmin(counts)]):#x} was given back more often than it was taken")
        freed = np.unique(indices[counts == 0])
        self.memory.owners.reshape(-1, PAGE_WORDS)[freed] = Owner.NONE
        self._free.extend(self.first_pfn + int(index) for index in freed[~self._poisoned[freed]])

    def references(self, pfn: int) -> int:
        """Number of references to a page."""
        return int(self._references[pfn - self.first_pfn])

    def poison(self, pfn: int) -> None:
        """Never hand this page out again, though it be free already."""
        self._poisoned[pfn - self.first_pfn] = True
        if pfn in self._free:
            self._free.remove(pfn)

    def is_poisoned(self, pfn: int) -> bool:
        """Whether the page was lost."""
        return bool(self._poisoned[pfn - self.first_pfn])

    def words(self, pfn: int) -> Words:
        """The page's bytes as a view uint64[512] of the shared memory. Write with store(), which keeps the shadow."""
        first = (self.address(pfn) - self.memory.base) // WORD_BYTES
        return self.memory.words[first : first + PAGE_WORDS]

    def store(self, pfn: int, content: Words) -> None:
        """Overwrite the whole page with uint64[512]."""
        self.memory.write_words(self.address(pfn), content)

    def pages_in_use(self) -> int:
        """Number of pages with at least one reference."""
        return int(np.count_nonzero(self._references))

    def _hand_out(self, pfn: int, count: int) -> None:
        address = self.address(pfn)
        self._references[pfn - self.first_pfn : pfn - self.first_pfn + count] = 1
        self.memory.set_owner(address, count * PAGE_BYTES, Owner.DATA)
        self.memory.write_words(address, np.zeros(count * PAGE_WORDS, dtype=np.uint64))

    def _grow(self) -> None:
        for size in (HUGE_BYTES, PAGE_BYTES):
            if self._left < size >> PAGE_SHIFT:
                continue
            try:
                address = self.memory.allocate(size, size, Owner.NONE)
            except UserError:
                continue
            first = self.first_pfn + ((address - self.memory.base) >> PAGE_SHIFT)
            self._left -= size >> PAGE_SHIFT
            self._free.extend(range(first + (size >> PAGE_SHIFT) - 1, first - 1, -1))
            return
        raise HmmError("ENOMEM", "no free page is left")

    def _indices(self, pfns: Words) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return (pfns - np.uint64(self.first_pfn)).astype(np.int64)


class DevicePagemap:
    """The own memory of one device, as the kernel knows it (struct dev_pagemap of type MEMORY_DEVICE_PRIVATE).

    `window` gives its pages their pfns; they are no addresses of any bus. `migrate_to_ram` is set by the driver.
    """

    def __init__(self, memory: PhysicalMemory, window: Window) -> None:
        """Errors: UserError if memory and window have different sizes."""
        if memory.size >> PAGE_SHIFT != window.count:
            raise UserError(f"Give the window as many pages as its memory has: {memory.size >> PAGE_SHIFT}.")
        self.window = window
        self.pool = FramePool(memory, window.base)
        self.migrate_to_ram: MigrateToRam | None = None


class Frames:
    """All pages of a machine. Attributes: `system`, the pool of system memory; `zero_pfn`, the page of zeros that
    entries share where nothing was written yet; `pagemaps`; `spaces`, every address space that maps these pages;
    `migrations`, the pages that are being moved, each with the event of its arrival; `huge_pools`, the huge pages that
    were set aside, by their size in bytes; `folios`, the first pfns of 2 MiB pages that were not split; `shared_once`,
    pages that somebody else may have had, so that they do not become writable without a fault; `fills`, the byte that
    a page is known to be full of; `merged`, pages that stand for all that are full of one byte, with that byte;
    `dirty`, pages that a device may have written since they were clean (set_page_dirty()).
    """

    def __init__(self, memory: PhysicalMemory, limit: int | None = None) -> None:
        """`limit`: at most so many pages of `memory` are used."""
        lowest = memory.allocate(PAGE_BYTES, PAGE_BYTES, Owner.NONE)
        if lowest != 0:  # Page 0 stays unused: a request to HMM looks like a mapping of it.
            memory.free(lowest)
        self.system = FramePool(memory, memory.base >> PAGE_SHIFT, limit)
        self.pagemaps: list[DevicePagemap] = []
        self.spaces: list[MemoryMap] = []
        self.migrations: dict[int, HostEvent] = {}
        self.huge_pools: dict[int, HugePool] = {}
        self._note_nothing()
        self.zero_pfn = self.system.allocate()
        self._huge_zero_pfn: int | None = None
        self._spaces_made = 0

    def _note_nothing(self) -> None:
        self.folios: set[int] = set()
        self.shared_once: set[int] = set()
        self.swap_slots = 0
        self._written_out: dict[object, Words] = {}
        self.fills: dict[int, int] = {}
        self.merged: dict[int, int] = {}
        self.dirty: set[int] = set()

    def mark_dirty(self, pfns: Words) -> None:
        """Somebody other than the CPU may have written the pages uint64[n] (set_page_dirty())."""
        self.dirty.update(pfns.tolist())

    def is_dirty(self, pfn: int) -> bool:
        """Whether the page was marked since it was clean or handed out."""
        return pfn in self.dirty

    def clean(self, pfn: int) -> None:
        """The page was written back (clear_page_dirty_for_io())."""
        self.dirty.discard(pfn)

    def allocate_huge(self) -> int:
        """The first pfn of a 2 MiB page of system memory. Errors: HmmError ENOMEM."""
        pfn = self.system.allocate_huge()
        self.folios.add(pfn)
        return pfn

    def folio_of(self, pfn: int) -> tuple[int, int]:
        """(first pfn, number of pages) of the page that `pfn` is a part of: 512 if it is a 2 MiB page, else 1."""
        first = pfn - pfn % HUGE_PAGES
        return (first, HUGE_PAGES) if first in self.folios else (pfn, 1)

    def is_exclusive(self, pfn: int) -> bool:
        """Whether a page of anonymous memory is known to be one process's alone (PageAnonExclusive())."""
        return pfn not in self.shared_once and self.references(pfn) == 1

    def next_swap_slot(self) -> int:
        """A place in swap that nobody has."""
        self.swap_slots += 1
        return self.swap_slots

    def write_out(self, place: object, pfn: int) -> None:
        """Keep a page's bytes where it goes: `place` is a slot of swap, or an object and the number of its page."""
        words = self.words(pfn)
        if words.any():
            self._written_out[place] = words.copy()
        else:
            self._written_out.pop(place, None)

    def read_in(self, place: object, pfn: int) -> None:
        """Fill a page of zeros with what was kept; the place keeps it, for others may have it there too."""
        words = self._written_out.get(place)
        if words is not None:
            self.pool_of(pfn).store(pfn, words)

    def forget_written_out(self, owner: object, first: int, end: int) -> None:
        """Pages [first, end) of an object are no more: what was kept of them is gone."""
        pages = (place for place in self._written_out if isinstance(place, tuple) and place[0] is owner)
        gone = [place for place in pages if first <= place[1] < end]
        for place in gone:
            del self._written_out[place]

    def next_space_number(self) -> int:
        """A number for a new address space."""
        self._spaces_made += 1
        return self._spaces_made

    def add_pagemap(self, pagemap: DevicePagemap) -> None:
        """Make a device's memory known. Errors: UserError if its pfns are taken."""
        first, last = pagemap.window.base, pagemap.window.base + pagemap.window.count - 1
        pools = [self.system, *(other.pool for other in self.pagemaps)]
        if any(first < pool.first_pfn + pool.count and pool.first_pfn <= last for pool in pools):
            raise UserError(f"Choose another window: pfns {first:#x} to {last:#x} belong to another memory.")
        self.pagemaps.append(pagemap)

    def huge_zero_pfn(self) -> int:
        """The first of 512 pages of zeros that huge entries share. Errors: HmmError ENOMEM."""
        if self._huge_zero_pfn is None:
            self._huge_zero_pfn = self.system.allocate_huge()
        return self._huge_zero_pfn

    def pagemap_of(self, pfn: int) -> DevicePagemap | None:
        """The device whose memory `pfn` is in; None for system memory."""
        return next(
            (pagemap for pagemap in self.pagemaps if pagemap.window.base <= pfn and pagemap.pool.holds(pfn)), None
        )

    def pool_of(self, pfn: int) -> FramePool:
        """The pool of a page. Errors: RuntimeError if no memory has that pfn."""
        if self.system.holds(pfn):
            return self.system
        pagemap = self.pagemap_of(pfn)
        if pagemap is None:
            raise RuntimeError(f"no memory has the page {pfn:#x}")
        return pagemap.pool

    def take(self, pfns: Words) -> None:
        """One more reference to each of the pages uint64[n], of whatever memory."""
        for pool, part in self._by_pool(pfns):
            pool.take(part)

    def drop(self, pfns: Words) -> None:
        """One reference less to each of the pages uint64[n], of whatever memory. Errors: as FramePool.drop()."""
        for pool, part in self._by_pool(pfns):
            pool.drop(part)
            if self.dirty:
                self.dirty -= {pfn for pfn in part.tolist() if pfn in self.dirty and not pool.references(pfn)}

    def references(self, pfn: int) -> int:
        """Number of references to a page."""
        return self.pool_of(pfn).references(pfn)

    def may_be_batched(self, pfn: int) -> bool:
        """Whether a processor's LRU batch may hold the page besides its references: here they are always emptied."""
        return False

    def is_far(self, pfn: int) -> bool:
        """Whether the page lies in the memory of another node than the processors': here there is only one."""
        return False

    def note_far(self, pfns: range) -> None:
        """These pages lie in the memory of another node than the processors': here nothing comes of it."""

    def words(self, pfn: int) -> Words:
        """A page's bytes as a view uint64[512]."""
        return self.pool_of(pfn).words(pfn)

    def copy(self, source: int, target: int) -> None:
        """Copy a page's bytes, between memories too."""
        self.pool_of(target).store(target, self.words(source))

    def _by_pool(self, pfns: Words) -> list[tuple[FramePool, Words]]:
        if pfns.size == 0:
            return []
        if not self.pagemaps:
            return [(self.system, pfns)]
        parts = []
        for pool in (self.system, *(pagemap.pool for pagemap in self.pagemaps)):
            first, end = np.uint64(pool.first_pfn), np.uint64(pool.first_pfn + pool.count)
            chosen = pfns[(pfns >= first) & (pfns < end)]
            if chosen.size:
                parts.append((pool, chosen))
        if sum(part.size for _, part in parts) != pfns.size:
            raise RuntimeError("a page belongs to no memory")
        return parts
