# SPDX-License-Identifier: Apache-2.0
"""What each cache holds, and what it forgets: as many as its size says, and the oldest first once it is full.

A cache of n is filled with n, and with n others, which replace all of them. From then on each further one replaces the
one that came first. Walks that end in a reason show what is cached without changing it.
"""

from __future__ import annotations

import numpy as np

from models.arrays import PAGE_BYTES
from models.entries import encode
from models.geometry import span_bits
from models.pages import Pages
from tb.scenarios.counted_world import FORMAT, LINE_PAGES, CountedWorld, pages_from

LEAF = 1 << span_bits(1)
DIRECTORY = 1 << span_bits(2)
"""Bytes below a directory of the lowest level."""
LINE = LINE_PAGES * PAGE_BYTES
ABSENT = 9 * PAGE_BYTES
"""Behind the first page of an array: one of its pages that is not there, in a line without a translation."""
IN_TURN = 5
"""Entries of a full cache that are replaced one by one."""
LARGE_SHIFT = 21


def _steps(size: int) -> int:
    return min(size, IN_TURN)


def contexts_held(world: CountedWorld) -> None:
    """Contexts: one read for a page below an absent entry of the root, where the context is cached; else two."""
    size = world.size("ContextEntries")
    first, second, third = ([world.new_context() for _ in range(size)] for _ in range(3))
    for pasid in (*first, *second, *third):
        for top in (1, 2):
            world.map_pages(pasid, top * world.top)
    absent = 3 * world.top
    world.ask(first, world.top)
    world.expect(walks=size, reads=size * world.cold)
    # New pages of each: no context is read.
    world.ask(first, 2 * world.top)
    world.expect(walks=size, reads=size * (world.cold - 1))
    world.ask(second, world.top)
    world.expect(walks=size, reads=size * world.cold)
    world.probe(second, absent)
    world.expect(walks=size, reads=size)
    world.probe(first, absent)
    world.expect(walks=size, reads=2 * size)
    for gone in range(1, size + 1):
        world.ask(third[gone - 1], world.top)
        world.expect(walks=1, reads=world.cold)
        world.probe(second, absent)
        world.expect(walks=size, reads=size + gone)
        world.probe(third[:gone], absent)
        world.expect(walks=gone, reads=gone)


def arrays_held(world: CountedWorld) -> None:
    """Directory entries of arrays, all in one directory: one read for a page where the entry is cached; else two."""
    size = world.size("DirectoryEntries")
    pasid = world.new_context()
    # The directory has 512 entries.
    first, second, third = (pages_from(world.top + part * size * LEAF, size, LEAF) for part in range(3))
    third = third[: _steps(size)]
    for va in np.concatenate([first, second, third]).tolist():
        world.map_pages(pasid, va)
    world.ask(pasid, first)
    world.expect(walks=size, reads=world.cold + 2 * (size - 1))
    world.probe(pasid, first + np.uint64(ABSENT))
    world.expect(walks=size, reads=size)
    world.ask(pasid, second)
    world.expect(walks=size, reads=2 * size)
    world.probe(pasid, second + np.uint64(ABSENT))
    world.expect(walks=size, reads=size)
    world.probe(pasid, first + np.uint64(ABSENT))
    world.expect(walks=size, reads=2 * size)
    for gone, va in enumerate(third.tolist(), 1):
        world.ask(pasid, va)
        world.expect(walks=1, reads=2)
        near = second[: IN_TURN + 2] + np.uint64(ABSENT)
        world.probe(pasid, near)
        world.expect(walks=near.size, reads=near.size + gone)
        world.probe(pasid, third[:gone] + np.uint64(ABSENT))
        world.expect(walks=gone, reads=gone)
    world.probe(pasid, second + np.uint64(ABSENT))
    world.expect(walks=size, reads=size + third.size)


