# SPDX-License-Identifier: Apache-2.0
"""The device's tables in memory as a driver builds them: context table, directories, and pfns arrays linked as leaves.

Memory itself is the only record of what is linked: every look-up walks the host's shadow. Source: docs/interface.md,
"Contexts", "Directories" and "Order".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES, PAGE_SHIFT, WORD_BYTES, WordsLike, as_words
from models.entries import none_word
from models.errors import UserError
from models.formats import EntryFormat
from models.geometry import (
    DEFAULT_VA_BITS,
    DIRECTORY_BYTES,
    INDEX_MASK,
    LEAF_LEVEL,
    root_level,
    span_bits,
)
from models.honest_order import LARGEST_MAX_ORDER, largest_honest_max_order
from models.physical_memory import Owner, PhysicalMemory
from models.structures import (
    CONTEXT_ENTRY_BYTES,
    DirectoryType,
    pack_context_entry,
    pack_directory_entry,
    unpack_context_entry,
    unpack_directory_entry,
)

__all__ = ["ArrayLink", "DeviceTables", "largest_honest_max_order"]

PASID_BITS = 20


@dataclass(frozen=True)
class ArrayLink:
    """A linked pfns array: its bus address, the virtual address of its first slot, and what its entry says of it."""

    address: int
    first_va: int
    level: int
    page_shift: int
    max_order: int

    @property
    def slots(self) -> int:
        """Number of entries in the array."""
        return 1 << (span_bits(self.level) - self.page_shift)


class DeviceTables:
    """Context table, directories and arrays of one device in one memory.

    Attributes: `context_base` bus address of the context table, `context_count`, `va_bits` (48 or 57). A table that is
    no longer linked stays allocated until release_detached(), because the device may read it until a FENCE is complete.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        *,
        va_bits: int = DEFAULT_VA_BITS,
        context_count: int,
        none_word: int = 0,
    ) -> None:
        """Allocate an empty context table. `none_word`: the entry that link_array() puts where it is given no words.

        Errors: UserError for other widths, for a count that PASIDs of 20 bits cannot reach, or if memory is short.
        """
        if not 0 < context_count <= 1 << PASID_BITS:
            raise UserError(f"Choose 1 to {1 << PASID_BITS} contexts, not {context_count}.")
        self.memory = memory
        self.va_bits = va_bits
        self.context_count = context_count
        self.none_word = none_word
        self.detached: list[int] = []
        self._root_level = root_level(va_bits)
        self.context_base = self._new_table(context_count * CONTEXT_ENTRY_BYTES, LINE_BYTES, Owner.CONTEXT)

    def context_entry_address(self, pasid: int) -> int:
        """Bus address of the context entry of `pasid`. Errors: UserError if the context table has none."""
        if not 0 <= pasid < self.context_count:
            raise UserError(f"Choose a PASID from 0 to {self.context_count - 1}, not {pasid}.")
        return self.context_base + CONTEXT_ENTRY_BYTES * pasid

    def bind(self, pasid: int) -> int:
        """Give `pasid` an empty root directory and make its context entry valid; returns the root's bus address.

        Errors: UserError if it is bound already.
        """
        if self._root(pasid) is not None:
            raise UserError(f"Unbind PASID {pasid} first: it is bound already.")
        root = self._new_table(DIRECTORY_BYTES, PAGE_BYTES, Owner.DIRECTORY)
        self.memory.write_words(self.context_entry_address(pasid), pack_context_entry(valid=1, root=root))
        return root

    def unbind(self, pasid: int) -> None:
        """Clear the context entry of `pasid` and detach all its tables. Errors: UserError if it is not bound."""
        root = self._bound_root(pasid)
        self.memory.write_words(self.context_entry_address(pasid), pack_context_entry(valid=0))
        self._detach_directory(root, self._root_level)

    def link_array(
        self,
        pasid: int,
        va: int,
        *,
        level: int = LEAF_LEVEL,
        page_shift: int = PAGE_SHIFT,
        max_order: int = 0,
        words: WordsLike | None = None,
        replace: bool = False,
    ) -> int:
        """Link a new pfns array for the span of `va` at directory `level`; returns the array's bus address.

        `words` go to the slots from `va` on, all other slots hold the none word. Directories above are made where they
        are missing. The new array is written first and linked with one 8-byte store; what was linked there before is
        detached if `replace`.
        Errors: UserError for a level, page shift, address or number of words that does not fit, or if the span or a
        larger one is linked already.
        """
        span = self._checked_span(level, page_shift, max_order)
        values = as_words([] if words is None else words).astype(np.uint64)
        slots = 1 << (span - page_shift)
        slot = (self._checked_va(va) & ((1 << span) - 1)) >> page_shift
        if va & ((1 << page_shift) - 1) and values.size:
            raise UserError(f"Align {va:#x} to the slots of 2^{page_shift} bytes that its words are for.")
        if slot + values.size > slots:
            raise UserError(f"Give at most {slots - slot} words from {va:#x} on: the array ends there.")
        entry_address = self._entry_address(pasid, va, level, make=True)
        if self._entry_type(entry_address) is not DirectoryType.ABSENT and not replace:
            raise UserError(f"Unlink level {level} of {va:#x} first: something is linked there.")
        content = np.full(slots, self.none_word, dtype=np.uint64)
        content[slot : slot + values.size] = values
        address = self.memory.allocate(slots * WORD_BYTES, LINE_BYTES, Owner.ARRAY)
        self.memory.write_words(address, content)
        if replace:
            self._detach_entry(entry_address, level)
        self._store_entry(entry_address, DirectoryType.ARRAY, address, page_shift, max_order)
        return address

    def unlink(self, pasid: int, va: int, *, level: int = LEAF_LEVEL) -> None:
        """Make the directory entry of `va` at `level` ABSENT and detach what it pointed to.

        Errors: UserError if no such entry exists, or nothing is linked there.
        """
        entry_address = self.directory_entry_address(pasid, va, level)
        if self._entry_type(entry_address) is DirectoryType.ABSENT:
            raise UserError(f"Link level {level} of {va:#x} first: nothing is linked there.")
        self._detach_entry(entry_address, level)
        self.memory.write_words(entry_address, [0])

    def link_range(
        self,
        pasid: int,
        start_va: int,
        words: WordsLike,
        fmt: EntryFormat,
        max_order: int | None = None,
        *,
        level: int = LEAF_LEVEL,
        page_shift: int = PAGE_SHIFT,
    ) -> list[int]:
        """Link the entries uint64[n] of one HMM range, the first for `start_va`; returns the arrays' bus addresses.

        The range is cut into arrays of one directory entry of `level` each. Slots outside the range are NONE, or keep
        what an array that is linked there already (with the same page shift) holds. `max_order` None gives each array
        its largest honest promise.
        Errors: UserError as link_array(), or if the format has no word for NONE.
        """
        values = as_words(words)
        none = none_word(fmt)
        span = self._checked_span(level, page_shift, max_order or 0)
        slot_mask = (1 << page_shift) - 1
        if self._checked_va(start_va) & slot_mask:
            raise UserError(f"Align the start {start_va:#x} of the range to its slots of 2^{page_shift} bytes.")
        if values.size == 0 or start_va + (values.size << page_shift) > 1 << self.va_bits:
            raise UserError(f"Give 1 or more entries that end below 2^{self.va_bits}.")
        addresses = []
        done = 0
        while done < values.size:
            va = start_va + (done << page_shift)
            first_va = va >> span << span
            slot = (va - first_va) >> page_shift
            slots = 1 << (span - page_shift)
            part = values[done : done + slots - slot]
            link = self.find_array(pasid, va)
            if link is not None and (link.level, link.page_shift) != (level, page_shift):
                raise UserError(f"Unlink {va:#x} first: an array of another shape is linked there.")
            if link is None:
                content = np.full(slots, none, dtype=np.uint64)
            else:
                content, _ = self.memory.shadow_read(np.arange(slots, dtype=np.uint64) * 8 + np.uint64(link.address))
            content[slot : slot + part.size] = part
            promise = max_order
            if promise is None:
                promise = largest_honest_max_order(fmt, content, page_shift=page_shift)
            if link is None:
                address = self.link_array(
                    pasid, first_va, level=level, page_shift=page_shift, max_order=promise, words=content
                )
            else:
                address = link.address
                self.memory.write_words(address + slot * WORD_BYTES, part)
                entry_address = self.directory_entry_address(pasid, va, level)
                self._store_entry(entry_address, DirectoryType.ARRAY, address, page_shift, promise)
            addresses.append(address)
            done += part.size
        return addresses

    def find_array(self, pasid: int, va: int) -> ArrayLink | None:
        """The array that is linked for `va` at any level, None if there is none.

        Errors: UserError if the PASID is not bound or the address is too wide.
        """
        table = self._bound_root(pasid)
        self._checked_va(va)
        for level in range(self._root_level, LEAF_LEVEL - 1, -1):
            fields = unpack_directory_entry([self._read(table + _entry_offset(va, level))])
            if fields["entry_type"] == DirectoryType.ARRAY:
                span = span_bits(level)
                return ArrayLink(
                    int(fields["address"]),
                    va >> span << span,
                    level,
                    int(fields["page_shift"]),
                    int(fields["max_order"]),
                )
            if fields["entry_type"] != DirectoryType.DIRECTORY:
                return None
            table = int(fields["address"])
        return None

    def entry_address(self, pasid: int, va: int) -> int:
        """Bus address of the array slot of `va`. Errors: UserError if no array is linked for it."""
        link = self.find_array(pasid, va)
        if link is None:
            raise UserError(f"Link an array for {va:#x} of PASID {pasid} first.")
        return link.address + ((va - link.first_va) >> link.page_shift) * WORD_BYTES

    def directory_entry_address(self, pasid: int, va: int, level: int) -> int:
        """Bus address of the directory entry of `va` at `level`, whatever it holds.

        Errors: UserError if no directory of that level is linked for `va`.
        """
        return self._entry_address(pasid, self._checked_va(va), self._checked_level(level), make=False)

    def release_detached(self) -> None:
        """Free every table that was unlinked or replaced: call this after the FENCE behind the invalidation."""
        for address in self.detached:
            self.memory.free(address)
        self.detached = []

    def _checked_level(self, level: int) -> int:
        if not LEAF_LEVEL <= level <= self._root_level:
            raise UserError(f"Choose a directory level from {LEAF_LEVEL} to {self._root_level}, not {level}.")
        return level

    def _checked_span(self, level: int, page_shift: int, max_order: int) -> int:
        span = span_bits(self._checked_level(level))
        if not PAGE_SHIFT <= page_shift <= span:
            raise UserError(f"Choose a page shift from {PAGE_SHIFT} to {span} at level {level}, not {page_shift}.")
        if not 0 <= max_order <= LARGEST_MAX_ORDER:
            raise UserError(f"Choose a max_order from 0 to {LARGEST_MAX_ORDER}, not {max_order}.")
        return span

    def _checked_va(self, va: int) -> int:
        if not 0 <= va < 1 << self.va_bits:
            raise UserError(f"Choose a virtual address below 2^{self.va_bits}, not {va:#x}.")
        return va

    def _read(self, address: int) -> int:
        words, _ = self.memory.shadow_read([address])
        return int(words[0])

    def _root(self, pasid: int) -> int | None:
        words, _ = self.memory.shadow_read(self.context_entry_address(pasid) + np.array([0, WORD_BYTES], np.uint64))
        fields = unpack_context_entry(words)
        return int(fields["root"]) if fields["valid"] else None

    def _bound_root(self, pasid: int) -> int:
        root = self._root(pasid)
        if root is None:
            raise UserError(f"Bind PASID {pasid} first.")
        return root

    def _new_table(self, length: int, align: int, owner: Owner) -> int:
        address = self.memory.allocate(length, align, owner)
        self.memory.write_words(address, np.zeros(-(-length // WORD_BYTES), dtype=np.uint64))
        return address

    def _entry_type(self, entry_address: int) -> DirectoryType:
        return DirectoryType(int(unpack_directory_entry([self._read(entry_address)])["entry_type"]))

    def _entry_address(self, pasid: int, va: int, level: int, *, make: bool) -> int:
        table = self._bound_root(pasid)
        for above in range(self._root_level, level, -1):
            address = table + _entry_offset(va, above)
            entry_type = self._entry_type(address)
            if entry_type is DirectoryType.ARRAY:
                raise UserError(f"Unlink level {above} of {va:#x} first: an array is linked there.")
            if entry_type is DirectoryType.ABSENT:
                if not make:
                    raise UserError(f"Link something below level {above} of {va:#x} first: nothing is linked there.")
                table = self._new_table(DIRECTORY_BYTES, PAGE_BYTES, Owner.DIRECTORY)
                self._store_entry(address, DirectoryType.DIRECTORY, table)
            else:
                table = int(unpack_directory_entry([self._read(address)])["address"])
        return table + _entry_offset(va, level)

    def _store_entry(
        self, entry_address: int, entry_type: DirectoryType, address: int, page_shift: int = 0, max_order: int = 0
    ) -> None:
        entry = pack_directory_entry(entry_type=entry_type, address=address, page_shift=page_shift, max_order=max_order)
        self.memory.write_words(entry_address, entry)

    def _detach_entry(self, entry_address: int, level: int) -> None:
        fields = unpack_directory_entry([self._read(entry_address)])
        if fields["entry_type"] == DirectoryType.DIRECTORY:
            self._detach_directory(int(fields["address"]), level - 1)
        elif fields["entry_type"] == DirectoryType.ARRAY:
            self.detached.append(int(fields["address"]))

    def _detach_directory(self, table: int, level: int) -> None:
        words, _ = self.memory.shadow_read(np.arange(table, table + DIRECTORY_BYTES, WORD_BYTES, dtype=np.uint64))
        for index in np.flatnonzero(words):
            self._detach_entry(table + int(index) * WORD_BYTES, level)
        self.detached.append(table)


def _entry_offset(va: int, level: int) -> int:
    return ((va >> span_bits(level)) & INDEX_MASK) * WORD_BYTES
