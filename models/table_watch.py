# SPDX-License-Identifier: Apache-2.0
"""Writes down what a driver does to a device's tables and faults, from outside: at the port, not in the driver.

A port calls stored() right after each store, submitted() when commands are in the ring, taken() when records were
copied. The watch finds out by itself which context and page a store concerns. Source: docs/host.md, "The journal".
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import PAGE_SHIFT, WORD_BYTES, Words
from models.device_tables import DeviceTables
from models.entries import decode
from models.fault_records import FaultRecord
from models.formats import EntryFormat
from models.geometry import INDEX_BITS, root_level, span_bits
from models.hmm.memory_map import MemoryMap
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.vma import VmFlags
from models.host_events import (
    AnswerKind,
    AnswerSubmitted,
    ContextUnbound,
    CpuMapping,
    FaultTaken,
    Journal,
    Meaning,
    SlotChanged,
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


class TableWatch:
    """Turns stores and commands into events of the journal.

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
        self._space_of = space_of
        self._tables: dict[int, _Table] = {}
        self._addresses: list[int] = []
        self._roots: dict[int, int] = {}
        self._waiting: dict[int, FaultRecord] = {}

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
            self._forget(old)
            self._journal.add(ContextUnbound(pasid))
        if fields["valid"]:
            root = int(fields["root"])
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
        is_array, address = new
        level = table.level if is_array else table.level - 1
        self._linked(address, table.pasid, level, first_va, is_array=is_array, old=old_words)

    def _linked(
        self, address: int, pasid: int, level: int, first_va: int, *, is_array: bool, old: Words | None
    ) -> None:
        """A table became reachable, with everything below it; `old` are the words of the array that it replaces."""
        slots = 1 << (span_bits(level) - PAGE_SHIFT) if is_array else 1 << INDEX_BITS
        table = _Table(address, pasid, level, first_va, is_array, self._memory.read_words(address, slots))
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
                self._linked(below[1], pasid, inner_level, inner_va, is_array=below[0], old=None)

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
        before = self._meanings(old[differ]) if old is not None else [NOTHING] * differ.size
        after = self._meanings(new[differ]) if linked else [NOTHING] * differ.size
        for place, was, becomes in zip(differ, before, after, strict=True):
            if was != becomes:
                va = table.first_va + ((index + int(place)) << PAGE_SHIFT)
                self._journal.add(SlotChanged(table.pasid, va, was, becomes, self._cpu_mapping(table.pasid, va)))

    def _meanings(self, words: Words) -> list[Meaning]:
        decoded = decode(self._fmt, words, self._window)
        valid = decoded.reason == Reason.NONE
        return [
            Meaning(True, int(pfn), bool(write)) if grants else NOTHING
            for grants, pfn, write in zip(valid, decoded.pfn, decoded.write, strict=True)
        ]

    def _cpu_mapping(self, pasid: int, va: int) -> CpuMapping:
        space = self._space_of(pasid)
        if space is None:
            return CpuMapping(False)
        vma = space.vmas.find(va)
        if vma is not None and VmFlags.VM_HUGETLB in vma.flags:
            first = va // vma.huge_bytes * vma.huge_bytes
            large = space.page_table.large.get(first)
            if large is None or large.kind is not EntryKind.PRESENT:
                return CpuMapping(False)
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

    def _pointed_to(self, word: int) -> tuple[bool, int] | None:
        """Whether a directory entry points to an array, and the address it points to; None if it points nowhere."""
        fields = unpack_directory_entry([word])
        kind = fields["entry_type"]
        if kind not in (DirectoryType.DIRECTORY, DirectoryType.ARRAY):
            return None
        return bool(kind == DirectoryType.ARRAY), int(fields["address"])