def directories_held(world: CountedWorld) -> None:
    """Directories in which arrays stand: one read for a page below an absent entry where the directory is cached; else
    as many as there are levels.
    """
    size = world.size("TableEntries")
    pasid = world.new_context()
    first, second, third = (pages_from(world.top + part * size * DIRECTORY, size, DIRECTORY) for part in range(3))
    for va in np.concatenate([first, second, third]).tolist():
        for leaf in (0, 1):
            world.map_pages(pasid, va + leaf * LEAF)
    absent = np.uint64(5 * LEAF)
    world.ask(pasid, first)
    world.expect(walks=size, reads=world.cold + (size - 1) * (world.levels + 1))
    # New arrays in each: neither the context nor what is above is read.
    world.ask(pasid, first + np.uint64(LEAF))
    world.expect(walks=size, reads=2 * size)
    world.ask(pasid, second)
    world.expect(walks=size, reads=size * (world.levels + 1))
    world.probe(pasid, second + absent)
    world.expect(walks=size, reads=size)
    world.probe(pasid, first + absent)
    world.expect(walks=size, reads=size * world.levels)
    for gone in range(1, _steps(size) + 1):
        world.ask(pasid, int(third[gone - 1]))
        world.expect(walks=1, reads=world.levels + 1)
        world.probe(pasid, second + absent)
        world.expect(walks=size, reads=size - gone + gone * world.levels)
        world.probe(pasid, third[:gone] + absent)
        world.expect(walks=gone, reads=gone)
    # A directory of a higher level, in which an array of huge pages stands.
    huge = 2 * world.top
    map_huge(world, pasid, huge, 1)
    world.ask(pasid, huge)
    world.expect(walks=1, reads=world.levels - 1 + 1)
    world.probe(pasid, huge + 2 * DIRECTORY)
    world.expect(walks=1, reads=1)


def first_level_held(world: CountedWorld) -> None:
    """Pages in one port's own cache, while the second level has all of them: a hit there is one that this cache lost.
    Each port has a cache of its own.
    """
    size = world.size("TlbEntries")
    pasid = world.new_context()
    world.map_pages(pasid, world.top, 3 * size)
    first, second, third = (pages_from(world.top + part * size * PAGE_BYTES, size) for part in range(3))
    warm_lines(world, pasid, 3 * size)
    world.ask(pasid, first)
    world.expect(shared=size)
    world.ask(pasid, first)
    world.expect(hits=size)
    world.ask(pasid, second)
    world.expect(shared=size)
    world.ask(pasid, second[::-1])
    world.expect(hits=size)
    for gone in range(1, _steps(size) + 1):
        world.ask(pasid, third[gone - 1])
        world.expect(shared=1)
        if gone < size:
            world.ask(pasid, second[gone:])
            world.expect(hits=size - gone)
    gone = _steps(size)
    # What is lost is fetched again, and takes the place of the next.
    world.ask(pasid, second[0])
    world.expect(shared=1)
    if gone < size:
        world.ask(pasid, second[gone])
        world.expect(shared=1)
    last = second[_steps(size) + 2 :]
    if last.size:
        world.ask(pasid, last)
        world.expect(hits=last.size)
    for client in range(2, world.builder.device.ports + 1):
        for kept in (0, 1):
            world.ask(pasid, world.top, client=client)
            world.expect(hits=kept, shared=1 - kept)


