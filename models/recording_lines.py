# SPDX-License-Identifier: Apache-2.0
"""The lines of a kernel recording: read one by one, plain or compressed, each checked before it is believed.

The format is described in models/data/kernel/README.md. Whatever does not fit ends in one UserError with file, line and
what to do.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from models.errors import UserError

LARGEST_ARRAY = 1 << 24
"""Pages of the largest array that is believed: 64 GiB of address space, 128 MiB of entries."""

WORD_LIMIT = 1 << 64
NO_LINE = 0


def exact_number(value: Any) -> Any:
    """Numbers above 2^53 are written as hexadecimal strings, because JSON readers may round them."""
    if isinstance(value, str) and value.startswith("0x"):
        return int(value, 16)
    return value


Number = Annotated[StrictInt, BeforeValidator(exact_number), Field(ge=0, lt=WORD_LIMIT)]
Pages = Annotated[StrictInt, Field(ge=1, le=LARGEST_ARRAY)]
FirstPage = Annotated[StrictInt, Field(ge=0, le=LARGEST_ARRAY)]
PfnRun = tuple[FirstPage, Pages, Number, StrictInt]
PageRun = tuple[FirstPage, Pages, str]


class RecordBase(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


Kind = TypeVar("Kind", bound=RecordBase)


def refuse(path: Path, line: int, what: str, action: str) -> NoReturn:
    place = f"{path}, line {line}," if line != NO_LINE else f"{path}"
    raise UserError(f"{place} {what}; {action}.") from None


def numbered_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, JSON object) of each line."""
    number = NO_LINE
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as stream:
            for number, line in enumerate(stream, start=1):
                yield number, _parsed(path, number, line)
    except EOFError:
        refuse(path, number + 1, "is cut: the compressed data end too early", "copy or record it again")
    except (gzip.BadGzipFile, zlib.error):
        refuse(path, number + 1, "is not readable as gzip data", "copy it again or give the plain .jsonl file")
    except OSError as error:
        refuse(path, NO_LINE, f"cannot be read ({error.strerror})", "give a file that exists and may be read")


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        if line.endswith(b"\n"):
            refuse(path, number, "is not JSON", "give a kernel recording, one JSON object a line")
        refuse(path, number, "is cut in the middle of the line", "copy or record it again")
    if not isinstance(record, dict):
        refuse(path, number, "is not a JSON object", "give a kernel recording, one JSON object a line")
    return record


def validated(kind: type[Kind], path: Path, line: int, record: dict[str, Any]) -> Kind:
    try:
        return kind.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            refuse(path, line, f'lacks the key "{key}"', "give a complete recording")
        refuse(path, line, f'has a bad "{key}" ({first["msg"]})', "give the file as it was recorded")
