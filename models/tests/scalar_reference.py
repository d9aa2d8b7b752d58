# SPDX-License-Identifier: Apache-2.0
"""A second reading of docs/interface.md, one request at a time in plain numbers, to hold the array models against.

It shares no code with them but the format data and the enumerations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.formats import EntryFormat
from models.pages import Window
from models.structures import Access, Reason

PA_LIMIT = 1 << 48


@dataclass(frozen=True)
class Answer:
    """What one request is answered."""

    reason: Reason
    pa: int = 0
    order: int = 0
    write: bool = False
    atomic: bool = False
    device: bool = False


ReadWord = Callable[[int], int | None]
"""The word at a bus address, None where the bus answers an error."""


def has(entry: int, mask: int) -> bool:
    return mask != 0 and entry & mask == mask


def judge_entry(
    fmt: EntryFormat, entry: int, window: Window, slot_pages: int, access: Access
) -> tuple[Reason, int, bool, bool, bool]:
    """(reason, pfn, write, atomic, device) of one entry for one access."""
    refused = (0, False, False, False)
    if (entry == fmt.none_value) if fmt.none_is_value else has(entry, fmt.none):
        return Reason.NOT_PRESENT, *refused
    if (entry == fmt.error_value) if fmt.error_is_value else has(entry, fmt.error):
        return Reason.POISON, *refused
    if (entry == fmt.special_value) if fmt.special_is_value else has(entry, fmt.special):
        return Reason.SPECIAL, *refused
    if not has(entry, fmt.valid):
        return Reason.NOT_VALID, *refused
    pfn = (entry >> fmt.pfn_shift) % (1 << fmt.pfn_width)
    if pfn % slot_pages:
        return Reason.MALFORMED, *refused
    # A slot is too large to count its pages: compare its ends with the window's.
    start, end = max(pfn, window.base), min(pfn + slot_pages, window.base + window.count)
    pages_inside = max(0, end - start)
    if 0 < pages_inside < slot_pages:
        return Reason.MALFORMED, *refused
    device = pages_inside == slot_pages
    marked = has(entry, fmt.device_private)
    if device and fmt.device_private and not marked:
        return Reason.MALFORMED, *refused
    if not device and pfn << 12 >= PA_LIMIT:
        return Reason.MALFORMED, *refused
    if marked and not device:
        return Reason.NOT_VALID, *refused
    write = has(entry, fmt.write)
    atomic = write and (fmt.atomic == 0 or has(entry, fmt.atomic))
    if access in (Access.WRITE, Access.ATOMIC) and not write:
        return Reason.WRITE_PROTECT, *refused
    if access is Access.ATOMIC and not atomic:
        return Reason.ATOMIC_DENIED, *refused
    return Reason.NONE, pfn, write, atomic, device


def effective_order(
    fmt: EntryFormat, entry: int, pfn: int, vpn: int, slot_order: int, max_order: int, span_order: int, window: Window
) -> int:
    """log2 of the pages that the translation covers."""
    entry_order = (entry >> fmt.order_shift) % (1 << fmt.order_width)
    order = min(max(slot_order, min(entry_order, max_order)), span_order)
    pages = 1 << order
    block, slot_pages = pfn // pages * pages, 1 << slot_order
    if pfn % pages // slot_pages != vpn % pages // slot_pages:
        return slot_order
    inside = max(0, min(block + pages, window.base + window.count) - max(block, window.base))
    return slot_order if 0 < inside < pages else order


def walk(
    read: ReadWord,
    fmt: EntryFormat,
    window: Window,
    context_base: int,
    context_count: int,
    va_bits: int,
    pasid: int,
    va: int,
    access: Access,
) -> Answer:
    """The answer to one request."""
    if va >= 1 << va_bits:
        return Answer(Reason.OUT_OF_RANGE)
    if pasid >= context_count:
        return Answer(Reason.NO_CONTEXT)
    context = context_base + 16 * pasid
    if context >= PA_LIMIT:
        return Answer(Reason.MALFORMED)
    word0, word1 = read(context), read(context + 8)
    if word0 is None or word1 is None:
        return Answer(Reason.BUS_ERROR)
    if not word0 & 1:
        return Answer(Reason.NO_CONTEXT)
    table = word0 - 1
    if table % 4096 or table >= PA_LIMIT or word1:
        return Answer(Reason.MALFORMED)
    for level in range((va_bits - 12) // 9 - 1, 0, -1):
        span = 4096 * 512**level
        entry = read(table + va // span % 512 * 8)
        if entry is None:
            return Answer(Reason.BUS_ERROR)
        kind = entry % 4
        if kind == 0:
            return Answer(Reason.NOT_PRESENT)
        address = entry % (1 << 52) // 64 * 64
        page_shift, max_order = entry >> 52 & 63, entry >> 58 & 31
        if kind == 3 or entry & 0x3C or entry >> 63 or address >= PA_LIMIT:
            return Answer(Reason.MALFORMED)
        if kind == 1:
            if level == 1 or address % 4096 or page_shift or max_order:
                return Answer(Reason.MALFORMED)
            table = address
            continue
        if page_shift < 12 or 1 << page_shift > span:
            return Answer(Reason.MALFORMED)
        slot = address + va % span // (1 << page_shift) * 8
        if slot >= PA_LIMIT:
            return Answer(Reason.MALFORMED)
        entry = read(slot)
        if entry is None:
            return Answer(Reason.BUS_ERROR)
        slot_order = page_shift - 12
        reason, pfn, write, atomic, device = judge_entry(fmt, entry, window, 1 << slot_order, access)
        if reason is not Reason.NONE:
            return Answer(reason)
        order = effective_order(fmt, entry, pfn, va >> 12, slot_order, max_order, 9 * level, window)
        pa = ((pfn - window.base if device else pfn) << 12) + va % (1 << page_shift)
        return Answer(reason, pa, order, write, atomic, device)
    raise AssertionError("a directory at level 1 ends every walk")
