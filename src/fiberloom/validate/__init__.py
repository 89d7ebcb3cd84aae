"""Published figures beside ours, with the error allowed and the reason (docs/validation.md).

One module per experiment; each has ``NAME`` and ``run()``, which returns one `Comparison` per figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fiberloom.errors import SpecError, nearest
from fiberloom.validate import dstc, eyeriss_compression, eyeriss_v2, format_crossover, stc, tensor_cores
from fiberloom.validate.comparison import Comparison

__all__ = ["EXPERIMENTS", "Comparison", "run"]

EXPERIMENTS: dict[str, Callable[[], list[Comparison]]] = {
    module.NAME: module.run for module in (stc, dstc, eyeriss_v2, eyeriss_compression, format_crossover, tensor_cores)
}
"""Experiments by name, quickest first."""


def run(names: Iterable[str] | None = None) -> list[Comparison]:
    """Run experiments and compare with what was published.

    Args:
        names: experiments to run, out of `EXPERIMENTS`; None runs all.

    Raises:
        SpecError: for a name that no experiment has.
    """
    chosen = list(EXPERIMENTS) if names is None else list(names)
    for name in chosen:
        if name not in EXPERIMENTS:
            raise SpecError(f"no experiment '{name}'", hint=nearest(name, EXPERIMENTS))
    return [comparison for name in chosen for comparison in EXPERIMENTS[name]()]
