"""Fields of a density specification, read with errors that say where, what, and what would be right."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fiberloom.errors import Location, SpecError

_PATTERN = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")


@dataclass(frozen=True)
class Parameters:
    """The fields beside ``distribution``, and where they stand.

    Attributes:
        tensor: name of the tensor, for messages.
        values: the fields.
        base_directory: what relative paths are relative to; None is the working directory.
        where: place of the specification.
    """

    tensor: str
    values: Mapping[str, Any] = field(default_factory=dict)
    base_directory: Path | None = None
    where: Location | None = None

    def error(self, problem: str, *, name: str | None = None, hint: str | None = None) -> SpecError:
        """A `SpecError` that names the tensor, pointing at field `name`."""
        where = self.where
        if name is not None:
            outer = where.field if where is not None and where.field else f"{self.tensor}.density"
            where = replace(where or Location(), field=f"{outer}.{name}")
        return SpecError(f"density of '{self.tensor}': {problem}", where=where, hint=hint)

    def required(self, name: str, meaning: str) -> Any:
        """Value of field `name`.

        Raises:
            SpecError: if it is absent.
        """
        if self.values.get(name) is None:
            raise self.error(f"'{name}' is missing", hint=f"{name}: {meaning}")
        return self.values[name]

    def density(self, name: str = "density") -> Fraction | float:
        """Field `name` as a number in 0..1.

        Raises:
            SpecError: for anything else.
        """
        return checked_density(self.required(name, "share of non-zeros, a number from 0 to 1"), self, name)

    def pattern_or_density(self, name: str = "density") -> Fraction | float:
        """Field `name` as an ``N:M`` pattern (exact N/M) or a number in 0..1.

        Raises:
            SpecError: for anything else.
        """
        value = self.required(name, "share of non-zeros from 0 to 1, or a pattern such as '2:4'")
        return checked_pattern(value, self, name) if isinstance(value, str) else checked_density(value, self, name)

    def whole(self, name: str, meaning: str) -> int:
        """Field `name` as a whole number from 0.

        Raises:
            SpecError: for anything else.
        """
        value = self.required(name, meaning)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise self.error(f"{value!r} is not a whole number from 0", name=name, hint=f"{name}: {meaning}")
        return int(value)

    def text(self, name: str, meaning: str) -> str:
        """Field `name` as a non-empty string.

        Raises:
            SpecError: for anything else.
        """
        value = self.required(name, meaning)
        if not isinstance(value, (str, Path)) or not str(value):
            raise self.error(f"{value!r} is not a text", name=name, hint=f"{name}: {meaning}")
        return str(value)


def checked_density(value: Any, parameters: Parameters, name: str | None = None) -> Fraction | float:
    """`value`, if it is a number in 0..1.

    Raises:
        SpecError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction, np.integer, np.floating)):
        raise parameters.error(f"{value!r} is not a number", name=name, hint="densities are numbers from 0 to 1")
    if math.isnan(value) or not 0 <= value <= 1:
        hint = "densities are numbers from 0 to 1"
        if isinstance(value, int) and value > 60:
            # YAML 1.1 reads an unquoted 2:4 as a base-60 number.
            hint = f"an N:M pattern stands in quotes: '{value // 60}:{value % 60}'"
        raise parameters.error(f"{value} is not in 0..1", name=name, hint=hint)
    return value if isinstance(value, Fraction) else float(value)


def checked_pattern(text: str, parameters: Parameters, name: str | None = None) -> Fraction:
    """The share N/M of a pattern ``N:M``, N of every M elements kept.

    Raises:
        SpecError: if `text` is no such pattern.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise parameters.error(
            f"'{text}' is not a pattern", name=name, hint="write N:M, such as '2:4': 2 of every 4 are kept"
        )
    kept, of = int(match[1]), int(match[2])
    if of < 1 or kept > of:
        raise parameters.error(f"pattern '{text}' keeps {kept} of {of}", name=name, hint="in N:M, 0 ≤ N ≤ M and M ≥ 1")
    return Fraction(kept, of)
