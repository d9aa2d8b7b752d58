# SPDX-License-Identifier: Apache-2.0
"""Figures of a case of the bench: exact cycles, out of the records of requests and the logs, never the wall clock.

From which cycle to which each is counted is said in docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.arrays import LINE_BYTES
from models.structures import Opcode
from tb.case import Case, CaseResult
from tb.records import DeviceEventKind, Done, EventKind

Figures = dict[str, float]
Cycles = NDArray[np.int64]
WINDOW = (0.25, 0.9)
"""Shares of a phase's answers between which a rate is measured: the start is warm-up, at the end ports run dry."""
DOORBELL_CYCLES = 1
"""From the start of a register action to the cycle in which its address and data stand on the bus (tb/records.py)."""


class NotMeasured(Exception):
    """The case did not come into the state that its figure speaks of; the text says why."""


def measure(case: Case, result: CaseResult) -> Figures:
    """The figures of a bench case, by name. Errors: NotMeasured."""
    return MEASURES[str(case.parameters["case"])](case, result)


def _rows(case: Case, name: str = "rows") -> slice:
    first, end = case.parameters["marks"][name]
    return slice(int(first), int(end))


def _cycles(case: Case, result: CaseResult, name: str, rows: slice | None = None) -> Cycles:
    """A cycle of each measured request. Errors: NotMeasured if one is not complete, or has no translation."""
    responses = result.responses[rows or _rows(case)]
    if (responses["done"] & Done.FINISHED == 0).any() or responses["status"].any():
        raise NotMeasured("not every request was answered with a translation")
    cycles: Cycles = responses[name].astype(np.int64)
    return cycles


def _latency(case: Case, result: CaseResult) -> Figures:
    waited = _cycles(case, result, "finish_cycle") - _cycles(case, result, "accept_cycle")
    return {"latency": int(waited.max())}


def window_of(finish: Cycles, client: NDArray[np.uint8]) -> tuple[int, int]:
    """(start, end): cycles of the answers between which every port was at full speed; start is not in it, end is."""
    starts, ends = [], []
    for port in np.unique(client):
        ordered = np.sort(finish[client == port])
        starts.append(int(ordered[int(WINDOW[0] * ordered.size)]))
        ends.append(int(ordered[int(WINDOW[1] * ordered.size) - 1]))
    return max(starts), min(ends)


def _window(case: Case, result: CaseResult) -> tuple[Cycles, NDArray[np.uint8], int, int]:
    """(finish cycles and clients of the measured requests, start, end). Errors: NotMeasured if the ports never meet."""
    finish = _cycles(case, result, "finish_cycle")
    client = case.requests["client"][_rows(case)]
    start, end = window_of(finish, client)
    if end <= start:
        raise NotMeasured("the ports were not at work at the same time")
    return finish, client, start, end


def _hits(case: Case, result: CaseResult) -> Figures:
    finish, client, start, end = _window(case, result)
    inside = (finish > start) & (finish <= end)
    least = min(int((inside & (client == port)).sum()) for port in np.unique(client))
    return {"rate": least / (end - start), **_latency(case, result)}


def _hits_while_full(case: Case, result: CaseResult) -> Figures:
    walks = _rows(case, "walks")
    first = int(_cycles(case, result, "accept_cycle").min())
    last = int(_cycles(case, result, "finish_cycle").max())
    if int(_cycles(case, result, "accept_cycle", walks).max()) >= first:
        raise NotMeasured("a walk began after the first hit: there was no place for it")
    if int(_cycles(case, result, "finish_cycle", walks).min()) <= last:
        raise NotMeasured("a walk ended before the last hit")
    return _hits(case, result)


def table_reads(case: Case, result: CaseResult) -> Cycles:
    """Cycles of the address handshakes of all line reads but those of the command ring."""
    log = result.device_events
    reads = log[log["kind"] == DeviceEventKind.BUS_READ]
    ring = case.command_ring
    if ring is not None:
        reads = reads[(reads["pa"] < ring.base) | (reads["pa"] >= ring.base + ring.bytes)]
    cycles: Cycles = reads["cycle"].astype(np.int64)
    return cycles


