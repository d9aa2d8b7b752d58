# SPDX-License-Identifier: Apache-2.0
"""Reads recordings of a real Linux kernel's HMM and yields every pfns array that hmm_range_fault() filled.

The file format is described in models/data/kernel/README.md. Every line is checked before any of it is believed: a
recording that is cut, damaged or of another kind ends in one UserError with file, line and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, StrictInt

from models.arrays import PAGE_BYTES, Flags, Words
from models.errors import UserError
from models.recording_lines import (
    NO_LINE,
    WORD_LIMIT,
    Number,
    PageRun,
    Pages,
    PfnRun,
    RecordBase,
    exact_number,
    numbered_records,
    refuse,
    validated,
)

KERNEL_DATA = Path(__file__).parent / "data" / "kernel"
"""The folder of the recordings that come with the project."""


class KernelInformation(RecordBase):
    """The first line: which kernel it was and what its HMM_PFN_* constants are.

    `dev_pfn0`, `dev_npfn`: the pfns of the recording module's own device memory; no pages if it had none.
    """

    kernel: str
    VALID: Number
    WRITE: Number
    ERROR: Number
    ORDER_SHIFT: Annotated[StrictInt, Field(ge=0, le=63)]
    FLAGS: Number
    zero_pfn: Number
    dev_pfn0: Number
    dev_npfn: Number


class _Try(RecordBase):
    ret: StrictInt
    retry: Literal[0, 1]
    out: list[PfnRun]


class _Request(RecordBase):
    """What a request and a request with a lost sequence have in common."""

    kernel: str
    addr: Number
    n: Pages
    owner: Literal[0, 1]
    backing: list[Annotated[list[Any], Field(min_length=3)]]
    pages: list[PageRun]


class _Req(_Request):
    state: str
    req: str
    tries: Annotated[list[_Try], Field(min_length=1)]


class _Stale(_Request):
    op: str
    ret: StrictInt
    retry: Literal[0, 1]
    out: list[PfnRun]


@dataclass(frozen=True)
class RecordedArray:
    """One array as hmm_range_fault() left it.

    name: the memory's state (of a request) or the operation (of a lost sequence); request: the kind of request,
    "stale" for a lost sequence; attempt: which of the repeated calls, from 0. result: what the call returned, 0 or a
    negative errno; retry: whether the sequence was lost by then. words: uint64[pages], entry i is for address +
    4096 i. special: bool[pages], true where the page has no struct page behind it or the whole mapping is one that
    HMM never looked into (VM_PFNMAP, VM_MIXEDMAP): there a not-accessible page was HMM_PFN_SPECIAL in 2018, and is
    HMM_PFN_ERROR since Linux 5.8.
    """

    kernel: str
    line: int
    name: str
    request: str
    attempt: int
    address: int
    pages: int
    result: int
    retry: bool
    owner: bool
    words: Words = field(repr=False)
    special: Flags = field(repr=False)

    @property
    def good(self) -> bool:
        """True if a driver may use it: the call succeeded and nothing was invalidated meanwhile."""
        return self.result == 0 and not self.retry


@dataclass(frozen=True)
class KernelRecording:
    """A whole recording: its first line and all arrays in the order of the file."""

    path: Path
    information: KernelInformation
    arrays: tuple[RecordedArray, ...]

    @property
    def good_arrays(self) -> tuple[RecordedArray, ...]:
        """The arrays that a driver may link into a device's tables."""
        return tuple(array for array in self.arrays if array.good)

    @property
    def bad_arrays(self) -> tuple[RecordedArray, ...]:
        """The arrays of calls that failed or lost their sequence: never to be linked, but worth decoding."""
        return tuple(array for array in self.arrays if not array.good)


def recordings(folder: Path = KERNEL_DATA) -> tuple[Path, ...]:
    """The recordings in a folder, by name. Errors: UserError if there is none."""
    found = tuple(sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]))
    if not found:
        raise UserError(f"{folder} holds no kernel recording (*.jsonl, *.jsonl.gz); give one with --recording FILE.")
    return found


def read_recording(path: Path) -> KernelRecording:
    """Reads and checks a whole recording, plain or compressed.

    Errors: UserError naming file and line if it cannot be read, is cut, is damaged or is not a recording.
    """
    lines = numbered_records(path)
    number, first = next(lines, (NO_LINE, {}))
    if first.get("k") != "info":
        refuse(path, number, 'is not a kernel recording: its first line is not an "info" record', "give another file")
    information = validated(KernelInformation, path, number, first)
    arrays: list[RecordedArray] = []
    ended = False
    for number, record in lines:
        kind = record.get("k")
        if ended:
            refuse(path, number, "goes on after its end record", "give the file as it was recorded")
        if kind == "req":
            arrays.extend(_arrays_of_request(path, number, record, information))
        elif kind == "stale":
            arrays.append(_array_of_stale(path, number, record, information))
        elif kind == "end":
            ended = True
        elif kind not in ("op", "skip"):
            refuse(path, number, f"has a record of unknown kind {kind!r}", "give the file as it was recorded")
    if not ended:
        refuse(path, number, "is cut: the end record is missing after this line", "copy or record it again")
    return KernelRecording(path, information, tuple(arrays))


