"""What the hardware and the constraints leave open: factors per slot, axes and keeps. Contradictions are named here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.sparse import SafKind
from fiberloom.errors import Location, SpecError
from fiberloom.mapping.constraints import Constraints, LoopConstraints
from fiberloom.mapping.coverings import Coverings
from fiberloom.mapping.factorizations import Array, Factorizations, divisors
from fiberloom.mapping.spreads import spreads
from fiberloom.workload.density.hierarchical import is_hierarchical, parse_hierarchy
from fiberloom.workload.einsum import Einsum


@dataclass(frozen=True)
class Fold:
    """Lanes of a level that spatial skipping of structured zeros saves.

    Attributes:
        tensor: whose zeros are left out.
        kept: share of its points that take a lane.
    """

    tensor: str
    kept: Fraction

    @property
    def places(self) -> int:
        """Points per lane, rounded up."""
        return math.ceil(1 / self.kept)


@dataclass(frozen=True)
class Allowed:
    """Choices of a map space; levels count from the innermost.

    Attributes:
        fan: ``(L, 2)`` children along X and Y below each level.
        lanes: ``(L, 2)`` most that the spatial factors along X and Y may multiply to: the fan-out, and as many times that as
            spatial skipping of structured zeros may fold onto it.
        folds: per level, what lets it be as many times that.
        most, least: ``(L,)`` limits of the product of all spatial factors of a level.
        may_x, may_y: ``(L,)`` bit sets of the variables that may run along X, along Y.
        slots: ``(level, is_spatial)`` of every place for a loop, from inside out.
        factorizations: per variable, over `slots`.
        fixed_keep, free_keep: ``(L, T)`` bool.
        multicast, peer_links: ``(L, T)`` bool.
    """

    fan: Array
    lanes: Array
    folds: tuple[Fold | None, ...]
    most: Array
    least: Array
    may_x: Array
    may_y: Array
    slots: tuple[tuple[int, bool], ...]
    factorizations: tuple[Factorizations, ...]
    fixed_keep: Array
    free_keep: Array
    multicast: Array
    peer_links: Array


def allowed(
    workload: Einsum, architecture: Architecture, constraints: Constraints, partial: Collection[str] = ()
) -> Allowed:
    """Choices that hardware and constraints leave.

    Args:
        partial: variables whose last tiles may be partial.

    Raises:
        SpecError: for constraints that contradict each other, the workload or the hardware; it names them.
    """
    return _Reading(workload, architecture, constraints, partial).read()


_NO_LIMIT = 2**62  # more lanes than any loop has iterations (workloads stay below it)


class _Reading:
    def __init__(
        self, workload: Einsum, architecture: Architecture, constraints: Constraints, partial: Collection[str]
    ) -> None:
        self.workload, self.architecture, self.constraints = workload, architecture, constraints
        self.partial = partial
        self.levels = tuple(reversed(architecture.levels))
        self.names = [level.name for level in self.levels]
        self.variables = list(workload.shape)
        self.tensors = [t.name for t in workload.tensors]

    def read(self) -> Allowed:
        self.constraints.check(self.workload, self.architecture, self.partial)
        fan = np.array([self.architecture.fanout(name) for name in self.names], np.int64)
        folds = tuple(self._fold(level) for level in range(len(self.names)))
        self.lanes = np.where(fan > 1, fan * np.array([[fold.places if fold else 1] for fold in folds]), fan)
        most = np.full(len(self.names), _NO_LIMIT, np.int64)
        least = np.ones(len(self.names), np.int64)
        for i, name in enumerate(self.names):
            spatial = self.constraints.at(name).spatial
            most[i] = spatial.most_fanout or _NO_LIMIT
            least[i] = spatial.least_fanout or 1
        self.most = most
        self.may = [self._axes(level) for level in range(len(self.names))]
        slots = tuple(
            slot for level in range(len(self.names)) for slot in ((level, False), (level, True))
            if not slot[1] or fan[level].prod() > 1
        )  # fmt: skip
        factorizations = tuple(self._factorizations(d, slots) for d in range(len(self.variables)))
        self._check_fanouts(slots, factorizations, least)
        fixed, free = self._keeps()
        multicast, peer_links = self._networks()
        return Allowed(
            fan, self.lanes, folds, most, least, np.array([x for x, _ in self.may], np.int64),
            np.array([y for _, y in self.may], np.int64), slots, factorizations, fixed, free, multicast, peer_links,
        )  # fmt: skip

    def _error(self, problem: str, path: str, hint: str) -> SpecError:
        return SpecError(problem, where=self._location(path), hint=hint)

    def _location(self, path: str) -> Location:
        place = self.constraints.where.get(path)
        if place is None:
            return Location(field=f"constraints.{path}")
        file, _, line = place.rpartition(":")
        return Location(file, int(line)) if file and line.isdigit() else Location(place)

    def _fold(self, level: int) -> Fold | None:
        """What spatial skipping at a level leaves out of N:M zeros."""
        leaders = {
            leader
            for entry in self.levels[level].optimizations
            if entry.kind is SafKind.SPATIAL_SKIPPING
            for option in entry.options
            for leader in option.leaders
        }
        kept = {leader: _structured_share(self.workload, leader) for leader in sorted(leaders)}
        least = min(kept, key=lambda name: kept[name], default=None)
        return None if least is None or kept[least] == 1 else Fold(least, kept[least])

    def _axes(self, level: int) -> tuple[int, int]:
        spatial = self.constraints.at(self.names[level]).spatial
        bits = []
        for axis, listed in enumerate((spatial.x, spatial.y)):
            open_ = self.lanes[level, axis] > 1
            bits.append(sum(1 << d for d, v in enumerate(self.variables) if open_ and (listed is None or v in listed)))
        return bits[0], bits[1]

    def _block(self, level: int, spatial: bool) -> LoopConstraints:
        at = self.constraints.at(self.names[level])
        return at.spatial if spatial else at.temporal

    def _limits(self, level: int, spatial: bool, d: int) -> tuple[int, int]:
        """Least and largest factor of a variable at one place, fixed factors aside."""
        loops, variable = self._block(level, spatial), self.variables[d]
        high = loops.at_most.get(variable, self.workload.shape[variable])
        return loops.at_least.get(variable, 1), min(high, self._room(level, d)) if spatial else high

    def _room(self, level: int, d: int) -> int:
        """Largest spatial factor of a variable below a level."""
        lanes = [int(self.lanes[level, axis]) for axis in (0, 1) if self.may[level][axis] >> d & 1]
        return min(max([1, *lanes]), int(self.most[level]))

    def _factorizations(self, d: int, slots: tuple[tuple[int, bool], ...]) -> Factorizations:
        variable = self.variables[d]
        bound = self.workload.shape[variable]
        fixed: dict[tuple[int, bool], int] = {}
        rest: tuple[int, bool] | None = None
        for level, spatial in itertools.product(range(len(self.names)), (False, True)):
            block = self._block(level, spatial)
            if variable in block.remaining and bound > 1:
                rest = (level, spatial)
            elif variable in block.factors:
                fixed[level, spatial] = block.factors[variable]
        if rest is not None:
            fixed[rest] = -(-bound // math.prod(fixed.values()))
            self._check_rest(d, rest, fixed[rest])
        partial = variable in self.partial
        sets: list[Sequence[int]] = []
        for level, spatial in slots:
            low, high = self._limits(level, spatial, d)
            if (level, spatial) in fixed:
                low = high = fixed[level, spatial]
            elif rest is not None:
                low = high = 1
            whole = range(low, min(high, bound) + 1)
            sets.append(whole if partial else tuple(int(f) for f in divisors(bound) if f in whole))
        if partial:  # a level's spatial loops stand inside its temporal ones
            nest = sorted(range(len(slots)), key=lambda s: (slots[s][0], not slots[s][1]))
            found: Factorizations = Coverings(bound, [range(s[0], s[-1] + 1) if s else range(0) for s in sets], nest)
        else:
            found = Factorizations(bound, sets)
        if not found.count:
            raise self._no_completion(variable, bound, d, slots, sets)
        return found

    def _check_rest(self, d: int, slot: tuple[int, bool], factor: int) -> None:
        level, spatial = slot
        low, high = self._limits(level, spatial, d)
        if low <= factor <= high:
            return
        room = self._room(level, d) if spatial else high
        variable, name = self.variables[d], self.names[level]
        raise self._error(
            f"level '{name}': {_KINDS[spatial]} {variable} takes what remains of {self.workload.shape[variable]}, which is "
            f"{factor}, but " + (self._why_no_room(level, d) if factor > room else f"its limits are {low} to {high}"),
            f"{name}.{_KINDS[spatial]}.remaining",
            f"fix other factors of {variable} so that {low} to {high} remains",
        )

    def _why_no_room(self, level: int, d: int) -> str:
        name = self.names[level]
        x, y = (int(n) for n in self.lanes[level])
        if x * y == 1:
            return f"'{name}' has no fan-out below it"
        if not (self.may[level][0] | self.may[level][1]) >> d & 1:
            return f"the constraints let it run along neither axis of the {x} x {y} fan-out below '{name}'"
        if self._room(level, d) == self.most[level]:
            return f"the constraints let at most {self.most[level]} children below '{name}' work"
        return f"the fan-out below '{name}' is {x} x {y}"

    def _slot_name(self, slot: tuple[int, bool]) -> str:
        return f"'{self.names[slot[0]]}' {_KINDS[slot[1]]}"

    def _no_completion(
        self, variable: str, bound: int, d: int, slots: tuple[tuple[int, bool], ...], sets: list[Sequence[int]]
    ) -> SpecError:
        path = next(
            (
                f"{self.names[level]}.{_KINDS[spatial]}.{what}.{variable}"
                for level, spatial in slots
                for what in ("at_least", "at_most", "factors")
                if variable in getattr(self._block(level, spatial), what)
            ),
            variable,
        )
        empty = [slot for slot, s in zip(slots, sets, strict=True) if not s]
        if empty:
            level, spatial = empty[0]
            low, high = self._limits(level, spatial, d)
            stated = self._block(level, spatial).factors.get(variable)
            asked = f"is fixed to {stated}" if stated else f"is at least {low}"
            room = self._why_no_room(level, d) if spatial else f"at most {high}"
            return self._error(
                f"level '{self.names[level]}': {_KINDS[spatial]} {variable} {asked}, but {room}", path,
                f"its bound is {bound}" if variable in self.partial
                else f"divisors of {bound}: " + ", ".join(str(f) for f in divisors(bound)),
            )  # fmt: skip
        limits = ", ".join(
            f"{self._slot_name(slot)} {s[0] if len(s) == 1 else f'{s[0]} … {s[-1]}'}"
            for slot, s in reversed(list(zip(slots, sets, strict=True)))
        )
        low, high = math.prod(s[0] for s in sets), math.prod(s[-1] for s in sets)
        reach = (
            f"the largest factors allowed multiply to {high}" if high < bound
            else f"the smallest factors allowed multiply to {low}" if low > bound and variable not in self.partial
            else "no choice of them covers it tightly" if variable in self.partial
            else "no choice of them multiplies to it"
        )  # fmt: skip
        verb = "cover" if variable in self.partial else "multiply to"
        return self._error(
            f"no factors of {variable} that the constraints allow {verb} its bound of {bound}: {reach} ({limits})",
            path, f"widen the limits of {variable} at one of these places",
        )  # fmt: skip

    def _check_fanouts(
        self, slots: tuple[tuple[int, bool], ...], found: tuple[Factorizations, ...], least: Array
    ) -> None:
        for s, (level, spatial) in enumerate(slots):
            if not spatial:
                continue
            name = self.names[level]
            choices = [f.choices[s] for f in found]
            if least[level] == 1 and all(int(c[0]) == 1 for c in choices):
                continue
            x, y = (int(n) for n in self.lanes[level])
            working = (int(least[level]), int(self.most[level]))
            if len(spreads(choices, (x, y), working, self.may[level], most=1)[0]):
                continue
            lowest = math.prod(int(c[0]) for c in choices)
            stated = " ".join(f"{v}={c[0]}" for v, c in zip(self.variables, choices, strict=True) if c[0] > 1)
            limits = [f"the {x} x {y} fan-out below '{name}'"]
            limits += [f"at least {working[0]} working children"] if working[0] > 1 else []
            limits += [f"at most {working[1]} working children"] if working[1] < _NO_LIMIT else []
            most = min(x * y, working[1], math.prod(int(c[-1]) for c in choices))
            raise self._error(
                f"level '{name}': no spatial factors that the constraints allow fit {' with '.join(limits)}: they multiply to "
                f"{lowest} at least" + (f" ({stated})" if stated else "") + f", and at most {most} can work",
                f"{name}.spatial", "fix fewer spatial factors, allow more variables along X or Y, or move the limits",
            )  # fmt: skip

    def _keeps(self) -> tuple[Array, Array]:
        L, T = len(self.names), len(self.tensors)
        fixed, free = np.zeros((L, T), bool), np.zeros((L, T), bool)
        for i, (name, level) in enumerate(zip(self.names, self.levels, strict=True)):
            at = self.constraints.at(name)
            for t, tensor in enumerate(self.tensors):
                said = [what for what in ("keep", "bypass", "free") if tensor in getattr(at, what)]
                if level.capacity_words == 0:
                    if "keep" in said:
                        raise self._error(
                            f"level '{name}' is to keep '{tensor}', but it holds 0 words", f"{name}.keep",
                            "enlarge the level, or bypass the tensor there",
                        )  # fmt: skip
                elif said:
                    fixed[i, t], free[i, t] = said[0] == "keep", said[0] == "free"
                elif level.keep is not None:
                    fixed[i, t] = tensor in level.keep
                elif i == L - 1:
                    fixed[i, t] = True
                else:
                    free[i, t] = True
        outermost = self.constraints.at(self.names[-1])
        for t, tensor in enumerate(self.tensors):
            if not (fixed[:, t] | free[:, t]).any() and tensor not in outermost.bypass:
                fixed[-1, t] = self.levels[-1].capacity_words != 0  # whatever the architecture states
            if not (fixed[:, t] | free[:, t]).any():
                raise self._error(
                    f"no level may keep '{tensor}'", f"{self.names[-1]}.bypass",
                    f"keep it at one level at least, for example at '{self.names[-1]}'",
                )  # fmt: skip
        return fixed, free

    def _networks(self) -> tuple[Array, Array]:
        both = []
        for what in ("multicast", "peer_links"):
            rows = [
                [getattr(self.constraints.at(name), what).get(t, getattr(level, what)) for t in self.tensors]
                for name, level in zip(self.names, self.levels, strict=True)
            ]
            both.append(np.array(rows, bool))
        return both[0], both[1]


_KINDS = {False: "temporal", True: "spatial"}


def _structured_share(workload: Einsum, name: str) -> Fraction:
    """Share of non-zeros of an N:M tensor, or one with a pattern in several ranks; 1 where zeros have no fixed pattern."""
    density = workload.tensor(name).density
    pattern = density.get("pattern") if isinstance(density, dict) else density
    if not isinstance(pattern, str) or ":" not in pattern:
        return Fraction(1)
    if is_hierarchical(pattern):
        return math.prod((Fraction(*rank) for rank in parse_hierarchy(pattern)), start=Fraction(1))
    kept, _, of = pattern.partition(":")
    if not (kept.isdigit() and of.isdigit() and 0 < int(kept) <= int(of)):
        return Fraction(1)
    return Fraction(int(kept), int(of))
