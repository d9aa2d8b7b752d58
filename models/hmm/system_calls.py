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
    MREMAP_DONTUNMAP = 4


class Advice(IntEnum):
    """Advice to madvise(), with Linux's numbers."""

    MADV_NORMAL = 0
    MADV_RANDOM = 1
    MADV_SEQUENTIAL = 2
    MADV_WILLNEED = 3
    MADV_DONTNEED = 4
    MADV_FREE = 8
    MADV_REMOVE = 9
    MADV_DONTFORK = 10
    MADV_DOFORK = 11
    MADV_MERGEABLE = 12
    MADV_UNMERGEABLE = 13
    MADV_HUGEPAGE = 14
    MADV_NOHUGEPAGE = 15
    MADV_DONTDUMP = 16
    MADV_DODUMP = 17
    MADV_WIPEONFORK = 18
    MADV_KEEPONFORK = 19
    MADV_COLD = 20
    MADV_PAGEOUT = 21
    MADV_POPULATE_READ = 22
    MADV_POPULATE_WRITE = 23
    MADV_DONTNEED_LOCKED = 24
    MADV_COLLAPSE = 25
    MADV_HWPOISON = 100
    MADV_SOFT_OFFLINE = 101


def page_up(length: int) -> int:
    """A length in bytes, rounded up to whole pages."""
    return -(-length // PAGE_BYTES) * PAGE_BYTES


def protection_flags(prot: Prot) -> VmFlags:
    """What a protection allows, as properties of an area."""
    return VmFlags(int(prot & (Prot.PROT_READ | Prot.PROT_WRITE | Prot.PROT_EXEC)))
