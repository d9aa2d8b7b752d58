# SPDX-License-Identifier: Apache-2.0
"""The memory that host and device share, with a shadow of what the host wrote and a map of who owns each word.

Three anonymous mappings, so that untouched gigabytes cost nothing:

- the shared buffer: the bytes that the device reads and writes;
- the shadow: the same size, written by the host only, so that a stray write of the device is never believed;
- the owner map: one byte for each 64-bit word, by which the simulated memory judges each access of the device.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES, WORD_BYTES, Bytes, Flags, Words, WordsLike, as_words
from models.errors import UserError

DEFAULT_SIZE = 1 << 28
ADDRESS_FIELD_BITS = 52
"""Bits of a bus address that the memory structures can hold."""

OWNER_CLASS_MASK = 0x0F
OWNER_SLOW = 0x20
"""Reads of the word's whole line take 400 cycles more."""
OWNER_READ_ERROR = 0x40
OWNER_WRITE_ERROR = 0x80

_LINE_READ_ERROR = np.uint64(0x4040_4040_4040_4040)
_MAP_NORESERVE = 0x4000  # Linux; the mmap module of Python 3.11 does not name it.


class Owner(IntEnum):
    """What a 64-bit word of memory is for: the low four bits of its byte in the owner map."""

    NONE = 0
    CONTEXT = 1
    DIRECTORY = 2
    ARRAY = 3
    COMMAND = 4
    FENCE = 5
    FAULT = 6
    DATA = 7
    """A page: the device touches it under a grant only."""
    DESCRIPTOR = 8
    COMPLETION = 9
    BUFFER = 10
    """A buffer of the access engine, which is not translated."""


