# SPDX-License-Identifier: Apache-2.0
"""Builds of the simulator, kept by the content of everything that goes into them.

*fast*: nothing visible below the top, no assertions. *checked*: assertions, line and expression coverage, waves.
Initial values and seeds are the same in all, so that the same case gives the same cycles.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock

from models.errors import UserError
from sim import toolchain
from sim.paths import ROOT
from tb.configurations import named_configuration

Flavour = Literal["fast", "checked"]
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)

EXECUTABLE = "simulator"
KEPT_BUILDS = 3
"""Older builds of the same flavour and configuration are removed beyond this number."""

COMMON_FLAGS = (
    "--cc", "--exe", "--vpi", "--build", "-j", "2", "--quiet",
    "--timing", "--timescale", "1ns/1ps",
    # Smaller files: two compilers at work, and a small change leaves most of them to the compiler cache.
    "--output-split", "5000",
    # Longer loops stay loops: half of the C++, for the same speed.
    "--unroll-count", "8",
    "--x-assign", "unique", "--x-initial", "unique",
    "-LDFLAGS", "-rdynamic",
)  # fmt: skip
FLAVOUR_FLAGS: dict[Flavour, tuple[str, ...]] = {
    "fast": ("--no-assert",),
    "checked": (
        "--assert",
        "--coverage-line", "--coverage-expr", "--trace-fst",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Design:
    """What is built: file lists (paths in them relative to root), folders that hold all sources, C++ files, the top.

    `name` tells the builds of other designs than the device's test bench apart.
    """

    root: Path = ROOT
    name: str = ""
    top: str = "tb_top"
    prefix: str = "Vtb_top"
    file_lists: tuple[str, ...] = ("rtl/hmm_mmu.f", "tb/tb.f")
    source_folders: tuple[str, ...] = ("rtl", "tb/sv", "tb/adapter", "tb/cpp")
    cpp_folder: str | None = "tb/cpp"
    """The simulation's own program; None: cocotb's, for a bench of one unit."""
    extra_flags: tuple[str, ...] = field(default=())

    @property
    def output(self) -> Path:
        """Where builds are kept."""
        return self.root / "build" / "simulators"


FLAGS = re.MULTILINE | re.DOTALL
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
PARAMETER = re.compile(r"(\w+)\s*=(?!=)")
"""A parameter in the header of a module: the name before its value."""
SOURCE_SUFFIXES = {".sv", ".svh", ".v", ".vh", ".vlt", ".f", ".cpp", ".cc", ".c", ".h", ".hpp"}


def top_parameters(design: Design) -> list[str]:
    """Names of the parameters of a design's top, in its order. Errors: UserError if no source has that module."""
    header = re.compile(rf"^module\s+{re.escape(design.top)}\b(?:\s*import[^;]*;)*\s*(?:#\s*\((.*?)\)\s*)?\(", FLAGS)
    for path in source_files(design):
        text = path.read_text(encoding="utf-8", errors="replace") if path.suffix == ".sv" else ""
        found = header.search(COMMENT.sub("", text))
        if found is not None:
            return PARAMETER.findall(found.group(1) or "")
    raise UserError(f"No source in {', '.join(design.source_folders)} has the module {design.top}.")


def configuration_parameters(name: str, design: Design) -> dict[str, int]:
    """Parameters of one configuration.

    Errors: UserError listing the known configurations, or naming a parameter that the design's top does not have.
    """
    parameters = dict(named_configuration(name).parameters)
    known = top_parameters(design)
    for parameter in parameters:
        if parameter not in known:
            raise UserError(
                f"Configuration {name} sets {parameter}, but {design.top} has no such parameter; it has "
                f"{', '.join(known)}."
            )
    return parameters


def listed_files(design: Design) -> list[Path]:
    """The file lists, and the files that they name, as far as they exist."""
    lists = [path for name in design.file_lists if (path := design.root / name).is_file()]
    lines = [line.strip() for path in lists for line in path.read_text(encoding="utf-8").splitlines()]
    named = [design.root / line for line in lines if line and not line.startswith(("//", "-", "+"))]
    return [*lists, *(path for path in named if path.is_file())]


def source_files(design: Design) -> list[Path]:
    """Every file that a build can read, sorted: what the lists name, and what they do not (headers, waivers)."""
    found = (path for folder in design.source_folders for path in (design.root / folder).rglob("*"))
    inside = (path for path in found if path.suffix in SOURCE_SUFFIXES and path.is_file())
    return sorted({*inside, *listed_files(design)})


