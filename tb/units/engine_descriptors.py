# SPDX-License-Identifier: Apache-2.0
"""Random descriptors for the bench of the access engine: mostly good ones around lines and pages, and bad ones."""

from __future__ import annotations

import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES, Words
from models.structures import DESCRIPTOR_RESERVED, EngineOpcode, pack_descriptor
from tb.units.engine_reference import ATOMIC_BYTES, BUS_BYTES, USED_FIELDS
from tb.units.engine_world import POOL_PAGES, POOL_START, VA_BITS

PASIDS = (0, 1, 0x12345, 0xFFFFF)
VA_START = 0x7F00_0000_0000
VA_PAGES = 16
LONGEST = (1 << 32) - 1

OPCODES = tuple(EngineOpcode)


def random_word(rng: np.random.Generator) -> int:
    """Any 64 bits."""
    return int.from_bytes(rng.bytes(8), "little")


def random_length(rng: np.random.Generator, most: int) -> int:
    """Bytes: a few, about a line, about a page, or anything up to `most`."""
    choices = (
        int(rng.integers(1, 17)),
        LINE_BYTES * int(rng.integers(1, 5)) + int(rng.integers(-2, 3)),
        int(rng.integers(1, most + 1)),
    )
    return min(most, choices[int(rng.integers(len(choices)))])


def random_va(rng: np.random.Generator, length: int) -> int:
    """A virtual address: anywhere in some pages, about the end of one, or about the end of what the width can name."""
    kind = int(rng.integers(8))
    if kind == 0:
        return (1 << VA_BITS) - int(rng.integers(1, length + 2))
    start = VA_START + int(rng.integers(VA_PAGES)) * PAGE_BYTES
    if kind <= 3:
        return start + PAGE_BYTES - int(rng.integers(0, length + 1))
    return start + int(rng.integers(PAGE_BYTES))


def random_buffer(rng: np.random.Generator, length: int) -> int:
    """A bus address: of its own, in the pages that virtual memory leads to, or up to the last byte of the bus."""
    kind = int(rng.integers(8))
    if kind == 0:
        return BUS_BYTES - length - int(rng.integers(0, 3))
    if kind <= 3:
        return POOL_START + int(rng.integers(POOL_PAGES * PAGE_BYTES))
    return int(rng.integers(1 << 38))


def good_fields(rng: np.random.Generator, most: int) -> dict[str, int]:
    """Fields of a descriptor that the engine takes, moving at most `most` bytes where it moves many."""
    opcode = OPCODES[int(rng.integers(len(OPCODES)))]
    length = ATOMIC_BYTES if opcode == EngineOpcode.ATOMIC_ADD else random_length(rng, most)
    fields = {
        "source_pasid": int(rng.choice(PASIDS)),
        "destination_pasid": int(rng.choice(PASIDS)),
        "source_va": random_va(rng, length),
        "destination_va": random_va(rng, length),
        "buffer": random_buffer(rng, length),
        "operand": random_word(rng),
    }
    if opcode == EngineOpcode.ATOMIC_ADD:
        fields["destination_va"] -= fields["destination_va"] % ATOMIC_BYTES
    elif rng.integers(3) == 0:
        # The same place in the line on both sides: the only way to move whole lines.
        for name in ("source_va", "destination_va", "buffer"):
            fields[name] -= fields[name] % LINE_BYTES
    if opcode == EngineOpcode.COPY and rng.integers(6) == 0:
        # Source and destination lie in each other.
        fields["destination_pasid"] = fields["source_pasid"]
        fields["destination_va"] = fields["source_va"] + int(rng.integers(-length, length + 1))
    used = USED_FIELDS[opcode]
    chosen = {name: value for name, value in fields.items() if name in used}
    flags = {"interrupt": int(rng.integers(2)), "ordered": int(rng.integers(8) == 0)}
    return {"opcode": opcode, **flags, "length": length, **chosen}


def _longest(rng: np.random.Generator) -> Words:
    """As long as a descriptor can be; the end of the virtual addresses stops it soon."""
    fields = good_fields(rng, 1)
    while fields["opcode"] == EngineOpcode.ATOMIC_ADD:
        fields = good_fields(rng, 1)
    fields["length"] = LONGEST
    for name in {"source_va", "destination_va"} & fields.keys():
        fields[name] = (1 << VA_BITS) - int(rng.integers(1, 200))
    if "buffer" in fields:
        fields["buffer"] = int(rng.choice([0, BUS_BYTES - LONGEST]))
    return pack_descriptor(**fields)


def malformed(rng: np.random.Generator) -> Words:
    """A good descriptor made bad in one way."""
    kind = int(rng.integers(6))
    fields = good_fields(rng, 100)
    if kind == 0:
        words = pack_descriptor(**fields)
        words[0] &= ~np.uint64(0xFF)
        words[0] |= np.uint64(rng.choice([0, 5, 6, 0x81, 0xFF]))
        return words
    if kind == 1:
        words = pack_descriptor(**fields)
        bits = [(w, b) for w, mask in enumerate(DESCRIPTOR_RESERVED) for b in range(64) if mask >> b & 1]
        word, bit = bits[int(rng.integers(len(bits)))]
        words[word] |= np.uint64(1 << bit)
        return words
    if kind == 2:
        fields["length"] = 0
    elif kind == 3:
        fields = {"opcode": EngineOpcode.ATOMIC_ADD, "length": ATOMIC_BYTES, "destination_va": VA_START}
        if rng.integers(2):
            fields["length"] = int(rng.choice([1, 4, 7, 9, 16, 8 + (1 << 31)]))
        else:
            fields["destination_va"] += int(rng.integers(1, ATOMIC_BYTES))
    elif kind == 4:
        opcode = (EngineOpcode.READ, EngineOpcode.WRITE)[int(rng.integers(2))]
        length = random_length(rng, 1000)
        beyond = (BUS_BYTES - length + 1, BUS_BYTES - 1 + length, BUS_BYTES << int(rng.integers(1, 16)))
        fields = {"opcode": opcode, "length": length + 1, "buffer": beyond[int(rng.integers(3))] & (2**64 - 1)}
    else:
        unused = sorted(set().union(*USED_FIELDS.values()) - USED_FIELDS[EngineOpcode(fields["opcode"])])
        name = unused[int(rng.integers(len(unused)))]
        fields[name] = 1 << int(rng.integers(20 if name.endswith("pasid") else 64))
    return pack_descriptor(**fields)


def random_descriptors(rng: np.random.Generator, count: int, most: int = 400) -> Words:
    """uint64[count, 8]: one in ten is malformed, one in forty as long as can be, one in thirty of several pages."""
    rows = []
    for _ in range(count):
        kind = int(rng.integers(120))
        if kind < 12:
            rows.append(malformed(rng))
        elif kind < 15:
            rows.append(_longest(rng))
        else:
            rows.append(pack_descriptor(**good_fields(rng, 3 * PAGE_BYTES if kind < 19 else most)))
    return np.stack(rows)
