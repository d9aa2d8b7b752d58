# SPDX-License-Identifier: Apache-2.0
"""How large an order a driver may vouch for in the directory entry of a pfns array.

Source: docs/interface.md, "Order".
"""

from __future__ import annotations

import numpy as np

from models.arrays import PAGE_SHIFT, WordsLike, as_words
from models.entries import decode
from models.errors import UserError
from models.formats import WORD_MASK, EntryFormat
from models.pages import PageKind

LARGEST_MAX_ORDER = 31
"""What the field of a directory entry holds."""


def largest_honest_max_order(fmt: EntryFormat, words: WordsLike, *, page_shift: int = PAGE_SHIFT) -> int:
    """The largest `max_order` that is honest for an array of uint64[n] entries, n a power of two.

    A promise m is honest if for each VALID entry of order o the whole aligned block of min(o, m) lies in the array and
    has equal bits outside the pfn and consecutive pfns. A promise above the largest order of the entries would say
    nothing more, so that is the limit; without orders the result is 0.
    Errors: UserError if n is not a power of two.
    """
    entries = as_words(words)
    count = entries.size
    if count == 0 or count & (count - 1):
        raise UserError(f"Give a whole array: {count} entries are not a power of two.")
    decoded = decode(fmt, entries)
    valid = decoded.kind == PageKind.VALID
    reach = np.where(valid, decoded.order, np.uint8(0))
    slot_order = page_shift - PAGE_SHIFT
    limit = min(int(reach.max()), slot_order + count.bit_length() - 1, LARGEST_MAX_ORDER)

    flags = entries & np.uint64(WORD_MASK ^ fmt.pfn_mask)
    # What is not VALID has pfn 0 here, or lacks the VALID flag: it never follows on a VALID entry.
    joined = (flags[1:] == flags[:-1]) & valid[:-1]
    joined &= decoded.pfn[1:] - decoded.pfn[:-1] == np.uint64(1 << slot_order)
    whole = np.ones(count, dtype=np.bool_)
    for order in range(slot_order + 1, limit + 1):
        half = 1 << (order - slot_order - 1)
        whole = whole[0::2] & whole[1::2] & joined[half - 1 :: 2 * half]
        reach = np.maximum(reach[0::2], reach[1::2])
        if bool((~whole & (reach >= order)).any()):
            return order - 1
    return limit
