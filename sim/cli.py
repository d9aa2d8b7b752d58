# SPDX-License-Identifier: Apache-2.0
"""The command line: `python -m sim COMMAND`."""

from __future__ import annotations

import sys

import click

from models.errors import UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Builds, runs and checks the device MMU."""


@commands.command()
@click.option("--check", is_flag=True, help="Only compare; exit 1 if a file is not what its sources say.")
def generate(check: bool) -> None:
    """Write the files that follow from the register map and the structure data file."""
    from sim.generate import stale_files, write_files

    if not check:
        for path in write_files():
            click.echo(f"written: {path}")
        return
    stale = stale_files()
    for path in stale:
        click.echo(f"stale: {path}; run `python -m sim generate` and commit the result.", err=True)
    if stale:
        sys.exit(1)


def main() -> None:
    """Runs a command; a UserError becomes one sentence and exit status 2."""
    try:
        commands()
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
