"""The exact mapper: a shortest path over tile shapes, from the whole problem to one element, with a certificate.

`search` runs it; `terrain` and `sparsity` lay out the tables; `lattice` and `orders` are what a step may be; `sweep` bounds what
is left; `labels` carries partial mappings on.
"""

from fiberloom.mapper.exact.answer import Optimum
from fiberloom.mapper.exact.optimum import find_optimum

__all__ = ["Optimum", "find_optimum"]
