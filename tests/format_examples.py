"""What the tests of number formats share: names of formats, Gaussian arrays, elements."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.formats import EXAMPLES, ElementFormat, Scaled, number_format

SIGNED = [name for name in EXAMPLES if name != "uint8"]


def gaussian(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def element_of(name: str) -> ElementFormat:
    """The element of a format without its scales."""
    found = number_format(name)
    if isinstance(found, Scaled):
        return found.element
    assert isinstance(found, ElementFormat)
    return found
