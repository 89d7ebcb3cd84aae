"""One line of the validation table: a published figure beside ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """A published figure, ours, and how far apart they may be.

    Attributes:
        experiment: name of the experiment (see `fiberloom.validate.EXPERIMENTS`).
        point: workload, densities or layer of this figure.
        quantity: what is compared, with its unit.
        published: the figure as published.
        ours: what fiberloom computes.
        allowed: largest error allowed, as a share of the published figure; argued in docs/validation.md.
        source: publication and figure.
        rules: rule set that `ours` was computed under.
        note: what a reader should know of this line.
    """

    experiment: str
    point: str
    quantity: str
    published: float
    ours: float
    allowed: float
    source: str
    rules: str = "fiberloom"
    note: str = ""

    @property
    def error(self) -> float:
        """Signed error as a share of the published figure."""
        if self.published == 0:
            return 0.0 if self.ours == 0 else float("inf")
        return self.ours / self.published - 1.0

    @property
    def passed(self) -> bool:
        """Whether the error is within what is allowed."""
        # A hair of room, so that an error of exactly the allowed size is not failed by rounding.
        return abs(self.error) <= self.allowed + 1e-12

    def to_dict(self) -> dict[str, Any]:
        """All fields, with `error` and `passed`, as plain values."""
        return {
            "experiment": self.experiment,
            "point": self.point,
            "quantity": self.quantity,
            "published": self.published,
            "ours": self.ours,
            "error": self.error,
            "allowed": self.allowed,
            "passed": self.passed,
            "rules": self.rules,
            "source": self.source,
            "note": self.note,
        }
