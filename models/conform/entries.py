# SPDX-License-Identifier: Apache-2.0
"""Recorded page-table entries of x86-64 as the model's kinds, flags and pfns, and the other way round for comparison.

Source: models/data/kernel/README.md, "Form"; arch/x86/include/asm/pgtable_types.h and pgtable_64.h of Linux 6.1 and
6.12.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import Bytes, Flags, Words
from models.conform.records import RecordedEntries
from models.hmm.frames import HUGE_PAGES
from models.hmm.kernel_rules import Release
from models.hmm.page_table import EntryFlags

PRESENT = np.uint64(1 << 0)
WRITE = np.uint64(1 << 1)
GLOBAL = np.uint64(1 << 8)
"""Of an entry that is not present: it is hidden from the CPU (PROT_NONE, NUMA hinting)."""
SPECIAL = np.uint64(1 << 9)
UFFD_WP = np.uint64(1 << 10)
SOFT_DIRTY = np.uint64(1 << 11)
SWAP_SOFT_DIRTY = np.uint64(1 << 1)
SWAP_UFFD_WP = np.uint64(1 << 2)
SWAP_EXCLUSIVE = np.uint64(1 << 3)
DEVMAP_BIT = 58
DEVMAP_BIT_SINCE_6_6 = 57
"""The bit above it tells written pages since then (_PAGE_SAVED_DIRTY)."""
PFN_MASK = np.uint64(((1 << 40) - 1) << 12)
SWAP_TYPE_BITS = 5
SWAP_OFFSET_SHIFT = 14
SWAP_TYPE_SHIFT = 59
PHYSICAL_PFN_BITS = 34
"""Bits of a pfn; a migration entry has more bits above them in its offset."""
PAGE_SHIFT = np.uint64(12)


@dataclass(frozen=True)
class PlainEntries:
    """What the words of n entries say by themselves: uint8 flags, uint64 pfns of the pages, bool[n] `mapped`, `empty`.

    `pfn` of an entry for many pages is that of its first one; of one that is not present, what its offset says.
    """

    mapped: Flags
    empty: Flags
    flags: Bytes
    pfn: Words


def plain_entries(recorded: RecordedEntries, release: Release) -> PlainEntries:
    """The words' own meaning, without any note."""
    words = recorded.words
    present = (words & PRESENT) != 0
    hidden = ~present & ((words & GLOBAL) != 0)
    mapped = present | hidden
    empty = words == 0
    flags = np.zeros(words.size, dtype=np.uint8)
    devmap = np.uint64(1 << (DEVMAP_BIT if release < (6, 6) else DEVMAP_BIT_SINCE_6_6))
    for bit, flag in (
        (WRITE, EntryFlags.WRITABLE),
        (SPECIAL, EntryFlags.SPECIAL),
        (UFFD_WP, EntryFlags.UFFD_WP),
        (devmap, EntryFlags.DEVMAP),
    ):
        flags[mapped & ((words & bit) != 0)] |= np.uint8(flag)
    flags[hidden] |= np.uint8(EntryFlags.PROTNONE)
    away = ~mapped & ~empty
    flags[away & ((words & SWAP_UFFD_WP) != 0)] |= np.uint8(EntryFlags.UFFD_WP)
    flags[away & ((words & SWAP_EXCLUSIVE) != 0)] |= np.uint8(EntryFlags.ALONE)
    # The pfn of a hidden entry is inverted, so that no processor may use it by mistake.
    shown = np.where(hidden, ~words, words)
    pfn = (shown & PFN_MASK) >> PAGE_SHIFT
    large = recorded.levels > 1
    pfn = np.where(large, pfn & ~np.uint64(HUGE_PAGES - 1), pfn)
    offset = (~words << np.uint64(SWAP_TYPE_BITS)) >> np.uint64(SWAP_OFFSET_SHIFT)
    return PlainEntries(mapped, empty, flags, np.where(mapped, pfn, np.where(empty, np.uint64(0), offset)))


def tracked(recorded: RecordedEntries, plain: PlainEntries) -> Flags:
    """bool[n]: entries whose next write has to be seen, if the mapping's writes are tracked at all."""
    bit = np.where(plain.mapped, SOFT_DIRTY, SWAP_SOFT_DIRTY)
    no: Flags = ((recorded.words & bit) == 0) & ~plain.empty
    return no


def raw_pfn(word: int) -> int:
    """What stands in the pfn's place of an entry that is not present (pte_pfn())."""
    shown = word if word & 1 or not word else ~word
    return (shown & int(PFN_MASK)) >> int(PAGE_SHIFT)
