# SPDX-License-Identifier: Apache-2.0
"""I4, I5, I6, I11 and I19: what a slot grants is what the CPU has, no more; what was written through it is known."""

from __future__ import annotations

from models.arrays import PAGE_BYTES, PAGE_SHIFT
from models.host_events import (
    CommitEnded,
    Meaning,
    SlotChanged,
    TablesCompared,
    WritableTaken,
)
from models.invariants.state import NOTHING, Events, State


def check_permissions(events: Events) -> list[str]:
    """I5: what a slot grants is the CPU's own page, and writing only where the CPU may write, when it is filled."""
    found = []
    for event in events:
        if not isinstance(event, SlotChanged) or not event.new.valid or not event.cpu.mapped:
            continue
        slot = f"the slot of {event.va:#x} of PASID {event.pasid}"
        if event.new.pfn != event.cpu.pfn:
            found.append(f"I5: {slot} grants pfn {event.new.pfn:#x}, the CPU has {event.cpu.pfn:#x}")
        elif event.new.write and not event.cpu.writable:
            found.append(f"I5: {slot} grants writing, the CPU may not write")
    return found


def check_no_page_no_grant(events: Events) -> list[str]:
    """I6: where the CPU has no page (none, special, poison, moving) no slot is filled with one that grants anything."""
    return [
        f"I6: the slot of {event.va:#x} of PASID {event.pasid} grants access, the CPU has no page there"
        for event in events
        if isinstance(event, SlotChanged) and event.new.valid and not event.cpu.mapped
    ]


def check_agreement(events: Events) -> list[str]:
    """I4: where CPU and device both have a page it is the same one; looked at wherever one of the tables changed."""
    return [
        f"I4: the device has pfn {slot:#x} at {va:#x} of PASID {event.pasid}, the CPU has {cpu:#x}"
        for event in events
        if isinstance(event, TablesCompared)
        for va, slot, cpu in event.differing
    ]


def check_slot_orders(events: Events) -> list[str]:
    """I11: a slot promises a block only if all slots of the block are alike and their pages lie one behind the other.

    Looked at behind each commit.
    """
    found = []
    state = State()
    for event in events:
        state.follow(event)
        if not isinstance(event, CommitEnded):
            continue
        for (pasid, va), slot in state.slots.items():
            if pasid != event.pasid or not event.start <= va < event.end or not slot.valid or not slot.order:
                continue
            size = PAGE_BYTES << slot.order
            first = va // size * size
            base = slot.pfn - ((va - first) >> PAGE_SHIFT)
            block = [
                state.slots.get((pasid, first + page * PAGE_BYTES), NOTHING)
                == Meaning(True, base + page, slot.write, slot.order)
                for page in range(1 << slot.order)
            ]
            if base % (1 << slot.order) or not all(block):
                found.append(
                    f"I11: the slot of {va:#x} of PASID {pasid} promises order {slot.order}, but its block is not alike"
                )
    return found


def check_dirty(events: Events) -> list[str]:
    """I19: a page whose slot granted writing is marked as written before whoever takes the slot away is through."""
    return [
        f"I19: the slot of {event.va:#x} of PASID {event.pasid} granted writing to pfn {event.pfn:#x}, which was not "
        "marked dirty when it was taken away"
        for event in events
        if isinstance(event, WritableTaken) and not event.dirty
    ]
