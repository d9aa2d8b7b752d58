# SPDX-License-Identifier: Apache-2.0
"""Recorded operations: the calls are made in the model; what it told the watched range and what is left is compared.

Source: docs/conformance.md, "Operations".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.arrays import PAGE_BYTES, Flags
from models.conform.entries import plain_entries
from models.conform.judge import NEIGHBOURS, Bench, judged, run_alone
from models.conform.judgement import (
    DifferenceError,
    Judgement,
    ModelEntries,
    SeenEvent,
    expect,
    expect_page_table,
)
from models.conform.records import RecordedEntries, RecordedEvent, RecordedOperation, expanded_entries
from models.conform.state import Machine
from models.conform.steps import learn_files, perform
from models.formats import EntryFormat
from models.hmm.kernel_rules import Release
from models.hmm.memory_map import MemoryMap
from models.hmm.page_table import EntryFlags, EntryKind

SWAP_TYPE_SHIFT = np.uint64(59)
SWAP_TYPES = 32
POISON_OF_SWAP_IN: tuple[Release, Release] = ((5, 19), (6, 6))
"""Releases that have a type of its own for a page that could not be read back."""
PERMISSION_KINDS = (EntryKind.DEVICE_PRIVATE, EntryKind.EXCLUSIVE)


def judge_operation(record: RecordedOperation, machine: Machine, fmt: EntryFormat) -> Judgement:
    """The verdict on an operation."""
    return judged(lambda: _operation(record, machine, fmt))


def _operation(record: RecordedOperation, machine: Machine, fmt: EntryFormat) -> Judgement:
    # Sequences count on from what the range saw before.
    seq = record.ev[0].seq - 2 if record.ev else 1
    bench = Bench(record, machine, fmt, seq, (record.base, record.base + record.length))
    bench.recorded_events = record.ev
    around = bench.surroundings(record.base)
    learn_files(around, record.setup)
    around.children[:] = [_child(bench, record) for _ in range(bench.state.children)]
    _learn_contents(bench, record)
    run_alone(perform(record.calls, around))
    mine, theirs = [_seen(event, bench) for event in bench.events], [_recorded(event) for event in record.ev]
    relation = _compare_events(mine, theirs, sorted(around.loose))
    if record.post and not relation:
        relation = _compare_page_table(bench, record, machine)
    return bench.verdict(relation)


def _child(bench: Bench, record: RecordedOperation) -> MemoryMap:
    """A child that `setup` made and that still lives: it maps what the record says several map."""
    parent = bench.mm
    child = MemoryMap(parent.host, parent.frames, rules=parent.rules)
    for area in parent.vmas:
        child.vmas.insert(replace(area, mm=child), merge=False)
    for page in range(record.n):
        note, va = bench.state.note(page), record.addr + page * PAGE_BYTES
        entry = parent.page_table.lookup(va)
        several = note.first == "anon" and note.maps is not None and note.maps > 1
        if several and entry.kind is EntryKind.PRESENT and not entry.huge:
            child.page_table.set(va, entry.kind, entry.pfn, entry.flags)
    return child


def _learn_contents(bench: Bench, record: RecordedOperation) -> None:
    """What pages are full of: nothing but zeros if they were never written, one byte if `setup` filled them."""
    written: dict[int, int | None] = {}
    for name, *arguments in record.setup:
        if name in ("write", "fill", "proc_mem_write") and all(isinstance(value, int) for value in arguments):
            for page in range(arguments[0], arguments[0] + arguments[1]):
                written[page] = arguments[2] if name == "fill" else None
    fills = bench.state.frames.fills
    for page in range(record.n):
        if bench.state.kinds[page] != EntryKind.PRESENT or bench.state.note(page).first != "anon":
            continue
        byte = written.get(page + record.at, 0)
        pfn = bench.mm.page_table.lookup(record.addr + page * PAGE_BYTES).pfn
        if byte is not None:
            fills[pfn] = byte


Row = tuple[str, str, str, int, int, int]
"""Of an event: kind, start, end, sequence, whether the recording module's device owns it, whether it may wait."""


def _seen(event: SeenEvent, bench: Bench) -> Row:
    update = event.update
    own = int(update.owner is bench.state.pagemap is not None)
    return update.event.name, hex(update.start), hex(update.end), event.seq, own, int(update.blockable)


