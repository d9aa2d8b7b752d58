# SPDX-License-Identifier: Apache-2.0
"""What stands behind a recorded area: files, shared memory, huge pages set aside, drivers, and what their caches hold.

Source: models/data/kernel/README.md, "req", `backing` and `pages`.
"""

from __future__ import annotations

from models.arrays import PAGE_SHIFT
from models.conform.notes import InexpressibleError, Note
from models.conform.records import Backing as RecordedBacking
from models.conform.records import RecordedState
from models.hmm.frames import HUGE_PAGES
from models.hmm.numbered_frames import NumberedFrames
from models.hmm.vma import Backing, SharedObject, Vma, VmFlags

KINDS = {
    "file": Backing.FILE,
    "shmem": Backing.SHMEM,
    "hugetlb": Backing.HUGETLB,
    "special": Backing.KERNEL,
    "pfnmap": Backing.DRIVER,
    "mixed": Backing.DRIVER,
    "device": Backing.DRIVER,
}
SIZED = (Backing.FILE, Backing.SHMEM, Backing.HUGETLB)
SHMEM_HUGE_SETTING = "shmem_enabled"
SHMEM_HUGE_VALUES = ("advise", "always", "within_size", "force")


class ObjectBuilder:
    """Makes the objects behind the areas of one record. Areas that continue each other have one object."""

    def __init__(self, record: RecordedState, frames: NumberedFrames) -> None:
        self._frames = frames
        self._huge_shmem = _huge_shmem(record)
        self._last: tuple[RecordedBacking, SharedObject] | None = None

    def object_of(self, backing: RecordedBacking) -> SharedObject | None:
        """The object behind an area; None for anonymous memory. Errors: InexpressibleError for an unknown kind."""
        start, _, kind, offset, file_size = backing[:5]
        if kind == "anon":
            return None
        if kind not in KINDS:
            raise InexpressibleError(f'an area of the unknown kind "{kind}"')
        if self._last is not None:
            before, known = self._last
            behind = before[3] + ((start - before[0]) >> PAGE_SHIFT)
            if before[1] == start and behind == offset and before[2] == kind and before[4:8:3] == backing[4:8:3]:
                self._last = (backing, known)
                return known
        made = SharedObject(kind=KINDS[kind], lasts=True)
        if made.kind in SIZED:
            made.size = -(-file_size >> PAGE_SHIFT)
        made.huge_allowed = self._huge_shmem and made.kind is Backing.SHMEM
        self._last = (backing, made)
        return made

    def add_page(self, area: Vma, number: int, note: Note, pfn: int | None) -> None:
        """Note what the object's cache has of a page that the record tells of. `pfn`: of a page that is mapped."""
        cache = area.shared
        assert cache is not None
        if note.first == "shmem_swap":
            cache.swapped.add(number)
        if note.first not in ("cache", "file", "reserved") or note.kind is not None:
            return
        if VmFlags.VM_HUGETLB in area.flags:
            self._add_hugetlb(area, number, pfn)
            return
        if "thp" in note.words:
            self._add_huge(cache, number, pfn)
        elif number not in cache.pages:
            cache.pages[number] = pfn if pfn is not None else self._frames.system.allocate()
        if "dirty" in note.words:
            cache.dirty.add(number)
        if "!uptodate" in note.words:
            cache.unready.add(number)
        if "hwpoison" in note.words:
            self._frames.system.poison(cache.pages[number])

    def _add_hugetlb(self, area: Vma, number: int, pfn: int | None) -> None:
        pages = area.huge_bytes >> PAGE_SHIFT
        cache = area.shared
        assert cache is not None
        first = number // pages * pages
        if first not in cache.pages:
            cache.pages[first] = pfn if pfn is not None else self._frames.system.allocate_order(pages.bit_length() - 1)

    def _add_huge(self, cache: SharedObject, number: int, pfn: int | None) -> None:
        """A page of a huge page of the cache: all of that are in the cache."""
        first = number // HUGE_PAGES * HUGE_PAGES
        if number in cache.pages:
            return
        base = self._frames.system.allocate_huge() if pfn is None else pfn - pfn % HUGE_PAGES
        for index in range(HUGE_PAGES):
            cache.pages.setdefault(first + index, base + index)
        cache.huge.add(first)


def _huge_shmem(record: RecordedState) -> bool:
    """Whether `setup` let shared memory have huge pages."""
    allowed = False
    for call in record.setup:
        if call[0] == "write_file" and len(call) > 2 and str(call[1]).endswith(SHMEM_HUGE_SETTING):
            allowed = str(call[2]).strip() in SHMEM_HUGE_VALUES
    return allowed
