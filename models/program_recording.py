# SPDX-License-Identifier: Apache-2.0
"""Recordings of real programs: their loads and stores with the memory system calls in order, in one compact file.

A recording holds no data, only where a program went and what it did to its address space. `python -m sim record` makes
one; the host and the device replay it. The file is a NumPy archive (.npz) of plain integer columns with a JSON header.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import UserError
from models.files import write_atomically

PAGE_BYTES = 4096
PAGE_SHIFT = 12
ADDRESS_LIMIT = 1 << 48
"""Every recorded address lies below."""
LIMIT_ACCESSES = 200_000
"""The recorder's bound of merged accesses; a longer program is cut."""
LIMIT_BYTES = 1_000_000
"""The recorder's bound of a file."""
_COMPRESSION = 9
_LARGEST_MEMBER = 64_000_000
"""Bytes of one unpacked column that the reader takes; far above what the recorder writes."""

Array = NDArray[Any]


class EventKind(IntEnum):
    """What the program did."""

    READ = 0
    WRITE = 1
    MODIFY = 2
    """A load and a store of the same place by one instruction, as in an increment or an atomic."""
    MMAP = 3
    MUNMAP = 4
    MPROTECT = 5
    BRK = 6
    MREMAP = 7


LAST_ACCESS = EventKind.MODIFY
"""Kinds up to here are accesses, kinds above are system calls."""


class Protection(IntFlag):
    """What a mapping allows; the values of PROT_READ, PROT_WRITE and PROT_EXEC. 0: nothing."""

    NONE = 0
    READ = 1
    WRITE = 2
    EXECUTE = 4


class MappingFlag(IntFlag):
    """What kind of mapping mmap made; the values of MAP_SHARED and MAP_ANONYMOUS."""

    PRIVATE_FILE = 0
    SHARED = 0x01
    ANONYMOUS = 0x20


EVENT_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("protection", "u1"),
        ("flags", "u2"),
        ("repeats", "<u4"),
        ("address", "<u8"),
        ("length", "<u8"),
        ("new_address", "<u8"),
        ("new_length", "<u8"),
    ]
)
"""One event; a field that its kind does not use is 0.

READ, WRITE, MODIFY: `address` of a byte, `length` in bytes, never past the end of the page; both of the first of the
    `repeats` loads or stores that were merged into this one.
MMAP: `address`, `length`, `protection`, `flags`. What was mapped there before is replaced.
MUNMAP: `address`, `length`; there may be holes.
MPROTECT: `address`, `length`, `protection`.
BRK: the heap's end goes from `address` to `new_address`; pages between come (readable and writable) or go.
MREMAP: `address`, `length` become `new_address`, `new_length`; contents and protection go along.
Ranges are whole pages (addresses and lengths in bytes). Only calls that succeeded are in, with the kernel's results.
"""
MAPPING_DTYPE = np.dtype([("address", "<u8"), ("length", "<u8"), ("protection", "u1")])
"""A range of whole pages that is mapped before the first event."""


