# SPDX-License-Identifier: Apache-2.0
"""The world around the access engine in its bench: bytes, translations and bus errors, all drawn from one seed.

Nothing is laid out before it is looked at: what a line holds, where a page leads and which accesses fail are functions
of the seed and of the address, so that the reference and the bench's memory agree without telling each other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from models.arrays import LINE_BYTES, PAGE_BYTES
from models.structures import Access, Reason

VA_BITS = 48
RINGS_START = 1 << 40
"""Descriptors and completions live in [RINGS_START, RINGS_END); no page leads there."""
RINGS_END = 1 << 41
POOL_START = 0x1000_0000
"""System pages of the virtual memory; many pages share one, and buffers may lie in them too."""
POOL_PAGES = 24

_MAPPED_ELSEWHERE = (Reason.NOT_PRESENT, Reason.POISON, Reason.SPECIAL, Reason.NOT_VALID, Reason.BUS_ERROR)


def draw(*key: object) -> bytes:
    """64 bytes that depend on nothing but the key."""
    return hashlib.blake2b(repr(key).encode(), digest_size=LINE_BYTES).digest()


@dataclass(frozen=True)
class Translation:
    """The answer to a request; for a reason other than NONE the rest is 0."""

    reason: Reason
    pa: int = 0
    write: bool = False
    atomic: bool = False
    device: bool = False


@dataclass
class Lines:
    """Memory by lines, system and device: what is not written yet holds noise of its own address."""

    seed: int
    held: dict[tuple[bool, int], bytearray] = field(default_factory=dict)

    def line(self, device: bool, address: int) -> bytearray:
        """The line at an aligned address; changes to it stay."""
        key = (device, address)
        if key not in self.held:
            self.held[key] = bytearray(draw(self.seed, "line", device, address))
        return self.held[key]

    def load(self, address: int, count: int) -> bytes:
        """Bytes of system memory inside one line."""
        offset = address % LINE_BYTES
        return bytes(self.line(False, address - offset)[offset : offset + count])

    def store(self, address: int, data: bytes) -> None:
        """Bytes into system memory inside one line."""
        offset = address % LINE_BYTES
        self.line(False, address - offset)[offset : offset + len(data)] = data


@dataclass(frozen=True)
class World:
    """Translations and failures. Chances are of 256: that a page aborts, and that the accesses to a line fail."""

    seed: int
    abort_chance: int = 0
    read_error_chance: int = 0
    write_error_chance: int = 0
    bad_reads: frozenset[int] = frozenset()
    """Lines of the rings whose reads fail."""
    bad_writes: frozenset[int] = frozenset()
    """Lines of the rings whose writes fail."""

    def translate(self, pasid: int, va: int, access: Access) -> Translation:
        """What the MMU answers."""
        if va >> VA_BITS:
            return Translation(Reason.OUT_OF_RANGE)
        dice = draw(self.seed, "page", pasid, va // PAGE_BYTES)
        if dice[0] < self.abort_chance:
            return Translation(_MAPPED_ELSEWHERE[dice[1] % len(_MAPPED_ELSEWHERE)])
        write = dice[2] >= self.abort_chance
        atomic = write and dice[3] >= self.abort_chance
        if access in (Access.WRITE, Access.ATOMIC) and not write:
            return Translation(Reason.WRITE_PROTECT)
        if access == Access.ATOMIC and not atomic:
            return Translation(Reason.ATOMIC_DENIED)
        device = dice[4] < 64
        start = 0 if device else POOL_START
        page = start + dice[5] % POOL_PAGES * PAGE_BYTES
        return Translation(Reason.NONE, page + va % PAGE_BYTES, write, atomic, device)

    def read_fails(self, device: bool, address: int) -> bool:
        """Whether a read of the line is answered with an error."""
        if not device and RINGS_START <= address < RINGS_END:
            return address in self.bad_reads
        return draw(self.seed, "read", device, address)[0] < self.read_error_chance

    def write_fails(self, device: bool, address: int) -> bool:
        """Whether a write into the line is answered with an error, and not done."""
        if not device and RINGS_START <= address < RINGS_END:
            return address in self.bad_writes
        return draw(self.seed, "write", device, address)[0] < self.write_error_chance
