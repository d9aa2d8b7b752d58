# SPDX-License-Identifier: Apache-2.0
"""Writing files so that an interruption or a full disk loses nothing."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from models.errors import UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all; what was there stays until then. Errors: UserError."""
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        raise UserError(
            f"{path} cannot be written ({error.strerror}); name a file in a folder that you may write to."
        ) from error
