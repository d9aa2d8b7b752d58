# SPDX-License-Identifier: Apache-2.0
"""Registers by pins: cocotb-bus's AXI4-Lite master under this testbench's signal names."""

from __future__ import annotations

from cocotb_bus.drivers.amba import AXI4LiteMaster, AXIProtocolError

from tb.adapter.pins import AXIL_SIGNALS_DRIVEN


class RegisterMaster(AXI4LiteMaster):  # type: ignore[misc]  # cocotb-bus carries no types
    """64-bit accesses, one register each."""

    _signals = AXIL_SIGNALS_DRIVEN

    async def write_register(self, offset: int, value: int, strobes: int = 0xFF) -> int:
        """Writes the bytes of a register under `strobes`; returns the AXI response (0 OKAY, 2 SLVERR)."""
        try:
            await self.write(offset, value, byte_enable=strobes)
        except AXIProtocolError as error:
            return int(error.xresp)
        return 0

    async def read_register(self, offset: int) -> tuple[int, int]:
        """(value, AXI response) of a register; the value of a failed read is 0."""
        try:
            value = await self.read(offset)
        except AXIProtocolError as error:
            return 0, int(error.xresp)
        return int(value), 0
