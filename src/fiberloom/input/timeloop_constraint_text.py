"""The notations inside Timeloop's loop constraints: ``C=1 M<=4 S=0``, orders with a fixed end, X–Y splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fiberloom.errors import Location, nearest
from fiberloom.input.field import Field

_FACTOR = re.compile(r"([A-Za-z_]+)\s*(<=|>=|=*)\s*(\d+)")
_LONG_FACTOR = re.compile(r"([A-Za-z_]\w*)\s*(<=|>=|=+)\s*(\d+)")
_REST = "_"  # between the loops fixed innermost and those fixed outermost
_LARGEST = 18  # digits

Value = TypeVar("Value")


@dataclass
class Written:
    """Where each constraint was written, by its path (``Buffer.temporal.factors.M``)."""

    where: dict[str, str] = field(default_factory=dict)

    def note(self, path: str, here: Field) -> None:
        self.where.setdefault(path, place_of(here))

    def put(self, into: dict[str, Value], key: str, value: Value, path: str, here: Field) -> None:
        """Set ``into[key]``.

        Raises:
            SpecError: if it is set to something else already.
        """
        before = into.setdefault(key, value)
        if before != value:
            place = self.where.get(path, "elsewhere")
            raise here.error(f"'{key}' is given as {value}, but as {before} at {place}", "keep one of the two")
        self.note(path, here)


def place_of(here: Field) -> str:
    """File and line of a field."""
    return str(Location(here.where.file, here.where.line))


@dataclass
class Block:
    """What the directives said so far about the temporal or the spatial loops of one level.

    `inner` and `outer` are innermost first here, as Timeloop writes orders; `split` counts loops along X.
    """

    factors: dict[str, int] = field(default_factory=dict)
    at_least: dict[str, int] = field(default_factory=dict)
    at_most: dict[str, int] = field(default_factory=dict)
    remaining: list[str] = field(default_factory=list)
    orders: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    split_at: Field | None = None

    def values(self) -> dict[str, Any]:
        """Fields of `LoopConstraints`, but the axes."""
        inner, outer = self.orders.get("permutation", ((), ()))
        return {
            "factors": dict(self.factors),
            "at_least": dict(self.at_least),
            "at_most": dict(self.at_most),
            "remaining": tuple(self.remaining),
            "inner": tuple(reversed(inner)),
            "outer": tuple(reversed(outer)),
        }

    def axes(self, dimensions: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Dimensions that may run along X, along Y, outermost first: of a split, the first loops are along X.

        Raises:
            UnsupportedError: where the split falls among loops whose order is free.
        """
        if "split" not in self.splits:
            return {}
        split = self.splits["split"]
        inner, outer = self.orders.get("permutation", ((), ()))
        along_y = len(dimensions) - split
        if along_y <= 0:
            return {"y": ()}
        if split == 0:
            return {"x": ()}
        if split <= len(inner):
            x = inner[:split]
            order = (*inner, *(d for d in dimensions if d not in inner and d not in outer), *outer)
            y = tuple(d for d in order if d not in x)
        elif along_y <= len(outer):
            y = outer[-along_y:]
            order = (*inner, *(d for d in dimensions if d not in inner and d not in outer), *outer)
            x = tuple(d for d in order if d not in y)
        else:
            assert self.split_at is not None
            raise self.split_at.unsupported(
                f"split {split} falls among loops whose order is free",
                f"list the first {split} loops in the permutation, innermost first",
            )
        return {"x": tuple(reversed(x)), "y": tuple(reversed(y))}


def read_factors(
    factors: Field, shape: Mapping[str, int], block: Block, path: str, written: Written, warnings: list[str]
) -> None:
    """Add ``C=1 M<=4 N>=2 S=0`` to `block`: one string, a list of such, or a mapping.

    A factor 0 is `remaining`. Factors above the bound are ignored with a warning, as Timeloop does.

    Raises:
        SpecError: for unknown dimensions, what is no factor, and what contradicts the block.
    """

    def add(dimension: str, sign: str, factor: int, here: Field) -> None:
        if dimension not in shape:
            raise here.error(f"'{dimension}' is not a dimension", nearest(dimension, shape))
        if sign in ("<=", ">="):
            if factor == 0:
                raise here.error(f"a limit of 0 for '{dimension}'", "limits are whole numbers from 1")
            name, limits = ("at_most", block.at_most) if sign == "<=" else ("at_least", block.at_least)
            written.put(limits, dimension, factor, f"{path}.{name}.{dimension}", here)
        elif factor > shape[dimension]:
            warnings.append(
                f"{place_of(here)}: {dimension}={factor} is above the dimension's bound {shape[dimension]}; ignored"
            )
        elif factor == 0 and shape[dimension] > 1:
            if dimension in block.factors:
                raise here.error(f"'{dimension}' has two factors here", "give each dimension one factor")
            if dimension not in block.remaining:
                block.remaining.append(dimension)
            written.note(f"{path}.remaining.{dimension}", here)
        elif dimension in block.remaining:
            raise here.error(f"'{dimension}' has two factors here", "give each dimension one factor")
        else:
            written.put(block.factors, dimension, factor or 1, f"{path}.factors.{dimension}", here)

    if factors.is_mapping:
        for dimension, value in factors.mapping().items():
            match = _LONG_FACTOR.fullmatch(f"{dimension}{value.text()}") if value.is_text else None
            if match is not None and match[1] == dimension:
                add(dimension, match[2], _whole(match[3], value), value)
            else:
                add(dimension, "=", value.integer(minimum=0), value)
        return
    pattern = _LONG_FACTOR if any(len(name) > 1 for name in shape) else _FACTOR
    for part in factors.items() if factors.is_list else [factors]:
        text = part.text().partition("#")[0] if part.value is not None else ""
        rest = pattern.sub("", text).strip(" ,;\t\n")
        if rest:
            raise part.error(f"'{rest}' is not a factor", "write e.g. C=1 M<=4 N>=2")
        for match in pattern.finditer(text):
            add(match[1], match[2], _whole(match[3], part), part)


def _whole(digits: str, here: Field) -> int:
    if len(digits) > _LARGEST:
        raise here.error(f"factor {digits} is too large", "factors are at most the dimension's bound")
    return int(digits)


def read_order(permutation: Field, dimensions: Sequence[str], block: Block, path: str, written: Written) -> None:
    """Add a permutation to `block`: ``RS`` fixes the innermost loops, ``RS_C`` also C outermost, ``_C`` C alone.

    Raises:
        SpecError: for unknown or repeated dimensions, and a second, different permutation.
    """
    if permutation.is_list:
        words = permutation.names()
    else:
        text = permutation.text().partition("#")[0]
        words = [w for w in re.split(r"[\s,]+", text) if w]
        if not all(w in dimensions or w == _REST for w in words):
            words = [c for c in text if not c.isspace() and c != ","]
    ends: tuple[list[str], list[str]] = ([], [])
    separated = False
    for word in words:
        if word == _REST and word not in dimensions:
            separated = True
            continue
        if word not in dimensions:
            raise permutation.error(f"'{word}' is not a dimension", nearest(word, dimensions))
        if word in ends[0] or word in ends[1]:
            raise permutation.error(
                f"'{word}' stands twice in the permutation", "list each dimension once, innermost first"
            )
        ends[separated].append(word)
    if words:
        inner, outer = tuple(ends[0]), tuple(ends[1])
        written.put(block.orders, "permutation", (inner, outer), f"{path}.inner", permutation)
        if outer:
            written.note(f"{path}.outer", permutation)
