# SPDX-License-Identifier: Apache-2.0
"""A case: one scenario with one seed, as data. And the result that the simulator gives back for it.

A case holds everything that decides what happens in simulated time, so whoever runs it gets the same cycles. It can be
saved into a directory (case.json and arrays.npz) and run again from there.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.arrays import Words
from models.errors import UserError
from models.formats import EntryFormat
from models.pages import NO_WINDOW, Window
from models.physical_memory import DEFAULT_SIZE, PhysicalMemory
from models.structures import COMMAND_BYTES
from tb.records import (
    ACTION_DTYPE,
    DATA_BYTES,
    EVENT_DTYPE,
    REQUEST_DTYPE,
    Actions,
    RequestData,
    Requests,
    Responses,
)

CASE_FILE = "case.json"
ARRAYS_FILE = "arrays.npz"
CASE_VERSION: Literal[1] = 1
DEFAULT_CONFIGURATION = "default"
DEFAULT_WATCHDOG_CYCLES = 20_000
LARGEST_PAUSE = 15
LARGEST_RING_LOG2 = 15

EXPECTATION_DTYPE = np.dtype([("value", "<u8"), ("mask", "<u8"), ("action", "<u4"), ("status", "<u4")])
"""What an action must bring back: (data & mask) == value, and the bus answer `status` (0 OKAY, 2 SLVERR)."""

CLEAN_DTYPE = np.dtype([("first", "<u8"), ("last", "<u8"), ("action", "<u4"), ("pasid", "<u4")])
"""When the action is done, the host counts on it that no translation of bytes first to last of the context, made from
what later stores replaced, is in use. This is what the host believes, whether it sent the commands for it or not."""

Pause = Annotated[int, Field(ge=0, le=LARGEST_PAUSE)]
Latency = tuple[Annotated[int, Field(ge=0, le=0xFFFF)], Annotated[int, Field(ge=0, le=0xFFFF)]]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MemorySettings(_Settings):
    """The memory that the device sees: its place, and how it answers.

    A latency (smallest, largest) is drawn for each access; a pause is the chance, in sixteenths, that the channel
    stands still in a cycle (0 never).
    """

    size: Annotated[int, Field(gt=0)] = DEFAULT_SIZE
    base: Annotated[int, Field(ge=0)] = 0
    read_latency: Latency = (2, 2)
    write_latency: Latency = (2, 2)
    ar_pause: Pause = 0
    r_pause: Pause = 0
    aw_pause: Pause = 0
    w_pause: Pause = 0
    b_pause: Pause = 0


class CommandRing(_Settings):
    """Where the ring of commands lies: bus address, log2 of its slots. `enabled` false: the device never reads it."""

    base: Annotated[int, Field(ge=0, multiple_of=64)]
    log2: Annotated[int, Field(ge=0, le=LARGEST_RING_LOG2)]
    enabled: bool = True

    @property
    def bytes(self) -> int:
        """Size of the ring in memory."""
        return COMMAND_BYTES << self.log2


class Region(NamedTuple):
    """A piece of the memory at the start of a case: its first bus address, its words, the owner byte of all of them
    (class, and the marks of bus errors)."""

    address: int
    words: Words
    owner: int


@dataclass
class Case:
    """Everything that a simulation needs, and nothing that is not data.

    `actions` begins with the writes that set the device up (tb.host_script makes them). Memory that no region of
    `image` covers is 0 and nobody's. `request_data` has a row for each request (see tb.records.DATA_BYTES), or none at
    all if no request moves data; a run works on a copy. `interrupt_enable` is what the set-up writes into
    INTERRUPT_ENABLE.
    `parameters`: what the scenario was built from, for the command that runs it again.
    """

    name: str
    seed: int
    entry_format: EntryFormat
    context_base: int
    context_count: int
    window: Window = NO_WINDOW
    configuration: str = DEFAULT_CONFIGURATION
    va_bits: Literal[48, 57] = 48
    memory: MemorySettings = field(default_factory=MemorySettings)
    command_ring: CommandRing | None = None
    interrupt_enable: int = 0
    watchdog_cycles: int = DEFAULT_WATCHDOG_CYCLES
    image: list[Region] = field(default_factory=list)
    requests: Requests = field(default_factory=lambda: np.zeros(0, dtype=REQUEST_DTYPE))
    request_data: RequestData = field(default_factory=lambda: np.zeros((0, DATA_BYTES), dtype=np.uint8))
    actions: Actions = field(default_factory=lambda: np.zeros(0, dtype=ACTION_DTYPE))
    expectations: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, dtype=EXPECTATION_DTYPE))
    clean: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, dtype=CLEAN_DTYPE))
    parameters: dict[str, Any] = field(default_factory=dict)

    def save(self, directory: Path) -> None:
        """Writes the case into a directory (made if absent). Errors: UserError if it cannot be written."""
        text = _CaseText(
            version=CASE_VERSION,
            name=self.name,
            seed=self.seed,
            configuration=self.configuration,
            entry_format=self.entry_format,
            window=self.window,
            va_bits=self.va_bits,
            memory=self.memory,
            context_base=self.context_base,
            context_count=self.context_count,
            command_ring=self.command_ring,
            interrupt_enable=self.interrupt_enable,
            watchdog_cycles=self.watchdog_cycles,
            parameters=self.parameters,
        )
        empty = np.zeros(0, dtype=np.uint64)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / CASE_FILE).write_text(text.model_dump_json(indent=1) + "\n", encoding="utf-8")
            np.savez_compressed(
                directory / ARRAYS_FILE,
                requests=self.requests,
                request_data=self.request_data,
                actions=self.actions,
                expectations=self.expectations,
                clean=self.clean,
                image_address=np.array([region.address for region in self.image], dtype=np.uint64),
                image_length=np.array([region.words.size for region in self.image], dtype=np.uint64),
                image_owner=np.array([region.owner for region in self.image], dtype=np.uint8),
                image_words=np.concatenate([empty, *(region.words for region in self.image)]),
            )
        except OSError as error:
            raise UserError(f"The case cannot be written to {directory} ({error.strerror}); choose another.") from None

    @staticmethod
    def load(directory: Path) -> Case:
        """Reads a case that save() wrote. Errors: UserError if the directory is not a whole, valid case."""
        try:
            text = _CaseText.model_validate_json((directory / CASE_FILE).read_text(encoding="utf-8"))
            with (directory / ARRAYS_FILE).open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
                arrays = dict(stored)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{directory / CASE_FILE} is not a case ({place}: {first['msg']}); save it anew.") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{directory} holds no case that can be read ({error}); give one that was saved.") from None
        _expect_arrays(directory, arrays)
        return Case(
            name=text.name,
            seed=text.seed,
            configuration=text.configuration,
            entry_format=text.entry_format,
            window=text.window,
            va_bits=text.va_bits,
            memory=text.memory,
            context_base=text.context_base,
            context_count=text.context_count,
            command_ring=text.command_ring,
            interrupt_enable=text.interrupt_enable,
            watchdog_cycles=text.watchdog_cycles,
            image=_regions(arrays),
            requests=arrays["requests"],
            request_data=arrays["request_data"],
            actions=arrays["actions"],
            expectations=arrays["expectations"],
            clean=arrays["clean"],
            parameters=text.parameters,
        )


class _CaseText(BaseModel):
    """What case.json holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    name: Name
    seed: Annotated[int, Field(ge=0, lt=1 << 64)]
    configuration: Name
    entry_format: EntryFormat
    window: Window
    va_bits: Literal[48, 57]
    memory: MemorySettings
    context_base: Annotated[int, Field(ge=0, multiple_of=64)]
    context_count: Annotated[int, Field(ge=0, le=1 << 20)]
    command_ring: CommandRing | None
    interrupt_enable: Annotated[int, Field(ge=0)]
    watchdog_cycles: Annotated[int, Field(ge=0)]
    parameters: dict[str, Any]


