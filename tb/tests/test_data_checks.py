# SPDX-License-Identifier: Apache-2.0
"""The judge of data: right histories pass, and every kind of wrong byte is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.errors import UserError
from models.structures import Access
from tb.data_checks import HOST_RANK, DataMemory, OtherAccess, check_shapes, replay_data
from tb.host_script import make_requests
from tb.records import DATA_BYTES, RESPONSE_DTYPE, RequestData, Requests, Responses

BASE = 0x10000
BYTES = 1 << 12
LOADED = 3
"""The row of the last load."""


class Story:
    """A store by client 1, in one cycle with a load by client 2; a host's store; an atomic add; a last load."""

    def __init__(self) -> None:
        self.requests: Requests = make_requests(
            0x5000 + np.array([8, 8, 16, 8], dtype=np.uint64),
            1,
            [Access.WRITE, Access.READ, Access.ATOMIC, Access.READ],
            client=[1, 2, 1, 2],
            length=[8, 8, 8, 16],
        )
        self.responses: Responses = np.zeros(4, dtype=RESPONSE_DTYPE)
        self.responses["pa"] = BASE + (self.requests["va"] & np.uint64(0xFFF))
        self.responses["data_cycle"] = [10, 10, 12, 12]
        self.before: RequestData = np.full((4, DATA_BYTES), 0x77, dtype=np.uint8)
        words = self.before.view(np.uint64)
        words[0, 0], words[2, 0] = 100, 7
        self.after = self.before.copy()
        after = self.after.view(np.uint64)
        after[1, 0], after[2, 1] = 100, 50
        after[3, :2] = [100, 57]
        self.memory = DataMemory(BASE, np.zeros(BYTES, dtype=np.uint8))
        self.others = [
            OtherAccess(9, HOST_RANK, BASE + 16, (1).to_bytes(8, "little")),
            OtherAccess(12, HOST_RANK, BASE + 16, (50).to_bytes(8, "little")),
            OtherAccess(13, HOST_RANK, BASE + 16, (57).to_bytes(8, "little"), store=False),
        ]

    def lines(self) -> list[str]:
        """What is wrong."""
        memories = [DataMemory(BASE, self.memory.bytes.copy())]
        found = replay_data(self.requests, self.responses, self.before, self.after, memories, self.others)
        self.left = memories[0].bytes.view(np.uint64)[:4].tolist()
        return [failure.text for failure in found]


def test_data_right() -> None:
    """
    Stimulus: a history in which accesses meet in one cycle, and every order matters.
    Checking: nothing is found, and memory ends as it must.
    Covers: DATA-REPLAY
    """
    story = Story()
    assert story.lines() == []
    assert story.left == [0, 100, 57, 0]


def _wrong_byte(story: Story) -> None:
    story.after[LOADED, 9] ^= 1


def _load_in_the_wrong_order(story: Story) -> None:
    story.requests["client"][:2] = [2, 1]


def _load_too_long(story: Story) -> None:
    story.after[1, 8] = 0


def _store_changed(story: Story) -> None:
    story.after[0, 0] = 101


def _atomic_lost(story: Story) -> None:
    story.after[2].view(np.uint64)[1] = 1


def _moved_nothing(story: Story) -> None:
    story.responses["data_cycle"][1] = 0


def _host_load(story: Story) -> None:
    story.others[2] = OtherAccess(13, HOST_RANK, BASE + 16, (50).to_bytes(8, "little"), store=False)


def _outside(story: Story) -> None:
    story.responses["pa"][0] = BASE + BYTES - 4


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_wrong_byte, "request 2 of client 1 stored there last, in cycle 12"),
        (_load_in_the_wrong_order, "request 1: READ"),
        (_load_too_long, "request 1: READ"),
        (_store_changed, "request 0: WRITE"),
        (_atomic_lost, "rank 0 stored there last, in cycle 12"),
        (_moved_nothing, "request 1: READ of 8 bytes at va 0x5008, pasid 1, client 2, pa 0x10008 moved nothing"),
        (_host_load, "a load of 8 bytes at 0x10010 by rank 0 brought 3200000000000000, expected 3900000000000000"),
        (_outside, "outside the memory"),
    ],
)
def test_data_wrong_is_told(damage: Callable[[Story], None], words: str) -> None:
    """
    Stimulus: the history with one thing wrong.
    Checking: it is found, in words that name the access and who stored there last.
    Covers: DATA-REPLAY
    """
    story = Story()
    damage(story)
    lines = story.lines()
    assert lines
    assert words in lines[0], lines


@pytest.mark.parametrize(
    ("va", "access", "length"),
    [
        (0x1FC1, Access.READ, 64),
        (0x1000, Access.WRITE, 65),
        (0x1004, Access.ATOMIC, 8),
        (0x1000, Access.ATOMIC, 4),
        (0x1000, Access.PREFETCH, 1),
    ],
)
def test_data_shape_refused(va: int, access: Access, length: int) -> None:
    """
    Stimulus: bytes over the end of a page, too many, an atomic access that is not 8 aligned bytes, data of a prefetch;
        the nearest shapes that are right; lengths without any data rows.
    Checking: each wrong one is refused with its place; the right ones are taken.
    Covers: DATA-SHAPE
    """
    data = np.zeros((2, DATA_BYTES), dtype=np.uint8)
    right = make_requests([0x1FC0, 0x1FF8], 0, [Access.READ, Access.ATOMIC], length=[64, 8])
    check_shapes(right, data)
    with pytest.raises(UserError, match="a row of 64 bytes"):
        check_shapes(right, data[:0])
    with pytest.raises(UserError, match=f"request 1 .* moves {length} at {va:#x}"):
        check_shapes(make_requests([0, va], 0, [Access.READ, access], length=[0, length]), data)
