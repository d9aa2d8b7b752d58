# SPDX-License-Identifier: Apache-2.0
"""How figures are made of cycles: known records and logs, whose figures can be counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.structures import Opcode
from tb.bench.cases import build_bench_case
from tb.bench.measure import NotMeasured, measure, window_of, write_responses
from tb.case import Case, CaseResult
from tb.records import ACTION_RESULT_DTYPE, EVENT_DTYPE, RESPONSE_DTYPE, DeviceEventKind, Done, EventKind

DONE = int(Done.ACCEPTED | Done.FINISHED | Done.RELEASED)


def result_of(case: Case) -> CaseResult:
    """A result in which every request was answered, in cycle 0, and every action started in cycle 0."""
    responses = np.zeros(case.requests.size, dtype=RESPONSE_DTYPE)
    responses["done"] = DONE
    actions = np.zeros(case.actions.size, dtype=ACTION_RESULT_DTYPE)
    empty = np.zeros(0, dtype=EVENT_DTYPE)
    return CaseResult(responses, actions, empty, "", 0, empty)


def rows_of(case: Case, name: str = "rows") -> slice:
    """The rows of the requests that are measured."""
    first, end = case.parameters["marks"][name]
    return slice(first, end)


def log(*rows: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.void]]:
    """A log with these rows."""
    events = np.zeros(len(rows), dtype=EVENT_DTYPE)
    for event, row in zip(events, rows, strict=True):
        for name, value in row.items():
            event[name] = value
    return events


def hits(every: dict[int, int]) -> tuple[Case, CaseResult]:
    """The case of hits with a translation every so many cycles, by port."""
    case = build_bench_case(1, {"case": "hits"})
    result = result_of(case)
    rows = rows_of(case)
    for port in np.unique(case.requests["client"][rows]).tolist():
        own = np.flatnonzero(case.requests["client"][rows] == port) + rows.start
        result.responses["accept_cycle"][own] = 100 + every.get(port, 1) * np.arange(own.size)
        result.responses["finish_cycle"][own] = result.responses["accept_cycle"][own] + 2
    return case, result


def test_measure_hits_one_a_cycle_is_one() -> None:
    """
    Stimulus: every port answers in every cycle; then one port only in every other; then one answer comes late.
    Checking: rate 1 exactly and latency 2; rate 1/2, the slowest port's; the latency of the late one.
    Covers: BENCH-MEASURE
    """
    case, result = hits({})
    assert measure(case, result) == {"rate": 1, "latency": 2}
    result.responses["finish_cycle"][rows_of(case).start + 7] += 5
    assert measure(case, result)["latency"] == 7
    case, result = hits({3: 2})
    assert measure(case, result)["rate"] == pytest.approx(0.5, abs=0.01)


def test_measure_hits_without_a_meeting_is_none() -> None:
    """
    Stimulus: a port that comes long after the others; a request that was aborted.
    Checking: neither is measured.
    Covers: BENCH-MEASURE
    """
    case, result = hits({})
    own = case.requests["client"] == 2
    result.responses["finish_cycle"][own] += 100_000
    with pytest.raises(NotMeasured, match="at the same time"):
        measure(case, result)
    case, result = hits({})
    result.responses["status"][rows_of(case).start] = 1
    with pytest.raises(NotMeasured, match="translation"):
        measure(case, result)


def test_measure_window_leaves_start_and_end_out() -> None:
    """
    Stimulus: a port with 100 answers, one a cycle from 0, and one from cycle 50 on.
    Checking: the window begins at a quarter of the later and ends at nine tenths of the earlier.
    Covers: BENCH-MEASURE
    """
    finish = np.concatenate([np.arange(100), 50 + np.arange(100)]).astype(np.int64)
    client = np.repeat([1, 2], 100).astype(np.uint8)
    assert window_of(finish, client) == (75, 89)


def test_measure_reads_of_tables_only() -> None:
    """
    Stimulus: sequential pages; reads of tables before, in and after them, and one of the command ring.
    Checking: only those of tables, in that time, count.
    Covers: BENCH-MEASURE
    """
    case = build_bench_case(1, {"case": "sequential"})
    result = result_of(case)
    rows = rows_of(case)
    count = rows.stop - rows.start
    result.responses["accept_cycle"][rows] = 1000 + np.arange(count)
    result.responses["finish_cycle"][rows] = 1010 + np.arange(count)
    assert case.command_ring is not None
    table = case.context_base
    result.device_events = log(
        {"kind": DeviceEventKind.BUS_READ, "cycle": 999, "pa": table},
        {"kind": DeviceEventKind.BUS_READ, "cycle": 1000, "pa": table},
        {"kind": DeviceEventKind.BUS_READ_DATA, "cycle": 1001},
        {"kind": DeviceEventKind.BUS_READ, "cycle": 1002, "pa": case.command_ring.base},
        {"kind": DeviceEventKind.BUS_READ, "cycle": 1009 + count, "pa": table},
        {"kind": DeviceEventKind.BUS_READ, "cycle": 1010 + count, "pa": table},
    )
    assert measure(case, result)["reads"] == 2 / count


def test_measure_fence_from_doorbell_to_write_response() -> None:
    """
    Stimulus: fences whose values are written with one id, their responses in order; one that takes longest.
    Checking: the longest time from the cycle behind the doorbell's start to the response; none if one is missing.
    Covers: BENCH-MEASURE
    """
    case = build_bench_case(1, {"case": "invalidate_page"})
    result = result_of(case)
    marks = case.parameters["marks"]
    rows = []
    for number, (doorbell, word) in enumerate(zip(marks["doorbells"], marks["words"], strict=True)):
        result.action_results["start_cycle"][doorbell] = 1000 * number
        rows += [
            {"kind": DeviceEventKind.BUS_WRITE, "cycle": 1000 * number + 20, "pa": word, "id": 4},
            {"kind": DeviceEventKind.BUS_WRITE_DONE, "cycle": 1000 * number + 30 + (number == 1), "id": 4},
        ]
    result.device_events = log(*rows)
    assert measure(case, result) == {"cycles": 30}
    result.device_events = log(*rows[:-2])
    with pytest.raises(NotMeasured, match="never written"):
        measure(case, result)


def test_measure_write_responses_by_id() -> None:
    """
    Stimulus: writes under two ids whose responses come crosswise, and a second write to a line.
    Checking: each line has the cycle of its own first write's response.
    Covers: BENCH-MEASURE
    """
    write, done = DeviceEventKind.BUS_WRITE, DeviceEventKind.BUS_WRITE_DONE
    events = log(
        {"kind": write, "cycle": 1, "pa": 0x1000, "id": 1},
        {"kind": write, "cycle": 2, "pa": 0x2008, "id": 2},
        {"kind": done, "cycle": 3, "id": 2},
        {"kind": done, "cycle": 5, "id": 1},
        {"kind": write, "cycle": 6, "pa": 0x1000, "id": 1},
        {"kind": done, "cycle": 8, "id": 1},
    )
    assert write_responses(events) == {0x1000: 5, 0x2000: 3}


def test_measure_faults_and_replay() -> None:
    """
    Stimulus: records every five cycles, one missing; a replay whose last answer comes 90 cycles after its command.
    Checking: 5 cycles; not measured; 90 cycles, and none if the command was never executed.
    Covers: BENCH-MEASURE
    """
    case = build_bench_case(1, {"case": "many_faults"})
    result = result_of(case)
    faults = case.parameters["marks"]["faults"]
    result.events = log(*({"kind": EventKind.FAULT_RECORD, "cycle": 5 * number} for number in range(faults)))
    assert measure(case, result) == {"cycles": 5}
    result.events = result.events[1:]
    with pytest.raises(NotMeasured, match=f"{faults - 1} records, not {faults}"):
        measure(case, result)
    case = build_bench_case(1, {"case": "replay"})
    result = result_of(case)
    result.events = log({"kind": EventKind.COMMAND, "cycle": 500, "code": Opcode.REPLAY_ALL})
    result.responses["finish_cycle"][rows_of(case)] = 520
    result.responses["finish_cycle"][rows_of(case).start + 3] = 590
    assert measure(case, result) == {"cycles": 90}
    result.events = result.events[:0]
    with pytest.raises(NotMeasured, match="executed 0 times"):
        measure(case, result)


@pytest.mark.parametrize(
    ("accept", "finish", "words"), [(900, 5000, "before the last"), (1500, 9000, "after the first")]
)
def test_measure_hits_only_while_everything_is_full(accept: int, finish: int, words: str) -> None:
    """
    Stimulus: hits in cycles 1000 to 6000 with a walk that ends among them, or begins among them; then with all walks
        around them.
    Checking: not measured; measured.
    Covers: BENCH-MEASURE
    """
    case = build_bench_case(1, {"case": "hits_while_full"})
    result = result_of(case)
    rows, walks = rows_of(case), rows_of(case, "walks")
    for port in np.unique(case.requests["client"][rows]).tolist():
        own = np.flatnonzero(case.requests["client"][rows] == port) + rows.start
        result.responses["accept_cycle"][own] = 1000 + 5 * np.arange(own.size)
        result.responses["finish_cycle"][own] = 1002 + 5 * np.arange(own.size)
    result.responses["finish_cycle"][rows.stop - 1] = 6000
    result.responses["accept_cycle"][walks] = 900
    result.responses["finish_cycle"][walks] = 9000
    assert measure(case, result)["rate"] > 0
    result.responses["accept_cycle"][walks.start] = accept
    result.responses["finish_cycle"][walks.start] = finish
    with pytest.raises(NotMeasured, match=words):
        measure(case, result)
