# SPDX-License-Identifier: Apache-2.0
"""I14 and I15: when an invalidation is complete, and that any invalidation is harmless."""

from __future__ import annotations

from models.arrays import PAGE_BYTES
from models.host_events import (
    FenceCompleted,
    FenceTaken,
    GrantEnded,
    GrantGiven,
    InvalidateTaken,
    InvalidationAnswered,
    InvalidationEnded,
    SlotChanged,
)
from models.invariants.state import Events, State, overlap, page_of


def check_fence_waits(events: Events) -> list[str]:
    """I14: a fence is complete only when the grants given before it was taken are over, and from then on nothing is
    granted that was walked before an invalidation that came before the fence.
    """
    found = []
    open_grants: set[int] = set()
    waits_for: dict[int, set[int]] = {}
    taken: list[tuple[int, InvalidateTaken]] = []
    behind: dict[int, int] = {}
    fenced = 0
    for place, event in enumerate(events):
        match event:
            case GrantGiven():
                open_grants.add(event.number)
                for at, command in reversed(taken[:fenced]):
                    if at < event.walked_at:
                        break
                    mine = command.pasid in (None, event.pasid) and command.first <= event.va | (PAGE_BYTES - 1)
                    if mine and page_of(event.va) <= command.last:
                        found.append(
                            f"I14: {event.va:#x} of PASID {event.pasid} was granted after the fence behind its "
                            "invalidation, by a walk from before it"
                        )
                        break
            case GrantEnded():
                open_grants.discard(event.number)
            case InvalidateTaken():
                taken.append((place, event))
            case FenceTaken():
                waits_for[event.number] = set(open_grants)
                behind[event.number] = len(taken)
            case FenceCompleted():
                left = waits_for.pop(event.number, set()) & open_grants
                if left:
                    found.append(f"I14: fence {event.number} was complete under grant {min(left)}, which is older")
                fenced = max(fenced, behind.pop(event.number, 0))
    return found


def check_invalidation_harmless(events: Events, *, finished: bool = True) -> list[str]:
    """I15: any range may be invalidated, also twice, or where nothing is: it is answered, then ended, once each, and
    takes nothing away outside of the range.
    """
    found = []
    state = State()
    answered: set[int] = set()
    for event in events:
        match event:
            case InvalidationAnswered():
                if event.number in answered or event.number not in state.open:
                    found.append(f"I15: invalidation {event.number} was answered when it was not open")
                answered.add(event.number)
            case InvalidationEnded():
                if event.number not in state.open:
                    found.append(f"I15: invalidation {event.number} ended more often than it started")
                elif event.number not in answered:
                    found.append(f"I15: invalidation {event.number} ended before it was answered")
            case SlotChanged() if event.old.valid and not event.new.valid:
                mine = [each for each in state.open.values() if each.space == state.spaces.get(event.pasid)]
                if mine and not any(overlap(each, event.va, event.va + PAGE_BYTES) for each in mine):
                    found.append(
                        f"I15: the slot of {event.va:#x} of PASID {event.pasid} lost its page to the invalidation of "
                        f"[{mine[0].start:#x}, {mine[0].end:#x})"
                    )
            case _:
                pass
        state.follow(event)
    if finished:
        found += [f"I15: invalidation {number} never ended" for number in state.open]
    return found
