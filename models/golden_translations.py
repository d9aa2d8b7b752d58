# SPDX-License-Identifier: Apache-2.0
"""What the golden device remembers: every translation it ever gave, and every array it ever walked to.

It forgets nothing by itself, and always prefers the oldest. Source: docs/interface.md, "Invalidation and fence".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from models.arrays import PAGE_BYTES, PAGE_SHIFT, WORD_BYTES
from models.device_tables import ArrayLink, DeviceTables
from models.entries import decode
from models.formats import EntryFormat
from models.geometry import LEAF_LEVEL, span_bits
from models.golden_mmu import MEMORY_DEVICE, PERMISSION_ATOMIC, PERMISSION_WRITE, STATUS_OK, GoldenMmu
from models.pages import Window
from models.structures import Access, Reason

LEAF_SPAN = span_bits(LEAF_LEVEL)
IMMEDIATE_REASONS = (Reason.OUT_OF_RANGE, Reason.NO_CONTEXT, Reason.BUS_ERROR, Reason.MALFORMED)
"""Reasons that end a request at once; the others wait for the host."""

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Translation:
    """What a walk gave: page address in system or device memory, pfn, permissions, and when it was walked."""

    address: int
    device: bool
    pfn: int
    permissions: int
    walked_at: int

    def permits(self, access: Access) -> bool:
        """Whether it serves this access."""
        if access in (Access.READ, Access.PREFETCH):
            return True
        needed = PERMISSION_WRITE if access is Access.WRITE else PERMISSION_WRITE | PERMISSION_ATOMIC
        return self.permissions & needed == needed


@dataclass(eq=False)
class Walk:
    """A walk under way: an invalidation that covers its page drops it."""

    pasid: int
    page: int
    dropped: bool = False


@dataclass(frozen=True)
class _Meaning:
    """What an entry says apart from any access."""

    reason: Reason
    permissions: int
    address: int
    device: bool


class Translations:
    """Walks the tables of one device, and remembers."""

    def __init__(self, tables: DeviceTables, fmt: EntryFormat, window: Window) -> None:
        self._tables = tables
        self._fmt = fmt
        self._window = window
        self._mmu = GoldenMmu(tables.memory, fmt, window, tables.context_base, tables.context_count, tables.va_bits)
        self._cache: dict[tuple[int, int], list[Translation]] = {}
        self._links: dict[tuple[int, int], ArrayLink] = {}
        self._walks: list[Walk] = []
        self._meanings: dict[int, _Meaning] = {}

    def remembered(self, pasid: int, va: int, access: Access) -> Translation | None:
        """The oldest translation of the page that serves the access."""
        kept = self._cache.get((pasid, page_of(va)), ())
        return next((translation for translation in kept if translation.permits(access)), None)

    def remember(self, pasid: int, va: int, translation: Translation) -> None:
        """Keep a translation of the page of `va`."""
        self._cache.setdefault((pasid, page_of(va)), []).append(translation)

    def start_walk(self, pasid: int, va: int) -> Walk:
        """A walk begins; what it reads counts only if it is not dropped at its end."""
        walk = Walk(pasid, page_of(va))
        self._walks.append(walk)
        return walk

    def end_walk(self, walk: Walk) -> None:
        """A walk is over."""
        self._walks.remove(walk)

    def look(self, pasid: int, va: int, access: Access, walked_at: int) -> tuple[Reason, Translation | None]:
        """Read the tables at this moment, from an array that was found before on, if there is one."""
        key = pasid, va >> LEAF_SPAN
        link = self._links.get(key)
        if link is not None:
            return self._look_in(link, va, access, walked_at)
        outcome = self._mmu.translate([pasid], [va], [int(access)])
        reason = Reason(int(outcome.reason[0]))
        if reason not in IMMEDIATE_REASONS:
            link = self._tables.find_array(pasid, va)
            if link is not None:
                self._links[key] = link
        if outcome.status[0] != STATUS_OK:
            return reason, None
        device = bool(outcome.memory[0] == MEMORY_DEVICE)
        return reason, self._translation(int(outcome.pa[0]), device, int(outcome.permissions[0]), walked_at)

    def forget(self, pasid: int | None, first: int, last: int) -> None:
        """Drop what speaks for bytes `first` to `last` (inclusive) of one context, or of all (None)."""
        for key in self._covered(self._cache, pasid, first, last, 0):
            del self._cache[key]
        for key in self._covered(self._links, pasid, first, last, LEAF_SPAN):
            del self._links[key]
        for walk in self._walks:
            if (pasid is None or walk.pasid == pasid) and walk.page <= last and first < walk.page + PAGE_BYTES:
                walk.dropped = True

    def _look_in(self, link: ArrayLink, va: int, access: Access, walked_at: int) -> tuple[Reason, Translation | None]:
        slot = link.address + ((va - link.first_va) >> link.page_shift) * WORD_BYTES
        words, _ = self._tables.memory.shadow_read([slot])
        meaning = self._meaning(int(words[0]))
        reason = meaning.reason
        if reason is Reason.NONE and access in (Access.WRITE, Access.ATOMIC):
            if not meaning.permissions & PERMISSION_WRITE:
                reason = Reason.WRITE_PROTECT
            elif access is Access.ATOMIC and not meaning.permissions & PERMISSION_ATOMIC:
                reason = Reason.ATOMIC_DENIED
        if reason is not Reason.NONE:
            return reason, None
        return reason, self._translation(meaning.address, meaning.device, meaning.permissions, walked_at)

    def _meaning(self, word: int) -> _Meaning:
        """What an entry says; equal words are decoded once."""
        meaning = self._meanings.get(word)
        if meaning is None:
            decoded = decode(self._fmt, [word], self._window)
            permissions = int(decoded.write[0]) * PERMISSION_WRITE | int(decoded.atomic[0]) * PERMISSION_ATOMIC
            meaning = _Meaning(
                Reason(int(decoded.reason[0])), permissions, int(decoded.page_address[0]), bool(decoded.device[0])
            )
            self._meanings[word] = meaning
        return meaning

    def _translation(self, address: int, device: bool, permissions: int, walked_at: int) -> Translation:
        page = page_of(address)
        pfn = (page >> PAGE_SHIFT) + (self._window.base if device else 0)
        return Translation(page, device, pfn, permissions, walked_at)

    def _covered(
        self, kept: Iterable[tuple[int, int]], pasid: int | None, first: int, last: int, shift: int
    ) -> list[tuple[int, int]]:
        """The keys (PASID, place) that overlap the bytes; a place is an address (shift 0) or a number of spans."""
        size = 1 << shift if shift else PAGE_BYTES
        return [
            key
            for key in kept
            if (pasid is None or key[0] == pasid) and key[1] << shift <= last and first < (key[1] << shift) + size
        ]


def page_of(va: int) -> int:
    """Address of the 4 KiB page of `va`."""
    return va // PAGE_BYTES * PAGE_BYTES
