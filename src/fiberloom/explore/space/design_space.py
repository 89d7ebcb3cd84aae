"""Design spaces: parameters that may depend on one another, counted exactly, and every design with a number of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fiberloom.errors import Location, SpecError, nearest
from fiberloom.explore.space.parameter import Parameter, comparable
from fiberloom.input.expressions import evaluate, names_in

Point = tuple[int, ...]
"""A design: the index of the chosen value of every parameter; 0 where it does not have the parameter."""

_TRIES: Final = 20_000
"""Random designs that are tried before requirements are said to contradict each other."""


@dataclass(frozen=True)
class Requirement:
    """A condition that designs must fulfil, over values of parameters: ``rows * columns <= 4096``."""

    text: str
    where: Location | None = None

    def holds(self, values: Mapping[str, Any]) -> bool:
        return bool(evaluate(self.text, comparable(values), where=self.where))


class DesignSpace:
    """Designs as points.

    Points of a design that lacks a parameter have index 0 there, so that every design is one point (`canonical`) and the
    indices fit a plain vector of integers (`shape`), which is what most optimisers take.

    Args:
        parameters: conditions use those before them.
        requirements: what every design must fulfil; points that don't are in the space and counted, but not valid.

    Raises:
        SpecError: for names that stand twice, conditions that use what does not come before, and conditions that no
            combination of values fulfils or that can't be computed.
    """

    def __init__(self, parameters: Sequence[Parameter], requirements: Sequence[Requirement] = ()) -> None:
        self.parameters = tuple(parameters)
        self.requirements = tuple(requirements)
        self.index = {p.name: i for i, p in enumerate(self.parameters)}
        if len(self.index) < len(self.parameters):
            twice = next(p for i, p in enumerate(self.parameters) if self.index[p.name] != i)
            raise twice.error(f"two parameters are called '{twice.name}'", "give one of them another name")
        before: set[str] = set()
        for p in self.parameters:
            for name in sorted(p.used - before):
                raise p.error(f"'{p.name}' depends on '{name}', which does not stand before it", nearest(name, before))
            before.add(p.name)
        for requirement in self.requirements:
            for name in sorted(names_in(requirement.text) - before):
                raise SpecError(
                    f"'{requirement.text}' uses '{name}', which is no parameter",
                    where=requirement.where,
                    hint=nearest(name, before),
                )
        self._later_use = self._controllers()
        # whether later parameters depend on each
        self._steers = [any(i in later for later in self._later_use[i + 1 :]) for i in range(len(self.parameters))]
        self._counted: dict[tuple[int, tuple[int, ...]], int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return tuple(p.name for p in self.parameters)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of every parameter."""
        return tuple(len(p.values) for p in self.parameters)

    def size(self) -> int:
        """How many designs there are, those that don't meet the requirements included."""
        return self._count(0, ())

    def active(self, point: Sequence[int]) -> tuple[bool, ...]:
        """Which parameters a design has."""
        return tuple(self._walk(point)[1])

    def canonical(self, point: Sequence[int]) -> Point:
        """The same design with 0 where it lacks the parameter.

        Raises:
            SpecError: for another length, or an index that a parameter does not have.
        """
        self._check(point)
        return tuple(int(i) if on else 0 for i, on in zip(point, self._walk(point)[1], strict=True))

    def values(self, point: Sequence[int]) -> dict[str, Any]:
        """The values of a design by parameter; `otherwise` where it lacks one."""
        return self._walk(point)[0]

    def violated(self, point: Sequence[int]) -> tuple[Requirement, ...]:
        """The requirements that a design does not meet."""
        values = self.values(point)
        return tuple(r for r in self.requirements if not r.holds(values))

    def point(self, values: Mapping[str, Any]) -> Point:
        """The design with these values; parameters that are not named take their first value.

        Raises:
            SpecError: for a parameter or a value that there is not.
        """
        indices = [0] * len(self.parameters)
        for name, value in values.items():
            if name not in self.index:
                raise SpecError(f"the space has no parameter '{name}'", hint=nearest(name, self.names))
            p = self.parameters[self.index[name]]
            if value not in p.values:
                raise SpecError(f"'{name}' is never {value!r}", hint=nearest(str(value), map(str, p.values)))
            indices[self.index[name]] = p.values.index(value)
        return self.canonical(indices)

    def rank(self, point: Sequence[int]) -> int:
        """The number of a design, from 0 to `size()` - 1, in the order of the parameters' values."""
        self._check(point)
        rank = 0
        prefix: tuple[int, ...] = ()
        for i, on in enumerate(self._walk(point)[1]):
            chosen = int(point[i]) if on else 0
            if on and not self._steers[i]:
                rank += chosen * self._count(i + 1, (*prefix, 0))
            elif on:
                rank += sum(self._count(i + 1, (*prefix, lower)) for lower in range(chosen))
            prefix = (*prefix, chosen)
        return rank

    def unrank(self, rank: int) -> Point:
        """The design of a number.

        Raises:
            SpecError: for a number that no design has.
        """
        if not 0 <= rank < self.size():
            raise SpecError(f"there is no design {rank}", hint=f"they are numbered from 0 to {self.size() - 1}")
        prefix: tuple[int, ...] = ()
        values: dict[str, Any] = {}
        for i, p in enumerate(self.parameters):
            chosen, on = 0, not p.when or p.active(values)
            if on and not self._steers[i]:
                chosen, rank = divmod(rank, self._count(i + 1, (*prefix, 0)))
            elif on:
                for chosen in range(len(p.values)):
                    inside = self._count(i + 1, (*prefix, chosen))
                    if rank < inside:
                        break
                    rank -= inside
            values[p.name] = p.values[chosen] if on else p.otherwise
            prefix = (*prefix, chosen)
        return prefix

    def sample(self, rng: np.random.Generator, n: int) -> list[Point]:
        """`n` designs that meet the requirements, uniformly and independently.

        Raises:
            SpecError: when random designs hardly ever meet the requirements, with the one that fails most often.
        """
        size = self.size()
        found: list[Point] = []
        failed: dict[Requirement, int] = {}
        tries = 0
        while len(found) < n:
            point = self.unrank(_below(rng, size))
            violated = self.violated(point) if self.requirements else ()
            if not violated:
                found.append(point)
                tries = 0
                continue
            tries += 1
            for requirement in violated:
                failed[requirement] = failed.get(requirement, 0) + 1
            if tries >= _TRIES:
                raise self._contradiction(failed, f"none of {_TRIES:,} random designs", _TRIES)
        return found

    def refuse_empty(self) -> None:
        """Look for a design that meets the requirements: among all of a small space, among random ones of a large space.

        Raises:
            SpecError: when there is none, with the requirement that fails most often.
        """
        if not self.requirements:
            return
        if self.size() > _TRIES:
            self.sample(np.random.default_rng(0), 1)
            return
        failed: dict[Requirement, int] = {}
        for rank in range(self.size()):
            violated = self.violated(self.unrank(rank))
            if not violated:
                return
            for requirement in violated:
                failed[requirement] = failed.get(requirement, 0) + 1
        raise self._contradiction(failed, f"none of the {self.size():,} designs", self.size())

    def all(self) -> Iterator[Point]:
        """Every design that meets the requirements, by rank."""
        for rank in range(self.size()):
            point = self.unrank(rank)
            if not self.requirements or not self.violated(point):
                yield point

    def neighbour(self, rng: np.random.Generator, point: Point, *, step: int = 1) -> Point:
        """A design that differs in one parameter: by up to `step` values where they are ordered, by any else.

        The point itself where the space has one design, or none of many tries meets the requirements.
        """
        for _ in range(_TRIES // 100):
            choices = [i for i, on in enumerate(self.active(point)) if on and len(self.parameters[i].values) > 1]
            if not choices:
                return point
            i = choices[int(rng.integers(len(choices)))]
            n = len(self.parameters[i].values)
            if self.parameters[i].ordered:
                low, high = max(0, point[i] - step), min(n - 1, point[i] + step)
            else:
                low, high = 0, n - 1
            moved = int(rng.integers(low, high))
            moved += moved >= point[i]
            made = self.canonical((*point[:i], moved, *point[i + 1 :]))
            if not self.violated(made):
                return made
        return point

    def to_dict(self) -> dict[str, Any]:
        """Parameters and requirements as plain data."""
        return {
            "size": self.size(),
            "parameters": [
                {"name": p.name, "values": list(p.values), "ordered": p.ordered, "when": list(p.when)}
                for p in self.parameters
            ],
            "requires": [r.text for r in self.requirements],
        }

    def _check(self, point: Sequence[int]) -> None:
        if len(point) != len(self.parameters):
            raise SpecError(
                f"a design of {len(point)} numbers", hint=f"the space has {len(self.parameters)} parameters"
            )
        for i, p in zip(point, self.parameters, strict=True):
            if not 0 <= int(i) < len(p.values) or int(i) != i:
                raise SpecError(f"'{p.name}' has no value number {i}", hint=f"0 to {len(p.values) - 1}")

    def _active(self, i: int, prefix: Sequence[int]) -> bool:
        p = self.parameters[i]
        if not p.when:
            return True
        return p.active(self._walk(prefix)[0])

    def _walk(self, prefix: Sequence[int]) -> tuple[dict[str, Any], list[bool]]:
        """Values of the first parameters, and which of them the design has."""
        values: dict[str, Any] = {}
        on: list[bool] = []
        for i, p in zip(prefix, self.parameters, strict=False):
            here = not p.when or p.active(values)
            on.append(here)
            values[p.name] = p.values[i] if here else p.otherwise
        return values, on

    def _controllers(self) -> list[tuple[int, ...]]:
        """Per position: the parameters before it that conditions from there on look at, directly or through others."""
        needed: set[str] = set()
        found: list[tuple[int, ...]] = [()] * (len(self.parameters) + 1)
        for i in range(len(self.parameters) - 1, -1, -1):
            needed |= self.parameters[i].used
            closure = set(needed)
            for j in range(i - 1, -1, -1):
                if self.parameters[j].name in closure:
                    closure |= self.parameters[j].used
            found[i] = tuple(j for j in range(i) if self.parameters[j].name in closure)
        return found

    def _count(self, i: int, prefix: Sequence[int]) -> int:
        """Designs that begin with `prefix`, which fixes the first `i` parameters."""
        if i == len(self.parameters):
            return 1
        key = (i, tuple(prefix[j] for j in self._later_use[i]))
        known = self._counted.get(key)
        if known is None:
            p = self.parameters[i]
            if not self._active(i, prefix):
                known = self._count(i + 1, (*prefix, 0))
            elif self._steers[i]:
                known = sum(self._count(i + 1, (*prefix, chosen)) for chosen in range(len(p.values)))
            else:
                known = len(p.values) * self._count(i + 1, (*prefix, 0))
            self._counted[key] = known
        return known

    def _contradiction(self, failed: Mapping[Requirement, int], tried: str, tries: int) -> SpecError:
        worst = max(failed, key=lambda r: failed[r])
        return SpecError(
            f"{tried} meets the requirements; '{worst.text}' fails most often ({min(failed[worst], tries) / tries:.0%} of them)",
            where=worst.where,
            hint="relax it, or give the parameters values that meet it",
        )


def _below(rng: np.random.Generator, size: int) -> int:
    """A uniform integer below `size`, which may have any number of bits."""
    if size <= 1 << 62:
        return int(rng.integers(size))
    words = math.ceil(size.bit_length() / 32) + 1
    while True:  # reject the part of the last, incomplete stretch
        drawn = 0
        for word in rng.integers(1 << 32, size=words):
            drawn = drawn << 32 | int(word)
        stretch = (1 << 32 * words) // size * size
        if drawn < stretch:
            return drawn % size
