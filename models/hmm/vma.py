# SPDX-License-Identifier: Apache-2.0
"""Virtual memory areas and the sorted list of them (struct vm_area_struct, find_vma(), vma_merge(), split_vma())."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, IntFlag
from typing import TYPE_CHECKING

from models.arrays import PAGE_BYTES, PAGE_SHIFT

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap


class VmFlags(IntFlag):
    """Properties of an area, with the numbers of Linux 6.1 (VM_READ, ... of include/linux/mm.h)."""

    VM_NONE = 0
    VM_READ = 0x1
    VM_WRITE = 0x2
    VM_EXEC = 0x4
    VM_SHARED = 0x8
    VM_MAYREAD = 0x10
    VM_MAYWRITE = 0x20
    VM_UFFD_MISSING = 0x200
    """userfaultfd is told of pages that are missing"""
    VM_PFNMAP = 0x400
    VM_UFFD_WP = 0x1000
    """userfaultfd is told of writes to pages that it protected"""
    VM_LOCKED = 0x2000
    VM_IO = 0x4000
    VM_NORESERVE = 0x20_0000
    VM_HUGETLB = 0x40_0000
    VM_MIXEDMAP = 0x1000_0000
    VM_HUGEPAGE = 0x2000_0000
    VM_NOHUGEPAGE = 0x4000_0000
    VM_MERGEABLE = 0x8000_0000
    """pages that are equal may be merged"""
    VM_UFFD_MINOR = 0x20_0000_0000
    """userfaultfd is told where a page is in the cache but not mapped"""


VM_SPECIAL = VmFlags.VM_IO | VmFlags.VM_PFNMAP | VmFlags.VM_MIXEDMAP


class Backing(Enum):
    """What stands behind an area, besides anonymous memory."""

    SHMEM = "memory that is shared: tmpfs, memfd, shared anonymous memory"
    FILE = "the page cache of a file"
    HUGETLB = "huge pages that were set aside"
    KERNEL = "pages of the kernel itself: vdso"
    DRIVER = "what a driver maps"


@dataclass(eq=False)
class SharedObject:
    """What stands behind an area: pages by their number in the object (struct address_space).

    It holds a reference to each. `users` counts the areas that map it. `size`: pages of the object, None if it has no
    end. `swapped`: numbers of pages that are in swap. `huge`: numbers of the first pages of huge pages in it.
    `unready`: numbers of pages whose content was not read yet. `dirty`: numbers of pages that were written and not
    written back. `huge_allowed`: a missing page may become a huge one. `lasts`: its pages stay when nobody maps it.
    """

    pages: dict[int, int] = field(default_factory=dict)
    users: int = 0
    kind: Backing = Backing.SHMEM
    size: int | None = None
    swapped: set[int] = field(default_factory=set)
    huge: set[int] = field(default_factory=set)
    unready: set[int] = field(default_factory=set)
    dirty: set[int] = field(default_factory=set)
    huge_allowed: bool = False
    lasts: bool = False


@dataclass(eq=False)
class Vma:
    """The bytes [start, end) of address space `mm`, with equal properties. `offset`: page of `shared` at start.

    `shared` is the object behind the area, private areas of files included; None for anonymous memory.
    `end` is moved where a neighbour merges into the area or a piece is cut off, as in the kernel.
    `watches_writes`: the first write to each page has to be seen, so a page is never mapped writable before it
    (vma_wants_writenotify()). `no_fault`: its driver has no fault handler. `huge_bytes`: size of its pages (HUGETLB).
    """

    mm: MemoryMap
    start: int
    end: int
    flags: VmFlags
    shared: SharedObject | None = None
    offset: int = 0
    watches_writes: bool = False
    no_fault: bool = False
    huge_bytes: int = PAGE_BYTES
    anonymous_pages: bool = False
    """Whether it has had anonymous pages (anon_vma), so that a fork copies its entries."""

    def object_page(self, va: int) -> int:
        """Number of the page of `va` in the shared object."""
        return self.offset + ((va - self.start) >> PAGE_SHIFT)

    @property
    def special(self) -> bool:
        """Whether its pages are not the kernel's to manage (VM_IO, VM_PFNMAP or VM_MIXEDMAP)."""
        return bool(self.flags & VM_SPECIAL)

    @property
    def is_shared(self) -> bool:
        """Whether what is written is seen by everybody who maps the object."""
        return VmFlags.VM_SHARED in self.flags

    @property
    def copy_on_write(self) -> bool:
        """Whether writes go to a private copy (is_cow_mapping())."""
        return self.flags & (VmFlags.VM_SHARED | VmFlags.VM_MAYWRITE) == VmFlags.VM_MAYWRITE

    @property
    def accessible(self) -> bool:
        """Whether anything may be done with its memory (vma_is_accessible())."""
        return bool(self.flags & (VmFlags.VM_READ | VmFlags.VM_WRITE | VmFlags.VM_EXEC))

    @property
    def writable_at_once(self) -> bool:
        """Whether a read already maps a page writable: its vm_page_prot allows writing."""
        wanted = VmFlags.VM_SHARED | VmFlags.VM_WRITE
        return self.flags & wanted == wanted and not self.watches_writes

    def contains(self, start: int, end: int) -> bool:
        """Whether [start, end) lies inside."""
        return self.start <= start and end <= self.end

    def continues(self, before: Vma) -> bool:
        """Whether this area could be one with `before`, which ends where it starts."""
        if before.end != self.start or before.flags != self.flags or before.shared is not self.shared:
            return False
        if (before.watches_writes, before.no_fault) != (self.watches_writes, self.no_fault):
            return False
        return self.shared is None or before.object_page(before.end) == self.offset


