# SPDX-License-Identifier: Apache-2.0
"""Tests of the tool that breaks lines: the changes it makes, and what it says about the tests."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from sim import breaker
from sim.mutation import Mutation, python_mutations, systemverilog_mutations
from sim.paths import ROOT


def _afters(mutations: list[Mutation]) -> set[str]:
    return {mutation.after.strip() for mutation in mutations}


def test_mutation_systemverilog_operators() -> None:
    """Stimulus: one statement of each kind.
    Checking: exactly the expected changes.
    Covers: BREAK-OPERATORS.
    """
    assert _afters(systemverilog_mutations("  assign a = b == c;")) == {"assign a = b != c;", ";"}
    assert _afters(systemverilog_mutations("  q <= 1'b0;")) == {"q <= 1'b1;", ";"}
    assert _afters(systemverilog_mutations("    if (x <= y) begin")) == {
        "if (x < y) begin",
        "if (x >= y) begin",
        "if (!(x <= y)) begin",
    }
    assert _afters(systemverilog_mutations("    z = a[7:4];")) == {
        "z = a[6:4];", "z = a[8:4];", "z = a[7:3];", "z = a[7:5];", ";",
    }  # fmt: skip
    assert _afters(systemverilog_mutations("    w = !v && u;")) == {"w = v && u;", "w = !v || u;", ";"}
    assert _afters(systemverilog_mutations("    n = 12'hfff;")) == {"n = 12'h0;", "n = 12'hffe;", ";"}


@pytest.mark.parametrize(
    "line",
    [
        "// a == b",
        "  input  logic [3:0] a_i,",
        '  `include "x == 1.svh"',
        "  typedef logic [3:0] t;",
        "  a_rule: assert property (@(posedge clk_i) a == 1) else $error(1);",
        "import hmm_pkg::*;",
    ],
)
def test_mutation_systemverilog_leaves_alone(line: str) -> None:
    """Stimulus: comments, declarations, directives and assertions.
    Checking: no change is offered.
    Covers: BREAK-OPERATORS.
    """
    assert systemverilog_mutations(line) == []


def test_mutation_systemverilog_skips_a_long_assertion() -> None:
    """Stimulus: an assertion over three lines, then a statement.
    Checking: only the statement is changed.
    Covers: BREAK-OPERATORS.
    """
    text = "  a: assert property (\n    a == b |->\n    c == d);\n  assign e = f || g;\n"
    assert {mutation.number for mutation in systemverilog_mutations(text)} == {4}


def test_mutation_python_operators() -> None:
    """Stimulus: a function with conditions, numbers, a mask and an assignment.
    Checking: changes of each kind; annotations, strings and imports stay.
    Covers: BREAK-OPERATORS.
    """
    text = '''\
from a import b
def f(x: int | None = 3) -> bool | None:
    """x == 1 and 2."""
    y = x & 7
    return y < 5 and not x
'''
    found = python_mutations(text)
    assert {(mutation.number, mutation.after.strip()) for mutation in found} == {
        (2, "def f(x: int | None = 2) -> bool | None:"),
        (2, "def f(x: int | None = 4) -> bool | None:"),
        (4, "y = x | 7"),
        (4, "y = x & 6"),
        (4, "y = x & 8"),
        (4, "pass"),
        (5, "return y <= 5 and not x"),
        (5, "return y > 5 and not x"),
        (5, "return y < 4 and not x"),
        (5, "return y < 6 and not x"),
        (5, "return y < 5 or not x"),
        (5, "return y < 5 and  x"),
    }


def test_mutation_apply_changes_one_line() -> None:
    """Stimulus: a change of the second of three lines, the last without an end of line.
    Checking: the others are the same bytes.
    Covers: BREAK-APPLY.
    """
    text = "a\r\nb = 1\r\nc"
    assert Mutation(2, "x", "b = 1", "b = 2").apply(text) == "a\r\nb = 2\r\nc"


def test_mutation_every_change_changes_its_line() -> None:
    """Stimulus: every change of every file that the tool may break.
    Checking: `before` is the line, `after` is another, and a changed Python file still parses in most cases.
    Covers: BREAK-APPLY.
    """
    targets = breaker.target_files(ROOT, ["rtl", "models"])
    count = 0
    for files in targets.values():
        for file in files:
            lines = (ROOT / file).read_text().splitlines()
            for mutation in breaker.mutations_of(ROOT / file):
                assert lines[mutation.number - 1] == mutation.before != mutation.after
                count += 1
    assert count > 500


def test_breaker_targets_leave_out_tests_and_generated_files() -> None:
    """Stimulus: the paths rtl and models.
    Checking: no test, no generated file; an empty path is a UserError.
    Covers: BREAK-TARGETS.
    """
    targets = breaker.target_files(ROOT, ["rtl", "models"])
    names = {path.as_posix() for files in targets.values() for path in files}
    assert "rtl/hmm_mmu.sv" in names and "models/entries.py" in names
    assert not {"rtl/regs/hmm_regs.sv", "models/registers.py", "rtl/regs/hmm_structures_pkg.sv"} & names
    assert not [name for name in names if "tests" in name]
    with pytest.raises(UserError, match="nothing to break in docs"):
        breaker.target_files(ROOT, ["docs"])


def test_breaker_draws_are_seeded() -> None:
    """Stimulus: ten draws with one seed, twice, and with another.
    Checking: the same changes, and other ones.
    Covers: BREAK-SEED.
    """
    targets = breaker.target_files(ROOT, ["rtl", "models"])

    def draws(seed: int) -> list[tuple[Path, Mutation]]:
        return [breaker.draw(np.random.default_rng([seed, n]), ROOT, targets) for n in range(10)]

    assert draws(1) == draws(1) != draws(2)


def test_breaker_names_the_failed_test() -> None:
    """Stimulus: ends of pytest's output: a failure, an error, neither.
    Checking: the test's name; else the last line.
    Covers: BREAK-VERDICT.
    """
    assert breaker.failed_test("..F\nFAILED a/b.py::test_c[1] - assert 1 == 2\n1 failed") == "a/b.py::test_c[1]"
    assert breaker.failed_test("ERROR a/b.py - NameError\n1 error") == "a/b.py"
    assert breaker.failed_test("Segmentation fault\n\n") == "Segmentation fault"
    assert breaker.failed_test("") == "pytest ended without a word"


PROJECT = {
    ".gitignore": "/build/\n/.venv\n__pycache__/\n",
    "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\nmarkers = ["slow", "simulation", "lint"]\n',
    "models/__init__.py": "",
    "models/checked.py": "def double(x: int) -> int:\n    return x + x\n",
    "models/unchecked.py": "def triple(x: int) -> int:\n    return x + x + x\n",
    "models/endless.py": "def last(x: int) -> int:\n    while x < 3:\n        x = x + 1\n    return x\n",
    "tb/test_it.py": (
        "from models import checked, endless, unchecked\n"
        "def test_double():\n    assert checked.double(3) == 6\n"
        "def test_last():\n    assert endless.last(1) == 3\n"
    ),
}


@pytest.fixture
def small_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one line that is tested, one that is not, and one that can loop for ever."""
    root = tmp_path / "small"
    for name, text in PROJECT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    monkeypatch.setattr(breaker, "ROOT", root)
    monkeypatch.setattr(breaker, "BUILD", root / "build")
    return root


