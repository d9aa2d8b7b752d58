# SPDX-License-Identifier: Apache-2.0
"""A recorded state of memory as an address space of the model: areas, what stands behind them, the page table, pages.

Only what the record says of the memory is used, and `setup` for what belongs to the machine (nodes, settings); never a
name. Source: models/data/kernel/README.md; docs/conformance.md, "The state".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Bytes, Flags
from models.conform.entries import PHYSICAL_PFN_BITS, PlainEntries, plain_entries, raw_pfn, tracked
from models.conform.notes import InexpressibleError, Note, parse_note
from models.conform.objects import ObjectBuilder
from models.conform.records import VM_SOFTDIRTY, ConformRecording, RecordedState, page_number, run_places
from models.hmm.frames import HUGE_PAGES, HugePool
from models.hmm.kernel_rules import KernelRules, Release, kernel_rules, release_of
from models.hmm.memory_map import MemoryMap
from models.hmm.notifiers import IntervalNotifiers
from models.hmm.numbered_frames import MOST_NEW_PAGES, NumberedFrames, NumberedPagemap, NumberPool
from models.hmm.page_table import DIRECTORY_SHIFTS, SPAN_SHIFT, EntryFlags, EntryKind, LargeEntry
from models.hmm.vma import Vma, VmFlags
from models.kernel_recording import KernelInformation
from models.pages import Window
from models.preemption import Preemption

DIRTY_BIT = np.uint64(1 << 6)
LOWEST_DIRECTORY_OF_LEVEL = {2: DIRECTORY_SHIFTS[0], 3: DIRECTORY_SHIFTS[1], 4: DIRECTORY_SHIFTS[2]}
"""A walk that ends at a level found the table that spans so many bits."""
HIGHEST_MEMORY_BITS = 30
"""Pfns of a machine's memory have not more bits: 4 TiB. Bare pfns of devices may."""
HUGE_2M, HUGE_1G = 1 << 21, 1 << 30
KNOWN_FLAGS = VmFlags(~0 & sum(flag.value for flag in VmFlags))
SPECIAL_NOTES = ("zero", "huge_zero", "pfn")
COUNTED_NOTES = ("anon", "ksm", "file", "reserved")
IN_CACHE = ("file", "reserved")
AWAY_WITH_PAGE = (EntryKind.DEVICE_PRIVATE, EntryKind.EXCLUSIVE, EntryKind.MIGRATION)


@dataclass(frozen=True)
class Machine:
    """What holds for a whole recording: the kernel's release and rules, its constants, whether writes can be
    tracked.
    """

    information: KernelInformation
    release: Release
    rules: KernelRules
    tracks_soft_dirty: bool


def machine_of(recording: ConformRecording) -> Machine:
    """The machine of a recording. Errors: UserError if the kernel's name is no release."""
    release = release_of(recording.information.kernel)
    return Machine(recording.information, release, kernel_rules(release), recording.tracks_soft_dirty)


@dataclass
class BuiltState:
    """An address space made of a record. `pagemap`: the recording module's device memory, None if it had none;
    `foreign`: memory of another device, None if the record has no page in it.

    `notes`, `note_of`: the different notes, and for each page the number of its one; `plain`: what the entries say by
    themselves; `kinds`: uint8[n], what they are. `children`: how many children share all private memory.
    """

    mm: MemoryMap
    frames: NumberedFrames
    pagemap: NumberedPagemap | None
    foreign: NumberedPagemap | None
    notes: list[Note]
    note_of: npt.NDArray[np.int64]
    plain: PlainEntries
    kinds: Bytes
    children: int

    def note(self, page: int) -> Note:
        """What the record says of a page."""
        return self.notes[int(self.note_of[page])]

    def where(self, chosen: list[bool]) -> Flags:
        """bool[n] of the pages, given bool of each different note."""
        flags: Flags = np.array(chosen, dtype=np.bool_)[self.note_of]
        return flags


