# SPDX-License-Identifier: Apache-2.0
"""The command line: `python -m sim COMMAND`. Commands load what they need, so that help and set-up stay quick."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click

from models.errors import UserError

PYTEST_NO_TESTS = 5
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2


RECORD = "record"
REGRESS = "regress"
BENCH = "bench"
SYNTH = "synth"


class Commands(click.Group):
    """An unknown command is bad input: one sentence, not a usage text. Some commands are loaded when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted([*super().list_commands(ctx), BENCH, RECORD, REGRESS, SYNTH])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        if cmd_name == RECORD:
            from sim.record import record_command

            return record_command
        if cmd_name == REGRESS:
            from sim.regression.command import regress_command

            return regress_command
        if cmd_name == BENCH:
            from sim.bench import bench_command

            return bench_command
        if cmd_name == SYNTH:
            from sim.synth import synth_command

            return synth_command
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command to run. Errors: UserError listing the known ones."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise UserError(f"There is no command {args[0]}; choose one of {', '.join(self.list_commands(ctx))}.")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
        sys.exit(EXIT_FAILED)


@commands.command()
@click.argument("flavours", nargs=-1, metavar="[fast|checked]...")
@click.option("--configuration", default="default", show_default=True, help="Parameters of the device, by name.")
def build(flavours: tuple[str, ...], configuration: str) -> None:
    """Build the simulator, or find it built; both flavours unless one is named."""
    from sim.build import FLAVOURS, build_by_name

    for flavour in flavours or FLAVOURS:
        click.echo(build_by_name(flavour, configuration))


@commands.command("list")
def list_cases() -> None:
    """List what `run` knows."""
    from sim.run_case import known_cases

    width = max(len(name) for name in known_cases())
    for name, text in known_cases().items():
        click.echo(f"{name:{width}}  {text}".rstrip())


@commands.command()
@click.argument("case")
@click.argument("program", required=False, metavar="[FILE]", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of everything that is drawn.")
@click.option("--build", "flavour", default=None, help="fast or checked; checked if waves are asked for.")
@click.option("--waves", is_flag=True, help="Record waves and print where they are.")
@click.option("--waves-from", type=click.IntRange(0), default=0, help="First clock cycle of the waves.")
@click.option(
    "--path", "case_path", default="batch", show_default=True, help="batch or agent: who hands over requests."
)
@click.option("--format", "entry_format", default=None, help="Entry format: a name, or a file with one format.")
@click.option("--recording", type=click.Path(path_type=Path), default=None, help="kernel-arrays: only this file.")
@click.option(
    "--disturb", type=click.IntRange(0), default=None, help="program(s): about one disturbance in N accesses; 0: none."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), default=None, help="Also write the result there.")
@click.option("--shrink", is_flag=True, help="mixed: if it fails, find the shortest case that fails like it.")
def run(
    case: str,
    program: Path | None,
    seed: int,
    flavour: str | None,
    waves: bool,
    waves_from: int,
    case_path: str,
    entry_format: str | None,
    recording: Path | None,
    disturb: int | None,
    json_file: Path | None,
    shrink: bool,
) -> None:
    """Run CASE (a name that `list` shows, or the directory of a saved case) and check it; `program` takes a FILE."""
    from sim.run_case import RunOptions, run_case

    options = RunOptions(
        seed=seed,
        flavour=flavour,
        waves=waves,
        waves_from=waves_from,
        case_path=case_path,
        entry_format=entry_format,
        recording=recording,
        json_file=json_file,
        program=program,
        disturb=disturb,
        shrink=shrink,
    )
    if not run_case(case, options):
        sys.exit(EXIT_FAILED)


@commands.command()
@click.argument("test", required=False)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of everything that tests draw."
)
@click.option("--waves", is_flag=True, help="Checked builds record waves in build/waves.")
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes; as many as processors by default.")
def test(test: str | None, seed: int, waves: bool, jobs: int | None) -> None:
    """Run the tests: all, or TEST (a file, a folder, a file::test, or a pytest -k expression)."""
    from sim.paths import ROOT

    count = jobs or len(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "pytest", "-q", "--seed", str(seed), "-m", "not pr and not nightly"]
    command += ["-n", str(count), "--dist", "worksteal"] if count > 1 else []
    command += ["--waves"] if waves else []
    if test:
        command += [test] if (ROOT / test.split("::")[0]).exists() else ["-k", test]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status == PYTEST_NO_TESTS:
        raise UserError(
            f"No test was found for {test}; give a file below models, sim or tb, or a part of a test's name."
        )
    sys.exit(status)


@commands.command()
@click.option("--pair", "pairs", multiple=True, metavar="ACTION,EVENT", help="Only these cells; either may be all.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the memory's pauses.")
@click.option("--build", "flavour", default="fast", show_default=True, help="fast or checked.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--at", default=None, metavar="VARIANT:CYCLE", help="One run of one cell, as a failure names it.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Where matrix.json and matrix.svg go.")
def races(pairs: tuple[str, ...], seed: int, flavour: str, jobs: int, at: str | None, out: Path | None) -> None:
    """Slide every action of the host over every event of the device; exit 1 if a cell is not good."""
    from sim.races import RaceOptions, run_races

    options = RaceOptions(pairs=pairs, seed=seed, flavour=flavour, jobs=jobs, at=at)
    if not run_races(options if out is None else replace(options, out=out)):
        sys.exit(EXIT_FAILED)


