"""Energy of finding the terms of activations at run time (TASD units, arXiv:2403.07953).

A unit takes a block and keeps its largest values one after the other: one comparison of magnitudes per element of the block and
value kept. Units work beside the array, several of them on different blocks, so that their cycles are hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fiberloom.architecture.components.sparse_units import coordinate_comparator
from fiberloom.architecture.components.technology import technology as find_technology
from fiberloom.architecture.library.structure import Structure

_MAGNITUDE_BITS: Final = 8


def extraction_pj(entries: Sequence[Structure], technology: str) -> float:
    """pJ per element of the tensor: as many comparisons as its block keeps values, over all terms."""
    comparisons = sum(entry.kept for entry in entries if not entry.is_dense)
    return comparisons * coordinate_comparator(_MAGNITUDE_BITS).energy_pj(find_technology(technology))
