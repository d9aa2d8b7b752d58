# SPDX-License-Identifier: Apache-2.0
"""Finds the shortest plan that still fails: delta debugging (Zeller's ddmin) over steps and requests, and everything
that can be made plainer. Knows no simulator: whoever calls says how a plan is run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Parameters = dict[str, Any]
Fails = Callable[[Parameters], Awaitable[bool]]
"""Whether a case with these parameters fails in the way that is looked for."""
PLAINER: tuple[Parameters, ...] = ({"plain_memory": True}, {"no_pauses": True}, {"no_holds": True})
"""What is tried in the end: each is kept if the case still fails."""


class OutOfRuns(Exception):
    """No run is left."""


@dataclass
class Shrinker:
    """Runs a case with fewer and fewer parts. `runs` counts; at most `most_runs`, then the shortest so far stands."""

    fails: Fails
    most_runs: int = 400
    runs: int = 0
    best: Parameters = field(default_factory=dict)

    async def shrink(self, parameters: Parameters, steps: Sequence[int], requests: Sequence[int]) -> Parameters:
        """The parameters of the shortest case that was found. The case with all `steps` and `requests` must fail."""
        self.best = {**parameters, "keep_steps": list(steps), "keep_requests": list(requests)}
        try:
            size = -1
            while size != self._size():
                size = self._size()
                await self._minimise("keep_requests")
                await self._minimise("keep_steps")
                # What is plainer may need less, too.
                for change in PLAINER:
                    if not change.items() <= self.best.items():
                        await self._try({**self.best, **change})
        except OutOfRuns:
            pass
        return self.best

    def _size(self) -> int:
        return len(self.best["keep_steps"]) + len(self.best["keep_requests"])

    async def _try(self, parameters: Parameters) -> bool:
        if self.runs >= self.most_runs:
            raise OutOfRuns
        self.runs += 1
        if await self.fails(parameters):
            self.best = parameters
            return True
        return False

    async def _minimise(self, name: str) -> None:
        """Drops parts of one list: halves, then quarters, and so on down to single ones, as long as it still fails."""
        pieces = 1
        while True:
            items: list[int] = self.best[name]
            pieces = min(pieces, len(items))
            if not pieces:
                return
            length = -(-len(items) // pieces)
            for start in range(0, len(items), length):
                rest = items[:start] + items[start + length :]
                if await self._try({**self.best, name: rest}):
                    pieces = max(pieces - 1, 1)
                    break
            else:
                if length == 1:
                    return
                pieces *= 2
