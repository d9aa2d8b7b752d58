# SPDX-License-Identifier: Apache-2.0
"""Vectors for the bench of the entry decoder, and what the models say of them.

Source: docs/interface.md, "Decoding an entry" and "Order".
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from models.arrays import PAGE_SHIFT, Bytes, Flags, Words
from models.entries import decode
from models.formats import EntryFormat, refusals
from models.geometry import INDEX_BITS, span_bits
from models.golden_mmu import effective_order
from models.pages import NO_WINDOW, Window
from models.structures import Reason

LARGEST_LEVEL = 4
LARGEST_MAX_ORDER = 31
FLAG_BITS = 64


@dataclass(frozen=True)
class Entries:
    """n entries and where each was found, one array for each property.

    entry, vpn uint64[n]; page_shift, max_order, level uint64[n]; page_only bool[n]: translate the 4 KiB page alone.
    """

    entry: Words
    vpn: Words
    page_shift: Words
    max_order: Words
    level: Words
    page_only: Flags

    def __len__(self) -> int:
        return int(self.entry.size)

    def chosen(self, index: slice) -> Entries:
        """Some of the entries."""
        return Entries(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class Meanings:
    """What n entries mean: reason uint8[n]; where it is NONE, base uint64[n] the first page of the block (an offset in
    device memory where device), order uint8[n], write, atomic, device bool[n]; elsewhere 0."""

    reason: Bytes
    base: Words
    order: Bytes
    write: Flags
    atomic: Flags
    device: Flags


def plain_entries(words: Words) -> Entries:
    """Words as they would stand in an array of 4 KiB slots without any promise, the i-th at page i."""
    count = words.size
    return Entries(
        entry=words,
        vpn=np.arange(count, dtype=np.uint64),
        page_shift=np.full(count, PAGE_SHIFT, dtype=np.uint64),
        max_order=np.zeros(count, dtype=np.uint64),
        level=np.ones(count, dtype=np.uint64),
        page_only=np.zeros(count, dtype=np.bool_),
    )


def expected_meanings(fmt: EntryFormat, window: Window, entries: Entries) -> Meanings:
    """What the models say of entries."""
    slot_order = entries.page_shift - np.uint64(PAGE_SHIFT)
    decoded = decode(fmt, entries.entry, window, slot_order=slot_order)
    good = decoded.reason == Reason.NONE
    promised = np.minimum(decoded.order.astype(np.uint64), entries.max_order)
    order = effective_order(promised, slot_order, entries.level, decoded.pfn, entries.vpn, window)
    order = np.where(entries.page_only, np.uint64(0), order)
    ones = np.uint64(1)
    page = decoded.pfn + (entries.vpn & ((ones << slot_order) - ones))
    first = page & ~((ones << order) - ones)
    base = np.where(decoded.device, first - np.uint64(window.base), first)
    return Meanings(
        reason=decoded.reason,
        base=np.where(good, base, np.uint64(0)),
        order=np.where(good, order, np.uint64(0)).astype(np.uint8),
        write=decoded.write & good,
        atomic=decoded.atomic & good,
        device=decoded.device & good,
    )


def random_mask(rng: np.random.Generator, most_bits: int = 3) -> int:
    """A mask of up to `most_bits` bits; none at all in one of four draws."""
    if rng.integers(4) == 0:
        return 0
    return int(sum(1 << int(bit) for bit in rng.choice(FLAG_BITS, int(rng.integers(1, most_bits + 1)), replace=False)))


def random_format(rng: np.random.Generator) -> EntryFormat:
    """Any format at all; most are contradictory."""
    values = [int(rng.integers(1 << 32)) << 32 | int(rng.integers(1 << 32)) for _ in range(2)]
    choices = (0, 1, 2, (1 << 64) - 1, *values)

    def value() -> int:
        return choices[int(rng.integers(len(choices)))]

    return EntryFormat(
        name="random",
        valid=random_mask(rng),
        write=random_mask(rng),
        error=random_mask(rng),
        none=random_mask(rng),
        special=random_mask(rng),
        device_private=random_mask(rng),
        atomic=random_mask(rng),
        error_value=value(),
        none_value=value(),
        special_value=value(),
        error_is_value=bool(rng.integers(2)),
        none_is_value=bool(rng.integers(2)),
        special_is_value=bool(rng.integers(2)),
        pfn_shift=int(rng.integers(0, 15)),
        pfn_width=int(rng.integers(0, 66)),
        order_shift=int(rng.integers(0, 64)),
        order_width=int(rng.choice([0, 0, 3, 5, 8, 31])),
    )


def random_consistent_format(rng: np.random.Generator) -> EntryFormat:
    """A format that the device takes, by drawing until one is consistent."""
    while True:
        fmt = random_format(rng)
        if not refusals(fmt):
            return fmt


def random_window(rng: np.random.Generator) -> Window:
    """None, a small one anywhere, or an aligned one."""
    draw = int(rng.integers(3))
    if draw == 0:
        return NO_WINDOW
    if draw == 1:
        return Window(int(rng.integers(0, 1 << 12)), int(rng.integers(1, 1 << 12)))
    return Window(int(rng.integers(0, 1 << 8)) << 20, 1 << int(rng.integers(0, 21)))


def random_entries(rng: np.random.Generator, fmt: EntryFormat, window: Window, count: int) -> Entries:
    """Entries that visit every branch: special values, flags set and half set, pfns by the window's edges and aligned
    to blocks, virtual pages that agree with the pfn below some bit."""
    level = rng.integers(1, LARGEST_LEVEL + 1, count).astype(np.uint64)
    spans = np.array([span_bits(each) for each in range(LARGEST_LEVEL + 1)], dtype=np.int64)[level.astype(np.int64)]
    page_shift = np.where(rng.integers(2, size=count) == 0, PAGE_SHIFT, rng.integers(PAGE_SHIFT, spans + 1))
    aligned = rng.integers(0, 37, count).astype(np.uint64)
    near = np.array([0, window.base, window.base + window.count, 1 << 36, 1 << 40], dtype=np.uint64)
    pfn = near[rng.integers(near.size, size=count)] + rng.integers(0, 1 << 20, count).astype(np.uint64)
    pfn -= rng.integers(0, 1 << 12, count).astype(np.uint64) & pfn
    pfn = (pfn >> aligned) << aligned
    vpn = np.where(rng.integers(4, size=count) == 0, rng.integers(0, 1 << 36, count).astype(np.uint64), pfn)
    vpn ^= np.uint64(1) << rng.integers(0, 40, count).astype(np.uint64)

    entry = (pfn & np.uint64((1 << min(fmt.pfn_width, 63)) - 1)) << np.uint64(fmt.pfn_shift)
    order = rng.integers(0, 1 << min(fmt.order_width, 6), count).astype(np.uint64)
    entry |= order << np.uint64(fmt.order_shift)
    for mask, chances in ((fmt.valid, 8), (fmt.write, 2), (fmt.device_private, 2), (fmt.atomic, 2)):
        entry |= np.where(rng.integers(chances, size=count) != 0, np.uint64(mask), np.uint64(0))
    for mask in (fmt.error, fmt.none, fmt.special):
        entry |= np.where(rng.integers(16, size=count) == 0, np.uint64(mask), np.uint64(0))
    single = np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)
    entry ^= np.where(rng.integers(4, size=count) == 0, single, np.uint64(0))
    values = np.array([0, fmt.error_value, fmt.none_value, fmt.special_value], dtype=np.uint64)
    entry = np.where(rng.integers(8, size=count) == 0, values[rng.integers(4, size=count)], entry)
    return Entries(
        entry=entry,
        vpn=vpn & np.uint64((1 << (span_bits(LARGEST_LEVEL) + INDEX_BITS - PAGE_SHIFT)) - 1),
        page_shift=page_shift.astype(np.uint64),
        max_order=rng.integers(0, LARGEST_MAX_ORDER + 1, count).astype(np.uint64),
        level=level,
        page_only=rng.integers(8, size=count) == 0,
    )
