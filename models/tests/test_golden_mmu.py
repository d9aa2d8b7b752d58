# SPDX-License-Identifier: Apache-2.0
"""The golden MMU, case by case: every reason, page shifts, orders, windows."""

from __future__ import annotations

import numpy as np
import pytest

from models.arrays import as_words
from models.entries import encode
from models.errors import UserError
from models.formats import EntryFormat, format_by_name
from models.golden_mmu import GoldenMmu
from models.pages import NO_WINDOW, PageKind, Pages, Window
from models.physical_memory import Owner
from models.structures import Access, Reason
from models.tests.walk_bench import FLAGS, VA, Bench, entry_word

LINUX = format_by_name("linux_6_16")
PFNMAP = format_by_name("nouveau_pfnmap")
MULTI = format_by_name("example_multi_bit")


def test_golden_mmu_answers_ok() -> None:
    """Stimulus: a page with and one without permissions, all four accesses.
    Checking: address, permissions, memory; PREFETCH answers as READ.
    Covers: WALK-OK
    """
    bench = Bench(PFNMAP)
    bench.page(write=True, atomic=True)
    for access in Access:
        outcomes = bench.ask(VA + 0x678, access)
        assert outcomes.status.tolist() == [0]
        assert outcomes.pa.tolist() == [0x1234678]
        assert outcomes.permissions.tolist() == [3]
        assert outcomes.memory.tolist() == [0]
        assert len(outcomes) == 1


def test_golden_mmu_reaches_every_reason() -> None:
    """Stimulus: one request for each reason.
    Checking: exactly that reason; together they are the whole enumeration.
    Covers: WALK-REASONS
    """
    seen: set[Reason] = set()

    def expect(reason: Reason, bench: Bench, **request: int) -> None:
        access = Access(request.pop("access", Access.READ))
        assert bench.reason(access=access, **request) is reason
        seen.add(reason)

    bench = Bench(PFNMAP)
    bench.page(write=True)
    expect(Reason.NONE, bench)
    expect(Reason.OUT_OF_RANGE, bench, va=VA | 1 << 48)
    expect(Reason.OUT_OF_RANGE, bench, va=1 << 63, pasid=8)
    expect(Reason.NO_CONTEXT, bench, pasid=2)
    expect(Reason.NO_CONTEXT, bench, pasid=8)
    expect(Reason.NO_CONTEXT, bench, pasid=(1 << 20) - 1)
    expect(Reason.ATOMIC_DENIED, bench, access=Access.ATOMIC)
    expect(Reason.NOT_PRESENT, bench, va=VA + 4096)
    expect(Reason.NOT_PRESENT, bench, va=VA + (1 << 21))
    bench.memory.set_read_error(bench.tables.entry_address(3, VA))
    expect(Reason.BUS_ERROR, bench)
    read_only = Bench(FLAGS)
    read_only.page()
    expect(Reason.WRITE_PROTECT, read_only, access=Access.WRITE)
    expect(Reason.WRITE_PROTECT, read_only, access=Access.ATOMIC)
    for kind, reason in (
        (PageKind.NONE, Reason.NOT_PRESENT),
        (PageKind.ERROR, Reason.POISON),
        (PageKind.SPECIAL, Reason.SPECIAL),
        (PageKind.NOT_VALID, Reason.NOT_VALID),
    ):
        bench = Bench(FLAGS)
        bench.page(kind=kind)
        for access in Access:
            expect(reason, bench, access=access)
    bench = Bench(FLAGS)
    bench.page(pfn=1 << 36)
    expect(Reason.MALFORMED, bench)
    assert seen == set(Reason)


SHAPES = [(va_bits, level, shift) for va_bits, top in ((48, 3), (57, 4)) for level in range(1, top + 1)
          for shift in range(12, 13 + 9 * level)]  # fmt: skip


