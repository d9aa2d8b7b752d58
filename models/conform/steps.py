# SPDX-License-Identifier: Apache-2.0
"""The recorded calls, made in the model by their names: system calls, accesses of the CPU, a device's acts, settings.

Source: models/data/kernel/README.md, `setup` and `calls`; the calls themselves are those of models/hmm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from models.arrays import PAGE_BYTES
from models.conform.notes import InexpressibleError
from models.hmm.cpu import cpu_read, cpu_write
from models.hmm.errors import CpuAccessError, HmmError
from models.hmm.fork import fork
from models.hmm.memory_map import MemoryMap
from models.hmm.migration import migrate_vma
from models.hmm.numbered_frames import NumberedPagemap
from models.hmm.operations.exclusive import get_page, make_device_exclusive_range, populate
from models.hmm.operations.huge import cut_area
from models.hmm.operations.merge import merge_equal_pages
from models.hmm.operations.objects import drop_clean_pages, punch_hole, truncate, write_back, write_back_everything
from models.hmm.operations.protect import Change, change_protection, clear_soft_dirty
from models.hmm.operations.reclaim import migrate_folio
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind
from models.hmm.reverse_map import folio_of, users
from models.hmm.system_calls import Advice, MapFlags, Prot, RemapFlags
from models.hmm.vma import Backing, SharedObject, VmFlags

PROTECTIONS = {"r": Prot.PROT_READ, "w": Prot.PROT_WRITE, "x": Prot.PROT_EXEC}
FAILED = "errno="
WITHOUT_EFFECT = ("NORMAL", "RANDOM", "SEQUENTIAL", "WILLNEED", "COLD", "DODUMP", "DONTDUMP")
"""Advice that by itself changes no entry that is mapped writable or not."""
MOST_PAGES = 4096
"""Pages that one call of an access may be about."""
REMAP_FLAGS = {
    "maymove": RemapFlags.MREMAP_MAYMOVE,
    "fixed": RemapFlags.MREMAP_FIXED,
    "dontunmap": RemapFlags.MREMAP_DONTUNMAP,
}
HUGE_PAGE_KINDS = {"hugetlb2m": 1 << 21, "hugetlb1g": 1 << 30}
CLEAR_REFS, SOFT_DIRTY = "clear_refs", "4"
QUIET_FILES = ("/sys/kernel/mm/", "/proc/sys/vm/", "/proc/sys/kernel/", "/sys/block/", "/proc/self/")
"""Settings: what they change shows only later, if at all."""

Ask = Callable[[int, int, int, int, bool], Awaitable[None]]
"""(address, pages, default_flags, pfn_flags_mask, as owner): call hmm_range_fault() as a driver does."""


@dataclass
class Surroundings:
    """What calls are made in. `base`: the address of their page 0; `pagemap`: the recording module's device memory.

    `objects`: files by name; `tracked`: the kernel can see writes to pages; `ask`: makes a call of HMM.
    """

    mm: MemoryMap
    base: int
    pagemap: NumberedPagemap | None
    ask: Ask
    tracked: bool = False
    objects: dict[str, SharedObject] = field(default_factory=dict)
    children: list[MemoryMap | None] = field(default_factory=list)
    merging: bool = False
    gone: bool = False
    loose: set[str] = field(default_factory=set)
    """What makes the order of events, or which pages move, a matter of chance."""

    def place(self, page: int) -> int:
        """The address of a page."""
        return self.base + page * PAGE_BYTES


Step = Callable[[Surroundings, list[Any]], Awaitable[None]]


def learn_files(around: Surroundings, calls: list[list[Any]]) -> None:
    """Find the files of the areas that are there by the names under which they were mapped."""
    for name, *arguments in calls:
        if name == "mmap" and len(arguments) >= 6 and arguments[4] and isinstance(arguments[0], int):
            area = around.mm.vmas.find(around.place(arguments[0]))
            if area is not None and area.shared is not None:
                around.objects[arguments[4]] = area.shared


async def perform(calls: list[list[Any]], around: Surroundings) -> None:
    """Make recorded calls, in order.

    Errors: InexpressibleError if one is not known, or does not fail as it was recorded to.
    """
    for name, *arguments in calls:
        step = STEPS.get(name)
        if step is None:
            raise InexpressibleError(f'the call "{name}" is not known')
        if around.gone:
            continue
        failed = bool(arguments) and isinstance(arguments[-1], str) and arguments[-1].startswith(FAILED)
        try:
            await step(around, arguments[:-1] if failed else arguments)
        except (HmmError, CpuAccessError) as error:
            if not failed:
                raise InexpressibleError(f'the call "{name}" fails with {error}') from None
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise InexpressibleError(f'the call "{name}" has arguments that are not understood: {error}') from None
        else:
            if failed and name not in MAY_FAIL:
                raise InexpressibleError(f'the call "{name}" does not fail, but it did')


def _protection(letters: str) -> Prot:
    prot = Prot.PROT_NONE
    for letter in "" if letters == "none" else letters:
        prot |= PROTECTIONS[letter]
    return prot


async def _read(around: Surroundings, arguments: list[Any]) -> None:
    first, count = arguments[:2]
    for page in range(first, first + count):
        await cpu_read(around.mm, around.place(page), 1)


async def _write(around: Surroundings, arguments: list[Any]) -> None:
    first, count = arguments[:2]
    for page in range(first, first + count):
        await cpu_write(around.mm, around.place(page), b"\x01")


async def _fill(around: Surroundings, arguments: list[Any]) -> None:
    first, count, byte = arguments[:3]
    for page in range(first, first + count):
        await cpu_write(around.mm, around.place(page), b"\x01")
        around.mm.frames.fills[around.mm.page_table.lookup(around.place(page)).pfn] = byte


async def _proc_mem_write(around: Surroundings, arguments: list[Any]) -> None:
    first, count = arguments[:2]
    async with around.mm.mmap_lock.read():
        for page in range(first, first + count):
            await get_page(around.mm, around.place(page), write=True, force=True)


async def _munmap(around: Surroundings, arguments: list[Any]) -> None:
    await around.mm.munmap(around.place(arguments[0]), arguments[1] * PAGE_BYTES)


async def _mprotect(around: Surroundings, arguments: list[Any]) -> None:
    first, count, letters = arguments
    await around.mm.mprotect(around.place(first), count * PAGE_BYTES, _protection(letters))


async def _madvise(around: Surroundings, arguments: list[Any]) -> None:
    first, count, advice = arguments
    if advice in WITHOUT_EFFECT:
        return
    if f"MADV_{advice}" not in Advice.__members__:
        raise InexpressibleError(f'the advice "{advice}" is not known')
    await around.mm.madvise(around.place(first), count * PAGE_BYTES, Advice[f"MADV_{advice}"])


async def _mmap(around: Surroundings, arguments: list[Any]) -> None:
    first, count, letters, words, file = arguments[:5]
    kinds = set(words.split("|"))
    flags = MapFlags.MAP_SHARED if "shared" in kinds else MapFlags.MAP_PRIVATE
    flags |= MapFlags.MAP_ANONYMOUS
    flags |= MapFlags.MAP_FIXED_NOREPLACE if "fixed_noreplace" in kinds else MapFlags.MAP_FIXED
    huge_bytes = next((size for kind, size in HUGE_PAGE_KINDS.items() if kind in kinds), 0)
    start = around.place(first)
    await around.mm.mmap(start, count * PAGE_BYTES, _protection(letters), flags)
    if not file and not huge_bytes:
        return
    area = around.mm.vmas.find(start)
    assert area is not None
    around.mm.vmas.remove(area)
    if huge_bytes:
        area.flags |= VmFlags.VM_HUGETLB
        area.huge_bytes = huge_bytes
        area.shared = SharedObject(kind=Backing.HUGETLB, lasts=True)
    else:
        area.shared = around.objects.setdefault(file, SharedObject(kind=Backing.FILE, lasts=True))
        area.offset = arguments[5] if len(arguments) > 5 else 0
        area.watches_writes = area.shared.kind is Backing.FILE
    around.mm.vmas.insert(area, merge=False)


async def _mremap(around: Surroundings, arguments: list[Any]) -> None:
    old, old_count, count, words, new = arguments
    flags = RemapFlags.NONE
    for word in filter(None, words.split("|")):
        flags |= REMAP_FLAGS[word]
    target = around.place(new) if new is not None else 0
    await around.mm.mremap(around.place(old), old_count * PAGE_BYTES, count * PAGE_BYTES, flags, target)


async def _lock(around: Surroundings, arguments: list[Any]) -> None:
    start, end = await _changed_flags(around, arguments, VmFlags.VM_LOCKED, VmFlags.VM_NONE)
    async with around.mm.mmap_lock.read():
        for area in around.mm.vmas.overlapping(start, end):
            write = area.flags & (VmFlags.VM_WRITE | VmFlags.VM_SHARED) == VmFlags.VM_WRITE
            await populate(around.mm, max(start, area.start), min(end, area.end), write=write)


async def _unlock(around: Surroundings, arguments: list[Any]) -> None:
    await _changed_flags(around, arguments, VmFlags.VM_NONE, VmFlags.VM_LOCKED)


async def _changed_flags(around: Surroundings, arguments: list[Any], add: VmFlags, drop: VmFlags) -> tuple[int, int]:
    """Areas get and lose flags; cut where the range ends."""
    start, end = around.place(arguments[0]), around.place(arguments[0] + arguments[1])
    async with around.mm.mmap_lock.write():
        for found in around.mm.vmas.overlapping(start, end):
            if found.flags | add == found.flags and not found.flags & drop:
                continue
            await cut_area(around.mm, start)
            await cut_area(around.mm, end)
        for area in around.mm.vmas.overlapping(start, end):
            area.flags = (area.flags | add) & ~drop
    return start, end


async def _fork(around: Surroundings, arguments: list[Any]) -> None:
    around.children.append(await fork(around.mm))


async def _vfork(around: Surroundings, arguments: list[Any]) -> None:
    around.children.append(None)


async def _child_exit(around: Surroundings, arguments: list[Any]) -> None:
    child = around.children.pop() if around.children else None
    if child is not None:
        await child.exit()


async def _exit(around: Surroundings, arguments: list[Any]) -> None:
    around.gone = True
    await around.mm.exit()


async def _msync(around: Surroundings, arguments: list[Any]) -> None:
    start, end = around.place(arguments[0]), around.place(arguments[0] + arguments[1])
    for area in around.mm.vmas.overlapping(start, end):
        if area.shared is not None and area.is_shared and "SYNC" in str(arguments[2]).split("|"):
            first, last = area.object_page(max(start, area.start)), area.object_page(min(end, area.end))
            await write_back(around.mm.frames, area.shared, first, last)


def _file(around: Surroundings, name: str) -> SharedObject:
    cache = around.objects.get(name)
    if cache is None:
        raise InexpressibleError(f'nothing is known of the file "{name}"')
    return cache


async def _fsync(around: Surroundings, arguments: list[Any]) -> None:
    if arguments[0] in around.objects:
        await write_back(around.mm.frames, around.objects[arguments[0]])


async def _sync(around: Surroundings, arguments: list[Any]) -> None:
    around.loose.add("the order in which a file is written back")
    await write_back_everything(around.mm.frames)


async def _ftruncate(around: Surroundings, arguments: list[Any]) -> None:
    if arguments[0] in around.objects:
        await truncate(around.mm.frames, around.objects[arguments[0]], arguments[1])


async def _fallocate(around: Surroundings, arguments: list[Any]) -> None:
    name, mode, first, count = arguments
    if mode != "PUNCH_HOLE":
        raise InexpressibleError(f'fallocate with "{mode}" is not known')
    await punch_hole(around.mm.frames, _file(around, name), first, first + count)


async def _migrate_to_device(around: Surroundings, arguments: list[Any]) -> None:
    if around.pagemap is None:
        raise InexpressibleError("the recording has no device memory")
    pool = around.pagemap.pool

    def selects(entry: CpuEntry) -> bool:
        return entry.kind is EntryKind.PRESENT

    await _migrate(around, arguments, selects, pool.allocate, fills=True)


async def _migrate_to_system(around: Surroundings, arguments: list[Any]) -> None:
    def selects(entry: CpuEntry) -> bool:
        own = around.mm.frames.pagemap_of(entry.pfn) is around.pagemap
        return entry.kind is EntryKind.DEVICE_PRIVATE and own

    await _migrate(around, arguments, selects, around.mm.frames.system.allocate, fills=False)


async def _migrate(
    around: Surroundings,
    arguments: list[Any],
    selects: Callable[[CpuEntry], bool],
    allocate: Callable[[], int],
    *,
    fills: bool,
) -> None:
    start, end = around.place(arguments[0]), around.place(arguments[0] + arguments[1])

    async def copy(pfns: list[int]) -> dict[int, int]:
        return {pfn: allocate() for pfn in pfns}

    mm = around.mm
    async with mm.mmap_lock.read():
        for area in mm.vmas.overlapping(start, end):
            first, last = max(start, area.start), min(end, area.end)
            if area.special or area.is_shared or VmFlags.VM_HUGETLB in area.flags:
                continue
            page = allocate if fills else None
            await migrate_vma(mm, area, first, last, selects, copy, owner=around.pagemap, new_page=page)


async def _device_exclusive(around: Surroundings, arguments: list[Any]) -> None:
    start, end = around.place(arguments[0]), around.place(arguments[0] + arguments[1])
    async with around.mm.mmap_lock.read():
        await make_device_exclusive_range(around.mm, start, end, around.pagemap)


async def _hmm_range_fault(around: Surroundings, arguments: list[Any]) -> None:
    first, count, default_flags, mask, owner = arguments[:5]
    flags, kept = (int(str(word), 0) for word in (default_flags, mask))
    await around.ask(around.place(first), count, flags, kept, bool(owner))


async def _uffd_register(around: Surroundings, arguments: list[Any]) -> None:
    modes = str(arguments[2]).split("|")
    flags = VmFlags.VM_NONE
    if "missing" in modes:
        flags |= VmFlags.VM_UFFD_MISSING
    if "wp" in modes:
        flags |= VmFlags.VM_UFFD_WP
    await _changed_flags(around, arguments, flags, VmFlags.VM_NONE)


async def _uffd_writeprotect(around: Surroundings, arguments: list[Any]) -> None:
    start, end = around.place(arguments[0]), around.place(arguments[0] + arguments[1])
    protects = arguments[2] != "off"
    async with around.mm.mmap_lock.read():
        for area in around.mm.vmas.overlapping(start, end):
            change = Change(protect=protects, release=not protects)
            await change_protection(around.mm, area, max(start, area.start), min(end, area.end), change)


async def _move_pages(around: Surroundings, arguments: list[Any]) -> None:
    first, count, node = arguments[:3]
    frames = around.mm.frames
    done: set[int] = set()
    for page in range(first, first + count):
        entry = around.mm.page_table.lookup(around.place(page))
        large = around.mm.page_table.large
        area = around.mm.vmas.find(around.place(page))
        if area is not None and VmFlags.VM_HUGETLB in area.flags:
            held = large.get(around.place(page) // area.huge_bytes * area.huge_bytes)
            entry = CpuEntry(held.kind, held.flags, held.pfn) if held is not None else CpuEntry(EntryKind.NONE)
        special = entry.kind is not EntryKind.PRESENT or EntryFlags.SPECIAL in entry.flags
        if special or entry.pfn in done or frames.is_far(entry.pfn) == bool(node) or users(frames, entry.pfn) != 1:
            continue
        folio = folio_of(frames, entry.pfn)
        new = await migrate_folio(frames, entry.pfn, far=bool(node))
        done.update(range(new, new + folio.pages))


async def _write_file(around: Surroundings, arguments: list[Any]) -> None:
    path, text = str(arguments[0]), str(arguments[1]).strip()
    name = path.rsplit("/", 1)[-1]
    if name == CLEAR_REFS:
        if text == SOFT_DIRTY:
            await clear_soft_dirty(around.mm, tracked=around.tracked)
    elif path.endswith("/ksm/run"):
        around.merging = text == "1"
    elif name == "drop_caches":
        if text in ("1", "3"):
            drop_clean_pages(around.mm.frames)
    elif name == "compact_memory":
        around.loose.add("which pages are moved together")
    elif not path.startswith(QUIET_FILES):
        raise InexpressibleError(f'what a write to "{path}" does is not known')


async def _sleep(around: Surroundings, arguments: list[Any]) -> None:
    if around.merging:
        around.loose.add("the order in which pages are merged")
        await merge_equal_pages(around.mm.frames)


async def _balance(around: Surroundings, arguments: list[Any]) -> None:
    """Pages are hidden, to learn who uses them (change_prot_numa())."""
    around.loose.add("which pages are hidden at once")
    async with around.mm.mmap_lock.read():
        for area in around.mm.vmas:
            if area.accessible and not area.special and VmFlags.VM_HUGETLB not in area.flags:
                await change_protection(around.mm, area, area.start, area.end, Change(hint=True))


async def _new_file(around: Surroundings, arguments: list[Any]) -> None:
    name = str(arguments[0])
    around.objects[name] = SharedObject(kind=Backing.FILE, lasts=True)


async def _nothing(around: Surroundings, arguments: list[Any]) -> None:
    """The call changes no entry."""


MAY_FAIL = ("write_file", "migrate_to_dev", "migrate_to_sys", "device_exclusive", "madvise", "move_pages")
"""Calls that may fail for a reason that no address space knows of."""

STEPS: dict[str, Step] = {
    "read": _read,
    "write": _write,
    "fill": _fill,
    "proc_mem_write": _proc_mem_write,
    "mmap": _mmap,
    "munmap": _munmap,
    "mlock": _lock,
    "munlock": _unlock,
    "mprotect": _mprotect,
    "madvise": _madvise,
    "mremap": _mremap,
    "msync": _msync,
    "fsync": _fsync,
    "sync": _sync,
    "create_file": _new_file,
    "ftruncate": _ftruncate,
    "memfd_create": _nothing,
    "reopen": _nothing,
    "open": _nothing,
    "fallocate": _fallocate,
    "fork": _fork,
    "vfork": _vfork,
    "child_exit": _child_exit,
    "in_child": _nothing,
    "exit": _exit,
    "execve": _exit,
    "sigkill": _exit,
    "migrate_to_dev": _migrate_to_device,
    "migrate_to_sys": _migrate_to_system,
    "device_exclusive": _device_exclusive,
    "hmm_range_fault": _hmm_range_fault,
    "userfaultfd": _nothing,
    "uffd_register": _uffd_register,
    "uffd_writeprotect": _uffd_writeprotect,
    "move_pages": _move_pages,
    "write_file": _write_file,
    "sleep_us": _sleep,
    "touch_nothing_wait_until_balancing_marked": _balance,
    "find_mapping": _nothing,
}
