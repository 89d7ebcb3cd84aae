"""Sparse acceleration features of a level: representation formats, gating and skipping.

The taxonomy is Sparseloop's (MICRO'22, §3): a *format* says how zeros are kept, *gating* leaves a unit idle for a cycle,
*skipping* does not spend the cycle. Both are written *follower ← leaders*: the follower's access is dropped when a
leader's matching box is empty.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Format(StrEnum):
    """Per-rank representation formats (fibertree vocabulary; Sparseloop, MICRO'22, §3.1)."""

    U = "U"  # uncompressed, no metadata
    UOP = "UOP"  # uncompressed offset pairs: start and end of every fibre
    CP = "CP"  # coordinate–payload: explicit coordinates of the non-empty ones
    RLE = "RLE"  # run length: zeros before each non-empty coordinate
    B = "B"  # bitmask, values compressed
    UB = "UB"  # bitmask, values kept uncompressed

    @property
    def compressed(self) -> bool:
        """Whether empty coordinates take no room in the rank below."""
        return self in (Format.CP, Format.RLE, Format.B)


class RankFormat(BaseModel):
    """Format of one rank of a tensor's fibertree at a level.

    Attributes:
        variables: iteration variables whose loops may be flattened into this rank; None takes one loop.
        metadata_word_bits: bits of one metadata item (coordinate, run length); None takes the level's width; a bitmask
            item is 1 bit.
        payload_word_bits: bits of one payload item (pointer); None takes the level's metadata word width.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format
    variables: tuple[str, ...] | None = None
    metadata_word_bits: int | None = Field(default=None, ge=0, le=4096)
    payload_word_bits: int | None = Field(default=None, ge=0, le=4096)


class TensorFormat(BaseModel):
    """Ranks of one tensor at one level, outermost first.

    Attributes:
        inner_to_outer: match ranks to loops from the innermost upwards instead of from the outermost downwards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ranks: tuple[RankFormat, ...] = Field(min_length=1)
    inner_to_outer: bool = False

    @field_validator("ranks")
    @classmethod
    def _no_uncompressed_below_compressed(cls, ranks: tuple[RankFormat, ...]) -> tuple[RankFormat, ...]:
        compressed = False
        for i, rank in enumerate(ranks):
            if compressed and not rank.format.compressed:
                raise ValueError(
                    f"rank {i} ({rank.format}) is uncompressed below a compressed rank; list ranks outermost first, "
                    "uncompressed ones outside compressed ones"
                )
            compressed = compressed or rank.format.compressed
        return ranks

    @property
    def compressed(self) -> bool:
        """Whether zeros are left out (any compressed rank)."""
        return any(rank.format.compressed for rank in self.ranks)


class SafKind(StrEnum):
    """What is done with an access whose leader is empty."""

    GATING = "gating"
    SKIPPING = "skipping"
    SPATIAL_SKIPPING = "spatial-skipping"
    POSITION_SKIPPING = "position-skipping"


class LeaderFollower(BaseModel):
    """``follower ← leaders``: drop the follower's access when a leader's box is empty.

    Position skipping has no leaders: lanes are filled with the follower's own non-zeros.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    follower: str
    leaders: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.follower} ← {', '.join(self.leaders) or 'its own non-zeros'}"


class ActionOptimization(BaseModel):
    """One gating or skipping entry of a level; of several options the one that saves most is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: SafKind
    options: tuple[LeaderFollower, ...] = Field(min_length=1)

    def __str__(self) -> str:
        return f"{self.kind} {' | '.join(str(o) for o in self.options)}"