def _checked_place(path: Path, line: int, record: _Request, information: KernelInformation) -> None:
    if record.kernel != information.kernel:
        what = f"is of kernel {record.kernel}, not of {information.kernel} as the first line says"
        refuse(path, line, what, "give one recording in a file")
    if record.addr % PAGE_BYTES or record.addr + record.n * PAGE_BYTES > WORD_LIMIT:
        refuse(path, line, f'has an impossible "addr" 0x{record.addr:x}', "give the file as it was recorded")


def _arrays_of_request(
    path: Path, line: int, raw: dict[str, Any], information: KernelInformation
) -> Iterator[RecordedArray]:
    record = validated(_Req, path, line, raw)
    _checked_place(path, line, record, information)
    special = _special_pages(path, line, record)
    for attempt, call in enumerate(record.tries):
        yield RecordedArray(
            kernel=record.kernel,
            line=line,
            name=record.state,
            request=record.req,
            attempt=attempt,
            address=record.addr,
            pages=record.n,
            result=call.ret,
            retry=bool(call.retry),
            owner=bool(record.owner),
            words=_expanded(path, line, call.out, record.n),
            special=special,
        )


def _array_of_stale(path: Path, line: int, raw: dict[str, Any], information: KernelInformation) -> RecordedArray:
    record = validated(_Stale, path, line, raw)
    _checked_place(path, line, record, information)
    return RecordedArray(
        kernel=record.kernel,
        line=line,
        name=record.op,
        request="stale",
        attempt=0,
        address=record.addr,
        pages=record.n,
        result=record.ret,
        retry=bool(record.retry),
        owner=bool(record.owner),
        words=_expanded(path, line, record.out, record.n),
        special=_special_pages(path, line, record),
    )


def _expect_cover(path: Path, line: int, key: str, runs: list[tuple[int, int]], pages: int) -> None:
    """Runs of (first page, count) must lie one after another and fill the array."""
    expected = 0
    for first, count in runs:
        if first != expected:
            what = f'has a "{key}" run that starts at page {first} where page {expected} comes next'
            refuse(path, line, what, "give the file as it was recorded")
        expected += count
    if expected != pages:
        what = f'has "{key}" runs for {expected} pages where the array has {pages}'
        refuse(path, line, what, "give the file as it was recorded")


def _expanded(path: Path, line: int, runs: list[tuple[int, int, int, int]], pages: int) -> Words:
    """uint64[pages] from runs of (first page, count, value, step)."""
    _expect_cover(path, line, "out", [(first, count) for first, count, _, _ in runs], pages)
    words = np.empty(pages, dtype=np.uint64)
    for first, count, value, step in runs:
        steps = np.arange(count, dtype=np.uint64) * np.uint64(step % WORD_LIMIT)
        words[first : first + count] = np.uint64(value) + steps
    words.flags.writeable = False
    return words


SPECIAL_MAPPINGS = ("pfnmap", "mixed", "special")
"""Kinds of mapping that the 2018 interface called special as a whole."""
SPECIAL_PAGE = "pfn"
"""A page-table entry without a page behind it."""
MARKER = "marker"


def _special_pages(path: Path, line: int, record: _Request) -> Flags:
    """bool[n]: see RecordedArray.special."""
    _expect_cover(path, line, "pages", [(first, count) for first, count, _ in record.pages], record.n)
    special = np.zeros(record.n, dtype=np.bool_)
    for first, count, text in record.pages:
        notes = [word for word in text.split() if word != MARKER]
        special[first : first + count] = notes[:1] == [SPECIAL_PAGE]
    for mapping in record.backing:
        try:
            start, end = (int(exact_number(value)) for value in mapping[:2])
        except (TypeError, ValueError):
            refuse(path, line, 'has a bad "backing" range', "give the file as it was recorded")
        if mapping[2] in SPECIAL_MAPPINGS:
            first = max(0, (start - record.addr) // PAGE_BYTES)
            special[first : max(0, (end - record.addr) // PAGE_BYTES)] = True
    special.flags.writeable = False
    return special
