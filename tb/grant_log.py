# SPDX-License-Identifier: Apache-2.0
"""Grants and fences as the event log tells them: no fence may be complete under a grant that is older than it.

Serves every client, the one inside the device included. Source: docs/interface.md, "Invalidation and fence".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.structures import Access, Opcode
from tb.records import EventKind, Events

NEVER = np.iinfo(np.int64).max
_IDS = 256


@dataclass(frozen=True)
class Grants:
    """n grants by holder and time: client, id uint8[n]; `given`, `ended` int64[n], cycles; NEVER: not ended yet; `rows`
    EVENT_DTYPE[n], the responses that gave them.
    """

    client: NDArray[np.uint8]
    id: NDArray[np.uint8]
    given: NDArray[np.int64]
    ended: NDArray[np.int64]
    rows: Events


def grants_in(events: Events) -> Grants:
    """The grants of an event log EVENT_DTYPE[n] from reset on."""
    given = (events["kind"] == EventKind.TRANSLATION) & (events["code"] != Access.PREFETCH)
    rows = events[given | (events["kind"] == EventKind.GRANT_END)]
    holder = rows["client"].astype(np.int64) * _IDS + rows["id"]
    rows = rows[np.argsort(holder, kind="stable")]
    holder = np.sort(holder)
    cycle = rows["cycle"].astype(np.int64)
    begins = rows["kind"] == EventKind.TRANSLATION
    ends_next = np.append((holder[1:] == holder[:-1]) & ~begins[1:], False)
    ended = np.where(ends_next, np.append(cycle[1:], NEVER), NEVER)[begins]
    return Grants(rows["client"][begins], rows["id"][begins], cycle[begins], ended, rows[begins])


def overtaken_grants(events: Events) -> list[str]:
    """One sentence for each fence that is complete while a grant goes on that was given before the fence was taken."""
    cycle = events["cycle"].astype(np.int64)
    is_fence = (events["kind"] == EventKind.COMMAND) & (events["code"] == Opcode.FENCE) & (events["reason"] == 0)
    complete = cycle[events["kind"] == EventKind.FENCE]
    taken = cycle[is_fence][: complete.size]
    grants = grants_in(events)
    found = []
    for fence_taken, fence_complete in zip(taken, complete, strict=True):
        overtaken = np.flatnonzero((grants.given <= fence_taken) & (grants.ended > fence_complete))
        if overtaken.size:
            first = overtaken[0]
            found.append(
                f"I14: the fence that was taken in cycle {fence_taken} is complete in cycle {fence_complete} under the "
                f"grant of client {grants.client[first]}, id {grants.id[first]}, given in cycle {grants.given[first]}"
            )
    return found
