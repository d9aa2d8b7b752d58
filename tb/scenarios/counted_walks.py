# SPDX-License-Identifier: Apache-2.0
"""What walks read: those side by side share contexts and directories, and those that end in a reason fill nothing."""

from __future__ import annotations

import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES, WORD_BYTES
from models.entries import encode
from models.fault_records import replay_all_command
from models.geometry import span_bits
from models.pages import PageKind, Pages
from models.registers import FAULT_PUT_INDEX, Register
from models.structures import Access, DirectoryType, pack_directory_entry
from tb.scenarios.counted_world import FORMAT, LINE_PAGES, CountedWorld, pages_from

LEAF = 1 << span_bits(1)
LINE = LINE_PAGES * PAGE_BYTES
MOST_TOGETHER = 16
LONG_LATENCY = 200
"""Of a read, in cycles: all requests of a group walk before the first read is over."""
OUTSIDE_MEMORY = 1 << 40
"""A bus address that no memory answers."""


def _together(world: CountedWorld) -> int:
    """How many walks go side by side."""
    return min(world.size("Walks"), MOST_TOGETHER)


def shared_reads(world: CountedWorld) -> None:
    """Walks that begin together and part at one level after the other: what is above is read once, what is below by
    each. Of two contexts each reads its own.
    """
    count = _together(world)
    for level in range(1, world.levels + 1):
        # The walks part at the directory of this level.
        pasid = world.new_context()
        va = pages_from(world.top, count, 1 << span_bits(level))
        for page in va.tolist():
            world.map_pages(pasid, page)
        world.ask(pasid, va, pause=0)
        above = 1 + world.levels - level
        world.expect(walks=count, reads=above + count * level + count)
    # Lines of one array.
    pasid = world.new_context()
    world.map_pages(pasid, world.top, count * LINE_PAGES)
    world.ask(pasid, pages_from(world.top, count, LINE), pause=0)
    world.expect(walks=count, reads=1 + world.levels + count)


def shared_line(world: CountedWorld) -> None:
    """Eight requests of one line together make one walk; the others find the line when it has ended."""
    pasid = world.new_context()
    world.map_pages(pasid, world.top, LINE_PAGES)
    world.ask(pasid, pages_from(world.top, LINE_PAGES), pause=0)
    world.expect(shared=LINE_PAGES - 1, walks=1, reads=world.cold)


def line_any_moment(world: CountedWorld) -> None:
    """A request for a line that another one walks for, at every distance from together to long behind: there is one
    walk, and the second level answers the later one.
    """
    pasid = world.new_context()
    count = 2 * (world.latency + 10)
    world.map_pages(pasid, world.top, (count + 1) * LINE_PAGES)
    lines = pages_from(world.top, count + 1, LINE)
    world.ask(pasid, lines[:1])
    world.expect(walks=1, reads=world.cold)
    for distance, va in enumerate(lines[1:].tolist()):
        # What comes later must not be needed for an answer.
        world.ask(pasid, [va, va + PAGE_BYTES], pause=[world.alone, distance])
        world.wait_answers()
    world.expect(shared=count, walks=count, reads=count)


