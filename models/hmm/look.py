# SPDX-License-Identifier: Apache-2.0
"""What HMM sees in a part of the page table at one moment, as arrays (hmm_vma_handle_pte(), hmm_vma_handle_pmd())."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import PAGE_BYTES, Bytes, Flags, Words
from models.hmm.dialect import Dialect
from models.hmm.page_table import EntryFlags, EntryKind, LargeEntry, Span
from models.hmm.range import EntryWords
from models.pages import Window

HUGE_ORDER = 9


@dataclass(frozen=True)
class Seen:
    """What n pages are: the words that tell it, and bool[n] for each property.

    valid, writable: the CPU may use it so. device_private: memory of a device that is valid. migrating: a request
    waits. refused: nothing can come of a request. bare: no page stands behind the entry, so a request that needs no
    fault fails.
    """

    words: Words
    valid: Flags
    writable: Flags
    device_private: Flags
    migrating: Flags
    refused: Flags
    bare: Flags


@dataclass(frozen=True)
class Viewer:
    """Who looks: its words, its dialect, the page of zeros, and the memory of its own device (None: it has none).

    `foreign_faults`: a request brings pages of other devices back; else nothing can come of it.
    """

    words: EntryWords
    dialect: Dialect
    zero_pfn: int
    own: Window | None = None
    foreign_faults: bool = True

    def look(self, span: Span) -> Seen:
        """The span's part of the page table."""
        if span.table is None:
            return self.nothing((span.end - span.start) // PAGE_BYTES)
        table, dialect = span.table, self.dialect
        kind, flags, pfn = table.kind[span.part], table.flags[span.part], table.pfn[span.part]
        present = kind == EntryKind.PRESENT
        usable = present & ((flags & np.uint8(EntryFlags.PROTNONE)) == 0)
        device_private = self._own(kind == EntryKind.DEVICE_PRIVATE, pfn)
        valid = usable | device_private
        writable = valid & ((flags & np.uint8(EntryFlags.WRITABLE)) != 0)
        refused = (kind == EntryKind.HWPOISON) | (kind == EntryKind.UNKNOWN)
        if not self.foreign_faults:
            refused |= (kind == EntryKind.DEVICE_PRIVATE) & ~device_private
        bare = self._bare(present, flags, pfn, table.huge)
        words = np.full(kind.size, self.words.none, dtype=np.uint64)
        mapped = self._mapped(pfn, valid, writable, device_private)
        if table.huge:
            mapped |= np.where(usable, np.uint64(self.words.order(HUGE_ORDER)), np.uint64(0))
        words = np.where(valid | (present & dialect.orders), mapped, words)
        error = bare.copy()
        if dialect.lost_error:
            error |= kind == EntryKind.HWPOISON
        if table.huge:
            # There is no swap entry of that size: the entry itself is bad.
            error |= refused
        words = np.where(error, np.uint64(self.words.error), words)
        return Seen(words, valid, writable, device_private, kind == EntryKind.MIGRATION, refused, bare)

    def look_large(self, entry: LargeEntry | None, order: int, first: int, count: int) -> Seen:
        """`count` pages of a huge page of 2^order pages from its page number `first`."""
        present = entry is not None and entry.kind is EntryKind.PRESENT
        usable = present and entry is not None and EntryFlags.PROTNONE not in entry.flags
        writable = usable and entry is not None and EntryFlags.WRITABLE in entry.flags
        base = 0 if entry is None else entry.pfn if present else entry.raw_pfn
        pfn = np.arange(base + first, base + first + count, dtype=np.uint64)
        no = np.zeros(count, dtype=np.bool_)
        words = self._mapped(pfn, no | usable, no | writable, no) | np.uint64(self.words.order(order))
        return Seen(words, no | usable, no | writable, no, no, no, no)

    def nothing(self, count: int) -> Seen:
        """`count` pages of which there is nothing."""
        no = np.zeros(count, dtype=np.bool_)
        return Seen(np.full(count, self.words.none, dtype=np.uint64), no, no, no, no, no, no)

    def _own(self, device_private: Flags, pfn: Words) -> Flags:
        """Which pages in the memory of devices are valid for whoever looks."""
        if not self.dialect.by_owner:
            return device_private
        if self.own is None:
            return np.zeros(pfn.size, dtype=np.bool_)
        own: Flags = device_private & (pfn >= np.uint64(self.own.base))
        own &= pfn < np.uint64(self.own.base + self.own.count)
        return own

    def _bare(self, present: Flags, flags: Bytes, pfn: Words, huge: bool) -> Flags:
        """Which entries have no page behind them that HMM would show (vm_normal_page(), is_zero_pfn())."""
        if not self.dialect.bare_pfn_error or huge:
            return np.zeros(pfn.size, dtype=np.bool_)
        special = (flags & np.uint8(EntryFlags.SPECIAL)) != 0
        bare: Flags = present & special & ((flags & np.uint8(EntryFlags.DEVMAP)) == 0)
        bare &= pfn != np.uint64(self.zero_pfn)
        return bare

    def _mapped(self, pfn: Words, valid: Flags, writable: Flags, device_private: Flags) -> Words:
        words = self.words
        mapped: Words = pfn << np.uint64(words.pfn_shift)
        mapped |= np.where(valid, np.uint64(words.valid), np.uint64(0))
        mapped |= np.where(writable, np.uint64(words.write), np.uint64(0))
        mapped |= np.where(device_private, np.uint64(words.device_private), np.uint64(0))
        return mapped