@pytest.mark.parametrize(("va_bits", "level"), sorted({shape[:2] for shape in SHAPES}))
def test_golden_mmu_every_page_shift(va_bits: int, level: int) -> None:
    """Stimulus: arrays of every page shift at every level, the last slot of each.
    Checking: the byte's address, the slot's order; a pfn that is not aligned to the slot is MALFORMED.
    Covers: WALK-PAGE-SHIFT
    """
    bench = Bench(va_bits=va_bits)
    va = (1 << va_bits) - 4096 + 0x123
    slot_address = bench.memory.allocate(64, owner=Owner.ARRAY) + 56
    bench.tables.link_array(3, va, level=level, page_shift=12 + 9 * level)
    entry_address = bench.tables.directory_entry_address(3, va, level)
    shifts = [shape[2] for shape in SHAPES if shape[:2] == (va_bits, level)]
    assert len(shifts) == 9 * level + 1
    for shift in shifts:
        slots = 1 << (12 + 9 * level - shift)
        # The array itself may lie outside the memory: only its last slot is read.
        array = (slot_address - 8 * (slots - 1)) // 64 * 64
        bench.memory.write_words(entry_address, [entry_word(2, array, shift)])
        pfn = 1 << 35 if shift <= 47 else 0
        bench.memory.write_words(array + 8 * (slots - 1), [pfn << 12 | 1])
        outcomes = bench.ask(va)
        assert outcomes.reason.tolist() == [0], shift
        assert outcomes.pa.tolist() == [(pfn << 12) + va % (1 << shift)], shift
        assert outcomes.order.tolist() == [shift - 12]
        if shift > 12:
            bench.memory.write_words(array + 8 * (slots - 1), [1 << (shift - 1) | 1])
            assert bench.reason(va) is Reason.MALFORMED


def orders(bench: Bench, vas: list[int]) -> list[int]:
    outcomes = bench.golden.translate(3, vas, Access.READ)
    assert not outcomes.reason.any()
    return [int(order) for order in outcomes.order]


@pytest.mark.parametrize("max_order", range(32))
def test_golden_mmu_order_is_clipped(max_order: int) -> None:
    """Stimulus: entries of orders 0 to 18 in a level-1 array with each max_order, pfn and virtual address alike.
    Checking: the smallest of entry, promise and the array's 9.
    Covers: ORDER-CLIP
    """
    bench = Bench(LINUX)
    first = VA >> 12 & ((1 << 20) - 1)
    words = encode(LINUX, Pages.of(PageKind.VALID, np.arange(first, first + 19), order=np.arange(19)))
    bench.tables.link_array(3, VA, max_order=max_order, words=words)
    assert orders(bench, [VA + (order << 12) for order in range(19)]) == [
        min(order, max_order, 9) for order in range(19)
    ]


def test_golden_mmu_order_needs_pfn_and_address_alike() -> None:
    """Stimulus: an entry of order 9 whose pfn differs from the virtual page number in one bit, each in turn.
    Checking: order 0 for bits below 9, order 9 for bits above.
    Covers: ORDER-ALIKE
    """
    bench = Bench(LINUX)
    page = VA >> 12 & ((1 << 20) - 1)
    bench.tables.link_array(3, VA, max_order=9)
    slot = bench.tables.entry_address(3, VA)
    for bit in range(20):
        bench.memory.write_words(slot, encode(LINUX, Pages.of(PageKind.VALID, page ^ 1 << bit, order=9)))
        assert orders(bench, [VA]) == [0 if bit < 9 else 9]


def test_golden_mmu_order_of_large_slots() -> None:
    """Stimulus: slots of 2 MiB at level 2: entry orders below, at and above the slot's; an unlike pfn.
    Checking: never below the slot's own order, at most the span's, the slot's where pfn and address are unlike.
    Covers: ORDER-SLOT
    """
    bench = Bench(LINUX)
    pages = [(0, 0), (0, 9), (0, 12), (0, 18), (0, 31), (512, 12), (1 << 18, 18)]
    for pfn, order in pages:
        bench.tables.link_array(
            3, VA, level=2, page_shift=21, max_order=31, replace=True,
            words=encode(LINUX, Pages.of(PageKind.VALID, (VA >> 12 & 0x3FFFFF) ^ pfn, order=order)),
        )  # fmt: skip
        expected = 9 if pfn == 512 else max(9, min(order, 18))
        assert orders(bench, [VA + 0x1F_0000]) == [expected], (pfn, order)


def test_golden_mmu_huge_order_field() -> None:
    """Stimulus: an order field of 6 bits, all ones.
    Checking: it is the largest order, not a small one cut out of it.
    Covers: ORDER-CLIP
    """
    bench = Bench(MULTI)
    bench.tables.link_array(
        3, VA, max_order=7, words=encode(MULTI, Pages.of(PageKind.VALID, VA >> 12 & 0xFFFFF, order=63))
    )
    assert orders(bench, [VA]) == [7]


