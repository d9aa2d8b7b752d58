# SPDX-License-Identifier: Apache-2.0
"""Tests of the generated packing functions and register fields in models."""

from __future__ import annotations

import numpy as np
import pytest

from models import registers, structures
from models.errors import UserError
from models.structures import (
    COMMAND_RESERVED,
    CONTEXT_ENTRY_RESERVED,
    DIRECTORY_ENTRY_RESERVED,
    DirectoryType,
    Opcode,
    pack_command,
    pack_context_entry,
    pack_directory_entry,
    unpack_command,
    unpack_context_entry,
    unpack_directory_entry,
)


def test_packing_context_entry_places_the_fields() -> None:
    """Stimulus: a bound context with a root directory.
    Checking: bit 0 and bits 51:12 by their numbers, word 1 zero.
    Covers: PACK-CONTEXT.
    """
    words = pack_context_entry(valid=1, root=0x0000_1234_5678_9000)
    assert words.dtype == np.uint64
    assert words.tolist() == [0x0000_1234_5678_9001, 0]


def test_packing_directory_entry_places_the_fields() -> None:
    """Stimulus: an array entry with page shift 21 and max_order 31.
    Checking: the word by its number.
    Covers: PACK-DIRECTORY.
    """
    words = pack_directory_entry(entry_type=DirectoryType.ARRAY, address=0xFFC0, page_shift=21, max_order=31)
    assert words.tolist() == [2 | 0xFFC0 | 21 << 52 | 31 << 58]


def test_packing_round_trip_of_arrays(seed: int) -> None:
    """Stimulus: random field values in arrays that broadcast together, seeded.
    Checking: unpack gives back what pack was given, and reserved bits are 0.
    Covers: PACK-ROUND-TRIP.
    """
    rng = np.random.default_rng(seed)
    count = 500
    pasid = rng.integers(0, 1 << 20, size=count, dtype=np.uint64)
    first = rng.integers(0, 1 << 63, size=count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    words = pack_command(opcode=Opcode.INVALIDATE, pasid=pasid, first=first, last=np.uint64(2**64 - 1))
    assert words.shape == (count, 4)
    fields = unpack_command(words)
    assert np.array_equal(fields["pasid"], pasid)
    assert np.array_equal(fields["first"], first)
    assert (fields["last"] == np.uint64(2**64 - 1)).all()
    assert (fields["opcode"] == Opcode.INVALIDATE).all()
    for column, mask in enumerate(COMMAND_RESERVED):
        assert not (words[:, column] & np.uint64(mask)).any()


def test_packing_all_ones_fills_all_but_reserved() -> None:
    """Stimulus: every field at its largest value.
    Checking: a word is exactly the complement of its reserved mask.
    Covers: PACK-RESERVED.
    """
    root = pack_context_entry(valid=1, root=((1 << 40) - 1) << 12)
    entry = pack_directory_entry(entry_type=3, address=((1 << 46) - 1) << 6, page_shift=63, max_order=31)
    everything = 2**64 - 1
    assert root.tolist() == [everything ^ mask for mask in CONTEXT_ENTRY_RESERVED]
    assert entry.tolist() == [everything ^ mask for mask in DIRECTORY_ENTRY_RESERVED]


def test_packing_unpack_ignores_reserved_bits() -> None:
    """Stimulus: words of all ones.
    Checking: fields come out at their largest values, addresses as bus addresses.
    Covers: PACK-RESERVED.
    """
    ones = np.full((3, 2), 2**64 - 1, dtype=np.uint64)
    fields = unpack_context_entry(ones)
    assert fields["valid"].tolist() == [1, 1, 1]
    assert fields["root"].tolist() == [((1 << 40) - 1) << 12] * 3


@pytest.mark.parametrize("root", [0x1001, 1 << 52, -4096, [0, 4095]])
def test_packing_refuses_what_does_not_fit(root: object) -> None:
    """Stimulus: addresses that are not aligned, too wide, negative, or one bad one among good ones.
    Checking: a UserError that names the field.
    Covers: PACK-ERRORS.
    """
    with pytest.raises(UserError, match="root of a context_entry"):
        pack_context_entry(valid=1, root=root)  # type: ignore[arg-type]


def test_packing_refuses_fractions_and_partial_structures() -> None:
    """Stimulus: a floating-point field; three words where a command has four.
    Checking: UserErrors that say so.
    Covers: PACK-ERRORS.
    """
    with pytest.raises(UserError, match="integer"):
        pack_command(opcode=1.0)
    with pytest.raises(UserError, match="4 words"):
        unpack_command(np.zeros(3, dtype=np.uint64))
    with pytest.raises(UserError, match="1 words"):
        unpack_directory_entry(np.uint64(1))


def test_packing_register_fields_insert_and_extract() -> None:
    """Stimulus: a one-bit, a middle and a whole-word field.
    Checking: insert and extract by number; a value that does not fit is a UserError.
    Covers: PACK-REGISTERS.
    """
    assert registers.CONTROL_COMMAND_ENABLE.insert(1) == 2
    assert registers.STATUS_REFUSED.insert(0x21) == 0x21_0000
    assert registers.STATUS_REFUSED.extract(0xFFFF_FFFF_FFE5_FFFF) == 0x25
    assert registers.FORMAT_VALID_MASK.mask == 2**64 - 1
    with pytest.raises(UserError, match="bits 21:16 of STATUS"):
        registers.STATUS_REFUSED.insert(64)
    with pytest.raises(UserError):
        registers.STATUS_REFUSED.insert(-1)


def test_packing_refusal_bits_are_the_status_field() -> None:
    """Stimulus: all refusals together.
    Checking: they fill STATUS.REFUSED.
    Covers: PACK-REGISTERS.
    """
    everything = structures.Refusal(0)
    for refusal in structures.Refusal:
        everything |= refusal
    assert registers.STATUS_REFUSED.insert(int(everything)) == registers.STATUS_REFUSED.mask
