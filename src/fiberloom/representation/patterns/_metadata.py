"""Bits that say which values are kept, per block and per tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.array import as_rows

LARGEST_RUN_BITS = 16
"""Run lengths are tried up to this width; longer ones only pay off below one non-zero in 2^16."""

LARGEST_ENUMERATED = 4096
"""Blocks up to this size are enumerated: the number of choices has as many digits as the block has places."""


def bits_for(choices: int) -> int:
    """⌈log₂ choices⌉: bits that tell `choices` things apart."""
    return (choices - 1).bit_length()


def bits_of_block(kept: int, of: int) -> dict[str, int]:
    """Bits that say which `kept` of `of` neighbours are stored, by format.

    A run of zeros in front of a kept value is at most ``of − kept`` long. What follows from the pattern alone costs nothing.
    """
    if kept == of:
        return {"U": 0}
    found = {"B": of, "CP": kept * bits_for(of), "RLE": kept * bits_for(of - kept + 1)}
    if of <= LARGEST_ENUMERATED:
        found["enumerated"] = bits_for(math.comb(of, kept))
    return found


def bits_of_ranks(ranks: Sequence[dict[str, int]]) -> dict[str, int]:
    """Bits of a hierarchy for every choice of a format per rank, highest first (``B-CP``), and with all ranks ``enumerated``.

    Ranks that need none are not named.
    """
    named = [options for options in ranks if "U" not in options]
    if not named:
        return {"U": 0}
    found = {}
    for formats in product(*([name for name in options if name != "enumerated"] for options in named)):
        found["-".join(formats)] = sum(options[name] for options, name in zip(named, formats, strict=True))
    if all("enumerated" in options for options in named):
        found["enumerated"] = sum(options["enumerated"] for options in named)
    return found


def bits_of_rows(stored: int, rows: int, length: int) -> int:
    """Bits of ``UOP-CP`` (CSR): an offset where each row begins, one where the last ends, and a coordinate per stored value."""
    return (rows + 1) * bits_for(stored + 1) + stored * bits_for(length)


def bits_of_random(share: Fraction, shape: Sequence[int] | None, axis: int) -> dict[str, Fraction]:
    """Bits per element for non-zeros anywhere, a share of all places.

    Runs of zeros are written in fields of b bits, of which the largest, r = 2^b − 1, means r zeros and no value yet. The mean
    over random places is 1/(1 − (1 − share)^r) fields per value; the best b is taken.
    """
    from fiberloom.representation.patterns._base import row_lengths

    if share == 1:
        return {"U": Fraction(0)}
    found = {"B": Fraction(1)}
    if share > 0:
        per_place = math.log1p(-float(share))
        widths = range(1, LARGEST_RUN_BITS + 1)
        found["RLE"] = share * min(Fraction(-b / math.expm1((2**b - 1) * per_place)) for b in widths)
    if shape is not None:
        rows, length = row_lengths(shape, axis)
        stored = math.ceil(share * rows * length)
        found["UOP-CP"] = Fraction(bits_of_rows(stored, rows, length), rows * length)
    return found


def bits_of_mask(kept: NDArray[np.bool_], axis: int = -1) -> dict[str, Fraction]:
    """Bits per element that say where `kept` is true, exactly: bitmask, coordinates with row offsets, and runs of zeros.

    Runs begin anew in each row and are written in fields of b bits, of which the largest, r = 2^b − 1, means r zeros and no value
    yet; the best b is taken.
    """
    rows = as_rows(kept, axis)
    stored = int(np.count_nonzero(rows))
    found = {"B": Fraction(1), "UOP-CP": Fraction(bits_of_rows(stored, *rows.shape), rows.size)}
    if stored:
        row, column = np.nonzero(rows)
        before = np.empty_like(column)
        before[0] = -1
        before[1:] = np.where(row[1:] == row[:-1], column[:-1], -1)
        runs: Any = column - before - 1
        entries = [b * (stored + int((runs // (2**b - 1)).sum())) for b in range(1, LARGEST_RUN_BITS + 1)]
        found["RLE"] = Fraction(min(entries), rows.size)
    return found


def per_element(block: dict[str, int], blocks: int, elements: int) -> dict[str, Fraction]:
    """Bits per element of `blocks` equal blocks in a tensor of `elements`."""
    return {name: Fraction(bits * blocks, elements) for name, bits in block.items()}
