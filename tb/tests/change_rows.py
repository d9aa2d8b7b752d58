# SPDX-License-Identifier: Apache-2.0
"""Every row of the table in docs/interface.md, "Which change needs which command", and changes that prove it."""

from __future__ import annotations

from dataclasses import replace

from models.pages import NO_WINDOW
from models.structures import Access, Opcode, Reason
from tb.tests.change_words import (
    ABSENT,
    ARRAY,
    ATOMIC,
    BLOCK_PFN,
    DEVICE_PRIVATE,
    ERROR,
    FIRST_PFN,
    FORMAT,
    LARGE_ARRAY,
    LARGE_PFN,
    NONE,
    OTHER_ARRAY,
    OTHER_DIRECTORY,
    OTHER_PFN,
    PAGES,
    SPECIAL,
    VALID,
    WINDOW,
    WRITE,
    Command,
    Look,
    Place,
    Root,
    Row,
    Setting,
    SettingVariant,
    Store,
    Table,
    Variant,
    aborted,
    entry,
    ok,
)

NOT_PRESENT = aborted(Reason.NOT_PRESENT)
NO_CONTEXT = aborted(Reason.NO_CONTEXT)
PAGE = (Command(Opcode.INVALIDATE),)
SPAN = (Command(Opcode.INVALIDATE, pages=PAGES),)
GIGABYTE = (Command(Opcode.INVALIDATE, pages=PAGES * PAGES),)
OLD = ok(FIRST_PFN)
NEW = ok(FIRST_PFN + 1)
OTHER = ok(OTHER_PFN)
LARGE = ok(LARGE_PFN, order=9)
FOREIGN = entry(0x300_0000, VALID | WRITE | DEVICE_PRIVATE)
NO_TRANSLATION = {
    "none": (NONE, Reason.NOT_PRESENT),
    "error": (ERROR, Reason.POISON),
    "special": (SPECIAL, Reason.SPECIAL),
    "not_valid": (entry(FIRST_PFN, WRITE), Reason.NOT_VALID),
    "foreign": (FOREIGN, Reason.NOT_VALID),
}
"""Entries that give no translation, and the reason that they give."""


def block(order: int, pages: int = 8) -> tuple[Store, ...]:
    """Entries of consecutive pages that all say this order."""
    return tuple(Store(page, entry(BLOCK_PFN + page, order=order)) for page in range(pages))


def one_entry(name: str, old: int, new: int, *looks: Look, needs: tuple[Command, ...] = ()) -> Variant:
    """The entry of page 0 changes."""
    return Variant(name, (Store(0, new),), looks, tables=(Store(0, old),), commands=needs)


def promise(max_order: int) -> Store:
    """The directory entry of the array with this promise."""
    return Store(Place.LEVEL_1, replace(ARRAY, max_order=max_order))


NOTHING_TO_ANYTHING = (
    *(
        one_entry(f"{name}_to_valid", word, entry(FIRST_PFN), Look(0, aborted(reason), OLD))
        for name, (word, reason) in NO_TRANSLATION.items()
    ),
    one_entry("none_to_error", NONE, ERROR, Look(0, NOT_PRESENT, aborted(Reason.POISON))),
)

MORE_PERMISSION = (
    one_entry(
        "write_granted",
        entry(FIRST_PFN, VALID),
        entry(FIRST_PFN),
        Look(0, ok(FIRST_PFN, VALID), ok(FIRST_PFN, VALID)),
        Look(0, None, OLD, access=Access.WRITE),
        Look(0, None, OLD),
    ),
    one_entry(
        "atomic_granted",
        entry(FIRST_PFN),
        entry(FIRST_PFN, VALID | WRITE | ATOMIC),
        Look(0, OLD, OLD, access=Access.WRITE),
        Look(0, None, ok(FIRST_PFN, VALID | WRITE | ATOMIC), access=Access.ATOMIC),
    ),
)

LESS_PERMISSION = (
    one_entry(
        "write_taken",
        entry(FIRST_PFN),
        entry(FIRST_PFN, VALID),
        Look(0, OLD, aborted(Reason.WRITE_PROTECT), OLD, access=Access.WRITE),
        needs=PAGE,
    ),
    one_entry(
        "atomic_taken",
        entry(FIRST_PFN, VALID | WRITE | ATOMIC),
        entry(FIRST_PFN),
        Look(
            0,
            ok(FIRST_PFN, VALID | WRITE | ATOMIC),
            aborted(Reason.ATOMIC_DENIED),
            ok(FIRST_PFN, VALID | WRITE | ATOMIC),
            access=Access.ATOMIC,
        ),
        needs=PAGE,
    ),
)

OTHER_PAGE = (
    one_entry("other_pfn", entry(FIRST_PFN), entry(FIRST_PFN + 1), Look(0, OLD, NEW, OLD), needs=PAGE),
    one_entry(
        "into_device_memory",
        entry(FIRST_PFN),
        entry(WINDOW.base + 5, VALID | WRITE | DEVICE_PRIVATE),
        Look(0, OLD, ok(5, memory=1), OLD),
        needs=PAGE,
    ),
    one_entry(
        "out_of_device_memory",
        entry(WINDOW.base + 5, VALID | WRITE | DEVICE_PRIVATE),
        entry(FIRST_PFN),
        Look(0, ok(5, memory=1), OLD, ok(5, memory=1)),
        needs=PAGE,
    ),
)

