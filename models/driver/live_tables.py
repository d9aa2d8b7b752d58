# SPDX-License-Identifier: Apache-2.0
"""The tables that a device reads, as its driver changes them while it runs: every store that the device could see goes
through the port, and what was linked is freed only after a fence.

Tables that are not linked yet are written directly. The caller holds the driver's lock. Source: docs/interface.md,
"Which change needs which command".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.arrays import LINE_BYTES, PAGE_BYTES, PAGE_SHIFT, WORD_BYTES, Words
from models.device_port import DevicePort
from models.device_tables import DeviceTables
from models.driver.batch import LEAF_BYTES, LEAF_SPAN
from models.geometry import DIRECTORY_BYTES, INDEX_MASK, LEAF_LEVEL, root_level, span_bits
from models.physical_memory import Owner
from models.structures import (
    DirectoryType,
    Opcode,
    pack_command,
    pack_context_entry,
    pack_directory_entry,
    unpack_directory_entry,
)

ARRAY_WORDS = LEAF_BYTES >> PAGE_SHIFT


class LiveTables:
    """Contexts, directories and 2 MiB arrays of one device."""

    def __init__(self, port: DevicePort, tables: DeviceTables, none_word: int) -> None:
        self._port = port
        self._tables = tables
        self._memory = tables.memory
        self._none = np.uint64(none_word)
        self._root_level = root_level(tables.va_bits)
        self._roots: dict[int, int] = {}
        self._directories: dict[int, list[int]] = {}
        self._arrays: dict[int, dict[int, int]] = {}
        self.fences = 0

    async def bind(self, pasid: int) -> None:
        """Give a PASID an empty root directory and tell the device."""
        root = self._new(DIRECTORY_BYTES, PAGE_BYTES, Owner.DIRECTORY)
        self._memory.write_words(root, np.zeros(DIRECTORY_BYTES // WORD_BYTES, dtype=np.uint64))
        self._roots[pasid], self._directories[pasid], self._arrays[pasid] = root, [root], {}
        entry = pack_context_entry(valid=1, root=root)
        await self._port.store_words(self._tables.context_entry_address(pasid), entry[:1])
        await self._port.submit(pack_command(opcode=Opcode.BIND, pasid=pasid).reshape(1, 4))

    async def unbind(self, pasid: int) -> None:
        """Take everything away from a PASID; when it returns the device uses nothing of it."""
        await self._port.store_words(self._tables.context_entry_address(pasid), pack_context_entry(valid=0)[:1])
        await self._port.submit(pack_command(opcode=Opcode.UNBIND, pasid=pasid).reshape(1, 4))
        await self._fence()
        for address in [*self._directories.pop(pasid), *self._arrays.pop(pasid).values()]:
            self._memory.free(address)
        del self._roots[pasid]

    def new_array(self) -> int:
        """A staging array of the layout of a live one, all NONE; give it to link() or free_array()."""
        address = self._new(ARRAY_WORDS * WORD_BYTES, LINE_BYTES, Owner.ARRAY)
        self._memory.write_words(address, np.full(ARRAY_WORDS, self._none, dtype=np.uint64))
        return address

    def free_array(self, address: int) -> None:
        """Free a staging array that was not linked."""
        self._memory.free(address)

    def array_view(self, address: int) -> Words:
        """The words of an array in shared memory, uint64[512]; after writing there call settle()."""
        first = (address - self._memory.base) // WORD_BYTES
        return self._memory.words[first : first + ARRAY_WORDS]

    def settle(self, address: int) -> None:
        """What was written into a staging array through its view is the host's word from now on."""
        self._memory.write_words(address, self.array_view(address).copy())

    def array_of(self, pasid: int, va: int) -> int | None:
        """The live array of the 2 MiB around `va`, None if none is linked."""
        return self._arrays[pasid].get(va >> LEAF_SPAN)

    def live_words(self, pasid: int, va: int) -> Words:
        """A copy of the live entries uint64[512] of the 2 MiB around `va`, all NONE where none is linked."""
        address = self.array_of(pasid, va)
        if address is None:
            return np.full(ARRAY_WORDS, self._none, dtype=np.uint64)
        return self._memory.read_words(address, ARRAY_WORDS)

    async def link(self, pasid: int, va: int, array: int) -> None:
        """Point the directory entry of the 2 MiB around `va` at `array`, by one store; what was there before is freed
        when the device cannot use it any more.
        """
        old = self.array_of(pasid, va)
        level, where, chain = self._missing(pasid, va)
        target, kind = array, DirectoryType.ARRAY
        for below in range(LEAF_LEVEL, level):
            directory = self._new(DIRECTORY_BYTES, PAGE_BYTES, Owner.DIRECTORY)
            content = np.zeros(DIRECTORY_BYTES // WORD_BYTES, dtype=np.uint64)
            content[(va >> span_bits(below)) & INDEX_MASK] = _entry(kind, target)
            self._memory.write_words(directory, content)
            chain.append(directory)
            target, kind = directory, DirectoryType.DIRECTORY
        await self._port.store_words(where, np.array([_entry(kind, target)], dtype=np.uint64))
        self._arrays[pasid][va >> LEAF_SPAN] = array
        if old is not None:
            first = va // LEAF_BYTES * LEAF_BYTES
            await self.invalidate(pasid, first, first + LEAF_BYTES - 1)
            self._memory.free(old)

    async def store_changed(self, pasid: int, va: int, words: Words) -> None:
        """Store those of the entries uint64[512] of the 2 MiB around `va` that differ from the live ones."""
        address = self.array_of(pasid, va)
        assert address is not None
        live = self._memory.read_words(address, ARRAY_WORDS)
        for first, last in _runs(np.flatnonzero(live != words)):
            await self._port.store_words(address + first * WORD_BYTES, words[first : last + 1])

    async def store_slot(self, pasid: int, va: int, word: int) -> None:
        """Store one entry that grants nothing, where nothing was granted; its 2 MiB get an array if they have none."""
        words = self.live_words(pasid, va)
        words[(va % LEAF_BYTES) >> PAGE_SHIFT] = np.uint64(word)
        if self.array_of(pasid, va) is not None:
            await self.store_changed(pasid, va, words)
            return
        array = self.new_array()
        self._memory.write_words(array, words)
        await self.link(pasid, va, array)

    def spans_in(self, pasid: int, start: int, end: int) -> list[int]:
        """First addresses of the linked 2 MiB that overlap [start, end), however large that is."""
        first, last = start >> LEAF_SPAN, (end - 1) >> LEAF_SPAN
        arrays = self._arrays[pasid]
        if last - first < len(arrays):
            return [span << LEAF_SPAN for span in range(first, last + 1) if span in arrays]
        return [span << LEAF_SPAN for span in sorted(arrays) if first <= span <= last]

    async def clear(self, pasid: int, start: int, end: int) -> bool:
        """Make the live entries of [start, end) NONE; returns whether any was not."""
        cleared = False
        for span in self.spans_in(pasid, start, end):
            words = self.live_words(pasid, span)
            first, last = (
                (max(start, span) - span) >> PAGE_SHIFT,
                (min(end, span + LEAF_BYTES) - 1 - span) >> PAGE_SHIFT,
            )
            if bool((words[first : last + 1] != self._none).any()):
                cleared = True
                words[first : last + 1] = self._none
                await self.store_changed(pasid, span, words)
        return cleared

    async def invalidate(self, pasid: int, first: int, last: int) -> None:
        """Let the device forget the bytes `first` to `last`, inclusive; when it returns it uses nothing of them."""
        await self._port.submit(
            pack_command(opcode=Opcode.INVALIDATE, pasid=pasid, first=first, last=last).reshape(1, 4)
        )
        await self._port.pause("driver: invalidate commanded")
        await self._fence()

    async def _fence(self) -> None:
        self.fences += 1
        await self._port.fence()

    def _missing(self, pasid: int, va: int) -> tuple[int, int, list[int]]:
        """The lowest directory entry on the way to `va` that exists: its level and address."""
        table = self._roots[pasid]
        for level in range(self._root_level, LEAF_LEVEL - 1, -1):
            where = table + ((va >> span_bits(level)) & INDEX_MASK) * WORD_BYTES
            fields = unpack_directory_entry(self._memory.read_words(where, 1))
            if level == LEAF_LEVEL or fields["entry_type"] != DirectoryType.DIRECTORY:
                return level, where, self._directories[pasid]
            table = int(fields["address"])
        raise AssertionError("the leaf level was not reached")

    def _new(self, length: int, align: int, owner: Owner) -> int:
        return self._memory.allocate(length, align, owner)


def _entry(kind: DirectoryType, address: int) -> int:
    """A directory entry; an array gets slots of 4 KiB and no promise of more (max_order 0)."""
    page_shift = PAGE_SHIFT if kind is DirectoryType.ARRAY else 0
    return int(pack_directory_entry(entry_type=kind, address=address, page_shift=page_shift)[0])


def _runs(indices: npt.NDArray[np.intp]) -> list[tuple[int, int]]:
    """The (first, last) of each run of consecutive numbers."""
    if indices.size == 0:
        return []
    breaks = np.flatnonzero(np.diff(indices) > 1)
    firsts = indices[np.concatenate([[0], breaks + 1])]
    lasts = indices[np.concatenate([breaks, [indices.size - 1]])]
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]
