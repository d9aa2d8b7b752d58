# SPDX-License-Identifier: Apache-2.0
"""`python -m sim conform`: table, JSON, exit status."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from models.errors import UserError
from models.kernel_recording import KERNEL_DATA
from sim.cli import commands
from sim.conform import run_conform

RECORDED = KERNEL_DATA / "linux-6.12-hmm.jsonl.gz"


def small_recording(path: Path, **change: Any) -> Path:
    """The first requests of a recording and its lost sequences, the third request changed."""
    with gzip.open(RECORDED) as stream:
        records = [json.loads(line) for line in stream]
    kept = [
        records[0],
        *records[1:7],
        *[record for record in records if record["k"] in ("stale", "op")][:7],
        records[-1],
    ]
    kept[3] = kept[3] | change
    path.write_text("".join(json.dumps(record) + "\n" for record in kept))
    return path


def conform(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(commands, ["conform", *arguments])


def test_conform_command_passes(tmp_path: Path) -> None:
    """
    Stimulus: A small recording that conforms, twice, with names and without.
    Checking: Status 0, a row for each kind of record, the same figures, everything in the JSON file.
    Covers: CONFORM-COMMAND
    """
    path, out = small_recording(tmp_path / "small.jsonl"), tmp_path / "out.json"
    result = conform(str(path), str(path), "--json", str(out))
    assert result.exit_code == 0, result.output
    assert "req snap" in result.output and "passed: 0 wrong; 0.00 %" in result.output
    data = json.loads(out.read_text())
    nameless = conform(str(path), str(path), "--anonymous", "--json", str(out))
    assert nameless.exit_code == 0 and "req snap" not in nameless.output
    assert json.loads(out.read_text())["total"] == data["total"]
    assert data["total"]["exact"] == len(data["files"][0]["records"]) * 2
    assert "anon_none" not in out.read_text()


def test_conform_command_fails(tmp_path: Path) -> None:
    """
    Stimulus: A recording in which one record differs.
    Checking: Status 1, one line with file, line, name and difference.
    Covers: CONFORM-COMMAND
    """
    path = small_recording(tmp_path / "small.jsonl", post=[[0, 8, "0x0", 1, 0]])
    result = conform(str(path))
    assert result.exit_code == 1
    assert "FAILED: 1 wrong" in result.output
    assert "small.jsonl, line 4, anon_none wr: page table after the call, page 0, kind" in result.output


def test_conform_command_bad_input(tmp_path: Path) -> None:
    """
    Stimulus: No file; a folder that is not there for the JSON file.
    Checking: One sentence each.
    Covers: CONFORM-COMMAND
    """
    with pytest.raises(UserError, match="Name at least one recording"):
        run_conform((), anonymous=False, json_file=None)
    path = small_recording(tmp_path / "small.jsonl")
    with pytest.raises(UserError, match="cannot be written"):
        run_conform((path,), anonymous=False, json_file=tmp_path / "no" / "out.json")
