# SPDX-License-Identifier: Apache-2.0
"""What was mapped before a recorded program's first event, found from its events alone.

A recorder sees the memory system calls of the program, not what the kernel mapped when it started it: its image, the
loader, the stack. Every page that is used outside all recorded mappings must have been there from the start.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.program_recording import MAPPING_DTYPE, PAGE_BYTES, PAGE_SHIFT, Array, EventKind, Protection

AT_START = -1
"""No recorded call has touched the page: it is what the kernel made of it at the start."""
UNMAPPED = -2
READ_WRITE = int(Protection.READ | Protection.WRITE)


class _AddressMap:
    """A state for every page: AT_START, UNMAPPED or a Protection."""

    def __init__(self) -> None:
        self._starts = [0]
        self._states = [AT_START]

    def at(self, page: int) -> int:
        return self._states[bisect_right(self._starts, page) - 1]

    def set(self, first: int, end: int, state: int) -> None:
        """Pages [first, end) get `state`."""
        if first >= end:
            return
        after = self.at(end)
        low, high = bisect_left(self._starts, first), bisect_right(self._starts, end)
        self._starts[low:high] = [first, end]
        self._states[low:high] = [state, after]

    def pieces(self, first: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(first, end, state) that fill [first, end)."""
        index = bisect_right(self._starts, first) - 1
        while first < end:
            index += 1
            stop = min(end, self._starts[index]) if index < len(self._starts) else end
            yield first, stop, self._states[index - 1]
            first = stop


class _StartFinder:
    """Goes through the events and keeps what each page's mapping is at that moment."""

    def __init__(self) -> None:
        self.initial: dict[int, int] = {}
        """Page -> the protection that it needs at the start."""
        self.refused = 0
        self._map = _AddressMap()

    def access(self, page: int, writes: bool) -> None:
        state = self._map.at(page)
        if state == AT_START:
            self._needed(page, READ_WRITE if writes else int(Protection.READ))
        elif state == UNMAPPED or not state & (Protection.WRITE if writes else Protection.READ):
            self.refused += 1

    def call(self, kind: int, first: int, end: int, new_first: int, new_end: int, protection: int) -> None:
        """A system call: it takes pages [first, end), and [new_first, new_end) for those that have a second range."""
        if kind == EventKind.MMAP:
            self._map.set(first, end, protection)
        elif kind == EventKind.MUNMAP:
            self._map.set(first, end, UNMAPPED)
        elif kind == EventKind.MPROTECT:
            self._was_there(first, end)
            self._map.set(first, end, protection)
        elif kind == EventKind.BRK:
            self._map.set(first, new_first, READ_WRITE)
            self._map.set(new_first, first, UNMAPPED)
        elif kind == EventKind.MREMAP:
            self._was_there(first, end)
            state = self._map.at(first)
            self._map.set(first, end, UNMAPPED)
            self._map.set(new_first, new_end, READ_WRITE if state == AT_START else state)

    def _was_there(self, first: int, end: int) -> None:
        """The call would have failed on a hole, so pages that no recorded call made were mapped at the start."""
        for low, high, state in self._map.pieces(first, end):
            if state == AT_START:
                for page in range(low, high):
                    self._needed(page, int(Protection.READ))

    def _needed(self, page: int, protection: int) -> None:
        self.initial[page] = self.initial.get(page, 0) | protection


def initial_mappings(events: Array) -> tuple[Array, int]:
    """What must be mapped before EVENT_DTYPE[n], and how many accesses the mappings of their time refuse.

    Returns: MAPPING_DTYPE[m], ascending, whole pages, writable where the program stored before any call changed the
    page; count of refused accesses (to what was unmapped or protected: a signal in the real run).
    """
    finder = _StartFinder()
    first = events["address"] >> PAGE_SHIFT
    new_first = events["new_address"] >> PAGE_SHIFT
    columns = (
        events["kind"],
        first,
        first + (events["length"] >> PAGE_SHIFT),
        new_first,
        new_first + (events["new_length"] >> PAGE_SHIFT),
        events["protection"],
    )
    for kind, low, high, new_low, new_high, protection in zip(*(column.tolist() for column in columns), strict=True):
        if kind <= EventKind.MODIFY:
            finder.access(low, kind != EventKind.READ)
        else:
            finder.call(kind, low, high, new_low, new_high, protection)
    return _ranges(finder.initial), finder.refused


def _ranges(pages: dict[int, int]) -> Array:
    """Neighbouring pages of one protection become one mapping."""
    numbers = np.array(sorted(pages), dtype=np.uint64)
    protections = np.array([pages[int(page)] for page in numbers], dtype=np.uint8)
    breaks: NDArray[np.bool_] = (np.diff(numbers) != 1) | (np.diff(protections) != 0)
    starts = np.flatnonzero(np.concatenate(([True], breaks))) if len(numbers) else np.zeros(0, dtype=np.int64)
    counts = np.diff(np.append(starts, len(numbers)))
    mappings = np.zeros(len(starts), dtype=MAPPING_DTYPE)
    mappings["address"] = numbers[starts] << np.uint64(PAGE_SHIFT)
    mappings["length"] = counts * PAGE_BYTES
    mappings["protection"] = protections[starts]
    return mappings
