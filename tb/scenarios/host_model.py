# SPDX-License-Identifier: Apache-2.0
"""A host that changes live tables as a driver must: what it stores, the commands that go with it, when memory is free.

It keeps its own note of every array that is linked, apart from the memory image, which stays as it was at the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import PAGE_SHIFT, WORD_BYTES, Words
from models.entries import encode, none_word
from models.geometry import DIRECTORY_BYTES, span_bits
from models.pages import PageKind, Pages
from models.physical_memory import Owner
from models.registers import Register
from models.structures import DirectoryType, pack_context_entry, pack_directory_entry
from tb.host_script import ALL_BITS, LAST_ADDRESS, When
from tb.scenarios.builder import CaseBuilder

INTERRUPT_FENCE_DONE = 1
PFN_LIMIT = 1 << 34
"""Pages lie below 64 TiB, which every format can tell."""
GARBAGE = 0x5555_5555_5555_5555


@dataclass
class LiveArray:
    """A linked array as the host's stores have made it. `block`: log2 of the slots that are changed together."""

    pasid: int
    first_va: int
    level: int
    page_shift: int
    max_order: int
    address: int
    entry_address: int
    words: Words
    block: int
    linked: bool = True

    @property
    def slots(self) -> int:
        """Its length."""
        return int(self.words.size)

    def va_of(self, slot: int) -> int:
        """The first address of a slot."""
        return self.first_va + (slot << self.page_shift)

    @property
    def last_va(self) -> int:
        """The last byte that it maps."""
        return self.first_va + (1 << span_bits(self.level)) - 1


