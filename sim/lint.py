# SPDX-License-Identifier: Apache-2.0
"""Static checks: ruff and mypy over the Python, Verilator -Wall and slang over the RTL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sim import toolchain
from sim.paths import ROOT

RTL_LIST = "rtl/hmm_mmu.f"
RTL_TOP = "hmm_device"

SLANG_PROGRAM = """\
import sys
from pyslang.driver import Driver
driver = Driver()
driver.addStandardArgs()
ok = driver.parseCommandLine("slang " + " ".join(sys.argv[1:])) and driver.processOptions() and driver.parseAllSources()
sys.exit(not (ok and driver.runFullCompilation(False)))
"""
SLANG_FLAGS = (
    *("-Wextra", "-Wpedantic", "-Werror"),
    # A default beside `unique` is wanted: it says what happens to values that no name of the enumeration has.
    "-Wno-case-redundant-default",
)


@dataclass(frozen=True)
class LintResult:
    """One tool's verdict; `output` is what it printed."""

    tool: str
    passed: bool
    output: str


def _run(tool: str, command: list[str], environment: dict[str, str] | None = None) -> LintResult:
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    return LintResult(tool, done.returncode == 0, (done.stdout + done.stderr).strip())


def python_files() -> list[str]:
    """What ruff and mypy look at."""
    return [str(path) for path in (ROOT / name for name in ("sim", "models", "tb", "conftest.py")) if path.exists()]


def ruff_check() -> LintResult:
    """Ruff's rules."""
    return _run("ruff check", [sys.executable, "-m", "ruff", "check", *python_files()])


def ruff_format() -> LintResult:
    """Ruff's layout."""
    return _run("ruff format", [sys.executable, "-m", "ruff", "format", "--check", *python_files()])


def mypy() -> LintResult:
    """Types."""
    return _run("mypy", [sys.executable, "-m", "mypy"])


def verilator_lint(file_list: str = RTL_LIST, top: str = RTL_TOP, root: Path = ROOT) -> LintResult:
    """Verilator with every warning an error."""
    command = [
        *toolchain.verilator_command(),
        *("--lint-only", "-Wall", "--timing", "--quiet", "--assert", "--top-module", top, "-f", file_list),
    ]
    done = subprocess.run(
        command, check=False, cwd=root, env=toolchain.tool_environment(root), capture_output=True, text=True
    )
    return LintResult("verilator", done.returncode == 0, (done.stdout + done.stderr).strip())


def verilator_elaborates(root: Path) -> LintResult:
    """Verilator with only the warnings that would also stop a build."""
    command = [*toolchain.verilator_command(), *("--lint-only", "--timing", "--quiet", "--assert")]
    command += ["--top-module", RTL_TOP, "-f", RTL_LIST]
    done = subprocess.run(
        command, check=False, cwd=root, env=toolchain.tool_environment(root), capture_output=True, text=True
    )
    return LintResult("verilator", done.returncode == 0, (done.stdout + done.stderr).strip())


def slang_lint(file_list: str = RTL_LIST, top: str = RTL_TOP) -> LintResult:
    """slang, a second front end that is stricter about the language."""
    lines = [line.strip() for line in (ROOT / file_list).read_text(encoding="utf-8").splitlines()]
    # Verilator's waivers are no SystemVerilog.
    sources = [line for line in lines if line.endswith((".sv", ".v"))]
    return _run("slang", [sys.executable, "-c", SLANG_PROGRAM, *SLANG_FLAGS, "--top", top, *sources])


LINTERS: dict[str, Callable[[], LintResult]] = {
    "ruff check": ruff_check,
    "ruff format": ruff_format,
    "mypy": mypy,
    "verilator": verilator_lint,
    "slang": slang_lint,
}
