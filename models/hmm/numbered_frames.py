# SPDX-License-Identifier: Apache-2.0
"""Pages without bytes: numbers with reference counts, for address spaces whose contents nobody looks at.

They may have any pfn, so that a model can be made of what a real machine was, and a page that was given back is never
handed out again: two pages of one run always differ. Source: docs/conformance.md, "Pages".
"""

from __future__ import annotations

import numpy as np

from models.arrays import Words
from models.hmm.errors import HmmError
from models.hmm.frames import PAGE_WORDS, DevicePagemap, FramePool, Frames
from models.pages import Window

MOST_NEW_PAGES = 1 << 22
"""So many pages can be handed out: 16 GiB."""


class NumberPool(FramePool):
    """Pages `first_pfn` to `first_pfn + known - 1`, which exist, and as many new ones behind them as are asked for."""

    def __init__(self, first_pfn: int, known: int, new: int = MOST_NEW_PAGES) -> None:
        self.first_pfn = first_pfn
        self.first_new = first_pfn + known
        self.count = known + new
        self._next = self.first_new
        self._references = np.zeros(self.count, dtype=np.int32)
        self._poisoned = np.zeros(self.count, dtype=np.bool_)

    def allocate(self) -> int:
        """A new page with one reference; one that nobody has, if all were there. Errors: HmmError ENOMEM."""
        if self._next < self.first_pfn + self.count:
            return self.allocate_order(0)
        free = np.flatnonzero((self._references == 0) & ~self._poisoned)
        if not free.size:
            raise HmmError("ENOMEM", "no page is left")
        self._references[free[0]] = 1
        return self.first_pfn + int(free[0])

    def allocate_huge(self) -> int:
        """The first pfn of 512 consecutive aligned new pages with one reference each. Errors: as allocate()."""
        return self.allocate_order(9)

    def allocate_order(self, order: int) -> int:
        """The first pfn of 2^order consecutive aligned new pages with one reference each. Errors: as allocate()."""
        first = -(-self._next >> order) << order
        if first + (1 << order) > self.first_pfn + self.count:
            raise HmmError("ENOMEM", "no page numbers are left")
        self._next = first + (1 << order)
        self._references[first - self.first_pfn : self._next - self.first_pfn] = 1
        return first

    def exists(self, pfns: Words, references: int) -> None:
        """The pages uint64[n] exist and have so many references each."""
        self._references[self._indices(pfns)] = references

    def drop(self, pfns: Words) -> None:
        """One reference less to each of the pages uint64[n]. Errors: RuntimeError if a page has none left to drop."""
        indices = self._indices(pfns)
        np.add.at(self._references, indices, -1)
        if bool((self._references[indices] < 0).any()):
            raise RuntimeError("a page was given back more often than it was taken")

    def poison(self, pfn: int) -> None:
        """Never hand this page out again."""
        self._poisoned[pfn - self.first_pfn] = True

    def words(self, pfn: int) -> Words:
        """Nothing but zeros: the pages have no bytes."""
        return np.zeros(PAGE_WORDS, dtype=np.uint64)

    def store(self, pfn: int, content: Words) -> None:
        """Forget the content."""


class NumberedPagemap(DevicePagemap):
    """The own memory of a device, without bytes."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.pool = NumberPool(window.base, window.count, 0)
        self.migrate_to_ram = None


class NumberedFrames(Frames):
    """All pages of a machine, without bytes. `known`: system pages below that number exist.

    `batched`: pages that an LRU batch may hold; `far`: pages of another node than the processors'.
    """

    def __init__(self, known: int, zero_pfn: int, new: int = MOST_NEW_PAGES) -> None:
        self.system: NumberPool = NumberPool(0, known, new)
        self.pagemaps = []
        self.spaces = []
        self.migrations = {}
        self.huge_pools = {}
        self._note_nothing()
        self.zero_pfn = zero_pfn
        self.batched: set[int] = set()
        self.far: set[int] = set()
        self._huge_zero_pfn = None
        self._spaces_made = 0

    def use_huge_zero(self, pfn: int) -> None:
        """The huge page of zeros is this one."""
        self._huge_zero_pfn = pfn

    def may_be_batched(self, pfn: int) -> bool:
        """Whether a processor's LRU batch may hold the page besides its references."""
        return pfn in self.batched

    def is_far(self, pfn: int) -> bool:
        """Whether the page lies in the memory of another node than the processors'."""
        return pfn in self.far

    def note_far(self, pfns: range) -> None:
        """These pages lie in the memory of another node than the processors'."""
        self.far.update(pfns)