def warm_lines(world: CountedWorld, pasid: int, pages: int) -> None:
    """Asks for all pages of a cold context from the first on, one by one: a walk for each line."""
    lines = -(-pages // LINE_PAGES)
    world.ask(pasid, pages_from(world.top, pages))
    world.expect(shared=pages - lines, walks=lines, reads=world.cold + lines - 1)


def lines_held(world: CountedWorld) -> None:
    """As many neighbouring lines as the second level has places: it holds all of them. Then lines of one set alone."""
    sets, ways = world.size("SharedSets"), world.size("SharedWays")
    lines = sets * ways
    pasid = world.new_context()
    world.map_pages(pasid, world.top, lines * LINE_PAGES)
    va = pages_from(world.top, lines, LINE)
    own = va % np.uint64(LEAF) == 0
    world.ask(pasid, va[own])
    arrays = int(own.sum())
    world.expect(walks=arrays, reads=world.cold + 2 * (arrays - 1))
    if arrays < lines:
        world.ask(pasid, va[~own], pause=0)
        world.expect(walks=lines - arrays, reads=lines - arrays)
    world.ask(pasid, va + np.uint64(PAGE_BYTES), pause=0)
    world.expect(shared=lines)
    _ways_in_turn(world, sets, ways)


def _ways_in_turn(world: CountedWorld, sets: int, ways: int) -> None:
    """Lines of one set. Each visit of a line asks for another of its pages, so that no port's own cache has it."""
    chosen = int(world.rng.integers(sets))
    step = sets * LINE
    count = 3 * ways
    pasid = world.new_context()
    base = 2 * world.top + chosen * LINE
    for number in range(count):
        world.map_pages(pasid, base + number * step, LINE_PAGES)
    lines = pages_from(base, count, step)
    # Arrays first, so that each line is one read.
    arrays = np.unique(lines // np.uint64(LEAF)).size
    world.ask(pasid, lines[: 2 * ways])
    walked = np.unique(lines[: 2 * ways] // np.uint64(LEAF)).size
    world.expect(walks=2 * ways, reads=world.cold - 1 + walked - 1 + 2 * ways)
    first, second, third = lines[:ways], lines[ways : 2 * ways], lines[2 * ways :]
    page = np.uint64(PAGE_BYTES)
    world.ask(pasid, second + page)
    world.expect(shared=ways)
    fresh = arrays - walked
    for gone in range(1, min(ways, LINE_PAGES - 3) + 1):
        new_array = fresh > 0 and int(third[gone - 1]) // LEAF not in (lines[: 2 * ways + gone - 1] // LEAF).tolist()
        world.ask(pasid, third[gone - 1])
        world.expect(walks=1, reads=1 + int(new_array))
        left = second[gone:]
        if left.size:
            world.ask(pasid, left + np.uint64(1 + gone) * page)
            world.expect(shared=left.size)
    world.ask(pasid, second[0] + np.uint64(LINE_PAGES - 1) * page)
    world.expect(walks=1, reads=1)
    world.ask(pasid, first[0] + np.uint64(LINE_PAGES - 1) * page)
    world.expect(walks=1, reads=1)


def map_huge(world: CountedWorld, pasid: int, va: int, count: int) -> None:
    """An array of 2 MiB slots, with a block in each of the first `count`."""
    pfns = (np.arange(count, dtype=np.uint64) * np.uint64(3) + np.uint64(0x800)) << np.uint64(LARGE_SHIFT - 12)
    words = encode(FORMAT, Pages.of(pfn=pfns, write=True))
    world.tables.link_array(pasid, va, level=2, page_shift=LARGE_SHIFT, words=words)


def blocks_held(world: CountedWorld) -> None:
    """Blocks of 2 MiB in the second level. Small pages, in turn of two groups, empty the port's own cache between."""
    size, small = world.size("LargeEntries"), world.size("TlbEntries")
    pasid = world.new_context()
    world.map_pages(pasid, world.top, 2 * small)
    map_huge(world, pasid, 2 * world.top, 3 * size)
    groups = [pages_from(world.top + part * small * PAGE_BYTES, small) for part in range(2)]
    first, second, third = (pages_from(2 * world.top + part * size * LEAF, size, LEAF) for part in range(3))
    warm_lines(world, pasid, 2 * small)

    def empty() -> None:
        world.ask(pasid, groups[0])
        world.expect(shared=small)
        groups.reverse()

    empty()
    world.ask(pasid, first)
    world.expect(walks=size, reads=world.levels - 1 + size)
    empty()
    world.ask(pasid, first[::-1] + np.uint64(LEAF - 1))
    world.expect(shared=size)
    empty()
    world.ask(pasid, second)
    world.expect(walks=size, reads=size)
    empty()
    world.ask(pasid, second + np.uint64(LEAF // 2))
    world.expect(shared=size)
    for gone in range(1, _steps(size) + 1):
        empty()
        world.ask(pasid, third[gone - 1])
        world.expect(walks=1, reads=1)
        empty()
        if gone < size:
            world.ask(pasid, second[gone:])
            world.expect(shared=size - gone)
    empty()
    world.ask(pasid, [second[0], first[0]])
    world.expect(walks=2, reads=2)
