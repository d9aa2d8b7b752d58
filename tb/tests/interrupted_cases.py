# SPDX-License-Identifier: Apache-2.0
"""tb.run_cases in a process that is interrupted after a second, as by a person at the keyboard.

From another process: a thread of this one does not get its turn while the simulator's C++ runs.
"""

from __future__ import annotations

import os
import subprocess

from tb.run_cases import run_cases

__all__ = ["run_cases"]

subprocess.Popen(["sh", "-c", f"sleep 1; kill -INT {os.getpid()}"])
