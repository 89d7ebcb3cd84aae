"""Einsums: what is computed, over which ranks, on which tensors.

An Einsum such as ``Z[m,n] = A[m,k] * B[k,n]`` names its tensors and, for each rank of each tensor, an affine
expression of the iteration variables (``I[c, 2*p+r]`` is a convolution of stride two). Vocabulary: Sze, Chen, Yang,
Emer, *Efficient Processing of Deep Neural Networks*, ch. 2; TeAAL, MICRO'23, §3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fiberloom.errors import Location, SpecError, nearest


class IndexTerm(NamedTuple):
    """One term ``coefficient · variable`` of an affine index expression."""

    coefficient: int
    variable: str


IndexExpression = tuple[IndexTerm, ...]


class Tensor(BaseModel):
    """A tensor of an Einsum: its index expressions and how its values are distributed.

    Attributes:
        ranks: one affine expression per rank.
        word_bits: width of a value in bits; None takes the width of the level that holds it.
        density: a number in 0..1, a pattern ``"2:4"``, a mapping such as ``{distribution: uniform, density: 0.3}``, or None for dense
            (see `fiberloom.workload.density`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    ranks: tuple[IndexExpression, ...]
    is_output: bool = False
    word_bits: int | None = Field(default=None, ge=1, le=1024)
    density: float | str | dict[str, Any] | None = None

    @field_validator("density", mode="before")
    @classmethod
    def _density_in_range(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("a density is a number from 0 to 1 or a mapping with 'distribution'")
        if isinstance(value, (int, float)) and not 0 <= value <= 1:
            raise ValueError(f"density {value} is not in 0..1")
        return value

    @property
    def variables(self) -> tuple[str, ...]:
        """Iteration variables that index the tensor, in order of first use."""
        return tuple(dict.fromkeys(term.variable for rank in self.ranks for term in rank))

    def tile_shape(self, extents: Mapping[str, int]) -> tuple[int, ...]:
        """Elements per rank touched by `extents` iterations of each variable: ``1 + Σ|c|·(extent−1)``."""
        return tuple(
            1 + sum(abs(t.coefficient) * (extents.get(t.variable, 1) - 1) for t in rank) for rank in self.ranks
        )

    def __str__(self) -> str:
        def term(t: IndexTerm) -> str:
            return t.variable if t.coefficient == 1 else f"{t.coefficient}*{t.variable}"

        return f"{self.name}[{', '.join('+'.join(term(t) for t in rank) for rank in self.ranks)}]"


class Einsum(BaseModel):
    """A tensor computation: one output, any number of input operands, multiplied and summed over the absent ranks.

    Attributes:
        shape: bound of every iteration variable, in declaration order.
        tensors: operands in order; exactly one has `is_output`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "einsum"
    shape: dict[str, int]
    tensors: tuple[Tensor, ...]

    @model_validator(mode="after")
    def _check(self) -> Einsum:
        for variable, bound in self.shape.items():
            if bound < 1:
                raise ValueError(f"variable '{variable}' has bound {bound}; bounds are whole numbers from 1")
        if not self.shape:
            raise ValueError("an Einsum needs at least one iteration variable")
        outputs = [t.name for t in self.tensors if t.is_output]
        if len(outputs) != 1:
            raise ValueError(f"exactly one tensor is the output; found {len(outputs)}: {outputs}")
        if len(self.tensors) < 2:
            raise ValueError("an Einsum needs at least one input tensor beside the output")
        names = [t.name for t in self.tensors]
        if len(set(names)) != len(names):
            raise ValueError(f"tensor names repeat: {names}")
        for tensor in self.tensors:
            for variable in tensor.variables:
                if variable not in self.shape:
                    raise ValueError(
                        f"tensor '{tensor.name}' uses variable '{variable}', which has no bound; "
                        + nearest(variable, self.shape)
                    )
            for variable in tensor.variables:
                ranks = [r for r in tensor.ranks if any(term.variable == variable for term in r)]
                if len(ranks) > 1:
                    raise ValueError(
                        f"tensor '{tensor.name}' uses variable '{variable}' in {len(ranks)} ranks (a diagonal); "
                        "fiberloom models each variable in one rank of a tensor"
                    )
        if math.prod(self.shape.values()) >= 2**62:
            raise ValueError("more than 2^62 multiply-accumulates: beyond the counters")
        return self

    @classmethod
    def parse(
        cls,
        equation: str,
        shape: Mapping[str, int],
        *,
        name: str = "einsum",
        densities: Mapping[str, Any] | None = None,
        word_bits: Mapping[str, int] | None = None,
        constants: Mapping[str, int] | None = None,
        where: Location | None = None,
    ) -> Einsum:
        """Build an Einsum from ``Z[m,n] = A[m,k] * B[k,n]``.

        Args:
            equation: output on the left; operands on the right, separated by ``*``. Index expressions are sums of
                ``variable``, ``c*variable`` with an integer or a named constant ``c``.
            shape: bound of every variable.
            densities: density per tensor (number or mapping).
            word_bits: value width per tensor.
            constants: values of named coefficients (strides, dilations).

        Raises:
            SpecError: when the equation can't be read, with the part that is wrong.
        """
        constants = dict(constants or {})
        left, equals, right = equation.partition("=")
        if not equals:
            raise SpecError(f"'{equation}' has no '='", where=where, hint="write e.g. Z[m,n] = A[m,k] * B[k,n]")
        parsed = [_parse_tensor(part, constants, where) for part in _split_operands(left, right, where)]
        densities, word_bits = dict(densities or {}), dict(word_bits or {})
        for given, what in ((densities, "a density"), (word_bits, "a word width")):
            for key in given:
                if key not in {n for n, _ in parsed}:
                    raise SpecError(
                        f"{what} is given for '{key}', which is not in the equation",
                        where=where,
                        hint=nearest(key, [n for n, _ in parsed]),
                    )
        # Inputs first, output last: the order in which tables print them.
        ordered = [*parsed[1:], parsed[0]]
        try:
            tensors = tuple(
                Tensor(
                    name=n,
                    ranks=ranks,
                    is_output=n == parsed[0][0],
                    density=densities.get(n),
                    word_bits=word_bits.get(n),
                )
                for n, ranks in ordered
            )
            return cls(name=name, shape=dict(shape), tensors=tensors)
        except ValueError as error:
            raise SpecError(_first_message(error), where=where) from None

    @property
    def output(self) -> Tensor:
        """The tensor that is written."""
        return next(t for t in self.tensors if t.is_output)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that are read."""
        return tuple(t for t in self.tensors if not t.is_output)

    @property
    def macs(self) -> int:
        """Points of the iteration space: multiply-accumulates of the dense computation."""
        return math.prod(self.shape.values())

    def tensor(self, name: str) -> Tensor:
        """The tensor called `name`.

        Raises:
            SpecError: if there is none.
        """
        for t in self.tensors:
            if t.name == name:
                return t
        raise SpecError(
            f"no tensor '{name}' in Einsum '{self.name}'", hint=nearest(name, [t.name for t in self.tensors])
        )

    def tensor_shape(self, name: str) -> tuple[int, ...]:
        """Shape of a whole tensor, one number per rank."""
        return self.tensor(name).tile_shape(self.shape)

    def with_reversed_ranks(self, name: str) -> Einsum:
        """The same computation with the ranks of one tensor in reverse: a matrix that is stored the other way round."""
        turned = (t.model_copy(update={"ranks": t.ranks[::-1]}) if t.name == name else t for t in self.tensors)
        return self.model_copy(update={"tensors": tuple(turned)})

    def __str__(self) -> str:
        return f"{self.output} = {' * '.join(str(t) for t in self.inputs)}"


_TENSOR = re.compile(r"\s*([A-Za-z_]\w*)\s*\[([^\[\]]*)\]\s*")
_TERM = re.compile(r"\s*(?:([A-Za-z_0-9]+)\s*\*\s*)?([A-Za-z_]\w*)\s*$")


def _split_operands(left: str, right: str, where: Location | None) -> list[str]:
    """Cut the right side at the ``*`` that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(right):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth < 0 or depth > 1:
            raise SpecError(f"brackets do not match in '{right.strip()}'", where=where)
        if character == "*" and depth == 0:
            parts.append(right[start:i])
            start = i + 1
    return [left, *parts, right[start:]]


def _parse_tensor(
    text: str, constants: Mapping[str, int], where: Location | None
) -> tuple[str, tuple[IndexExpression, ...]]:
    match = _TENSOR.fullmatch(text)
    if not match:
        raise SpecError(f"'{text.strip()}' is not a tensor", where=where, hint="write Name[i, j, 2*p+r]")
    name, body = match.groups()
    ranks = [] if not body.strip() else body.split(",")
    return name, tuple(_parse_expression(rank, constants, where) for rank in ranks)


def _parse_expression(text: str, constants: Mapping[str, int], where: Location | None) -> IndexExpression:
    terms = []
    for sign, part in re.findall(r"([+-]?)([^+-]+)", text):
        match = _TERM.fullmatch(part)
        if not match:
            raise SpecError(f"'{text.strip()}' is not an affine index", where=where, hint="write sums such as 2*p + r")
        factor, variable = match.groups()
        if factor is None:
            coefficient = 1
        elif factor.isdigit():
            coefficient = int(factor)
        elif factor in constants:
            coefficient = int(constants[factor])
        else:
            raise SpecError(
                f"constant '{factor}' in '{text.strip()}' has no value", where=where, hint=nearest(factor, constants)
            )
        terms.append(IndexTerm(-coefficient if sign == "-" else coefficient, variable))
    if not terms or any(t.coefficient == 0 for t in terms):
        raise SpecError(
            f"'{text.strip()}' is not an affine index", where=where, hint="coefficients are non-zero integers"
        )
    return tuple(terms)


def _first_message(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    return str(errors()[0]["msg"]).removeprefix("Value error, ")