class _Header(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    format: Literal["program recording"] = "program recording"
    version: Literal[1] = 1
    command: list[str] = Field(min_length=1)
    tools: dict[str, str]
    page_bytes: Literal[4096] = 4096
    window: int = Field(ge=1)
    cut: str
    exit_status: int | None
    refused_calls: int = Field(ge=0)
    refused_accesses: int = Field(ge=0)
    accesses: int = Field(ge=0)
    calls: int = Field(ge=0)
    mappings: int = Field(ge=0)


@dataclass(frozen=True)
class ProgramRecording:
    """One program's run.

    command: the program and its arguments.
    tools: name -> version of what recorded it.
    window: accesses to one page and of one kind are merged when they are among this many successive loads and stores
        and no memory system call lies between; 1: only those that follow each other directly.
    cut: empty, or why the recording ends before the program did.
    exit_status: the program's, None if the recording is cut.
    refused_calls: memory system calls that failed and are left out.
    refused_accesses: merged accesses in `events` that the mappings of their time do not allow (the program caught the
        signal, or died of it).
    events: EVENT_DTYPE[n], in order. initial_mappings: MAPPING_DTYPE[m], ascending, apart from each other.
    """

    command: tuple[str, ...]
    tools: dict[str, str]
    window: int
    cut: str
    exit_status: int | None
    refused_calls: int
    refused_accesses: int
    events: Array
    initial_mappings: Array

    @cached_property
    def is_access(self) -> NDArray[np.bool_]:
        """bool[n]: the event is a load or store, not a system call."""
        return np.asarray(self.events["kind"] <= LAST_ACCESS)

    @property
    def accesses(self) -> int:
        """Merged accesses."""
        return int(np.count_nonzero(self.is_access))

    @property
    def calls(self) -> int:
        """Memory system calls."""
        return len(self.events) - self.accesses

    @property
    def raw_accesses(self) -> int:
        """Loads and stores before merging, each counted once for each page it touches."""
        return int(self.events["repeats"].sum())

    @property
    def pages(self) -> int:
        """Different pages that were accessed."""
        return len(np.unique(self.events["address"][self.is_access] >> PAGE_SHIFT))


# The file's columns. Accesses: a table of pages and an index into it pack far better than addresses.
_COLUMNS = {
    "pages": "<u8",
    "access_page": "<u4",
    "access_offset": "<u2",
    "access_length": "<u2",
    "access_kind": "u1",
    "access_repeats": "<u4",
    "call_place": "<u4",
    "call_kind": "u1",
    "call_protection": "u1",
    "call_flags": "<u2",
    "call_address": "<u8",
    "call_length": "<u8",
    "call_new_address": "<u8",
    "call_new_length": "<u8",
    "mapping_address": "<u8",
    "mapping_length": "<u8",
    "mapping_protection": "u1",
}
_HEADER = "header"
_CALL_FIELDS = ("kind", "protection", "flags", "address", "length", "new_address", "new_length")


def encode_program(recording: ProgramRecording) -> bytes:
    """The file's content. The same recording gives the same bytes. Errors: ValueError if it is no legal recording."""
    fault = _fault_in_events(recording.events) or _fault_in_mappings(recording.initial_mappings)
    if fault:
        raise ValueError(fault)
    header = _Header(
        command=list(recording.command),
        tools=recording.tools,
        window=recording.window,
        cut=recording.cut,
        exit_status=recording.exit_status,
        refused_calls=recording.refused_calls,
        refused_accesses=recording.refused_accesses,
        accesses=recording.accesses,
        calls=recording.calls,
        mappings=len(recording.initial_mappings),
    )
    accesses = recording.events[recording.is_access]
    calls = recording.events[~recording.is_access]
    pages, page_index = np.unique(accesses["address"] >> PAGE_SHIFT, return_inverse=True)
    columns: dict[str, Array] = {
        "pages": np.diff(pages, prepend=np.uint64(0)),
        "access_page": page_index,
        "access_offset": accesses["address"] % PAGE_BYTES,
        "access_length": accesses["length"],
        "access_kind": accesses["kind"],
        "access_repeats": accesses["repeats"],
        "call_place": np.cumsum(recording.is_access)[~recording.is_access],
    }
    columns |= {f"call_{name}": calls[name] for name in _CALL_FIELDS}
    columns |= {f"mapping_{name}": recording.initial_mappings[name] for name in MAPPING_DTYPE.names or ()}
    typed = {name: columns[name].astype(dtype) for name, dtype in _COLUMNS.items()}
    typed[_HEADER] = np.frombuffer(header.model_dump_json().encode(), dtype=np.uint8)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, values in typed.items():
            column = io.BytesIO()
            np.lib.format.write_array(column, values, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), column.getvalue(), zipfile.ZIP_DEFLATED, _COMPRESSION)
    return content.getvalue()


def save_program(recording: ProgramRecording, path: Path) -> int:
    """Writes `path` atomically and returns the file's bytes. Errors: UserError if it cannot be written."""
    content = encode_program(recording)
    write_atomically(path, content)
    return len(content)


def _refuse(path: Path, what: str, advice: str = "record the program again with `python -m sim record`") -> NoReturn:
    raise UserError(f"{path} {what}; {advice}.")


def load_program(path: Path) -> ProgramRecording:
    """Reads and checks a whole recording. Errors: UserError for what is absent, cut off, damaged or something else."""
    try:
        content = path.read_bytes()
    except OSError as error:
        _refuse(path, f"cannot be read ({error.strerror})", "give the path of a recorded program")
    if not content.startswith(b"PK\x03\x04"):
        _refuse(path, "is no recorded program", "give a file that `python -m sim record` wrote")
    columns = _read_columns(path, content)
    header = _read_header(path, columns.pop(_HEADER))
    count, calls = len(columns["access_page"]), len(columns["call_place"])
    sizes = {"access": count, "call": calls, "mapping": len(columns["mapping_address"])}
    for name, values in columns.items():
        if name != "pages" and len(values) != sizes[name.split("_")[0]]:
            _refuse(path, f'is damaged (column "{name}" has {len(values)} values)')
    if (header.accesses, header.calls, header.mappings) != (count, calls, sizes["mapping"]):
        _refuse(path, "is damaged (its header counts other events than it holds)")
    recording = ProgramRecording(
        command=tuple(header.command),
        tools=header.tools,
        window=header.window,
        cut=header.cut,
        exit_status=header.exit_status,
        refused_calls=header.refused_calls,
        refused_accesses=header.refused_accesses,
        events=_events_of(path, columns),
        initial_mappings=_mappings_of(columns),
    )
    fault = _fault_in_events(recording.events) or _fault_in_mappings(recording.initial_mappings)
    if fault:
        _refuse(path, f"is damaged ({fault})")
    return recording