@commands.command("hmm-tests")
@click.argument("name", required=False)
@click.option("--build", "flavour", default="fast", show_default=True, help="fast or checked.")
def hmm_tests(name: str | None, flavour: str) -> None:
    """The scenarios of the kernel's own test of HMM, all or those with NAME in their names, on both devices."""
    from sim.hmm_tests import run_hmm_tests

    if not run_hmm_tests(name, flavour):
        sys.exit(EXIT_FAILED)


@commands.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Another file than the one in docs/.")
def picture(name: str, out: Path | None) -> None:
    """Draw the picture NAME of the documents anew, from a run: fault."""
    from sim.picture import picture as draw

    click.echo(f"drawn: {draw(name, out)}")


@commands.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--signal", "signals", multiple=True, metavar="NAME", help="The end of a signal's name; may be repeated.")
@click.option("--cycles", required=True, metavar="FIRST:LAST", help="The cycles that are drawn.")
@click.option("--title", default="", help="Above the picture.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The SVG file.")
def waves(file: Path, signals: tuple[str, ...], cycles: str, title: str, out: Path) -> None:
    """Draw signals of a wave FILE (.fst or .vcd) that a run recorded."""
    from sim.wave_picture import wave_picture

    click.echo(f"drawn: {wave_picture(file, signals, cycles, out, title)}")


@commands.command()
def lint() -> None:
    """Check the Python with ruff and mypy, and the RTL with Verilator and slang."""
    from sim.lint import LINTERS

    failed = False
    for linter in LINTERS.values():
        result = linter()
        click.echo(f"{result.tool}: {'ok' if result.passed else 'FAILED'}")
        if not result.passed:
            failed = True
            click.echo(result.output)
    if failed:
        sys.exit(EXIT_FAILED)


@commands.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--anonymous", is_flag=True, help="Replace all names by hashes first: nothing may hang on them.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), default=None, help="Where the verdicts go.")
def conform(files: tuple[Path, ...], anonymous: bool, json_file: Path | None) -> None:
    """Let the host model do what a real kernel was recorded to do; exit 1 if a record comes out wrong."""
    from sim.conform import run_conform

    if not run_conform(files, anonymous=anonymous, json_file=json_file):
        sys.exit(EXIT_FAILED)


@commands.command("break")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--draws", type=click.IntRange(1), default=20, show_default=True, help="How many lines to break.")
@click.option("--draw", "only", type=click.IntRange(1), multiple=True, help="Only this draw; may be repeated.")
@click.option("--rtl", "only_rtl", is_flag=True, help="Changes of the RTL's syntax tree, against a regression.")
@click.option("--python", "only_python", is_flag=True, help="Lines of the models, against their tests.")
@click.option("--planted", is_flag=True, help="Chosen defects of the RTL (docs/rtl_defects.md), against a regression.")
@click.option("--defect", "wanted", multiple=True, help="--planted: only this row, by name or number; may be repeated.")
@click.option("--tier", default="pr", show_default=True, help="--rtl, --planted: the regression that must notice.")
@click.option("--again", is_flag=True, help="--rtl, --planted: also what an earlier run of the same sources noticed.")
@click.option("--paths", multiple=True, default=("rtl", "models"), show_default=True, help="Where; may be repeated.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Scratch trees at work.")
@click.option("--timeout", type=float, default=900.0, show_default=True, help="Seconds for the tests of one change.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), default=None, help="Where the verdicts go.")
def break_command(
    seed: int,
    draws: int,
    only: tuple[int, ...],
    only_rtl: bool,
    only_python: bool,
    planted: bool,
    wanted: tuple[str, ...],
    tier: str,
    again: bool,
    paths: tuple[str, ...],
    jobs: int,
    timeout: float,
    json_file: Path | None,
) -> None:
    """Break single lines in a scratch copy and see whether a test notices; exit 1 if one survives."""
    if only_rtl + only_python + planted > 1:
        raise UserError("Give one of --rtl, --python and --planted.")
    if wanted and not planted:
        raise UserError("--defect chooses rows of --planted; give that, too.")
    if planted:
        from sim.mutants.planted_report import run_planted

        if not run_planted(jobs=jobs, regression=tier, json_file=json_file, wanted=wanted, again=again):
            sys.exit(EXIT_FAILED)
        return
    if only_rtl:
        from sim.mutants.report import run_mutants

        nothing_survived = run_mutants(
            seed=seed,
            draws=draws,
            jobs=jobs,
            regression=tier,
            json_file=json_file,
            paths=paths,
            only=only,
            again=again,
        )
        if not nothing_survived:
            sys.exit(EXIT_FAILED)
        return
    paths = ("models",) if only_python else paths
    from sim.break_report import run_breaker

    if not run_breaker(seed=seed, draws=draws, paths=paths, jobs=jobs, timeout=timeout, json_file=json_file, only=only):
        sys.exit(EXIT_FAILED)


def main() -> None:
    """Runs a command; a UserError becomes one sentence and exit status 2."""
    try:
        commands()
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BAD_INPUT)
