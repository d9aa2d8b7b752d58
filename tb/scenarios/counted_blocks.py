# SPDX-License-Identifier: Apache-2.0
"""What the first level holds as one entry: neighbours in one line that lie side by side in memory, and larger blocks.

A line is walked once. Of each group of its pages that are alike the first that is asked for comes from there or from
the second level, all others hit in the port's own cache.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.arrays import PAGE_BYTES
from models.entries import encode
from models.geometry import INDEX_BITS
from models.pages import PageKind, Pages
from tb.scenarios.counted_world import FORMAT, LINE_PAGES, WINDOW, CountedWorld

LINE = LINE_PAGES * PAGE_BYTES
RANDOM_LINES = 24
MAX_ORDER = 2
"""What the arrays of lines promise."""
ARRAY_LINES = (1 << INDEX_BITS) // LINE_PAGES
FRAME_STEP = 64
"""Frames between the lines of a case."""


@dataclass(frozen=True)
class Page:
    """One slot: its frame in the memory that it is in, and what it says beside."""

    frame: int
    write: bool = True
    atomic: bool = True
    device: bool = False
    order: int = 0
    valid: bool = True

    def word(self) -> int:
        """The entry."""
        pages = Pages.of(
            PageKind.VALID,
            self.frame + (WINDOW.base if self.device else 0),
            write=self.write,
            atomic=self.atomic,
            device_private=self.device,
            order=self.order,
        )
        word = int(encode(FORMAT, pages)[0])
        # What is not valid says all else like its neighbours.
        return word if self.valid else word & ~FORMAT.valid


Line = list[Page]


def line_groups(line: Line, first: int = 0, size: int = LINE_PAGES) -> list[range]:
    """Aligned groups of pages that are one entry each: alike, and side by side. Pages that are not there have none."""
    pages = line[first : first + size]
    alike = all(page == replace(pages[0], frame=pages[0].frame + near) for near, page in enumerate(pages))
    if pages[0].valid and alike:
        return [range(first, first + size)]
    if size == 1:
        return []
    half = size // 2
    return line_groups(line, first, half) + line_groups(line, first + half, half)


def _whole(frame: int) -> Line:
    return [Page(frame + near) for near in range(LINE_PAGES)]


def _directed_lines() -> list[Line]:
    """Lines that are whole, in two, four and eight parts; and whole but for one page, in each place and in each way."""
    lines: list[Line] = []

    def fresh() -> Line:
        return _whole(FRAME_STEP * (1 + len(lines)))

    lines.append(fresh())
    # Side by side, but not aligned in memory.
    lines.append([replace(page, frame=page.frame + 3) for page in fresh()])
    for part in (4, 2, 1):
        lines.append([replace(page, frame=page.frame + 9 * (near // part)) for near, page in enumerate(fresh())])
    for place in range(LINE_PAGES):
        for change in ("frame", "write", "atomic", "device", "valid"):
            # WRITE is changed alone: what cannot be written cannot be atomic either.
            line = [replace(page, atomic=change != "write") for page in fresh()]
            page = line[place]
            line[place] = {
                "frame": replace(page, frame=page.frame + FRAME_STEP // 2),
                "write": replace(page, write=False),
                "atomic": replace(page, atomic=False),
                "device": replace(page, device=True),
                "valid": replace(page, valid=False),
            }[change]
            lines.append(line)
    # Blocks of two and of four, which is more than they say of themselves.
    for orders in ([0] * 4 + [1] * 4, [2] * 4 + [1] * 4, [1] * 8, [2] * 8, [0, 0, 1, 1, 2, 2, 2, 2]):
        lines.append([replace(page, order=order) for page, order in zip(fresh(), orders, strict=True)])
    # All of the device's memory.
    lines.append([replace(page, device=True) for page in fresh()])
    return lines


def _random_line(world: CountedWorld, frame: int) -> Line:
    """Pages that mostly continue the one before; now and then one is elsewhere, or permits less, or is not there."""
    rng = world.rng
    line = [Page(frame)]
    for near in range(1, LINE_PAGES):
        page = replace(line[-1], frame=frame + near if rng.integers(6) else frame + FRAME_STEP // 2 + near)
        if not rng.integers(6):
            write = bool(rng.integers(2))
            page = replace(page, write=write, atomic=write and bool(rng.integers(2)), device=bool(rng.integers(2)))
        line.append(page)
    return [replace(page, valid=bool(rng.integers(12))) for page in line]


def lines_coalesced(world: CountedWorld) -> None:
    """Directed and drawn lines, page by page; every group is entered at a drawn page."""
    lines = _directed_lines()
    lines += [_random_line(world, FRAME_STEP * (1 + len(lines) + number)) for number in range(RANDOM_LINES)]
    pasid = world.new_context()
    words = [page.word() for line in lines for page in line]
    world.tables.link_range(pasid, world.top, words, FORMAT, MAX_ORDER)
    reads, array = world.cold, 0
    for number, line in enumerate(lines):
        groups = line_groups(line)
        if not groups:
            continue
        if number // ARRAY_LINES != array:
            # The first of the next array.
            array, reads = number // ARRAY_LINES, 2
        order = world.rng.permutation(len(groups))
        asked = [int(page) for group in order for page in world.rng.permutation(list(groups[group]))]
        va = np.uint64(world.top + number * LINE) + np.array(asked, dtype=np.uint64) * np.uint64(PAGE_BYTES)
        world.ask(pasid, va)
        world.expect(hits=len(asked) - len(groups), shared=len(groups) - 1, walks=1, reads=reads)
        reads = 1


def blocks_whole(world: CountedWorld) -> None:
    """Blocks of order 3 to 9 in an array of small pages: from one walk on every page hits in the port's own cache."""
    pasid = world.new_context()
    reads = world.cold
    for number, order in enumerate(range(3, 10)):
        size = 1 << order
        va = world.top + number * (PAGE_BYTES << 9)
        frames = np.arange(size, dtype=np.uint64) + np.uint64(number << 9)
        words = encode(FORMAT, Pages.of(pfn=frames, write=True, atomic=True, order=order))
        world.tables.link_array(pasid, va, max_order=order, words=words)
        pages = np.concatenate([[0, size - 1, size // 2], world.rng.integers(size, size=5)])
        world.ask(pasid, np.uint64(va) + pages.astype(np.uint64) * np.uint64(PAGE_BYTES))
        world.expect(hits=pages.size - 1, walks=1, reads=reads)
        reads = 2
