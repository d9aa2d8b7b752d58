# SPDX-License-Identifier: Apache-2.0
"""Since when a device asks for a page, for drivers that let it ask again. Source: docs/host.md, "Policies"."""

from __future__ import annotations

from dataclasses import dataclass

from models.structures import Access

Wanted = tuple[int, int, Access]
"""PASID, page address and access."""


@dataclass
class _Asked:
    first: int
    last: int


class Patience:
    """The time of the first of the faults that follow each other for one page, each within `deadline` of the last."""

    def __init__(self, deadline: int) -> None:
        self._deadline = deadline
        self._asked: dict[Wanted, _Asked] = {}

    def end(self, wanted: Wanted, now: int) -> int:
        """When the patience with this page ends; it faulted now."""
        asked = self._asked.get(wanted)
        if asked is None or now - asked.last > self._deadline:
            asked = self._asked[wanted] = _Asked(now, now)
        asked.last = now
        return asked.first + self._deadline

    def forget(self, wanted: Wanted) -> None:
        """The page was served, or refused."""
        self._asked.pop(wanted, None)

    def unbound(self, pasid: int) -> None:
        """Nothing of this context is remembered."""
        self._asked = {wanted: asked for wanted, asked in self._asked.items() if wanted[0] != pasid}
