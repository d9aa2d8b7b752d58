# SPDX-License-Identifier: Apache-2.0
"""Tests of the tools around a build: the configured Verilator, and what is said when one is missing."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.errors import UserError
from sim import toolchain


def test_toolchain_root_is_configured(tmp_path: Path) -> None:
    """Stimulus: the Verilator directory, made anew.
    Checking: make sees the compiler, the options for precompiled headers and coroutines, and an absolute Python.
    Covers: TOOLCHAIN-OVERLAY.
    """
    root = toolchain.verilator_root(tmp_path)
    makefile = tmp_path / "Makefile"
    names = ["CXX", "AR", "CFG_CXXFLAGS_PCH_I", "CFG_CXXFLAGS_COROUTINES", "OPT_FAST", "PYTHON3"]
    makefile.write_text(
        f"VERILATOR_ROOT := {root}\ninclude {root}/include/verilated.mk\n"
        "show:\n" + "".join(f"\t@echo '{name}=$({name})'\n" for name in names)
    )
    output = subprocess.run(
        ["make", "-s", "-C", str(tmp_path), "--no-print-directory", "show"], capture_output=True, text=True, check=True
    )
    values = dict(line.split("=", 1) for line in output.stdout.splitlines())
    assert values["CXX"] == "g++"
    assert values["AR"] == "ar"
    assert values["CFG_CXXFLAGS_PCH_I"] == "-include"
    assert values["CFG_CXXFLAGS_COROUTINES"] == "-fcoroutines"
    assert values["OPT_FAST"] == "-O2"
    assert Path(values["PYTHON3"]).is_file()


def test_toolchain_root_is_made_once(tmp_path: Path) -> None:
    """Stimulus: eight requests for the Verilator directory at the same time, then one more.
    Checking: one directory, nothing partial beside it, not written again.
    Covers: TOOLCHAIN-OVERLAY.
    """
    with ThreadPoolExecutor(8) as pool:
        roots = set(pool.map(lambda _: toolchain.verilator_root(tmp_path), range(8)))
    assert len(roots) == 1
    assert [path.name for path in tmp_path.iterdir()] == [roots.pop().name]
    before = next(tmp_path.iterdir()).stat().st_mtime_ns
    assert toolchain.verilator_root(tmp_path).stat().st_mtime_ns == before


def test_toolchain_verilator_runs() -> None:
    """Stimulus: Verilator and its shim, asked for their version.
    Checking: the program answers, and the shim gives a version where other tools look for one.
    Covers: TOOLCHAIN-VERILATOR.
    """
    environment = toolchain.tool_environment(Path.cwd())
    command = [*toolchain.verilator_command(), "--version"]
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    shim = toolchain.verilator_root() / "shim" / "verilator"
    said = subprocess.run([str(shim), "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split()[:2] == ["Verilator", toolchain.verilator_version()]


def test_toolchain_outer_make_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stimulus: the environment that `make -j` gives its children.
    Checking: nothing of it reaches a build.
    Covers: TOOLCHAIN-ENVIRONMENT.
    """
    monkeypatch.setenv("MAKEFLAGS", "-j --jobserver-auth=3,4")
    monkeypatch.setenv("MAKELEVEL", "1")
    assert not {"MAKEFLAGS", "MAKELEVEL"} & set(toolchain.tool_environment(Path.cwd()))


@pytest.mark.parametrize("present", [(), ("make", "perl"), ("g++", "perl")])
def test_toolchain_missing_command_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: tuple[str, ...]
) -> None:
    """Stimulus: a PATH with none or two of compiler, make and perl.
    Checking: a UserError of one line that names what is missing, and only that, with the line to type.
    Covers: CLI-ERRORS.
    """
    for name in present:
        (tmp_path / name).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as caught:
        toolchain.require_commands()
    missing = [name for name in toolchain.NEEDED_COMMANDS if name not in present]
    said = str(caught.value)
    assert said.startswith(f"{' '.join(missing)} is not on PATH") and said.endswith(f"install {' '.join(missing)}")


def test_toolchain_missing_python_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stimulus: a Python without a shared library.
    Checking: a UserError that names the package.
    Covers: CLI-ERRORS.
    """
    monkeypatch.setattr("find_libpython.find_libpython", lambda: None)
    with pytest.raises(UserError, match=r"apt-get install libpython3\.\d+"):
        toolchain.python_library()


@pytest.mark.parametrize("present", [True, False])
def test_toolchain_compiler_cache_is_used_when_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: bool
) -> None:
    """Stimulus: a PATH with and without ccache.
    Checking: a build uses it exactly if it is there, with paths relative to the project.
    Covers: TOOLCHAIN-ENVIRONMENT.
    """
    monkeypatch.delenv("OBJCACHE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if present:
        (tmp_path / "ccache").symlink_to("/bin/true")
    environment = toolchain.tool_environment(tmp_path)
    assert environment.get("OBJCACHE") == ("ccache" if present else None)
    assert (environment.get("CCACHE_BASEDIR") == str(tmp_path.resolve())) is present
