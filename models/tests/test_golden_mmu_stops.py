# SPDX-License-Identifier: Apache-2.0
"""The golden MMU where a walk stops before its slot is decoded: malformed structures and bus errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.golden_mmu import GoldenMmu
from models.pages import NO_WINDOW
from models.structures import DirectoryType, Reason, pack_directory_entry
from models.tests.walk_bench import BASE, FLAGS, VA, Bench, entry_word


@pytest.mark.parametrize("bit", [*range(1, 12), *range(52, 64)])
def test_golden_mmu_context_reserved_bit(bit: int) -> None:
    """Stimulus: each reserved bit of a context entry, with valid set and clear.
    Checking: MALFORMED only if the entry is valid, NO_CONTEXT else.
    Covers: WALK-MALFORMED
    """
    bench = Bench()
    bench.page()
    address = bench.tables.context_entry_address(3)
    bench.change(address, lambda word: word | 1 << bit)
    assert bench.reason() is Reason.MALFORMED
    bench.change(address, lambda word: word & ~1)
    assert bench.reason() is Reason.NO_CONTEXT


def test_golden_mmu_context_malformed() -> None:
    """Stimulus: a root beyond the bus, a second word that is not 0, a table that ends beyond the bus.
    Checking: MALFORMED, the last one without any read.
    Covers: WALK-MALFORMED
    """
    for bit in (48, 51):
        bench = Bench()
        bench.change(bench.tables.context_entry_address(3), lambda word, bit=bit: word | 1 << bit)  # type: ignore[misc]
        assert bench.reason() is Reason.MALFORMED
    for bit in (0, 63):
        bench = Bench()
        bench.memory.write_words(bench.tables.context_entry_address(3) + 8, [1 << bit])
        assert bench.reason() is Reason.MALFORMED
    golden = GoldenMmu(bench.memory, FLAGS, NO_WINDOW, (1 << 48) - 64, 8)
    assert golden.translate([3, 4], VA, 0).reason.tolist() == [Reason.BUS_ERROR, Reason.MALFORMED]


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("type 3", lambda good, level: good | 3),
        ("reserved bit 63", lambda good, level: good | 1 << 63),
        *[(f"reserved bit {bit}", lambda good, level, bit=bit: good | 1 << bit) for bit in range(2, 6)],
        *[(f"address bit {bit}", lambda good, level, bit=bit: good | 1 << bit) for bit in range(48, 52)],
        ("page shift 0", lambda good, level: entry_word(2, BASE)),
        ("page shift 11", lambda good, level: entry_word(2, BASE, 11)),
        ("page shift above the span", lambda good, level: entry_word(2, BASE, 13 + 9 * level)),
        ("page shift 63", lambda good, level: entry_word(2, BASE, 63)),
        ("slot beyond the bus", lambda good, level: entry_word(2, (1 << 48) - 64, 12)),
        ("directory with a page shift", lambda good, level: entry_word(1, BASE, 12)),
        ("directory with an order", lambda good, level: entry_word(1, BASE, 0, 1)),
        *[(f"directory at {at}", lambda good, level, at=at: entry_word(1, BASE | at)) for at in (64, 256, 2048)],
    ],
)  # fmt: skip
def test_golden_mmu_directory_malformed(name: str, level: int, make: Callable[[int, int], int]) -> None:
    """Stimulus: each thing that a directory entry must not be, at each level.
    Checking: MALFORMED; the same entry with type ABSENT is NOT_PRESENT; with a read error it is BUS_ERROR.
    Covers: WALK-MALFORMED
    """
    bench = Bench()
    va = VA + (8 << 12)
    bench.page(va)
    address = bench.tables.directory_entry_address(3, va, level)
    bad = make(int(bench.memory.read_words(address, 1)[0]), level)
    bench.memory.write_words(address, [bad])
    assert bench.reason(va) is Reason.MALFORMED, name
    bench.memory.write_words(address, [bad & ~3])
    assert bench.reason(va) is Reason.NOT_PRESENT, name
    bench.memory.write_words(address, [bad])
    bench.memory.set_read_error(address)
    assert bench.reason(va) is Reason.BUS_ERROR, name


def test_golden_mmu_directory_at_the_lowest_level() -> None:
    """Stimulus: a directory entry at level 1, well formed otherwise.
    Checking: MALFORMED.
    Covers: WALK-MALFORMED
    """
    bench = Bench()
    bench.page()
    bench.memory.write_words(bench.tables.directory_entry_address(3, VA, 1), [entry_word(1, BASE)])
    assert bench.reason() is Reason.MALFORMED


def test_golden_mmu_last_slot_on_the_bus() -> None:
    """Stimulus: an array of 4 KiB below the end of the bus, in memory; the last slot on it and the first beyond.
    Checking: the first beyond is MALFORMED, the last is read.
    Covers: WALK-MALFORMED
    """
    bench = Bench()
    bench.page()
    address = bench.tables.directory_entry_address(3, VA, 1)
    bench.memory.write_words(address, [entry_word(2, (1 << 48) - 64, 12)])
    assert [bench.reason(VA + (slot << 12)) for slot in (0, 7, 8)] == [
        Reason.BUS_ERROR, Reason.BUS_ERROR, Reason.MALFORMED,
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["context", "level 3", "level 2", "level 1", "slot"])
@pytest.mark.parametrize("other", [0, 7])
def test_golden_mmu_bus_error_of_the_line(where: str, other: int) -> None:
    """Stimulus: a read error mark on the first or last word of each line that a walk reads.
    Checking: BUS_ERROR, and OK again without it.
    Covers: WALK-BUS-ERROR
    """
    bench = Bench()
    bench.page()
    tables = bench.tables
    address = {
        "context": tables.context_entry_address(3),
        "level 3": tables.directory_entry_address(3, VA, 3),
        "level 2": tables.directory_entry_address(3, VA, 2),
        "level 1": tables.directory_entry_address(3, VA, 1),
        "slot": tables.entry_address(3, VA),
    }[where]
    line = address // 64 * 64 + 8 * other
    bench.memory.set_read_error(line)
    assert bench.reason() is Reason.BUS_ERROR
    bench.memory.set_read_error(line, False)
    assert bench.reason() is Reason.NONE


def test_golden_mmu_pointers_out_of_memory() -> None:
    """Stimulus: root, directory and array addresses on the bus where no memory is.
    Checking: BUS_ERROR.
    Covers: WALK-BUS-ERROR
    """
    for level, kind in ((2, DirectoryType.DIRECTORY), (1, DirectoryType.ARRAY)):
        bench = Bench()
        bench.page()
        entry = pack_directory_entry(entry_type=kind, address=0x1000, page_shift=12 if level == 1 else 0)
        bench.memory.write_words(bench.tables.directory_entry_address(3, VA, level), entry)
        assert bench.reason() is Reason.BUS_ERROR
    bench.memory.write_words(bench.tables.context_entry_address(3), [0x1000 | 1])
    assert bench.reason() is Reason.BUS_ERROR
