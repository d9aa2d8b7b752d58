# SPDX-License-Identifier: Apache-2.0
"""Entry formats: the data that gives the 64 bits of a pfns array entry their meaning.

The formats of Linux HMM drivers and of the kernel itself are rows of models/data/formats.yaml, each with worked
vectors. Source: docs/interface.md, "Entry formats"; the kernel's tables are named in the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import UserError
from models.pages import NO_WINDOW, PageKind, Window
from models.structures import Reason, Refusal

FORMATS_FILE = Path(__file__).parent / "data" / "formats.yaml"
WORD_BITS = 64
WORD_MASK = (1 << WORD_BITS) - 1
LARGEST_PFN_SHIFT = 12

REFUSAL_WORDS: dict[Refusal, str] = {
    Refusal.VALID_ZERO: "the VALID mask is 0",
    Refusal.VALID_CONTAINS: "the VALID mask contains the WRITE, ATOMIC or DEVICE_PRIVATE mask",
    Refusal.PFN_OVERLAP: "the pfn field overlaps VALID, WRITE, ATOMIC, DEVICE_PRIVATE or the order field",
    Refusal.PFN_SHIFT: f"pfn_shift is above {LARGEST_PFN_SHIFT}",
    Refusal.FIELD_RANGE: "a field reaches past bit 63",
    Refusal.NONE_ALIAS: "the NONE value equals the ERROR or the SPECIAL value",
}


@dataclass(frozen=True)
class EntryFormat:
    """One entry format, as the format registers hold it (docs/interface.md, "Entry formats").

    Masks and values are 64-bit numbers; a mask of 0 never matches. `error`, `none` and `special` are masks, looked at
    only where `*_is_value` is false; `*_value` is compared with the whole entry where it is true. `pfn_shift` and
    `order_shift` are lowest bits; `order_width` 0 means that entries carry no order.
    Errors: UserError if a number does not fit into its register; whether the device takes the format is refusals().
    """

    name: str
    description: str = ""
    valid: int = 0
    write: int = 0
    error: int = 0
    none: int = 0
    special: int = 0
    device_private: int = 0
    atomic: int = 0
    error_value: int = 0
    none_value: int = 0
    special_value: int = 0
    error_is_value: bool = False
    none_is_value: bool = False
    special_is_value: bool = False
    pfn_shift: int = 0
    pfn_width: int = 0
    order_shift: int = 0
    order_width: int = 0

    def __post_init__(self) -> None:
        limits = {
            "valid": (self.valid, 64),
            "write": (self.write, 64),
            "error": (self.error, 64),
            "none": (self.none, 64),
            "special": (self.special, 64),
            "device_private": (self.device_private, 64),
            "atomic": (self.atomic, 64),
            "error_value": (self.error_value, 64),
            "none_value": (self.none_value, 64),
            "special_value": (self.special_value, 64),
            "pfn_shift": (self.pfn_shift, 6),
            "pfn_width": (self.pfn_width, 7),
            "order_shift": (self.order_shift, 6),
            "order_width": (self.order_width, 5),
        }
        for field, (value, bits) in limits.items():
            if not 0 <= value < 1 << bits:
                raise UserError(f"Give {field} of format {self.name} a number from 0 to 2^{bits} - 1.")

    @property
    def pfn_mask(self) -> int:
        """The bits of the entry that hold the pfn; what reaches past bit 63 is cut off."""
        return _field_mask(self.pfn_shift, self.pfn_width)

    @property
    def order_mask(self) -> int:
        """The bits of the entry that hold the order; what reaches past bit 63 is cut off."""
        return _field_mask(self.order_shift, self.order_width)


@dataclass(frozen=True)
class FormatVector:
    """A worked example of a format: what is encoded, the word, and what the device makes of the word.

    `kind`, `pfn`, `write`, `device_private`, `atomic`, `order` encode into `word` unless `decode_only`; `word` decodes,
    with `window`, into the kind `decodes_as` with the same properties and `reason`.
    """

    name: str
    word: int
    kind: PageKind
    decodes_as: PageKind
    pfn: int
    write: bool
    device_private: bool
    atomic: bool
    order: int
    window: Window
    reason: Reason
    decode_only: bool


KIND_REASONS: dict[PageKind, Reason] = {
    PageKind.NONE: Reason.NOT_PRESENT,
    PageKind.ERROR: Reason.POISON,
    PageKind.SPECIAL: Reason.SPECIAL,
    PageKind.VALID: Reason.NONE,
    PageKind.NOT_VALID: Reason.NOT_VALID,
}
"""The reason that each kind of entry alone gives."""


def _field_mask(shift: int, width: int) -> int:
    return (((1 << width) - 1) << shift) & WORD_MASK


def refusals(fmt: EntryFormat) -> Refusal:
    """Every reason why the device refuses `fmt` at enable, 0 if it takes it.

    Source: docs/interface.md, "Formats that are refused".
    """
    found = Refusal(0)
    flags = (fmt.write, fmt.atomic, fmt.device_private)
    if fmt.valid == 0:
        found |= Refusal.VALID_ZERO
    if any(mask and fmt.valid & mask == mask for mask in flags):
        found |= Refusal.VALID_CONTAINS
    if fmt.pfn_mask & (fmt.valid | fmt.write | fmt.atomic | fmt.device_private | fmt.order_mask):
        found |= Refusal.PFN_OVERLAP
    if fmt.pfn_shift > LARGEST_PFN_SHIFT:
        found |= Refusal.PFN_SHIFT
    if fmt.pfn_shift + fmt.pfn_width > WORD_BITS or fmt.order_shift + fmt.order_width > WORD_BITS:
        found |= Refusal.FIELD_RANGE
    others = []
    if fmt.error_is_value:
        others.append(fmt.error_value)
    if fmt.special_is_value:
        others.append(fmt.special_value)
    if fmt.none_is_value and fmt.none_value in others:
        found |= Refusal.NONE_ALIAS
    return found


def require_consistent(fmt: EntryFormat) -> EntryFormat:
    """`fmt` itself, if the device takes it. Errors: UserError that names every refusal in words."""
    found = refusals(fmt)
    if found:
        words = "; ".join(text for refusal, text in REFUSAL_WORDS.items() if refusal in found)
        raise UserError(f"Correct the entry format {fmt.name}, the device refuses it: {words}.")
    return fmt


Word = Annotated[int, Field(ge=0, le=WORD_MASK, strict=True)]


class _Text(BaseModel):
    """What the YAML text of formats has in common: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnyText = TypeVar("AnyText", bound=_Text)


