"""Answers on disk by the hash of what they depend on: written whole or not at all, believed only with their checksum.

A file holds the checksum of its second line in the first, and in the second a JSON object that repeats its own key. It is
written beside its place and renamed into it, so a reader sees all of it or nothing, also after ``kill -9``. What is damaged is
as good as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

_LAYOUT: Final = "layers-1"
"""Folder of this layout of files; another layout takes another folder."""


def default_folder() -> Path:
    """Where the platform keeps caches of users: ``$XDG_CACHE_HOME``, ``~/Library/Caches`` or ``%LOCALAPPDATA%``."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "fiberloom"


class ResultCache:
    """Answers by key in a folder. Nothing here raises: a cache that does not work is a warning and no cache.

    Attributes:
        folder: where answers are kept; None keeps none.
        warnings: what went wrong, once per kind.
        damaged: entries that were not believed.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = None if folder is None else folder / _LAYOUT
        self.warnings: list[str] = []
        self.damaged = 0
        self._writes = folder is not None

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer to `key`; None where there is none, or none that can be believed."""
        if self.folder is None:
            return None
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        checksum, _, payload = content.partition(b"\n")
        if checksum.decode("ascii", "replace") != hashlib.sha256(payload).hexdigest():
            self.damaged += 1
            return None
        try:
            entry = json.loads(payload)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or entry.get("key") != key or not isinstance(entry.get("answer"), dict):
            self.damaged += 1
            return None
        answer: dict[str, Any] = entry["answer"]
        return answer

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer; the first failure is a warning and ends the writing."""
        if not self._writes:
            return
        payload = json.dumps({"key": key, "answer": answer}, separators=(",", ":")).encode()
        path = self._path(key)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=f".{key[:12]}-", suffix=".part", dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
            os.replace(temporary, path)
        except OSError as error:
            self._writes = False
            self.warnings.append(
                f"results are not cached from here on: {error.strerror or error} ({path.parent}); "
                "the next run will compute them again"
            )
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
        except BaseException:  # Ctrl-C between two steps: nothing half-written stays
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            raise

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.json"
