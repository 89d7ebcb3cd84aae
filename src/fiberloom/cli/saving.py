"""Files that commands write: refused before a long search, not after it."""

from __future__ import annotations

import os
from pathlib import Path

from fiberloom.errors import FiberloomError


def refuse_unwritable(path: Path | None) -> None:
    """Raise unless `path` can be written, as far as its folder tells.

    Raises:
        FiberloomError: naming the path and what stands in the way.
    """
    if path is None:
        return
    if path.is_dir():
        raise _cannot(path, "it is a folder", "give the name of a file")
    folder = path.parent
    if not folder.is_dir():
        raise _cannot(path, f"there is no folder {folder}", "give a file in a folder that exists")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise _cannot(path, "permission denied", "give a file in a folder of yours")


def make_folder(path: Path) -> None:
    """Make the folder `path` unless it is there.

    Raises:
        FiberloomError: when it can't be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise _cannot(path, "it is a file", "give the name of a folder") from None
    except OSError as error:
        raise _cannot(path, error.strerror or "", "give a folder that can be made") from None
    if not os.access(path, os.W_OK):
        raise _cannot(path, "permission denied", "give a folder of yours")


def save(path: Path, text: str) -> None:
    """Write `text` to `path`.

    Raises:
        FiberloomError: when the system refuses.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot(path, error.strerror or "", "give a file in a folder that exists") from None


def _cannot(path: Path, why: str, hint: str) -> FiberloomError:
    return FiberloomError(f"can't write {path}: {why}", hint=hint)
