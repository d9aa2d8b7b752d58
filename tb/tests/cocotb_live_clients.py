# SPDX-License-Identifier: Apache-2.0
"""cocotb tests of clients on several ports whose requests and data are made up while the device runs."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.errors import UserError
from models.structures import Access
from tb.data_checks import DataMemory, replay_data
from tb.host_script import make_requests
from tb.live_device import LiveDevice
from tb.records import DATA_BYTES, RequestFlag
from tb.tests.cocotb_clients import data_builder
from tb.tests.small_case import PASID, page_va

ROUNDS = 12
PAGES = 4


@cocotb.test()
async def test_live_data(dut: SimHandleBase) -> None:
    """
    Stimulus: rounds of requests with data on two ports, each handed over when the round before it is answered; some
        rounds leave a port out; then a length that no client can move.
    Checking: every byte is what the last access before it left; memory ends as it must; the length is refused.
    Covers: CLIENTS-LIVE
    """
    builder = data_builder("live", pages=PAGES)
    memory = builder.memory
    device = LiveDevice(dut)
    await device.start(memory, seed=4)
    begin = DataMemory(memory.base, memory.buffer.copy())
    await device.perform(builder.script.actions())
    random = np.random.default_rng(4)
    before = np.zeros((0, DATA_BYTES), dtype=np.uint8)
    for number in range(ROUNDS):
        count = int(random.integers(1, 24))
        places = random.integers(PAGES, size=count)
        requests = make_requests(
            np.array([page_va(int(page)) for page in places], dtype=np.uint64) + np.uint64(16),
            PASID,
            random.choice([Access.READ, Access.WRITE, Access.ATOMIC], size=count),
            client=1 + number % 2 if number % 3 else random.integers(1, 3, size=count),
            hold=random.integers(20, size=count),
            length=8,
            flags=random.integers(2, size=count) * int(RequestFlag.ORDERED),
        )
        data = random.integers(256, size=(count, DATA_BYTES), dtype=np.uint8)
        await device.answered(device.ask(requests, data), limit=5_000)
        before = np.concatenate([before, data])
    await device.cycles(50)
    total = len(before)
    requests, responses, after = device.requests[:total], device.responses[:total], device.data[:total]
    assert (responses["data_cycle"] != 0).all()
    failures = replay_data(requests, responses, before, after, [begin])
    assert not failures, failures[0].text
    assert (begin.bytes == memory.buffer).all()
    try:
        device.ask(make_requests(page_va(0), PASID, Access.ATOMIC, length=4))
    except UserError as error:
        assert "request 0" in str(error)
    else:
        raise AssertionError("an atomic access of 4 bytes was taken")
    await device.finish()
