# SPDX-License-Identifier: Apache-2.0
"""What the tests of the golden MMU share: one context with one page, and raw directory entries."""

from __future__ import annotations

from collections.abc import Callable

from models.device_tables import DeviceTables
from models.entries import encode
from models.formats import EntryFormat, format_by_name
from models.golden_mmu import GoldenMmu, Outcomes
from models.pages import NO_WINDOW, PageKind, Pages, Window
from models.physical_memory import PhysicalMemory
from models.structures import Access, Reason

FLAGS = format_by_name("hmm_2018_flags")
BASE = 0x8000_0000_0000
SIZE = 1 << 20
VA = 0x7F12_4000_0000


class Bench:
    """One context with one page at VA, and a golden MMU over it."""

    def __init__(self, fmt: EntryFormat = FLAGS, window: Window = NO_WINDOW, va_bits: int = 48) -> None:
        self.fmt = fmt
        self.memory = PhysicalMemory(SIZE, BASE)
        self.tables = DeviceTables(self.memory, va_bits=va_bits, context_count=8)
        self.tables.bind(3)
        self.golden = GoldenMmu(self.memory, fmt, window, self.tables.context_base, 8, va_bits)

    def page(self, va: int = VA, **page: int) -> None:
        words = encode(self.fmt, Pages.of(page.pop("kind", PageKind.VALID), page.pop("pfn", 0x1234), **page))
        self.tables.link_array(3, va, words=words)

    def ask(self, va: int = VA, access: Access = Access.READ, pasid: int = 3) -> Outcomes:
        return self.golden.translate(pasid, va, access)

    def reason(self, va: int = VA, access: Access = Access.READ, pasid: int = 3) -> Reason:
        outcomes = self.ask(va, access, pasid)
        assert int(outcomes.status[0]) == (outcomes.reason[0] != 0)
        if outcomes.status[0]:
            rest = (outcomes.pa, outcomes.order, outcomes.permissions, outcomes.memory)
            assert not any(array.any() for array in rest), "an ABORTED answer says nothing else"
        return Reason(int(outcomes.reason[0]))

    def change(self, address: int, change: Callable[[int], int]) -> None:
        self.memory.write_words(address, [change(int(self.memory.read_words(address, 1)[0]))])


def entry_word(kind: int, address: int, page_shift: int = 0, max_order: int = 0) -> int:
    """A directory entry from its fields, whatever they are."""
    return kind | address | page_shift << 52 | max_order << 58
