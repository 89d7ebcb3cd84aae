"""How a tensor is kept: a sum of terms, each a pattern of places, a number format and its scales.

The same object projects real arrays, counts stored bits, and tells the hardware model what it has to run.
"""

from fiberloom.representation.decomposition import decompose_optimally, expected_dropped_nonzeros, greedy_is_optimal
from fiberloom.representation.families import distinct_densities, read_family
from fiberloom.representation.measurement import Measurement, compare, measure
from fiberloom.representation.notation import read_representation
from fiberloom.representation.storage import TermStorage
from fiberloom.representation.tensor_file import read_tensor, tensor_names
from fiberloom.representation.term import Representation, Term

__all__ = [
    "Measurement",
    "Representation",
    "Term",
    "TermStorage",
    "compare",
    "decompose_optimally",
    "distinct_densities",
    "expected_dropped_nonzeros",
    "greedy_is_optimal",
    "measure",
    "read_family",
    "read_representation",
    "read_tensor",
    "tensor_names",
]