def build_flags(design: Design, flavour: Flavour, parameters: dict[str, int]) -> list[str]:
    """All Verilator options; file paths are relative to the root, so that two clones make the same C++."""
    libraries = toolchain.cocotb_libraries()
    lists = [argument for name in design.file_lists for argument in ("-f", name)]
    return [
        *COMMON_FLAGS,
        *FLAVOUR_FLAGS[flavour],
        # What cocotb sees of the whole testbench is listed in tb/sv/public.vlt; of a unit's bench it is the top level.
        *(("-CFLAGS", "-DVL_USER_STOP") if design.cpp_folder else ("--public-depth", "1")),
        *design.extra_flags,
        *("--prefix", design.prefix, "--top-module", design.top, "-o", EXECUTABLE),
        *("-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"),
        *(f"-G{name}={value}" for name, value in sorted(parameters.items())),
        *lists,
    ]


def content_key(design: Design, flags: Sequence[str]) -> str:
    """Hash of everything that goes into a build: options, sources with their paths, tools."""
    digest = hashlib.sha256()
    for text in (*flags, toolchain.fingerprint()):
        digest.update(text.encode() + b"\0")
    for path in source_files(design):
        digest.update(path.relative_to(design.root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def first_error(lines: Sequence[str]) -> str:
    """The line of a build's output that says most: the first error of Verilator, the compiler or the linker."""
    marks = ("%Error", ": error:", "undefined reference", "No such file", "fatal error")
    return next((line.strip() for line in lines if any(mark in line for mark in marks)), lines[-1] if lines else "")


def _compile(design: Design, flags: Sequence[str], directory: Path, log: Path) -> None:
    """Runs Verilator and the C++ compiler in `directory`. Errors: UserError with the first error line."""
    # Make runs in the directory it builds in, so the C++ files are named from there.
    up = "/".join([".."] * len(directory.relative_to(design.root).parts))
    if design.cpp_folder:
        names = sorted(path.relative_to(design.root) for path in (design.root / design.cpp_folder).glob("*.cpp"))
        cpp = ("-CFLAGS", f"-I{up}/{design.cpp_folder}", *(f"{up}/{path.as_posix()}" for path in names))
    else:
        cpp = (str(toolchain.cocotb_program()),)
    command = [
        *toolchain.verilator_command(),
        *flags,
        *("--Mdir", str(directory.relative_to(design.root))),
        *cpp,
    ]
    with log.open("w", encoding="utf-8") as output:
        output.write(" ".join(command) + "\n")
        output.flush()
        environment = toolchain.tool_environment(design.root)
        status = subprocess.run(
            command,
            check=False,
            cwd=design.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ).returncode
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
        raise UserError(f"The simulator does not build: {first_error(lines)}; the whole output is in {log}.")


def records_waves(executable: Path) -> bool:
    """Whether a build can record waves: only the checked ones can."""
    return "checked" in executable.parent.name.split("-")


def _prune(output: Path, name: str) -> None:
    """Removes all but the newest builds of one flavour and configuration."""
    builds = sorted(output.glob(f"{name}-*/{EXECUTABLE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for executable in builds[KEPT_BUILDS:]:
        shutil.rmtree(executable.parent, ignore_errors=True)


def build_by_name(flavour: str, configuration: str = "default") -> Path:
    """`build` for a flavour that a person typed. Errors: UserError also if there is no such flavour."""
    known: dict[str, Flavour] = {name: name for name in FLAVOURS}
    if flavour not in known:
        raise UserError(f"There is no build {flavour}; choose one of {', '.join(FLAVOURS)}.")
    return build(known[flavour], configuration)


def build(flavour: Flavour, configuration: str | None = "default", design: Design | None = None) -> Path:
    """The simulator's executable, built if no build of exactly these sources, options and tools is there.

    `configuration` names the parameters of the top; None leaves them as they are.

    Errors: UserError for an unknown configuration, a missing tool, or sources that do not build.
    """
    design = design or Design()
    if " " in str(design.root):
        raise UserError(f"The path {design.root} has a space in it, which make cannot build in; move the project.")
    flags = build_flags(design, flavour, configuration_parameters(configuration, design) if configuration else {})
    name = "-".join(filter(None, [design.name, flavour, configuration]))
    final = design.output / f"{name}-{content_key(design, flags)}"
    executable = final / EXECUTABLE
    if executable.is_file():
        return executable
    design.output.mkdir(parents=True, exist_ok=True)
    with FileLock(design.output / f"{name}.lock"):
        if executable.is_file():
            return executable
        # The same name each time, so that the compiler cache sees the same paths; what an interrupted build left goes.
        partial = design.output / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
        partial.mkdir()
        _compile(design, flags, partial, design.output / f"{name}.log")
        partial.rename(final)
        executable.touch()
        _prune(design.output, name)
    return executable
