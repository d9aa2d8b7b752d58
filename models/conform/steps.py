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
from models.hmm.system_calls import Advice, MapFlags, Prot

PROTECTIONS = {"r": Prot.PROT_READ, "w": Prot.PROT_WRITE, "x": Prot.PROT_EXEC}
FAILED = "errno="

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
        except (ValueError, TypeError):
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
    "fork": _fork,
    "sleep_us": _nothing,
}
