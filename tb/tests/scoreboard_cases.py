# SPDX-License-Identifier: Apache-2.0
"""Small cases for the tests of the scoreboard, built by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import PAGE_BYTES, Words
from models.entries import encode, none_word
from models.formats import format_by_name
from models.pages import Pages
from models.registers import Register
from models.structures import Access
from tb.case import MemorySettings
from tb.host_script import make_requests
from tb.scenarios.builder import CaseBuilder

PASID = 2
OTHER = 3
BASE_VA = 0x7F00_0000_0000
FIRST_PFN = 0x1000
OTHER_PFN = 0x9000
FORMAT = format_by_name("linux_5_8")
NONE = none_word(FORMAT)
REQUEST_CYCLES = 12
"""More than one request takes on the fake device."""


def words(first: int = FIRST_PFN, count: int = 16, *, write: bool = True, order: int = 0) -> Words:
    """VALID entries with consecutive pfns."""
    return encode(FORMAT, Pages.of(pfn=first + np.arange(count), write=write, order=order))


@dataclass
class Small:
    """Two contexts with an array of 16 pages each, a ring, and room to say what happens."""

    builder: CaseBuilder

    @classmethod
    def new(cls, *, write: bool = True, order: int = 0, name: str = "small") -> Small:
        """Both arrays linked; orders are vouched for."""
        builder = CaseBuilder(name, 7, FORMAT, context_count=8, ring_log2=3, settings=MemorySettings(size=1 << 22))
        for pasid, first in ((PASID, FIRST_PFN), (OTHER, OTHER_PFN)):
            builder.tables.bind(pasid)
            builder.tables.link_range(pasid, BASE_VA, words(first, write=write, order=order), FORMAT)
        return cls(builder)

    def slot(self, page: int, pasid: int = PASID) -> int:
        """Bus address of a page's slot."""
        return self.builder.tables.entry_address(pasid, BASE_VA + page * PAGE_BYTES)

    def ask(
        self, page: int, access: Access = Access.READ, *, pasid: int = PASID, hold: int = 0, after: int = 0,
        pause: int = 0,
    ) -> None:  # fmt: skip
        """One request for a byte in a page."""
        self.builder.ask(
            make_requests(
                BASE_VA + page * PAGE_BYTES + 0x123, pasid, access, hold=hold, after_action=after, pause=pause
            )
        )

    def fence(self, number: int) -> int:
        """A fence and the wait for it."""
        self.builder.script.fence()
        return self.builder.script.wait_register(Register.FENCE_SEQUENCE, number, mask=(1 << 64) - 1)
