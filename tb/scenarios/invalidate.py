# SPDX-License-Identifier: Apache-2.0
"""Tables that change while requests run: every kind of change that a driver makes, with the commands that it needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.arrays import PAGE_SHIFT
from models.device_tables import DeviceTables
from models.geometry import DIRECTORY_BYTES, span_bits
from models.structures import Access
from tb.case import Case
from tb.host_script import make_requests
from tb.scenarios.builder import CaseBuilder, chosen_format
from tb.scenarios.host_model import HostModel, LiveArray
from tb.scenarios.random_tables import random_memory

FORMATS = ("linux_5_8", "linux_6_16", "hmm_2018_flags", "nouveau", "odp_rfc", "nouveau_pfnmap", "example_multi_bit")
CONTEXTS = 6
BOUND = 3
STEPS = 40
REQUESTS_IN_STEP = 24
INTERRUPT_ENABLE = 1
LARGEST_BLOCK = 4
HOT_SLOTS = 6
"""Slots of each array that changes and requests meet in, in units of its block."""


def invalidate(seed: int, parameters: dict[str, Any]) -> Case:
    """Live entries, arrays, directories and contexts change under running requests. `steps`; `format`.

    `forgets`: the number of a change whose commands are left out; the host's trust in it is then misplaced.
    """
    rng = np.random.default_rng(seed)
    fmt = chosen_format(str(parameters.get("format", rng.choice(FORMATS))))
    builder = CaseBuilder(
        "invalidate",
        seed,
        fmt,
        context_count=CONTEXTS,
        parameters=parameters,
        settings=random_memory(rng, fast=bool(rng.integers(2))),
        ring_log2=int(rng.integers(3, 7)),
        interrupt_enable=INTERRUPT_ENABLE,
    )
    host = HostModel(builder, rng, forgets=int(parameters.get("forgets", -1)))
    pasids = rng.permutation(CONTEXTS)[:BOUND].tolist()
    for pasid in pasids:
        builder.tables.bind(pasid)
        base = int(rng.integers(1, 200)) << span_bits(3)
        host.link(pasid, base)
        host.link(pasid, base + (1 << span_bits(1)), block=int(rng.integers(1, LARGEST_BLOCK + 1)))
        host.link(pasid, base + (1 << span_bits(2)), level=2, page_shift=int(rng.integers(18, 28)))
    begin = len(builder.script)
    for _ in range(int(parameters.get("steps", STEPS))):
        array = host.arrays[int(rng.integers(len(host.arrays)))]
        slot, count = _place(array, rng)
        asked = builder.asked
        _ask(builder, host, array, slot, begin, rng)
        if rng.integers(2):
            # The device has the place in its cache by then; else the change meets the first walks.
            host.wait_for_requests = int(rng.integers(asked, builder.asked))
        _step(host, array, slot, count)
        begin = len(builder.script)
        # What they left must be right as well.
        _ask(builder, host, array, slot, begin, rng)
    return builder.build(format=fmt.name)


def _place(array: LiveArray, rng: np.random.Generator) -> tuple[int, int]:
    """Slots of whole blocks among the hot ones of the array."""
    blocks = array.slots >> array.block
    hot = min(blocks, HOT_SLOTS)
    first = int(rng.integers(hot))
    count = int(rng.integers(1, min(3, hot - first) + 1)) if array.block == 0 else 1
    return first << array.block, count << array.block


def _step(host: HostModel, array: LiveArray, slot: int, count: int) -> None:
    choice = int(host.rng.integers(16))
    if choice < 4:
        host.unmap(array, slot, count)
    elif choice < 6:
        host.move(array, slot, count)
    elif choice < 8:
        host.change(array, slot, count)
    elif choice < 10:
        host.permit(array, slot)
    elif choice < 12:
        host.protect(array, slot)
    elif choice == 12:
        host.replace(array)
    elif choice == 13:
        host.unlink_and_link(array)
    elif choice == 14:
        _swap_root(host, array.pasid)
    else:
        host.invalidate(array.pasid, array.first_va, array.last_va)


def _swap_root(host: HostModel, pasid: int) -> None:
    """Unbinds a context and binds it to a copy of its root directory."""
    tables: DeviceTables = host.builder.tables
    memory = host.builder.memory
    old = int(host.roots[pasid]) if pasid in host.roots else _root(tables, pasid)
    index = np.arange(DIRECTORY_BYTES // 8, dtype=np.uint64) * np.uint64(8)
    words, _ = memory.shadow_read(index + np.uint64(old))
    new = host.builder.spare_directory(words)
    host.roots[pasid] = new
    host.unbind_and_bind(pasid, old, new)


def _root(tables: DeviceTables, pasid: int) -> int:
    words, _ = tables.memory.shadow_read([tables.context_entry_address(pasid)])
    return int(words[0]) & ~((1 << PAGE_SHIFT) - 1)


def _ask(
    builder: CaseBuilder, host: HostModel, array: LiveArray, slot: int, after_action: int, rng: np.random.Generator
) -> None:
    """Requests for the place of a change, for its neighbours and for the same address in other contexts."""
    count = int(rng.integers(REQUESTS_IN_STEP // 2, REQUESTS_IN_STEP))
    slots = np.where(
        rng.random(count) < 0.7, slot, rng.integers(min(array.slots, HOT_SLOTS << array.block), size=count)
    )
    va = np.uint64(array.first_va) + (slots.astype(np.uint64) << np.uint64(array.page_shift))
    va += rng.integers(1 << array.page_shift, size=count, dtype=np.uint64)
    pasid = np.full(count, array.pasid)
    other = host.arrays[int(rng.integers(len(host.arrays)))]
    elsewhere = rng.random(count) < 0.15
    va[elsewhere] = other.first_va + rng.integers(1 << 16, size=int(elsewhere.sum()), dtype=np.uint64)
    pasid[elsewhere] = other.pasid
    access = rng.choice([Access.READ, Access.READ, Access.WRITE, Access.ATOMIC, Access.PREFETCH], size=count)
    hold = np.where(rng.random(count) < 0.2, rng.integers(300, size=count), rng.integers(6, size=count))
    pause = np.where(rng.random(count) < 0.3, rng.integers(40, size=count), 0)
    requests = make_requests(va, pasid, access, hold=hold, pause=pause, after_action=after_action)
    builder.ask(builder.spread(requests, rng))
