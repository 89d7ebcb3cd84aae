"""Sums of products as hardware keeps them: in a register of limited width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.representation.formats import ElementFormat, Integer, Minifloat, NumberFormat, Scaled, number_format
from fiberloom.representation.term import Representation

CHUNK: Final = 16
"""Products that an adder tree sums exactly before the register is rounded, if nothing else is said: a dot-product unit of
16 lanes, the width of a vector of VS-Quant (arXiv:2102.04503)."""

_TEXT = re.compile(r"(?P<register>[a-z0-9-]+)(?:/(?P<chunk>\d+))?")
_FP22 = Minifloat(8, 13)
"""Sign, 8 exponent and 13 fraction bits: what Hopper's FP8 tensor cores are reported to keep of a sum (DeepSeek-V3,
arXiv:2412.19437, §3.5.2: about 14 bits)."""


@dataclass(frozen=True)
class Accumulator:
    """A register that sums products, `chunk` of them at a time.

    A chunk's products are summed without error (in float64), added to the register, and the register is rounded: to
    nearest, saturating. The terms of a representation go through one register, one after the other.

    A float register takes products of any operands. An integer register takes integer codes: within a block of one scale
    they are summed and saturate; a block's sum is multiplied by its scales and added in fp32, as in VS-Quant.

    Attributes:
        register: format of the register.
        chunk: products added before it is rounded.
    """

    register: ElementFormat
    chunk: int = CHUNK

    @classmethod
    def read(cls, text: str | Accumulator | None) -> Accumulator | None:
        """``fp16``, ``bf16``, ``fp22``, ``int16`` …, optionally with the chunk: ``fp16/32``; None and ``torch``: no emulation.

        Raises:
            SpecError: if it can't be read.
        """
        if text is None or isinstance(text, Accumulator):
            return text
        match = _TEXT.fullmatch(text.strip().lower())
        if match is None:
            raise SpecError(f"'{text}' is no accumulator", hint="write 'fp32', 'fp16', 'fp22', 'int32' or 'fp16/32'")
        if match["register"] == "torch":
            return None
        chunk = int(match["chunk"]) if match["chunk"] else CHUNK
        if chunk < 1:
            raise SpecError(f"'{text}' adds {chunk} products at a time", hint="1 or more")
        if match["register"] == "fp22":
            return cls(_FP22, chunk)
        try:
            read = number_format(match["register"])
        except SpecError as error:
            raise SpecError(
                f"'{text}' is no accumulator: {error.problem}",
                hint=nearest(match["register"], ["fp32", "fp22", "fp16", "bf16", "int32", "int24", "int16"]),
            ) from None
        element = read.element if isinstance(read, Scaled) else read
        if not isinstance(element, ElementFormat):
            raise SpecError(f"'{text}' is no accumulator", hint="a number format without scales")
        return cls(element, chunk)

    def __str__(self) -> str:
        return f"{self.register.symbol}/{self.chunk}"

    def sum(self, operands: Sequence[tuple[Tensor, Tensor, Steps | None]]) -> Tensor:
        """Products of rows and matrices, summed over all operands.

        Args:
            operands: rows ``(groups, rows, in)``, matrices ``(groups, out, in)``, and for integer registers their steps.

        Returns:
            ``(groups, rows, out)``, of the type of the rows.
        """
        first, matrix, _ = operands[0]
        total = np.zeros((first.shape[0], first.shape[1], matrix.shape[1]))
        for rows, weights, steps in operands:
            x, w = (t.detach().to(torch.float64).cpu().numpy() for t in (rows, weights))
            if isinstance(self.register, Integer):
                assert steps is not None
                total = self._add_integers(total, x, w, steps)
            else:
                for start in range(0, x.shape[-1], self.chunk):
                    at = slice(start, start + self.chunk)
                    total = self.register.snap(total + x[..., at] @ w[..., at].swapaxes(-1, -2)).astype(np.float64)
        return torch.from_numpy(total).to(device=first.device, dtype=first.dtype)

    def _add_integers(self, total: NDArray[Any], x: NDArray[Any], w: NDArray[Any], steps: Steps) -> NDArray[Any]:
        block = steps.block or x.shape[-1]
        for index, start in enumerate(range(0, x.shape[-1], block)):
            step = steps.inputs[..., index, None] * steps.weights[:, None, :, index]  # (groups, rows, out)
            inverse = np.divide(1.0, step, out=np.zeros_like(step), where=step != 0)
            register = np.zeros_like(total)
            stop = min(start + block, x.shape[-1])
            for begin in range(start, stop, self.chunk):
                at = slice(begin, min(begin + self.chunk, stop))
                products = np.rint(x[..., at] @ w[..., at].swapaxes(-1, -2) * inverse)
                register = np.clip(register + products, -self.register.largest - 1, self.register.largest)
            total = (total + register * step).astype(np.float32).astype(np.float64)
        return total


@dataclass(frozen=True)
class Steps:
    """What an integer code counts, for operands of an integer register.

    Attributes:
        inputs: ``(groups, rows, blocks)``.
        weights: ``(groups, out, blocks)``.
        block: elements of a block; None: a row is one.
    """

    inputs: NDArray[np.float64]
    weights: NDArray[np.float64]
    block: int | None


def integer_format(representation: Representation | None, of: str) -> Scaled:
    """The format of the single integer term that an integer register can take.

    Raises:
        UnsupportedError: if there is none.
    """
    terms = representation.terms if representation is not None else ()
    found: NumberFormat | None = terms[0].format if len(terms) == 1 else None
    if not isinstance(found, Scaled) or not isinstance(found.element, Integer) or found.zero_point:
        raise UnsupportedError(
            f"an integer accumulator for {of} that are {found or 'not integers'}",
            hint="use symmetric integers for weights and inputs, or a float accumulator",
        )
    return found


def steps_of(number: Scaled, rows: NDArray[Any]) -> NDArray[np.float64]:
    """The number that one code stands for, ``(rows, blocks)``, when `rows` ``(rows, in)`` are stored in `number`."""
    stored = number.quantize_rows(np.ascontiguousarray(rows), None)
    assert stored.scales is not None
    scales = number.scaling.scale.decode(stored.scales)
    if stored.coarse is not None:
        scales = scales * stored.coarse.astype(np.float64)
    blocks = -(-rows.shape[1] // number.block) if number.block else 1
    return np.broadcast_to(scales, (rows.shape[0], blocks)) * number.element.smallest