@pytest.mark.slow
def test_breaker_tells_killed_survived_and_timeout(small_project: Path) -> None:
    """Stimulus: draws in a tested file, in an untested one, and in one that loops for ever when broken.
    Checking: killed by the right test, survived, timeout; the project's own files are untouched.
    Covers: BREAK-VERDICT.
    """
    killed = breaker.break_lines(seed=1, draws=2, paths=["models/checked.py"], jobs=2)
    assert [(verdict.result, verdict.by) for verdict in killed] == [("killed", "tb/test_it.py::test_double")] * 2
    again = breaker.break_lines(seed=1, draws=2, paths=["models/checked.py"], only=[2])
    assert [(verdict.draw, verdict.after) for verdict in again] == [(2, killed[1].after)]
    survived = breaker.break_lines(seed=1, draws=1, paths=["models/unchecked.py"])
    assert [(verdict.result, verdict.by, verdict.line) for verdict in survived] == [("survived", "", 2)]
    seeds = breaker.break_lines(seed=3, draws=4, paths=["models/endless.py"], timeout=5.0, jobs=2)
    assert {verdict.result for verdict in seeds} >= {"timeout"}
    for name, text in PROJECT.items():
        assert (small_project / name).read_text() == text


@pytest.mark.slow
def test_breaker_stages_and_what_can_reach(small_project: Path) -> None:
    """Stimulus: a change that quick tests pass and a slow one does not; a test that fails whatever is changed, but
        does not use what is changed; the same draw again, in the same tree and in another one.
    Checking: killed by the slow test; the unchanged tree passed each stage once, and once more when a file changed.
    Covers: BREAK-STAGES.
    """
    slow = "import pytest\nfrom models import unchecked\n@pytest.mark.slow\ndef test_slow():\n"
    quick = "from models import unchecked\ndef test_quick():\n    assert unchecked\n"
    (small_project / "tb/test_slow.py").write_text(slow + "    assert unchecked.triple(3) == 9\n")
    (small_project / "tb/test_quick.py").write_text(quick)
    (small_project / "tb/test_other.py").write_text("def test_other():\n    raise AssertionError\n")
    notes: list[str] = []

    def once() -> tuple[str, str, int]:
        verdict = breaker.break_lines(seed=1, draws=1, paths=["models/unchecked.py"], note=notes.append)[0]
        return verdict.result, verdict.by, verdict.test_files

    passed = small_project / "build" / "break" / "passed"
    # tb/test_it.py, test_quick.py and test_slow.py, in three stages: quick, simulation, slow.
    assert once() == ("killed", "tb/test_slow.py::test_slow", 9)
    assert "draw 1 passed quick: models/unchecked.py:2" in notes
    assert len(list(passed.iterdir())) == 3
    assert once() == ("killed", "tb/test_slow.py::test_slow", 9)
    assert len(list(passed.iterdir())) == 3
    (small_project / "tb/test_quick.py").write_text(quick + "    assert True\n")
    assert once() == ("killed", "tb/test_slow.py::test_slow", 9)
    assert len(list(passed.iterdir())) == 6


