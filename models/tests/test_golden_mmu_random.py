# SPDX-License-Identifier: Apache-2.0
"""The golden MMU against a plain scalar walk, over random tables with random damage."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import numpy as np
import pytest

from models.device_tables import DeviceTables
from models.entries import encode
from models.errors import UserError
from models.formats import EntryFormat, load_formats
from models.geometry import span_bits
from models.golden_mmu import GoldenMmu
from models.pages import PageKind, Pages, Window
from models.physical_memory import PhysicalMemory
from models.structures import Access, Reason
from models.tests.scalar_reference import Answer, walk

FORMATS = list(load_formats().values())
REQUESTS = 250
CONTEXTS = 6


class World:
    """Random tables of one format in a memory whose base and size leave room for pointers that miss it."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.fmt: EntryFormat = FORMATS[seed % len(FORMATS)]
        self.va_bits = 57 if seed % 3 == 0 else 48
        size = 1 << 21
        self.memory = PhysicalMemory(size, [0, 0x8000_0000_0000, (1 << 48) - size][seed % 5 % 3])
        self.tables = DeviceTables(self.memory, va_bits=self.va_bits, context_count=CONTEXTS)
        self.first_pfn = int(self.rng.integers(0, 1 << 17)) << 18
        self.window = Window(self.first_pfn + int(self.rng.integers(0, 64)) * 8, int(self.rng.integers(0, 2048)))
        self.places: list[tuple[int, int]] = []
        for pasid in range(1, CONTEXTS - 1):
            self.tables.bind(pasid)
            for _ in range(4):
                self.link(pasid)
        self.damage()

    def link(self, pasid: int) -> None:
        top = 4 if self.va_bits == 57 else 3
        level = int(self.rng.integers(1, top + 1))
        span = span_bits(level)
        # At most 512 slots, so that a large span still fits into the memory.
        page_shift = int(self.rng.integers(max(12, span - 9), span + 1))
        va = (
            int(self.rng.integers(0, 4)) << 39 | int(self.rng.integers(0, 4)) << 30 | int(self.rng.integers(0, 4)) << 21
        )
        slots, slot_order = 1 << (span - page_shift), page_shift - 12
        first = va >> span << span
        words = self.entries(slots, slot_order, first)
        max_order = int(self.rng.integers(0, 32))
        with suppress(UserError):  # a larger array may be linked above
            self.tables.link_array(
                pasid, first, level=level, page_shift=page_shift, max_order=max_order, words=words, replace=True
            )
        self.places.extend((pasid, first + (slot << page_shift)) for slot in range(slots))

    def entries(self, slots: int, slot_order: int, va: int) -> np.ndarray:
        fmt, rng = self.fmt, self.rng
        kinds = [PageKind.VALID] * 6 + [PageKind.NOT_VALID]
        kinds += [PageKind.NONE] if fmt.none_is_value or fmt.none else []
        kinds += [PageKind.ERROR] if fmt.error_is_value or fmt.error else []
        kinds += [PageKind.SPECIAL] if fmt.special_is_value or fmt.special else []
        like_va = (va >> 12) + (np.arange(slots) << slot_order)
        pfn = (like_va & ((1 << 18) - 1)) + self.first_pfn
        # Unlike the virtual address in one bit, but as a rule still aligned to the slot.
        pfn ^= np.where(rng.random(slots) < 0.2, 1 << slot_order << rng.integers(0, 5, slots), 0)
        pfn ^= np.where(rng.random(slots) < 0.1, 1 << rng.integers(0, 18, slots), 0)
        pfn = np.where(rng.random(slots) < 0.05, 1 << min(fmt.pfn_width - 1, 40), pfn)
        pages = Pages.of(
            rng.choice(np.array(kinds), slots),
            pfn & ((1 << fmt.pfn_width) - 1),
            write=rng.random(slots) < 0.7,
            device_private=self.window.holds(pfn.astype(np.uint64)) ^ (rng.random(slots) < 0.1),
            atomic=rng.random(slots) < 0.5,
            order=rng.integers(0, 1 << min(fmt.order_width, 5), slots) if fmt.order_width else 0,
        )
        return encode(fmt, pages)

    def damage(self) -> None:
        """Bits turned over in contexts and directories, and error marks on what is allocated."""
        rng, memory = self.rng, self.memory
        tables = [(start, length) for start, length in memory.allocations() if memory.owner_of(start) <= 2]
        for start, length in tables:
            used = np.flatnonzero(memory.read_words(start, length // 8))
            for index in used:
                if rng.random() < 0.04:
                    word = memory.read_words(start + 8 * int(index), 1)
                    memory.write_words(start + 8 * int(index), word ^ np.uint64(1 << int(rng.integers(0, 64))))
        for start, length in memory.allocations():
            if rng.random() < 0.03:
                memory.set_read_error(start + 8 * int(rng.integers(0, length // 8)))

    def requests(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = self.rng
        places = np.array(self.places, dtype=np.uint64)[rng.integers(0, len(self.places), REQUESTS)]
        pasids, vas = places[:, 0], places[:, 1]
        near = rng.integers(0, 1 << 12, REQUESTS).astype(np.uint64) << rng.integers(0, 24, REQUESTS).astype(np.uint64)
        vas = np.where(rng.random(REQUESTS) < 0.7, vas ^ near, vas)
        edges = np.array([0, (1 << self.va_bits) - 1, 1 << self.va_bits, (1 << 64) - 1], dtype=np.uint64)
        vas = np.where(rng.random(REQUESTS) < 0.04, rng.choice(edges, REQUESTS), vas)
        pasids = np.where(rng.random(REQUESTS) < 0.1, rng.integers(0, CONTEXTS + 1, REQUESTS).astype(np.uint64), pasids)
        return pasids, vas, rng.integers(0, 4, REQUESTS)


SEEN: Counter[Reason] = Counter()
SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_golden_mmu_equals_scalar_walk(seed: int) -> None:
    """Stimulus: random tables of each format, 48 and 57 bits, at several bases, with damage; requests around them.
    Checking: every field of every answer equals the scalar walk's.
    Covers: WALK-RANDOM
    """
    world = World(seed)
    pasids, vas, accesses = world.requests()
    golden = GoldenMmu(
        world.memory, world.fmt, world.window, world.tables.context_base, CONTEXTS, va_bits=world.va_bits
    )
    outcomes = golden.translate(pasids, vas, accesses)

    def read(address: int) -> int | None:
        offset = address - world.memory.base
        if not 0 <= offset < world.memory.size:
            return None
        line = world.memory.owners[offset // 64 * 8 : offset // 64 * 8 + 8]
        return None if (line & 0x40).any() else int(world.memory.shadow_words[offset // 8])

    for place in range(REQUESTS):
        asked = (int(pasids[place]), int(vas[place]), Access(int(accesses[place])))
        expected = walk(read, world.fmt, world.window, world.tables.context_base, CONTEXTS, world.va_bits, *asked)
        permissions = int(outcomes.permissions[place])
        answer = Answer(
            Reason(int(outcomes.reason[place])),
            int(outcomes.pa[place]),
            int(outcomes.order[place]),
            bool(permissions & 1),
            bool(permissions & 2),
            bool(outcomes.memory[place]),
        )
        assert answer == expected, f"seed {seed} request {place}: {asked} {world.fmt.name} {world.window}"
        assert outcomes.status[place] == (expected.reason is not Reason.NONE)
        SEEN[expected.reason] += 1


def test_golden_mmu_random_worlds_reach_every_reason() -> None:
    """Stimulus: all the random worlds above.
    Checking: every reason came up at least 20 times, so that none was compared in name only.
    Covers: WALK-RANDOM
    """
    for seed in SEEDS if sum(SEEN.values()) < len(SEEDS) * REQUESTS else ():
        test_golden_mmu_equals_scalar_walk(seed)
    assert not {reason: SEEN[reason] for reason in Reason if SEEN[reason] < 20}


def test_golden_mmu_one_by_one_equals_all_at_once() -> None:
    """Stimulus: the requests of one world, all at once and one at a time.
    Checking: the same answers.
    Covers: WALK-RANDOM
    """
    world = World(4)
    requests = world.requests()
    golden = GoldenMmu(
        world.memory, world.fmt, world.window, world.tables.context_base, CONTEXTS, va_bits=world.va_bits
    )
    together = golden.translate(*requests)
    for place, (pasid, va, access) in enumerate(zip(*requests, strict=True)):
        alone = golden.translate(pasid, va, access)
        assert alone.reason[0] == together.reason[place]
        assert alone.pa[0] == together.pa[place]
        assert alone.order[0] == together.order[place]
