# SPDX-License-Identifier: Apache-2.0
"""Arguments of the memory system calls, with Linux's numbers (include/uapi/asm-generic/mman-common.h)."""

from __future__ import annotations

from enum import IntEnum, IntFlag

from models.arrays import PAGE_BYTES
from models.hmm.vma import VmFlags


class Prot(IntFlag):
    """Protections of mmap() and mprotect(), with Linux's numbers."""

    PROT_NONE = 0
    PROT_READ = 1
    PROT_WRITE = 2
    PROT_EXEC = 4


class MapFlags(IntFlag):
    """Flags of mmap(), with Linux's numbers."""

    MAP_SHARED = 0x1
    MAP_PRIVATE = 0x2
    MAP_FIXED = 0x10
    MAP_ANONYMOUS = 0x20
    MAP_FIXED_NOREPLACE = 0x10_0000


class RemapFlags(IntFlag):
    """Flags of mremap(), with Linux's numbers."""

    NONE = 0
    MREMAP_MAYMOVE = 1
    MREMAP_FIXED = 2


class Advice(IntEnum):
    """Advice to madvise(), with Linux's numbers."""

    MADV_DONTNEED = 4
    MADV_HUGEPAGE = 14
    MADV_NOHUGEPAGE = 15


def page_up(length: int) -> int:
    """A length in bytes, rounded up to whole pages."""
    return -(-length // PAGE_BYTES) * PAGE_BYTES


def protection_flags(prot: Prot) -> VmFlags:
    """What a protection allows, as properties of an area."""
    return VmFlags(int(prot & (Prot.PROT_READ | Prot.PROT_WRITE | Prot.PROT_EXEC)))