class _MarkText(_Text):
    flag: Word | None = None
    value: Word | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> _MarkText:
        if (self.flag is None) == (self.value is None):
            raise ValueError("must have either a flag or a value")
        return self


class _VectorText(_Text):
    name: str
    word: Word
    kind: Literal["VALID", "NONE", "ERROR", "SPECIAL", "NOT_VALID"]
    decodes_as: Literal["VALID", "NONE", "ERROR", "SPECIAL", "NOT_VALID"] | None = None
    reason: Literal["NOT_VALID", "MALFORMED"] | None = None
    pfn: Word = 0
    write: bool = False
    device_private: bool = False
    atomic: bool = False
    order: Annotated[int, Field(ge=0, le=255, strict=True)] = 0
    window: tuple[Word, Word] | None = None
    decode_only: bool = False

    def vector(self) -> FormatVector:
        decodes_as = PageKind[self.decodes_as or self.kind]
        return FormatVector(
            name=self.name,
            word=self.word,
            kind=PageKind[self.kind],
            decodes_as=decodes_as,
            pfn=self.pfn,
            write=self.write,
            device_private=self.device_private,
            atomic=self.atomic,
            order=self.order,
            window=Window(*self.window) if self.window else NO_WINDOW,
            reason=Reason[self.reason] if self.reason else KIND_REASONS[decodes_as],
            decode_only=self.decode_only,
        )


class _FormatText(_Text):
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    description: str = ""
    valid: Word
    write: Word = 0
    error: _MarkText = _MarkText(flag=0)
    none: _MarkText = _MarkText(flag=0)
    special: _MarkText = _MarkText(flag=0)
    device_private: Word = 0
    atomic: Word = 0
    pfn_shift: Annotated[int, Field(ge=0, le=63, strict=True)]
    pfn_width: Annotated[int, Field(ge=1, le=64, strict=True)]
    order_shift: Annotated[int, Field(ge=0, le=63, strict=True)] = 0
    order_width: Annotated[int, Field(ge=0, le=31, strict=True)] = 0
    vectors: tuple[_VectorText, ...] = ()

    def entry_format(self) -> EntryFormat:
        return EntryFormat(
            name=self.name,
            description=self.description,
            valid=self.valid,
            write=self.write,
            error=self.error.flag or 0,
            none=self.none.flag or 0,
            special=self.special.flag or 0,
            device_private=self.device_private,
            atomic=self.atomic,
            error_value=self.error.value or 0,
            none_value=self.none.value or 0,
            special_value=self.special.value or 0,
            error_is_value=self.error.value is not None,
            none_is_value=self.none.value is not None,
            special_is_value=self.special.value is not None,
            pfn_shift=self.pfn_shift,
            pfn_width=self.pfn_width,
            order_shift=self.order_shift,
            order_width=self.order_width,
        )


class _FileText(_Text):
    formats: tuple[_FormatText, ...]

    @model_validator(mode="after")
    def _names_differ(self) -> _FileText:
        names = [text.name for text in self.formats]
        if len(set(names)) != len(names):
            raise ValueError("must not name two formats alike")
        return self


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Give a format file that can be read: {path}: {error.strerror}.") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise UserError(f"Correct the format file {path}{line}: it is not YAML text.") from None


def _checked(kind: type[AnyText], content: Any, path: Path) -> AnyText:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"Correct {where or 'the file'} in {path}: {message}.") from None


@cache
def _load_file(path: Path) -> _FileText:
    return _checked(_FileText, _read_yaml(path), path)


def load_formats(path: Path | str | None = None) -> dict[str, EntryFormat]:
    """All formats of a file (default: those that come with the project) by name, in the file's order.

    Errors: UserError that names the file and the field, if the file cannot be read or says something it must not.
    """
    content = _load_file(Path(path) if path is not None else FORMATS_FILE)
    return {text.name: text.entry_format() for text in content.formats}


def load_vectors(path: Path | str | None = None) -> dict[str, tuple[FormatVector, ...]]:
    """The worked vectors of every format of a file, by format name. Errors: as load_formats."""
    content = _load_file(Path(path) if path is not None else FORMATS_FILE)
    return {text.name: tuple(vector.vector() for vector in text.vectors) for text in content.formats}


def load_format_file(path: Path | str) -> EntryFormat:
    """The format of a file that holds one format (the keys of one row of models/data/formats.yaml).

    Errors: UserError that names the file and the field. Whether the device takes the format is require_consistent().
    """
    return _checked(_FormatText, _read_yaml(Path(path)), Path(path)).entry_format()


def format_by_name(name: str) -> EntryFormat:
    """The format of that name that comes with the project. Errors: UserError that lists the known names."""
    formats = load_formats()
    if name not in formats:
        raise UserError(f"Choose a known entry format: {name} is not one of {', '.join(formats)}.")
    return formats[name]
