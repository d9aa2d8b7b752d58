# SPDX-License-Identifier: Apache-2.0
"""`python -m sim synth`: how large the device is and how deep its logic, by configuration. See docs/synthesis.md.

Yosys comes as the package pyosys, which nothing else needs: it is fetched on the first run, into build/.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from filelock import FileLock
from rich.table import Table

from models.errors import UserError
from sim.build import Design, configuration_parameters
from sim.console import console
from sim.document_table import markdown_table, table_parts, with_table
from sim.paths import BUILD, ROOT
from tb.configurations import configurations

REQUIREMENTS = ROOT / "requirements-synth.txt"
SOURCE_LIST = ROOT / "rtl" / "hmm_mmu.f"
TOP = "hmm_device"
DEVICE = Design(top=TOP)
OUT = BUILD / "synth"
DOCUMENT = ROOT / "docs" / "synthesis.md"
COMMAND = "python -m sim synth"
TIMEOUT = 4 * 3600
"""Seconds of one synthesis; on a busy machine `large` takes more than an hour."""
FLIP_FLOP = "$_DFF"
MEMORY = "$mem"
SCOPE = "$scopeinfo"
"""No cell: it tells from which unit others came."""
LONGEST_PATH = re.compile(r"^Longest topological path in \S+ \(length=(\d+)\):", re.MULTILINE)


@dataclass(frozen=True)
class Size:
    """What a configuration comes to.

    `gates`: of two inputs (AND, OR, XOR and their inverses, or a multiplexer); `flip_flops`: one bit each;
    `memory_bits` in `memories` memories, which are not broken up; `depth`: gates on the longest path between
    flip-flops, memories and ports.
    """

    configuration: str
    gates: int
    flip_flops: int
    memories: int
    memory_bits: int
    depth: int


def read_size(configuration: str, out: Path) -> Size:
    """What sim.synth_run left in a directory. Errors: UserError if it is not whole."""
    try:
        cells = json.loads((out / "cells.json").read_text(encoding="utf-8"))["design"]
        memories = json.loads((out / "memories.json").read_text(encoding="utf-8"))["design"]
        depth = LONGEST_PATH.search((out / "depth.txt").read_text(encoding="utf-8"))
        by_type: dict[str, int] = cells["num_cells_by_type"]
        words = int(memories["num_memories"]), int(memories["num_memory_bits"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"The synthesis of {configuration} left no whole result in {out} ({error!r}).") from None
    if depth is None:
        raise UserError(f"The synthesis of {configuration} found no longest path; see {out / 'depth.txt'}.")
    flip_flops = sum(count for name, count in by_type.items() if name.startswith(FLIP_FLOP))
    left = sorted(name for name in by_type if not name.startswith(("$_", MEMORY)) and name != SCOPE)
    if left:
        raise UserError(f"The synthesis of {configuration} left cells that are no gates: {', '.join(left)}.")
    gates = sum(count for name, count in by_type.items() if name.startswith("$_")) - flip_flops
    return Size(configuration, gates, flip_flops, *words, int(depth.group(1)))


def packages() -> Path:
    """Where pyosys is, fetched if this version of it is not there. Errors: UserError if it cannot be fetched."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = OUT / f"packages-{key}"
    if place.is_dir():
        return place
    OUT.mkdir(parents=True, exist_ok=True)
    with FileLock(OUT / "packages.lock"):
        if place.is_dir():
            return place
        partial = OUT / "packages.partial"
        shutil.rmtree(partial, ignore_errors=True)
        console.print(f"installing what {REQUIREMENTS.name} names into {place.relative_to(ROOT)}", markup=False)
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        command += ["--target", str(partial), "-r", str(REQUIREMENTS)]
        log = OUT / "pip.log"
        with log.open("w", encoding="utf-8") as output:
            status = subprocess.run(command, check=False, stdout=output, stderr=output).returncode
        if status != 0:
            raise UserError(f"pyosys could not be fetched (see {log}); check the network or pip's index settings.")
        partial.rename(place)
    return place


