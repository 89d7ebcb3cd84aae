"""A running search on stderr: what it tries, the best so far, the time; nothing where stderr is no terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from fiberloom.cli.failure import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from fiberloom.mapper.objective import Objective
    from fiberloom.mapper.progress import Progress


@contextmanager
def shown(mapper: str, objective: Objective) -> Iterator[Callable[[Any], None]]:
    """A listener for the news of a search (of the driver, or of the exact mapper), shown as one line that disappears in the end.

    Args:
        mapper: its name.
        objective: what it minimises.
    """
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Display

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    console = Console(stderr=True)
    with Display(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        task = display.add_task(mapper, total=None)

        def listen(news: Any) -> None:
            share = None if isinstance(news, dict) else news.share
            said = _exact(news) if isinstance(news, dict) else _sampled(news)
            best = news.get("best", math.inf) if isinstance(news, dict) else news.best
            if math.isfinite(best):
                said += f", best {objective.name} {best:.6g}"
            display.update(
                task,
                description=f"{mapper}: {said}",
                total=1.0 if share is not None else None,
                completed=share or 0.0,
            )

        yield listen


@contextmanager
def stopped_empty_handed(before: str) -> Iterator[None]:
    """Turn Ctrl-C into a sentence and its exit code, where a search had nothing to show yet.

    Args:
        before: what would have been worth showing.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted before {before}", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _sampled(news: Progress) -> str:
    return f"{news.phase}, {news.evaluations:,} tried, {news.valid:,} valid"


def _exact(news: dict[str, Any]) -> str:
    beam = f"beam of {news['beam']:,}" if news.get("beam") else "proof"
    return f"{beam}, step {news.get('depth', 0) + 1} of {news.get('depths', '?')}, {news.get('labels', 0):,} labels"
