# SPDX-License-Identifier: Apache-2.0
"""Every pfns array that the real kernel filled, linked as leaf tables as it is, or in a driver's format.

Each array has a context of its own, at its recorded virtual address. Only arrays that a driver may use are linked;
those of calls that failed or lost their sequence meet the decoder alone (tb/units/cocotb_decoder.py).
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Flags, Words
from models.errors import UserError
from models.formats import EntryFormat
from models.geometry import span_bits
from models.kernel_recording import KernelInformation, KernelRecording, RecordedArray, read_recording
from models.recorded_pages import device_window, recorded_format, words_in
from models.structures import Access
from tb.case import DEFAULT_CONFIGURATION, Case, MemorySettings
from tb.host_script import make_requests
from tb.records import Requests
from tb.scenarios.builder import CaseBuilder, chosen_format
from tb.scenarios.sampling import Indices, Runs, driver_format_runs, own_format_runs

NAME = "kernel_arrays"
LARGE_ARRAY = 1 << (span_bits(2) - PAGE_SHIFT)
"""Pages from which on an array is linked one level up: 1 GiB."""
LINK_ABOVE_CHANCE = 0.5
"""Of the arrays that cross a 2 MiB boundary, how many are linked one level up; the others are split."""
ATOMIC_SHARE = 0.125
PREFETCH_SHARE = 0.125
SPARE_CONTEXTS = 8
STRAY_REQUESTS = 8
"""Requests of contexts that are not bound, or that are beyond the table."""
LARGEST_HOLD = 3


class Parameters(BaseModel):
    """What decides a case, besides the seed: the recording, the format, and which part of the arrays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recording: str
    format: str
    configuration: str = DEFAULT_CONFIGURATION
    part: int = Field(default=0, ge=0)
    parts: int = Field(default=1, ge=1)


def kernel_arrays(seed: int, parameters: dict[str, Any]) -> Case:
    """The case; `parameters` are those of Parameters. Errors: UserError for bad parameters or a bad recording."""
    chosen = _checked(parameters)
    fmt = chosen_format(chosen.format)
    recording = _recording(Path(chosen.recording), *_state_of(Path(chosen.recording)))
    information = recording.information
    arrays = part_of(recording, fmt, chosen.part, chosen.parts)
    rng = np.random.default_rng([seed, zlib.crc32(f"{information.kernel} {chosen.format} {chosen.part}".encode())])
    settings = MemorySettings(read_latency=(1, 3), write_latency=(1, 3))
    builder = CaseBuilder(
        NAME,
        seed,
        fmt,
        context_count=len(arrays) + SPARE_CONTEXTS,
        window=device_window(information),
        parameters=chosen.model_dump(),
        settings=settings,
    )
    pasids = rng.permutation(len(arrays) + SPARE_CONTEXTS)
    entries = sampled = 0
    for pasid, array in zip(pasids[: len(arrays)].tolist(), arrays, strict=True):
        words = words_in(fmt, array, information)
        builder.tables.bind(pasid)
        _link(builder, pasid, array, words, rng)
        pages = array_runs(words, array, fmt, information).sample(rng)
        builder.ask(builder.spread(_requests(pasid, array, pages, builder.va_bits, rng), rng))
        entries += array.pages
        sampled += pages.size
    builder.ask(_stray_requests(pasids[len(arrays) :], len(pasids), rng))
    return builder.build(kernel=information.kernel, arrays=len(arrays), entries=entries, sampled=sampled)


def array_runs(words: Words, array: RecordedArray, fmt: EntryFormat, information: KernelInformation) -> Runs:
    """The runs of an array whose words in `fmt` are `words`, by the sampling rule that goes with the format."""
    valid: Flags = (array.words & np.uint64(information.VALID)) != 0
    if fmt == recorded_format(information):
        return own_format_runs(words, valid)
    return driver_format_runs(words, valid, 1 << fmt.pfn_shift)


