# SPDX-License-Identifier: Apache-2.0
"""The order in which a fault record is published: its write response, then FAULT_PUT, then the interrupt.

Source: docs/interface.md, "Fault ring".
"""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np

from models.structures import FAULT_RECORD_BYTES
from tb.case import CaseResult
from tb.failure import Failure
from tb.records import DeviceEventKind, EventKind


def check_publication(result: CaseResult, ring: range) -> list[Failure]:
    """What is wrong with how records were published, in a run that kept the device's events and whose fault ring was
    never switched off but by a soft reset. `ring`: the bus addresses of the fault ring."""
    events = result.device_events
    kinds = (
        DeviceEventKind.BUS_WRITE,
        DeviceEventKind.BUS_WRITE_DONE,
        DeviceEventKind.FAULT_PUT,
        DeviceEventKind.SOFT_RESET,
    )
    chosen = events[np.isin(events["kind"], kinds)]
    # Within a cycle the counter's new value is older than the bus's transfer: it counts what came before.
    order = np.lexsort((chosen["kind"] != DeviceEventKind.FAULT_PUT, chosen["cycle"]))
    rows = (chosen[order][name].tolist() for name in ("cycle", "kind", "id", "pa", "reason", "extra"))
    # Several writes may be open under one id; they are answered in order. For each: does it write a record?
    open_writes: dict[int, deque[bool]] = defaultdict(deque)
    answered = 0
    counted = 0
    failures = []
    for cycle, kind, writer, address, response, value in zip(*rows, strict=True):
        if kind == DeviceEventKind.BUS_WRITE:
            # The address is the line's.
            open_writes[writer].append(address + 2 * FAULT_RECORD_BYTES > ring.start and address < ring.stop)
        elif kind == DeviceEventKind.BUS_WRITE_DONE:
            if open_writes[writer].popleft():
                answered += response == 0
        elif kind == DeviceEventKind.SOFT_RESET:
            # What was answered in it is in memory and not told.
            answered = answered if value else counted
        else:
            counted = value
            if counted > answered:
                text = f"FAULT_PUT counts {counted} records, but only {answered} writes were answered before"
                failures.append(Failure("RECORDS", text, cycle))
    if counted != answered:
        text = f"FAULT_PUT ends at {counted}, but {answered} records were written"
        failures.append(Failure("RECORDS", text, result.cycles))
    rises = result.events["cycle"][result.events["kind"] == EventKind.INTERRUPT].tolist()
    puts = events["cycle"][events["kind"] == DeviceEventKind.FAULT_PUT].tolist()
    if rises and (not puts or rises[0] < puts[0]):
        failures.append(Failure("RECORDS", f"the interrupt of a record came in cycle {rises[0]}, before FAULT_PUT"))
    return failures
