"""A running search on stderr: what it tries, the best so far, the time; nothing where stderr is no terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberloom.mapper.objective import Objective


@contextmanager
def shown(mapper: str, objective: Objective) -> Iterator[Callable[[Any], None]]:
    """A listener for the news of a search, shown as one line that disappears in the end.

    Args:
        mapper: its name.
        objective: what it minimises.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        task = display.add_task(mapper, total=None)

        def listen(news: Any) -> None:
            share = getattr(news, "share", None)
            display.update(
                task,
                description=f"{mapper}: {_sentence(news, objective)}",
                total=1.0 if share is not None else None,
                completed=share or 0.0,
            )

        yield listen


def _sentence(news: Any, objective: Objective) -> str:
    parts = [str(getattr(news, "phase", "searching"))]
    evaluations = getattr(news, "evaluations", None)
    if evaluations:
        parts.append(f"{evaluations:,} tried")
    best, bound = getattr(news, "best", math.inf), getattr(news, "lower_bound", None)
    if best is not None and math.isfinite(best):
        parts.append(f"best {objective.name} {best:.6g}")
        if bound:
            parts.append(f"gap {(best - bound) / best:.1%}")
    return ", ".join(parts)
