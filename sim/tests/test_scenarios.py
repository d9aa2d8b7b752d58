# SPDX-License-Identifier: Apache-2.0
"""The scenarios on the RTL: some seeds of each, on both builds; and a host that forgets a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.build import Flavour, build
from sim.simulation import read_summaries, simulate, write_spec
from tb.configurations import configurations
from tb.scenarios import SCENARIOS

SEEDS: dict[str, int] = {
    "smoke": 2,
    "reasons": 1,
    "levels": 1,
    "random_tables": 8,
    "pressure": 4,
    "invalidate": 10,
    "clients": 6,
    "races": 8,
    "mixed": 3,
    "pitfalls": 2,
    "counts": 21,
    "halves": 1,
    "soft_resets": 4,
    "fences": 6,
    "bus_errors": 2,
    "bench": 3,
}
"""How many seeds of each scenario run; the main job has tests of its own."""
FORGETFUL_SEEDS = 24


def run(
    out: Path, flavour: Flavour, cases: list[dict[str, Any]], seed: int, configuration: str = "default"
) -> tuple[str, list[dict[str, Any]]]:
    """(what failed, the verdicts) of a list of cases in one process."""
    spec = write_spec(out / "spec.json", cases, "batch", out)
    outcome = simulate(build(flavour, configuration), "tb.run_cases", out=out, spec=spec, seed=seed)
    return outcome.failure, read_summaries(out)


def test_scenarios_all_are_run() -> None:
    """
    Stimulus: The registry of scenarios.
    Checking: Each is run by a test here or by the main job's.
    Covers: SCENARIO-ALL
    """
    assert set(SCENARIOS) == {*SEEDS, "kernel_arrays"}


@pytest.mark.parametrize("configuration", configurations())
def test_scenarios_build_for_the_configuration(seed: int, configuration: str) -> None:
    """
    Stimulus: Each scenario is asked for a case on each configuration of the device.
    Checking: The case is one for that configuration, and uses no port that it does not have.
    Covers: SCENARIO-CONFIGURATION
    """
    for name, count in SEEDS.items():
        for number in range(count):
            case = SCENARIOS[name](seed + number, {"configuration": configuration})
            assert case.configuration == configuration, name
            assert case.requests["client"].max() <= configurations()[configuration].ports, name


@pytest.mark.simulation
@pytest.mark.parametrize("flavour", ["fast", "checked"])
def test_scenarios_pass_on_the_rtl(tmp_path: Path, seed: int, flavour: Flavour) -> None:
    """
    Stimulus: Several seeds of each scenario on the RTL; the checked build asserts what goes on inside.
    Checking: Every case passes, everything in it was checked, and what it is about did happen.
    Covers: SCENARIO-RTL
    """
    cases: list[dict[str, Any]] = [
        {"builder": name, "parameters": {}, "seed": seed + number}
        for name, count in SEEDS.items()
        for number in range(count)
    ]
    failure, verdicts = run(tmp_path, flavour, cases, seed)
    assert not failure
    assert len(verdicts) == len(cases)
    assert all(verdict["passed"] and verdict["checked"] > 0 for verdict in verdicts)
    assert all(verdict["checked"] + verdict["cut_off"] == verdict["requests"] for verdict in verdicts)
    cut_off = {verdict["name"] for verdict in verdicts if verdict["cut_off"]}
    assert cut_off == {"soft_resets"}
    happened: dict[str, dict[str, int]] = {name: {} for name in SEEDS}
    for verdict in verdicts:
        for figures in (verdict["counters"], verdict["reasons"]):
            for name, count in figures.items():
                happened[verdict["name"]][name] = happened[verdict["name"]].get(name, 0) + count
    reasons = {"OUT_OF_RANGE", "NO_CONTEXT", "BUS_ERROR", "MALFORMED", "NOT_PRESENT", "POISON", "NOT_VALID"}
    assert {*reasons, "WRITE_PROTECT", "OK"} <= set(happened["reasons"])
    assert happened["levels"]["COUNTER_HITS"] > 50
    assert happened["invalidate"]["COUNTER_DROPPED_WALKS"] > 0
    assert happened["invalidate"]["COUNTER_INVALIDATIONS"] > 100
    assert happened["fences"]["COUNTER_FENCES"] > 100
    assert happened["bus_errors"]["BUS_ERROR"] > 0
    assert happened["clients"]["NOT_PRESENT"] > 10


@pytest.mark.simulation
@pytest.mark.parametrize("configuration", ["tiny", "large", "va57"])
def test_scenarios_pass_in_other_configurations(tmp_path: Path, seed: int, configuration: str) -> None:
    """
    Stimulus: Each scenario on the smallest device, where everything is evicted at once, on the largest, and with five
        levels.
    Checking: Every case passes and everything in it was checked.
    Covers: SCENARIO-CONFIGURATION
    """
    cases: list[dict[str, Any]] = [
        {"builder": name, "parameters": {"configuration": configuration}, "seed": seed + number}
        for name, count in SEEDS.items()
        for number in range(-(-count // 2))
    ]
    failure, verdicts = run(tmp_path, "fast", cases, seed, configuration)
    assert not failure
    assert len(verdicts) == len(cases)
    assert all(verdict["passed"] and verdict["checked"] > 0 for verdict in verdicts)
    assert all(verdict["checked"] + verdict["cut_off"] == verdict["requests"] for verdict in verdicts)
    cut_off = {verdict["name"] for verdict in verdicts if verdict["cut_off"]}
    assert cut_off == {"soft_resets"}


@pytest.mark.simulation
def test_scenarios_forgotten_command_is_found(tmp_path: Path, seed: int) -> None:
    """
    Stimulus: The host leaves out INVALIDATE and FENCE for one of its changes, and reuses the memory.
    Checking: Stale translations are found by the scoreboard, or by the owner map where a walk meets freed memory.
    Covers: SCENARIO-STALE
    """
    cases: list[dict[str, Any]] = [
        {"builder": "invalidate", "parameters": {"forgets": 3}, "seed": seed + number}
        for number in range(FORGETFUL_SEEDS)
    ]
    failure, verdicts = run(tmp_path, "fast", cases, seed)
    assert failure
    lines = [line for verdict in verdicts for line in verdict["lines"]]
    assert lines
    assert any("| I1: " in line for line in lines)
    for verdict in verdicts:
        assert all("| I1: " in line or "| OWNER: " in line or "| HOST: " in line for line in verdict["lines"]), lines


@pytest.mark.simulation
def test_scenarios_forgotten_move_is_found(tmp_path: Path, seed: int) -> None:
    """
    Stimulus: The host frees the frame of a page that clients use, and leaves out INVALIDATE and FENCE.
    Checking: A client that moves data there is found by the owner map, in the access's own cycle.
    Covers: SCENARIO-STALE, CLIENTS-OWNER
    """
    cases: list[dict[str, Any]] = [
        {"builder": "clients", "parameters": {"forgets": number}, "seed": seed + number} for number in range(8)
    ]
    failure, verdicts = run(tmp_path, "fast", cases, seed)
    assert failure
    found = [line for verdict in verdicts for line in verdict["lines"] if "| OWNER: " in line]
    assert len(found) >= 4
    assert all("by client" in line and "no data" in line for line in found)
