# SPDX-License-Identifier: Apache-2.0
"""The records of a kernel recording that say what memory was like and what came of a call, as checked data.

Source: models/data/kernel/README.md, "Form".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, StrictInt, StrictStr

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Bytes, Words
from models.hmm.notifiers import InvalidateEvent
from models.kernel_recording import KernelInformation
from models.recording_lines import (
    NO_LINE,
    WORD_LIMIT,
    FirstPage,
    Number,
    PageRun,
    Pages,
    PfnRun,
    RecordBase,
    numbered_records,
    refuse,
    validated,
)

HIGHEST_LEVEL = 5
Level = Annotated[StrictInt, Field(ge=1, le=HIGHEST_LEVEL)]
EntryRun = tuple[FirstPage, Pages, Number, Level, StrictInt]
Mapping = tuple[Number, Number, Number]
Call = Annotated[list[Any], Field(min_length=1)]


def _event_kind(value: Any) -> Any:
    """Events are named, or numbered as in enum mmu_notifier_event."""
    if isinstance(value, str) and value in InvalidateEvent.__members__:
        return InvalidateEvent[value]
    return value


class RecordedEvent(RecordBase):
    """One invalidation that the recording module was told of."""

    e: Annotated[InvalidateEvent, BeforeValidator(_event_kind)]
    s: Number
    t: Number
    seq: StrictInt
    fl: StrictInt
    own: Literal[0, 1]
    pid: StrictInt = 0


Backing = tuple[Number, Number, StrictStr, Number, Number, list[StrictStr], StrictInt, StrictStr]


class RecordedState(RecordBase):
    """What a request and a request with a lost sequence say of the memory that they found."""

    kernel: str
    addr: Number
    n: Pages
    default_flags: Annotated[Number, Field(alias="def")]
    mask: Number
    owner: Literal[0, 1]
    vmas: list[Mapping]
    pre: list[EntryRun]
    backing: list[Backing]
    pages: list[PageRun]
    setup: list[Call] = []
    at: StrictInt = 0
    huge: list[StrictInt] = []

    @property
    def end(self) -> int:
        """The address behind the last page."""
        return self.addr + self.n * PAGE_BYTES

    @cached_property
    def entries(self) -> RecordedEntries:
        """The CPU's page table before the call."""
        return expanded_entries(self.pre, self.n)


class RecordedTry(RecordBase):
    """One call of hmm_range_fault()."""

    ret: StrictInt
    seq: StrictInt
    retry: Literal[0, 1]
    out: list[PfnRun]
    ev: list[RecordedEvent]


class RecordedRequest(RecordedState):
    """A request: the calls of hmm_range_fault() until one succeeded or failed for good."""

    state: str
    req: str
    inputs: Annotated[list[PfnRun], Field(alias="in")]
    tries: Annotated[list[RecordedTry], Field(min_length=1)]
    post: list[EntryRun]


class RecordedStale(RecordedState):
    """A look with a sequence that was taken before `calls` were made."""

    op: str
    calls: list[Call]
    seq: StrictInt
    ret: StrictInt
    retry: Literal[0, 1]
    out: list[PfnRun]
    ev: list[RecordedEvent]


class RecordedOperation(RecordedState):
    """What calls did to a watched range: `base` and `len` bytes; the state is that of a part of it.

    `backing`, `pages`, `vmas` and `pre` as of a request; `addr` and `n` follow from `base`, `at` and `pre`.
    """

    op: str
    base: Number
    length: Annotated[Number, Field(alias="len")]
    calls: list[Call]
    ev: list[RecordedEvent]
    post: list[EntryRun]


@dataclass(frozen=True)
class RecordedEntries:
    """Entries of the CPU's page table, one for each page: the word, and the level at which the walk ended."""

    words: Words
    levels: Bytes


@dataclass(frozen=True)
class NumberedRecord:
    """A record and its line, from 1."""

    line: int
    kind: str
    what: RecordedRequest | RecordedStale | RecordedOperation


@dataclass(frozen=True)
class ConformRecording:
    """A whole recording. `tracks_soft_dirty`: the kernel was built so that mappings carry VM_SOFTDIRTY."""

    path: Path
    information: KernelInformation
    records: tuple[NumberedRecord, ...]
    tracks_soft_dirty: bool


VM_SOFTDIRTY = 0x0800_0000
"""Every new mapping carries it where the kernel can track written pages; cleared, writes are tracked."""


def read_conform_recording(path: Path) -> ConformRecording:
    """Reads and checks a whole recording, plain or compressed.

    Errors: UserError naming file and line if it cannot be read, is cut, is damaged or is not a recording.
    """
    lines = numbered_records(path)
    number, first = next(lines, (NO_LINE, {}))
    if first.get("k") != "info":
        refuse(path, number, 'is not a kernel recording: its first line is not an "info" record', "give another file")
    information = validated(KernelInformation, path, number, first)
    records: list[NumberedRecord] = []
    ended = False
    for number, record in lines:
        kind = record.get("k")
        if ended:
            refuse(path, number, "goes on after its end record", "give the file as it was recorded")
        if kind == "req":
            records.append(NumberedRecord(number, kind, _checked_request(path, number, record, information)))
        elif kind == "stale":
            records.append(NumberedRecord(number, kind, _checked_stale(path, number, record, information)))
        elif kind == "op":
            records.append(NumberedRecord(number, kind, _checked_operation(path, number, record, information)))
        elif kind == "end":
            ended = True
        elif kind != "skip":
            refuse(path, number, f"has a record of unknown kind {kind!r}", "give the file as it was recorded")
    if not ended:
        refuse(path, number, "is cut: the end record is missing after this line", "copy or record it again")
    flags = (mapping[2] for record in records for mapping in record.what.vmas)
    return ConformRecording(path, information, tuple(records), any(value & VM_SOFTDIRTY for value in flags))


