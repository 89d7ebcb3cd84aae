"""A bar on stderr while a large model is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def reading(model: str) -> Iterator[Callable[[int, int], None]]:
    """A listener for `read_network` that shows how many operators are read; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        task = display.add_task(f"reading {Path(model).name}", total=None, visible=False)

        def listen(done: int, whole: int) -> None:
            display.update(task, completed=done, total=whole, visible=True)

        yield listen