TO_NO_TRANSLATION = tuple(
    one_entry(f"valid_to_{name}", entry(FIRST_PFN), word, Look(0, OLD, aborted(reason), OLD), needs=PAGE)
    for name, (word, reason) in NO_TRANSLATION.items()
)

ORDER_UP_LOOKS = (
    Look(0, ok(BLOCK_PFN), ok(BLOCK_PFN)),
    Look(9, None, ok(BLOCK_PFN + 9, order=4)),
    Look(0, None, ok(BLOCK_PFN, order=4)),
)
"""A page of the next line brings the block, and with it the larger order of the page that was cached."""
ORDER_UP = (
    Variant("order_up", block(4, 16), ORDER_UP_LOOKS, tables=(*block(0, 16), promise(9))),
    # The promise is cached with the directory entry: what the device knows of it stays true, only smaller.
    Variant(
        "max_order_up",
        (promise(9),),
        (Look(0, ok(BLOCK_PFN), ok(BLOCK_PFN)), Look(9, None, ok(BLOCK_PFN + 9))),
        tables=(*block(4, 16), promise(0)),
    ),
    Variant(
        "max_order_up_unseen",
        (promise(9),),
        (Look(9, None, ok(BLOCK_PFN + 9, order=4)), Look(0, None, ok(BLOCK_PFN, order=4))),
        tables=(*block(4, 16), promise(0)),
    ),
)

ORDER_DOWN = (
    Variant(
        "order_down",
        block(1),
        (Look(5, ok(BLOCK_PFN + 5, order=3), ok(BLOCK_PFN + 5, order=1), ok(BLOCK_PFN + 5, order=3)),),
        tables=(*block(3), promise(9)),
        commands=(Command(Opcode.INVALIDATE, pages=8),),
        rule="I11",
    ),
    Variant(
        "max_order_down",
        (promise(0),),
        (Look(5, ok(BLOCK_PFN + 5, order=3), ok(BLOCK_PFN + 5), ok(BLOCK_PFN + 5, order=3)),),
        tables=(*block(3), promise(9)),
        commands=SPAN,
        rule="I11",
    ),
)

ABSENT_TO_ANYTHING = (
    Variant(
        "absent_to_array",
        (Store(Place.LEVEL_1, ARRAY),),
        (Look(0, NOT_PRESENT, OLD),),
        tables=(Store(Place.LEVEL_1, ABSENT),),
    ),
    Variant(
        "absent_to_directory",
        (Store(Place.LEVEL_2, OTHER_DIRECTORY),),
        (Look(0, NOT_PRESENT, OTHER),),
        tables=(Store(Place.LEVEL_2, ABSENT),),
    ),
    Variant(
        "absent_to_large_array",
        (Store(Place.LEVEL_2, LARGE_ARRAY),),
        (Look(0, NOT_PRESENT, LARGE),),
        tables=(Store(Place.LEVEL_2, ABSENT),),
    ),
)

OTHER_LINK = (
    Variant(
        "array_to_other_array",
        (Store(Place.LEVEL_1, OTHER_ARRAY),),
        (Look(0, OLD, OTHER, OLD), Look(9, None, ok(OTHER_PFN + 18), ok(FIRST_PFN + 18))),
        commands=SPAN,
    ),
    Variant("array_to_absent", (Store(Place.LEVEL_1, ABSENT),), (Look(0, OLD, NOT_PRESENT, OLD),), commands=SPAN),
    Variant(
        "directory_to_other_directory",
        (Store(Place.LEVEL_2, OTHER_DIRECTORY),),
        (Look(0, OLD, OTHER, OLD),),
        commands=GIGABYTE,
    ),
    Variant(
        "directory_to_absent", (Store(Place.LEVEL_2, ABSENT),), (Look(0, OLD, NOT_PRESENT, OLD),), commands=GIGABYTE
    ),
    Variant("directory_to_array", (Store(Place.LEVEL_2, LARGE_ARRAY),), (Look(0, OLD, LARGE, OLD),), commands=GIGABYTE),
    Variant(
        "array_to_directory",
        (Store(Place.LEVEL_2, OTHER_DIRECTORY),),
        (Look(0, LARGE, OTHER, LARGE), Look(9, None, ok(OTHER_PFN + 18), ok(LARGE_PFN + 9, order=9))),
        tables=(Store(Place.LEVEL_2, LARGE_ARRAY),),
        commands=GIGABYTE,
    ),
)

BOUND = (
    Variant(
        "bound_under_a_walk",
        (Store(Place.CONTEXT, Root(Table.ROOT)),),
        (Look(0, None, OLD, NO_CONTEXT),),
        tables=(Store(Place.CONTEXT, ABSENT),),
        commands=(Command(Opcode.BIND),),
        flight=45,
        latency=(0, 200),
        seeds=24,
    ),
)
"""Only a walk on its way can have seen the old entry: caches hold bound contexts alone. With some seeds its read is
slow and that of the command quick."""

