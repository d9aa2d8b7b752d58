# SPDX-License-Identifier: Apache-2.0
"""Fault records, as the device puts them into the fault ring, and the commands that answer them.

Source: docs/interface.md, "Faults".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import WORD_BYTES, Words
from models.errors import UserError
from models.structures import (
    COMMAND_CANCEL,
    COMMAND_FIRST,
    FAULT_RECORD_ACCESS,
    FAULT_RECORD_ANSWER_EXPECTED,
    FAULT_RECORD_BYTES,
    FAULT_RECORD_MERGED_COUNT,
    FAULT_RECORD_PASID,
    FAULT_RECORD_PHASE,
    FAULT_RECORD_REASON,
    FAULT_RECORD_TAG,
    FAULT_RECORD_TIMESTAMP,
    FAULT_RECORD_VA,
    Access,
    Opcode,
    Reason,
    StructureField,
    pack_command,
)

FAULT_RECORD_WORDS = FAULT_RECORD_BYTES // WORD_BYTES
TAG_SLOT_BITS = 8
"""A tag's lowest bits: the place in the device's fault buffer. Above is the generation."""
TAG_GENERATION_BITS = 24


@dataclass(frozen=True)
class FaultRecord:
    """One fault, as its record says. `merged_count`: requests that waited under the tag when it was recorded."""

    tag: int
    pasid: int
    va: int
    access: Access
    reason: Reason
    answer_expected: bool
    phase: bool
    timestamp: int
    merged_count: int


_RESUME = pack_command(opcode=Opcode.RESUME)
_REPLAY_ALL = pack_command(opcode=Opcode.REPLAY_ALL)


def record_words(record: FaultRecord) -> Words:
    """The record as uint64[4]. Errors: UserError if a number does not fit into its field."""
    words = [0] * FAULT_RECORD_WORDS
    for field, value in (
        (FAULT_RECORD_TAG, record.tag),
        (FAULT_RECORD_PASID, record.pasid),
        (FAULT_RECORD_ACCESS, int(record.access)),
        (FAULT_RECORD_ANSWER_EXPECTED, int(record.answer_expected)),
        (FAULT_RECORD_PHASE, int(record.phase)),
        (FAULT_RECORD_REASON, int(record.reason)),
        (FAULT_RECORD_VA, record.va),
        (FAULT_RECORD_TIMESTAMP, record.timestamp),
        (FAULT_RECORD_MERGED_COUNT, record.merged_count),
    ):
        if not 0 <= value <= field.mask >> field.low:
            raise UserError(f"Give the {field.name} of a fault record {field.high - field.low + 1} bits.")
        words[field.word] |= value << field.low
    return np.array(words, dtype=np.uint64)


def record_of(words: Words) -> FaultRecord:
    """The record of uint64[4]."""
    numbers = [int(word) for word in words]

    def read(field: StructureField) -> int:
        return (numbers[field.word] & field.mask) >> field.low

    return FaultRecord(
        tag=read(FAULT_RECORD_TAG),
        pasid=read(FAULT_RECORD_PASID),
        va=read(FAULT_RECORD_VA),
        access=Access(read(FAULT_RECORD_ACCESS)),
        reason=Reason(read(FAULT_RECORD_REASON)),
        answer_expected=bool(read(FAULT_RECORD_ANSWER_EXPECTED)),
        phase=bool(read(FAULT_RECORD_PHASE)),
        timestamp=read(FAULT_RECORD_TIMESTAMP),
        merged_count=read(FAULT_RECORD_MERGED_COUNT),
    )


def resume_command(tag: int, *, cancel: bool) -> Words:
    """The command uint64[4] that answers one fault: by a replay, or by a cancel."""
    words = _RESUME.copy()
    words[COMMAND_FIRST.word] = tag
    if cancel:
        words[COMMAND_CANCEL.word] |= np.uint64(COMMAND_CANCEL.mask)
    return words


def replay_all_command() -> Words:
    """The command uint64[4] that replays every recorded fault that waits."""
    return _REPLAY_ALL.copy()


def cancel_command(pasid: int, first: int, last: int, access: Access) -> Words:
    """The command uint64[4] that cancels the recorded faults of a context, range (inclusive) and access."""
    return pack_command(opcode=Opcode.CANCEL, pasid=pasid, first=first, last=last, access=int(access))


def ring_phase(index: int, ring_log2: int) -> bool:
    """The phase bit of record number `index` of a ring of 2^ring_log2: 1 the first time around, then it toggles."""
    return (index >> ring_log2) & 1 == 0