def _checked_request(path: Path, line: int, raw: dict[str, Any], information: KernelInformation) -> RecordedRequest:
    record = validated(RecordedRequest, path, line, raw)
    _check_state(path, line, record, information)
    _expect_cover(path, line, "in", record.inputs, record.n)
    _expect_cover(path, line, "post", record.post, record.n)
    for call in record.tries:
        _expect_cover(path, line, "out", call.out, record.n)
    return record


def _checked_stale(path: Path, line: int, raw: dict[str, Any], information: KernelInformation) -> RecordedStale:
    record = validated(RecordedStale, path, line, raw)
    _check_state(path, line, record, information)
    _expect_cover(path, line, "out", record.out, record.n)
    return record


def _checked_operation(path: Path, line: int, raw: dict[str, Any], information: KernelInformation) -> RecordedOperation:
    raw = {"addr": 0, "n": 1, "def": 0, "mask": 0, "owner": 0, "vmas": [], "pre": [], "backing": [], "pages": []} | raw
    raw |= {"setup": raw.get("setup", []), "calls": raw.get("calls", []), "post": raw.get("post", [])}
    record = validated(RecordedOperation, path, line, raw)
    pages = sum(count for _, count, *_ in record.pre)
    if not pages:
        refuse(path, line, 'has no "pre"', "give a complete recording")
    record = record.model_copy(update={"addr": record.base + record.at * PAGE_BYTES, "n": pages})
    _check_state(path, line, record, information)
    if record.post:
        _expect_cover(path, line, "post", record.post, record.n)
    return record


def _check_state(path: Path, line: int, record: RecordedState, information: KernelInformation) -> None:
    if record.kernel != information.kernel:
        what = f"is of kernel {record.kernel}, not of {information.kernel} as the first line says"
        refuse(path, line, what, "give one recording in a file")
    if record.addr % PAGE_BYTES or record.end > WORD_LIMIT:
        refuse(path, line, f'has an impossible "addr" 0x{record.addr:x}', "give the file as it was recorded")
    _expect_cover(path, line, "pre", record.pre, record.n)
    _expect_cover(path, line, "pages", record.pages, record.n)
    places = [(start, end) for start, end, _ in record.vmas]
    if places != [(mapping[0], mapping[1]) for mapping in record.backing]:
        refuse(path, line, 'has a "backing" that does not go with its "vmas"', "give the file as it was recorded")
    behind = 0
    for start, end in places:
        if start % PAGE_BYTES or end % PAGE_BYTES or not behind <= start < end:
            refuse(path, line, 'has "vmas" that are not one after another', "give the file as it was recorded")
        behind = end


def _expect_cover(path: Path, line: int, key: str, runs: Any, pages: int) -> None:
    """Runs that begin with (first page, count) must lie one after another and fill the array."""
    expected = 0
    for first, count, *_ in runs:
        if first != expected:
            what = f'has a "{key}" run that starts at page {first} where page {expected} comes next'
            refuse(path, line, what, "give the file as it was recorded")
        expected += count
    if expected != pages:
        what = f'has "{key}" runs for {expected} pages where the array has {pages}'
        refuse(path, line, what, "give the file as it was recorded")


def expanded_words(runs: list[PfnRun], pages: int) -> Words:
    """uint64[pages] from runs of (first page, count, value, step)."""
    words = np.empty(pages, dtype=np.uint64)
    for first, count, value, step in runs:
        words[first : first + count] = _steps(count, value, step)
    return words


def expanded_entries(runs: list[EntryRun], pages: int) -> RecordedEntries:
    """The entries from runs of (first page, count, value, level, step)."""
    words = np.empty(pages, dtype=np.uint64)
    levels = np.empty(pages, dtype=np.uint8)
    for first, count, value, level, step in runs:
        words[first : first + count] = _steps(count, value, step)
        levels[first : first + count] = level
    return RecordedEntries(words, levels)


def _steps(count: int, value: int, step: int) -> Words:
    """`count` words from `value` on, each `step` more than the one before, modulo 2^64."""
    steps: Words = np.arange(count, dtype=np.uint64) * np.uint64(step % WORD_LIMIT)
    return steps + np.uint64(value)


def run_places(runs: list[PageRun]) -> Iterator[tuple[slice, str]]:
    """(part of the array, text) of each run of notes."""
    for first, count, text in runs:
        yield slice(first, first + count), text


def page_number(address: int, record: RecordedState) -> int:
    """The page of the record's array that an address lies in."""
    return (address - record.addr) >> PAGE_SHIFT
