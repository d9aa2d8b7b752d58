# SPDX-License-Identifier: Apache-2.0
"""An address space whose page-table entries a test writes itself, and hmm_range_fault() on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.arrays import PAGE_BYTES, Words
from models.conform.judge import Alone, run_alone
from models.formats import format_by_name
from models.hmm.errors import HmmError
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES, HugePool
from models.hmm.kernel_rules import kernel_rules
from models.hmm.memory_map import MemoryMap
from models.hmm.notifiers import InvalidateEvent, MmuIntervalNotifier, MmuNotifierRange
from models.hmm.numbered_frames import NumberedFrames, NumberedPagemap
from models.hmm.page_table import DIRECTORY_SHIFTS, EntryFlags, EntryKind, LargeEntry
from models.hmm.range_fault import NotifiedRange, hmm_range_fault
from models.hmm.vma import SharedObject, Vma, VmFlags
from models.pages import Window

PLACE = 0x4000_0000
FORMAT = format_by_name("linux_5_8")
VALID, WRITE, ERROR = FORMAT.valid, FORMAT.write, FORMAT.error
FAULT, WRITE_FAULT = VALID, VALID | WRITE
ORDER_SHIFT = FORMAT.order_shift
ZERO_PFN = 7
HUGE_ZERO_PFN = 1024
OWN = Window(1 << 30, 64)
FOREIGN = Window((1 << 30) + 64, 64)
READ_WRITE = VmFlags.VM_READ | VmFlags.VM_WRITE | VmFlags.VM_MAYREAD | VmFlags.VM_MAYWRITE
READ_ONLY = VmFlags.VM_READ | VmFlags.VM_MAYREAD
KNOWN_PAGES = 1 << 13
FIRST_PFN = 4096
"""Pfns of entries that tests write begin here."""


class PresentBench:
    """One address space as of Linux `release`, a watched range from PLACE on, and the events that it was told."""

    def __init__(self, release: tuple[int, int] = (6, 1)) -> None:
        self.frames = NumberedFrames(KNOWN_PAGES, ZERO_PFN)
        self.frames.use_huge_zero(HUGE_ZERO_PFN)
        self.frames.system.exists(np.array([ZERO_PFN], dtype=np.uint64), 1)
        self.own, self.foreign = NumberedPagemap(OWN), NumberedPagemap(FOREIGN)
        for pagemap in (self.own, self.foreign):
            self.frames.add_pagemap(pagemap)
            pagemap.migrate_to_ram = self._migrate_to_ram
        self.frames.huge_pools = {HUGE_BYTES: HugePool(2)}
        self.mm = MemoryMap(Alone(), self.frames, rules=kernel_rules(release))
        self.events: list[InvalidateEvent] = []
        self.notifier = MmuIntervalNotifier(PLACE, PLACE + 4 * HUGE_BYTES, self._note)
        self.mm.intervals.insert(self.notifier)

    async def _note(self, notifier: MmuIntervalNotifier, update: MmuNotifierRange, seq: int) -> bool:
        notifier.set_seq(seq)
        self.events.append(update.event)
        return True

    def sequence(self) -> int:
        """The sequence to ask with."""
        return run_alone(self.mm.intervals.read_begin(self.notifier))

    async def _migrate_to_ram(self, mm: Any, vma: Any, page: int) -> None:
        entry = mm.page_table.lookup(page)
        async with mm.invalidation(page, page + PAGE_BYTES, InvalidateEvent.MIGRATE, self.frames.pagemap_of(entry.pfn)):
            new = self.frames.system.allocate()
            mm.page_table.set(page, EntryKind.PRESENT, new, entry.flags & EntryFlags.WRITABLE)

    def area(
        self,
        pages: int = HUGE_PAGES,
        flags: VmFlags = READ_WRITE,
        first: int = 0,
        shared: SharedObject | None = None,
        **more: Any,
    ) -> Vma:
        """An area of `pages` from page number `first` on."""
        start = PLACE + first * PAGE_BYTES
        made = Vma(self.mm, start, start + pages * PAGE_BYTES, flags, shared, **more)
        return self.mm.vmas.insert(made, merge=False)

    def entry(
        self,
        page: int,
        kind: EntryKind,
        flags: EntryFlags = EntryFlags.NONE,
        pfn: int | None = None,
        references: int = 1,
    ) -> int:
        """Write one entry, of a page that has so many references; returns its pfn."""
        number = FIRST_PFN + page if pfn is None else pfn
        if EntryFlags.SPECIAL not in flags and kind not in (EntryKind.NONE, EntryKind.SWAP, EntryKind.MARKER):
            pool = self.frames.pool_of(number)
            pool.take(np.full(references - pool.references(number), number, dtype=np.uint64))
        self.mm.page_table.set(PLACE + page * PAGE_BYTES, kind, number, flags)
        return number

    def huge(
        self,
        kind: EntryKind = EntryKind.PRESENT,
        flags: EntryFlags = EntryFlags.NONE,
        pfn: int = FIRST_PFN,
        references: int = 1,
    ) -> None:
        """Map the first 2 MiB by one entry."""
        self.mm.page_table.set_huge(PLACE, pfn, flags)
        table = self.mm.page_table.ensure_table(PLACE)
        table.kind[:] = kind
        if EntryFlags.SPECIAL not in flags:
            self.frames.system.exists(table.pfn, references)

    def large(self, order: int, kind: EntryKind = EntryKind.PRESENT, flags: EntryFlags = EntryFlags.NONE) -> None:
        """One entry for 2^order pages, as hugetlb areas have them."""
        self.mm.page_table.ensure_directories(PLACE, DIRECTORY_SHIFTS[0] if order == 9 else DIRECTORY_SHIFTS[1])
        self.frames.system.exists(np.array([FIRST_PFN], dtype=np.uint64), 1)
        self.mm.page_table.large[PLACE] = LargeEntry(kind, flags, FIRST_PFN, order, raw_pfn=99)

    def ask(
        self,
        pages: int = 1,
        default: int = 0,
        inputs: list[int] | Words | None = None,
        mask: int = 0,
        *,
        first: int = 0,
        owner: bool = True,
        seq: int | None = None,
    ) -> tuple[str, Words]:
        """One call for `pages` from page number `first` on; returns the errno name ("" for success) and the array."""
        array = np.zeros(pages, dtype=np.uint64) if inputs is None else np.array(inputs, dtype=np.uint64)
        start = PLACE + first * PAGE_BYTES
        hmm_range = NotifiedRange(
            self.notifier,
            self.sequence() if seq is None else seq,
            start,
            start + pages * PAGE_BYTES,
            array,
            FORMAT,
            default,
            mask,
            self.own if owner else None,
        )
        run_alone(self.mm.mmap_lock.acquire_read())
        try:
            run_alone(hmm_range_fault(self.mm, hmm_range))
        except HmmError as error:
            return error.errno, array
        finally:
            self.mm.mmap_lock.release_read()
        return "", array

    def answers(self, default: int, pages: int = 1, *, owner: bool = True) -> list[str]:
        """What a driver's calls give, one after another until one is not EBUSY: each an errno name or `shape()`."""
        found = []
        for _ in range(6):
            errno, array = self.ask(pages, default, owner=owner)
            found.append(errno or shape(int(array[0])))
            if errno != "EBUSY":
                break
        return found

    def entries(self, pages: int, first: int = 0) -> list[Any]:
        """The page table's entries."""
        return [self.mm.page_table.lookup(PLACE + page * PAGE_BYTES) for page in range(first, first + pages)]