OTHER_ROOT = (
    Variant(
        "other_root",
        (Store(Place.CONTEXT, Root(Table.OTHER_ROOT)),),
        (Look(0, OLD, OTHER, OLD), Look(9, None, ok(OTHER_PFN + 18), ok(FIRST_PFN + 18))),
        commands=(Command(Opcode.INVALIDATE_CONTEXT),),
    ),
)

UNBOUND = (
    Variant(
        "unbound",
        (Store(Place.CONTEXT, ABSENT),),
        (Look(0, OLD, NO_CONTEXT, OLD), Look(9, None, NO_CONTEXT, ok(FIRST_PFN + 18))),
        commands=(Command(Opcode.UNBIND),),
    ),
)

FREED = tuple(
    Variant(
        f"frees_{name}",
        (change,),
        (Look(0, None, after),),
        commands=commands,
        flight=flight,
        frees=frees,
        latency=(100, 100),
    )
    for name, change, commands, flight, frees, after in (
        ("array", Store(Place.LEVEL_1, ABSENT), SPAN, 370, (Table.ARRAY,), NOT_PRESENT),
        ("directory", Store(Place.LEVEL_2, ABSENT), GIGABYTE, 265, (Table.DIRECTORY, Table.ARRAY), NOT_PRESENT),
        ("root", Store(Place.CONTEXT, ABSENT), (Command(Opcode.UNBIND),), 55, (Table.ROOT,), NO_CONTEXT),
    )
)
"""The walk of a page is on its way: it has read the entry that points to what is freed, and reads that next."""

FORMATS = (
    SettingVariant("other_write_mask", Setting(fmt=replace(FORMAT, write=ATOMIC, atomic=0)), OLD, ok(FIRST_PFN, VALID)),
    SettingVariant(
        "other_pfn_shift",
        Setting(fmt=replace(FORMAT, pfn_shift=11, order_width=0, pfn_width=50)),
        OLD,
        ok(2 * FIRST_PFN),
    ),
)
WINDOWS = (
    SettingVariant(
        "window_moved",
        Setting(window=replace(WINDOW, base=WINDOW.base + 3)),
        ok(5, memory=1),
        ok(2, memory=1),
        tables=(Store(0, entry(WINDOW.base + 5, VALID | WRITE | DEVICE_PRIVATE)),),
    ),
    SettingVariant(
        "window_closed",
        Setting(window=NO_WINDOW),
        ok(5, memory=1),
        aborted(Reason.NOT_VALID),
        tables=(Store(0, entry(WINDOW.base + 5, VALID | WRITE | DEVICE_PRIVATE)),),
    ),
)
CONTEXT_TABLES = (
    SettingVariant("table_moved", Setting(context_shift=4), OLD, OTHER),
    SettingVariant("table_shortened", Setting(context_count=3), OLD, NO_CONTEXT),
)

INVALIDATE_PAGE = "INVALIDATE of the slot's block, FENCE"
INVALIDATE_SPAN = "INVALIDATE of its span, FENCE"
SWITCH_OFF = "disable, change, enable"
IGNORED = "the write is ignored"
ROWS = (
    Row("an entry that gives no translation, to anything", "nothing", "", NOTHING_TO_ANYTHING),
    Row("an entry to more permission on the same page", "nothing", "", MORE_PERMISSION),
    Row("an entry, or the promise above it, to a larger order on the same pages", "nothing", "", ORDER_UP),
    Row("an entry to less permission", INVALIDATE_PAGE, "the old permission", LESS_PERMISSION),
    Row("an entry to another page", INVALIDATE_PAGE, "the old page", OTHER_PAGE),
    Row("an entry to one that gives no translation", INVALIDATE_PAGE, "the old page", TO_NO_TRANSLATION),
    Row(
        "an entry, or the promise above it, to a smaller order",
        "INVALIDATE of the old block or of the span, FENCE",
        "the old order",
        ORDER_DOWN,
    ),
    Row("an absent directory entry to anything", "nothing", "", ABSENT_TO_ANYTHING),
    Row("any other directory entry to anything else", INVALIDATE_SPAN, "the old page", OTHER_LINK),
    Row("a context entry that was not valid, to valid", "BIND", "a walk on its way ends in `NO_CONTEXT`", BOUND),
    Row("a valid context entry to another root", "INVALIDATE_CONTEXT, FENCE", "pages of the old root", OTHER_ROOT),
    Row("a valid context entry to not valid", "UNBIND, FENCE", "the old pages, and new ones", UNBOUND),
    Row(
        "frees an array or directory that was linked",
        "only after the FENCE of its unlinking",
        "a walk reads freed memory",
        FREED,
    ),
    Row("the format", SWITCH_OFF, IGNORED, settings=FORMATS),
    Row("the window", SWITCH_OFF, IGNORED, settings=WINDOWS),
    Row("the context table's place or length", SWITCH_OFF, IGNORED, settings=CONTEXT_TABLES),
)
"""In the order of the table."""
