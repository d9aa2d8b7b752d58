# SPDX-License-Identifier: Apache-2.0
"""Relations between pfns: which page of the model is which page of the recording.

A page that was there before has its recorded pfn in the model too. A page that the model makes has a number of its own,
and stands for one recorded page wherever it is seen; two pages never stand for the same one at the same moment.
Source: docs/conformance.md, "Pages".
"""

from __future__ import annotations

import numpy as np

from models.arrays import Words


class PfnRelation:
    """The relation of one record. Pages from `first_new` to `end_new` - 1 are the model's own."""

    def __init__(self, first_new: int, end_new: int) -> None:
        self._first_new = np.uint64(first_new)
        self._end_new = np.uint64(end_new)
        self._recorded_of: dict[int, int] = {}

    def mismatch(self, model: Words, recorded: Words, align: Words) -> int | None:
        """The first place where uint64[n] pfns seen at one moment do not agree, None if there is none.

        `align`: uint64[n], low bits in which a page of the model and its recorded one must be equal: those inside a
        huge page.
        """
        new = (model >= self._first_new) & (model < self._end_new)
        bad = ~new & (model != recorded)
        bad |= new & (((model ^ recorded) & align) != 0)
        places = np.flatnonzero(new)
        for place in places:
            own, theirs = int(model[place]), int(recorded[place])
            if self._recorded_of.setdefault(own, theirs) != theirs:
                bad[place] = True
        if places.size:
            # At one moment different pages are different pages.
            pairs = np.unique(np.stack([model, recorded], axis=1), axis=0)
            values, counts = np.unique(pairs[:, 1], return_counts=True)
            bad |= new & np.isin(recorded, values[counts > 1])
        found = np.flatnonzero(bad)
        return int(found[0]) if found.size else None
