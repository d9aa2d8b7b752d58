# SPDX-License-Identifier: Apache-2.0
"""Writes down what a driver does to a device's tables and faults, from outside: at the port, not in the driver.

A port calls stored() right after each store, submitted() when commands are in the ring, taken() when records were
copied. The watch finds out by itself which context and page a store concerns. Source: docs/host.md, "The journal".
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import PAGE_SHIFT, WORD_BYTES, Words
from models.device_tables import DeviceTables
from models.entries import decode
from models.fault_records import FaultRecord
from models.formats import EntryFormat
from models.geometry import INDEX_BITS, root_level, span_bits
from models.hmm.call_record import cpu_pages
from models.hmm.frames import Frames
from models.hmm.memory_map import MemoryMap
from models.hmm.notifiers import LAST_BYTE
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.vma import VmFlags
from models.host_events import (
    AnswerKind,
    AnswerSubmitted,
    CommitEnded,
    ContextForgotten,
    ContextUnbound,
    CpuMapping,
    FaultTaken,
    HostEventRecord,
    InvalidationAnswered,
    InvalidationEnded,
    InvalidationStarted,
    Journal,
    Meaning,
    SlotChanged,
    TablesCompared,
    WritableTaken,
)
from models.pages import Window
from models.physical_memory import Owner
from models.structures import (
    CONTEXT_ENTRY_BYTES,
    Access,
    DirectoryType,
    Opcode,
    Reason,
    unpack_command,
    unpack_context_entry,
    unpack_directory_entry,
)

NOTHING = Meaning(False)


@dataclass(eq=False)
class _Table:
    """A directory, or an array of 4 KiB slots, that is linked: whose it is, its level, and its words as last seen.

    `level` is that of the directory entries in it; an array has the level of the entry that points to it.
    """

    address: int
    pasid: int
    level: int
    first_va: int
    is_array: bool
    words: Words
    max_order: int = 0


class TableWatch:
    """Turns stores and commands into events of the journal, and compares both page tables where either has changed.

    `space_of` gives the address space of a PASID, None if there is none.
    """

    def __init__(
        self,
        journal: Journal,
        tables: DeviceTables,
        fmt: EntryFormat,
        window: Window,
        space_of: Callable[[int], MemoryMap | None],
    ) -> None:
        self._journal = journal
        self._memory = tables.memory
        self._context_base = tables.context_base
        self._root_level = root_level(tables.va_bits)
        self._fmt = fmt
        self._window = window
        self._frames: Frames | None = None
        self._space_of = space_of
        self._tables: dict[int, _Table] = {}
        self._addresses: list[int] = []
        self._roots: dict[int, int] = {}
        self._waiting: dict[int, FaultRecord] = {}
        self._started: dict[int, InvalidationStarted] = {}
        self._lost: list[tuple[int, int, int]] = []
        journal.listeners.append(self._happened)

    def stored(self, address: int, words: Words) -> None:
        """uint64[n] were stored from bus address `address` on."""
        whole = self._table_at(address)
        if whole is not None and whole.is_array:
            first = (address - whole.address) // WORD_BYTES
            self._slots_stored(whole, first, words[: whole.words.size - first])
            return
        for place, word in enumerate(words):
            where = address + place * WORD_BYTES
            owner = self._memory.owner_of(where)
            if owner is Owner.CONTEXT:
                self._context_stored(where)
                continue
            table = self._table_at(where)
            if table is not None and not table.is_array:
                self._directory_stored(table, (where - table.address) // WORD_BYTES, int(word))

    def submitted(self, commands: Words) -> None:
        """Commands uint64[n, 4] were put into the ring."""
        for command in commands:
            fields = {name: int(value) for name, value in unpack_command(command).items()}
            if fields["opcode"] == Opcode.RESUME:
                self._answered(fields["first"], AnswerKind.CANCEL if fields["cancel"] else AnswerKind.REPLAY)
            elif fields["opcode"] == Opcode.REPLAY_ALL:
                for tag in list(self._waiting):
                    self._answered(tag, AnswerKind.REPLAY)
            elif fields["opcode"] == Opcode.CANCEL:
                for tag, record in list(self._waiting.items()):
                    inside = fields["first"] <= record.va <= fields["last"]
                    if inside and (record.pasid, record.access) == (fields["pasid"], fields["access"]):
                        self._answered(tag, AnswerKind.CANCEL)

    def taken(self, records: Sequence[FaultRecord]) -> None:
        """The driver took these records."""
        for record in records:
            if record.answer_expected:
                self._waiting[record.tag] = record
                permits = self._cpu_permits(record)
                self._journal.add(
                    FaultTaken(record.tag, record.pasid, record.va, record.access, self._journal.clock(), permits)
                )

    def compare(self, pasid: int, start: int, end: int) -> None:
        """Write down in which pages of [start, end) of a context the device has another page than the CPU."""
        space = self._space_of(pasid)
        if space is None:
            return
        pages = 0
        differing: list[tuple[int, int, int]] = []
        for table in self._arrays_in(pasid, start, end):
            first, last = max(start, table.first_va), min(end, table.first_va + (table.words.size << PAGE_SHIFT))
            part = slice((first - table.first_va) >> PAGE_SHIFT, (last - table.first_va) >> PAGE_SHIFT)
            decoded = decode(self._fmt, table.words[part], self._window)
            mapped, pfn, _ = cpu_pages(space, first, (last - first) >> PAGE_SHIFT)
            both = (decoded.reason == Reason.NONE) & mapped
            pages += int(np.count_nonzero(both))
            for place in np.flatnonzero(both & (decoded.pfn != pfn)):
                differing.append((first + (int(place) << PAGE_SHIFT), int(decoded.pfn[place]), int(pfn[place])))
        self._journal.add(TablesCompared(pasid, start, end, pages, tuple(differing)))

    def compare_all(self) -> None:
        """The same for everything that is bound."""
        for pasid in list(self._roots):
            self.compare(pasid, 0, LAST_BYTE + 1)

    def _happened(self, event: HostEventRecord) -> None:
        match event:
            case InvalidationStarted():
                self._started[event.number] = event
            case InvalidationAnswered():
                update = self._started[event.number]
                # A context that is being unbound has lost its root by now, but not what it lost to this invalidation.
                losers = {pasid for pasid, _, _ in self._lost}
                self._taken_away(self._pasids_of(update.space, losers), update.start, update.end)
            case InvalidationEnded():
                update = self._started.pop(event.number)
                for pasid in self._pasids_of(update.space, self._roots):
                    self.compare(pasid, update.start, update.end)
            case CommitEnded():
                self.compare(event.pasid, event.start, event.end)
            case ContextForgotten():
                self._taken_away([event.pasid], 0, LAST_BYTE + 1)
            case _:
                pass

    def _pasids_of(self, number: int, pasids: Iterable[int]) -> list[int]:
        """Those of an address space, out of `pasids`."""
        spaces = {pasid: self._space_of(pasid) for pasid in pasids}
        return [pasid for pasid, space in spaces.items() if space is not None and space.number == number]

    def _taken_away(self, pasids: Sequence[int], start: int, end: int) -> None:
        """Whoever took writable slots of the range away is through: their pages must be known as written by now."""
        kept = []
        for pasid, va, pfn in self._lost:
            if pasid in pasids and start <= va < end:
                dirty = self._frames is not None and self._frames.is_dirty(pfn)
                self._journal.add(WritableTaken(pasid, va, pfn, dirty))
            else:
                kept.append((pasid, va, pfn))
        self._lost = kept

    def _arrays_in(self, pasid: int, start: int, end: int) -> list[_Table]:
        return [
            table
            for table in self._tables.values()
            if table.is_array
            and table.pasid == pasid
            and table.first_va < end
            and start < table.first_va + (table.words.size << PAGE_SHIFT)
        ]

    def _answered(self, tag: int, kind: AnswerKind) -> None:
        record = self._waiting.pop(tag, None)
        permits = record is not None and self._cpu_permits(record)
        self._journal.add(AnswerSubmitted(tag, kind, self._journal.clock(), permits))

    def _cpu_permits(self, record: FaultRecord) -> bool:
        """Whether the CPU, and the format, could make this access possible right now."""
        space = self._space_of(record.pasid)
        vma = None if space is None else space.vmas.find(record.va)
        if space is None or vma is None or vma.special or VmFlags.VM_READ not in vma.flags:
            return False
        if space.page_table.lookup(record.va).kind is EntryKind.HWPOISON:
            return False
        if record.access is Access.READ:
            return True
        if record.access is Access.ATOMIC and self._fmt.atomic:
            return False
        return VmFlags.VM_WRITE in vma.flags and self._fmt.write != 0

    def _context_stored(self, address: int) -> None:
        pasid, offset = divmod(address - self._context_base, CONTEXT_ENTRY_BYTES)
        if offset:
            return
        fields = unpack_context_entry(self._memory.read_words(address, CONTEXT_ENTRY_BYTES // WORD_BYTES))
        old = self._roots.pop(pasid, None)
        if old is not None:
            for table in self._arrays_in(pasid, 0, LAST_BYTE):
                for place, meaning in enumerate(self._meanings(table.words, table.max_order)):
                    if meaning.write:
                        self._lost.append((pasid, table.first_va + (place << PAGE_SHIFT), meaning.pfn))
            self._forget(old)
            self._journal.add(ContextUnbound(pasid))
        if fields["valid"]:
            root = int(fields["root"])
            space = self._space_of(pasid)
            if space is not None:
                self._frames = space.frames
            self._roots[pasid] = root
            self._linked(root, pasid, self._root_level, 0, is_array=False, old=None)

    def _directory_stored(self, table: _Table, index: int, word: int) -> None:
        before = int(table.words[index])
        table.words[index] = word
        first_va = table.first_va + (index << span_bits(table.level))
        old = self._pointed_to(before)
        old_table = self._tables.get(old[1]) if old is not None else None
        old_words = None
        if old_table is not None:
            old_words = old_table.words if old_table.is_array else None
            self._forget(old_table.address)
        new = self._pointed_to(word)
        if new is None:
            if old_table is not None and old_words is not None:
                none = np.zeros(old_words.size, dtype=np.uint64)
                self._compare(old_table, 0, old_words, none, linked=False)
            return
        is_array, address, max_order = new
        level = table.level if is_array else table.level - 1
        self._linked(address, table.pasid, level, first_va, is_array=is_array, old=old_words, max_order=max_order)

    def _linked(
        self,
        address: int,
        pasid: int,
        level: int,
        first_va: int,
        *,
        is_array: bool,
        old: Words | None,
        max_order: int = 0,
    ) -> None:
        """A table became reachable, with everything below it; `old` are the words of the array that it replaces."""
        slots = 1 << (span_bits(level) - PAGE_SHIFT) if is_array else 1 << INDEX_BITS
        table = _Table(address, pasid, level, first_va, is_array, self._memory.read_words(address, slots), max_order)
        self._tables[address] = table
        insort(self._addresses, address)
        if is_array:
            self._compare(table, 0, old, table.words, linked=True)
            return
        for index in np.flatnonzero(table.words):
            below = self._pointed_to(int(table.words[index]))
            if below is not None:
                inner_va = first_va + (int(index) << span_bits(level))
                inner_level = level if below[0] else level - 1
                self._linked(below[1], pasid, inner_level, inner_va, is_array=below[0], old=None, max_order=below[2])

    def _forget(self, address: int) -> None:
        table = self._tables.pop(address, None)
        if table is None:
            return
        self._addresses.remove(address)
        if not table.is_array:
            for word in table.words[table.words != 0]:
                below = self._pointed_to(int(word))
                if below is not None:
                    self._forget(below[1])

    def _slots_stored(self, table: _Table, index: int, words: Words) -> None:
        old = table.words[index : index + words.size].copy()
        table.words[index : index + words.size] = words
        self._compare(table, index, old, words, linked=True)

    def _compare(self, table: _Table, index: int, old: Words | None, new: Words, *, linked: bool) -> None:
        """Add an event for each slot that means something else than before."""
        differ = np.flatnonzero(old != new) if old is not None and linked else np.arange(new.size)
        before = self._meanings(old[differ], table.max_order) if old is not None else [NOTHING] * differ.size
        after = self._meanings(new[differ], table.max_order) if linked else [NOTHING] * differ.size
        for place, was, becomes in zip(differ, before, after, strict=True):
            if was != becomes:
                va = table.first_va + ((index + int(place)) << PAGE_SHIFT)
                if was.write and (was.pfn, True) != (becomes.pfn, becomes.write):
                    self._lost.append((table.pasid, va, was.pfn))
                self._journal.add(SlotChanged(table.pasid, va, was, becomes, self._cpu_mapping(table.pasid, va)))

    def _meanings(self, words: Words, max_order: int) -> list[Meaning]:
        decoded = decode(self._fmt, words, self._window)
        valid = decoded.reason == Reason.NONE
        return [
            Meaning(True, int(pfn), bool(write), min(int(order), max_order)) if grants else NOTHING
            for grants, pfn, write, order in zip(valid, decoded.pfn, decoded.write, decoded.order, strict=True)
        ]

    def _cpu_mapping(self, pasid: int, va: int) -> CpuMapping:
        space = self._space_of(pasid)
        if space is None:
            return CpuMapping(False)
        for order in {large.order for large in space.page_table.large.values()}:
            first = va >> (PAGE_SHIFT + order) << (PAGE_SHIFT + order)
            large = space.page_table.large.get(first)
            if large is not None and large.order == order and large.kind is EntryKind.PRESENT:
                return CpuMapping(True, large.pfn + ((va - first) >> PAGE_SHIFT), EntryFlags.WRITABLE in large.flags)
        entry = space.page_table.lookup(va)
        mapped = entry.kind in (EntryKind.PRESENT, EntryKind.DEVICE_PRIVATE)
        return CpuMapping(mapped, entry.pfn, entry.writable)

    def _table_at(self, address: int) -> _Table | None:
        place = bisect_right(self._addresses, address) - 1
        if place < 0:
            return None
        table = self._tables[self._addresses[place]]
        return table if address < table.address + table.words.size * WORD_BYTES else None

    def _pointed_to(self, word: int) -> tuple[bool, int, int] | None:
        """Whether a directory entry points to an array, the address it points to, and the order that it vouches for;
        None if it points nowhere.
        """
        fields = unpack_directory_entry([word])
        kind = fields["entry_type"]
        if kind not in (DirectoryType.DIRECTORY, DirectoryType.ARRAY):
            return None
        return bool(kind == DirectoryType.ARRAY), int(fields["address"]), int(fields["max_order"])
