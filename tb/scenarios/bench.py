# SPDX-License-Identifier: Apache-2.0
"""The cases of the bench as a scenario, so that they are run, judged and told about like every other."""

from __future__ import annotations

from typing import Any

from tb.case import Case


def bench(seed: int, parameters: dict[str, Any]) -> Case:
    """One case of the bench: `case` (by default one that the seed chooses), `latency` L of memory, `bars`.

    Stimulus: a state of the device that a row of docs/performance.md speaks of, with as many requests as it needs.
    Checking: every answer, as always; with `bars` true also the figures, against the bars of the configuration.
    """
    # Those cases are put together with what this package has.
    from tb.bench.cases import build_bench_case

    return build_bench_case(seed, parameters)
