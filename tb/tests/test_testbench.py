# SPDX-License-Identifier: Apache-2.0
"""Tests of the testbench in simulation: one simulator process for each module of cocotb tests, or list of cases."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.registers import INTERRUPT_CAUSE_FENCE_DONE, Register
from models.structures import Access
from sim.build import Flavour, build
from sim.simulation import SimulationOutcome, simulate, write_spec
from tb.case import Case, MemorySettings
from tb.host_script import When
from tb.records import EVENT_DTYPE, EventKind
from tb.tests.small_case import PAGES, PASID, page_requests, page_va, small_builder, stalled_case

pytestmark = pytest.mark.simulation

CASES_MODULE = "tb.run_cases"
BUSY_REQUESTS = 600
BUSY_ROUNDS = 12
NONE_WORD = 1 << 3
"""NONE in the format of the small address space."""


@pytest.mark.parametrize("flavour", ["fast", "checked"])
@pytest.mark.parametrize(
    "module",
    [
        "cocotb_transactor",
        "cocotb_memory",
        "cocotb_pins",
        "cocotb_clients",
        "cocotb_live_clients",
        "cocotb_registers",
        "cocotb_soft_reset",
        "cocotb_faults",
        "cocotb_fault_ring",
        "cocotb_fault_slots",
        "cocotb_driver",
        "cocotb_programs",
        "cocotb_engine_device",
        "cocotb_engine_ended",
        "cocotb_engine_causes",
        "cocotb_fences",
        "cocotb_slow_lines",
    ],
)
def test_module_passes(module: str, flavour: Flavour, tmp_path: Path, seed: int) -> None:
    """
    Stimulus: the cocotb tests of one module, in both builds.
    Checking: all pass.
    Covers: TRANSACTOR, MEMORY, AGENTS
    """
    outcome = simulate(build(flavour), f"tb.tests.{module}", out=tmp_path, seed=seed)
    assert outcome.passed, outcome.failure


def test_failures_noticed(tmp_path: Path, seed: int) -> None:
    """
    Stimulus: the cocotb tests that make things go wrong, in the build with assertions.
    Checking: all pass: everything wrong was noticed.
    Covers: WATCHDOG, ASSERTION-COUNT, INTERRUPT-CLEAN
    """
    outcome = simulate(build("checked"), "tb.tests.cocotb_failures", out=tmp_path, seed=seed)
    assert outcome.passed, outcome.failure


def busy_case(seed: int) -> Case:
    """Requests of every kind that overlap stores, invalidations, fences and interrupts, over a memory with drawn
    latencies and pauses on every channel."""
    rng = np.random.default_rng(seed)
    settings = MemorySettings(
        read_latency=(0, 12), write_latency=(0, 9), ar_pause=3, r_pause=2, aw_pause=4, w_pause=5, b_pause=6
    )
    builder = small_builder("busy", settings=settings, seed=seed, ring_log2=3)
    script = builder.script
    script.write_register(Register.INTERRUPT_ENABLE, INTERRUPT_CAUSE_FENCE_DONE.mask)
    requests = page_requests(
        rng.integers(0, PAGES, BUSY_REQUESTS).tolist(),
        access=rng.integers(0, len(Access), BUSY_REQUESTS),
        pause=rng.integers(0, 5, BUSY_REQUESTS) * rng.integers(0, 2, BUSY_REQUESTS),
        hold=rng.integers(0, 60, BUSY_REQUESTS),
        after_action=len(script),
    )
    requests["pasid"] += (rng.integers(0, 16, BUSY_REQUESTS) == 0).astype(np.uint32)
    builder.ask(builder.spread(requests, rng))
    word = builder.fence_word()
    for round_number in range(1, BUSY_ROUNDS + 1):
        page = int(rng.integers(0, PAGES))
        when = When(after_request=round_number * BUSY_REQUESTS // (BUSY_ROUNDS + 1))
        script.write_memory(builder.tables.entry_address(PASID, page_va(page)), NONE_WORD, when)
        script.invalidate(PASID, page_va(page), page_va(page + 1) - 1)
        script.fence(address=word, value=round_number, interrupt=True)
        script.wait_interrupt()
        script.wait_memory(word, round_number)
        script.write_register(Register.INTERRUPT_CAUSE, INTERRUPT_CAUSE_FENCE_DONE.mask)
    return builder.build()


def run_list(
    cases: list[Case],
    out: Path,
    *,
    flavour: Flavour = "fast",
    path: str = "batch",
    keep_arrays: bool = False,
    **options: Any,
) -> tuple[SimulationOutcome, list[dict[str, Any]]]:
    """(outcome, summary) of one process that runs saved cases."""
    entries: list[dict[str, object]] = []
    for index, case in enumerate(cases):
        directory = out / "cases" / f"{index}-{case.name}"
        case.save(directory)
        entries.append({"directory": str(directory)})
    spec = write_spec(out / "spec.json", entries, path, out)
    if keep_arrays:
        spec.write_text(json.dumps({**json.loads(spec.read_text(encoding="utf-8")), "keep_arrays": True}))
    outcome = simulate(build(flavour), CASES_MODULE, spec=spec, out=out, **options)
    summary_file = out / "summary.json"
    summary = json.loads(summary_file.read_text(encoding="utf-8")) if summary_file.is_file() else []
    return outcome, summary


def test_hash_same_everywhere(tmp_path: Path, seed: int) -> None:
    """
    Stimulus: two busy cases in one process, as a reference; then each alone, in the other build, with waves, by the
        agent's path, in the other order, and with another seed for the values that nothing has set.
    Checking: the hashes of the event logs and the numbers of cycles are the same in all.
    Covers: DETERMINISM
    """
    first, second = busy_case(seed), busy_case(seed + 1)
    outcome, summary = run_list([first, second], tmp_path / "reference", keep_arrays=True)
    assert outcome.passed, outcome.failure
    wanted = [(data["event_hash"], data["cycles"]) for data in summary]
    assert len(set(wanted)) == 2
    kinds = np.load(tmp_path / "reference" / "0000-0-busy" / "events.npy")["kind"]
    # The case leaves the fault ring off: no record is written; and the device is not reset in it.
    wanted_kinds = {int(kind) for kind in EventKind} - {int(EventKind.FAULT_RECORD), int(EventKind.SOFT_RESET)}
    assert set(kinds.tolist()) == wanted_kinds, "the case shows every kind of event"

    def expect(name: str, cases: list[Case], expected: list[tuple[str, int]], **options: Any) -> SimulationOutcome:
        other, found = run_list(cases, tmp_path / name, **options)
        assert other.passed, other.failure
        assert [(data["event_hash"], data["cycles"]) for data in found] == expected, name
        return other

    expect("first alone", [first], wanted[:1])
    expect("second alone", [second], wanted[1:])
    expect("other order", [second, first], wanted[::-1])
    expect("agent", [first, second], wanted, path="agent")
    expect("random values", [first, second], wanted, seed=seed + 1000)
    expect("checked", [first, second], wanted, flavour="checked")
    waved = expect("waves", [first, second], wanted, flavour="checked", waves=True)
    late = expect("late waves", [first, second], wanted, flavour="checked", waves=True, waves_from=wanted[0][1] - 100)
    assert waved.waves is not None
    assert late.waves is not None
    assert late.waves.stat().st_size < waved.waves.stat().st_size / 2


def test_seed_changes_hash(tmp_path: Path, seed: int) -> None:
    """
    Stimulus: one case twice, the second time with another seed for latencies and pauses.
    Checking: the hashes differ: they tell cycles apart.
    Covers: DETERMINISM
    """
    case, other = busy_case(seed), busy_case(seed)
    other.seed += 1
    _, summary = run_list([case, other], tmp_path)
    assert len(summary) == 2
    assert summary[0]["event_hash"] != summary[1]["event_hash"]


def owner_case() -> Case:
    """A case in which the array belongs to nobody, so that the device must not read it."""
    builder = small_builder("owner")
    builder.ask(page_requests([0], after_action=len(builder.script)))
    case = builder.build()
    case.image = [region._replace(owner=0) if region.owner == 3 else region for region in case.image]
    return case


def test_list_goes_on(tmp_path: Path) -> None:
    """
    Stimulus: a list in which the second case breaks a rule, the third stalls, the fourth does not exist.
    Checking: the process fails with the broken rule in its message; all cases were run, the first and last passed; a
        failed case is saved and its arrays are kept; progress came for each.
    Covers: CASE-LIST, RERUN
    """
    cases = [busy_case(1), owner_case(), stalled_case(), busy_case(2)]
    out = tmp_path
    entries: list[dict[str, object]] = []
    for index, case in enumerate(cases):
        case.save(out / "cases" / str(index))
        entries.append({"directory": str(out / "cases" / str(index))})
    entries.insert(3, {"builder": "no_such_scenario", "seed": 1})
    outcome = simulate(build("fast"), CASES_MODULE, spec=write_spec(out / "spec.json", entries, "batch", out), out=out)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [data["passed"] for data in summary] == [True, False, False, False, True]
    assert not outcome.passed
    assert "3 of 5 cases failed" in outcome.failure
    assert "OWNER" in outcome.failure
    assert "no_such_scenario" in summary[3]["lines"][0]
    assert "WAIT_REGISTER" in summary[2]["dump"]
    broken = out / "0001-1"
    saved = json.loads((broken / "result.json").read_text(encoding="utf-8"))
    assert saved["lines"] == summary[1]["lines"]
    events = np.load(broken / "events.npy")
    assert events.dtype == EVENT_DTYPE
    assert (events["kind"] == EventKind.ACTION).any()
    assert (np.diff(events["cycle"].astype(np.int64)) >= 0).all()
    assert not (out / "0000-0" / "events.npy").exists()
    lines = [line for line in outcome.log.read_text(encoding="utf-8").splitlines() if line.startswith("@progress ")]
    assert [json.loads(line.removeprefix("@progress "))["index"] for line in lines] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("text", ["", "{}", '{"cases": [{}], "out": "/tmp"}', '{"cases": [], "out": "/tmp"}'])
def test_list_bad(text: str, tmp_path: Path) -> None:
    """
    Stimulus: a file that is no list, entries that are no cases, an empty list.
    Checking: the process fails, with words.
    Covers: CASE-LIST
    """
    spec = tmp_path / "spec.json"
    spec.write_text(text.replace("/tmp", str(tmp_path)), encoding="utf-8")
    outcome = simulate(build("fast"), CASES_MODULE, spec=spec, out=tmp_path)
    assert not outcome.passed
    assert "list" in outcome.failure or "builder or a directory" in outcome.failure


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["--help"], 0, "--waves-from"),
        (["--waves", "x.fst"], 2, "checked build"),
        (["--waves-from", "soon"], 2, "cycle number"),
        (["--sound"], 2, "--sound"),
    ],
)
def test_program_arguments(arguments: list[str], status: int, word: str, tmp_path: Path) -> None:
    """
    Stimulus: the simulator's program with arguments that make no sense, or ask for help.
    Checking: it says so in a sentence and ends with status 2, or 0.
    Covers: PROGRAM-ARGUMENTS
    """
    command = [str(build("fast")), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=30)
    assert done.returncode == status
    assert word in done.stdout + done.stderr


def test_interrupt_ends_process(tmp_path: Path) -> None:
    """
    Stimulus: SIGINT to a process that runs a case which never ends by itself.
    Checking: it ends by itself soon, leaves results, and says that it was interrupted.
    Covers: INTERRUPT-CLEAN
    """
    case = stalled_case()
    case.watchdog_cycles = 0
    case.save(tmp_path / "case")
    spec = write_spec(tmp_path / "spec.json", [{"directory": str(tmp_path / "case")}], "batch", tmp_path)
    outcome = simulate(build("fast"), "tb.tests.interrupted_cases", spec=spec, out=tmp_path, timeout=60)
    assert not outcome.timed_out
    assert "Interrupted after 0 of 1 cases" in outcome.failure
    assert (tmp_path / "results.xml").is_file()