def contexts_apart(world: CountedWorld) -> None:
    """The same addresses in several contexts, together: they share nothing; in two contexts by turns: each shares its
    own; below two entries of a root whose context is cached: the same.
    """
    count = _together(world)
    each = [world.new_context() for _ in range(count)]
    for pasid in each:
        world.map_pages(pasid, world.top)
    world.ask(each, world.top, pause=0)
    world.expect(walks=count, reads=count * world.cold)
    if count == 1:
        return
    lines = pages_from(world.top, count // 2, LINE)
    pair = [world.new_context(), world.new_context()]
    for pasid in pair:
        world.map_pages(pasid, world.top, count // 2 * LINE_PAGES)
    world.ask(pair * (count // 2), np.repeat(lines, 2), pause=0)
    world.expect(walks=count, reads=2 * (1 + world.levels) + count)
    pasid = world.new_context()
    world.map_pages(pasid, 5 * world.top)
    for top in (6, 7):
        world.map_pages(pasid, top * world.top, count // 2 * LINE_PAGES)
    world.ask(pasid, 5 * world.top)
    world.expect(walks=1, reads=world.cold)
    va = np.stack([lines + np.uint64(5 * world.top), lines + np.uint64(6 * world.top)], axis=1)
    world.ask(pasid, va.ravel(), pause=0)
    world.expect(walks=count, reads=2 * world.levels + count)


def levels_apart(world: CountedWorld) -> None:
    """Walks one read behind each other: each reads its own. A walk that begins at the lowest directory, while another
    reads the root's entry above it, does not wait for that one. With one walk at a time the later one begins where the
    first has brought the caches.
    """
    alone = world.size("Walks") == 1
    read = world.latency + 2
    # With the context read by each, and with the context cached.
    for cached in (0, 1):
        pasid = world.new_context()
        for leaf in (0, 3, 4):
            world.map_pages(pasid, world.top + leaf * LEAF)
        for top in (8, 9):
            world.map_pages(pasid, top * world.top)
        if cached:
            world.ask(pasid, 9 * world.top)
            world.expect(walks=1, reads=world.cold)
        world.ask(pasid, [world.top, world.top + 3 * LEAF], pause=[0, read + read // 2])
        world.expect(walks=2, reads=world.cold - cached + (2 if alone else world.cold - cached))
        # Both have filled the same: what they brought is right.
        world.ask(pasid, [world.top + 4 * LEAF, 8 * world.top])
        world.expect(walks=2, reads=2 + world.levels + 1)
    pasid = world.new_context()
    for leaf, lines in ((0, 1), (2, 2)):
        world.map_pages(pasid, world.top + leaf * LEAF, lines * LINE_PAGES)
    world.map_pages(pasid, 9 * world.top)
    world.ask(pasid, 9 * world.top)
    world.expect(walks=1, reads=world.cold)
    # The second begins while the first reads its line; the first ends while the second reads the root; then the third.
    begin = [0, world.levels * read + read // 2, 3 * read // 4]
    world.ask(pasid, [world.top, world.top + 2 * LEAF, world.top + 2 * LEAF + LINE], pause=begin)
    world.expect(walks=3, reads=world.levels + 1 + (2 + 1 if alone else world.levels + 1 + 2))


def faults_fill_nothing(world: CountedWorld) -> None:
    """Every kind of end in a reason, twice: the second walk reads what the first one read. Then a good page of the same
    line: it reads everything too; and only what was good in its line is kept.
    """
    none = [PageKind.NONE, PageKind.NOT_VALID, PageKind.ERROR, PageKind.SPECIAL]
    words = [int(encode(FORMAT, Pages.of(kind))[0]) for kind in none]
    # Beyond the bus.
    words.append(int(encode(FORMAT, Pages.of(pfn=1 << 37, write=True))[0]))
    room = world.size("TlbEntries") > 1
    for word in words:
        pasid = world.new_context()
        world.map_pages(pasid, world.top, 3)
        world.builder.memory.write_words(world.tables.entry_address(pasid, world.top), [word])
        for _ in range(2):
            world.probe(pasid, world.top)
            world.expect(walks=1, reads=world.cold)
        world.ask(pasid, world.top + PAGE_BYTES)
        world.expect(walks=1, reads=world.cold)
        world.ask(pasid, [world.top + 2 * PAGE_BYTES, world.top + PAGE_BYTES])
        # The first of the two is in the line, and so in the second level; the other one where there is room for both.
        world.expect(hits=int(room), shared=2 - int(room))
        world.probe(pasid, world.top)
        world.expect(walks=1, reads=1)
    _failing_reads(world)
    _bad_directories(world)


def _failing_reads(world: CountedWorld) -> None:
    """The bus fails for a line of an array; then another line of the same array is asked for."""
    pasid = world.new_context()
    world.map_pages(pasid, world.top, 2 * LINE_PAGES)
    world.builder.memory.set_read_error(world.tables.entry_address(pasid, world.top))
    for _ in range(2):
        world.probe(pasid, world.top)
        world.expect(walks=1, reads=world.cold)
    world.ask(pasid, world.top + LINE)
    world.expect(walks=1, reads=world.cold)


def _bad_directories(world: CountedWorld) -> None:
    """Walks that end at a context or in a directory: absent, malformed, outside memory."""
    # Not bound.
    for _ in range(2):
        world.probe(63, world.top)
        world.expect(walks=1, reads=1)
    outside = pack_directory_entry(entry_type=DirectoryType.DIRECTORY, address=OUTSIDE_MEMORY)
    malformed = pack_directory_entry(entry_type=DirectoryType.DIRECTORY, address=OUTSIDE_MEMORY, page_shift=1)
    for level in range(1, world.levels + 1):
        pasid = world.new_context()
        world.map_pages(pasid, world.top)
        # The neighbour in the directory of this level.
        va = world.top + (1 << span_bits(level))
        address = world.tables.directory_entry_address(pasid, va, level)
        words = [0, int(malformed[0])]
        if level > 1:
            words.append(int(outside[0]))
        for word in words:
            world.script.write_memory(address, word)
            further = int(word == int(outside[0]))
            for _ in range(2):
                world.probe(pasid, va)
                world.expect(walks=1, reads=1 + world.levels - level + 1 + further)
        world.ask(pasid, world.top)
        world.expect(walks=1, reads=world.cold)


def permission_fills_nothing(world: CountedWorld) -> None:
    """A WRITE without permission reads everything, waits, and fills nothing: a READ of the page reads everything again.
    Its own replay, when it is permitted, begins where the READ has brought the caches.
    """
    world.enable_faults()
    pasid = world.new_context()
    world.map_pages(pasid, world.top)
    address = world.tables.entry_address(pasid, world.top)
    plain, permitted = (int(encode(FORMAT, Pages.of(pfn=0x777, write=write))[0]) for write in (False, True))
    world.builder.memory.write_words(address, [plain])
    world.ask(pasid, world.top, Access.WRITE)
    world.script.wait_register(Register.FAULT_PUT, 1, mask=FAULT_PUT_INDEX.mask)
    world.expect(walks=1, reads=world.cold, answered=False)
    world.ask(pasid, [world.top + LINE_BYTES, world.top + WORD_BYTES])
    world.script.nop()
    world.script.wait_register(Register.FAULT_PUT, 1, mask=FAULT_PUT_INDEX.mask)
    world.wait_cycles(3 * world.alone)
    world.expect(hits=1, walks=1, reads=world.cold, answered=False)
    world.script.write_memory(address, permitted)
    world.script.command(replay_all_command())
    world.expect(walks=1, reads=1)
    # What is cached now permits it.
    world.ask(pasid, world.top, Access.WRITE)
    world.expect(hits=1)
