"""Number formats: what a value is stored as, with its scales, and what is left of it.

`number_format` reads names. One family per module: `integers`, `minifloats` and `few_levels` are elements, `scaled` puts
`scales` on them, `bitmod` chooses among code books, `hadamard` rotates first, `names` knows what all are called. `measures`
compares, `digits` counts what a serial multiplier goes through, `crest` foretells the noise.
"""

from fiberloom.representation.formats._base import NumberFormat, Quantized, Stored
from fiberloom.representation.formats.bitmod import BitMod
from fiberloom.representation.formats.digits import Digits, mean_digits, nonzero_digits
from fiberloom.representation.formats.element import ElementFormat
from fiberloom.representation.formats.hadamard import Hadamard
from fiberloom.representation.formats.integers import Integer
from fiberloom.representation.formats.measures import Fidelity, crest_factor, fidelity
from fiberloom.representation.formats.minifloats import Minifloat, Specials
from fiberloom.representation.formats.names import EXAMPLES, number_format
from fiberloom.representation.formats.scaled import Scaled
from fiberloom.representation.formats.scales import Rule
from fiberloom.representation.formats.scaling import Per, Scaling

__all__ = [
    "EXAMPLES",
    "BitMod",
    "Digits",
    "ElementFormat",
    "Fidelity",
    "Hadamard",
    "Integer",
    "Minifloat",
    "NumberFormat",
    "Per",
    "Quantized",
    "Rule",
    "Scaled",
    "Scaling",
    "Specials",
    "Stored",
    "crest_factor",
    "fidelity",
    "mean_digits",
    "nonzero_digits",
    "number_format",
]