def build_state(record: RecordedState, machine: Machine, host: Preemption, seq: int) -> BuiltState:
    """The record's memory as it was before the call. `seq`: what a new interval notifier is to begin with.

    Errors: InexpressibleError if the record says what the model has no word for.
    """
    plain = plain_entries(record.entries, machine.release)
    notes, note_of = _notes(record)
    kinds = _kinds(record, plain, notes, note_of)
    moving = kinds == EntryKind.MIGRATION
    plain.pfn[moving] &= np.uint64((1 << PHYSICAL_PFN_BITS) - 1)
    known = _first_new_page(kinds, plain, machine)
    above = machine.information.dev_pfn0 - known if machine.information.dev_pfn0 > known else MOST_NEW_PAGES
    frames = NumberedFrames(known, machine.information.zero_pfn, min(MOST_NEW_PAGES, above))
    frames.system.exists(np.array([frames.zero_pfn], dtype=np.uint64), 1)
    free_2m, reserved_2m, _, free_1g, reserved_1g = [*record.huge, 0, 0, 0, 0, 0][:5]
    frames.huge_pools = {HUGE_2M: HugePool(free_2m, reserved_2m), HUGE_1G: HugePool(free_1g, reserved_1g)}
    pagemap = _pagemap(machine, frames)
    foreign = _foreign_pagemap(kinds, plain, machine, frames)
    mm = MemoryMap(host, frames, rules=machine.rules)
    mm.intervals = IntervalNotifiers(host, seq + 1)
    for pfn in plain.pfn[moving]:
        # Nobody in the model finishes the move.
        frames.migrations[int(pfn)] = host.event()
    state = BuiltState(mm, frames, pagemap, foreign, notes, note_of, plain, kinds, _children(record))
    _add_areas(record, state)
    _fill_page_table(record, machine, state)
    _count_references(record, machine, state)
    _note_far_pages(record, state)
    return state