@pytest.mark.parametrize("fmt", [LINUX, FLAGS], ids=["window decides", "flag and window"])
def test_golden_mmu_window_edges(fmt: EntryFormat) -> None:
    """Stimulus: pages at both edges of a window, with and without the flag.
    Checking: device memory at the offset; MALFORMED inside without the flag; NOT_VALID outside with it.
    Covers: WALK-WINDOW
    """
    bench = Bench(fmt, Window(0x1003, 5))
    pfns = [0x1002, 0x1003, 0x1007, 0x1008]
    both = np.repeat(pfns, 2)
    words = encode(fmt, Pages.of(PageKind.VALID, both, device_private=np.arange(8) % 2 == 1))
    bench.tables.link_array(3, VA, words=words)
    outcomes = bench.golden.translate(3, VA + (np.arange(8, dtype=np.uint64) << np.uint64(12)) + np.uint64(1), 0)
    inside = [False, False, True, True, True, True, False, False]
    if fmt is LINUX:
        assert not outcomes.reason.any()
        ok = [True] * 8
    else:
        malformed, foreign = Reason.MALFORMED, Reason.NOT_VALID
        assert outcomes.reason.tolist() == [0, foreign, malformed, 0, malformed, 0, 0, foreign]
        ok = [reason == 0 for reason in outcomes.reason]
    for place, pfn in enumerate(both.tolist()):
        if ok[place]:
            page = pfn - 0x1003 if inside[place] else pfn
            assert outcomes.pa[place] == (page << 12) + 1
            assert outcomes.memory[place] == inside[place]


def test_golden_mmu_window_and_order() -> None:
    """Stimulus: blocks of order 4 beside, inside and across the edges of a window that is not aligned; slots across it.
    Checking: a block across an edge has the slot's order; a slot across an edge is MALFORMED.
    Covers: WALK-WINDOW, ORDER-WINDOW
    """
    bench = Bench(LINUX, Window(0x1018, 0x28))
    words = encode(LINUX, Pages.of(PageKind.VALID, np.arange(0x1000, 0x1060), order=4))
    bench.tables.link_array(3, VA, max_order=4, words=words)
    outcomes = bench.golden.translate(3, VA + (np.arange(0, 0x60, 8, dtype=np.uint64) << np.uint64(12)), 0)
    assert outcomes.order.tolist() == [4, 4, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4]
    assert outcomes.pa[3:5].tolist() == [0, 8 << 12]
    bench.tables.link_array(
        3, VA + (1 << 30), page_shift=16, words=encode(LINUX, Pages.of(PageKind.VALID, [0x1010, 0x1020]))
    )
    outcomes = bench.golden.translate(3, [VA + (1 << 30), VA + (1 << 30) + 0x1_5678], 0)
    assert outcomes.reason.tolist() == [Reason.MALFORMED, 0]
    assert outcomes.pa[1] == (8 << 12) + 0x5678


def test_golden_mmu_believes_the_shadow() -> None:
    """Stimulus: the device overwrites an array slot in the shared bytes.
    Checking: the golden answer does not change.
    Covers: WALK-SHADOW
    """
    bench = Bench()
    bench.page()
    bench.memory.write_words(bench.tables.entry_address(3, VA), [0], shadow=False)
    assert bench.reason() is Reason.NONE


def test_golden_mmu_bad_use_is_a_user_error() -> None:
    """Stimulus: lengths that differ, an access that is none, a context table that is not aligned, a strange width.
    Checking: UserError. No requests at all are an empty answer.
    Covers: WALK-BAD-USE
    """
    bench = Bench()
    with pytest.raises(UserError, match="one length"):
        bench.golden.translate([1, 2], [1, 2, 3], 0)
    with pytest.raises(UserError, match="accesses from 0 to 3"):
        bench.golden.translate(1, 1, 4)
    with pytest.raises(UserError, match="Align the context table"):
        GoldenMmu(bench.memory, FLAGS, NO_WINDOW, 8, 1)
    with pytest.raises(UserError, match="48 or 57"):
        GoldenMmu(bench.memory, FLAGS, NO_WINDOW, 0, 1, 39)
    empty = as_words(np.zeros(0, dtype=np.uint64))
    assert len(bench.golden.translate(empty, empty, empty)) == 0
