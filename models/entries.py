# SPDX-License-Identifier: Apache-2.0
"""Entries of a pfns array: pages into words as HMM writes them, and words into what the device makes of them.

Source: docs/interface.md, "Decoding an entry"; hmm_vma_handle_pte() and hmm_vma_handle_pmd() of Linux for what HMM
writes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.arrays import PAGE_SHIFT, Bytes, Flags, Words, WordsLike, as_words
from models.errors import UserError
from models.formats import KIND_REASONS, EntryFormat
from models.geometry import DEFAULT_PA_BITS
from models.pages import NO_WINDOW, PageKind, Pages, Window
from models.structures import Reason

__all__ = ["NO_WINDOW", "Decoded", "PageKind", "Pages", "Window", "decode", "encode", "error_word", "none_word"]

LARGEST_ORDER = 255
"""Where a decoded order stops: a directory entry can vouch for 31 at most."""


@dataclass(frozen=True)
class Decoded:
    """n entries as the device understands them, one array for each property.

    kind uint8[n] of PageKind. reason uint8[n] of Reason: what stands before any look at the access, so NONE, MALFORMED,
    NOT_PRESENT, POISON, SPECIAL or NOT_VALID. pfn uint64[n] and order uint8[n] as the entry says, 0 unless kind is
    VALID or NOT_VALID; order stops at 255. write, atomic bool[n]: permissions, false unless VALID. device_private
    bool[n]: a VALID entry has the flag. device bool[n]: the pfn of a VALID entry lies in the window. page_address
    uint64[n]: bus or device address of the slot's first byte, 0 where reason is not NONE.
    """

    kind: Bytes
    reason: Bytes
    pfn: Words
    write: Flags
    atomic: Flags
    device_private: Flags
    device: Flags
    order: Bytes
    page_address: Words


def none_word(fmt: EntryFormat) -> int:
    """The entry that says NONE. Errors: UserError if the format has none."""
    return _mark_word(fmt, "NONE", fmt.none_is_value, fmt.none_value, fmt.none)


def error_word(fmt: EntryFormat) -> int:
    """The entry that says ERROR. Errors: UserError if the format has none."""
    return _mark_word(fmt, "ERROR", fmt.error_is_value, fmt.error_value, fmt.error)


def encode(fmt: EntryFormat, pages: Pages) -> Words:
    """The words uint64[n] that HMM writes for n pages.

    A property that the format has no bits for (a zero mask, no order field) is left out, as HMM does. A NOT_VALID page
    is its pfn and order without any flag.
    Errors: UserError for a NONE, ERROR or SPECIAL page that the format has no word for, and for a pfn or an order that
    does not fit into its field.
    """
    words = np.zeros(len(pages), dtype=np.uint64)
    mapped = pages.kind == PageKind.VALID
    carries = mapped | (pages.kind == PageKind.NOT_VALID)
    if bool((pages.pfn[carries] > np.uint64(_low_mask(fmt.pfn_width))).any()):
        raise UserError(f"Give pfns of at most {fmt.pfn_width} bits: format {fmt.name} has no more.")
    words[carries] = pages.pfn[carries] << np.uint64(fmt.pfn_shift)
    if fmt.order_width:
        if bool((pages.order[carries].astype(np.uint64) > np.uint64(_low_mask(fmt.order_width))).any()):
            raise UserError(f"Give orders of at most {fmt.order_width} bits: format {fmt.name} has no more.")
        words[carries] |= pages.order[carries].astype(np.uint64) << np.uint64(fmt.order_shift)
    words[mapped] |= np.uint64(fmt.valid)
    words[mapped & pages.write] |= np.uint64(fmt.write)
    words[mapped & pages.device_private] |= np.uint64(fmt.device_private)
    words[mapped & pages.atomic] |= np.uint64(fmt.atomic)
    marks = (
        (PageKind.NONE, fmt.none_is_value, fmt.none_value, fmt.none),
        (PageKind.ERROR, fmt.error_is_value, fmt.error_value, fmt.error),
        (PageKind.SPECIAL, fmt.special_is_value, fmt.special_value, fmt.special),
    )
    for kind, is_value, value, mask in marks:
        chosen = pages.kind == kind
        if bool(chosen.any()):
            words[chosen] = np.uint64(_mark_word(fmt, kind.name, is_value, value, mask))
    return words


def decode(
    fmt: EntryFormat,
    words: WordsLike,
    window: Window = NO_WINDOW,
    pa_bits: int = DEFAULT_PA_BITS,
    slot_order: npt.ArrayLike = 0,
) -> Decoded:
    """What the device makes of entries uint64[n] of a consistent format.

    `slot_order` (one number or uint64[n]) is log2 of the pages that the entry's slot maps; a VALID pfn that is not
    aligned to it, or a slot across an edge of the window, is MALFORMED. `pa_bits`: width of a bus address.
    """
    entries = as_words(words)
    none = _mark_matches(entries, fmt.none_is_value, fmt.none_value, fmt.none)
    error = _mark_matches(entries, fmt.error_is_value, fmt.error_value, fmt.error)
    special = _mark_matches(entries, fmt.special_is_value, fmt.special_value, fmt.special)
    valid = _flag_matches(entries, fmt.valid)
    kind = np.where(valid, np.uint8(PageKind.VALID), np.uint8(PageKind.NOT_VALID))
    # Backwards, so that the first of the order of decoding is written last.
    kind[special] = PageKind.SPECIAL
    kind[error] = PageKind.ERROR
    kind[none] = PageKind.NONE
    mapped = kind == PageKind.VALID
    carries = mapped | (kind == PageKind.NOT_VALID)

    pfn = np.where(carries, (entries >> np.uint64(fmt.pfn_shift)) & np.uint64(_low_mask(fmt.pfn_width)), np.uint64(0))
    orders = (entries >> np.uint64(fmt.order_shift)) & np.uint64(_low_mask(fmt.order_width))
    order = np.where(carries, np.minimum(orders, np.uint64(LARGEST_ORDER)), np.uint64(0)).astype(np.uint8)
    write = mapped & _flag_matches(entries, fmt.write)
    atomic = write.copy() if fmt.atomic == 0 else write & _flag_matches(entries, fmt.atomic)
    device_private = mapped & _flag_matches(entries, fmt.device_private)
    slot_mask = (np.uint64(1) << np.asarray(slot_order, dtype=np.uint64)) - np.uint64(1)
    slot_last = pfn | slot_mask
    device = mapped & window.holds(pfn)
    malformed = (pfn & slot_mask) != 0
    malformed |= window.crossed_by(pfn, slot_last)
    malformed |= ~device & ((pfn >> np.uint64(pa_bits - PAGE_SHIFT)) != 0)
    if fmt.device_private:
        malformed |= device & ~device_private
    page = np.where(device, pfn - np.uint64(window.base), pfn)
    reason = np.array([KIND_REASONS[each] for each in PageKind], dtype=np.uint8)[kind]
    reason[device_private & ~device] = Reason.NOT_VALID
    reason[mapped & malformed] = Reason.MALFORMED
    address = np.where(reason == Reason.NONE, page << np.uint64(PAGE_SHIFT), np.uint64(0))
    return Decoded(kind, reason, pfn, write, atomic, device_private, device, order, address)


def _low_mask(width: int) -> int:
    return (1 << min(width, 64)) - 1


def _flag_matches(entries: Words, mask: int) -> Flags:
    if mask == 0:
        return np.zeros(entries.shape, dtype=np.bool_)
    matches: Flags = (entries & np.uint64(mask)) == np.uint64(mask)
    return matches


def _mark_matches(entries: Words, is_value: bool, value: int, mask: int) -> Flags:
    if is_value:
        equal: Flags = entries == np.uint64(value)
        return equal
    return _flag_matches(entries, mask)


def _mark_word(fmt: EntryFormat, kind: str, is_value: bool, value: int, mask: int) -> int:
    if not is_value and mask == 0:
        raise UserError(f"Choose another format or page: format {fmt.name} has no word for {kind}.")
    return value if is_value else mask
