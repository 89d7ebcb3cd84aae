"""What architects fix about a mapping before the search: factors, orders, axes, keeps, utilisation."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict, Field

from fiberloom.architecture.levels import Architecture
from fiberloom.mapping.contradictions import refuse_contradictions
from fiberloom.workload.einsum import Einsum


class LoopConstraints(BaseModel):
    """What holds for the temporal loops of a level, or for the spatial loops of the fan-out below it.

    Attributes:
        factors: fixed factor per variable.
        at_least, at_most: inclusive limits per variable.
        remaining: variables whose factor is the whole bound over what other levels fix (Timeloop writes 0).
        inner: loops that stand innermost in this block, **outermost first** (the last one is innermost of all).
        outer: loops that stand outermost in this block, outermost first. A variable stands in one of the two lists.
        x, y: spatial loops only: variables that may run along X, along Y. None: any.
        most_fanout, least_fanout: spatial loops only: limits of the product of all factors (utilisation of the fan-out).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factors: dict[str, int] = Field(default_factory=dict)
    at_least: dict[str, int] = Field(default_factory=dict)
    at_most: dict[str, int] = Field(default_factory=dict)
    remaining: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    outer: tuple[str, ...] = ()
    x: tuple[str, ...] | None = None
    y: tuple[str, ...] | None = None
    most_fanout: int | None = Field(default=None, ge=1)
    least_fanout: int | None = Field(default=None, ge=1)


class LevelConstraints(BaseModel):
    """Constraints at one storage level.

    Attributes:
        temporal, spatial: its loops; `spatial` is the fan-out from this level to the one inside.
        keep, bypass: tensors that this level must keep, must not keep. Tensors in neither follow the architecture's
            `keep` where it states one, and are free where it does not.
        free: tensors whose keeping is searched even where the architecture states a default.
        multicast, peer_links: per tensor, as in a mapping; they are fixed for the whole space.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temporal: LoopConstraints = LoopConstraints()
    spatial: LoopConstraints = LoopConstraints()
    keep: tuple[str, ...] = ()
    bypass: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    multicast: dict[str, bool] = Field(default_factory=dict)
    peer_links: dict[str, bool] = Field(default_factory=dict)


class Constraints(BaseModel):
    """Constraints of a map space, by level name; `where` says where each was written, for messages.

    Attributes:
        levels: by level name.
        where: place (``file:line``) by a path such as ``GlobalBuffer.temporal.factors.M`` or ``GlobalBuffer.keep``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: dict[str, LevelConstraints] = Field(default_factory=dict)
    where: dict[str, str] = Field(default_factory=dict)

    def at(self, level: str) -> LevelConstraints:
        """Constraints of one level (empty when nothing is said)."""
        return self.levels.get(level, _NOTHING)

    def check(self, workload: Einsum, architecture: Architecture, partial: Collection[str] = ()) -> None:
        """Raise unless every name is known and nothing contradicts itself, as far as it shows without factorisation.

        Args:
            partial: variables whose factors need not divide their bounds.

        Raises:
            SpecError: with the place where it was written, and the nearest name or what would be right.
        """
        refuse_contradictions(self, workload, architecture, partial)


_NOTHING = LevelConstraints()
