# SPDX-License-Identifier: Apache-2.0
"""The data that clients move under their grants: which shapes there are, and whether every byte is right.

All accesses to memory have an order: by cycle, and in a cycle the host's first, then those of the clients by number,
then what the device writes (tb/records.py). So the accesses can be replayed one after another, and each load must bring
what the last store before it left. Needs no model and no simulator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import PAGE_BYTES, Bytes
from models.errors import UserError
from models.structures import Access
from tb.failure import Failure
from tb.records import DATA_BYTES, RequestData, Requests, Responses

HOST_RANK = 0
"""The host's place among the accesses of a cycle. A client's place is its number."""
DEVICE_RANK = 1 << 8
"""The place of what the device writes itself."""
ATOMIC_BYTES = 8
_WORD_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class DataMemory:
    """One memory: the bus address of its first byte, and its bytes, uint8[size]."""

    base: int
    bytes: Bytes

    def view(self, address: int, length: int) -> Bytes:
        """The bytes [address, address + length), to be read or written in place."""
        first = address - self.base
        return self.bytes[first : first + length]


@dataclass(frozen=True)
class OtherAccess:
    """A store, or a load with what it brought, by somebody who is no external client: `rank` says who of a cycle.

    `memory` as in a response: 0 system, 1 device.
    """

    cycle: int
    rank: int
    address: int
    data: bytes
    store: bool = True
    memory: int = 0


def check_shapes(requests: Requests, data: RequestData) -> None:
    """Refuses what a client cannot move. `data`: uint8[n, DATA_BYTES], or no rows at all. Errors: UserError."""
    length = requests["length"].astype(np.int64)
    moves = length != 0
    if data.shape != (requests.size, DATA_BYTES) and (data.size or moves.any()):
        raise UserError(f"Give each of the {requests.size} requests a row of {DATA_BYTES} bytes of data.")
    offset = (requests["va"] % np.uint64(PAGE_BYTES)).astype(np.int64)
    atomic = requests["access"] == Access.ATOMIC
    wrong = moves & ((length > DATA_BYTES) | (offset + length > PAGE_BYTES))
    wrong |= moves & atomic & ((length != ATOMIC_BYTES) | (offset % ATOMIC_BYTES != 0))
    wrong |= moves & (requests["access"] == Access.PREFETCH)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"Let request {row} move what fits: at most {DATA_BYTES} bytes of one page, an ATOMIC 8 aligned ones, a "
            f"PREFETCH none; it moves {length[row]} at {int(requests['va'][row]):#x}."
        )


def replay_data(
    requests: Requests,
    responses: Responses,
    before: RequestData,
    after: RequestData,
    memories: Sequence[DataMemory],
    others: Iterable[OtherAccess] = (),
) -> list[Failure]:
    """What is wrong with the data that clients moved, in order of time.

    `before`, `after`: the requests' data rows as they were given and as the simulation left them. `memories`: system
    memory and, if there is one, device memory, as they were at the start; every access is done to them in place, so
    that they end as memory must be. `others`: accesses of the host and of the device itself.
    """
    replay = _Replay(requests, responses, before, after, memories, list(others))
    replay.run()
    return replay.failures


class _Replay:
    """All accesses, one after another."""

    def __init__(
        self,
        requests: Requests,
        responses: Responses,
        before: RequestData,
        after: RequestData,
        memories: Sequence[DataMemory],
        others: list[OtherAccess],
    ) -> None:
        self.failures: list[Failure] = []
        self._requests, self._responses = requests, responses
        self._before, self._after = before, after
        self._memories = memories
        self._others = others
        moved = np.flatnonzero(responses["data_cycle"] != 0)
        keys = zip(responses["data_cycle"][moved].tolist(), requests["client"][moved].tolist(), strict=True)
        # (cycle, rank, number): a row of the requests, or behind them one of the others.
        order = [(cycle, client, row) for (cycle, client), row in zip(keys, moved.tolist(), strict=True)]
        order += [(each.cycle, each.rank, requests.size + place) for place, each in enumerate(others)]
        self._order = sorted(order)

    def run(self) -> None:
        """Everything."""
        still = self._responses["data_cycle"] == 0
        for row in np.flatnonzero(still & (self._before != self._after).any(axis=1)).tolist():
            self._fail(row, "moved nothing, and its data changed")
        for place, (_, _, number) in enumerate(self._order):
            if number >= self._requests.size:
                self._do_other(self._others[number - self._requests.size], place)
            else:
                self._do_request(number, place)

    def _do_request(self, row: int, place: int) -> None:
        access, length = int(self._requests["access"][row]), int(self._requests["length"][row])
        address = int(self._responses["pa"][row])
        memory = self._memories[int(self._responses["memory"][row])].view(address, length)
        expected = self._before[row].copy()
        if memory.size != length:
            self._fail(row, f"moved {length} bytes at {address:#x}, which is outside the memory")
            return
        if access == Access.READ:
            expected[:length] = memory
        elif access == Access.WRITE:
            memory[:] = expected[:length]
        else:
            old = int(memory.view(np.uint64)[0])
            expected[ATOMIC_BYTES : 2 * ATOMIC_BYTES] = memory
            memory.view(np.uint64)[0] = (old + int(expected[:ATOMIC_BYTES].view(np.uint64)[0])) & _WORD_MASK
        came = self._after[row]
        if not np.array_equal(came, expected):
            byte = int(np.flatnonzero(came != expected)[0])
            text = f"has {came[byte]:#04x} in byte {byte} of its data {bytes(came[: max(length, 16)]).hex()}, expected "
            who = self._who(int(self._responses["memory"][row]), address + byte % length, place)
            self._fail(row, f"{text}{expected[byte]:#04x}: {who}")

    def _do_other(self, other: OtherAccess, place: int) -> None:
        view = self._memories[other.memory].view(other.address, len(other.data))
        data = np.frombuffer(other.data, dtype=np.uint8)
        if other.store:
            view[:] = data
        elif not np.array_equal(view, data):
            who = self._who(other.memory, other.address + int(np.flatnonzero(view != data)[0]), place)
            text = f"a load of {len(other.data)} bytes at {other.address:#x} by rank {other.rank} brought "
            text += f"{other.data.hex()}, expected {bytes(view).hex()}: {who}"
            self.failures.append(Failure("DATA", text, other.cycle))

    def _who(self, memory: int, address: int, place: int) -> str:
        """Who stored a byte last before the access at `place`, in words."""
        for cycle, rank, number in reversed(self._order[:place]):
            if number >= self._requests.size:
                other = self._others[number - self._requests.size]
                first, length, stores, where = other.address, len(other.data), other.store, other.memory
            else:
                first, length = int(self._responses["pa"][number]), int(self._requests["length"][number])
                stores = int(self._requests["access"][number]) != Access.READ
                where = int(self._responses["memory"][number])
            if stores and where == memory and first <= address < first + length:
                name = f"rank {rank}" if number >= self._requests.size else f"request {number} of client {rank}"
                return f"{name} stored there last, in cycle {cycle}"
        return "nobody has stored there"

    def _fail(self, row: int, what: str) -> None:
        request, response = self._requests[row], self._responses[row]
        access = Access(int(request["access"])).name
        text = f"request {row}: {access} of {int(request['length'])} bytes at va {int(request['va']):#x}, pasid "
        text += f"{int(request['pasid'])}, client {int(request['client'])}, pa {int(response['pa']):#x} {what}"
        self.failures.append(Failure("DATA", text, int(response["data_cycle"])))
