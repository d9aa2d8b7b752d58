# SPDX-License-Identifier: Apache-2.0
"""I16, I17 and I18: sequences of interval notifiers, and the end of an address space."""

from __future__ import annotations

from models.host_events import (
    Accessed,
    ContextBound,
    ContextUnbound,
    SlotChanged,
)
from models.invariants.state import Events, State
from models.memory_events import (
    IntervalsEnded,
    IntervalsTold,
    NotifierInserted,
    NotifierTold,
    ReadAsked,
    ReadBegun,
    SpaceReleased,
)


def check_sequence_parity(events: Events) -> list[str]:
    """I16: a notifier's own sequence and the one that it is told are odd, and it has taken the one that it was told.

    That of the space is odd while an invalidation is open that a notifier has to know of, else even.
    """
    found = []
    active: dict[int, int] = {}
    needed: dict[int, bool] = {}

    def check_space(space: int, seq: int) -> None:
        if bool(seq % 2) is not needed.get(space, False):
            state = "an" if needed.get(space) else "no"
            found.append(f"I16: the sequence of space {space} is {seq} while {state} invalidation is open")

    for event in events:
        match event:
            case IntervalsTold():
                active[event.space] = active.get(event.space, 0) + 1
                needed[event.space] = needed.get(event.space, False) or event.overlapping > 0
                check_space(event.space, event.seq)
            case IntervalsEnded():
                active[event.space] = active.get(event.space, 0) - 1
                if not active[event.space]:
                    needed[event.space] = False
                check_space(event.space, event.seq)
            case NotifierInserted():
                needed[event.space] = bool(active.get(event.space, 0))
                check_space(event.space, event.space_seq)
                if event.seq % 2 == 0:
                    found.append(f"I16: notifier {event.notifier} of space {event.space} begins with {event.seq}")
            case NotifierTold():
                if event.cur_seq % 2 == 0 or event.seq != event.cur_seq:
                    found.append(
                        f"I16: notifier {event.notifier} of space {event.space} was told {event.cur_seq} and has "
                        f"{event.seq}"
                    )
            case _:
                pass
    return found


def check_read_waits(events: Events) -> list[str]:
    """I17: reading begins only when the notifier's sequence is not that of the space, or has not been meanwhile."""
    found = []
    waiting: dict[tuple[int, int, int], bool] = {}

    def moved(space: int, seq: int) -> None:
        for key in waiting:
            if key[0] == space and key[2] != seq:
                waiting[key] = True

    for event in events:
        match event:
            case ReadAsked():
                key = event.space, event.notifier, event.seq
                waiting[key] = waiting.get(key, False) or event.seq != event.space_seq
            case ReadBegun():
                if not waiting.get((event.space, event.notifier, event.seq), False):
                    found.append(
                        f"I17: reading began with {event.seq} under notifier {event.notifier} of space {event.space}, "
                        "which is being invalidated"
                    )
            case IntervalsTold() | IntervalsEnded():
                moved(event.space, event.seq)
            case NotifierInserted():
                moved(event.space, event.space_seq)
            case _:
                pass
    return found


def check_release(events: Events) -> list[str]:
    """I18: when an address space has been released no slot of it grants anything, and nothing is granted or used by
    it from then on.
    """
    found = []
    state = State()
    released: set[int] = set()
    for place, event in enumerate(events):
        state.follow(event)
        match event:
            case ContextUnbound():
                released.discard(event.pasid)
            case ContextBound():
                released.discard(event.pasid)
            case SpaceReleased():
                for (pasid, va), slot in state.slots.items():
                    if state.spaces.get(pasid) == event.space and slot.valid:
                        found.append(f"I18: the slot of {va:#x} of PASID {pasid} still grants access after the release")
                released |= {pasid for pasid, space in state.spaces.items() if space == event.space}
            case SlotChanged() if event.pasid in released and event.new.valid:
                found.append(f"I18: the slot of {event.va:#x} of PASID {event.pasid} was filled after the release")
            case Accessed() if event.pasid in released:
                found.append(f"I18: the device used {event.va:#x} of PASID {event.pasid} after the release ({place})")
            case _:
                pass
    return found
