# SPDX-License-Identifier: Apache-2.0
"""The signals of tb_top that the environment itself uses."""

from __future__ import annotations

from typing import Any

from cocotb.handle import SimHandleBase

from tb.adapter.pins import CLIENT_REQUESTS, HANDSHAKES


class Top:
    """Handles of tb_top's clock, reset and switches.

    `wake`: every change says that a cause to wake Python was raised. `pin_client`, `pin_axil`: 1 = the port is driven
    by pins.
    """

    def __init__(self, dut: SimHandleBase) -> None:
        """`dut` is the handle of tb_top."""
        # cocotb finds a signal when it is asked for: no type can list them.
        entity: Any = dut
        self.entity = entity
        self.clock = entity.clk
        self.reset_n = entity.rst_n
        self.wake = entity.wake_i
        self.cycle = entity.cycle_o
        self.interrupt = entity.irq_o
        self.pin_client = entity.pin_client_i
        self.pin_axil = entity.pin_axil_i

    def cycle_number(self) -> int:
        """The cycle of the case that runs now."""
        return int(self.cycle.value)

    def blocked_channels(self) -> list[str]:
        """Names of the channels on which something is valid and not taken."""
        blocked = [
            name
            for name, (valid, ready) in HANDSHAKES.items()
            if int(self.entity[valid].value) and not int(self.entity[ready].value)
        ]
        valid, ready = (int(self.entity[name].value) for name in CLIENT_REQUESTS)
        waiting = valid & ~ready
        # The lowest bit is client 1: the engine inside the device has no port.
        clients = [bit + 1 for bit in range(waiting.bit_length()) if waiting >> bit & 1]
        return [f"requests of client {client}" for client in clients] + blocked
