# SPDX-License-Identifier: Apache-2.0
"""Tests of the static checks: the project passes them, and they find a planted mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import lint
from sim.paths import ROOT

LIMIT = 500
"""Lines of a file that a person writes."""
SPDX = "SPDX-License-Identifier: Apache-2.0"
WRITTEN = {".py", ".sv", ".svh", ".cpp", ".h", ".rdl", ".yaml", ".vlt", ".sh", ".toml", ".j2", ".f", ".txt", ".md"}


def _files() -> list[Path]:
    folders = [ROOT / name for name in ("sim", "models", "tb", "rtl", "docs", ".ci")]
    found = [
        path for folder in folders for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    named = ("Makefile", "conftest.py", "pyproject.toml", "requirements.txt", "requirements-dev.txt", ".gitignore")
    return sorted([*found, *(ROOT / name for name in named)])


@pytest.mark.lint
@pytest.mark.parametrize("name", sorted(lint.LINTERS))
def test_lint_project_is_clean(name: str) -> None:
    """Stimulus: the project's own sources.
    Checking: the tool has nothing to say.
    Covers: LINT-CLEAN.
    """
    result = lint.LINTERS[name]()
    assert result.passed, result.output


@pytest.mark.lint
def test_lint_every_file_names_its_licence() -> None:
    """Stimulus: every file that a person or the generator writes.
    Checking: one of its first lines is the licence.
    Covers: LINT-LICENCE.
    """
    without = [
        str(path.relative_to(ROOT))
        for path in _files()
        if path.suffix in {*WRITTEN, ""} and SPDX not in "\n".join(path.read_text().splitlines()[:3])
    ]
    assert without == []


@pytest.mark.lint
def test_lint_files_are_short() -> None:
    """Stimulus: every file that a person writes.
    Checking: at most 500 lines; most are much shorter.
    Covers: LINT-SIZE.
    """
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for path in _files()
        if path.suffix in WRITTEN - {".md", ".txt"}
        and "do not edit" not in path.read_text()[:400]
        and (lines := len(path.read_text().splitlines())) > LIMIT
    ]
    assert long == []


@pytest.mark.lint
def test_lint_arrows_run_one_way() -> None:
    """Stimulus: the imports of models and tb.
    Checking: models imports neither tb, sim nor a simulator; tb does not import sim, but for tests that start it.
    Covers: LINT-ARROWS.
    """
    forbidden = {"models": ("tb", "sim", "cocotb"), "tb": ("sim",)}
    wrong = [
        f"{path.relative_to(ROOT)}: {line}"
        for folder, names in forbidden.items()
        for path in (ROOT / folder).rglob("*.py")
        if folder == "models" or "tests" not in path.parts
        for line in path.read_text().splitlines()
        if line.split()[:1] in (["from"], ["import"]) and line.split()[1].split(".")[0] in names
    ]
    assert wrong == []


def test_lint_planted_mistakes_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stimulus: a module with a latch and a width that changes silently; a Python file with an unused import.
    Checking: Verilator, slang and ruff refuse them, and accept the same without the mistakes.
    Covers: LINT-FINDS.
    """
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl/list.f").write_text("rtl/one.sv\n")
    source = tmp_path / "rtl/one.sv"
    good = (
        "module one (input logic [3:0] a_i, output logic [3:0] b_o);\n"
        "  always_comb begin\n    b_o = '0;\n    if (a_i[0]) b_o = a_i;\n  end\nendmodule\n"
    )
    monkeypatch.setattr(lint, "ROOT", tmp_path)
    for text, passes in (
        (good, True),
        (good.replace("    b_o = '0;\n", ""), False),
        (good.replace("[3:0] b", "[4:0] b"), False),
    ):
        source.write_text(text)
        assert lint.verilator_lint("rtl/list.f", "one", tmp_path).passed is passes, text
    source.write_text(good)
    assert lint.slang_lint("rtl/list.f", "one").passed
    source.write_text(good.replace("output logic [3:0]", "output logic [2:0]"))
    assert not lint.slang_lint("rtl/list.f", "one").passed
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim/one.py").write_text("import os\n")
    assert not lint.ruff_check().passed
    (tmp_path / "sim/one.py").write_text('"""Nothing."""\n')
    assert lint.ruff_check().passed
