# SPDX-License-Identifier: Apache-2.0
"""Small scenarios that go through the tables of the contract one row after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES, PAGE_SHIFT, WORD_BYTES, Words
from models.entries import encode
from models.formats import EntryFormat, format_by_name
from models.geometry import DEFAULT_PA_BITS, DIRECTORY_BYTES, ROOT_LEVELS, span_bits
from models.pages import PageKind, Pages, Window
from models.structures import (
    Access,
    DirectoryType,
    pack_context_entry,
    pack_directory_entry,
)
from tb.case import Case
from tb.host_script import join_requests, make_requests
from tb.records import Requests
from tb.scenarios.builder import CaseBuilder, chosen_format

ALL_ACCESSES = np.array([access.value for access in Access])
BASE_VA = 0x7F12_3440_0000
WINDOW = Window(0x8_0000, 0x1000)
OUTSIDE_MEMORY = 1 << 40
"""A bus address that no memory answers."""


def every_kind(fmt: EntryFormat) -> Words:
    """Entries of every kind that the format has a word for, system and device memory, with and without permissions."""
    own = WINDOW.base + 0x123
    foreign = WINDOW.base + WINDOW.count
    pages = [
        Pages.of(PageKind.VALID, 0x12345),
        Pages.of(PageKind.VALID, 0x12346, write=True),
        Pages.of(PageKind.VALID, 0x12347, write=True, atomic=True),
        Pages.of(PageKind.VALID, own, device_private=True),
        Pages.of(PageKind.VALID, own + 1, write=True, device_private=True),
        Pages.of(PageKind.VALID, own + 2, write=True),
        Pages.of(PageKind.VALID, foreign, write=True, device_private=True),
        Pages.of(PageKind.NOT_VALID, 0x12348),
        Pages.of(PageKind.NONE),
    ]
    if fmt.error_is_value or fmt.error:
        pages.append(Pages.of(PageKind.ERROR))
    if fmt.special_is_value or fmt.special:
        pages.append(Pages.of(PageKind.SPECIAL))
    if fmt.pfn_width + PAGE_SHIFT > DEFAULT_PA_BITS:
        pages.append(Pages.of(PageKind.VALID, 1 << (DEFAULT_PA_BITS - PAGE_SHIFT), write=True))
    return np.concatenate([encode(fmt, page) for page in pages])


def smoke(seed: int, parameters: dict[str, Any]) -> Case:
    """A few pages of every kind, each with every access, twice; `format`: which format."""
    fmt = chosen_format(str(parameters.get("format", "hmm_2018_flags")))
    builder = CaseBuilder("smoke", seed, fmt, context_count=4, window=WINDOW, parameters=parameters)
    rng = np.random.default_rng(seed)
    words = every_kind(fmt)
    builder.tables.bind(1)
    builder.tables.link_range(1, BASE_VA, words, fmt)
    page = np.repeat(np.arange(words.size), ALL_ACCESSES.size)
    va = np.uint64(BASE_VA) + page.astype(np.uint64) * np.uint64(PAGE_BYTES)
    va = np.tile(va, 2) + rng.integers(PAGE_BYTES, size=2 * page.size, dtype=np.uint64)
    builder.ask(make_requests(va, 1, np.tile(ALL_ACCESSES, 2 * words.size)))
    return builder.build()


class _Corner:
    """One virtual address after the other, each in a 2 MiB span of its own below one level-1 directory."""

    def __init__(self, builder: CaseBuilder, pasid: int) -> None:
        self._builder = builder
        self._pasid = pasid
        self._next = BASE_VA
        self.addresses: list[int] = []

    def array(self, words: Words, *, page_shift: int = PAGE_SHIFT, max_order: int = 0) -> int:
        """Links an array; its first slot is asked for."""
        va = self._take()
        self._builder.tables.link_array(self._pasid, va, page_shift=page_shift, max_order=max_order, words=words)
        return va

    def entry(self, word: int) -> int:
        """Stores a directory entry as it is."""
        va = self.array(np.zeros(0, dtype=np.uint64))
        address = self._builder.tables.directory_entry_address(self._pasid, va, 1)
        self._builder.memory.write_words(address, [word])
        return va

    def _take(self) -> int:
        va = self._next
        self._next += 1 << span_bits(1)
        self.addresses.append(va)
        return va


def _entry(kind: int, address: int, page_shift: int = 0, max_order: int = 0) -> int:
    return int(pack_directory_entry(entry_type=kind, address=address, page_shift=page_shift, max_order=max_order)[0])


def reasons(seed: int, parameters: dict[str, Any]) -> Case:
    """Every row of the table of reasons and every way to be malformed, one address each, with every access.

    Where two reasons meet, the first of the table must win.
    """
    fmt = format_by_name("linux_5_8")
    builder = CaseBuilder("reasons", seed, fmt, context_count=16, window=WINDOW, parameters=parameters)
    memory, tables = builder.memory, builder.tables
    root = tables.bind(1)
    corner = _Corner(builder, 1)
    good = builder.spare_array(np.full(PAGE_BYTES // WORD_BYTES, encode(fmt, Pages.of(pfn=5, write=True))[0]))
    array, directory = DirectoryType.ARRAY, DirectoryType.DIRECTORY
    for word in every_kind(fmt):
        corner.array(np.array([word]))
    # Slots of 8 KiB: a pfn that is aligned to them, one that is not, and one that crosses the window's edge.
    for pfn in (0x12344, 0x12345, WINDOW.base + WINDOW.count - 2):
        corner.array(encode(fmt, Pages.of(pfn=pfn, write=True)), page_shift=PAGE_SHIFT + 1)
    for word in (
        0,
        _entry(DirectoryType.ABSENT, good, 63, 31),
        3,
        _entry(directory, good & ~(PAGE_BYTES - 1)),
        _entry(array, good, PAGE_SHIFT - 1),
        _entry(array, good, span_bits(1) + 1),
        _entry(array, good, 63),
        _entry(array, good, PAGE_SHIFT) | 1 << 2,
        _entry(array, good, PAGE_SHIFT) | 1 << 5,
        _entry(array, good, PAGE_SHIFT) | 1 << 63,
        _entry(array, 1 << DEFAULT_PA_BITS, PAGE_SHIFT),
        _entry(array, OUTSIDE_MEMORY, PAGE_SHIFT),
        _entry(array, good, PAGE_SHIFT, 31),
        _entry(array, good, span_bits(1)),
    ):
        corner.entry(word)
    failing = corner.array(encode(fmt, Pages.of(pfn=np.full(16, 7))))
    memory.set_read_error(tables.entry_address(1, failing) + LINE_BYTES)
    corner.addresses.append(failing + PAGE_BYTES * (LINE_BYTES // WORD_BYTES))
    addresses = [*corner.addresses, *_upper_levels(builder, root, good)]
    width = builder.va_bits
    addresses += [1 << width, (1 << 64) - 1, BASE_VA | 1 << width, (1 << width) - 1]
    va = np.repeat(np.array(addresses, dtype=np.uint64), ALL_ACCESSES.size)
    builder.ask(make_requests(va, 1, np.tile(ALL_ACCESSES, len(addresses))))
    builder.ask(_bad_contexts(builder, root))
    return builder.build()


def _upper_levels(builder: CaseBuilder, root: int, good: int) -> list[int]:
    """Entries of the root that are bad in every way that level 1 does not show; the addresses below them."""
    top = span_bits(ROOT_LEVELS[builder.va_bits])
    words = [
        _entry(DirectoryType.DIRECTORY, root) | 1 << 6,
        _entry(DirectoryType.DIRECTORY, root, PAGE_SHIFT),
        _entry(DirectoryType.DIRECTORY, root, 0, 1),
        _entry(DirectoryType.DIRECTORY, root) | 1 << 3,
        _entry(DirectoryType.DIRECTORY, 1 << DEFAULT_PA_BITS),
        _entry(DirectoryType.DIRECTORY, OUTSIDE_MEMORY),
        # The first slots of so long an array are on the bus, its last ones are not.
        _entry(DirectoryType.ARRAY, (1 << DEFAULT_PA_BITS) - LINE_BYTES, top - 4),
        _entry(DirectoryType.ARRAY, good, top),
        _entry(DirectoryType.ARRAY, good, top + 1),
        0,
    ]
    last = DIRECTORY_BYTES // WORD_BYTES - 1
    place = [last - index for index in range(len(words))]
    for index, word in zip(place, words, strict=True):
        builder.memory.write_words(root + WORD_BYTES * index, [word])
    return [index << top for index in place] + [((place[6] + 1) << top) - 1]


def _bad_contexts(builder: CaseBuilder, root: int) -> Requests:
    """Contexts that are bad in every way, and PASIDs beyond the table."""
    good = int(pack_context_entry(valid=1, root=root)[0])
    entries = {
        2: (good & ~1, 0),
        3: (good | 2, 0),
        4: (good | 1 << 63, 0),
        5: (good, 1),
        6: (good | 1 << DEFAULT_PA_BITS, 0),
        7: ((good | 2) & ~1, (1 << 64) - 1),
        8: (int(pack_context_entry(valid=1, root=OUTSIDE_MEMORY)[0]), 0),
        12: (good, 0),
    }
    for pasid, words in entries.items():
        builder.memory.write_words(builder.tables.context_entry_address(pasid), words)
    # Four contexts share a line: 12 is good, but one beside it cannot be read.
    builder.memory.set_read_error(builder.tables.context_entry_address(15))
    pasids = np.array([*entries, 15, 16, (1 << 20) - 1])
    requests = make_requests(
        np.uint64(BASE_VA), np.repeat(pasids, ALL_ACCESSES.size), np.tile(ALL_ACCESSES, pasids.size)
    )
    # OUT_OF_RANGE comes before NO_CONTEXT.
    return join_requests([requests, make_requests(np.uint64(1 << 60), pasids)])


LARGEST_SLOTS_LOG2 = 15
"""The longest array that `levels` links: 256 KiB of memory."""


def levels(seed: int, parameters: dict[str, Any]) -> Case:
    """Arrays of every page shift at every level, with promises from nothing to more than the span, aligned or not."""
    fmt = format_by_name("linux_5_8")
    builder = CaseBuilder("levels", seed, fmt, context_count=8, parameters=parameters)
    va_bits = builder.va_bits
    rng = np.random.default_rng(seed)
    pasid = 2
    builder.tables.bind(pasid)
    number = 0
    for level in range(1, ROOT_LEVELS[va_bits] + 1):
        span = span_bits(level)
        shortest = max(PAGE_SHIFT, span - LARGEST_SLOTS_LOG2)
        for page_shift in range(shortest, min(span, DEFAULT_PA_BITS - 1) + 1):
            for promise in (0, 31, int(rng.integers(1, 31))):
                va = _own_span(number, level, va_bits)
                number += 1
                _link_block(builder, pasid, va, level, page_shift, promise, rng)
    return builder.build()


def _own_span(number: int, level: int, va_bits: int) -> int:
    """An address whose root entry is for this level alone, with one span after the other in it."""
    top = span_bits(ROOT_LEVELS[va_bits])
    if level == ROOT_LEVELS[va_bits]:
        return (256 + number % 256) << top
    return ((level << top) | ((number % 512) << span_bits(level))) & ((1 << va_bits) - 1)


def _link_block(
    builder: CaseBuilder, pasid: int, va: int, level: int, page_shift: int, promise: int, rng: np.random.Generator
) -> None:
    """An array of consecutive pfns with one order, so that every promise is honest; then requests into it."""
    span = span_bits(level)
    slot_order, slots = page_shift - PAGE_SHIFT, 1 << (span - page_shift)
    align = span - PAGE_SHIFT if rng.random() < 0.75 else slot_order
    align = min(align, DEFAULT_PA_BITS - PAGE_SHIFT - 1)
    room = (1 << (DEFAULT_PA_BITS - PAGE_SHIFT)) - min(slots << slot_order, 1 << (DEFAULT_PA_BITS - PAGE_SHIFT - 1))
    first = int(rng.integers(room)) >> align << align
    pfn = np.uint64(first) + (np.arange(slots, dtype=np.uint64) << np.uint64(slot_order))
    order = int(rng.integers(32))
    words = encode(builder.format, Pages.of(pfn=pfn, write=bool(rng.integers(2)), order=order))
    builder.tables.link_array(pasid, va, level=level, page_shift=page_shift, max_order=promise, words=words)
    slot = np.concatenate([[0, slots - 1], rng.integers(slots, size=6)]).astype(np.uint64)
    inside = rng.integers(1 << page_shift, size=slot.size, dtype=np.uint64)
    first_va = np.uint64(va >> span << span)
    builder.ask(
        make_requests(first_va + (slot << np.uint64(page_shift)) + inside, pasid, rng.integers(4, size=slot.size))
    )