def _read_columns(path: Path, content: bytes) -> dict[str, Array]:
    expected = {_HEADER: "u1", **_COLUMNS}
    columns: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if names.keys() != expected.keys():
                _refuse(path, "is no recorded program", "give a file that `python -m sim record` wrote")
            for name, dtype in expected.items():
                if names[name].file_size > _LARGEST_MEMBER:
                    _refuse(path, f'is damaged (column "{name}" has {names[name].file_size} bytes)')
                values = np.lib.format.read_array(io.BytesIO(archive.read(names[name])), allow_pickle=False)
                if values.dtype != np.dtype(dtype) or values.ndim != 1:
                    _refuse(path, f'is damaged (column "{name}" is of another type)')
                columns[name] = values
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError, RuntimeError) as error:
        _refuse(path, f"is cut off or damaged ({error})")
    return columns


def _read_header(path: Path, values: Array) -> _Header:
    try:
        return _Header.model_validate_json(values.tobytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        _refuse(path, f'has a header that this version does not know ("{key}": {first["msg"]})')


def _events_of(path: Path, columns: dict[str, Array]) -> Array:
    pages = np.cumsum(columns["pages"], dtype=np.uint64)
    count, place = len(columns["access_page"]), columns["call_place"].astype(np.int64)
    if count and int(columns["access_page"].max()) >= len(pages):
        _refuse(path, "is damaged (an access names a page that the file does not list)")
    if len(place) and (np.any(np.diff(place) < 0) or int(place[-1]) > count):
        _refuse(path, "is damaged (the system calls are not in order)")
    if int(columns["access_offset"].max(initial=0)) >= PAGE_BYTES:
        _refuse(path, "is damaged (an access lies past its page)")
    calls = np.zeros(len(place), dtype=EVENT_DTYPE)
    for name in _CALL_FIELDS:
        calls[name] = columns[f"call_{name}"]
    if np.any(calls["kind"] <= LAST_ACCESS):
        _refuse(path, "is damaged (a system call of no known kind)")
    accesses = np.zeros(count, dtype=EVENT_DTYPE)
    accesses["kind"] = columns["access_kind"]
    accesses["repeats"] = columns["access_repeats"]
    accesses["address"] = (pages[columns["access_page"]] << np.uint64(PAGE_SHIFT)) + columns["access_offset"]
    accesses["length"] = columns["access_length"]
    if np.any(accesses["kind"] > LAST_ACCESS):
        _refuse(path, "is damaged (an access of no known kind)")
    events = np.insert(accesses, place, calls)
    events.flags.writeable = False
    return events


def _mappings_of(columns: dict[str, Array]) -> Array:
    mappings = np.zeros(len(columns["mapping_address"]), dtype=MAPPING_DTYPE)
    for name in MAPPING_DTYPE.names or ():
        mappings[name] = columns[f"mapping_{name}"]
    mappings.flags.writeable = False
    return mappings


def _range_is_bad(address: Array, length: Array) -> bool:
    """Not whole pages, or past the last address."""
    low = (address % PAGE_BYTES == 0) & (length % PAGE_BYTES == 0)
    return not bool(
        np.all(low & (address <= ADDRESS_LIMIT) & (length <= ADDRESS_LIMIT - np.minimum(address, ADDRESS_LIMIT)))
    )


def _fault_in_events(events: Array) -> str:
    """What is wrong with EVENT_DTYPE[n]; empty: nothing."""
    kind = events["kind"]
    accesses, calls = events[kind <= LAST_ACCESS], events[kind > LAST_ACCESS]
    end = accesses["address"] % PAGE_BYTES + accesses["length"]
    if np.any((accesses["length"] == 0) | (end > PAGE_BYTES) | (accesses["address"] >= ADDRESS_LIMIT)):
        return "an access does not lie in one page"
    if np.any(accesses["repeats"] == 0) or np.any(calls["repeats"] != 0):
        return "an event has an impossible number of repeats"
    if np.any(kind > max(EventKind)) or np.any(calls["protection"] > 7):
        return "a system call of no known kind"
    if _range_is_bad(calls["address"], calls["length"]) or _range_is_bad(calls["new_address"], calls["new_length"]):
        return "a system call's range is no whole number of pages"
    if np.any((calls["length"] == 0) & (calls["kind"] != EventKind.BRK)):
        return "a system call's range is empty"
    if np.any((calls["new_length"] == 0) & (calls["kind"] == EventKind.MREMAP)):
        return "a system call's range is empty"
    return ""


def _fault_in_mappings(mappings: Array) -> str:
    """What is wrong with MAPPING_DTYPE[m]; empty: nothing."""
    if _range_is_bad(mappings["address"], mappings["length"]) or np.any(mappings["length"] == 0):
        return "a mapping of the start is no whole number of pages"
    ends = mappings["address"] + mappings["length"]
    if np.any(mappings["address"][1:] < ends[:-1]) or np.any(mappings["protection"] > 7):
        return "the mappings of the start are not in order"
    return ""
