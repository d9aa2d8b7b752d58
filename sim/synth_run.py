# SPDX-License-Identifier: Apache-2.0
"""One synthesis of the device, in a process of its own: `python -m sim.synth_run SPEC`, with pyosys on the path.

SPEC is a JSON file {"top": NAME, "parameters": {NAME: NUMBER}, "sources": [FILE, ...], "out": DIRECTORY}. Leaves in the
directory cells.json and memories.json (statistics of Yosys) and depth.txt (its longest path); sim/synth.py reads them.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

GATES = "AND,NAND,OR,NOR,XOR,XNOR,MUX"
"""Two inputs each, but for the multiplexer."""
ABC_SCRIPT = "+strash;dc2;balance;map"
"""Rewriting, then balancing for depth, then mapping: a fraction of the time of ABC's own choice."""


def passes(spec: dict[str, Any]) -> list[str]:
    """The commands of Yosys, in order.

    Units are worked on one by one, which takes a fraction of the time that all at once would, and put together before
    anything is counted. Memories stay memories: each is left as one cell, which cuts the paths through it, and is taken
    out before the longest path is looked for.
    """
    out = Path(spec["out"])
    parameters = " ".join(f"-G {name}={value}" for name, value in spec["parameters"].items())
    return [
        f"read_slang --best-effort-hierarchy --ignore-assertions --top {spec['top']} {parameters} "
        f"{' '.join(spec['sources'])}",
        f"hierarchy -check -top {spec['top']}",
        "proc -noopt",
        "opt_expr",
        "opt_clean",
        "opt -nodffe -nosdff",
        f"tee -q -o {out / 'memories.json'} stat -json",
        "memory -nomap",
        "opt_clean",
        "wreduce",
        "peepopt",
        "opt_clean",
        "alumacc",
        "opt -nodffe -nosdff",
        "techmap",
        # Constants and what is double: ABC sees to them sooner.
        "opt_clean",
        "dfflegalize -cell $_DFF_P_ x -cell $_DFF_PN0_ x -cell $_DFF_PN1_ x",
        f"abc -g {GATES} -script {ABC_SCRIPT}",
        "flatten",
        "opt_clean",
        f"tee -q -o {out / 'cells.json'} stat -json",
        "delete t:$mem_v2",
        f"tee -q -o {out / 'depth.txt'} ltp -noff",
    ]


def main() -> None:
    """Runs the passes; a line of progress for each on standard output."""
    from pyosys import libyosys

    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    design = libyosys.Design()
    for command in passes(spec):
        started = time.monotonic()
        libyosys.run_pass(command, design)
        sys.stdout.write(f"@pass {time.monotonic() - started:.1f} {command.split()[0]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