_ARRAYS: dict[str, np.dtype[Any]] = {
    "requests": REQUEST_DTYPE,
    "actions": ACTION_DTYPE,
    "expectations": EXPECTATION_DTYPE,
    "clean": CLEAN_DTYPE,
    "image_address": np.dtype(np.uint64),
    "image_length": np.dtype(np.uint64),
    "image_owner": np.dtype(np.uint8),
    "image_words": np.dtype(np.uint64),
    "request_data": np.dtype(np.uint8),
}
_DIMENSIONS = {"request_data": 2}


def _expect_arrays(directory: Path, arrays: dict[str, NDArray[Any]]) -> None:
    path = directory / ARRAYS_FILE
    for name, dtype in _ARRAYS.items():
        if name not in arrays or arrays[name].dtype != dtype or arrays[name].ndim != _DIMENSIONS.get(name, 1):
            raise UserError(f"{path} lacks a fitting array {name!r}: save the case anew with this version.")
    sizes = {arrays[name].size for name in ("image_address", "image_length", "image_owner")}
    if len(sizes) != 1 or int(arrays["image_length"].sum()) != arrays["image_words"].size:
        raise UserError(f"{path} has image arrays that do not belong together: save the case anew.")
    if arrays["request_data"].shape not in ((0, DATA_BYTES), (arrays["requests"].size, DATA_BYTES)):
        raise UserError(f"{path} has data that do not belong to its requests: save the case anew.")
    for name in ("expectations", "clean"):
        if (arrays[name]["action"] >= arrays["actions"].size).any():
            raise UserError(f"{path} says something of an action that is not there: save the case anew.")


