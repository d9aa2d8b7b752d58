# SPDX-License-Identifier: Apache-2.0
"""Which mapping each page of a program belongs to at any time, by the recorded calls alone.

A page's *life* begins when a mapping puts it there and ends when it is unmapped or replaced; moving it by mremap does
not end it. Only pages that matter for an access are followed, as arrays. Source: docs/programs.md, "Data".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.arrays import PAGE_SHIFT, Words
from models.program_recording import Array, EventKind, MappingFlag, Protection

NO_LIFE = -1
READABLE = Protection.READ
READ_WRITE = Protection.READ | Protection.WRITE
SHIFT = np.uint64(PAGE_SHIFT)

Lives = NDArray[np.int64]


def effective(protection: int) -> Protection:
    """What the processor makes of a protection: what may be written or executed may be read too (x86)."""
    wanted = Protection(protection)
    return wanted | READABLE if wanted else wanted


@dataclass(frozen=True)
class Life:
    """The page numbers of one life's beginning. `filled`: the loader gives it bytes, else it begins as zeros."""

    mapping: int
    page: int
    filled: bool


def followed_pages(accessed: Words, calls: Array) -> Words:
    """All pages uint64[m], ascending, whose lives matter for the accessed ones: also where mremap took them from."""
    pages = np.unique(accessed)
    for call in calls[::-1]:
        if call["kind"] != EventKind.MREMAP:
            continue
        old, new = call["address"] >> SHIFT, call["new_address"] >> SHIFT
        old_count, new_count = call["length"] >> SHIFT, call["new_length"] >> SHIFT
        inside = pages[(pages >= new) & (pages < new + new_count)]
        if inside.size:
            # What grows takes the protection of the last page.
            sources = old + np.minimum(inside - new, old_count - np.uint64(1))
            pages = np.union1d(pages, sources)
    return pages


@dataclass
class Ledger:
    """The followed pages now. `life` int64[m] (NO_LIFE: not mapped), `protection` uint8[m]; `lives`: all that began."""

    pages: Words
    life: Lives = field(init=False)
    protection: NDArray[np.uint8] = field(init=False)
    lives: list[Life] = field(default_factory=list)
    mappings: int = 0

    def __post_init__(self) -> None:
        self.life = np.full(self.pages.size, NO_LIFE, dtype=np.int64)
        self.protection = np.zeros(self.pages.size, dtype=np.uint8)

    def map(self, address: int, length: int, protection: int, *, filled: bool) -> int:
        """Whatever was there is replaced; returns the new mapping's number."""
        number = self.mappings
        self.mappings += 1
        self._begin(self._inside(address, length), number, protection, filled=filled)
        return number

    def call(self, call: np.void) -> int:
        """One recorded call; returns the number of the mapping that it made, -1 if it made none."""
        kind, address, length = EventKind(int(call["kind"])), int(call["address"]), int(call["length"])
        new_address, new_length = int(call["new_address"]), int(call["new_length"])
        match kind:
            case EventKind.MMAP:
                filled = not int(call["flags"]) & MappingFlag.ANONYMOUS
                return self.map(address, length, effective(int(call["protection"])), filled=filled)
            case EventKind.MUNMAP:
                self._end(self._inside(address, length))
            case EventKind.MPROTECT:
                inside = self._inside(address, length)
                changed = self.protection[inside]
                changed[self.life[inside] != NO_LIFE] = effective(int(call["protection"]))
                self.protection[inside] = changed
            case EventKind.BRK if new_address > address:
                return self.map(address, new_address - address, READ_WRITE, filled=False)
            case EventKind.BRK:
                self._end(self._inside(new_address, address - new_address))
            case EventKind.MREMAP:
                return self._move(address, length, new_address, new_length)
            case _:
                raise ValueError(f"{kind.name} is no call")
        return -1

    def places(self, pages: Words) -> Lives:
        """Indices int64[n] of followed pages uint64[n]."""
        return np.searchsorted(self.pages, pages).astype(np.int64)

    def _move(self, old: int, old_length: int, new: int, new_length: int) -> int:
        target = self._inside(new, new_length)
        offsets = self.pages[target] - np.uint64(new >> PAGE_SHIFT)
        old_pages = np.uint64(old_length >> PAGE_SHIFT)
        sources = self.places(np.uint64(old >> PAGE_SHIFT) + np.minimum(offsets, old_pages - np.uint64(1)))
        lives, protections = self.life[sources], self.protection[sources]
        self._end(self._inside(old, old_length))
        self.life[target], self.protection[target] = lives, protections
        number = -1
        grown = np.flatnonzero(offsets >= old_pages)
        if grown.size:
            number = self.mappings
            self.mappings += 1
            for place in grown:
                one = slice(target.start + int(place), target.start + int(place) + 1)
                self._begin(one, number, int(protections[place]), filled=False)
        return number

    def _inside(self, address: int, length: int) -> slice:
        first, end = np.searchsorted(self.pages, [address >> PAGE_SHIFT, (address + length) >> PAGE_SHIFT])
        return slice(int(first), int(end))

    def _begin(self, inside: slice, mapping: int, protection: int, *, filled: bool) -> None:
        count = inside.stop - inside.start
        self.life[inside] = len(self.lives) + np.arange(count)
        self.protection[inside] = protection
        self.lives += [Life(mapping, int(page), filled) for page in self.pages[inside]]

    def _end(self, inside: slice) -> None:
        self.life[inside] = NO_LIFE
        self.protection[inside] = 0
