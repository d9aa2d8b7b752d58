# SPDX-License-Identifier: Apache-2.0
"""Where things are. Packages are run from the project's root and never installed."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
"""All output; ignored by git and removed by `make clean`."""
SIM_DATA = ROOT / "sim" / "data"
TEMPLATES = ROOT / "sim" / "templates"