def _first_new_page(kinds: Bytes, plain: PlainEntries, machine: Machine) -> int:
    """A pfn above all that the record's entries show, the device's own apart; a multiple of 512."""
    first, count = machine.information.dev_pfn0, machine.information.dev_npfn
    shows = (kinds != EntryKind.NONE) & (kinds != EntryKind.SWAP) & (kinds != EntryKind.MARKER)
    shows &= (plain.pfn < np.uint64(1 << HIGHEST_MEMORY_BITS)) & (kinds != EntryKind.UNKNOWN)
    shows &= kinds != EntryKind.DEVICE_PRIVATE
    shows &= (plain.pfn < np.uint64(first)) | (plain.pfn >= np.uint64(first + count))
    highest = max(int(plain.pfn[shows].max(initial=0)), machine.information.zero_pfn)
    return -(-(highest + HUGE_PAGES) // HUGE_PAGES) * HUGE_PAGES


def _pagemap(machine: Machine, frames: NumberedFrames) -> NumberedPagemap | None:
    information = machine.information
    if not information.dev_npfn:
        return None
    pagemap = NumberedPagemap(Window(information.dev_pfn0, information.dev_npfn))
    frames.add_pagemap(pagemap)
    return pagemap


def _foreign_pagemap(
    kinds: Bytes, plain: PlainEntries, machine: Machine, frames: NumberedFrames
) -> NumberedPagemap | None:
    """The memory of another device, as large as the pages in it tell."""
    first, count = machine.information.dev_pfn0, machine.information.dev_npfn
    pfns = plain.pfn[kinds == EntryKind.DEVICE_PRIVATE]
    pfns = pfns[(pfns < np.uint64(first)) | (pfns >= np.uint64(first + count))]
    if not pfns.size:
        return None
    pagemap = NumberedPagemap(Window(int(pfns.min()), int(pfns.max()) - int(pfns.min()) + 1))
    frames.pagemaps.append(pagemap)
    return pagemap


def _notes(record: RecordedState) -> tuple[list[Note], npt.NDArray[np.int64]]:
    """The different notes of the record, and for each page the number of its note."""
    notes: list[Note] = []
    note_of = np.zeros(record.n, dtype=np.int64)
    for part, text in run_places(record.pages):
        note_of[part] = len(notes)
        notes.append(parse_note(text))
    return notes, note_of


def _kinds(record: RecordedState, plain: PlainEntries, notes: list[Note], note_of: npt.NDArray[np.int64]) -> Bytes:
    """uint8[n]: the kind of each entry, from the entry itself and the note beside it."""
    kinds = np.full(record.n, EntryKind.UNKNOWN, dtype=np.uint8)
    kinds[plain.mapped] = EntryKind.PRESENT
    kinds[plain.empty] = EntryKind.NONE
    away = ~plain.mapped & ~plain.empty
    by_note = np.array([_away_kind(note) for note in notes], dtype=np.uint8)
    kinds[away] = by_note[note_of[away]]
    return kinds


def _away_kind(note: Note) -> EntryKind:
    if note.marker:
        return EntryKind.MARKER
    return note.kind if note.kind is not None else EntryKind.UNKNOWN


def _add_areas(record: RecordedState, state: BuiltState) -> None:
    builder = ObjectBuilder(record, state.frames)
    for (start, end, flags), backing in zip(record.vmas, record.backing, strict=True):
        marks = set(backing[5])
        vm_flags = VmFlags(flags & int(KNOWN_FLAGS) & ~int(VmFlags.VM_UFFD_MINOR))
        for mark, flag in (
            ("uffd_missing", VmFlags.VM_UFFD_MISSING),
            ("uffd_wp", VmFlags.VM_UFFD_WP),
            ("uffd_minor", VmFlags.VM_UFFD_MINOR),
        ):
            vm_flags = vm_flags | flag if mark in marks else vm_flags & ~flag
        area = Vma(
            state.mm, start, end, vm_flags, builder.object_of(backing), backing[3],
            watches_writes=("prot_w" not in marks if VmFlags.VM_WRITE in vm_flags else "mkwrite" in marks),
            no_fault="nofault" in marks, huge_bytes=backing[6], anonymous_pages="anon_vma" in marks,
        )  # fmt: skip
        if VmFlags.VM_HUGETLB in vm_flags and backing[6] not in (HUGE_2M, HUGE_1G):
            raise InexpressibleError(f"huge pages of {backing[6]} bytes")
        state.mm.vmas.insert(area, merge=False)
        if area.shared is not None:
            first = max(0, page_number(start, record))
            last = min(record.n, page_number(end, record))
            for page in range(first, last):
                number = area.object_page(record.addr + page * PAGE_BYTES)
                pfn = int(state.plain.pfn[page]) if state.plain.mapped[page] else None
                builder.add_page(area, number, state.note(page), pfn)


def _fill_page_table(record: RecordedState, machine: Machine, state: BuiltState) -> None:
    flags, pfn, levels = _flags(record, machine, state), state.plain.pfn, record.entries.levels
    for first, last in _equal_level_runs(levels, state.kinds):
        start, end = record.addr + first * PAGE_BYTES, record.addr + last * PAGE_BYTES
        level = int(levels[first])
        if level == 1:
            _fill_small(state, start, end, slice(first, last), flags)
        elif state.kinds[first] == EntryKind.NONE:
            _note_hole(state, start, end, level)
        else:
            for va in _large_entries(start, end, level):
                page = max(0, (va - record.addr) >> PAGE_SHIFT)
                word = int(record.entries.words[page])
                _fill_large(state, va, level, EntryKind(int(state.kinds[page])), int(flags[page]), int(pfn[page]), word)


def _flags(record: RecordedState, machine: Machine, state: BuiltState) -> Bytes:
    """uint8[n]: the model's flags of each entry."""
    flags = state.plain.flags.copy()
    special = state.where([note.first in SPECIAL_NOTES for note in state.notes])
    flags[special & state.plain.mapped] |= np.uint8(EntryFlags.SPECIAL)
    carries = state.where(["w" in note.words for note in state.notes])
    flags[carries & ~state.plain.mapped & ~state.plain.empty] |= np.uint8(EntryFlags.WRITABLE)
    # In large entries that bit tells something else.
    large = record.entries.levels > 1
    flags[large & ~special] &= ~np.uint8(EntryFlags.SPECIAL)
    written = state.plain.mapped & ((record.entries.words & DIRTY_BIT) != 0)
    flags[written] |= np.uint8(EntryFlags.DIRTY)
    if machine.tracks_soft_dirty:
        flags[_tracked_areas(record) & tracked(record.entries, state.plain)] |= np.uint8(EntryFlags.TRACKED)
    return flags


def _tracked_areas(record: RecordedState) -> Flags:
    """bool[n]: pages of areas whose writes are tracked (vma_soft_dirty_enabled())."""
    inside = np.zeros(record.n, dtype=np.bool_)
    for start, end, flags in record.vmas:
        if not flags & VM_SOFTDIRTY:
            inside[max(0, page_number(start, record)) : max(0, page_number(end, record))] = True
    return inside


def _equal_level_runs(levels: Bytes, kinds: Bytes) -> list[tuple[int, int]]:
    """[first, last) of the pages in a row with the same level, above level 1 also with the same kind."""
    key = np.where(levels == 1, 0, levels.astype(np.int64) * 256 + kinds)
    cuts = np.flatnonzero(np.diff(key)) + 1
    edges = [0, *(int(cut) for cut in cuts), key.size]
    return list(pairwise(edges))


def _fill_small(state: BuiltState, start: int, end: int, part: slice, flags: Bytes) -> None:
    table = state.mm.page_table
    kinds, pfn = state.kinds[part], state.plain.pfn[part]
    done = 0
    for span in table.spans(start, end):
        leaf = table.ensure_table(span.start)
        count = span.part.stop - span.part.start if span.table is not None else (span.end - span.start) >> PAGE_SHIFT
        first = (span.start >> PAGE_SHIFT) % HUGE_PAGES
        here = slice(first, first + count)
        leaf.kind[here] = kinds[done : done + count]
        leaf.flags[here] = flags[part][done : done + count]
        leaf.pfn[here] = pfn[done : done + count]
        done += count


def _note_hole(state: BuiltState, start: int, end: int, level: int) -> None:
    """The tables above a hole, down to where the walk ended."""
    lowest = LOWEST_DIRECTORY_OF_LEVEL.get(level)
    if lowest is None:
        return
    for number in range(start >> lowest, ((end - 1) >> lowest) + 1):
        state.mm.page_table.ensure_directories(number << lowest, lowest)


def _large_entries(start: int, end: int, level: int) -> range:
    """First addresses of the entries of a level that [start, end) touches."""
    size = 1 << (SPAN_SHIFT + 9 * (level - 2))
    return range(start // size * size, end, size)


def _fill_large(state: BuiltState, va: int, level: int, kind: EntryKind, flags: int, pfn: int, word: int) -> None:
    table = state.mm.page_table
    area = state.mm.vmas.find(va) or next(iter(state.mm.vmas.overlapping(va, va + (1 << SPAN_SHIFT))), None)
    hugetlb = area is not None and VmFlags.VM_HUGETLB in area.flags
    order = 9 * (level - 1)
    if hugetlb or level > 2:
        table.ensure_directories(va, LOWEST_DIRECTORY_OF_LEVEL[level])
        table.large[va] = LargeEntry(kind, EntryFlags(flags), pfn, order, raw_pfn(word))
        return
    table.set_huge(va, pfn, EntryFlags(flags))
    leaf = table.ensure_table(va)
    leaf.kind[:] = kind


def _count_references(record: RecordedState, machine: Machine, state: BuiltState) -> None:
    """References to the pages that entries have: those of page tables, of a cache, of the merging thread."""
    levels = record.entries.levels
    counted: set[int] = set()
    for page in map(int, np.flatnonzero(state.kinds != EntryKind.NONE)):
        note, pfn, kind = state.note(page), int(state.plain.pfn[page]), EntryKind(int(state.kinds[page]))
        present = kind is EntryKind.PRESENT and note.first in COUNTED_NOTES
        if pfn in counted or not (present or kind in AWAY_WITH_PAGE):
            continue
        counted.add(pfn)
        pool = state.frames.pool_of(pfn)
        assert isinstance(pool, NumberPool)
        # One count for a hugetlb page, one for each page of another huge entry.
        whole = levels[page] == 2 and "hugetlb" not in note.words
        pages = np.arange(pfn, pfn + (HUGE_PAGES if whole else 1), dtype=np.uint64)
        pool.exists(pages, _references(note, kind, machine, part=bool(levels[page] == 1)))
        if note.references is not None and note.references > 1:
            state.frames.batched.update(int(each) for each in pages)
        if present and note.first == "anon" and not note.alone:
            state.frames.shared_once.update(int(each) for each in pages)
        if note.first == "ksm":
            # Nobody knows of what byte: it is not equal to what is filled later.
            state.frames.merged[pfn] = -pfn
        if "thp" in note.words:
            state.frames.folios.add(pfn // HUGE_PAGES * HUGE_PAGES)
        if "hwpoison" in note.words:
            pool.poison(pfn)


def _references(note: Note, kind: EntryKind, machine: Machine, *, part: bool) -> int:
    """How many hold a page. `part`: the entry maps one small page, maybe a part of a huge one."""
    if note.alone:
        return 1
    maps = note.maps if note.maps is not None else 1
    if kind is EntryKind.EXCLUSIVE or kind is EntryKind.MIGRATION:
        return maps + 1
    if note.first in IN_CACHE or note.first == "ksm":
        # The cache holds it too; a merged page is never one process's own.
        return maps + 1
    if part and "thp" in note.words and (note.references != 1 or not machine.rules.parts_are_reused):
        # The other parts hold the huge page too.
        return maps + 1
    return max(maps, 1)


def _children(record: RecordedState) -> int:
    """How many children of `setup` still live, with copies of all private memory."""
    names = [call[0] for call in record.setup]
    return names.count("fork") - names.count("child_exit")


def _note_far_pages(record: RecordedState, state: BuiltState) -> None:
    """Pages that `setup` moved to another node than the processors', which is the first."""
    for call in record.setup:
        if call[0] != "move_pages" or len(call) < 4 or not all(isinstance(value, int) for value in call[1:4]):
            continue
        first, count, node = call[1:4]
        for page in range(max(0, first - record.at), min(record.n, first + count - record.at)):
            if node and state.kinds[page] == EntryKind.PRESENT:
                state.frames.far.add(int(state.plain.pfn[page]))