def shape(word: int) -> str:
    """A word for people: V, VW, E, 0, "pfn" for a pfn that is not VALID; +9 for order 9."""
    order = (word >> ORDER_SHIFT) & 0x1F
    text = "V" if word & VALID else ""
    text += "W" if word & WRITE else ""
    text += "E" if word & ERROR else ""
    if not text:
        text = "pfn" if word & FORMAT.pfn_mask else "0"
    return text + (f"+{order}" if order else "")


def pfn_of(word: int) -> int:
    """The pfn in a word."""
    return int(word) & FORMAT.pfn_mask


def mapped(bench: PresentBench, pages: int, first: int = 0) -> str:
    """One letter for each page: w writable, r read-only, . nothing."""
    return "".join(
        "." if entry.kind is not EntryKind.PRESENT else "w" if entry.writable else "r"
        for entry in bench.entries(pages, first)
    )


def driver(bench: PresentBench, default: int, pages: int, first: int = 0, inputs: list[int] | None = None) -> list[str]:
    """A driver's loop; returns the last array for people, or the errno name."""
    for _ in range(6):
        errno, array = bench.ask(pages, default, inputs, WRITE_FAULT, first=first)
        if errno != "EBUSY":
            return [errno] if errno else [shape(int(word)) for word in array]
    return ["EBUSY"]
