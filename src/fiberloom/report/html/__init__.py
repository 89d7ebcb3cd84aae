"""The report of a network as one HTML file that needs nothing else: no server, no network, no installed fonts.

>>> from fiberloom.report.html import write_report
>>> write_report(result.to_dict(), "resnet50.html")  # doctest: +SKIP
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fiberloom.errors import SpecError
from fiberloom.report.html.content import content
from fiberloom.report.html.page import page

__all__ = ["generator", "render", "write_page", "write_report"]


def render(result: Mapping[str, Any]) -> str:
    """The report as text.

    Args:
        result: what `NetworkResult.to_dict` returns.

    Raises:
        SpecError: if it is something else.
    """
    return page(content(result), generator())


def write_report(result: Mapping[str, Any], path: str | Path) -> None:
    """Write the report; a file that is there is replaced at once, or kept as it is when anything fails.

    Args:
        result: what `NetworkResult.to_dict` returns.
        path: of the HTML file.

    Raises:
        SpecError: if `result` is something else, or the file can't be written.
    """
    write_page(render(result), path)


def write_page(text: str, path: str | Path) -> None:
    """Write a page; a file that is there is replaced at once, or kept as it is when anything fails.

    Raises:
        SpecError: if the file can't be written.
    """
    target = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", suffix=".part", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_mode(target))
        temporary.replace(target)
    except OSError as error:
        raise SpecError(f"{target} can't be written: {error.strerror or error}", hint="choose another place") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _mode(target: Path) -> int:
    """That of the file which is replaced, or what a new file would get (temporary files are private)."""
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def generator() -> str:
    """What made a page, for its foot."""
    try:
        return f"fiberloom {version('fiberloom')}"
    except PackageNotFoundError:
        return "fiberloom"
