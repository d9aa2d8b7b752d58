# SPDX-License-Identifier: Apache-2.0
"""`python -m sim conform`: the host model against recordings of real kernels, as a table."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rich.table import Table

from models.conform.judgement import Verdict
from models.conform.records import read_conform_recording
from models.conform.tally import JudgedRecording, as_data, judge_records, not_exact_share
from models.errors import UserError
from models.files import write_atomically
from sim.console import console, progress

LARGEST_SHARE = 3.0
"""Percent of the records that may be equal only in relation, or undetermined."""
SHOWN_LINES = 40
"""So many wrong records are told one by one; the JSON file has all."""


def run_conform(files: tuple[Path, ...], *, anonymous: bool, json_file: Path | None) -> bool:
    """Judge recordings and print what came out; returns whether no record is wrong.

    Errors: UserError if there is no file, if one is no good recording, or if the JSON file cannot be written.
    """
    if not files:
        raise UserError("Name at least one recording, such as models/data/kernel/linux-6.1-hmm.jsonl.gz.")
    judged = []
    for path in files:
        recording = read_conform_recording(path)
        with progress(path.name, len(recording.records)) as advance:
            judged.append(judge_records(recording, anonymous=anonymous, advance=advance))
    if json_file is not None:
        write_atomically(json_file, (json.dumps(as_data(judged, anonymous), indent=1) + "\n").encode())
    for recording_judged in judged:
        _print_table(recording_judged)
    _print_reasons(judged)
    wrong = sum(recording_judged.total()[Verdict.WRONG] for recording_judged in judged)
    share = not_exact_share(judged)
    console.print(
        f"{'FAILED' if wrong else 'passed'}: {wrong} wrong; {share:.2f} % by relation or undetermined"
        f" (at most {LARGEST_SHARE:g} % are wanted)."
    )
    return wrong == 0


def _print_table(judged: JudgedRecording) -> None:
    table = Table(title=f"{judged.path.name}: Linux {judged.kernel}", title_justify="left")
    table.add_column("record")
    for verdict in Verdict:
        table.add_column(verdict.value, justify="right")
    for row, figures in judged.figures().items():
        table.add_row(row, *_cells(figures))
    table.add_section()
    table.add_row("all", *_cells(judged.total()))
    console.print(table)


def _cells(figures: Counter[Verdict]) -> list[str]:
    return [str(figures[verdict]) for verdict in Verdict]


def _print_reasons(judged: list[JudgedRecording]) -> None:
    for recording in judged:
        name = recording.path.name
        for why, count in recording.reasons(Verdict.BY_RELATION).items():
            console.print(f"{name}: {count} by relation: {why}.", markup=False)
        for why, count in recording.reasons(Verdict.UNDETERMINED).items():
            console.print(f"{name}: {count} undetermined, the record does not hold {why}.", markup=False)
        wrong = [record for record in recording.records if record.judgement.verdict is Verdict.WRONG]
        for record in wrong[:SHOWN_LINES]:
            place = f"{name}, line {record.line}, {record.name} {record.request}".rstrip()
            console.print(f"{place}: {record.judgement.why}", markup=False)
        if len(wrong) > SHOWN_LINES:
            console.print(f"{name}: {len(wrong) - SHOWN_LINES} more wrong records; --json FILE has all.", markup=False)
