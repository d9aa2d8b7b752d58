# SPDX-License-Identifier: Apache-2.0
"""The entry decoder and the format check of the RTL against the models, entry by entry."""

from __future__ import annotations

import os
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

from models.arrays import Words
from models.formats import EntryFormat, load_formats, load_vectors, refusals
from models.geometry import INDEX_BITS
from models.kernel_recording import read_recording, recordings
from models.pages import NO_WINDOW, Window
from models.recorded_pages import device_window, words_in
from models.structures import Reason
from tb.units.decoder_lanes import (
    Entries,
    Meanings,
    expected_meanings,
    plain_entries,
    random_consistent_format,
    random_entries,
    random_format,
    random_window,
)

LANES = 64
RERUN = "make test TEST=decoder SEED="


async def settle() -> None:
    """Lets the combinational bench come to rest."""
    await Timer(1, "ns")


async def set_format(dut: Any, fmt: EntryFormat, window: Window = NO_WINDOW) -> None:
    """Puts a format and a window on the bench's inputs."""
    dut.format_valid.value = fmt.valid
    dut.format_write.value = fmt.write
    dut.format_error.value = fmt.error
    dut.format_none.value = fmt.none
    dut.format_special.value = fmt.special
    dut.format_device_private.value = fmt.device_private
    dut.format_atomic.value = fmt.atomic
    dut.format_error_value.value = fmt.error_value
    dut.format_none_value.value = fmt.none_value
    dut.format_special_value.value = fmt.special_value
    dut.format_error_is_value.value = int(fmt.error_is_value)
    dut.format_none_is_value.value = int(fmt.none_is_value)
    dut.format_special_is_value.value = int(fmt.special_is_value)
    dut.format_pfn_shift.value = fmt.pfn_shift
    dut.format_pfn_width.value = fmt.pfn_width
    dut.format_order_shift.value = fmt.order_shift
    dut.format_order_width.value = fmt.order_width
    dut.window_base.value = window.base
    dut.window_count.value = window.count
    await settle()


def packed(values: Words, bits: int) -> int:
    """Up to LANES numbers side by side, the first in the lowest bits."""
    return int.from_bytes(values.astype({64: "<u8", 8: "<u1"}[bits]).tobytes(), "little")


