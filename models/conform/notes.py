# SPDX-License-Identifier: Apache-2.0
"""Notes on pages in a recording: what the CPU's page table does not say of them.

Source: models/data/kernel/README.md, "req", `pages`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from models.hmm.page_table import EntryKind


class InexpressibleError(Exception):
    """A record says what the model has no word for."""


UNMAPPED = ("unmapped", "none", "hole", "cache", "shmem_swap", "eof")
"""First words where nothing is mapped."""
MAPPED = ("anon", "ksm", "file", "zero", "huge_zero", "pfn", "reserved")
"""First words where something is mapped."""
AWAY = {
    "swap": EntryKind.SWAP,
    "device": EntryKind.DEVICE_PRIVATE,
    "exclusive": EntryKind.EXCLUSIVE,
    "migration": EntryKind.MIGRATION,
    "hwpoison_entry": EntryKind.HWPOISON,
    "other": EntryKind.UNKNOWN,
}
"""First words of entries that are neither empty nor present, and what these are."""
WORDS = frozenset(
    ("own", "foreign", "w", "hugetlb", "thp", "x", "!lru", "dirty", "!uptodate", "writeback", "swapcache", "hwpoison")
)
"""Further words."""
MARKER = "marker"


@dataclass(frozen=True)
class Note:
    """One note, taken apart. `first`: its first word; `words`: those behind it without a number.

    `marker`: a marker of userfaultfd lies in the entry. `maps`: how many page tables map the page. `references`:
    given only where it may decide something.
    """

    first: str
    words: frozenset[str]
    marker: bool
    maps: int | None
    references: int | None

    @property
    def kind(self) -> EntryKind | None:
        """What the entry is if it is neither empty nor present."""
        return AWAY.get(self.first)

    @property
    def alone(self) -> bool:
        """Whether the page is known to be this process's alone."""
        return "x" in self.words

    @property
    def foreign(self) -> bool:
        """Whether the page is in the memory of another device than the recording module's."""
        return "foreign" in self.words


@cache
def parse_note(text: str) -> Note:
    """A note from its text. Errors: InexpressibleError if it has a word that is not known."""
    words = text.split()
    marker = words[:1] == [MARKER]
    if marker:
        words = words[1:] or ["none"]
    if not words or words[0] not in (*UNMAPPED, *MAPPED, *AWAY):
        raise InexpressibleError(f'the note "{text}" on a page begins with no word that is known')
    numbers: dict[str, int] = {}
    further: set[str] = set()
    for word in words[1:]:
        number = re.fullmatch(r"([mr])=(\d+)", word)
        if number is not None:
            numbers[number[1]] = int(number[2])
        elif word in WORDS:
            further.add(word)
        else:
            raise InexpressibleError(f'the note "{text}" on a page has the unknown word "{word}"')
    return Note(words[0], frozenset(further), marker, numbers.get("m"), numbers.get("r"))
