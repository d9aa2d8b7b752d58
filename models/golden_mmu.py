# SPDX-License-Identifier: Apache-2.0
"""The golden device MMU: what a request must be answered, for whole arrays of requests, without any notion of time.

It reads the shadow of what the host wrote (and the error marks), never the bytes that the device can write. Source:
docs/interface.md, "Decoding an entry", "Order" and "The walk".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from models.arrays import LINE_BYTES, PAGE_SHIFT, WORD_BYTES, Bytes, Flags, Words, WordsLike, as_words
from models.entries import decode
from models.errors import UserError
from models.formats import EntryFormat
from models.geometry import DEFAULT_PA_BITS, DEFAULT_VA_BITS, INDEX_BITS, INDEX_MASK, LEAF_LEVEL, root_level, span_bits
from models.pages import Window
from models.physical_memory import ADDRESS_FIELD_BITS
from models.structures import (
    CONTEXT_ENTRY_BYTES,
    CONTEXT_ENTRY_RESERVED,
    DIRECTORY_ENTRY_RESERVED,
    Access,
    DirectoryType,
    Reason,
    unpack_context_entry,
    unpack_directory_entry,
)

STATUS_OK = 0
STATUS_ABORTED = 1
PERMISSION_WRITE = 1
PERMISSION_ATOMIC = 2
MEMORY_SYSTEM = 0
MEMORY_DEVICE = 1

DIRECTORY_ALIGNMENT_MASK = 0xFFF

Number = TypeVar("Number", bound=np.generic)


class ShadowMemory(Protocol):
    """What the model reads: PhysicalMemory, or a view of it at another time."""

    def shadow_read(self, addresses: WordsLike, /) -> tuple[Words, Flags]:
        """(words uint64[n], errors bool[n]) at n bus addresses."""


@dataclass(frozen=True)
class Outcomes:
    """The answers to n requests, one array for each property.

    status uint8[n]: 0 OK, 1 ABORTED; reason uint8[n] of Reason. Where ABORTED all the others are 0. pa uint64[n]: the
    byte's bus address, or its address in device memory; order uint8[n]: effective order; permissions uint8[n]: bit 0
    write, bit 1 atomic; memory uint8[n]: 0 system, 1 device.
    """

    status: Bytes
    reason: Bytes
    pa: Words
    order: Bytes
    permissions: Bytes
    memory: Bytes

    def __len__(self) -> int:
        return int(self.status.size)


@dataclass(frozen=True)
class _Leaves:
    """The array slots that walks ended at: request number, slot address, and what their directory entries say."""

    request: npt.NDArray[np.intp]
    slot: Words
    page_shift: Words
    max_order: Words
    level: Words


class GoldenMmu:
    """The functional device over one memory, with the format, window and context table of its registers.

    `va_bits` 48 or 57; `pa_bits` is the width of a bus address. Errors: UserError for another width, or for a context
    table that is not 64-byte aligned.
    """

    def __init__(
        self,
        memory: ShadowMemory,
        fmt: EntryFormat,
        window: Window,
        context_base: int,
        context_count: int,
        va_bits: int = DEFAULT_VA_BITS,
        pa_bits: int = DEFAULT_PA_BITS,
    ) -> None:
        if context_base % LINE_BYTES or context_base >> ADDRESS_FIELD_BITS:
            raise UserError(f"Align the context table to {LINE_BYTES} bytes below 2^{ADDRESS_FIELD_BITS}.")
        self.memory = memory
        self.fmt = fmt
        self.window = window
        self.context_base = context_base
        self.context_count = context_count
        self.va_bits = va_bits
        self.pa_bits = pa_bits
        self._root_level = root_level(va_bits)

    def translate(self, pasid: WordsLike, va: WordsLike, access: WordsLike) -> Outcomes:
        """The answer to each of n requests, if the device walked the tables as they are now.

        pasid, va, access: n numbers each (or one for all); access is of Access.
        Errors: UserError if the lengths do not fit together or an access is none.
        """
        try:
            pasids, vas, accesses = np.broadcast_arrays(as_words(pasid), as_words(va), as_words(access))
        except ValueError:
            raise UserError("Give pasid, va and access of one length.") from None
        if bool((accesses > np.uint64(max(Access))).any()):
            raise UserError(f"Give accesses from 0 to {max(Access):d}.")
        reason = np.zeros(vas.size, dtype=np.uint8)
        leaves = self._walk(pasids, vas, reason)
        return self._judge(leaves, vas, accesses, reason)

    def _walk(self, pasids: Words, vas: Words, reason: Bytes) -> _Leaves:
        """All walks in lock-step, level by level; writes `reason` for those that end before an array."""
        reason[(vas >> np.uint64(self.va_bits)) != 0] = Reason.OUT_OF_RANGE
        reason[(reason == Reason.NONE) & (pasids >= np.uint64(self.context_count))] = Reason.NO_CONTEXT
        active, table = self._read_contexts(np.flatnonzero(reason == Reason.NONE), pasids, reason)
        parts: list[_Leaves] = []
        for level in range(self._root_level, LEAF_LEVEL - 1, -1):
            span = span_bits(level)
            va = vas[active]
            index = (va >> np.uint64(span)) & np.uint64(INDEX_MASK)
            words, errors = self.memory.shadow_read(table + index * np.uint64(WORD_BYTES))
            fields = unpack_directory_entry(words[:, np.newaxis])
            address, page_shift, max_order = fields["address"], fields["page_shift"], fields["max_order"]
            absent = fields["entry_type"] == DirectoryType.ABSENT
            directory = fields["entry_type"] == DirectoryType.DIRECTORY
            array = fields["entry_type"] == DirectoryType.ARRAY

            fits = (page_shift >= np.uint64(PAGE_SHIFT)) & (page_shift <= np.uint64(span))
            # A shift is only used where it fits; the others must not shift by more than 63.
            shift = np.where(fits, page_shift, np.uint64(PAGE_SHIFT))
            slot = address + ((va & np.uint64((1 << span) - 1)) >> shift) * np.uint64(WORD_BYTES)
            well_formed = directory & (max_order == 0) & (page_shift == 0) & (level > LEAF_LEVEL)
            well_formed &= (address & np.uint64(DIRECTORY_ALIGNMENT_MASK)) == 0
            well_formed |= array & fits & self._on_bus(slot)
            well_formed &= (words & np.uint64(DIRECTORY_ENTRY_RESERVED[0])) == 0
            well_formed &= self._on_bus(address)

            reason[active[~well_formed]] = Reason.MALFORMED
            reason[active[absent]] = Reason.NOT_PRESENT
            reason[active[errors]] = Reason.BUS_ERROR
            ends = well_formed & array & ~errors
            levels = np.full(int(np.count_nonzero(ends)), level, dtype=np.uint64)
            parts.append(_Leaves(active[ends], slot[ends], page_shift[ends], max_order[ends], levels))
            goes_on = well_formed & directory & ~errors
            active, table = active[goes_on], address[goes_on]
        return _Leaves(
            np.concatenate([part.request for part in parts]),
            np.concatenate([part.slot for part in parts]),
            np.concatenate([part.page_shift for part in parts]),
            np.concatenate([part.max_order for part in parts]),
            np.concatenate([part.level for part in parts]),
        )

    def _read_contexts(
        self, active: npt.NDArray[np.intp], pasids: Words, reason: Bytes
    ) -> tuple[npt.NDArray[np.intp], Words]:
        """The requests that have a good context entry, and their root directories."""
        address = pasids[active] * np.uint64(CONTEXT_ENTRY_BYTES) + np.uint64(self.context_base)
        reachable = self._on_bus(address)
        reason[active[~reachable]] = Reason.MALFORMED
        active, address = active[reachable], address[reachable]
        word0, errors = self.memory.shadow_read(address)
        word1, _ = self.memory.shadow_read(address + np.uint64(WORD_BYTES))
        words = np.stack([word0, word1], axis=1)
        fields = unpack_context_entry(words)
        malformed = ((words & np.array(CONTEXT_ENTRY_RESERVED, dtype=np.uint64)) != 0).any(axis=1)
        malformed |= ~self._on_bus(fields["root"])
        bound = fields["valid"] != 0
        reason[active[malformed]] = Reason.MALFORMED
        reason[active[~bound]] = Reason.NO_CONTEXT
        reason[active[errors]] = Reason.BUS_ERROR
        good = bound & ~malformed & ~errors
        return active[good], fields["root"][good]

    def _judge(self, leaves: _Leaves, vas: Words, accesses: Words, reason: Bytes) -> Outcomes:
        """Read and decode the slots, check the access, and put the answers together."""
        words, errors = self.memory.shadow_read(leaves.slot)
        va, access = vas[leaves.request], accesses[leaves.request]
        slot_order = leaves.page_shift - np.uint64(PAGE_SHIFT)
        decoded = decode(self.fmt, words, self.window, self.pa_bits, slot_order)

        changes = (access == Access.WRITE) | (access == Access.ATOMIC)
        found = decoded.reason.copy()
        translated = found == Reason.NONE
        found[translated & (access == Access.ATOMIC) & ~decoded.atomic] = Reason.ATOMIC_DENIED
        found[translated & changes & ~decoded.write] = Reason.WRITE_PROTECT
        found[errors] = Reason.BUS_ERROR
        reason[leaves.request] = found

        good = found == Reason.NONE
        request = leaves.request[good]
        order = effective_order(
            np.minimum(decoded.order[good].astype(np.uint64), leaves.max_order[good]),
            slot_order[good],
            leaves.level[good],
            decoded.pfn[good],
            va[good] >> np.uint64(PAGE_SHIFT),
            self.window,
        )
        # A window need not be aligned, so neither is a slot's address in device memory: add, do not join.
        inside = va[good] & ((np.uint64(1) << leaves.page_shift[good]) - np.uint64(1))
        permissions = decoded.write[good] * np.uint8(PERMISSION_WRITE) | decoded.atomic[good] * np.uint8(
            PERMISSION_ATOMIC
        )
        return Outcomes(
            status=(reason != Reason.NONE).astype(np.uint8),
            reason=reason,
            pa=_spread(vas.size, request, decoded.page_address[good] + inside),
            order=_spread(vas.size, request, order.astype(np.uint8)),
            permissions=_spread(vas.size, request, permissions),
            memory=_spread(vas.size, request, decoded.device[good].astype(np.uint8)),
        )

    def _on_bus(self, addresses: Words) -> Flags:
        on_bus: Flags = (addresses >> np.uint64(self.pa_bits)) == 0
        return on_bus


def effective_order(promised: Words, slot_order: Words, level: Words, pfn: Words, vpn: Words, window: Window) -> Words:
    """log2 of the pages that one answer covers: at least the slot, at most the array's span.

    It is the slot's where pfn and virtual page number differ below it, or where the block lies across an edge of the
    window: neither could be one block.
    """
    span_order = level * np.uint64(INDEX_BITS)
    order = np.minimum(np.maximum(slot_order, promised), span_order)
    low = (np.uint64(1) << order) - np.uint64(1)
    differ = ((pfn ^ vpn) & low) >> slot_order != 0
    return np.where(differ | window.crossed_by(pfn & ~low, pfn | low), slot_order, order)


def _spread(size: int, places: npt.NDArray[np.intp], values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """`size` zeros with `values` at `places`."""
    spread = np.zeros(size, dtype=values.dtype)
    spread[places] = values
    return spread
