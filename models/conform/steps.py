# SPDX-License-Identifier: Apache-2.0
"""The recorded calls, made in the model: system calls and accesses of the CPU, by their names.

Source: models/data/kernel/README.md, `setup` and `calls`; the calls themselves are those of models/hmm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from models.arrays import PAGE_BYTES
from models.conform.notes import InexpressibleError
from models.hmm.cpu import cpu_read, cpu_write
from models.hmm.errors import HmmError
from models.hmm.fork import fork
from models.hmm.memory_map import MemoryMap
from models.hmm.system_calls import Advice, MapFlags, Prot, RemapFlags
from models.hmm.vma import VmFlags

PROTECTIONS = {"r": Prot.PROT_READ, "w": Prot.PROT_WRITE, "x": Prot.PROT_EXEC}
FAILED = "errno="
WITHOUT_EFFECT = ("NORMAL", "RANDOM", "SEQUENTIAL", "WILLNEED", "COLD", "DODUMP", "DONTDUMP")
"""Advice that by itself changes no entry that is mapped writable or not."""

Step = Callable[[MemoryMap, int, list[Any]], Awaitable[None]]


async def perform(calls: list[list[Any]], mm: MemoryMap, base: int) -> None:
    """Make recorded calls, in order; `base` is the address of their page 0.

    Errors: InexpressibleError if one is not known, or does not fail as it was recorded to.
    """
    for name, *arguments in calls:
        step = STEPS.get(name)
        if step is None:
            raise InexpressibleError(f'the call "{name}" is not known')
        failed = bool(arguments) and isinstance(arguments[-1], str) and arguments[-1].startswith(FAILED)
        try:
            await step(mm, base, arguments[:-1] if failed else arguments)
        except HmmError as error:
            if not failed:
                raise InexpressibleError(f'the call "{name}" fails with {error.errno}') from None
        except (KeyError, ValueError, TypeError):
            raise InexpressibleError(f'the call "{name}" has arguments that are not understood') from None
        else:
            if failed:
                raise InexpressibleError(f'the call "{name}" does not fail, but it did')


def _protection(letters: str) -> Prot:
    prot = Prot.PROT_NONE
    for letter in "" if letters == "none" else letters:
        prot |= PROTECTIONS[letter]
    return prot


async def _read(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    first, count = arguments[:2]
    for page in range(first, first + count):
        await cpu_read(mm, base + page * PAGE_BYTES, 1)


async def _write(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    first, count = arguments[:2]
    for page in range(first, first + count):
        await cpu_write(mm, base + page * PAGE_BYTES, b"\x01")


async def _munmap(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    first, count = arguments
    await mm.munmap(base + first * PAGE_BYTES, count * PAGE_BYTES)


async def _mprotect(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    first, count, letters = arguments
    await mm.mprotect(base + first * PAGE_BYTES, count * PAGE_BYTES, _protection(letters))


async def _madvise(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    first, count, advice = arguments
    if advice in WITHOUT_EFFECT:
        return
    if f"MADV_{advice}" not in Advice.__members__:
        raise InexpressibleError(f'the advice "{advice}" is not known')
    await mm.madvise(base + first * PAGE_BYTES, count * PAGE_BYTES, Advice[f"MADV_{advice}"])


async def _mmap(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    first, count, letters, words, file = arguments[:5]
    kinds = set(words.split("|"))
    if file or "anon" not in kinds or kinds & {"hugetlb2m", "hugetlb1g"}:
        raise InexpressibleError("a mapping of a file or of huge pages in the middle of a record")
    flags = MapFlags.MAP_ANONYMOUS
    flags |= MapFlags.MAP_SHARED if "shared" in kinds else MapFlags.MAP_PRIVATE
    flags |= MapFlags.MAP_FIXED_NOREPLACE if "fixed_noreplace" in kinds else MapFlags.MAP_FIXED
    await mm.mmap(base + first * PAGE_BYTES, count * PAGE_BYTES, _protection(letters), flags)


async def _fork(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    await fork(mm)


async def _mremap(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    first, old_count, new_count, words, new_first = arguments
    kinds = set(filter(None, words.split("|")))
    flags = RemapFlags.NONE
    for word, flag in (("maymove", RemapFlags.MREMAP_MAYMOVE), ("fixed", RemapFlags.MREMAP_FIXED)):
        flags |= flag if word in kinds else RemapFlags.NONE
        kinds.discard(word)
    if kinds:
        raise InexpressibleError(f'the flags "{words}" of a move are not known')
    new = 0 if new_first is None else base + new_first * PAGE_BYTES
    await mm.mremap(base + first * PAGE_BYTES, old_count * PAGE_BYTES, new_count * PAGE_BYTES, flags, new)


async def _mlock(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    """Every page is made present, private memory by a write (populate_vma_page_range())."""
    first, count = arguments
    for page in range(first, first + count):
        area = mm.vmas.find(base + page * PAGE_BYTES)
        private = area is not None and VmFlags.VM_SHARED not in area.flags and VmFlags.VM_WRITE in area.flags
        await (_write if private else _read)(mm, base, [page, 1])


async def _nothing(mm: MemoryMap, base: int, arguments: list[Any]) -> None:
    """The call changes nothing that the watched range shows."""


STEPS: dict[str, Step] = {
    "read": _read,
    "write": _write,
    "fill": _write,
    "mmap": _mmap,
    "munmap": _munmap,
    "mprotect": _mprotect,
    "madvise": _madvise,
    "mremap": _mremap,
    "mlock": _mlock,
    "munlock": _nothing,
    "fork": _fork,
    "child_exit": _nothing,
    "vfork": _nothing,
    "sleep_us": _nothing,
}
