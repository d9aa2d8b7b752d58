# SPDX-License-Identifier: Apache-2.0
"""Which tests can notice a change of a file: chains of imports, strings, data files and commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sim.paths import ROOT
from sim.reach import Graph, build_graph, distances, reaching_tests

FOLDERS = ("models", "tb", "sim")
TREE = {
    "Makefile": "test:\n\t@python -m sim test\n",
    "conftest.py": 'from models import shared\npytest_plugins = ["sim.plugin"]\n',
    "models/__init__.py": "",
    "models/shared.py": "",
    "models/low.py": '"""models.unseen is only written about."""\n',
    "models/middle.py": "def late():\n    from models.low import thing\n",
    "models/unseen.py": "",
    "sim/__init__.py": "",
    "sim/__main__.py": "from sim import cli\n",
    "sim/cli.py": 'import models.shared\nHELP = "python -m sim"\n',
    "sim/plugin.py": "from models import plugged\n",
    "models/plugged.py": "",
    "tb/__init__.py": "",
    "tb/bench.py": "from models.middle import late\n",
    "tb/units/__init__.py": "",
    "tb/units/one.py": "import models.low\n",
    "sim/data/lists/all.yaml": "cases:\n  - {module: tb.bench}\n",
    "models/tests/test_near.py": "import models.low\n",
    "models/tests/test_far.py": "from models.middle import late\n",
    "models/tests/test_none.py": "from models import other\n",
    "tb/tests/test_name.py": 'simulate("tb.bench")\n',
    "tb/tests/test_package.py": 'simulate(f"tb.units.{name}")\n',
    "sim/tests/test_list.py": 'FOLDER = ROOT / "data" / "lists"\n',
    "sim/tests/test_command.py": 'run([sys.executable, "-m", "sim"])\n',
    "sim/tests/test_make.py": 'run(["make", "test"])\n',
    "sim/tests/test_words.py": "from sim import cli\n",
}


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """The graph of a small tree with every kind of use."""
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "test_output.py").write_text("import models.low\n")
    return build_graph(tmp_path)


def test_reach_nearest_first(graph: Graph) -> None:
    """
    Stimulus: a module that is used by an import, a late import, a module's name, a package's name and a list of data.
    Checking: the tests that lead to it, in order of steps; not one that does not, not what is built.
    Covers: BREAK-REACH
    """
    assert reaching_tests(graph, FOLDERS, ["models/low.py"]) == [
        "models/tests/test_near.py",
        "models/tests/test_far.py",
        "tb/tests/test_package.py",
        "tb/tests/test_name.py",
        "sim/tests/test_list.py",
    ]
    assert reaching_tests(graph, ("models",), ["models/low.py"]) == [
        "models/tests/test_near.py",
        "models/tests/test_far.py",
    ]
    assert distances(graph, "models/tests/test_far.py")["models/low.py"] == 2


def test_reach_docstrings_say_nothing(graph: Graph) -> None:
    """
    Stimulus: a module that only a docstring names.
    Checking: no test reaches it.
    Covers: BREAK-REACH
    """
    assert reaching_tests(graph, FOLDERS, ["models/unseen.py"]) == []


def test_reach_commands_start_packages(graph: Graph) -> None:
    """
    Stimulus: tests that start `-m sim` and make; another test imports a module whose string tells a person to.
    Checking: the first two reach the command line; the third only what it imports.
    Covers: BREAK-REACH
    """
    assert reaching_tests(graph, FOLDERS, ["sim/__main__.py"]) == [
        "sim/tests/test_command.py",
        "sim/tests/test_make.py",
    ]
    assert "sim/tests/test_words.py" in reaching_tests(graph, FOLDERS, ["sim/cli.py"])


def test_reach_conftest_is_under_every_test(graph: Graph) -> None:
    """
    Stimulus: a module that conftest.py imports, and one that its plugin imports.
    Checking: every test reaches both.
    Covers: BREAK-REACH
    """
    every = {name for name in TREE if "/test_" in name}
    assert set(reaching_tests(graph, FOLDERS, ["models/shared.py"])) == every
    assert set(reaching_tests(graph, FOLDERS, ["models/plugged.py"])) == every


def test_reach_of_this_project_is_what_is_imported() -> None:
    """
    Stimulus: some test files of this project, each imported in a process of its own.
    Checking: whatever of the project is loaded then is reached; and the graph does leave tests out.
    Covers: BREAK-REACH
    """
    graph = build_graph(ROOT)
    program = (
        "import sys, importlib; importlib.import_module(sys.argv[1]);"
        "print(*[m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)], sep='\\n')"
    )
    for name in ("models/tests/test_hmm_tests.py", "tb/tests/test_races.py", "sim/tests/test_regression_command.py"):
        module = ".".join(Path(name).with_suffix("").parts)
        done = subprocess.run(
            [sys.executable, "-c", program, module], cwd=ROOT, capture_output=True, text=True, check=True
        )
        own = {line for line in done.stdout.splitlines() if Path(line).is_relative_to(ROOT)}
        loaded = {Path(line).relative_to(ROOT).as_posix() for line in own if ".venv" not in line}
        assert len(loaded) > 10
        assert loaded <= distances(graph, name).keys()
    reaching = reaching_tests(graph, FOLDERS, ["models/hmm/fault.py"])
    assert "models/tests/test_hmm_faults.py" in reaching
    assert "tb/tests/test_directed.py" in reaching, "it runs the driver on the RTL"
    assert not {"models/tests/test_entries.py", "tb/tests/test_units.py"} & {*reaching}
