# SPDX-License-Identifier: Apache-2.0
"""The tables that a driver builds, seen through the golden MMU and through memory itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.arrays import WordsLike
from models.device_tables import DeviceTables
from models.entries import encode, none_word
from models.errors import UserError
from models.formats import EntryFormat, format_by_name
from models.golden_mmu import GoldenMmu, Outcomes
from models.pages import NO_WINDOW, PageKind, Pages
from models.physical_memory import Owner, PhysicalMemory
from models.structures import Access, DirectoryType, Reason, unpack_directory_entry

LINUX = format_by_name("linux_6_16")
FLAGS = format_by_name("hmm_2018_flags")
HIGH_BASE = 0x8000_0000_0000
VA = 0x7F12_4000_0000
FIELDS = ("entry_type", "page_shift", "max_order")


def make(va_bits: int = 48, size: int = 1 << 24, none: int = 0) -> tuple[PhysicalMemory, DeviceTables]:
    memory = PhysicalMemory(size, HIGH_BASE)
    tables = DeviceTables(memory, va_bits=va_bits, context_count=8, none_word=none)
    tables.bind(3)
    return memory, tables


def ask(tables: DeviceTables, fmt: EntryFormat, va: WordsLike, pasid: WordsLike = 3) -> Outcomes:
    golden = GoldenMmu(tables.memory, fmt, NO_WINDOW, tables.context_base, tables.context_count, va_bits=tables.va_bits)
    return golden.translate(pasid, va, Access.READ)


def pages(count: int, first: int = 0x1000, order: int = 0) -> np.ndarray:
    return encode(LINUX, Pages.of(PageKind.VALID, np.arange(first, first + count), write=True, order=order))


@pytest.mark.parametrize("va_bits", [48, 57])
def test_device_tables_link_one_page(va_bits: int) -> None:
    """Stimulus: one entry linked at the top of the address space.
    Checking: it translates, its neighbour is NOT_PRESENT, other contexts have nothing; owners are as they should be.
    Covers: TABLES-LINK
    """
    memory, tables = make(va_bits)
    va = (1 << va_bits) - 4096
    array = tables.link_array(3, va, words=pages(1))
    outcomes = ask(tables, LINUX, np.array([va + 5, va - 1], dtype=np.uint64))
    assert outcomes.reason.tolist() == [0, Reason.NOT_PRESENT]
    assert outcomes.pa[0] == (0x1000 << 12) + 5
    assert ask(tables, LINUX, va, pasid=2).reason[0] == Reason.NO_CONTEXT
    assert tables.entry_address(3, va) == array + 511 * 8
    assert memory.owner_of(array + 511 * 8) is Owner.ARRAY
    assert memory.owner_of(tables.directory_entry_address(3, va, 1)) is Owner.DIRECTORY
    assert memory.owner_of(tables.context_entry_address(3)) is Owner.CONTEXT
    assert np.array_equal(memory.words, memory.shadow_words)


@pytest.mark.parametrize(
    ("level", "page_shift"), [(1, 12), (1, 16), (1, 21), (2, 12), (2, 21), (2, 30), (3, 21), (3, 39)]
)
def test_device_tables_link_any_shape(level: int, page_shift: int) -> None:
    """Stimulus: arrays at every level with several page shifts, words given from the second slot on where there is one.
    Checking: the array is what its link says, its words are at their slots, all other slots hold the none word.
    Covers: TABLES-SHAPE
    """
    memory, tables = make(none=8)
    slots = 1 << (12 + 9 * level - page_shift)
    first = 1 if slots > 1 else 0
    va = (0x7F << 39) + (first << page_shift)
    word = 0x1_0000_0000_0001
    address = tables.link_array(3, va, level=level, page_shift=page_shift, max_order=4, words=[word])
    link = tables.find_array(3, va)
    assert link is not None
    assert (link.address, link.first_va, link.level) == (address, 0x7F << 39, level)
    assert (link.page_shift, link.max_order, link.slots) == (page_shift, 4, slots)
    assert address % 64 == 0
    assert tables.entry_address(3, va) == address + 8 * first
    expected = np.full(slots, 8, dtype=np.uint64)
    expected[first] = word
    assert np.array_equal(memory.read_words(address, slots), expected)


def test_device_tables_link_range_cuts_and_fills_with_none() -> None:
    """Stimulus: 1100 pages from the middle of a 2 MiB span, in a format whose NONE is not 0.
    Checking: three or four arrays, every page where it belongs, NONE around the range.
    Covers: TABLES-RANGE
    """
    _, tables = make()
    words = encode(FLAGS, Pages.of(PageKind.VALID, np.arange(0x500, 0x500 + 1100)))
    start = VA + (300 << 12)
    addresses = tables.link_range(3, start, words, FLAGS)
    assert len(addresses) == 3
    vas = VA + (np.arange(0, 1536, dtype=np.uint64) << np.uint64(12))
    outcomes = ask(tables, FLAGS, vas)
    assert outcomes.reason.tolist() == [Reason.NOT_PRESENT] * 300 + [0] * 1100 + [Reason.NOT_PRESENT] * 136
    assert np.array_equal(outcomes.pa[300:1400], np.arange(0x500, 0x500 + 1100, dtype=np.uint64) << np.uint64(12))


def test_device_tables_link_range_of_a_gibibyte_both_ways() -> None:
    """Stimulus: one huge page of 1 GiB as 262144 entries, once as 512 arrays at level 1 and once as one at level 2.
    Checking: both translate every page alike; the order is 9 in the small arrays and 18 in the large one.
    Covers: TABLES-RANGE, ORDER-HONEST
    """
    _, tables = make()
    tables.bind(4)
    words = pages(1 << 18, 1 << 18, 18)
    assert len(tables.link_range(3, VA, words, LINUX)) == 512
    assert len(tables.link_range(4, VA, words, LINUX, level=2)) == 1
    vas = VA + (np.arange(0, 1 << 18, 7, dtype=np.uint64) << np.uint64(12))
    small, large = ask(tables, LINUX, vas, 3), ask(tables, LINUX, vas, 4)
    assert not small.reason.any()
    assert not large.reason.any()
    assert np.array_equal(small.pa, large.pa)
    assert set(small.order.tolist()) == {9}
    assert set(large.order.tolist()) == {18}


def test_device_tables_link_range_promise() -> None:
    """Stimulus: huge pages, whole and cut by the range's end; a promise given by the caller.
    Checking: each array has its own largest honest promise; the caller's number is taken as it is.
    Covers: ORDER-HONEST
    """
    _, tables = make()
    tables.link_range(3, VA, pages(512 + 64, 1 << 18, 9), LINUX)
    promises = [tables.find_array(3, va) for va in (VA, VA + (1 << 21))]
    assert [link.max_order for link in promises if link] == [9, 6]
    tables.link_range(3, VA + (1 << 30), pages(512, 1 << 18, 9), LINUX, 4)
    link = tables.find_array(3, VA + (1 << 30))
    assert link is not None
    assert link.max_order == 4


def test_device_tables_link_range_carries_good_slots_over() -> None:
    """Stimulus: two ranges in one 2 MiB span; then a part of the first again.
    Checking: one array, whose other slots stay, with a promise that holds for what is there now.
    Covers: TABLES-RANGE
    """
    _, tables = make()
    first = tables.link_range(3, VA, pages(256, 1 << 18, 8), LINUX)
    second = tables.link_range(3, VA + (256 << 12), pages(256, 1 << 19), LINUX)
    assert first == second
    outcomes = ask(tables, LINUX, np.array([VA, VA + (256 << 12)], dtype=np.uint64))
    assert outcomes.pa.tolist() == [1 << 30, 1 << 31]
    assert outcomes.order.tolist() == [8, 0]
    tables.link_range(3, VA + (128 << 12), pages(1, 77), LINUX)
    # Slot 129 says order 8, but not even its block of two is whole: nothing beyond single slots is true any more.
    assert ask(tables, LINUX, VA).order[0] == 0
    assert ask(tables, LINUX, VA + (128 << 12)).pa[0] == 77 << 12


def test_device_tables_link_range_of_large_slots() -> None:
    """Stimulus: entries of 2 MiB each, across two level-2 entries.
    Checking: each page is at its place inside its slot.
    Covers: TABLES-RANGE
    """
    _, tables = make()
    words = encode(LINUX, Pages.of(PageKind.VALID, np.arange(100, 110) << 9, order=9))
    start = VA + (1 << 30) - (4 << 21)
    assert len(tables.link_range(3, start, words, LINUX, level=2, page_shift=21)) == 2
    outcomes = ask(tables, LINUX, start + (np.arange(10, dtype=np.uint64) << np.uint64(21)) + np.uint64(0x12345))
    assert outcomes.pa.tolist() == [(slot << 21) + 0x12345 for slot in range(100, 110)]
    assert set(outcomes.order.tolist()) == {9}


def test_device_tables_unbind_detaches_everything() -> None:
    """Stimulus: a context with arrays at two levels, unbound; then the fence is over.
    Checking: NO_CONTEXT at once, memory free only after release_detached(), all of it.
    Covers: TABLES-UNBIND
    """
    memory, tables = make()
    before = memory.allocations()
    tables.bind(4)
    tables.link_array(4, VA, words=pages(1))
    tables.link_array(4, VA + (1 << 30), level=2, page_shift=21)
    tables.unbind(4)
    assert ask(tables, LINUX, VA, 4).reason[0] == Reason.NO_CONTEXT
    assert len(memory.allocations()) == len(before) + 5
    tables.release_detached()
    assert memory.allocations() == before
    tables.bind(4)
    assert ask(tables, LINUX, VA, 4).reason[0] == Reason.NOT_PRESENT


def test_device_tables_replace_and_unlink() -> None:
    """Stimulus: an array replaced by one store, then a directory with its arrays unlinked.
    Checking: the old array stays as it is until release_detached(); then all is free.
    Covers: TABLES-REPLACE
    """
    memory, tables = make()
    old = tables.link_array(3, VA, words=pages(1))
    new = tables.link_array(3, VA, words=pages(1, 0x2000), replace=True)
    assert memory.read_words(old, 1)[0] == pages(1)[0]
    assert ask(tables, LINUX, VA).pa[0] == 0x2000 << 12
    assert tables.detached == [old]
    tables.unlink(3, VA, level=2)
    assert ask(tables, LINUX, VA).reason[0] == Reason.NOT_PRESENT
    assert set(tables.detached) >= {old, new}
    assert len(tables.detached) == 3
    tables.release_detached()
    assert memory.owner_of(new) is Owner.NONE
    with pytest.raises(UserError, match="nothing is linked"):
        tables.unlink(3, VA, level=2)


def test_device_tables_directory_entries_are_clean() -> None:
    """Stimulus: a directory and an array linked.
    Checking: the directory entry has no page shift and no order, the array's has both.
    Covers: TABLES-LINK
    """
    memory, tables = make()
    tables.link_array(3, VA, level=1, page_shift=21, max_order=5)
    upper = unpack_directory_entry(memory.read_words(tables.directory_entry_address(3, VA, 2), 1))
    lower = unpack_directory_entry(memory.read_words(tables.directory_entry_address(3, VA, 1), 1))
    assert [int(upper[name]) for name in FIELDS] == [DirectoryType.DIRECTORY, 0, 0]
    assert [int(lower[name]) for name in FIELDS] == [DirectoryType.ARRAY, 21, 5]


def test_device_tables_reused_memory_is_clean() -> None:
    """Stimulus: tables linked in memory that was full of ones and freed.
    Checking: nothing of the old contents is seen.
    Covers: TABLES-LINK
    """
    memory = PhysicalMemory(1 << 20, HIGH_BASE)
    memory.write_words(HIGH_BASE, np.full(1 << 17, (1 << 64) - 1, dtype=np.uint64))
    tables = DeviceTables(memory, context_count=5)
    assert ask(tables, LINUX, VA, np.arange(5)).reason.tolist() == [Reason.NO_CONTEXT] * 5
    tables.bind(1)
    tables.link_array(1, VA)
    vas = VA + (np.arange(0, 1024, dtype=np.uint64) << np.uint64(12))
    assert set(ask(tables, LINUX, vas, 1).reason.tolist()) == {int(Reason.NOT_PRESENT)}


def test_device_tables_bad_use_is_a_user_error() -> None:
    """Stimulus: levels, shifts, addresses, numbers and states that do not fit.
    Checking: each is a UserError, and memory is as before.
    Covers: TABLES-BAD-USE
    """
    memory, tables = make()
    tables.link_array(3, VA)
    tables.link_array(3, VA + (1 << 39), level=3, page_shift=39)
    bare = EntryFormat("bare", valid=1, pfn_shift=12, pfn_width=40)
    attempts: list[tuple[Callable[[], object], str]] = [
        (lambda: DeviceTables(memory, context_count=0), "contexts"),
        (lambda: DeviceTables(memory, context_count=(1 << 20) + 1), "contexts"),
        (lambda: DeviceTables(memory, va_bits=39, context_count=1), "48 or 57"),
        (lambda: tables.bind(3), "bound already"),
        (lambda: tables.bind(8), "PASID from 0 to 7"),
        (lambda: tables.unbind(2), "Bind PASID 2"),
        (lambda: tables.link_array(2, VA), "Bind PASID 2"),
        (lambda: tables.link_array(3, VA, level=0), "level from 1 to 3"),
        (lambda: tables.link_array(3, VA, level=4), "level from 1 to 3"),
        (lambda: tables.link_array(3, 1 << 48), "below 2\\^48"),
        (lambda: tables.link_array(3, -1), "below 2\\^48"),
        (lambda: tables.link_array(3, VA + (1 << 21), page_shift=11), "page shift from 12 to 21"),
        (lambda: tables.link_array(3, VA + (1 << 21), page_shift=22), "page shift from 12 to 21"),
        (lambda: tables.link_array(3, VA + (1 << 21) + 8, words=[1]), "Align"),
        (lambda: tables.link_array(3, VA + (3 << 20), words=[0] * 257), "at most 256 words"),
        (lambda: tables.link_array(3, VA), "something is linked"),
        (lambda: tables.link_array(3, VA, level=2), "something is linked"),
        (lambda: tables.link_array(3, VA + (1 << 39)), "an array is linked"),
        (lambda: tables.link_range(3, VA + 1, [1], LINUX), "Align the start"),
        (lambda: tables.link_range(3, VA, [], LINUX), "1 or more entries"),
        (lambda: tables.link_range(3, (1 << 48) - 4096, [1, 1], LINUX), "end below 2\\^48"),
        (lambda: tables.link_range(3, VA, [1], LINUX, page_shift=16), "another shape"),
        (lambda: tables.link_range(3, VA + (1 << 39), [1], LINUX), "another shape"),
        (lambda: tables.link_range(3, VA, [1], bare), "no word for NONE"),
        (lambda: tables.entry_address(3, VA + (1 << 21)), "Link an array"),
        (lambda: tables.directory_entry_address(3, 0, 1), "nothing is linked there"),
        (lambda: tables.link_array(3, VA + (1 << 21), max_order=32), "max_order"),
        (lambda: tables.link_range(3, VA, [1], LINUX, 32), "max_order"),
        (lambda: tables.link_range(3, VA, [1], LINUX, page_shift=-1), "page shift from 12 to 21"),
    ]
    before, owners = memory.shadow_words.copy(), memory.owners.copy()
    for attempt, said in attempts:
        with pytest.raises(UserError, match=said):
            attempt()
    assert np.array_equal(memory.shadow_words, before)
    assert np.array_equal(memory.owners, owners)
    assert none_word(LINUX) == 0