def _map_anonymous(size: int) -> Bytes:
    """A zeroed mapping of `size` bytes as a uint8 array; it lives as long as the array and its views."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    try:
        return np.frombuffer(mmap.mmap(-1, size, flags=flags), dtype=np.uint8)
    except (OSError, OverflowError, ValueError):
        raise UserError(f"This machine cannot map {size} bytes of memory: ask for a smaller memory.") from None


class PhysicalMemory:
    """Memory at bus addresses [base, base + size).

    Attributes: `buffer` uint8[size] and `words` uint64[size / 8], two views of the shared bytes; `shadow_words`
    uint64[size / 8]; `owners` uint8[size / 8]. All are little-endian, in the machine's own byte order (x86-64, arm64).
    """

    def __init__(self, size: int = DEFAULT_SIZE, base: int = 0) -> None:
        """Map `size` bytes at bus address `base`, both multiples of 4096.

        Errors: UserError for a size or base that is not, or that lies outside the 52-bit address field.
        """
        if size <= 0 or size % PAGE_BYTES or base < 0 or base % PAGE_BYTES:
            raise UserError("Give the memory a size above 0 and a base that are both multiples of 4096.")
        if base + size > 1 << ADDRESS_FIELD_BITS:
            raise UserError(f"Place the memory below 2^{ADDRESS_FIELD_BITS}: {base:#x} + {size:#x} is above.")
        self.size = size
        self.base = base
        self.buffer: Bytes = _map_anonymous(size)
        self.words: Words = self.buffer.view(np.uint64)
        self.shadow_words: Words = _map_anonymous(size).view(np.uint64)
        self.owners: Bytes = _map_anonymous(size // WORD_BYTES)
        self._line_owners: Words = self.owners.view(np.uint64)
        self._free: list[tuple[int, int]] = [(base, size)]
        self._allocated: dict[int, int] = {}

    def close(self) -> None:
        """Forget the mappings; each is unmapped as soon as nobody else holds a view of it."""
        self.buffer = np.zeros(0, dtype=np.uint8)
        self.owners = np.zeros(0, dtype=np.uint8)
        self.words = self.shadow_words = self._line_owners = np.zeros(0, dtype=np.uint64)
        self.size = 0
        self._free = []
        self._allocated = {}

    def contains(self, address: int, length: int) -> bool:
        """Whether the bytes [address, address + length) all lie in this memory."""
        return self.base <= address and address + length <= self.base + self.size

    def write_words(self, address: int, words: WordsLike, *, shadow: bool = True) -> None:
        """Write 64-bit words at bus address `address` (a multiple of 8) to the shared bytes (and to the shadow).

        Errors: UserError if the address is not aligned or the words do not fit into the memory.
        """
        values = as_words(words).ravel()
        first = self._word_index(address, values.size)
        self.words[first : first + values.size] = values
        if shadow:
            self.shadow_words[first : first + values.size] = values

    def read_words(self, address: int, count: int) -> Words:
        """A copy of `count` 64-bit words of the shared bytes at bus address `address` (8-byte aligned).

        Errors: UserError if the address is not aligned or the words do not lie in the memory.
        """
        first = self._word_index(address, count)
        return self.words[first : first + count].copy()

    def shadow_read(self, addresses: WordsLike) -> tuple[Words, Flags]:
        """What the device must read, by the shadow, at each of n bus addresses (8-byte aligned).

        Returns (words uint64[n], errors bool[n]). The device reads whole 64-byte lines: an error is an address outside
        the memory or a line with a read error mark on any of its words; the word is then 0.
        Errors: UserError if an address is not aligned.
        """
        offsets = as_words(addresses) - np.uint64(self.base)
        if bool((offsets & np.uint64(WORD_BYTES - 1)).any()):
            raise UserError("Read memory at addresses that are multiples of 8.")
        errors = offsets >= np.uint64(self.size)
        offsets[errors] = 0
        errors |= (self._line_owners[offsets >> np.uint64(6)] & _LINE_READ_ERROR) != 0
        words = self.shadow_words[offsets >> np.uint64(3)]
        words[errors] = 0
        return words, errors

    def set_owner(self, address: int, length: int, owner: Owner) -> None:
        """Give every word that [address, address + length) touches to `owner`; error marks stay.

        Errors: UserError if the bytes do not lie in the memory.
        """
        if length <= 0 or not self.contains(address, length):
            raise UserError(f"Give bytes inside the memory: {length} bytes at {address:#x} are not.")
        first = (address - self.base) // WORD_BYTES
        last = (address + length - 1 - self.base) // WORD_BYTES
        view = self.owners[first : last + 1]
        view &= np.uint8(0xFF ^ OWNER_CLASS_MASK)
        view |= np.uint8(owner)

    def set_read_error(self, address: int, on: bool = True) -> None:
        """Let reads of the word at `address`, and so of its whole line, fail on the bus (or no longer).

        Errors: UserError if the address is not aligned or not in the memory.
        """
        self._mark(address, OWNER_READ_ERROR, on)

    def set_write_error(self, address: int, on: bool = True) -> None:
        """Let writes of the word at `address` fail on the bus (or no longer). Errors: as set_read_error."""
        self._mark(address, OWNER_WRITE_ERROR, on)

    def allocate(self, bytes: int, align: int = LINE_BYTES, owner: Owner = Owner.DATA) -> int:
        """Take `bytes` bytes (rounded up to whole 64-byte lines) from the lowest place where they fit; returns the
        bus address, a multiple of `align` (a power of two, at least 64 in effect). Old contents stay.

        Errors: UserError if the request makes no sense or no free piece is large enough.
        """
        if bytes <= 0 or align <= 0 or align & (align - 1):
            raise UserError("Allocate a number of bytes above 0, aligned to a power of two.")
        length = -(-bytes // LINE_BYTES) * LINE_BYTES
        align = max(align, LINE_BYTES)
        for place, (start, size) in enumerate(self._free):
            address = -(-start // align) * align
            if address + length > start + size:
                continue
            pieces = [(start, address - start), (address + length, start + size - address - length)]
            self._free[place : place + 1] = [piece for piece in pieces if piece[1]]
            self._allocated[address] = length
            self.set_owner(address, bytes, owner)
            return address
        raise UserError(
            f"Give the memory more than {self.size} bytes: no free piece of {length} bytes aligned to {align} is left."
        )

    def free(self, address: int) -> None:
        """Give back what allocate() returned; its words become Owner.NONE, without error marks.

        Errors: UserError if nothing is allocated at `address`.
        """
        length = self._allocated.pop(address, None)
        if length is None:
            raise UserError(f"Free only what was allocated: nothing is allocated at {address:#x}.")
        first = (address - self.base) // WORD_BYTES
        self.owners[first : first + length // WORD_BYTES] = Owner.NONE
        merged: list[tuple[int, int]] = []
        for start, size in sorted([*self._free, (address, length)]):
            if merged and merged[-1][0] + merged[-1][1] == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((start, size))
        self._free = merged

    def allocations(self) -> list[tuple[int, int]]:
        """(bus address, bytes) of everything allocated, by rising address; bytes are whole 64-byte lines."""
        return sorted(self._allocated.items())

    def owner_of(self, address: int) -> Owner:
        """The owner class of the word that holds bus address `address`.

        Errors: UserError if the address is not in the memory.
        """
        if not self.contains(address, 1):
            raise UserError(f"Give an address inside the memory: {address:#x} is not.")
        return Owner(int(self.owners[(address - self.base) // WORD_BYTES]) & OWNER_CLASS_MASK)

    def _word_index(self, address: int, count: int) -> int:
        if address % WORD_BYTES:
            raise UserError(f"Use an address that is a multiple of 8: {address:#x} is not.")
        if count < 0 or not self.contains(address, count * WORD_BYTES):
            raise UserError(f"Stay inside the memory: {count} words at {address:#x} do not.")
        return (address - self.base) // WORD_BYTES

    def _mark(self, address: int, mark: int, on: bool) -> None:
        index = self._word_index(address, 1)
        if on:
            self.owners[index] |= np.uint8(mark)
        else:
            self.owners[index] &= np.uint8(0xFF ^ mark)
