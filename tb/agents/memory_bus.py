# SPDX-License-Identifier: Apache-2.0
"""Monitors of the memory bus: whole reads and whole writes, each when its last handshake is done."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

from cocotb.triggers import ReadOnly, RisingEdge
from cocotb_bus.monitors import BusMonitor

from tb.adapter.pins import READ_SIGNALS, WRITE_SIGNALS


@dataclass(frozen=True)
class LineRead:
    """One read of a 64-byte line; `data` with byte 0 lowest, `response` 0 OKAY, 2 SLVERR, 3 DECERR."""

    id: int
    address: int
    data: int
    response: int


@dataclass(frozen=True)
class LineWrite:
    """One write into a 64-byte line; bit n of `strobe` belongs to byte n of `data`."""

    id: int
    address: int
    data: int
    strobe: int
    response: int


class Axi4ReadMonitor(BusMonitor):  # type: ignore[misc]  # cocotb-bus carries no types
    """Receives a LineRead for every read."""

    _signals = READ_SIGNALS

    async def _monitor_recv(self) -> None:
        open_reads: defaultdict[int, deque[int]] = defaultdict(deque)
        bus = self.bus
        while True:
            await RisingEdge(self.clock)
            await ReadOnly()
            if self.in_reset:
                open_reads.clear()
                continue
            if bus.address_valid.value and bus.address_ready.value:
                open_reads[int(bus.address_id.value)].append(int(bus.address.value))
            if bus.data_valid.value and bus.data_ready.value:
                identity = int(bus.data_id.value)
                address = open_reads[identity].popleft()
                self._recv(LineRead(identity, address, int(bus.data.value), int(bus.response.value)))


class Axi4WriteMonitor(BusMonitor):  # type: ignore[misc]
    """Receives a LineWrite for every write."""

    _signals = WRITE_SIGNALS

    async def _monitor_recv(self) -> None:
        addresses: deque[tuple[int, int]] = deque()
        beats: deque[tuple[int, int]] = deque()
        open_writes: defaultdict[int, deque[LineWrite]] = defaultdict(deque)
        bus = self.bus
        while True:
            await RisingEdge(self.clock)
            await ReadOnly()
            if self.in_reset:
                addresses.clear()
                beats.clear()
                open_writes.clear()
                continue
            if bus.address_valid.value and bus.address_ready.value:
                addresses.append((int(bus.address_id.value), int(bus.address.value)))
            if bus.data_valid.value and bus.data_ready.value:
                beats.append((int(bus.data.value), int(bus.strobe.value)))
            if addresses and beats:
                (identity, address), (data, strobe) = addresses.popleft(), beats.popleft()
                open_writes[identity].append(LineWrite(identity, address, data, strobe, 0))
            if bus.response_valid.value and bus.response_ready.value:
                identity = int(bus.response_id.value)
                write = open_writes[identity].popleft()
                response = int(bus.response.value)
                self._recv(LineWrite(write.id, write.address, write.data, write.strobe, response))
