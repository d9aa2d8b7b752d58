# SPDX-License-Identifier: Apache-2.0
"""Tests of the command line: bad input is one sentence and status 2, and good input does what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from models.formats import FORMATS_FILE
from models.kernel_recording import recordings
from sim.paths import ROOT
from sim.run_case import RunOptions, known_cases, run_case
from sim.simulation import read_summaries
from tb.scenarios import SCENARIOS


def _sim(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sim", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )


def _assert_one_sentence(done: subprocess.CompletedProcess[str], *said: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for words in said:
        assert words in lines[0]
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "no-such-case"], ["no-such-case", "kernel-arrays", "smoke"]),
        (["run", "smoke", "--format", "no-such-format"], ["no-such-format", "linux_5_8"]),
        (["run", "smoke", "--build", "quick"], ["quick", "fast, checked"]),
        (["run", "smoke", "--build", "fast", "--waves"], ["fast", "no waves"]),
        (["run", "smoke", "--path", "express"], ["express", "batch, agent"]),
        (["runn", "smoke"], ["runn", "list, picture, races, record, regress, run"]),
        (["build", "--configuration", "huge"], ["huge", "default, large, tiny, va57"]),
        (["test", "--jobs", "1", "no_test_is_called_this"], ["no_test_is_called_this"]),
        (["break", "--paths", "docs"], ["docs"]),
        (["break", "--rtl", "--draws", "2", "--draw", "3"], ["from 1 to 2", "3"]),
        (["picture", "sunset"], ["sunset", "choose fault"]),
        (["regress", "weekly"], ["weekly", "nightly, pr, smoke"]),
        (["regress", "smoke", "-k", "races and"], ["races and", "no expression"]),
        (["regress", "smoke", "--tag", "none_such"], ["No case of smoke", "--list"]),
    ],
)
def test_cli_bad_input_is_one_sentence(arguments: list[str], said: list[str]) -> None:
    """Stimulus: an unknown case, format, build, path, command, configuration, test, and nothing to break.
    Checking: one sentence on standard error that names it and what is known; status 2.
    Covers: CLI-ERRORS.
    """
    done = _sim(*arguments)
    if arguments[0] == "test":
        # pytest says first, on standard output, that it deselected everything.
        done.stdout = ""
    _assert_one_sentence(done, *said)


def _one_format(tmp_path: Path, **changes: object) -> Path:
    first = yaml.safe_load(FORMATS_FILE.read_text())["formats"][0]
    path = tmp_path / "format.yaml"
    path.write_text(yaml.safe_dump({**first, **changes}))
    return path


@pytest.mark.simulation
def test_cli_contradictory_format_is_one_sentence(tmp_path: Path) -> None:
    """Stimulus: a file with one format, its VALID mask 0; the same format unchanged.
    Checking: one sentence that names the contradiction and status 2; the unchanged one is taken.
    Covers: CLI-ERRORS.
    """
    _assert_one_sentence(_sim("run", "smoke", "--format", str(_one_format(tmp_path, valid=0))), "the VALID mask is 0")
    good = _sim("run", "smoke", "--format", str(_one_format(tmp_path)))
    assert good.returncode == 0, good.stdout + good.stderr


def test_cli_truncated_format_file_is_one_sentence(tmp_path: Path) -> None:
    """Stimulus: the first half of a format file.
    Checking: one sentence that names the file; status 2.
    Covers: CLI-ERRORS.
    """
    path = tmp_path / "half.yaml"
    text = FORMATS_FILE.read_text()
    path.write_text(text[: len(text) // 2])
    _assert_one_sentence(_sim("run", "smoke", "--format", str(path)), "half.yaml")


def test_cli_truncated_recording_is_one_sentence(tmp_path: Path) -> None:
    """Stimulus: the first half of a recording; a recording that is not there; a recording for another case.
    Checking: one sentence that names the file, or the case that takes one; status 2.
    Covers: CLI-ERRORS.
    """
    path = tmp_path / "half.jsonl.gz"
    content = recordings()[0].read_bytes()
    path.write_bytes(content[: len(content) // 2])
    _assert_one_sentence(_sim("run", "kernel-arrays", "--recording", str(path)), "half.jsonl.gz")
    _assert_one_sentence(_sim("run", "kernel-arrays", "--recording", str(tmp_path / "absent.gz")), "absent.gz")
    _assert_one_sentence(_sim("run", "smoke", "--recording", str(path)), "kernel-arrays")


def test_cli_missing_compiler_is_one_sentence(tmp_path: Path) -> None:
    """Stimulus: a PATH without a compiler, a build that must be looked up.
    Checking: one sentence with the line to type; status 2.
    Covers: CLI-ERRORS.
    """
    _assert_one_sentence(_sim("build", "fast", PATH=str(tmp_path)), "g++ make perl", "apt-get install")


def test_cli_saved_case_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    """Stimulus: a directory whose case.json is cut off.
    Checking: one sentence that names the file; status 2.
    Covers: CLI-ERRORS.
    """
    (tmp_path / "case.json").write_text('{"version": 1, "name": "x"')
    _assert_one_sentence(_sim("run", str(tmp_path)), "case.json")


def test_cli_list_names_every_scenario() -> None:
    """Stimulus: `list`.
    Checking: the main job and every scenario are there.
    Covers: CLI-LIST.
    """
    done = _sim("list")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert done.returncode == 0 and names == list(known_cases())
    assert {name.replace("_", "-") for name in SCENARIOS} | {"all", "kernel-arrays", "programs", "program"} == set(
        names
    )


def test_cli_generate_check_passes() -> None:
    """Stimulus: `generate --check`.
    Checking: status 0 and no word.
    Covers: GENERATE-CURRENT.
    """
    done = _sim("generate", "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.simulation
def test_cli_run_writes_its_result(tmp_path: Path) -> None:
    """Stimulus: the scenario smoke with a result file, through the command line.
    Checking: status 0; the file says that it passed and that every request was checked.
    Covers: CLI-RUN.
    """
    path = tmp_path / "result.json"
    done = _sim("run", "smoke", "--seed", "3", "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(path.read_text())
    assert result["passed"] is True and result["seed"] == 3
    verdict = result["results"][0]
    assert verdict["requests"] == verdict["checked"] > 0 and verdict["mismatches"] == 0


@pytest.mark.simulation
@pytest.mark.slow
def test_cli_run_is_the_same_in_every_build_and_path(tmp_path: Path, seed: int) -> None:
    """Stimulus: one case in the fast and the checked build, with and without waves, by transactor and by agent.
    Checking: the same hash of the event log and the same cycles; waves where they were asked for.
    Covers: DETERMINISM.
    """
    told = []
    variants = (
        ("fast", False, "batch"),
        ("checked", False, "batch"),
        ("checked", True, "batch"),
        ("fast", False, "agent"),
    )
    for flavour, waves, path in (*variants, ("checked", True, "agent")):
        result = tmp_path / "result.json"
        options = RunOptions(seed=seed, flavour=flavour, waves=waves, case_path=path, json_file=result)
        assert run_case("random-tables", options)
        verdict = json.loads(result.read_text())["results"][0]
        told.append((verdict["event_hash"], verdict["cycles"]))
    assert len(told) == 5 and len(set(told)) == 1


def test_cli_summaries_of_a_run_that_died_are_empty(tmp_path: Path) -> None:
    """Stimulus: a directory without a summary.
    Checking: no verdicts.
    Covers: CLI-RUN.
    """
    assert read_summaries(tmp_path) == []