def _sequential(case: Case, result: CaseResult) -> Figures:
    accept, finish = (_cycles(case, result, name) for name in ("accept_cycle", "finish_cycle"))
    reads = table_reads(case, result)
    count = int(((reads >= accept.min()) & (reads <= finish.max())).sum())
    return {"reads": count / finish.size, "rate": finish.size / int(finish.max() - accept.min())}


def _random(case: Case, result: CaseResult) -> Figures:
    finish, _, start, end = _window(case, result)
    answers = int(((finish > start) & (finish <= end)).sum())
    reads = table_reads(case, result)
    count = int(((reads > start) & (reads <= end)).sum())
    return {"rate": answers / (end - start), "reads": count / answers}


def _doorbells(case: Case, result: CaseResult) -> list[int]:
    """The cycle of each doorbell: its address and data are on the register bus."""
    starts = result.action_results["start_cycle"]
    return [int(starts[action]) + DOORBELL_CYCLES for action in case.parameters["marks"]["doorbells"]]


def write_responses(events: NDArray[np.void]) -> dict[int, int]:
    """By address of a line: the cycle of the response of the first write to it. `events`: the device's log."""
    open_writes: dict[int, list[int]] = {}
    ends: dict[int, int] = {}
    chosen = np.isin(events["kind"], [DeviceEventKind.BUS_WRITE, DeviceEventKind.BUS_WRITE_DONE])
    for row in events[chosen]:
        bus_id = int(row["id"])
        if row["kind"] == DeviceEventKind.BUS_WRITE:
            open_writes.setdefault(bus_id, []).append(int(row["pa"]) // LINE_BYTES * LINE_BYTES)
        else:
            # Responses of one id come in the order of its writes.
            ends.setdefault(open_writes[bus_id].pop(0), int(row["cycle"]))
    return ends


def _commands(case: Case, result: CaseResult) -> Figures:
    ends = write_responses(result.device_events)
    waited = []
    for doorbell, word in zip(_doorbells(case, result), case.parameters["marks"]["words"], strict=True):
        if word not in ends:
            raise NotMeasured("the value of a fence was never written")
        waited.append(ends[word] - doorbell)
    return {"cycles": max(waited)}


def _many_faults(case: Case, result: CaseResult) -> Figures:
    records = result.events[result.events["kind"] == EventKind.FAULT_RECORD]
    faults = int(case.parameters["marks"]["faults"])
    if records.size != faults:
        raise NotMeasured(f"there are {records.size} records, not {faults}")
    if faults < 2:
        raise NotMeasured("one record has no distance from another")
    return {"cycles": int(records["cycle"][-1] - records["cycle"][0]) / (faults - 1)}


def _replay(case: Case, result: CaseResult) -> Figures:
    # The command takes effect in one cycle; reading it is a read of the ring, not of the replay.
    commands = result.events[result.events["kind"] == EventKind.COMMAND]
    replays = commands["cycle"][commands["code"] == Opcode.REPLAY_ALL]
    if replays.size != 1:
        raise NotMeasured(f"REPLAY_ALL was executed {replays.size} times, not once")
    return {"cycles": int(_cycles(case, result, "finish_cycle").max()) - int(replays[0])}


MEASURES: dict[str, Callable[[Case, CaseResult], Figures]] = {
    "hits": _hits,
    "cold_walk": _latency,
    "directory_cached": _latency,
    "sequential": _sequential,
    "random_64_mib": _random,
    "random_1_gib": _random,
    "hits_while_full": _hits_while_full,
    "invalidate_page": _commands,
    "invalidate_range": _commands,
    "many_faults": _many_faults,
    "replay": _replay,
}
"""For each case of tb.bench.cases."""
