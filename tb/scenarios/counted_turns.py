# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is in a full cache: what is filled again stays in its place and takes no turn, and an empty place is
taken before any that is in use.
"""

from __future__ import annotations

from models.arrays import PAGE_BYTES
from models.structures import Access
from tb.scenarios.counted_caches import ABSENT, DIRECTORY, LEAF, LINE, map_huge, warm_lines
from tb.scenarios.counted_world import FORMAT, LINE_PAGES, CountedWorld, pages_from

LEAST = 3
"""Entries that a cache must have for this: one in turn, one that is dropped or filled again, another one."""
LAST_PAGE = (LINE_PAGES - 1) * PAGE_BYTES


def refilled_in_place(world: CountedWorld) -> None:
    """Entries of full caches that are filled again: contexts, directories, lines. Nothing else goes, and the turn is at
    the same entry as before.
    """
    _directory_again(world)
    _line_again(world)
    _context_again(world)


def _directory_again(world: CountedWorld) -> None:
    """A new array in a directory that is cached."""
    size = world.size("TableEntries")
    pasid = world.new_context()
    first, second = (pages_from(world.top + part * size * DIRECTORY, size, DIRECTORY).tolist() for part in range(2))
    new = world.top + 2 * size * DIRECTORY
    for va in (*first, *second, new, second[size // 2] + LEAF):
        world.map_pages(pasid, va)
    absent = 5 * LEAF
    world.ask(pasid, first + second)
    world.expect(walks=2 * size, reads=world.cold + (2 * size - 1) * (world.levels + 1))
    if size < LEAST:
        return
    world.ask(pasid, second[size // 2] + LEAF)
    world.expect(walks=1, reads=2)
    world.probe(pasid, [va + absent for va in second])
    world.expect(walks=size, reads=size)
    world.ask(pasid, new)
    world.expect(walks=1, reads=world.levels + 1)
    world.probe(pasid, [va + absent for va in second[1:]])
    world.expect(walks=size - 1, reads=size - 1)


def _line_again(world: CountedWorld) -> None:
    """A page that appears in a line that is cached, which needs no command: the line is walked and filled again."""
    ways = world.size("SharedWays")
    if ways < LEAST:
        return
    pasid, lines = _lines_of_a_set(world, 2 * ways + 1)
    second, new = lines[ways : 2 * ways], lines[-1]
    again = second[ways // 2]
    address = world.tables.entry_address(pasid, again + LAST_PAGE)
    (word,) = world.builder.memory.read_words(address, 1).tolist()
    world.builder.memory.write_words(address, [world.none])
    world.ask(pasid, lines[:-1])
    world.expect(walks=2 * ways, reads=_reads_of_lines(world, lines[:-1]))
    world.probe(pasid, again + LAST_PAGE)
    world.expect(walks=1, reads=1)
    world.script.write_memory(address, word)
    world.ask(pasid, again + LAST_PAGE)
    world.expect(walks=1, reads=1)
    world.ask(pasid, [va + PAGE_BYTES for va in second])
    world.expect(shared=ways)
    world.ask(pasid, new)
    world.expect(walks=1, reads=_reads_of_lines(world, lines) - _reads_of_lines(world, lines[:-1]))
    world.ask(pasid, [va + 2 * PAGE_BYTES for va in second[1:]])
    world.expect(shared=ways - 1)


def _context_again(world: CountedWorld) -> None:
    """A context that two walks bring, one behind the other."""
    size = world.size("ContextEntries")
    if size < LEAST or world.size("Walks") == 1:
        return
    first, second, new = ([world.new_context() for _ in range(size)] for _ in range(3))
    for pasid in (*first, *second, *new):
        for leaf in (0, 1):
            world.map_pages(pasid, world.top + leaf * LEAF)
    absent = 3 * world.top
    world.ask(first + second, world.top)
    world.expect(walks=2 * size, reads=2 * size * world.cold)
    world.ask(new[0], [world.top, world.top + LEAF], pause=[0, (world.latency + 2) * 3 // 2])
    world.expect(walks=2, reads=2 * world.cold)
    world.probe([new[0], *second[1:]], absent)
    world.expect(walks=size, reads=size)
    world.ask(new[1], world.top)
    world.expect(walks=1, reads=world.cold)
    world.probe([*new[:2], *second[2:]], absent)
    world.expect(walks=size, reads=size)


def empty_place_first(world: CountedWorld) -> None:
    """One entry of a full cache is invalidated; what comes next takes its place, and everything else stays."""
    _page_dropped(world)
    _line_dropped(world)
    _block_dropped(world)
    _array_dropped(world)


def _page_dropped(world: CountedWorld) -> None:
    """In the first level: pages in lines that the second level has."""
    size = world.size("TlbEntries")
    pasid = world.new_context()
    world.map_pages(pasid, world.top, 2 * size + 1)
    warm_lines(world, pasid, 2 * size + 1)
    if size < 2 * LINE_PAGES:
        return
    pages = pages_from(world.top, size).tolist()
    world.ask(pasid, pages)
    world.expect(shared=size)
    gone = pages[size // 2]
    world.invalidate(pasid, gone, gone)
    world.ask(pasid, world.top + 2 * size * PAGE_BYTES)
    world.expect(shared=1)
    world.ask(pasid, [va for va in pages if va != gone])
    world.expect(hits=size - 1)


def _lines_of_a_set(world: CountedWorld, count: int) -> tuple[int, list[int]]:
    """(PASID, first addresses) of lines of one set, all pages of them there."""
    sets = world.size("SharedSets")
    pasid = world.new_context()
    base = world.top + int(world.rng.integers(sets)) * LINE
    lines = pages_from(base, count, sets * LINE).tolist()
    for va in lines:
        world.map_pages(pasid, va, LINE_PAGES)
    return pasid, lines


def _reads_of_lines(world: CountedWorld, lines: list[int]) -> int:
    """Reads of walks to lines below one directory, one at a time, in a cold context."""
    return world.cold - 2 + len({va // LEAF for va in lines}) + len(lines)


def _line_dropped(world: CountedWorld) -> None:
    """In the second level: lines of one set."""
    ways = world.size("SharedWays")
    if ways < LEAST:
        return
    pasid, lines = _lines_of_a_set(world, 2 * ways + 1)
    second = lines[ways : 2 * ways]
    world.ask(pasid, lines[:-1])
    world.expect(walks=2 * ways, reads=_reads_of_lines(world, lines[:-1]))
    gone = second[ways // 2]
    world.invalidate(pasid, gone + LAST_PAGE, gone + LAST_PAGE)
    # The directory above is dropped with it.
    world.ask(pasid, lines[-1])
    world.expect(walks=1, reads=world.levels + 1)
    world.ask(pasid, [va + PAGE_BYTES for va in second if va != gone])
    world.expect(shared=ways - 1)


def _block_dropped(world: CountedWorld) -> None:
    """Blocks of 2 MiB in the second level, while the first level has other pages."""
    size, small = world.size("LargeEntries"), world.size("TlbEntries")
    if size < LEAST:
        return
    pasid = world.new_context()
    world.map_pages(pasid, world.top, 2 * small)
    huge = 2 * world.top
    map_huge(world, pasid, huge, 2 * size + 1)
    blocks = pages_from(huge, 2 * size + 1, LEAF).tolist()
    second = blocks[size : 2 * size]
    warm_lines(world, pasid, 2 * small)
    world.ask(pasid, blocks[:-1])
    world.expect(walks=2 * size, reads=world.levels - 1 + 2 * size)
    gone = second[size // 2]
    world.invalidate(pasid, gone, gone)
    world.ask(pasid, blocks[-1])
    world.expect(walks=1, reads=world.levels - 1 + 1)
    world.ask(pasid, pages_from(world.top, small))
    world.expect(shared=small)
    world.ask(pasid, [va for va in second if va != gone])
    world.expect(shared=size - 1)


def _array_dropped(world: CountedWorld) -> None:
    """Directory entries of arrays, and the directories in which they stand."""
    arrays, tables = world.size("DirectoryEntries"), world.size("TableEntries")
    if min(arrays, tables) < LEAST:
        return
    pasid = world.new_context()
    each = arrays // tables
    # As many directories as are cached, with as many arrays as are; others before, since some places may be empty.
    bases = pages_from(world.top, 2 * tables + 1, DIRECTORY).tolist()
    new = bases.pop()
    every = [base + leaf * LEAF for base in bases for leaf in range(each)]
    for va in (*every, new):
        world.map_pages(pasid, va)
    world.ask(pasid, every)
    reads = world.cold + (len(bases) - 1) * (world.levels + 1) + (len(every) - len(bases)) * 2
    world.expect(walks=len(every), reads=reads)
    places = every[len(every) // 2 :]
    gone = places[len(places) // 2 + 1]
    world.invalidate(pasid, gone, gone)
    world.ask(pasid, new)
    world.expect(walks=1, reads=world.levels + 1)
    world.probe(pasid, [va + ABSENT for va in places if va != gone])
    world.expect(walks=len(places) - 1, reads=len(places) - 1)
    # Pages below absent entries of the other directories.
    absent = DIRECTORY - LEAF
    others = [base + absent for base in bases[tables:] if base // DIRECTORY != gone // DIRECTORY]
    world.probe(pasid, others)
    world.expect(walks=len(others), reads=len(others))


def upgraded_in_place(world: CountedWorld) -> None:
    """A translation that lacks WRITE is replaced by what a WRITE finds: nothing else goes from the first level."""
    size = world.size("TlbEntries")
    pasid = world.new_context()
    world.map_pages(pasid, world.top, size)
    pages = pages_from(world.top, size).tolist()
    chosen = pages[size // 2]
    address = world.tables.entry_address(pasid, chosen)
    (word,) = world.builder.memory.read_words(address, 1).tolist()
    world.builder.memory.write_words(address, [word & ~(FORMAT.write | FORMAT.atomic)])
    warm_lines(world, pasid, size)
    world.script.write_memory(address, word)
    world.ask(pasid, chosen, Access.WRITE)
    world.expect(walks=1, reads=1)
    world.ask(pasid, pages, Access.WRITE)
    world.expect(hits=size)
