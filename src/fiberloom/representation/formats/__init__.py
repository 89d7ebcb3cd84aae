"""Number formats: what a value is stored as, with its scales, and what is left of it.

`number_format` reads names. One family per module: `integers`, `minifloats`, `few_levels` are elements, `scaled` puts scales
on them, `names` knows what they are called.
"""

from fiberloom.representation.formats._base import NumberFormat, Quantized, Stored
from fiberloom.representation.formats.element import ElementFormat
from fiberloom.representation.formats.integers import Integer
from fiberloom.representation.formats.minifloats import Minifloat, Specials
from fiberloom.representation.formats.names import EXAMPLES, number_format
from fiberloom.representation.formats.scaled import Per, Scaled, Scaling
from fiberloom.representation.formats.scales import Rule

__all__ = [
    "EXAMPLES",
    "ElementFormat",
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
    "number_format",
]