def part_of(recording: KernelRecording, fmt: EntryFormat, part: int, parts: int) -> tuple[RecordedArray, ...]:
    """Part `part` of `parts` of the arrays that may be linked: about equal numbers of sampled entries in each.

    Errors: UserError if there is no such part.
    """
    if part >= parts:
        raise UserError(f"Choose a part from 0 to {parts - 1}, not {part}.")
    arrays = recording.good_arrays
    if parts == 1:
        return arrays
    information = recording.information
    runs = (array_runs(words_in(fmt, array, information), array, fmt, information) for array in arrays)
    weights = np.cumsum([each.sampled for each in runs])
    bounds = np.searchsorted(weights, weights[-1] * np.arange(parts + 1) / parts, side="left")
    bounds[0], bounds[-1] = 0, len(arrays)
    return arrays[bounds[part] : bounds[part + 1]]


def _state_of(path: Path) -> tuple[int, int]:
    """What changes when a file does; nothing for one that is absent."""
    if not path.is_file():
        return 0, 0
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4)
def _recording(path: Path, changed: int, size: int) -> KernelRecording:
    """A recording, read once as long as its file does not change: a process runs it in many formats."""
    return read_recording(path)


def _checked(parameters: dict[str, Any]) -> Parameters:
    try:
        return Parameters.model_validate(parameters)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"Give {NAME} parameters that fit: {place}: {first['msg']}.") from None


def _link(builder: CaseBuilder, pasid: int, array: RecordedArray, words: Words, rng: np.random.Generator) -> None:
    """Links the array at its address; an address wider than the device's is cut to what the device sees of it."""
    start = _visible(array.address, builder.va_bits)
    last = start + (array.pages - 1) * PAGE_BYTES
    crosses = start >> span_bits(1) != last >> span_bits(1)
    above = array.pages >= LARGE_ARRAY or (crosses and rng.random() < LINK_ABOVE_CHANCE)
    builder.tables.link_range(pasid, start, words, builder.format, level=2 if above else 1)


def _visible(address: int, va_bits: int) -> int:
    return address & ((1 << va_bits) - 1)


def _requests(pasid: int, array: RecordedArray, pages: Indices, va_bits: int, rng: np.random.Generator) -> Requests:
    """READ and WRITE of every sampled entry, ATOMIC and PREFETCH of some, in any order; and a step out at both ends."""
    accesses = [np.full(pages.size, Access.READ), np.full(pages.size, Access.WRITE)]
    places = [pages, pages]
    for access, share in ((Access.ATOMIC, ATOMIC_SHARE), (Access.PREFETCH, PREFETCH_SHARE)):
        some = pages[rng.random(pages.size) < share]
        places.append(some)
        accesses.append(np.full(some.size, access))
    page, access_of = np.concatenate(places), np.concatenate(accesses)
    # Entry after entry, the accesses of one in any order.
    order = np.lexsort((rng.random(page.size), page))
    start = _visible(array.address, va_bits)
    inside = np.uint64(start) + page[order].astype(np.uint64) * np.uint64(PAGE_BYTES)
    around = [address for address in (start - PAGE_BYTES, start + array.pages * PAGE_BYTES) if address >= 0]
    addresses = np.concatenate([inside, np.array(around, dtype=np.uint64)])
    addresses += rng.integers(PAGE_BYTES, size=addresses.size, dtype=np.uint64)
    return make_requests(
        addresses,
        pasid,
        np.concatenate([access_of[order], np.full(len(around), Access.READ)]),
        hold=rng.integers(LARGEST_HOLD + 1, size=addresses.size),
    )


def _stray_requests(unbound: Indices, context_count: int, rng: np.random.Generator) -> Requests:
    pasids = np.concatenate([unbound, context_count + rng.integers(1 << 16, size=STRAY_REQUESTS)])
    return make_requests(
        rng.integers(1 << 48, size=pasids.size, dtype=np.uint64), pasids, rng.integers(4, size=pasids.size)
    )
