# SPDX-License-Identifier: Apache-2.0
"""What was on the ports in each cycle, written down from outside, to compare with what the records claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import ReadOnly, RisingEdge

from tb.adapter.pins import (
    AXI,
    CLIENT,
    READ_SIGNALS,
    RELEASE_SIGNALS,
    REQUEST_SIGNALS,
    RESPONSE_SIGNALS,
    WRITE_SIGNALS,
)
from tb.adapter.top import Top


@dataclass(frozen=True)
class Cycle:
    """One cycle of a case. Values of a channel are None where it is not valid."""

    number: int
    request: int | None
    """Virtual address."""
    request_taken: bool
    response: int | None
    """Id."""
    release: int | None
    """Id."""
    read: int | None
    """Bus address."""
    read_id: int | None
    read_taken: bool
    read_data: int | None
    """AXI id."""
    read_ready: bool
    """The memory would take a read address, whether there is one or not."""


class PortTrace:
    """Starts at once; `cycles` grows by one entry for every cycle out of reset."""

    def __init__(self, dut: SimHandleBase) -> None:
        """`dut` is the handle of tb_top."""
        self.cycles: list[Cycle] = []
        self._top = Top(dut)
        self._task = cocotb.start_soon(self._watch())

    def stop(self) -> None:
        """Writes no more down."""
        self._task.cancel()

    def requests(self) -> list[tuple[int, int]]:
        """(first cycle in which it was valid, cycle in which it was taken) of each request."""
        spans = []
        first: int | None = None
        for cycle in self.cycles:
            if cycle.request is None:
                continue
            first = cycle.number if first is None else first
            if cycle.request_taken:
                spans.append((first, cycle.number))
                first = None
        return spans

    def releases(self) -> list[tuple[int, int]]:
        """(cycle, id) of each release."""
        return [(cycle.number, cycle.release) for cycle in self.cycles if cycle.release is not None]

    def _signal(self, prefix: str, name: str) -> Any:
        return self._top.entity[f"{prefix}_{name}"]

    async def _watch(self) -> None:
        request_valid, request_ready, va = (
            self._signal(CLIENT, REQUEST_SIGNALS[name]) for name in ("valid", "ready", "va")
        )
        response_valid, response_id = (self._signal(CLIENT, RESPONSE_SIGNALS[name]) for name in ("valid", "id"))
        release_valid, release_id = (self._signal(CLIENT, RELEASE_SIGNALS[name]) for name in ("valid", "id"))
        read_valid, read_ready, address, address_id, data_valid, data_id = (
            self._signal(AXI, READ_SIGNALS[name])
            for name in ("address_valid", "address_ready", "address", "address_id", "data_valid", "data_id")
        )
        while True:
            await RisingEdge(self._top.clock)
            await ReadOnly()
            if not int(self._top.reset_n.value):
                self.cycles.clear()
                continue
            self.cycles.append(
                Cycle(
                    number=self._top.cycle_number(),
                    request=int(va.value) if int(request_valid.value) else None,
                    request_taken=bool(int(request_valid.value) and int(request_ready.value)),
                    response=int(response_id.value) if int(response_valid.value) else None,
                    release=int(release_id.value) if int(release_valid.value) else None,
                    read=int(address.value) if int(read_valid.value) else None,
                    read_id=int(address_id.value) if int(read_valid.value) else None,
                    read_taken=bool(int(read_valid.value) and int(read_ready.value)),
                    read_data=int(data_id.value) if int(data_valid.value) else None,
                    read_ready=bool(int(read_ready.value)),
                )
            )


@dataclass(frozen=True)
class WriteCycle:
    """The write channels of the memory bus in one cycle."""

    number: int
    address_ready: bool
    address_taken: bool
    data_ready: bool
    data_taken: bool
    response_valid: bool


async def watch_writes(dut: SimHandleBase, cycles: list[WriteCycle]) -> None:
    """Appends an entry for every cycle out of reset, until it is cancelled."""
    top = Top(dut)
    address_valid, address_ready, data_valid, data_ready, response_valid = (
        top.entity[f"{AXI}_{WRITE_SIGNALS[name]}"]
        for name in ("address_valid", "address_ready", "data_valid", "data_ready", "response_valid")
    )
    while True:
        await RisingEdge(top.clock)
        await ReadOnly()
        if not int(top.reset_n.value):
            cycles.clear()
            continue
        cycles.append(
            WriteCycle(
                number=top.cycle_number(),
                address_ready=bool(int(address_ready.value)),
                address_taken=bool(int(address_ready.value) and int(address_valid.value)),
                data_ready=bool(int(data_ready.value)),
                data_taken=bool(int(data_ready.value) and int(data_valid.value)),
                response_valid=bool(int(response_valid.value)),
            )
        )
