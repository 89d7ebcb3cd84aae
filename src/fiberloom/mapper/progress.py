"""News of a running search, brought by a thread of its own so that a slow listener never slows the search."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

EVERY_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Progress:
    """Where a search stands.

    Attributes:
        searcher: its name.
        phase: ``preparing``, ``replaying`` (stored trials), ``searching`` or ``done``.
        evaluations, valid: mappings judged so far, and those that fit.
        seconds: spent searching, preparation apart.
        best: least objective so far, infinite before the first valid mapping.
        best_energy_pj, best_cycles: of that mapping, else NaN.
        share: of the budget that is spent, 0..1; None without a budget.
    """

    searcher: str
    phase: str
    evaluations: int
    valid: int
    seconds: float
    best: float
    best_energy_pj: float
    best_cycles: float
    share: float | None


class Reporter:
    """Passes the latest news to a listener, at most every `EVERY_SECONDS`; the last news always arrives.

    An exception of the listener ends the reports, not the search; it is raised when the reporter closes.
    """

    def __init__(self, listener: Callable[[Progress], None] | None) -> None:
        self._listener = listener
        self._latest: Progress | None = None
        self._closed = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._report, name="fiberloom-progress", daemon=True)

    def update(self, progress: Progress) -> None:
        """Replace the news; costs one assignment."""
        self._latest = progress

    def __enter__(self) -> Reporter:
        if self._listener is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._listener is not None:
            self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _report(self) -> None:
        said: Progress | None = None
        last = False
        while not last:
            last = self._closed.wait(EVERY_SECONDS)
            news = self._latest
            if news is not None and news is not said and self._listener is not None:
                said = news
                try:
                    self._listener(news)
                except BaseException as failure:
                    self._failure = failure  # carried to the thread that searches
                    return
