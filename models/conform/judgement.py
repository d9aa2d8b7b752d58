# SPDX-License-Identifier: Apache-2.0
"""Verdicts on records, and what to compare: arrays of entries, events, page tables.

Source: docs/conformance.md, "What is compared".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from models.arrays import PAGE_SHIFT, Words
from models.conform.entries import PlainEntries
from models.conform.pfns import PfnRelation
from models.conform.records import RecordedEntries, RecordedEvent
from models.formats import EntryFormat
from models.hmm.notifiers import MmuNotifierRange
from models.hmm.page_table import EntryFlags, EntryKind

LARGEST_ORDER = 0x1F
TABLE_SHIFT = 9
"""log2 of the entries of a table."""


class Verdict(Enum):
    """How a record fared."""

    EXACT = "exact"
    BY_RELATION = "by relation"
    UNDETERMINED = "undetermined"
    WRONG = "wrong"


@dataclass(frozen=True)
class Judgement:
    """The verdict on one record. `why`: what differed first, or what the record does not hold."""

    verdict: Verdict
    why: str = ""


class DifferenceError(Exception):
    """The model and the recording differ; the text says where and how."""


@dataclass(frozen=True)
class SeenEvent:
    """One invalidation that the model told the watched range of."""

    update: MmuNotifierRange
    seq: int


@dataclass(frozen=True)
class ModelEntries:
    """The model's page table in a range: uint8 kind, flags, level; uint64 pfn (of the page, not of the entry)."""

    kind: np.ndarray
    flags: np.ndarray
    level: np.ndarray
    pfn: Words


def expect(what: str, model: object, recorded: object) -> None:
    """Errors: DifferenceError if the two are not equal."""
    if model != recorded:
        raise DifferenceError(f"{what}: the model gives {model}, recorded is {recorded}")


def expect_array(what: str, model: Words, recorded: Words, fmt: EntryFormat, relation: PfnRelation) -> None:
    """Entries of HMM: equal flags and order, pfns that stand in relation. Errors: DifferenceError."""
    pfn_mask = np.uint64(fmt.pfn_mask)
    flags_differ = ((model ^ recorded) & ~pfn_mask) != 0
    if bool(flags_differ.any()):
        place = int(np.argmax(flags_differ))
        raise DifferenceError(
            f"{what}, page {place}: the model gives {int(model[place]):#x}, recorded is {int(recorded[place]):#x}"
        )
    order = (model >> np.uint64(fmt.order_shift)) & np.uint64(LARGEST_ORDER)
    align = (np.uint64(1) << order) - np.uint64(1)
    place_or_none = relation.mismatch(model & pfn_mask, recorded & pfn_mask, align)
    if place_or_none is not None:
        raise DifferenceError(
            f"{what}, page {place_or_none}: another page, the model gives {int(model[place_or_none]):#x}, recorded is"
            f" {int(recorded[place_or_none]):#x}"
        )


def expect_events(what: str, model: list[SeenEvent], recorded: list[RecordedEvent], own: object) -> None:
    """Equal kinds, ranges, sequences and owners, in equal order. Errors: DifferenceError."""
    for number, (seen, event) in enumerate(zip(model, recorded, strict=False)):
        update = seen.update
        mine = (
            update.event.name,
            hex(update.start),
            hex(update.end),
            seen.seq,
            int(update.owner is own is not None),
            1,
        )
        theirs = (event.e.name, hex(event.s), hex(event.t), event.seq, event.own, event.fl & 1)
        expect(f"{what}, event {number}", mine, theirs)
    expect(f"{what}, number of events", len(model), len(recorded))
    expect(f"{what}, number of processes", min(len(recorded), 1), len({event.pid for event in recorded}))


COMPARED_FLAGS = np.uint8(EntryFlags.WRITABLE | EntryFlags.PROTNONE | EntryFlags.UFFD_WP)


def expect_page_table(
    model: ModelEntries,
    before: tuple[RecordedEntries, ModelEntries],
    after: tuple[RecordedEntries, PlainEntries],
    relation: PfnRelation,
    address: int,
    explained: np.ndarray | None = None,
) -> bool:
    """The page table after the call. `before`: it and what the model made of it. `address`: of the first page.
    `explained`: bool[n], entries of pages that are away and were compared already.

    Returns whether all is equal but that empty pages have deeper tables than in the model, which they share with memory
    outside the range: others made them. Errors: DifferenceError.
    """
    recorded, plain = after
    level_differs = model.level != recorded.levels
    shared = level_differs & plain.empty & (recorded.levels < model.level) & reaches_outside(recorded.levels, address)
    recorded_before, model_before = before
    away = ~plain.mapped & ~plain.empty
    unchanged = (recorded.words == recorded_before.words) & (recorded.levels == recorded_before.levels)
    same = (model.kind == model_before.kind) & (model.flags == model_before.flags) & (model.pfn == model_before.pfn)
    model_away = (model.kind != EntryKind.NONE) & (model.kind != EntryKind.PRESENT)
    mapped = plain.mapped & (model.kind == EntryKind.PRESENT)
    differs = {
        "level": level_differs & ~shared,
        "kind": (plain.mapped != (model.kind == EntryKind.PRESENT)) | (plain.empty != (model.kind == EntryKind.NONE)),
        "entry": away & model_away & ~(unchanged & same) & (True if explained is None else ~explained),
        "permission": mapped & (((model.flags ^ plain.flags) & COMPARED_FLAGS) != 0),
        "special bit": mapped & (recorded.levels == 1) & ~(unchanged & same)
        & (((model.flags ^ plain.flags) & np.uint8(EntryFlags.SPECIAL)) != 0),
    }  # fmt: skip
    for what, places in differs.items():
        if bool(places.any()):
            page = int(np.argmax(places))
            state = f"{EntryKind(int(model.kind[page])).name} {EntryFlags(int(model.flags[page]))!r}"
            raise DifferenceError(
                f"page table after the call, page {page}, {what}: the model has {state} at level {model.level[page]},"
                f" recorded is {int(recorded.words[page]):#x} at level {recorded.levels[page]}"
            )
    inside = np.where(recorded.levels > 1, np.uint64(1) << np.uint64(9), np.uint64(1)) - np.uint64(1)
    place = relation.mismatch(
        np.where(mapped, model.pfn, np.uint64(0)), np.where(mapped, plain.pfn, np.uint64(0)), inside
    )
    if place is not None:
        raise DifferenceError(
            f"page table after the call, page {place}: another page, the model has {int(model.pfn[place]):#x}, recorded"
            f" is {int(plain.pfn[place]):#x}"
        )
    return bool(shared.any())


def reaches_outside(levels: np.ndarray, address: int) -> np.ndarray:
    """bool[n]: pages whose tables of these levels span more than the n pages from `address`."""
    page = np.uint64(address >> PAGE_SHIFT) + np.arange(levels.size, dtype=np.uint64)
    shift = (levels.astype(np.uint64)) * np.uint64(TABLE_SHIFT)
    start = (page >> shift) << shift
    end = start + (np.uint64(1) << shift)
    outside: np.ndarray = (start < page[0]) | (end > page[-1] + np.uint64(1))
    return outside
