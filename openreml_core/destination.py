"""Where a fit is saved: a path or an open binary file, looked at before the work and named in messages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from openreml_core.errors import DataError


def name_of(path: Any) -> str:
    """How messages call a file: its path, or "The file" where it is an open one."""
    return str(path) if isinstance(path, str | os.PathLike) else "The file"


def check_target(path: Any) -> None:
    """Refuse a path to which nothing can be written, before time is spent on what is to be written.

    Raises
    ------
    DataError
        It is no path, its folder is missing, it is a folder itself, or it is write-protected.
    """
    if hasattr(path, "write"):
        return
    if not isinstance(path, str | os.PathLike) or not str(path).strip():
        raise DataError(f"A fit cannot be saved to {path!r}.", hint="Give the path of a file, such as 'trial.fit'.")
    target = Path(path)
    try:
        if target.is_dir():
            raise DataError(
                f"The fit cannot be saved to {name_of(path)}: it is a folder.", hint="Add the name of a file."
            )
        if not target.parent.is_dir():
            raise DataError(
                f"The fit cannot be saved to {name_of(path)}: there is no folder {target.parent}.",
                hint="Make the folder, or choose another one.",
            )
        allowed = os.access(target if target.exists() else target.parent, os.W_OK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"The fit cannot be saved to {path!r}: {reason}.", hint="Choose another path.") from None
    if not allowed:
        raise DataError(
            f"The fit cannot be saved to {name_of(path)}: writing is not permitted.", hint="Choose another folder."
        )


def put(path: Any, content: bytes) -> None:
    """Write a whole file.

    Raises
    ------
    DataError
        When it cannot be written.
    """
    try:
        if hasattr(path, "write"):
            path.write(content)
        else:
            Path(path).write_bytes(content)
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"The fit cannot be saved to {name_of(path)}: {reason}.", hint="Choose another path.") from None