class VmaList:
    """The areas of one address space, by rising address, never overlapping."""

    def __init__(self) -> None:
        self._areas: list[Vma] = []

    def __iter__(self) -> Iterator[Vma]:
        return iter(list(self._areas))

    def __len__(self) -> int:
        return len(self._areas)

    def find(self, va: int) -> Vma | None:
        """The area that holds `va`."""
        place = bisect_right(self._areas, va, key=_start) - 1
        if place >= 0 and va < self._areas[place].end:
            return self._areas[place]
        return None

    def overlapping(self, start: int, end: int) -> list[Vma]:
        """The areas that have bytes of [start, end), by rising address."""
        place = max(bisect_right(self._areas, start, key=_start) - 1, 0)
        found = []
        for area in self._areas[place:]:
            if area.start >= end:
                break
            if area.end > start:
                found.append(area)
        return found

    def insert(self, area: Vma, *, merge: bool = True) -> Vma:
        """Add an area where nothing is; with `merge` it becomes one with equal neighbours.

        Returns the area that now holds it.
        """
        place = bisect_right(self._areas, area.start, key=_start)
        self._areas.insert(place, area)
        if area.shared is not None:
            area.shared.users += 1
        if not merge:
            return area
        if place + 1 < len(self._areas) and self._areas[place + 1].continues(area):
            self._absorb(place)
        if place > 0 and area.continues(self._areas[place - 1]):
            self._absorb(place - 1)
            return self._areas[place - 1]
        return area

    def merge_around(self, start: int, end: int) -> None:
        """Make equal neighbours one area, wherever they meet in [start, end]."""
        place = max(bisect_right(self._areas, start, key=_start) - 2, 0)
        while place + 1 < len(self._areas) and self._areas[place].end <= end:
            if self._areas[place + 1].continues(self._areas[place]):
                self._absorb(place)
            else:
                place += 1

    def remove(self, area: Vma) -> None:
        """Take an area out."""
        self._areas.remove(area)
        if area.shared is not None:
            area.shared.users -= 1

    def split(self, va: int) -> None:
        """Cut the area around `va` in two there, if there is one that has bytes on both sides."""
        area = self.find(va)
        if area is None or area.start == va:
            return
        upper = replace(area, start=va, offset=area.object_page(va))
        area.end = va
        self._areas.insert(self._areas.index(area) + 1, upper)
        if upper.shared is not None:
            upper.shared.users += 1

    def gap(self, length: int, lowest: int, highest: int) -> int | None:
        """The highest page-aligned address below `highest` where `length` bytes are free, none below `lowest`."""
        top = highest
        for area in reversed(self._areas):
            if area.start >= top:
                continue
            if top - max(area.end, lowest) >= length:
                return top - length
            top = min(top, area.start)
        return top - length if top - lowest >= length else None

    def _absorb(self, place: int) -> None:
        lower, upper = self._areas[place], self._areas.pop(place + 1)
        lower.end = upper.end
        if upper.shared is not None:
            upper.shared.users -= 1


def _start(area: Vma) -> int:
    return area.start
