"""One choice of a design space: its name, its values, and when it is there at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

from fiberloom.errors import Location, SpecError
from fiberloom.input.expressions import Number, evaluate, names_in

ABSENT: Final = None
"""Value of a parameter that a design does not have and that names no `otherwise`."""

MOST_VALUES: Final = 100_000
"""Values of one parameter; a range with more is most likely a slip of the pen."""


@dataclass(frozen=True)
class Parameter:
    """A choice among values.

    Attributes:
        name: unique in its space; conditions and expressions use it.
        values: any plain values, each once. Those of a range rise.
        ordered: whether neighbours in `values` are alike (ranges, and rising lists of numbers).
        when: conditions over earlier parameters, all of which must hold; else a design does not have this parameter.
        otherwise: its value in expressions where a design does not have it; `ABSENT`: none.
        where: its place, for messages.
    """

    name: str
    values: tuple[Any, ...]
    ordered: bool = False
    when: tuple[str, ...] = ()
    otherwise: Any = ABSENT
    where: Location | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name.isidentifier() and not all(part for part in self.name.split(".")):
            raise self.error(f"'{self.name}' is no name of a parameter", "use letters, digits and underscores")
        if not self.values:
            raise self.error(f"'{self.name}' has no values", "give at least one")
        for i, value in enumerate(self.values):
            if value in self.values[:i]:
                raise self.error(f"'{self.name}' has the value {value!r} twice", "name every value once")

    def error(self, problem: str, hint: str) -> SpecError:
        return SpecError(problem, where=self.where, hint=hint)

    @cached_property
    def used(self) -> frozenset[str]:
        """Parameters that its conditions use."""
        return frozenset().union(*(names_in(text) for text in self.when))

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether a design with the earlier parameters' `values` has it.

        Raises:
            SpecError: for a condition that can't be computed.
        """
        used = tuple(comparable({name: values[name] for name in self.used if name in values}).items())
        return all(_holds(text, used, self.where) for text in self.when)


def comparable(values: Mapping[str, Any]) -> dict[str, Number | str]:
    """The numbers and texts among `values`: what expressions may use."""
    return {name: value for name, value in values.items() if isinstance(value, (int, float, str))}


@lru_cache(maxsize=65_536)
def _holds(text: str, scope: tuple[tuple[str, Number | str], ...], where: Location | None) -> bool:
    return bool(evaluate(text, dict(scope), where=where))


def linear(first: Number, last: Number, step: Number) -> tuple[Number, ...]:
    """`first`, `first + step`, … up to `last`.

    Raises:
        ValueError: unless the step is positive and the last value is not below the first, or for too many values.
    """
    if step <= 0 or last < first:
        raise ValueError("a range rises from its first to its last value by a positive step")
    count = math.floor((last - first) / step * (1 + 1e-12)) + 1
    if count > MOST_VALUES:
        raise ValueError(f"a range of {count:,} values is more than {MOST_VALUES:,}")
    return tuple(first + i * step for i in range(count))


def powers_of_two(first: int, last: int) -> tuple[int, ...]:
    """`first`, 2 `first`, 4 `first`, … up to `last`.

    Raises:
        ValueError: unless the first is positive and the last is not below it.
    """
    if first <= 0 or last < first:
        raise ValueError("a range of doublings rises from a positive first value")
    values = [first]
    while values[-1] * 2 <= last:
        values.append(values[-1] * 2)
    return tuple(values)
