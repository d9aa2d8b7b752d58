# SPDX-License-Identifier: Apache-2.0
"""The words in which changes of the device's tables are written down: what is stored where, what is told, what is seen.

Everything is about the 2 MiB at FIRST_VA of context PASID: one array, whose page i is pfn FIRST_PFN + 2 i. A second
context, whose tables are whole as well, is there to point at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from models.formats import EntryFormat, format_by_name
from models.golden_mmu import PERMISSION_ATOMIC, PERMISSION_WRITE, STATUS_ABORTED, STATUS_OK
from models.pages import Window
from models.structures import Access, DirectoryType, Opcode, Reason
from tb.versions import Answer

PASID = 3
OTHER_PASID = 7
FIRST_VA = 0x4000_0000
"""The first address of a directory entry of every level below the root."""
PAGES = 512
OFFSET = 0x128
FIRST_PFN = 0x2000
OTHER_PFN = 0x6000
LARGE_PFN = 0x8_0000
BLOCK_PFN = 0xA00
"""Aligned to a block of 512 pages."""

VALID, WRITE, ERROR, NONE, SPECIAL, DEVICE_PRIVATE, ATOMIC = (1 << bit for bit in range(7))
ORDER_SHIFT = 7
PFN_SHIFT = 12
FORMAT = replace(format_by_name("hmm_2018_flags"), atomic=ATOMIC, order_shift=ORDER_SHIFT, order_width=5)
WINDOW = Window(0x100_0000, 0x1000)


def entry(pfn: int, flags: int = VALID | WRITE, *, order: int = 0) -> int:
    """An entry of FORMAT."""
    return pfn << PFN_SHIFT | order << ORDER_SHIFT | flags


def ok(pfn: int, flags: int = VALID | WRITE, *, order: int = 0, memory: int = 0) -> Answer:
    """A translation to the page `pfn`."""
    permissions = PERMISSION_WRITE if flags & WRITE else 0
    if flags & WRITE and flags & ATOMIC:
        permissions |= PERMISSION_ATOMIC
    return Answer(STATUS_OK, Reason.NONE, pfn << PFN_SHIFT | OFFSET, order, permissions, memory)


def aborted(reason: Reason) -> Answer:
    """No translation."""
    return Answer(STATUS_ABORTED, reason, 0, 0, 0, 0)


class Table(Enum):
    """What an entry can point to, and what can be freed."""

    ARRAY = "the array of the 2 MiB"
    DIRECTORY = "the directory that points to the array"
    ROOT = "the root of the context"
    OTHER_ARRAY = "an array of other pages"
    OTHER_DIRECTORY = "a directory that points to the other array"
    OTHER_ROOT = "the root of the other context"
    LARGE_ARRAY = "an array of slots of 2 MiB"


class Place(Enum):
    """Words that are not entries of a page."""

    LEVEL_1 = "the directory entry of the 2 MiB"
    LEVEL_2 = "the directory entry of the 1 GiB"
    CONTEXT = "the context entry"


@dataclass(frozen=True)
class Link:
    """A directory entry that points to a table."""

    kind: DirectoryType
    table: Table
    page_shift: int = 0
    max_order: int = 0


@dataclass(frozen=True)
class Root:
    """A valid context entry with this root."""

    table: Table


ABSENT = 0
ARRAY = Link(DirectoryType.ARRAY, Table.ARRAY, PFN_SHIFT)
OTHER_ARRAY = Link(DirectoryType.ARRAY, Table.OTHER_ARRAY, PFN_SHIFT)
LARGE_ARRAY = Link(DirectoryType.ARRAY, Table.LARGE_ARRAY, 21)
OTHER_DIRECTORY = Link(DirectoryType.DIRECTORY, Table.OTHER_DIRECTORY)


@dataclass(frozen=True)
class Store:
    """One 8-byte store: an entry of the array by its page, or another word."""

    where: int | Place
    word: int | Link | Root


@dataclass(frozen=True)
class Command:
    """A command of the host; INVALIDATE has the first of its pages and their number."""

    opcode: Opcode
    page: int = 0
    pages: int = 1


@dataclass(frozen=True)
class Look:
    """One page asked for, before the change (None: not asked), and after it: without the commands, and with them."""

    page: int
    before: Answer | None
    after: Answer
    without: Answer | None = None
    access: Access = Access.READ


@dataclass(frozen=True)
class Variant:
    """One change. `tables`: how the tables differ before it from what the file's head says.

    `commands` empty: nothing is needed. `rule`: what the scoreboard calls the answers without the commands, when the
    host counts on the new ones. `flight`: the looks are on their way when the host acts, so many cycles after the
    first is offered; `frees`: what the host gives away at the end. `latency`: of the memory; `seeds`: how often it is
    drawn anew.
    """

    name: str
    change: tuple[Store, ...]
    looks: tuple[Look, ...]
    tables: tuple[Store, ...] = ()
    commands: tuple[Command, ...] = ()
    rule: str = "I1"
    flight: int | None = None
    frees: tuple[Table, ...] = ()
    latency: tuple[int, int] = (2, 2)
    seeds: int = 1


@dataclass(frozen=True)
class Setting:
    """The registers that cannot be changed while translation is on, as the host wants them."""

    fmt: EntryFormat = FORMAT
    window: Window = WINDOW
    context_shift: int = 0
    """Entries by which the table begins later."""
    context_count: int = 8


@dataclass(frozen=True)
class SettingVariant:
    """One change of registers, and what page 0 is answered before and after it. `tables` as in Variant."""

    name: str
    change: Setting
    before: Answer
    after: Answer
    tables: tuple[Store, ...] = ()
    access: Access = Access.READ


@dataclass(frozen=True)
class Row:
    """One row of the table in docs/interface.md, "Which change needs which command", with its variants."""

    change: str
    needs: str
    without: str
    variants: tuple[Variant, ...] = ()
    settings: tuple[SettingVariant, ...] = ()