def unpacked(number: int, bits: int) -> np.ndarray:
    """LANES numbers of 64, 8 or 1 bits out of one."""
    raw = np.frombuffer(number.to_bytes(LANES * bits // 8, "little"), dtype="<u8" if bits == 64 else np.uint8)
    return np.unpackbits(raw, bitorder="little").astype(np.bool_) if bits == 1 else raw


async def decode_lanes(dut: Any, entries: Entries) -> Meanings:
    """What the RTL makes of at most LANES entries; lanes without one are left out."""
    dut.entry.value = packed(entries.entry, 64)
    dut.vpn.value = packed(entries.vpn, 64)
    dut.page_shift.value = packed(entries.page_shift, 8)
    dut.max_order.value = packed(entries.max_order, 8)
    dut.span_order.value = packed(entries.level * np.uint64(INDEX_BITS), 8)
    dut.page_only.value = int.from_bytes(np.packbits(entries.page_only, bitorder="little").tobytes(), "little")
    await settle()
    count = len(entries)
    reason = unpacked(int(dut.reason.value), 8)[:count]
    good = reason == Reason.NONE
    return Meanings(
        reason=reason,
        base=np.where(good, unpacked(int(dut.base.value), 64)[:count], np.uint64(0)),
        order=np.where(good, unpacked(int(dut.order.value), 8)[:count], np.uint8(0)),
        write=unpacked(int(dut.write.value), 1)[:count] & good,
        atomic=unpacked(int(dut.atomic.value), 1)[:count] & good,
        device=unpacked(int(dut.device.value), 1)[:count] & good,
    )


def first_difference(fmt: EntryFormat, window: Window, entries: Entries, came: Meanings) -> str:
    """One line about the first entry of which RTL and models differ; empty if they agree."""
    wanted = expected_meanings(fmt, window, entries)
    differs = np.zeros(len(entries), dtype=np.bool_)
    for ours, theirs in zip(vars(came).values(), vars(wanted).values(), strict=True):
        differs |= ours != theirs
    if not differs.any():
        return ""
    at = int(np.flatnonzero(differs)[0])

    def told(meanings: Meanings) -> str:
        return ", ".join(f"{name} {int(array[at]):#x}" for name, array in vars(meanings).items())

    return (
        f"format {fmt} window {window}: entry {int(entries.entry[at]):#x} vpn {int(entries.vpn[at]):#x} page_shift "
        f"{int(entries.page_shift[at])} max_order {int(entries.max_order[at])} level {int(entries.level[at])} "
        f"page_only {bool(entries.page_only[at])}: came {told(came)}; expected {told(wanted)}; rerun: {RERUN}"
        f"{os.environ['COCOTB_RANDOM_SEED']}"
    )


async def check(dut: Any, fmt: EntryFormat, window: Window, entries: Entries) -> None:
    """Decodes all entries under the format that is set, and compares."""
    for start in range(0, len(entries), LANES):
        part = entries.chosen(slice(start, start + LANES))
        difference = first_difference(fmt, window, part, await decode_lanes(dut, part))
        assert not difference, difference


def generator() -> np.random.Generator:
    """Random numbers of this run's seed."""
    return np.random.default_rng(int(os.environ["COCOTB_RANDOM_SEED"]))


@cocotb.test()
async def decoder_worked_vectors(dut: Any) -> None:
    """Every worked vector of every known format.

    Stimulus: the vectors of models/data/formats.yaml, 4 KiB slots.
    Checking: the RTL says of each word what the models say; the format is not refused.
    Covers: FMT-VECTORS, DECODE-ORDER.
    """
    formats = load_formats()
    for name, vectors in load_vectors().items():
        for vector in vectors:
            await set_format(dut, formats[name], vector.window)
            assert int(dut.refused.value) == 0, f"format {name} is refused"
            words = np.array([vector.word], dtype=np.uint64)
            await check(dut, formats[name], vector.window, plain_entries(words))


@cocotb.test()
async def decoder_recorded_words(dut: Any) -> None:
    """Every different word that the real kernel wrote, also in calls that failed or lost their sequence.

    Stimulus: all arrays of all recordings in the kernel's format; the pages of the good ones in every other format.
    Checking: as the models say.
    Covers: FMT-KERNEL, DECODE-STALE.
    """
    for path in recordings():
        recording = read_recording(path)
        window = device_window(recording.information)
        own = load_formats()["linux_5_8"]
        for name, fmt in load_formats().items():
            parts = [array.words for array in recording.arrays] if name == own.name else []
            parts += [
                np.unique(words_in(fmt, array, recording.information)) for array in recording.arrays if array.good
            ]
            await set_format(dut, fmt, window)
            await check(dut, fmt, window, plain_entries(np.unique(np.concatenate(parts))))


@cocotb.test()
async def decoder_random_entries(dut: Any) -> None:
    """Random consistent formats, windows, slots, promises and entries.

    Stimulus: 150 formats of this seed, 512 entries each.
    Checking: as the models say; over all of it every reason of an entry occurs, and orders above the slot's.
    Covers: DECODE-ORDER, DECODE-WINDOW, ORDER-EFFECTIVE, ORDER-IGNORED.
    """
    rng = generator()
    seen: set[int] = set()
    widened = 0
    for _ in range(150):
        fmt, window = random_consistent_format(rng), random_window(rng)
        entries = random_entries(rng, fmt, window, 512)
        await set_format(dut, fmt, window)
        await check(dut, fmt, window, entries)
        wanted = expected_meanings(fmt, window, entries)
        seen |= set(wanted.reason.tolist())
        widened += int((wanted.order.astype(np.uint64) > entries.page_shift - np.uint64(12)).sum())
    expected = {Reason.NONE, Reason.NOT_PRESENT, Reason.POISON, Reason.SPECIAL, Reason.NOT_VALID, Reason.MALFORMED}
    assert seen == expected, f"reasons seen: {sorted(seen)}"
    assert widened > 500, f"only {widened} translations were wider than their slot"


@cocotb.test()
async def decoder_refused_formats(dut: Any) -> None:
    """What speaks against a format.

    Stimulus: 3,000 random formats of this seed, contradictory and not.
    Checking: STATUS.REFUSED's bits as the models say; each bit is seen set and clear.
    Covers: FMT-REFUSED.
    """
    rng = generator()
    ever, never = 0, 0
    for _ in range(3000):
        fmt = random_format(rng)
        await set_format(dut, fmt)
        came, wanted = int(dut.refused.value), int(refusals(fmt))
        assert came == wanted, f"format {fmt}: refused {came:#x}, expected {wanted:#x}"
        ever |= wanted
        never |= ~wanted
    assert ever & 0x3F == 0x3F and never & 0x3F == 0x3F, f"bits seen set {ever:#x}, clear {never & 0x3F:#x}"
