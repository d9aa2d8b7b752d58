# SPDX-License-Identifier: Apache-2.0
"""I1, I2, I3 and I20: no translation outlives its time, or is used by anybody else."""

from __future__ import annotations

from bisect import bisect_left

from models.arrays import PAGE_BYTES
from models.host_events import (
    Accessed,
    CommitBegun,
    CommitEnded,
    InvalidationAnswered,
    InvalidationStarted,
    Meaning,
    RangeBegun,
    SlotChanged,
)
from models.invariants.state import NOTHING, Events, State, overlap, page_of
from models.structures import Access


def check_no_stale_access(events: Events) -> list[str]:
    """I1: after an invalidation was answered, nothing that was granted before it is used for its range any more.

    Neither by the device at its memory port, nor does a slot in memory still grant it.
    """
    found = []
    state = State()
    changes: dict[tuple[int, int], list[int]] = {}
    answered_at: dict[tuple[int, int], int] = {}
    for place, event in enumerate(events):
        state.follow(event)
        if isinstance(event, SlotChanged):
            changes.setdefault((event.pasid, event.va), []).append(place)
        elif isinstance(event, InvalidationAnswered):
            update = state.open[event.number]
            for key in state.pages_in(update.space, update.start, update.end):
                answered_at[key] = place
                if state.slots[key].valid:
                    found.append(
                        f"I1: the slot of {key[1]:#x} of PASID {key[0]} still grants access after the invalidation of "
                        f"[{update.start:#x}, {update.end:#x}) was answered"
                    )
        elif isinstance(event, Accessed):
            key = event.pasid, page_of(event.va)
            before = bisect_left(changes.get(key, []), event.walked_at)
            if before == 0:
                found.append(f"I1: the device used {event.va:#x} of PASID {event.pasid}, which no slot ever granted")
            elif changes[key][before - 1] < answered_at.get(key, -1):
                found.append(
                    f"I1: the device used {event.va:#x} of PASID {event.pasid} under a grant from before an "
                    "invalidation that was answered"
                )
    return found


def check_no_install_in_window(events: Events) -> list[str]:
    """I2: between the answer to an invalidation and its end no slot of its range begins to grant anything."""
    found = []
    state = State()
    for event in events:
        if isinstance(event, SlotChanged) and event.new.valid and not event.old.valid:
            over = state.open_over(event.pasid, event.va, event.va + PAGE_BYTES, answered=True)
            found += [
                f"I2: the slot of {event.va:#x} of PASID {event.pasid} was filled inside the invalidation of "
                f"[{update.start:#x}, {update.end:#x})"
                for update in over
            ]
        state.follow(event)
    return found


def check_fresh_commit(events: Events) -> list[str]:
    """I3: slots are filled only in a commit, and what is committed was asked for after every invalidation of it."""
    found = []
    state = State()
    begun: dict[int, tuple[RangeBegun, bool]] = {}
    committing: list[CommitBegun] = []
    for event in events:
        if isinstance(event, RangeBegun):
            stale = bool(state.open_over(event.pasid, event.start, event.end))
            begun[event.pasid] = event, stale
        elif isinstance(event, InvalidationStarted):
            for pasid, (asked, _) in begun.items():
                if state.spaces.get(pasid) == event.space and overlap(event, asked.start, asked.end):
                    begun[pasid] = asked, True
        elif isinstance(event, CommitBegun):
            committing.append(event)
            asked_and_stale = begun.get(event.pasid)
            if asked_and_stale is None or (asked_and_stale[0].start, asked_and_stale[0].end) != (
                event.start,
                event.end,
            ):
                found.append(f"I3: a commit of [{event.start:#x}, {event.end:#x}) that was not asked for")
            elif asked_and_stale[1]:
                found.append(
                    f"I3: [{event.start:#x}, {event.end:#x}) of PASID {event.pasid} was committed although it was "
                    "invalidated since it was asked for"
                )
        elif isinstance(event, CommitEnded):
            committing = [each for each in committing if each.pasid != event.pasid]
        elif isinstance(event, SlotChanged) and event.new.valid:
            inside = any(each.pasid == event.pasid and each.start <= event.va < each.end for each in committing)
            if not inside:
                found.append(f"I3: the slot of {event.va:#x} of PASID {event.pasid} was filled outside its commit")
        state.follow(event)
    return found


def check_isolation(events: Events) -> list[str]:
    """I20: what a slot grants is taken away only by an invalidation of its own space, and the device reaches only
    pages that slots of its own context grant.
    """
    found = []
    state = State()
    places: dict[tuple[int, int], list[int]] = {}
    meanings: dict[tuple[int, int], list[Meaning]] = {}
    for place, event in enumerate(events):
        if isinstance(event, SlotChanged):
            less = event.old.valid and (not event.new.valid or event.old.pfn != event.new.pfn)
            if less and not state.open_over(event.pasid, event.va, event.va + PAGE_BYTES):
                found.append(
                    f"I20: the slot of {event.va:#x} of PASID {event.pasid} lost its page without an invalidation of "
                    "its own address space"
                )
            places.setdefault((event.pasid, event.va), []).append(place)
            meanings.setdefault((event.pasid, event.va), []).append(event.new)
        elif isinstance(event, Accessed):
            key = event.pasid, page_of(event.va)
            before = bisect_left(places.get(key, []), event.walked_at)
            slot = meanings[key][before - 1] if before else NOTHING
            needs_write = event.access in (Access.WRITE, Access.ATOMIC)
            if not slot.valid or slot.pfn != event.pfn or (needs_write and not slot.write):
                found.append(
                    f"I20: PASID {event.pasid} used pfn {event.pfn:#x} at {event.va:#x}, which its slot did not grant"
                )
        state.follow(event)
    return found