def _recorded(event: RecordedEvent) -> Row:
    return event.e.name, hex(event.s), hex(event.t), event.seq, event.own, event.fl & 1


def _compare_events(mine: list[Row], theirs: list[Row], loose: list[str]) -> str:
    """Returns in what relation the events stand, empty if they are equal. Errors: DifferenceError."""
    if mine == theirs:
        return ""
    without_order = sorted(row[:3] + row[4:] for row in mine) == sorted(row[:3] + row[4:] for row in theirs)
    if loose and without_order:
        return f"the record does not tell {', '.join(loose)}"
    for number, (own, other) in enumerate(zip(mine, theirs, strict=False)):
        expect(f"event {number}", own, other)
    following = mine[len(theirs) :] or theirs[len(mine) :]
    raise DifferenceError(f"the model tells {len(mine)} events, recorded are {len(theirs)}; the next is {following[0]}")


def _compare_page_table(bench: Bench, record: RecordedOperation, machine: Machine) -> str:
    post = expanded_entries(record.post, record.n)
    plain = plain_entries(post, machine.release)
    model = bench.model_entries()
    # Where nothing is mapped any more, neighbours outside the range decide how many tables are left.
    empty = plain.empty & (model.kind == EntryKind.NONE) & ~_in_areas(bench, record)
    model.level[empty] = post.levels[empty]
    explained = _away_agrees(model, post, machine)
    neighbours = expect_page_table(
        model, (record.entries, bench.before), (post, plain), bench.relation, record.addr, explained
    )
    return NEIGHBOURS if neighbours else ""


def _in_areas(bench: Bench, record: RecordedOperation) -> Flags:
    """bool[n]: pages that an area covers now."""
    inside = np.zeros(record.n, dtype=np.bool_)
    for area in bench.mm.vmas.overlapping(record.addr, record.end):
        first = max(0, (area.start - record.addr) // PAGE_BYTES)
        inside[first : (area.end - record.addr) // PAGE_BYTES] = True
    return inside


def _away_agrees(model: ModelEntries, post: RecordedEntries, machine: Machine) -> Flags:
    """bool[n]: entries of pages that are away, of the same kind on both sides and with the same permissions."""
    kinds, writable = swap_types(machine)
    types = (post.words >> SWAP_TYPE_SHIFT).astype(np.intp)
    plain = plain_entries(post, machine.release)
    agrees: Flags = (post.words != 0) & ~plain.mapped & (kinds[types] == model.kind)
    mine = (model.flags & np.uint8(EntryFlags.WRITABLE)) != 0
    agrees &= ~np.isin(model.kind, PERMISSION_KINDS) | (mine == writable[types])
    carried = np.where(model.kind == EntryKind.SWAP, EntryFlags.ALONE | EntryFlags.UFFD_WP, EntryFlags.UFFD_WP)
    agrees &= ((model.flags ^ plain.flags) & carried.astype(np.uint8)) == 0
    old = np.isin(model.kind, (EntryKind.EXCLUSIVE, EntryKind.HWPOISON))
    agrees &= ~old | (model.pfn == plain.pfn & np.uint64((1 << 34) - 1))
    return agrees


def swap_types(machine: Machine) -> tuple[np.ndarray, np.ndarray]:
    """uint8[32], bool[32]: what kind of entry each swap type is, and whether it carries write permission (swap.h)."""
    kinds = np.full(SWAP_TYPES, EntryKind.SWAP, dtype=np.uint8)
    writable = np.zeros(SWAP_TYPES, dtype=np.bool_)
    place = SWAP_TYPES
    layout: list[tuple[EntryKind, bool]] = [(EntryKind.MARKER, False)]
    first, end = POISON_OF_SWAP_IN
    if first <= machine.release < end:
        layout.append((EntryKind.UNKNOWN, False))
    if machine.information.dev_npfn:
        layout += [(EntryKind.EXCLUSIVE, False), (EntryKind.EXCLUSIVE, True)]
        layout += [(EntryKind.DEVICE_PRIVATE, False), (EntryKind.DEVICE_PRIVATE, True)]
    layout += [(EntryKind.MIGRATION, True), (EntryKind.MIGRATION, False), (EntryKind.MIGRATION, False)]
    layout.append((EntryKind.HWPOISON, False))
    for kind, may_write in layout:
        place -= 1
        kinds[place], writable[place] = kind, may_write
    return kinds, writable
