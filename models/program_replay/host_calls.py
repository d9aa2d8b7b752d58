# SPDX-License-Identifier: Apache-2.0
"""The recorded calls on an address space, at the recorded addresses, with the loader that fills pages of files.

Source: docs/programs.md, "Calls".
"""

from __future__ import annotations

import numpy as np

from models.arrays import PAGE_SHIFT, Words
from models.errors import UserError
from models.hmm import HmmError, MapFlags, MemoryMap, Prot, RemapFlags, cpu_write
from models.hmm.operations.protect import PROTECTION_FLAGS
from models.hmm.vma import VmFlags
from models.program_recording import EventKind, MappingFlag
from models.program_replay.content import initial_page
from models.program_replay.ledger import effective
from models.program_replay.plan import Call

READ_WRITE = Prot.PROT_READ | Prot.PROT_WRITE
FIXED = MapFlags.MAP_FIXED


async def map_initial(mm: MemoryMap, mapping: Call) -> None:
    """What was mapped before the first event (a row of MAPPING_DTYPE). Errors: UserError if it cannot be."""
    address, length = int(mapping.event["address"]), int(mapping.event["length"])
    try:
        await _map(mm, mapping, address, length, int(mapping.event["protection"]), MapFlags.MAP_PRIVATE)
    except HmmError as error:
        raise UserError(_refusal("mapping of the start", address, length, error)) from None


async def perform_call(mm: MemoryMap, call: Call) -> None:
    """A recorded call (a row of EVENT_DTYPE). Errors: UserError if the address space cannot do it."""
    event = call.event
    kind, address, length = EventKind(int(event["kind"])), int(event["address"]), int(event["length"])
    new_address, new_length = int(event["new_address"]), int(event["new_length"])
    try:
        match kind:
            case EventKind.MMAP:
                shared = int(event["flags"]) & MappingFlag.SHARED
                kept = MapFlags.MAP_SHARED if shared else MapFlags.MAP_PRIVATE
                await _map(mm, call, address, length, int(event["protection"]), kept)
            case EventKind.MUNMAP:
                await mm.munmap(address, length)
            case EventKind.MPROTECT:
                await mm.mprotect(address, length, Prot(int(effective(int(event["protection"])))))
            case EventKind.BRK if new_address > address:
                await mm.mmap(address, new_address - address, READ_WRITE, MapFlags.MAP_PRIVATE | FIXED)
            case EventKind.BRK if new_address < address:
                await mm.munmap(new_address, address - new_address)
            case EventKind.BRK:
                pass
            case EventKind.MREMAP:
                await _remap(mm, address, length, new_address, new_length)
            case _:
                raise ValueError(f"{kind.name} is no call")
    except HmmError as error:
        raise UserError(_refusal(kind.name.lower(), address, length, error)) from None


def call_ranges(event: np.void) -> list[tuple[int, int]]:
    """The (address, length) that a call changes."""
    kind, address, length = EventKind(int(event["kind"])), int(event["address"]), int(event["length"])
    new_address, new_length = int(event["new_address"]), int(event["new_length"])
    if kind is EventKind.BRK:
        low, high = sorted((address, new_address))
        return [(low, high - low)] if high > low else []
    return [(address, length), (new_address, new_length)] if kind is EventKind.MREMAP else [(address, length)]


def _refusal(what: str, address: int, length: int, error: HmmError) -> str:
    where = f"{length:#x} bytes at {address:#x}"
    return f"The recorded {what} of {where} cannot be performed ({error}); record the program again."


async def _map(mm: MemoryMap, call: Call, address: int, length: int, protection: int, flags: MapFlags) -> None:
    """Map and let the loader write the pages that a file would bring, before the mapping gets its protection."""
    final = Prot(int(effective(protection)))
    first = READ_WRITE | final if call.fills.size else final
    await mm.mmap(address, length, first, flags | FIXED)
    await _fill(mm, call.number, call.fills)
    if first != final:
        await mm.mprotect(address, length, final)


async def _fill(mm: MemoryMap, mapping: int, pages: Words) -> None:
    for page in pages:
        await cpu_write(mm, int(page) << PAGE_SHIFT, initial_page(mapping, int(page)).tobytes())


async def _remap(mm: MemoryMap, old: int, old_length: int, new: int, new_length: int) -> None:
    area = mm.vmas.find(old)
    if area is not None and VmFlags.VM_SHARED in area.flags and new_length > old_length:
        # What a shared mapping grows into may hold bytes of the past; by our rule all that grows begins as zeros.
        protection = Prot(int(area.flags & PROTECTION_FLAGS))
        if new != old:
            await _remap(mm, old, old_length, new, old_length)
        await mm.mmap(new + old_length, new_length - old_length, protection, MapFlags.MAP_SHARED | FIXED)
        return
    if new == old:
        if new_length > old_length:
            # The kernel found room; whatever we have there was taken for mapped only because it is used later.
            await mm.munmap(old + old_length, new_length - old_length)
        await mm.mremap(old, old_length, new_length, RemapFlags.NONE)
        return
    await mm.mremap(old, old_length, new_length, RemapFlags.MREMAP_MAYMOVE | RemapFlags.MREMAP_FIXED, new)
