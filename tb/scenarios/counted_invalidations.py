# SPDX-License-Identifier: Apache-2.0
"""What an invalidation leaves alone: all that it does not cover is in every cache as before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.arrays import PAGE_BYTES
from tb.host_script import When
from tb.scenarios.counted_caches import ABSENT, DIRECTORY, LEAF, LINE, map_huge, warm_lines
from tb.scenarios.counted_world import LINE_PAGES, CountedWorld, pages_from

PIECES = 6
"""Neighbours in question; the range reaches from the last byte of the second to the first byte of the fourth."""
SPARED = [0, 4, 5]
COVERED = [1, 2, 3]
NEEDED = {"TlbEntries": 16, "SharedSets": PIECES, "LargeEntries": 2 * PIECES, "DirectoryEntries": 2 * PIECES}
"""What the caches must hold at least; and so many contexts and directories:"""
NEEDED_OF_FEW = {"ContextEntries": 3, "TableEntries": PIECES + 2}


def _large_enough(world: CountedWorld) -> bool:
    """Whether the caches hold what is in question here; a page is asked for anyway."""
    pasid = world.new_context()
    world.map_pages(pasid, world.top)
    world.ask(pasid, world.top)
    world.expect(walks=1, reads=world.cold)
    return all(world.size(name) >= least for name, least in (NEEDED | NEEDED_OF_FEW).items())


def ranges_spared(world: CountedWorld) -> None:
    """INVALIDATE of a range of one context, while another one has the same addresses: pages, lines, blocks, arrays and
    directories beside the range stay, and everything of the other context.
    """
    if not _large_enough(world):
        return
    _pages_beside(world)
    _lines_beside(world)
    _blocks_beside(world)
    _arrays_beside(world)
    _directories_beside(world)


def _middle(va: int, size: int) -> tuple[int, int]:
    """First and last byte of a range over pieces of `size` from `va` on."""
    return va + 2 * size - 1, va + 3 * size


def _pages_beside(world: CountedWorld) -> None:
    pages = pages_from(world.top, PIECES)
    pair = [world.new_context(), world.new_context()]
    for pasid in pair:
        world.map_pages(pasid, world.top, LINE_PAGES)
        world.ask(pasid, pages)
        world.expect(shared=PIECES - 1, walks=1, reads=world.cold)
    world.invalidate(pair[0], *_middle(world.top, PAGE_BYTES))
    world.ask(pair[0], pages[SPARED])
    world.expect(hits=len(SPARED))
    world.ask(pair[1], pages)
    world.expect(hits=PIECES)
    # Their line, their array and their directory are gone with them.
    world.ask(pair[0], pages[COVERED])
    world.expect(shared=len(COVERED) - 1, walks=1, reads=world.levels + 1)


def _lines_beside(world: CountedWorld) -> None:
    lines = pages_from(world.top, PIECES, LINE)
    pair = [world.new_context(), world.new_context()]
    for pasid in pair:
        world.map_pages(pasid, world.top, PIECES * LINE_PAGES)
        world.ask(pasid, lines)
        world.expect(walks=PIECES, reads=world.cold + PIECES - 1)
    world.invalidate(pair[0], *_middle(world.top, LINE))
    others = lines + np.uint64(PAGE_BYTES)
    world.ask(pair[0], others[SPARED])
    world.expect(shared=len(SPARED))
    world.ask(pair[1], others)
    world.expect(shared=PIECES)
    world.ask(pair[0], others[COVERED])
    world.expect(walks=len(COVERED), reads=world.levels + len(COVERED))


def _blocks_beside(world: CountedWorld) -> None:
    blocks = pages_from(world.top, PIECES, LEAF)
    pair = [world.new_context(), world.new_context()]
    for pasid in pair:
        map_huge(world, pasid, world.top, PIECES)
        world.ask(pasid, blocks)
        world.expect(walks=PIECES, reads=world.levels + PIECES)
    # The ports' own caches lose them.
    small = world.new_context()
    world.map_pages(small, world.top, world.size("TlbEntries"))
    warm_lines(world, small, world.size("TlbEntries"))
    world.invalidate(pair[0], *_middle(world.top, LEAF))
    world.ask(pair[0], blocks[SPARED])
    world.expect(shared=len(SPARED))
    world.ask(pair[1], blocks)
    world.expect(shared=PIECES)
    world.ask(pair[0], blocks[COVERED])
    world.expect(walks=len(COVERED), reads=world.levels - 1 + len(COVERED))


def _arrays_beside(world: CountedWorld) -> None:
    arrays = pages_from(world.top, PIECES, LEAF)
    pair = [world.new_context(), world.new_context()]
    for pasid in pair:
        for va in arrays.tolist():
            world.map_pages(pasid, va)
        world.ask(pasid, arrays)
        world.expect(walks=PIECES, reads=world.cold + 2 * (PIECES - 1))
    world.invalidate(pair[0], *_middle(world.top, LEAF))
    absent = arrays + np.uint64(ABSENT)
    world.probe(pair[0], absent[SPARED])
    world.expect(walks=len(SPARED), reads=len(SPARED))
    world.probe(pair[1], absent)
    world.expect(walks=PIECES, reads=PIECES)
    # The directory of the other context.
    world.probe(pair[1], world.top + PIECES * LEAF)
    world.expect(walks=1, reads=1)
    world.probe(pair[0], absent[COVERED])
    world.expect(walks=len(COVERED), reads=len(COVERED) * (world.levels + 1))


def _directories_beside(world: CountedWorld) -> None:
    directories = pages_from(world.top, PIECES, DIRECTORY)
    pasid = world.new_context()
    for va in directories.tolist():
        world.map_pages(pasid, va)
    world.ask(pasid, directories)
    world.expect(walks=PIECES, reads=world.cold + (PIECES - 1) * (world.levels + 1))
    world.invalidate(pasid, *_middle(world.top, DIRECTORY))
    absent = directories + np.uint64(5 * LEAF)
    world.probe(pasid, absent[SPARED])
    world.expect(walks=len(SPARED), reads=len(SPARED))
    world.probe(pasid, absent[COVERED])
    world.expect(walks=len(COVERED), reads=len(COVERED) * world.levels)


def contexts_spared(world: CountedWorld) -> None:
    """Commands about one context: of two others the context, the directories, and both levels' translations stay. What
    is left of its own is seen when it is asked for again.
    """
    if not _large_enough(world):
        return
    script = world.script
    own = world.new_context()
    others = [world.new_context(), world.new_context()]
    huge = 2 * world.top
    for pasid in (own, *others):
        world.map_pages(pasid, world.top, LINE_PAGES)
        map_huge(world, pasid, huge, 2)
    reads = world.cold + world.levels
    for pasid in others:
        world.ask(pasid, [world.top, huge])
        world.expect(walks=2, reads=reads)
    # Each command, and the hits, walks and reads of the context's two pages before it, behind the command before.
    commands: list[tuple[Callable[[], int], tuple[int, int, int]]] = [
        (lambda: script.invalidate_context(own, tail=False), (0, 2, reads)),
        (lambda: script.invalidate(own, tail=False), (0, 2, reads)),
        # Translations are forgotten, the context is not.
        (lambda: script.bind(own, tail=False), (0, 2, reads - 1)),
        # The context is forgotten, translations are not.
        (lambda: script.unbind(own, tail=False), (2, 0, 0)),
    ]
    for number, (command, (hits, walks, read)) in enumerate(commands, 1):
        world.ask(own, [world.top, huge])
        world.expect(hits=hits, walks=walks, reads=read)
        command()
        world.fence()
        for pasid in others:
            world.ask(pasid, [world.top, huge + PAGE_BYTES])
            world.expect(hits=2)
            world.ask(pasid, world.top + number * PAGE_BYTES)
            world.expect(shared=1)
            # Below an absent entry of the root, of the directory, of the array.
            world.probe(pasid, [3 * world.top, world.top + LEAF, world.top + ABSENT])
            world.expect(walks=3, reads=3)
    # Nothing is left.
    world.probe(own, [3 * world.top, world.top + LEAF, world.top + ABSENT])
    world.expect(walks=3, reads=2 + world.cold - 1 + world.cold)
    # Commands about all contexts: translations are forgotten, and contexts with the second.
    for kept in (1, 0):
        if kept:
            script.invalidate(None, tail=False)
        else:
            script.invalidate_context(None, tail=False)
        world.fence()
        for pasid in others:
            world.ask(pasid, [world.top, huge])
            world.expect(walks=2, reads=reads - kept)


def walk_touched(world: CountedWorld) -> None:
    """INVALIDATE of another page of the context while a walk is on its way: the walk fills no shared cache but that of
    contexts, so the next one reads all directories; and that one, which nothing touches, fills all.
    """
    pasid = world.new_context()
    world.map_pages(pasid, world.top, 2 * LINE_PAGES)
    world.ask(pasid, world.top, pause=0)
    elsewhere = world.top + 5 * DIRECTORY
    # The command is read first; then the walk is at a directory.
    world.script.nop(When(delay=world.latency))
    world.invalidate(pasid, elsewhere, elsewhere)
    world.expect(walks=1, reads=world.cold)
    world.ask(pasid, world.top + PAGE_BYTES)
    world.expect(walks=1, reads=world.cold - 1)
    world.ask(pasid, [world.top + 2 * PAGE_BYTES, world.top + LINE])
    world.expect(shared=1, walks=1, reads=1)
    # One that is covered begins anew behind its second read, and then fills all.
    pasid = world.new_context()
    world.map_pages(pasid, world.top, 2 * LINE_PAGES)
    world.ask(pasid, world.top, pause=0)
    world.script.nop(When(delay=world.latency // 2))
    world.invalidate(pasid, world.top, world.top)
    world.expect(walks=2, reads=2 + world.cold)
    world.ask(pasid, [world.top + PAGE_BYTES, world.top + LINE])
    world.expect(shared=1, walks=1, reads=1)