@pytest.mark.slow
def test_breaker_test_that_hangs_is_named(small_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stimulus: a loop that a change makes endless, which catches every Exception; tests may use one second.
    Checking: the change is killed, by the test that hangs.
    Covers: BREAK-VERDICT.
    """
    endless = "def last(x: int) -> int:\n    while x < 3:\n        try:\n            x += 1\n"
    (small_project / "models/endless.py").write_text(
        endless + "        except Exception:\n            x = x\n    return x\n"
    )
    quick = replace(breaker.QUICK, hang_seconds=1.0)
    monkeypatch.setattr(breaker, "STAGES", {".py": (quick,), ".sv": ()})
    found = breaker.break_lines(seed=3, draws=6, paths=["models/endless.py"], timeout=60.0)
    assert {verdict.result for verdict in found} <= {"killed", "survived"}
    assert "tb/test_it.py::test_last" in {verdict.by for verdict in found if verdict.seconds > 1.0}


@pytest.mark.slow
def test_breaker_refuses_a_tree_that_fails(small_project: Path) -> None:
    """Stimulus: a project whose tests fail before anything is broken.
    Checking: a UserError that names the failing test.
    Covers: BREAK-VERDICT.
    """
    (small_project / "models/checked.py").write_text("def double(x: int) -> int:\n    return x\n")
    with pytest.raises(UserError, match=r"does not pass \(tb/test_it.py::test_double\)"):
        breaker.break_lines(seed=1, draws=1, paths=["models"])
