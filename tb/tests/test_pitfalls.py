# SPDX-License-Identifier: Apache-2.0
"""The list of mistakes that real devices had: its own cases run, and everything that it names exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from models.errors import UserError
from sim.build import build
from sim.paths import ROOT
from sim.simulation import simulate, write_spec
from tb.races.actions import HOST_ACTIONS
from tb.races.events import DEVICE_EVENTS
from tb.scenarios import SCENARIOS
from tb.scenarios.pitfalls import PITFALLS, pitfalls

LIST = ROOT / "tb" / "data" / "pitfalls.yaml"


class Pitfall(BaseModel):
    """One row of the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[A-Z0-9-]+$")]
    origin: Literal["iommu", "cpu", "both"]
    mistake: str
    tests: Annotated[list[str], Field(min_length=1)]


def rows() -> list[Pitfall]:
    """The list."""
    return [Pitfall.model_validate(row) for row in yaml.safe_load(LIST.read_text(encoding="utf-8"))]


def exists(test: str, functions: set[str]) -> bool:
    """Whether what a row names is there."""
    kind, _, name = test.partition(" ")
    if kind == "races":
        action, _, event = name.partition(",")
        return action in HOST_ACTIONS and event in DEVICE_EVENTS
    if kind == "scenario":
        return name in SCENARIOS
    return name in PITFALLS if kind == "pitfalls" else test in functions


def test_pitfalls_list_is_whole() -> None:
    """
    Stimulus: the list, and all functions of test files.
    Checking: ids once each; every test that is named exists, every case of the scenario is named; what does not exist
    is noticed.
    Covers: PITFALLS
    """
    folders = (ROOT / "tb" / "tests", ROOT / "tb" / "units")
    text = "".join(path.read_text(encoding="utf-8") for folder in folders for path in sorted(folder.glob("*.py")))
    functions = set(re.findall(r"def (test_\w+)", text)) | set(
        re.findall(r"@cocotb.test\([^\n]*\)\nasync def (\w+)", text)
    )
    found = rows()
    assert len({row.id for row in found}) == len(found)
    missing = [(row.id, test) for row in found for test in row.tests if not exists(test, functions)]
    assert not missing
    named = {test for row in found for test in row.tests}
    assert {f"pitfalls {name}" for name in PITFALLS} <= named
    for wrong in ("races fence,nothing", "scenario none", "pitfalls none", "test_that_is_not_there"):
        assert not exists(wrong, functions)


def test_pitfalls_unknown_case() -> None:
    """
    Stimulus: a case that is not there; the first seeds without a name.
    Checking: a sentence that lists the cases; each seed another case.
    Covers: PITFALLS
    """
    with pytest.raises(UserError, match="stale_selector"):
        pitfalls(1, {"case": "nothing"})
    assert len({pitfalls(seed, {}).parameters["case"] for seed in range(len(PITFALLS))}) == len(PITFALLS)


@pytest.mark.simulation
@pytest.mark.parametrize("configuration", ("default", "tiny", "va57"))
def test_pitfalls_pass(tmp_path: Path, seed: int, configuration: str) -> None:
    """
    Stimulus: every case of the scenario, in the build with assertions, on each configuration of the device.
    Checking: the scoreboard, and what the host of each case expects to read.
    Covers: PITFALLS
    """
    cases = [
        {"builder": "pitfalls", "seed": seed, "parameters": {"case": name, "configuration": configuration}}
        for name in PITFALLS
    ]
    spec = write_spec(tmp_path / "spec.json", cases, "batch", tmp_path)
    outcome = simulate(build("checked", configuration), "tb.run_cases", out=tmp_path, spec=spec, seed=seed)
    assert outcome.passed, outcome.failure