def _regions(arrays: dict[str, NDArray[Any]]) -> list[Region]:
    ends = np.cumsum(arrays["image_length"], dtype=np.int64)
    starts = ends - arrays["image_length"].astype(np.int64)
    places = zip(arrays["image_address"], starts, ends, arrays["image_owner"], strict=True)
    words = arrays["image_words"]
    return [Region(int(address), words[start:end], int(owner)) for address, start, end, owner in places]


@dataclass
class CaseResult:
    """What the simulator gives back. Arrays have the dtypes of tb.records, one row for each row of the case's arrays.

    `device_events`: rows of DeviceEventKind, if the run was asked for them.
    `request_data`: the case's, with what READ and ATOMIC brought.
    `counters`: the device's counters by register name, read after a latch at the end. `owner_violation`,
    `assertion_failure`, `dump`: the first one in words, and who waits for whom if the case stalled.
    """

    responses: Responses
    action_results: NDArray[np.void]
    events: NDArray[np.void]
    event_hash: str
    cycles: int
    device_events: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, dtype=EVENT_DTYPE))
    request_data: RequestData = field(default_factory=lambda: np.zeros((0, DATA_BYTES), dtype=np.uint8))
    counters: dict[str, int] = field(default_factory=dict)
    owner_violations: int = 0
    owner_violation: str = ""
    assertion_failures: int = 0
    assertion_failure: str = ""
    stalled: bool = False
    dump: str = ""


def image_of(memory: PhysicalMemory) -> list[Region]:
    """Everything allocated in `memory`, cut where the owner byte changes; words are copies of the shadow."""
    regions: list[Region] = []
    for address, length in memory.allocations():
        first = (address - memory.base) // 8
        owners = memory.owners[first : first + length // 8]
        cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), owners.size]
        for start, end in pairwise(cuts):
            words = memory.shadow_words[first + start : first + end].copy()
            regions.append(Region(address + 8 * start, words, int(owners[start])))
    return regions


def fill_memory(memory: PhysicalMemory, image: list[Region]) -> None:
    """Writes an image into a memory: shared bytes, shadow, owners. Errors: UserError if a region does not fit."""
    for region in image:
        memory.write_words(region.address, region.words)
        first = (region.address - memory.base) // 8
        memory.owners[first : first + region.words.size] = region.owner
