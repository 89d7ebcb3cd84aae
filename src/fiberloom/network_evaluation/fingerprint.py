"""What the answer of a mapping search depends on, as one hash: the same hash, the same answer."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from fiberloom import __version__

_SOURCES: Final = (
    "architecture/*.py",
    "architecture/components/*.py",
    "mapper/**/*.py",
    "mapping/*.py",
    "model/*.py",
    "network_evaluation/account.py",
    "network_evaluation/mapping_search.py",
    "workload/einsum.py",
    "workload/density/*.py",
)
"""Modules that numbers come from, relative to the package."""


@lru_cache(maxsize=8)
def source_hash(*more: str) -> str:
    """Hash of the model's and the mappers' source code, so that answers of another version are not taken for this one's.

    Args:
        more: patterns of other modules that numbers come from, relative to the package.
    """
    root = Path(__file__).parent.parent
    digest = hashlib.sha256(__version__.encode())
    for pattern in (*_SOURCES, *more):
        for file in sorted(root.glob(pattern)):
            digest.update(f"\n{file.relative_to(root).as_posix()}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def content_hash(content: Any) -> str:
    """Hash of anything that JSON can hold; dictionaries are compared without their order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(f"{source_hash()}\n{text}".encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Hash of a file's bytes; of its name where it can't be read (whoever needs it will say so)."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return f"unreadable: {path}"
    return digest.hexdigest()
