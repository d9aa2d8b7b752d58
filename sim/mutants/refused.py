# SPDX-License-Identifier: Apache-2.0
"""What lint says of a change that no case notices: a change that lint refuses cannot land."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from sim.lint import verilator_lint
from sim.mutants.find import Mutant
from sim.paths import ROOT

LINT = "lint"
"""Stands for the case that noticed."""


def lint_refuses(place: Path, texts: Mapping[str, str]) -> Callable[[Mutant], str]:
    """A function that says what `verilator -Wall` objects to in a change, in its first line; "" if it takes it.

    `place`: where a copy of the RTL is made, once. `texts`: the unchanged sources by path.
    """

    def refuses(mutant: Mutant) -> str:
        if not (place / "rtl").is_dir():
            shutil.copytree(ROOT / "rtl", place / "rtl")
        changed = place / mutant.file
        changed.write_text(mutant.apply(texts[mutant.file]), encoding="utf-8")
        try:
            result = verilator_lint(root=place)
        finally:
            changed.write_text(texts[mutant.file], encoding="utf-8")
        return "" if result.passed else result.output.splitlines()[0].strip()

    return refuses