class HostModel:
    """Writes the script of one case. `forgets`: the number of the change (from 0) whose commands it leaves out.

    `wait_for_requests`: so many requests must be answered before the next store.
    """

    def __init__(self, builder: CaseBuilder, rng: np.random.Generator, *, forgets: int = -1) -> None:
        self.builder = builder
        self.rng = rng
        self.arrays: list[LiveArray] = []
        self.forgets = forgets
        self.changes = 0
        self.wait_for_requests = 0
        self.fences = 0
        self.roots: dict[int, int] = {}
        self.none = none_word(builder.format)
        self._fence_word = builder.fence_word()

    def link(self, pasid: int, va: int, *, level: int = 1, page_shift: int = PAGE_SHIFT, block: int = 0) -> LiveArray:
        """Links an array before the case begins: random pages, in blocks of 2^block slots with one order if > 0."""
        slots = 1 << (span_bits(level) - page_shift)
        slot_order = page_shift - PAGE_SHIFT
        order = slot_order + block if block and self.builder.format.order_width else 0
        words = self.page_words(slots, slot_order, block, order)
        tables = self.builder.tables
        address = tables.link_array(pasid, va, level=level, page_shift=page_shift, max_order=order, words=words)
        entry = tables.directory_entry_address(pasid, va, level)
        array = LiveArray(pasid, va, level, page_shift, order, address, entry, words, block if order else 0)
        self.arrays.append(array)
        return array

    def page_words(self, slots: int, slot_order: int, block: int, order: int) -> Words:
        """VALID entries, a quarter NONE; each block of 2^block slots has consecutive pfns and equal flags."""
        rng, count = self.rng, slots >> block
        limit = PFN_LIMIT >> slot_order >> block
        first = rng.integers(limit, size=count, dtype=np.uint64) << np.uint64(block)
        inside = np.arange(1 << block, dtype=np.uint64)
        pfn = ((first[:, np.newaxis] + inside) << np.uint64(slot_order)).ravel()
        write = np.repeat(rng.random(count) < 0.6, 1 << block)
        kind = np.repeat(np.where(rng.random(count) < 0.25, PageKind.NONE, PageKind.VALID), 1 << block)
        return encode(self.builder.format, Pages.of(kind, pfn, write=write, atomic=write, order=order))

    # ---- Stores ------------------------------------------------------------------------------------------------------

    def store_slots(self, array: LiveArray, slot: int, words: Words) -> None:
        """Stores into a live array, after a pause of any length, slot by slot. Of a block only NONE may come so."""
        self.builder.script.write_words(array.address + WORD_BYTES * slot, words, self.pause())
        array.words[slot : slot + words.size] = words

    def store_entry(self, array: LiveArray, address: int, when: When | None = None) -> None:
        """Points the array's directory entry at another array; 0: at nothing."""
        word = 0
        if address:
            word = int(
                pack_directory_entry(
                    entry_type=DirectoryType.ARRAY,
                    address=address,
                    page_shift=array.page_shift,
                    max_order=array.max_order,
                )[0]
            )
        self.builder.script.write_memory(array.entry_address, word, when or self.pause())

    def store_context(self, pasid: int, root: int) -> None:
        """Makes a context entry valid, or (root 0) not valid."""
        words = pack_context_entry(valid=int(root != 0), root=root)
        self.builder.script.write_memory(self.builder.tables.context_entry_address(pasid), int(words[0]), self.pause())

    def pause(self) -> When:
        """A pause of up to 60 cycles, half of them none at all; the first one waits for `wait_for_requests` too."""
        after, self.wait_for_requests = self.wait_for_requests, 0
        return When(after_request=after, delay=int(self.rng.integers(60)) if self.rng.integers(2) else 0)

    # ---- Commands ----------------------------------------------------------------------------------------------------

    def invalidate(self, pasid: int, first: int, last: int) -> None:
        """One of the commands that cover the range: exact, wider, of every context; then a fence, and the wait for it.

        After it the host counts on the range being clean, also where it forgot the commands.
        """
        if self.changes != self.forgets:
            self._send_invalidation(pasid, first, last)
            self.fence()
        self.changes += 1
        self.builder.script.nop()
        self.builder.expect_clean(pasid, first, last)

    def _send_invalidation(self, pasid: int, first: int, last: int) -> None:
        script, choice = self.builder.script, int(self.rng.integers(12))
        if choice < 7:
            script.invalidate(pasid, first, last, self.pause())
        elif choice == 7:
            script.invalidate(pasid, 0, LAST_ADDRESS, self.pause())
        elif choice == 8:
            script.invalidate(None, first, last, self.pause())
        elif choice == 9:
            script.invalidate_context(pasid, self.pause())
        elif choice == 10:
            # In two halves, the second one twice, and a hole.
            middle = first + (last - first) // 2
            script.invalidate(pasid, first, middle, self.pause(), tail=False)
            script.invalidate(pasid, middle, last, tail=False)
            script.invalidate(pasid, LAST_ADDRESS, LAST_ADDRESS, tail=False)
            script.invalidate(pasid, middle, last)
        else:
            script.invalidate_context(None, self.pause())

    def fence(self) -> None:
        """A fence, and the wait for its value, its sequence number or its interrupt."""
        script, choice = self.builder.script, int(self.rng.integers(3))
        self.fences += 1
        if choice == 0:
            script.fence(self.pause(), address=self._fence_word, value=self.fences)
            script.wait_memory(self._fence_word, self.fences)
        elif choice == 1:
            script.fence(self.pause())
            script.wait_register(Register.FENCE_SEQUENCE, self.fences, mask=ALL_BITS)
        else:
            script.fence(self.pause(), interrupt=True)
            script.wait_interrupt()
            script.read_register(Register.FENCE_SEQUENCE, expect=self.fences)
            script.write_register(Register.INTERRUPT_CAUSE, INTERRUPT_FENCE_DONE)

    def restart_fences(self) -> None:
        """Behind a soft reset the device counts fences from 0 again; no value of before may be taken for a new one."""
        self.fences = 0
        self.builder.script.write_memory(self._fence_word, 0)

    # ---- Changes -----------------------------------------------------------------------------------------------------

    def unmap(self, array: LiveArray, slot: int, count: int) -> None:
        """The invalidate callback: NONE into the slots, INVALIDATE, FENCE, return."""
        self.store_slots(array, slot, np.full(count, self.none, dtype=np.uint64))
        self.invalidate(array.pasid, array.va_of(slot), array.va_of(slot + count) - 1)

    def move(self, array: LiveArray, slot: int, count: int) -> None:
        """Other pages for the slots: NONE first, then clean, then the new words."""
        self.unmap(array, slot, count)
        words = self.fresh_words(array, slot, count)
        if array.block:
            self.commit_block(array, slot, words)
        else:
            self.store_slots(array, slot, words)

    def change(self, array: LiveArray, slot: int, count: int) -> None:
        """Other pages at once, without NONE in between: the fence tells when the old ones are free."""
        words = self.fresh_words(array, slot, count)
        if array.block:
            self.commit_block(array, slot, words)
            return
        self.store_slots(array, slot, words)
        self.invalidate(array.pasid, array.va_of(slot), array.va_of(slot + count) - 1)

    def commit_block(self, array: LiveArray, slot: int, words: Words) -> None:
        """New words for whole blocks whose order is vouched for.

        Stored slot by slot, the first would already speak for slots that are not there yet. So the array is replaced by
        a copy with the new words, with one store of the directory entry.
        """
        content = array.words.copy()
        content[slot : slot + words.size] = words
        self.replace(array, content)

    def permit(self, array: LiveArray, slot: int) -> None:
        """More permission on the same page: a store and nothing else. Only where a slot may be changed alone."""
        word = array.words[slot]
        fmt = self.builder.format
        if word != np.uint64(self.none) and fmt.write and array.block == 0:
            self.store_slots(array, slot, np.array([word | np.uint64(fmt.write | fmt.atomic)], dtype=np.uint64))

    def protect(self, array: LiveArray, slot: int) -> None:
        """Less permission on the same page."""
        word, fmt = array.words[slot], self.builder.format
        if word != np.uint64(self.none) and array.block == 0:
            less = word & ~np.uint64(fmt.write | fmt.atomic)
            self.store_slots(array, slot, np.array([less], dtype=np.uint64))
            self.invalidate(array.pasid, array.va_of(slot), array.va_of(slot + 1) - 1)

    def replace(self, array: LiveArray, words: Words | None = None) -> None:
        """Commits a staging array: one store of the directory entry; the old array is free after the fence."""
        if words is None:
            words = self.fresh_words(array, 0, array.slots)
        address = self.builder.spare_array(words)
        self.store_entry(array, address)
        old, array.address, array.words = array.address, address, words
        self.invalidate(array.pasid, array.first_va, array.last_va)
        self.reuse(old, array.slots * WORD_BYTES)

    def unlink_and_link(self, array: LiveArray) -> None:
        """No directory entry for a while, then a new array: from absent to anything needs no command."""
        self.store_entry(array, 0)
        self.invalidate(array.pasid, array.first_va, array.last_va)
        self.reuse(array.address, array.slots * WORD_BYTES)
        array.words = self.page_words(array.slots, array.page_shift - PAGE_SHIFT, array.block, array.max_order)
        array.address = self.builder.spare_array(array.words)
        self.store_entry(array, array.address)

    def unbind_and_bind(self, pasid: int, root: int, other_root: int) -> None:
        """The context goes away and comes back with another root; the old directories are free after the fence."""
        self.store_context(pasid, 0)
        if self.changes != self.forgets:
            self.builder.script.unbind(pasid, self.pause())
            self.fence()
        self.changes += 1
        self.builder.script.nop()
        self.builder.expect_clean(pasid)
        self.reuse(root, DIRECTORY_BYTES)
        self.store_context(pasid, other_root)
        self.builder.script.bind(pasid, self.pause())

    def reuse(self, address: int, length: int) -> None:
        """Memory that was a table belongs to nobody now: whoever reads it is told, and finds garbage there."""
        self.builder.script.set_owner(address, length, Owner.NONE)
        self.builder.script.write_memory(address, GARBAGE)

    def fresh_words(self, array: LiveArray, slot: int, count: int) -> Words:
        """Other entries for slots of an array; the slots must be whole blocks."""
        words = self.page_words(array.slots, array.page_shift - PAGE_SHIFT, array.block, array.max_order)
        return words[slot : slot + count].copy()
