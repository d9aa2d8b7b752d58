# SPDX-License-Identifier: Apache-2.0
"""Reads recordings of a real Linux kernel's HMM and yields every pfns array that hmm_range_fault() filled.

The file format is described in models/data/kernel/README.md. Every line is checked before any of it is believed: a
recording that is cut, damaged or of another kind ends in one UserError with file, line and what to do.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from models.arrays import PAGE_BYTES, Flags, Words
from models.errors import UserError

KERNEL_DATA = Path(__file__).parent / "data" / "kernel"
"""The folder of the recordings that come with the project."""

LARGEST_ARRAY = 1 << 24
"""Pages of the largest array that is believed: 64 GiB of address space, 128 MiB of entries."""

WORD_LIMIT = 1 << 64
NO_LINE = 0


def _number(value: Any) -> Any:
    """Numbers above 2^53 are written as hexadecimal strings, because JSON readers may round them."""
    if isinstance(value, str) and value.startswith("0x"):
        return int(value, 16)
    return value


Number = Annotated[StrictInt, BeforeValidator(_number), Field(ge=0, lt=WORD_LIMIT)]
Pages = Annotated[StrictInt, Field(ge=1, le=LARGEST_ARRAY)]
FirstPage = Annotated[StrictInt, Field(ge=0, le=LARGEST_ARRAY)]
PfnRun = tuple[FirstPage, Pages, Number, StrictInt]
PageRun = tuple[FirstPage, Pages, str]


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


Kind = TypeVar("Kind", bound=_Record)


class KernelInformation(_Record):
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


class _Try(_Record):
    ret: StrictInt
    retry: Literal[0, 1]
    out: list[PfnRun]


class _Request(_Record):
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
    lines = _numbered_records(path)
    number, first = next(lines, (NO_LINE, {}))
    if first.get("k") != "info":
        _refuse(path, number, 'is not a kernel recording: its first line is not an "info" record', "give another file")
    information = _validated(KernelInformation, path, number, first)
    arrays: list[RecordedArray] = []
    ended = False
    for number, record in lines:
        kind = record.get("k")
        if ended:
            _refuse(path, number, "goes on after its end record", "give the file as it was recorded")
        if kind == "req":
            arrays.extend(_arrays_of_request(path, number, record, information))
        elif kind == "stale":
            arrays.append(_array_of_stale(path, number, record, information))
        elif kind == "end":
            ended = True
        elif kind not in ("op", "skip"):
            _refuse(path, number, f"has a record of unknown kind {kind!r}", "give the file as it was recorded")
    if not ended:
        _refuse(path, number, "is cut: the end record is missing after this line", "copy or record it again")
    return KernelRecording(path, information, tuple(arrays))


def _refuse(path: Path, line: int, what: str, action: str) -> NoReturn:
    place = f"{path}, line {line}," if line != NO_LINE else f"{path}"
    raise UserError(f"{place} {what}; {action}.") from None


def _numbered_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, JSON object) of each line."""
    number = NO_LINE
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as stream:
            for number, line in enumerate(stream, start=1):
                yield number, _parsed(path, number, line)
    except EOFError:
        _refuse(path, number + 1, "is cut: the compressed data end too early", "copy or record it again")
    except (gzip.BadGzipFile, zlib.error):
        _refuse(path, number + 1, "is not readable as gzip data", "copy it again or give the plain .jsonl file")
    except OSError as error:
        _refuse(path, NO_LINE, f"cannot be read ({error.strerror})", "give a file that exists and may be read")


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        if line.endswith(b"\n"):
            _refuse(path, number, "is not JSON", "give a kernel recording, one JSON object a line")
        _refuse(path, number, "is cut in the middle of the line", "copy or record it again")
    if not isinstance(record, dict):
        _refuse(path, number, "is not a JSON object", "give a kernel recording, one JSON object a line")
    return record


def _validated(kind: type[Kind], path: Path, line: int, record: dict[str, Any]) -> Kind:
    try:
        return kind.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            _refuse(path, line, f'lacks the key "{key}"', "give a complete recording")
        _refuse(path, line, f'has a bad "{key}" ({first["msg"]})', "give the file as it was recorded")


def _checked_place(path: Path, line: int, record: _Request, information: KernelInformation) -> None:
    if record.kernel != information.kernel:
        what = f"is of kernel {record.kernel}, not of {information.kernel} as the first line says"
        _refuse(path, line, what, "give one recording in a file")
    if record.addr % PAGE_BYTES or record.addr + record.n * PAGE_BYTES > WORD_LIMIT:
        _refuse(path, line, f'has an impossible "addr" 0x{record.addr:x}', "give the file as it was recorded")


def _arrays_of_request(
    path: Path, line: int, raw: dict[str, Any], information: KernelInformation
) -> Iterator[RecordedArray]:
    record = _validated(_Req, path, line, raw)
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
    record = _validated(_Stale, path, line, raw)
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
            _refuse(path, line, what, "give the file as it was recorded")
        expected += count
    if expected != pages:
        what = f'has "{key}" runs for {expected} pages where the array has {pages}'
        _refuse(path, line, what, "give the file as it was recorded")


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
            start, end = (int(_number(value)) for value in mapping[:2])
        except (TypeError, ValueError):
            _refuse(path, line, 'has a bad "backing" range', "give the file as it was recorded")
        if mapping[2] in SPECIAL_MAPPINGS:
            first = max(0, (start - record.addr) // PAGE_BYTES)
            special[first : max(0, (end - record.addr) // PAGE_BYTES)] = True
    special.flags.writeable = False
    return special
