# SPDX-License-Identifier: Apache-2.0
"""`python -m sim synth` without Yosys: reading what it leaves, the tables, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from models.errors import UserError
from sim import synth as synth_module
from sim.document_table import END, begin_mark
from sim.paths import ROOT
from sim.synth import (
    COMMAND,
    DOCUMENT,
    Size,
    packages,
    read_size,
    rows_of,
    sources,
    synth_command,
    with_rows,
)
from sim.synth_run import passes

SIZE = Size("default", gates=12345, flip_flops=678, memories=2, memory_bits=4096, depth=42)
CELLS = {"$_AND_": 12000, "$_MUX_": 345, "$_DFF_PN0_": 600, "$_DFF_P_": 78, "$mem_v2": 2, "$scopeinfo": 9}


def leave(out: Path, cells: dict[str, int], depth: str = "Longest topological path in hmm_device (length=42):") -> None:
    """What a synthesis leaves."""
    memories = {"num_memories": 2, "num_memory_bits": 4096}
    (out / "cells.json").write_text(json.dumps({"design": {"num_cells_by_type": cells}}))
    (out / "memories.json").write_text(json.dumps({"design": memories}))
    (out / "depth.txt").write_text(f"\n{depth}\n    0: \\a\n")


def test_synth_reads_what_yosys_leaves(tmp_path: Path) -> None:
    """
    Stimulus: statistics with gates, flip-flops of two kinds and memories, and a longest path.
    Checking: the sizes.
    Covers: SYNTH-TABLE
    """
    leave(tmp_path, CELLS)
    assert read_size("default", tmp_path) == SIZE


@pytest.mark.parametrize(
    ("cells", "depth", "words"),
    [
        ({**CELLS, "$mul": 1}, "Longest topological path in hmm_device (length=42):", "no gates: \\$mul"),
        (CELLS, "nothing", "no longest path"),
    ],
)
def test_synth_incomplete_result_is_a_sentence(tmp_path: Path, cells: dict[str, int], depth: str, words: str) -> None:
    """
    Stimulus: an empty directory; cells that were not broken up; no longest path.
    Checking: UserErrors that say so: nothing is counted that is not there.
    Covers: SYNTH-TABLE
    """
    with pytest.raises(UserError, match="no whole result"):
        read_size("default", tmp_path)
    leave(tmp_path, cells, depth)
    with pytest.raises(UserError, match=words):
        read_size("default", tmp_path)


def test_synth_table_in_the_document() -> None:
    """
    Stimulus: a document with and without a place for the table, with a row of another configuration and an old one.
    Checking: the row is replaced, the other one stays, in the order of the configurations; nothing else changes;
        without a place a UserError.
    Covers: SYNTH-TABLE
    """
    row = "| default | 12,345 | 678 | 2 | 4,096 | 42 |"
    other = "| tiny | 1 | 2 | 3 | 4 | 5 |"
    begin = begin_mark(COMMAND)
    text = f"before\n{begin}\n{other}\n| default | 0 | 0 | 0 | 0 | 0 |\n{END}\nafter | tiny |\n"
    written = with_rows(text, [SIZE])
    lines = written.splitlines()
    assert lines[:2] == ["before", begin] and lines[-2:] == [END, "after | tiny |"]
    assert lines[2] == "| configuration | gates | flip-flops | memories | memory bits | logic depth |"
    assert lines[4:-2] == [row, other]
    assert with_rows(written, [SIZE]) == written
    with pytest.raises(UserError, match="no place for the table"):
        with_rows("before", [SIZE])


def test_synth_document_has_the_table() -> None:
    """
    Stimulus: the project's document.
    Checking: a row of numbers at least, and each of a configuration that there is.
    Covers: SYNTH-TABLE
    """
    rows = rows_of(DOCUMENT.read_text(encoding="utf-8"))
    assert rows
    for row in rows.values():
        assert len(row) == 6 and all(int(cell.replace(",", "")) >= 0 for cell in row[1:])


def test_synth_reads_the_device_whole() -> None:
    """
    Stimulus: the passes and sources of a synthesis.
    Checking: all sources of the device are there and exist; assertions are left out; parameters are set.
    Covers: SYNTH-TABLE
    """
    names = sources()
    assert "rtl/hmm_device.sv" in names and all((ROOT / name).is_file() for name in names)
    spec = {"top": "hmm_device", "parameters": {"Clients": 5}, "sources": names, "out": "/out"}
    first = passes(spec)[0]
    assert first.startswith("read_slang --best-effort-hierarchy --ignore-assertions --top hmm_device -G Clients=5 rtl/")


def test_synth_bad_input_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Stimulus: an unknown configuration; a package that is not to be had.
    Checking: UserErrors, before anything runs; nothing half fetched is left.
    Covers: CLI-ERRORS
    """
    done = CliRunner().invoke(synth_command, ["--configuration", "huge"])
    assert isinstance(done.exception, UserError) and "no configuration huge" in str(done.exception)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("--no-index\nthere_is_no_such_package==1\n")
    monkeypatch.setattr(synth_module, "REQUIREMENTS", requirements)
    monkeypatch.setattr(synth_module, "OUT", ROOT / "build" / "synth-test")
    with pytest.raises(UserError, match="could not be fetched"):
        packages()
    assert not list((ROOT / "build" / "synth-test").glob("packages-*"))
