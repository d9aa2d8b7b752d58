# SPDX-License-Identifier: Apache-2.0
"""Recordings of programs made by hand and by chance, for tests."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from models.arrays import PAGE_BYTES
from models.program_recording import (
    EVENT_DTYPE,
    MAPPING_DTYPE,
    Array,
    EventKind,
    MappingFlag,
    ProgramRecording,
    Protection,
)

READ, WRITE, MODIFY = EventKind.READ, EventKind.WRITE, EventKind.MODIFY
MMAP, MUNMAP, MPROTECT, BRK, MREMAP = (
    EventKind.MMAP,
    EventKind.MUNMAP,
    EventKind.MPROTECT,
    EventKind.BRK,
    EventKind.MREMAP,
)
ANONYMOUS, SHARED, FILE = int(MappingFlag.ANONYMOUS), int(MappingFlag.SHARED), 0
R, RW = int(Protection.READ), int(Protection.READ | Protection.WRITE)


def recording_of(
    events: Iterable[tuple[object, ...]], mappings: Iterable[tuple[int, int, int]] = ()
) -> ProgramRecording:
    """A recording. An event is (READ | WRITE | MODIFY, address, length), (MMAP, address, length, protection, flags),
    (MUNMAP, address, length), (MPROTECT, address, length, protection), (BRK, end, new_end) or
    (MREMAP, address, length, new_address, new_length).
    """
    fields = {
        EventKind.READ: ("address", "length"),
        EventKind.WRITE: ("address", "length"),
        EventKind.MODIFY: ("address", "length"),
        EventKind.MMAP: ("address", "length", "protection", "flags"),
        EventKind.MUNMAP: ("address", "length"),
        EventKind.MPROTECT: ("address", "length", "protection"),
        EventKind.BRK: ("address", "new_address"),
        EventKind.MREMAP: ("address", "length", "new_address", "new_length"),
    }
    listed = list(events)
    rows: Array = np.zeros(len(listed), dtype=EVENT_DTYPE)
    for row, (kind, *values) in zip(rows, listed, strict=True):
        assert isinstance(kind, EventKind)
        row["kind"] = kind
        row["repeats"] = int(kind <= EventKind.MODIFY)
        for name, value in zip(fields[kind], values, strict=True):
            row[name] = value
    return ProgramRecording(("by hand",), {}, 1, "", 0, 0, 0, rows, np.array(list(mappings), dtype=MAPPING_DTYPE))


def page(number: int) -> int:
    """An address for tests: pages on both sides of a 2 MiB boundary."""
    return 0x4000_0000 + (number - 6) * PAGE_BYTES


def random_recording(rng: np.random.Generator, count: int, pages: int = 14) -> ProgramRecording:
    """`count` drawn events on some pages: accesses anywhere (refused ones too), calls only where they can be."""
    kinds = list(EventKind)
    protections = [0, 1, 1, 3, 3, 3, 3]
    mapped = [bool(value) for value in rng.integers(0, 4, pages)]
    initial = [(page(number), PAGE_BYTES, int(rng.choice([1, 3]))) for number in range(pages) if mapped[number]]
    events: list[tuple[object, ...]] = []
    while len(events) < count:
        kind = kinds[int(rng.choice(len(kinds), p=[0.28, 0.28, 0.14, 0.08, 0.06, 0.08, 0.04, 0.04]))]
        first = int(rng.integers(pages))
        size = 1 + int(rng.integers(min(4, pages - first)))
        at, length = page(first), size * PAGE_BYTES
        if kind <= EventKind.MODIFY:
            offset, bytes_ = int(rng.integers(PAGE_BYTES // 8)) * 8, int(rng.choice([1, 4, 8, 8, 8, 24, 100]))
            offset = min(offset + int(rng.integers(2)), PAGE_BYTES - bytes_)
            events.append((kind, at + offset, bytes_))
        elif kind is EventKind.MMAP:
            flags = int(rng.choice([0, 1, 32, 32, 33]))
            events.append((kind, at, length, int(rng.choice(protections)), flags))
            mapped[first : first + size] = [True] * size
        elif kind is EventKind.MUNMAP:
            events.append((kind, at, length))
            mapped[first : first + size] = [False] * size
        elif kind is EventKind.BRK:
            events.append((kind, at, at + length) if rng.integers(2) else (kind, at + length, at))
            mapped[first : first + size] = [events[-1][1] == at] * size
        elif kind is EventKind.MPROTECT and all(mapped[first : first + size]):
            events.append((kind, at, length, int(rng.choice(protections))))
        elif kind is EventKind.MREMAP and mapped[first]:
            # One page: it is always one mapping. It moves, grows where it is, or both.
            new = int(rng.integers(pages))
            new_size = 1 + int(rng.integers(min(3, pages - new)))
            if new <= first < new + new_size and new != first:
                continue
            events.append((kind, at, PAGE_BYTES, page(new), new_size * PAGE_BYTES))
            mapped[first] = False
            mapped[new : new + new_size] = [True] * new_size
    return recording_of(events, initial)


def every_call() -> ProgramRecording:
    """Each call in each of its forms, with accesses before and after; 7 accesses must be refused.

    Mappings of files and of zeros, private and shared, replaced, protected and opened again; the heap growing and
    shrinking; remapping in place, to elsewhere, smaller and larger.
    """

    def use(*pages: int) -> list[tuple[object, ...]]:
        touched: list[tuple[object, ...]] = []
        for number in pages:
            at = page(number)
            touched += [(READ, at + 56, 32), (WRITE, at + 60, 8), (MODIFY, at + 16, 8), (READ, at + 8, 16)]
        return touched

    return recording_of(
        [
            *use(0), (READ, page(1), 8), (WRITE, page(1), 8),
            (MMAP, page(2), 4 * PAGE_BYTES, RW, FILE), *use(2, 3, 4),
            (MPROTECT, page(3), PAGE_BYTES, R), (READ, page(3) + 60, 8), (WRITE, page(3), 8), *use(2, 4),
            (MPROTECT, page(3), PAGE_BYTES, RW), *use(3),
            (MMAP, page(3), PAGE_BYTES, RW, ANONYMOUS), *use(2, 3),
            (MUNMAP, page(2), PAGE_BYTES), (READ, page(2), 1), *use(4),
            (BRK, page(20), page(23)), *use(20, 22), (BRK, page(23), page(21)), *use(20), (READ, page(22), 8),
            (BRK, page(21), page(21)), (BRK, page(21), page(24)), *use(22),
            (MREMAP, page(3), PAGE_BYTES, page(3), PAGE_BYTES), *use(3),
            (MREMAP, page(3), 3 * PAGE_BYTES, page(8), 4 * PAGE_BYTES), *use(8, 9, 11), (READ, page(3), 8),
            (MREMAP, page(8), 4 * PAGE_BYTES, page(8), 2 * PAGE_BYTES), *use(8, 9), (READ, page(10), 8),
            (MREMAP, page(8), 2 * PAGE_BYTES, page(8), 3 * PAGE_BYTES), *use(8, 10),
            (MMAP, page(12), 2 * PAGE_BYTES, RW, SHARED), *use(12),
            (MMAP, page(14), PAGE_BYTES, RW, SHARED | ANONYMOUS), *use(14, 12), (MUNMAP, page(0), 40 * PAGE_BYTES),
            (MMAP, page(0), 16 * PAGE_BYTES, RW, ANONYMOUS), *use(0, 3, 8, 14), (MMAP, page(5), PAGE_BYTES, 0, FILE),
            (READ, page(5), 8), (MPROTECT, page(5), PAGE_BYTES, int(Protection.EXECUTE)), (READ, page(5), 8),
        ],
        [(page(0), PAGE_BYTES, RW), (page(1), PAGE_BYTES, R)],
    )  # fmt: skip


def remapped() -> ProgramRecording:
    """Two pages of a file and two of zeros are used; the latter are unmapped, and mapped again later."""
    events: list[tuple[object, ...]] = [(EventKind.MMAP, page(2), 2 * PAGE_BYTES, RW, ANONYMOUS)]
    for number in (0, 1, 2, 3):
        events += [(READ, page(number) + 32, 8), (WRITE, page(number) + 32, 8), (READ, page(number) + 32, 8)]
    events.append((EventKind.MUNMAP, page(2), 2 * PAGE_BYTES))
    # The file's loader gets the pages that were unmapped.
    events += [(EventKind.MMAP, page(4), 2 * PAGE_BYTES, RW, 0), (READ, page(4), 8), (READ, page(5), 8)]
    events.append((EventKind.MMAP, page(2), 2 * PAGE_BYTES, RW, ANONYMOUS))
    for number in (3, 2):
        events += [(READ, page(number) + 32, 8), (WRITE, page(number), 8), (READ, page(number), 8)]
    return recording_of(events, [(page(0), 2 * PAGE_BYTES, RW)])
