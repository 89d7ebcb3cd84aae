"""Signal over quantisation noise as a function of the crest factor: closed forms for integers and floats with block scales.

Chen et al., *INT v.s. FP*, arXiv:2510.25602, §3, for Gaussian values of standard deviation 1 whose block maximum is the crest
factor. Rounding noise is uniform: an integer's quantum is the same everywhere, a float's grows with the number and stops
shrinking among the subnormals. A scale that is a power of two overshoots the ideal one by `overshoot`, between 1 and 2; a
scale of finer format does not, and then the block's maximum is free of error. As in the paper an integer of b bits has
``2^(b-1)`` steps up to the maximum, one more than symmetric clipping leaves: 4.78 + 6.02 b dB less the crest factor's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fiberloom.errors import SpecError
from fiberloom.representation.formats.element import ElementFormat
from fiberloom.representation.formats.integers import Integer
from fiberloom.representation.formats.minifloats import Minifloat

OVERSHOOT = 1.5
"""Mean of a power-of-two scale over the ideal one that the paper's crossovers assume."""


def foretold_qsnr_db(
    element: ElementFormat, crest: float, *, overshoot: float = OVERSHOOT, exact_maximum_of: int | None = None
) -> float:
    """Signal over quantisation noise in dB of Gaussian values.

    Args:
        element: an integer or a minifloat.
        crest: largest magnitude of a block over root mean square; at least 1.
        overshoot: of the stored scale over the ideal one.
        exact_maximum_of: elements of a block, one of which is free of error because the scale was made for it; None: none is.

    Raises:
        SpecError: for other elements, and for a crest factor below 1.
    """
    if not crest >= 1:
        raise SpecError(
            f"a crest factor of {crest}", hint="the largest magnitude is at least the root mean square: from 1"
        )
    free = 0.0 if exact_maximum_of is None else 1 / exact_maximum_of
    if free * crest**2 > 1:
        raise SpecError(
            f"a crest factor of {crest} in a block of {exact_maximum_of}", hint="at most the root of its elements"
        )
    scale = overshoot * crest / element.largest
    if isinstance(element, Integer):
        noise = (overshoot * crest / 2 ** (element.bits - element.signed)) ** 2 / 12 * (1 - free)
    elif isinstance(element, Minifloat):
        normal = element.smallest * scale  # where subnormals end
        # noise over energy of normal numbers: quanta of 2^-fraction of the power of two below, whose square is on average
        # about half of the number's
        relative = 1 / (24 * 4.0**element.fraction)
        quantum = normal / 2**element.fraction
        noise = relative * max(0.0, _energy_above(normal) - free * crest**2) + quantum**2 / 12 * _share_below(normal)
    else:
        raise SpecError(f"no closed form for {element.symbol}", hint="integers and minifloats have one")
    return -10 * math.log10(noise)


def crossover(
    integer: ElementFormat,
    minifloat: ElementFormat,
    *,
    overshoot: float = OVERSHOOT,
    exact_maximum_of: int | None = None,
) -> float:
    """The crest factor above which the float has less noise than the integer. Arguments and errors as `foretold_qsnr_db`.

    Raises:
        SpecError: if there is none between 1 and 1000, or the root of the block's elements.
    """

    def lead(crest: float) -> float:
        one, other = (
            foretold_qsnr_db(e, crest, overshoot=overshoot, exact_maximum_of=exact_maximum_of)
            for e in (integer, minifloat)
        )
        return one - other

    low, high = 1.0, 1000.0 if exact_maximum_of is None else math.sqrt(exact_maximum_of)
    if not lead(low) > 0 > lead(high):
        raise SpecError(f"{integer.symbol} and {minifloat.symbol} have no crossover")
    return _root(lead, low, high)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is 0, to a millionth."""
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _share_below(bound: float) -> float:
    """Share of Gaussian values whose magnitude is below `bound`."""
    return math.erf(bound / math.sqrt(2))


def _energy_above(bound: float) -> float:
    """Share of the energy of Gaussian values that is in magnitudes above `bound`."""
    return 1 - _share_below(bound) + math.sqrt(2 / math.pi) * bound * math.exp(-(bound**2) / 2)
