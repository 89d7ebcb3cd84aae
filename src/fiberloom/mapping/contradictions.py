"""Contradictions among the constraints of a map space that show without factorising anything."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NoReturn

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import Location, SpecError, nearest
from fiberloom.workload.einsum import Einsum

if TYPE_CHECKING:
    from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints

_PLACE = re.compile(r"(?:(?P<file>.*):|line )(?P<line>\d+)")

_LARGEST = 10**10  # bounds above it are not factorised here: that would take noticeable time


def refuse_contradictions(
    constraints: Constraints, workload: Einsum, architecture: Architecture, partial: Collection[str] = ()
) -> None:
    """Raise for the first name that is unknown and the first constraints that no mapping can meet.

    Factors of the variables `partial` need not divide their bounds; whether they cover them is not checked here.

    Raises:
        SpecError: with the place from `Constraints.where`, and what would be right.
    """
    check = _Check(constraints, workload, architecture, partial)
    for name, level in constraints.levels.items():
        if name not in check.levels:
            check.refuse(name, f"constraints for '{name}', which is not a storage level", nearest(name, check.levels))
        check.keeps(name, level)
        check.loops(f"{name}.temporal", level.temporal)
        if level.temporal.x is not None or level.temporal.y is not None:
            check.refuse(f"{name}.temporal.x", "axes of temporal loops", "'x' and 'y' are for spatial loops")
        if level.temporal.most_fanout is not None or level.temporal.least_fanout is not None:
            check.refuse(f"{name}.temporal.least_fanout", "a fan-out of temporal loops", "it is for spatial loops")
        check.loops(f"{name}.spatial", level.spatial)
        check.fanout(name, level.spatial)
    check.kept_somewhere()
    for variable, bound in workload.shape.items():
        check.products(variable, bound)


class _Check:
    def __init__(
        self, constraints: Constraints, workload: Einsum, architecture: Architecture, partial: Collection[str]
    ) -> None:
        self.constraints = constraints
        self.partial = partial
        self.shape = workload.shape
        self.architecture = architecture
        self.tensors = [t.name for t in workload.tensors]
        self.levels = [level.name for level in architecture.levels]

    def refuse(self, path: str, problem: str, hint: str) -> NoReturn:
        """Raise at the place of `path`, of something in it, or of the nearest thing around it."""
        place, around = None, path
        while place is None and around:
            inside = (at for key, at in self.constraints.where.items() if key.startswith(f"{around}."))
            place = self.constraints.where.get(around) or next(inside, None)
            around = around.rpartition(".")[0]
        match = _PLACE.fullmatch(place or "")
        where = Location(match["file"], int(match["line"]), path) if match else Location(place, None, path)
        raise SpecError(problem, where=where, hint=hint)

    def keeps(self, name: str, level: LevelConstraints) -> None:
        lists = {"keep": level.keep, "bypass": level.bypass, "free": level.free}
        for key, tensors in {**lists, "multicast": level.multicast, "peer_links": level.peer_links}.items():
            for tensor in tensors:
                if tensor not in self.tensors:
                    self.refuse(f"{name}.{key}", f"'{tensor}' is not a tensor", nearest(tensor, self.tensors))
        seen: dict[str, str] = {}
        for key, tensors in lists.items():
            for tensor in tensors:
                other = seen.setdefault(tensor, key)
                if other != key:
                    self.refuse(f"{name}.{key}", f"'{tensor}' is both in '{other}' and in '{key}'", "list it once")

    def loops(self, path: str, loops: LoopConstraints) -> None:
        for key, factors in (("factors", loops.factors), ("at_least", loops.at_least), ("at_most", loops.at_most)):
            for variable, factor in factors.items():
                self.known(f"{path}.{key}.{variable}", (variable,))
                if factor < 1:
                    self.refuse(f"{path}.{key}.{variable}", f"{variable}={factor}", "factors are whole numbers from 1")
        for key, names in (
            ("remaining", loops.remaining),
            ("inner", loops.inner),
            ("outer", loops.outer),
            ("x", loops.x or ()),
            ("y", loops.y or ()),
        ):
            self.known(f"{path}.{key}", names)
            if len(set(names)) < len(names):
                twice = next(n for n in names if names.count(n) > 1)
                self.refuse(f"{path}.{key}", f"'{twice}' stands twice", "list each variable once")
        if both := set(loops.inner) & set(loops.outer):
            self.refuse(f"{path}.outer", f"'{min(both)}' stands both innermost and outermost", "list it once")
        for variable in loops.remaining:
            if variable in loops.factors:
                self.refuse(
                    f"{path}.factors.{variable}",
                    f"'{variable}' has a factor and is in 'remaining'",
                    "keep one of the two",
                )
        for variable, bound in self.shape.items():
            self.limits(path, loops, variable, bound)

    def known(self, path: str, variables: Iterable[str]) -> None:
        for variable in variables:
            if variable not in self.shape:
                self.refuse(path, f"'{variable}' is not an iteration variable", nearest(variable, self.shape))

    def limits(self, path: str, loops: LoopConstraints, variable: str, bound: int) -> None:
        """One factor of one variable: a divisor of its bound between its limits."""
        least, most = loops.at_least.get(variable, 1), loops.at_most.get(variable, bound)
        if least > most:
            what = f"at most {most}" if variable in loops.at_most else f"its bound {bound}"
            self.refuse(f"{path}.at_least.{variable}", f"{variable} is at least {least}, but {what}", "lower it")
        factor = loops.factors.get(variable)
        if factor is None:
            between = least > 1 and most < bound <= _LARGEST and variable not in self.partial
            if between and not any(least <= divisor <= most for divisor in _divisors(bound)):
                self.refuse(
                    f"{path}.at_least.{variable}",
                    f"no divisor of {variable}'s bound {bound} is between {least} and {most}",
                    "factors divide the bound",
                )
            return
        if bound % factor and variable not in self.partial:
            listed = ", ".join(str(d) for d in _divisors(bound)[:16]) if bound <= _LARGEST else "1, …"
            self.refuse(
                f"{path}.factors.{variable}",
                f"{variable}={factor} does not divide the bound {bound}",
                f"divisors of {bound}: {listed}",
            )
        if not least <= factor <= most:
            key = "at_least" if factor < least else "at_most"
            limit = least if factor < least else most
            self.refuse(
                f"{path}.factors.{variable}",
                f"{variable}={factor}, but {key.replace('_', ' ')} {limit} in the same place",
                "keep one of the two",
            )

    def fanout(self, name: str, loops: LoopConstraints) -> None:
        """Spatial factors against the children that there are."""
        path = f"{name}.spatial"
        x, y = self.architecture.fanout(name)
        least = {v: loops.factors.get(v, loops.at_least.get(v, 1)) for v in self.shape}
        needed = math.prod(least.values())
        along_x = {v for v in self.shape if loops.x is None or v in loops.x}
        along_y = {v for v in self.shape if loops.y is None or v in loops.y}
        for variable, factor in least.items():
            if factor > 1 and variable not in along_x | along_y:
                self.refuse(
                    f"{path}.factors.{variable}",
                    f"{variable}={factor} may run along neither axis",
                    "list it in 'x' or 'y'",
                )
            key = "factors" if variable in loops.factors else "at_least"
            room = max(x if variable in along_x else 1, y if variable in along_y else 1)
            if factor > room:
                self.refuse(
                    f"{path}.{key}.{variable}",
                    f"{variable}={factor} does not fit the fan-out below '{name}', {x} x {y}",
                    f"at most {room} children stand along its axis",
                )
        for axis, room, only in (("x", x, along_x - along_y), ("y", y, along_y - along_x)):
            product = math.prod(least[v] for v in only)
            if product > room:
                self.refuse(
                    f"{path}.{axis}", f"factors along {axis.upper()} multiply to {product}", f"at most {room} fit"
                )
        if needed > x * y:
            self.refuse(f"{path}.factors", f"spatial factors multiply to {needed}", f"at most {x * y} fit: {x} x {y}")
        smallest, largest = loops.least_fanout or 1, min(loops.most_fanout or x * y, x * y)
        if smallest > largest:
            what = "at most" if loops.most_fanout == largest else "there are only"
            self.refuse(
                f"{path}.least_fanout", f"at least {smallest} children are to work, {what} {largest}", "lower it"
            )
        if needed > largest:
            self.refuse(f"{path}.most_fanout", f"spatial factors multiply to {needed}, at most {largest}", "raise it")

    def kept_somewhere(self) -> None:
        """Every tensor needs a level that holds it."""
        for tensor in self.tensors:
            if all(tensor in self.constraints.at(name).bypass for name in self.levels):
                self.refuse(
                    f"{self.levels[0]}.bypass",
                    f"'{tensor}' is bypassed at every level",
                    "keep it at one level at least",
                )

    def products(self, variable: str, bound: int) -> None:
        """All factors of one variable together multiply to its bound."""
        fixed = least = 1
        last, free, whole = "", False, ""
        for name in self.levels:
            spread = self.architecture.fanout(name) != (1, 1)
            level = self.constraints.at(name)
            for kind, loops in (("temporal", level.temporal), ("spatial", level.spatial)):
                path = f"{name}.{kind}"
                if variable in loops.remaining and bound > 1:
                    if whole:
                        self.refuse(
                            f"{path}.remaining",
                            f"'{variable}' is 'remaining' at {whole} too",
                            "one place can take the rest",
                        )
                    whole = path
                if variable in loops.factors:
                    fixed *= loops.factors[variable]
                    last = f"{path}.factors.{variable}"
                    if bound % fixed and variable not in self.partial:
                        self.refuse(
                            last,
                            f"the factors of '{variable}' multiply to {fixed}, which does not divide its bound {bound}",
                            f"the product over all levels is {bound}",
                        )
                else:
                    least *= loops.at_least.get(variable, 1)
                    free |= kind == "temporal" or spread
        if variable in self.partial:
            return
        if not free and fixed != bound:
            self.refuse(
                last,
                f"all factors of '{variable}' are fixed and multiply to {fixed}, but its bound is {bound}",
                f"leave one free; {bound // fixed} is missing",
            )
        if fixed * least > bound:
            at = next(
                f"{name}.{kind}.at_least.{variable}"
                for name in self.levels
                for kind in ("temporal", "spatial")
                if variable in getattr(self.constraints.at(name), kind).at_least
            )
            self.refuse(
                at,
                f"the least factors of '{variable}' multiply to {fixed * least}, above its bound {bound}",
                "lower one",
            )


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})
