# SPDX-License-Identifier: Apache-2.0
"""Tests of lists of regressions as data: what they stand for, and how a bad one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UserError
from sim.regression.file import REGRESSIONS, cocotb_tests, load_regression, tiers
from sim.regression.select import compile_expression
from tb.case import DEFAULT_CONFIGURATION
from tb.scenarios import SCENARIOS
from tb.tests.small_case import stalled_case

HEAD = "about: a list\ncases:\n"


def load(directory: Path, lines: str, seed: int = 1) -> list[str]:
    path = directory / "own.yaml"
    path.write_text(HEAD + lines, encoding="utf-8")
    return [case.id for case in load_regression(str(path), base_seed=seed).cases]


def test_regression_lists_of_the_project_are_whole() -> None:
    """
    Stimulus: the tiers.
    Checking: smoke, pr and nightly are there with budgets; each contains the one before; pr runs every scenario but
        the main job, every configuration and both builds; no tier has a case twice.
    Covers: REGRESS-TIERS
    """
    assert set(tiers()) >= {"smoke", "pr", "nightly"}
    smoke, pr, nightly = (load_regression(name) for name in ("smoke", "pr", "nightly"))
    ids = [[case.id for case in each.cases] for each in (smoke, pr, nightly)]
    assert set(ids[0]) < set(ids[1]) < set(ids[2])
    assert all(len(set(each)) == len(each) for each in ids)
    assert {case.entry["builder"] for case in pr.cases if "builder" in case.entry} >= set(SCENARIOS) - {"kernel_arrays"}
    assert {case.kind.configuration for case in pr.cases} == {"default", "tiny", "va57"}
    assert {case.kind.build for case in pr.cases} == {"fast", "checked"}
    assert smoke.budget is not None and smoke.budget.cpu_seconds == 10 and smoke.budget.per == "run"
    assert pr.budget is not None and pr.budget.cpu_seconds == 180 and pr.budget.per == "core"


def test_regression_line_is_a_product(tmp_path: Path) -> None:
    """
    Stimulus: a scenario times seeds, configurations, formats and builds; the same with other seeds by --seed.
    Checking: the names; the parameters and kinds of one case; every case runs again by its name.
    Covers: REGRESS-FILE
    """
    line = "  - {scenario: invalidate, seeds: [3, 8], configurations: [default, tiny], formats: [nouveau, amdgpu]}\n"
    names = load(tmp_path, line)
    assert len(names) == 8 and names[0] == "invalidate.nouveau.s3" and names[-1] == "invalidate.tiny.amdgpu.s8"
    assert load(tmp_path, line, seed=11)[0] == "invalidate.nouveau.s13"
    case = load_regression(str(tmp_path / "own.yaml")).cases[-1]
    assert case.entry["parameters"] == {"configuration": "tiny", "format": "amdgpu"} and case.entry["seed"] == 8
    assert case.kind.configuration == "tiny" and case.entry_format == "amdgpu"
    assert case.rerun("own.yaml", 1).endswith("sim regress own.yaml --case invalidate.tiny.amdgpu.s8")
    assert case.rerun("own.yaml", 5).endswith("--seed 5")


def test_regression_line_of_tests(tmp_path: Path) -> None:
    """
    Stimulus: a module of cocotb tests, whole, and one test of it in the checked build.
    Checking: a case for each test in the module's order, without the module being imported.
    Covers: REGRESS-FILE
    """
    names = load(tmp_path, "  - {module: tb.tests.cocotb_pins}\n")
    assert names[0] == "cocotb_pins.test_registers.s1" and len(names) > 2
    line = "  - {module: tb.tests.cocotb_pins, tests: [test_registers], builds: [checked]}\n"
    assert load(tmp_path, line) == ["cocotb_pins.test_registers.checked.s1"]
    source = "@cocotb.test()\nasync def a(dut): ...\n@test\nasync def b(dut): ...\nasync def c(dut): ...\n"
    assert cocotb_tests(source) == ["a", "b"]


def test_regression_line_of_saved_cases(tmp_path: Path) -> None:
    """
    Stimulus: a folder with two saved cases, and one of them alone.
    Checking: a case for each, with its own seed and configuration; it is run again by its directory.
    Covers: REGRESS-FILE, RERUN
    """
    for name in ("one", "two"):
        stalled_case().save(tmp_path / "cases" / name)
    names = load(tmp_path, f"  - {{saved: {tmp_path / 'cases'}}}\n")
    assert names == ["saved-one", "saved-two"]
    assert load(tmp_path, f"  - {{saved: {tmp_path / 'cases' / 'two'}}}\n") == ["saved-two"]
    case = load_regression(str(tmp_path / "own.yaml")).cases[0]
    assert case.kind.configuration == DEFAULT_CONFIGURATION and case.seed == stalled_case().seed
    assert f"sim run {tmp_path / 'cases' / 'two'}" in case.rerun("own.yaml", 1)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("  - {scenario: smoke}\n  - {scenario: smok}\n", ["own.yaml:4: cases[1]", "no scenario smok", "smoke"]),
        ("  - scenario: smoke\n    sedes: 3\n", ["own.yaml:4: cases.0.sedes"]),
        ("  - scenario: smoke\n    builds: [quick]\n", ["own.yaml:4: cases.0.builds.0", "'fast' or 'checked'"]),
        ("  - {scenario: smoke, seeds: 0}\n", ["own.yaml:3", "from 1 on"]),
        ("  - {scenario: smoke, seeds: [1, -1]}\n", ["own.yaml:3", "seeds"]),
        ("  - {scenario: smoke, configurations: [huge]}\n", ["own.yaml:3", "configuration huge", "default, large"]),
        ("  - {scenario: smoke, formats: [none_such]}\n", ["own.yaml:3", "format none_such"]),
        ("  - {scenario: smoke, builds: []}\n", ["own.yaml:3", "no case"]),
        ("  - {scenario: smoke, saved: x}\n", ["own.yaml:3", "one of scenario, saved and module"]),
        ("  - {scenario: smoke, tests: [x]}\n", ["own.yaml:3", "belong to a module"]),
        ("  - {module: tb.tests.cocotb_no}\n", ["own.yaml:3", "no module tb.tests.cocotb_no"]),
        ("  - {module: tb.tests.cocotb_pins, tests: [x]}\n", ["own.yaml:3", "no test x", "test_registers"]),
        ("  - {module: tb.tests.small_case}\n", ["own.yaml:3", "no cocotb tests"]),
        ("  - {saved: docs}\n", ["own.yaml:3", "docs holds no saved case"]),
        ("  - {scenario: smoke}\n  - {scenario: smoke}\n", ["own.yaml:4", "smoke.s1 already"]),
        ("  - {scenario: smoke\n", ["own.yaml:", "no YAML"]),
        ("  []\n", ["own.yaml", "no cases"]),
    ],
)
def test_regression_bad_file_is_one_sentence(tmp_path: Path, lines: str, said: list[str]) -> None:
    """
    Stimulus: lists with one thing wrong.
    Checking: one line with the file, the line in it, what is wrong, and what is known where that helps.
    Covers: REGRESS-FILE, CLI-ERRORS
    """
    with pytest.raises(UserError) as caught:
        load(tmp_path, lines)
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    for words in said:
        assert words in text, text


def test_regression_bad_names_are_one_sentence(tmp_path: Path) -> None:
    """
    Stimulus: a tier that is not there; a list that includes itself; one that includes an absent one; no mapping.
    Checking: one sentence each.
    Covers: CLI-ERRORS
    """
    with pytest.raises(UserError, match="no regression weekly; choose one of nightly, pr, smoke"):
        load_regression("weekly")
    own = tmp_path / "own.yaml"
    for text, said in (("includes: [own]", "cannot include itself"), ("includes: [absent]", "no list absent.yaml")):
        own.write_text(f"about: x\n{text}\n", encoding="utf-8")
        with pytest.raises(UserError, match=said):
            load_regression(str(own))
    own.write_text("- smoke\n", encoding="utf-8")
    with pytest.raises(UserError, match="is a mapping"):
        load_regression(str(own))


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("races", [0, 1]),
        ("Races and tiny", [1]),
        ("not races", [2]),
        ("fences or tiny", [1, 2]),
        ("not (fences or tiny)", [0]),
        ("races and not tiny or s3", [0, 2]),
        ("s3 invalid", None),
        ("races and", None),
        ("(races", None),
        ("races )", None),
        ("or", None),
    ],
)
def test_regression_expression(expression: str, chosen: list[int] | None) -> None:
    """
    Stimulus: expressions over three cases, some of which are none.
    Checking: the cases chosen; one sentence for what is no expression.
    Covers: REGRESS-FILTER
    """
    words = ["races.s1 races", "races.tiny.s2 races", "fences.s3 order"]
    if chosen is None:
        with pytest.raises(UserError, match="is no expression"):
            compile_expression(expression)
        return
    matches = compile_expression(expression)
    assert [index for index, text in enumerate(words) if matches(text)] == chosen


def test_regression_files_have_a_licence() -> None:
    """
    Stimulus: the lists.
    Checking: each says under which licence it is.
    Covers: REGRESS-TIERS
    """
    paths = sorted(REGRESSIONS.glob("*.yaml"))
    assert paths
    assert all("SPDX-License-Identifier: Apache-2.0" in path.read_text(encoding="utf-8") for path in paths)
