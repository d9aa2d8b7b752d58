# SPDX-License-Identifier: Apache-2.0
"""The shared memory: bytes, shadow, owner map, error marks, allocation."""

from __future__ import annotations

import resource
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.arrays import as_words
from models.errors import UserError
from models.physical_memory import OWNER_WRITE_ERROR, Owner, PhysicalMemory

HIGH_BASE = 0x8000_0000_0000


def test_physical_memory_views_share_bytes() -> None:
    """Stimulus: a word written by the host, a byte written through the buffer.
    Checking: both views and read_words show both; the shadow only the host's.
    Covers: MEM-SHARED, MEM-SHADOW
    """
    memory = PhysicalMemory(1 << 20, HIGH_BASE)
    assert memory.buffer.size == 1 << 20
    assert memory.words.size == memory.shadow_words.size == memory.owners.size == 1 << 17
    memory.write_words(HIGH_BASE + 64, [0x1122334455667788, 2])
    memory.buffer[64] = 0xFF  # as the device would
    assert memory.read_words(HIGH_BASE + 64, 2).tolist() == [0x11223344556677FF, 2]
    assert memory.words[8] == 0x11223344556677FF
    words, errors = memory.shadow_read([HIGH_BASE + 64, HIGH_BASE + 72])
    assert words.tolist() == [0x1122334455667788, 2]
    assert not errors.any()


def test_physical_memory_write_without_shadow() -> None:
    """Stimulus: a write with shadow=False.
    Checking: only the shared bytes change.
    Covers: MEM-SHADOW
    """
    memory = PhysicalMemory(1 << 16)
    memory.write_words(8, [7], shadow=False)
    assert memory.read_words(8, 1)[0] == 7
    assert memory.shadow_read([8])[0][0] == 0


def test_physical_memory_read_words_is_a_copy() -> None:
    """Stimulus: a change of what read_words returned.
    Checking: memory stays as it was.
    Covers: MEM-SHARED
    """
    memory = PhysicalMemory(1 << 16)
    memory.read_words(0, 1)[0] = 9
    assert memory.words[0] == 0