def sources() -> list[str]:
    """The device's sources in their order, relative to the root."""
    lines = (line.strip() for line in SOURCE_LIST.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line.endswith(".sv")]


def synthesize(configuration: str, place: Path, told: Callable[[str], None]) -> Size:
    """One configuration, in a process of its own. Errors: UserError with the first error line."""
    out = OUT / configuration
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    spec = {
        "top": TOP,
        "parameters": configuration_parameters(configuration, DEVICE),
        "sources": sources(),
        "out": str(out),
    }
    (out / "spec.json").write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(ROOT)])}
    log = out / "yosys.log"
    told(f"{configuration}: at work; what Yosys says is in {log.relative_to(ROOT)}")
    with log.open("w", encoding="utf-8") as output:
        try:
            status = subprocess.run(
                [sys.executable, "-m", "sim.synth_run", str(out / "spec.json")],
                cwd=ROOT,
                env=environment,
                check=False,
                stdout=output,
                stderr=output,
                timeout=TIMEOUT,
            ).returncode
        except subprocess.TimeoutExpired:
            raise UserError(f"The synthesis of {configuration} did not end within {TIMEOUT} s; see {log}.") from None
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        error = next((line.strip() for line in lines if "error" in line.lower()), lines[-1] if lines else "")
        raise UserError(f"The synthesis of {configuration} failed: {error}; the whole output is in {log}.")
    return read_size(configuration, out)


COLUMNS = ("configuration", "gates", "flip-flops", "memories", "memory bits", "logic depth")


def cells_of(size: Size) -> tuple[str, ...]:
    """A row of the table."""
    numbers = (size.gates, size.flip_flops, size.memories, size.memory_bits, size.depth)
    return (size.configuration, *(f"{number:,}" for number in numbers))


def table_of(sizes: Sequence[Size]) -> Table:
    """For a terminal."""
    table = Table()
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if number else "left")
    for size in sizes:
        table.add_row(*cells_of(size))
    return table


Rows = dict[str, tuple[str, ...]]
"""Rows of the document's table, by configuration."""


def markdown_of(rows: Rows) -> str:
    """The table for the documents, in the order of the configurations."""
    return markdown_table([COLUMNS, *(rows[name] for name in configurations() if name in rows)])


def rows_of(text: str) -> Rows:
    """The rows that a document's table has. Errors: UserError if it has no place for one."""
    lines = [line.strip("|").split("|") for line in table_parts(text, COMMAND)[1].strip().splitlines()]
    cells = [tuple(cell.strip() for cell in line) for line in lines]
    return {row[0]: row for row in cells if row[0] in configurations()}


def with_rows(text: str, sizes: Sequence[Size]) -> str:
    """A document with these sizes in its table; the rows of other configurations stay. Errors: UserError."""
    rows = rows_of(text) | {size.configuration: cells_of(size) for size in sizes}
    return with_table(text, COMMAND, markdown_of(rows))


@click.command("synth")
@click.option("--configuration", "names", multiple=True, help="Which device; may be repeated; all by default.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), default=None, help="Also write the sizes there.")
@click.option("--write", is_flag=True, help="Write their rows of the table in docs/synthesis.md.")
def synth_command(names: tuple[str, ...], json_file: Path | None, write: bool) -> None:
    """Synthesize the device with Yosys: gates, flip-flops, memory bits, logic depth."""
    chosen = names or tuple(configurations())
    for name in chosen:
        configuration_parameters(name, DEVICE)
    place = packages()
    sizes = [synthesize(name, place, lambda text: console.print(text, markup=False)) for name in chosen]
    console.print(table_of(sizes))
    data: list[dict[str, Any]] = [asdict(size) for size in sizes]
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{json_file} cannot be written ({error.strerror}); choose another file.") from None
    if write:
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(with_rows(text, sizes), encoding="utf-8")
        console.print(f"written: {DOCUMENT.relative_to(ROOT)}", markup=False)
