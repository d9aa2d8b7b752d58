# SPDX-License-Identifier: Apache-2.0
"""Unit tests of the rule that a fence waits for the grants before it, on event logs made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.structures import Access, Opcode
from tb.grant_log import NEVER, grants_in, overtaken_grants
from tb.records import EVENT_DTYPE, EventKind, Events

FENCE = int(Opcode.FENCE)


def log(*rows: tuple[int, EventKind, int, int, int]) -> Events:
    """Rows (cycle, kind, client, id, code)."""
    events = np.zeros(len(rows), dtype=EVENT_DTYPE)
    for event, (cycle, kind, client, identity, code) in zip(events, rows, strict=True):
        event["cycle"], event["kind"], event["client"] = cycle, kind, client
        event["id"], event["code"] = identity, code
    return events


@pytest.mark.parametrize(
    ("given", "released", "overtaken"),
    [(5, 20, False), (5, 21, True), (10, 21, True), (11, 21, False), (5, None, True), (3, 8, False)],
)
@pytest.mark.parametrize("client", [0, 2])
def test_fence_waits_for_grants(given: int, released: int | None, overtaken: bool, client: int) -> None:
    """
    Stimulus: a fence taken in cycle 10 and complete in cycle 20, and one grant given and released around it.
    Checking: it is overtaken if it was given by cycle 10 and released after cycle 20; the sentence names its holder.
    Covers: INV-I14
    """
    rows = [
        (10, EventKind.COMMAND, 0, 0, FENCE),
        (20, EventKind.FENCE, 0, 0, 0),
        (given, EventKind.TRANSLATION, client, 7, int(Access.READ)),
    ]
    if released is not None:
        rows.append((released, EventKind.GRANT_END, client, 7, int(Access.READ)))
    found = overtaken_grants(log(*sorted(rows, key=lambda row: row[0])))
    assert bool(found) is overtaken
    assert all(f"client {client}, id 7, given in cycle {given}" in text for text in found)


def test_grants_by_holder() -> None:
    """
    Stimulus: two clients use the same id, one of them twice; a prefetch; a malformed fence.
    Checking: grants are told apart by client and id; a prefetch is none; the malformed fence takes nobody's place.
    Covers: INV-I14
    """
    events = log(
        (1, EventKind.TRANSLATION, 1, 4, int(Access.READ)),
        (2, EventKind.TRANSLATION, 2, 4, int(Access.WRITE)),
        (3, EventKind.TRANSLATION, 1, 5, int(Access.PREFETCH)),
        (4, EventKind.GRANT_END, 1, 4, int(Access.READ)),
        (6, EventKind.TRANSLATION, 1, 4, int(Access.READ)),
        (9, EventKind.GRANT_END, 2, 4, int(Access.WRITE)),
    )
    grants = grants_in(events)
    assert list(zip(grants.client, grants.given, grants.ended, strict=True)) == [(1, 1, 4), (1, 6, NEVER), (2, 2, 9)]
    malformed = log(
        (5, EventKind.COMMAND, 0, 0, FENCE), (7, EventKind.COMMAND, 0, 0, FENCE), (8, EventKind.FENCE, 0, 0, 0)
    )
    malformed["reason"][0] = 1
    grant = log((6, EventKind.TRANSLATION, 1, 4, int(Access.READ)))
    together = np.sort(np.concatenate([malformed, grant]), order="cycle", kind="stable")
    (text,) = overtaken_grants(together)
    assert "taken in cycle 7" in text
