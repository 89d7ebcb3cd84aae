"""Mappings: the loop nest of an Einsum on an architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import MappingError, nearest
from fiberloom.workload.einsum import Einsum


class LevelMapping(BaseModel):
    """What a mapping does at one storage level.

    Attributes:
        temporal: factor per variable of the temporal loops at this level; 1 when absent.
        spatial: factor per variable of the fan-out from this level to the one below; 1 when absent.
        temporal_order, spatial_order: variables, **outermost first**; variables left out stand outside those listed, in
            declaration order reversed (so that the innermost listed loop is innermost).
        spatial_x: variables of `spatial_order` that run along X; the others run along Y. None: all along X.
        keep: tensors held at this level; None takes the architecture's default.
        multicast: per tensor, False where one read can't serve several children.
        peer_links: per tensor, whether children pass tiles to mesh neighbours; absent takes the architecture's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temporal: dict[str, int] = Field(default_factory=dict)
    spatial: dict[str, int] = Field(default_factory=dict)
    temporal_order: tuple[str, ...] = ()
    spatial_order: tuple[str, ...] = ()
    spatial_x: tuple[str, ...] | None = None
    keep: tuple[str, ...] | None = None
    multicast: dict[str, bool] = Field(default_factory=dict)
    peer_links: dict[str, bool] = Field(default_factory=dict)


class Mapping(BaseModel):
    """A loop nest: one `LevelMapping` per storage level, by level name; levels left out have no loops."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: dict[str, LevelMapping]

    def at(self, level: str) -> LevelMapping:
        """Loops and keeps of one level (empty when the mapping does not mention it)."""
        return self.levels.get(level, _NOTHING)

    def check(self, einsum: Einsum, architecture: Architecture) -> None:
        """Raise unless every name is known and the factors of each variable cover its bound.

        They multiply to the bound, or to more as long as the outermost loop has no iteration without work: then the last
        tile of every loop may be partial (see `last_iterations`).

        Raises:
            MappingError: naming the level, the variable, the product found and the bound.
        """
        known = [level.name for level in architecture.levels]
        tensors = [t.name for t in einsum.tensors]
        for name, level in self.levels.items():
            if name not in known:
                raise MappingError(
                    f"the mapping names level '{name}', which the architecture has not", hint=nearest(name, known)
                )
            for kind, factors in (("temporal", level.temporal), ("spatial", level.spatial)):
                for variable, factor in factors.items():
                    if variable not in einsum.shape:
                        raise MappingError(
                            f"level '{name}': {kind} factor for unknown variable '{variable}'",
                            hint=nearest(variable, einsum.shape),
                        )
                    if factor < 1:
                        raise MappingError(
                            f"level '{name}': {kind} factor {variable}={factor}",
                            hint="factors are whole numbers from 1",
                        )
            for order in (level.temporal_order, level.spatial_order, level.spatial_x or ()):
                for variable in order:
                    if variable not in einsum.shape:
                        raise MappingError(
                            f"level '{name}': unknown variable '{variable}' in a loop order",
                            hint=nearest(variable, einsum.shape),
                        )
                if len(set(order)) != len(order):
                    raise MappingError(f"level '{name}': a loop order names a variable twice: {' '.join(order)}")
            for tensor in (*(level.keep or ()), *level.multicast, *level.peer_links):
                if tensor not in tensors:
                    raise MappingError(f"level '{name}': unknown tensor '{tensor}'", hint=nearest(tensor, tensors))
        for variable, bound in einsum.shape.items():
            if (product := self.product(variable)) != bound:
                self._check_remainder(variable, bound, product, known)

    def product(self, variable: str) -> int:
        """Product of all factors of `variable`."""
        return math.prod(
            level.temporal.get(variable, 1) * level.spatial.get(variable, 1) for level in self.levels.values()
        )

    def last_iterations(self, variable: str, bound: int, levels: Sequence[str]) -> dict[tuple[str, bool], int]:
        """Iterations of each loop of `variable` in the last of its enclosing tiles, by (level, whether spatial).

        The tile inside a loop is the product of the factors inside it; a loop covers its enclosing tile in steps of that
        tile, and the last step covers what is left. Equal to the factor wherever no tile is partial.

        Args:
            levels: names, outermost first.
        """
        last: dict[tuple[str, bool], int] = {}
        tile = 1
        for name in reversed(levels):
            for spatial, factors in ((True, self.at(name).spatial), (False, self.at(name).temporal)):
                factor = factors.get(variable, 1)
                last[name, spatial] = (bound - 1) // tile % factor + 1
                tile *= factor
        return last

    def _check_remainder(self, variable: str, bound: int, product: int, levels: Sequence[str]) -> None:
        """Raise unless the tiles of factors that do not multiply to the bound cover it without an empty iteration."""
        if product < bound:
            missing = bound // math.gcd(product, bound)
            raise MappingError(
                f"the factors of '{variable}' multiply to {product}, but its bound is {bound}",
                hint=f"the product over all levels must be {bound}"
                + ("" if bound % math.gcd(product, bound) else f"; {missing} is missing")
                + ", or more where the last tile is a partial one",
            )
        factors = {
            (name, kind): factor
            for name in levels
            for kind, loops in (("temporal", self.at(name).temporal), ("spatial", self.at(name).spatial))
            if (factor := loops.get(variable, 1)) > 1
        }
        (name, kind), outermost = next(iter(factors.items()))
        inside = product // outermost
        if (needed := -(-bound // inside)) != outermost:
            raise MappingError(
                f"the factors of '{variable}' multiply to {product}, and its bound is {bound}: level '{name}' iterates "
                f"{outermost} times over tiles of {inside}, of which {needed} cover the bound",
                hint=f"make the {kind} factor {variable}={needed} there"
                if needed > 1
                else f"the factors inside '{name}' multiply to the bound or more already: leave {variable}={outermost} out",
            )


_NOTHING = LevelMapping()
