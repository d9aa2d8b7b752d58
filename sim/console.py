# SPDX-License-Identifier: Apache-2.0
"""What a person sees: progress bars and colours on a terminal, plain lines everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_WIDTH = 140
"""Columns of a table where no terminal tells its width."""


def make_console(*, stderr: bool = False) -> Console:
    """The console of this process, or the one for what must not mix with its output."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Console(highlight=False, soft_wrap=True, width=width, stderr=stderr)


console = make_console()
messages = make_console(stderr=True)
"""For commands whose standard output is not theirs alone."""
PLAIN_STEPS = 10
"""Without a terminal a task says so this often."""


class Advance(Protocol):
    """Moves a task on."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done; `note` says what is at work now."""


@contextmanager
def progress(title: str, total: int, on: Console = console) -> Iterator[Advance]:
    """A task of `total` steps. Gives a function that moves it on."""
    if on.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=on, transient=True) as bar:
            task = bar.add_task(title, total=total, note="")

            def move_bar(steps: int = 1, note: str = "") -> None:
                bar.update(task, advance=steps, note=note)

            yield move_bar
        return
    done = 0
    said = 0

    def say_line(steps: int = 1, note: str = "") -> None:
        nonlocal done, said
        done += steps
        share = done * PLAIN_STEPS // max(1, total)
        if share > said or done >= total:
            said = share
            on.print(f"{title}: {done}/{total}{' ' + note if note else ''}", markup=False)

    yield say_line