def test_physical_memory_untouched_gigabytes_cost_nothing() -> None:
    """Stimulus: 64 GiB of memory at a high base, one word at its far end.
    Checking: the peak of resident memory grows by less than 16 MiB.
    Covers: MEM-LAZY
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = PhysicalMemory(1 << 36, HIGH_BASE)
    memory.write_words(HIGH_BASE + (1 << 36) - 8, [5])
    assert memory.shadow_read([HIGH_BASE + (1 << 36) - 8])[0][0] == 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


@pytest.mark.parametrize("offset", range(0, 64, 8))
def test_physical_memory_error_mark_covers_the_line(offset: int) -> None:
    """Stimulus: a read error mark on one word of a line, for each word of it.
    Checking: every word of the line is an error and reads 0, the neighbouring lines do not; the mark can be taken away.
    Covers: MEM-LINE-ERROR
    """
    memory = PhysicalMemory(1 << 16, HIGH_BASE)
    memory.write_words(HIGH_BASE, np.arange(1, 25))
    memory.set_read_error(HIGH_BASE + 64 + offset)
    words, errors = memory.shadow_read(HIGH_BASE + np.arange(0, 192, 8, dtype=np.uint64))
    assert errors.tolist() == [False] * 8 + [True] * 8 + [False] * 8
    assert words.tolist() == [*range(1, 9), *[0] * 8, *range(17, 25)]
    memory.set_read_error(HIGH_BASE + 64 + offset, False)
    assert not memory.shadow_read([HIGH_BASE + 64])[1].any()


def test_physical_memory_write_error_mark_does_not_fail_reads() -> None:
    """Stimulus: a write error mark.
    Checking: it stands in the owner map, and reads go on.
    Covers: MEM-WRITE-ERROR
    """
    memory = PhysicalMemory(1 << 16)
    memory.set_write_error(16)
    assert memory.owners[2] == OWNER_WRITE_ERROR
    assert not memory.shadow_read([16])[1].any()
    memory.set_write_error(16, False)
    assert memory.owners[2] == 0


def test_physical_memory_outside_is_a_bus_error() -> None:
    """Stimulus: device reads just below, at both ends of, and just above the memory.
    Checking: outside is an error, inside is not; address 0 and the top of 64 bits are outside.
    Covers: MEM-DECERR
    """
    size = 1 << 16
    memory = PhysicalMemory(size, HIGH_BASE)
    places = [HIGH_BASE - 8, HIGH_BASE, HIGH_BASE + size - 8, HIGH_BASE + size, 0, (1 << 64) - 8]
    assert memory.shadow_read(places)[1].tolist() == [True, False, False, True, True, True]


def test_physical_memory_owner_keeps_marks() -> None:
    """Stimulus: owners over an error mark, and over bytes that do not begin at a word.
    Checking: every touched word has the class, the mark stays, neighbours stay.
    Covers: MEM-OWNER
    """
    memory = PhysicalMemory(1 << 16)
    memory.set_read_error(16)
    memory.set_owner(12, 9, Owner.FENCE)
    memory.set_owner(12, 9, Owner.ARRAY)
    assert memory.owners[:4].tolist() == [0, 3, 0x43, 0]
    assert memory.owner_of(23) is Owner.ARRAY
    assert memory.owner_of(24) is Owner.NONE


def test_physical_memory_allocate_is_first_fit_and_aligned() -> None:
    """Stimulus: allocations of odd sizes and alignments, a free, an allocation that fits the hole.
    Checking: lowest place that fits; whole lines; owner of exactly the bytes asked for; holes are used again.
    Covers: MEM-ALLOCATE
    """
    memory = PhysicalMemory(1 << 16, HIGH_BASE)
    first = memory.allocate(16, 8, Owner.CONTEXT)
    page = memory.allocate(4096, 4096, Owner.DIRECTORY)
    second = memory.allocate(65, 64, Owner.ARRAY)
    assert (first, page, second) == (HIGH_BASE, HIGH_BASE + 4096, HIGH_BASE + 64)
    assert memory.owners[:3].tolist() == [1, 1, 0]
    assert memory.owners[8:18].tolist() == [3] * 9 + [0]
    assert memory.allocations() == [(first, 64), (second, 128), (page, 4096)]
    memory.set_read_error(second)
    memory.free(second)
    assert not memory.owners[8:24].any()
    assert memory.allocate(128) == second
    assert memory.owner_of(second) is Owner.DATA


@pytest.mark.parametrize("bad", [(0, 64), (64, 0), (64, 48), (-8, 64)])
def test_physical_memory_allocate_nonsense(bad: tuple[int, int]) -> None:
    """Stimulus: no bytes, or an alignment that is no power of two.
    Checking: UserError.
    Covers: MEM-ALLOCATE
    """
    with pytest.raises(UserError, match="power of two"):
        PhysicalMemory(1 << 16).allocate(*bad)


def test_physical_memory_allocate_exhausted() -> None:
    """Stimulus: more than there is; as much as there is in pieces, and one more.
    Checking: UserError that names the size; all of it is available again after free.
    Covers: MEM-EXHAUSTED
    """
    memory = PhysicalMemory(1 << 16)
    with pytest.raises(UserError, match="65600 bytes"):
        memory.allocate((1 << 16) + 1)
    pieces = [memory.allocate(4096) for _ in range(16)]
    with pytest.raises(UserError, match="no free piece"):
        memory.allocate(1)
    for piece in pieces[::2] + pieces[1::2]:
        memory.free(piece)
    assert memory.allocate(1 << 16) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3000), st.sampled_from([1, 64, 256, 4096]), st.booleans()), max_size=40))
def test_physical_memory_allocations_never_overlap(steps: list[tuple[int, int, bool]]) -> None:
    """Stimulus: random allocations and frees of the oldest.
    Checking: aligned, inside, disjoint, and everything free again at the end.
    Covers: MEM-ALLOCATE
    """
    memory = PhysicalMemory(1 << 16, HIGH_BASE)
    live: list[tuple[int, int]] = []
    for size, align, drop in steps:
        try:
            address = memory.allocate(size, align)
        except UserError:
            assert live, "an empty memory has room"
        else:
            assert address % align == 0
            assert memory.contains(address, size)
            assert all(address + size <= start or start + length <= address for start, length in live)
            live.append((address, size))
        if drop and live:
            memory.free(live.pop(0)[0])
    for address, _ in live:
        memory.free(address)
    assert memory.allocate(1 << 16) == HIGH_BASE
    assert memory.allocations() == [(HIGH_BASE, 1 << 16)]


def test_physical_memory_bad_use_is_a_user_error() -> None:
    """Stimulus: addresses that are not aligned or not inside, frees of nothing, sizes that cannot be.
    Checking: each is a UserError.
    Covers: MEM-BAD-USE
    """
    memory = PhysicalMemory(1 << 16, 4096)
    attempts: list[Callable[[], object]] = [
        lambda: memory.write_words(4097, [1]),
        lambda: memory.write_words(4096 + (1 << 16) - 8, [1, 2]),
        lambda: memory.read_words(0, 1),
        lambda: memory.read_words(4096, -1),
        lambda: memory.shadow_read([4100]),
        lambda: memory.set_owner(0, 8, Owner.DATA),
        lambda: memory.set_owner(4096, 0, Owner.DATA),
        lambda: memory.set_read_error(0),
        lambda: memory.owner_of(0),
        lambda: memory.free(4096),
        lambda: PhysicalMemory(0),
        lambda: PhysicalMemory(100),
        lambda: PhysicalMemory(4096, 64),
        lambda: PhysicalMemory(4096, 1 << 52),
        lambda: PhysicalMemory(1 << 51),
    ]
    for attempt in attempts:
        with pytest.raises(UserError):
            attempt()


def test_physical_memory_double_free() -> None:
    """Stimulus: the same address freed twice.
    Checking: the second is a UserError.
    Covers: MEM-BAD-USE
    """
    memory = PhysicalMemory(1 << 16)
    address = memory.allocate(64)
    memory.free(address)
    with pytest.raises(UserError, match="nothing is allocated"):
        memory.free(address)


def test_physical_memory_close_keeps_views_alive() -> None:
    """Stimulus: close() while somebody holds a view.
    Checking: the view is still good, the memory itself is empty.
    Covers: MEM-CLOSE
    """
    memory = PhysicalMemory(1 << 16)
    view = memory.words
    memory.close()
    view[0] = 3
    assert view[0] == 3
    assert memory.words.size == 0
    assert not memory.contains(0, 1)


def test_as_words_takes_exact_numbers_only() -> None:
    """Stimulus: numbers at both ends of 64 bits, mixed; numbers outside; no numbers.
    Checking: exact words, or UserError.
    Covers: MEM-WORDS
    """
    assert as_words([1, (1 << 64) - 1, 1 << 63]).tolist() == [1, (1 << 64) - 1, 1 << 63]
    assert as_words(5).tolist() == [5]
    for bad in ([-1], [1 << 64], [1.5, 2], ["x"], [-1, 1 << 63]):
        with pytest.raises(UserError):
            as_words(bad)
