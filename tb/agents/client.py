# SPDX-License-Identifier: Apache-2.0
"""Client port by pins, for directed tests: one request driver, one release driver, one monitor of responses.

All of them look at the port in the middle of a cycle: what they see there is what the edge that ends the cycle takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cocotb.handle import SimHandleBase
from cocotb.triggers import ReadOnly, RisingEdge
from cocotb_bus.drivers import BusDriver
from cocotb_bus.monitors import BusMonitor

from models.structures import Access, Reason
from tb.adapter.pins import RELEASE_SIGNALS_DRIVEN, REQUEST_SIGNALS_DRIVEN, RESPONSE_SIGNALS


@dataclass(frozen=True)
class ClientRequest:
    """What a client asks: `id` is free until its response, or until the release of the grant that it begins."""

    id: int
    va: int
    pasid: int = 0
    access: Access = Access.READ


@dataclass(frozen=True)
class ClientResponse:
    """What came back. `memory` 1 = device memory."""

    id: int
    aborted: bool
    reason: Reason
    pa: int
    order: int
    write: bool
    atomic: bool
    memory: int


class ClientDriver(BusDriver):  # type: ignore[misc]  # cocotb-bus carries no types
    """Sends ClientRequest transactions; each stays on the port until it is taken."""

    _signals = REQUEST_SIGNALS_DRIVEN

    def __init__(self, entity: SimHandleBase, name: str, clock: SimHandleBase, **kwargs: Any) -> None:
        """As cocotb_bus.drivers.BusDriver. The port is idle, and responses are taken at once."""
        super().__init__(entity, name, clock, **kwargs)
        self.bus.valid.value = 0
        self.bus.response_ready.value = 1

    async def _driver_send(self, transaction: ClientRequest, sync: bool = True) -> None:
        if sync:
            await RisingEdge(self.clock)
        self.bus.id.value = transaction.id
        self.bus.pasid.value = transaction.pasid
        self.bus.va.value = transaction.va
        self.bus.access.value = int(transaction.access)
        self.bus.valid.value = 1
        taken = False
        while not taken:
            await ReadOnly()
            taken = bool(self.bus.ready.value)
            await RisingEdge(self.clock)
        self.bus.valid.value = 0


class ClientReleaseDriver(BusDriver):  # type: ignore[misc]
    """Ends grants: each transaction is the id of one, and takes one cycle."""

    _signals = RELEASE_SIGNALS_DRIVEN

    def __init__(self, entity: SimHandleBase, name: str, clock: SimHandleBase, **kwargs: Any) -> None:
        """As cocotb_bus.drivers.BusDriver. The channel is idle."""
        super().__init__(entity, name, clock, **kwargs)
        self.bus.valid.value = 0

    async def _driver_send(self, transaction: int, sync: bool = True) -> None:
        if sync:
            await RisingEdge(self.clock)
        self.bus.id.value = transaction
        self.bus.valid.value = 1
        await RisingEdge(self.clock)
        self.bus.valid.value = 0


class ClientResponseMonitor(BusMonitor):  # type: ignore[misc]
    """Receives a ClientResponse for every response, whoever drives the port."""

    _signals = RESPONSE_SIGNALS

    async def _monitor_recv(self) -> None:
        while True:
            await RisingEdge(self.clock)
            await ReadOnly()
            bus = self.bus
            if self.in_reset or not (bus.valid.value and bus.ready.value):
                continue
            self._recv(
                ClientResponse(
                    id=int(bus.id.value),
                    aborted=bool(bus.aborted.value),
                    reason=Reason(int(bus.reason.value)),
                    pa=int(bus.pa.value),
                    order=int(bus.order.value),
                    write=bool(bus.write.value),
                    atomic=bool(bus.atomic.value),
                    memory=int(bus.memory.value),
                )
            )
