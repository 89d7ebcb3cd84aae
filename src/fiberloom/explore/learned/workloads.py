"""Matrix products to label: drawn at random to train on, the layers of networks to be judged by."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fiberloom.errors import SpecError
from fiberloom.explore.learned.designs import DATAFLOWS, LARGEST_BOUND, MatrixProduct, areas_mm2
from fiberloom.network_evaluation.cases import layers_of
from fiberloom.network_evaluation.matrix_product import as_matrix_product
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Network

LEAST_CAP_MM2: Final = 0.3
"""Smallest area cap that labels are drawn for; 15 designs are smaller."""
LARGEST_CAP_MM2: Final = 8.0
"""Largest one: every design is smaller."""

_LARGEST_ROUNDING: Final = 7


def draw_products(rng: np.random.Generator, count: int) -> list[MatrixProduct]:
    """Random products under random dataflows.

    m, n and k are log-uniform from 1 to 65,536, each rounded up to a multiple of 1, 2, … or 128, as sizes of layers are.
    """
    drawn = np.exp(rng.uniform(0, np.log(LARGEST_BOUND), (count, 3)))
    unit = 2 ** rng.integers(0, _LARGEST_ROUNDING + 1, (count, 3))
    bounds = np.minimum(np.ceil(drawn / unit).astype(np.int64) * unit, LARGEST_BOUND)
    dataflow = rng.integers(0, len(DATAFLOWS), count)
    return [MatrixProduct(int(m), int(n), int(k), DATAFLOWS[d]) for (m, n, k), d in zip(bounds, dataflow, strict=True)]


def draw_caps(rng: np.random.Generator, shape: Any) -> Any:
    """Area caps in mm2, log-uniform between `LEAST_CAP_MM2` and `LARGEST_CAP_MM2`."""
    return np.exp(rng.uniform(np.log(LEAST_CAP_MM2), np.log(LARGEST_CAP_MM2), shape))


def product_of(einsum: Einsum, dataflow: str, *, count: int = 1, name: str = "layer") -> MatrixProduct:
    """An Einsum as one matrix product, repeated for every index that both operands and the output share.

    Raises:
        UnsupportedError: for an Einsum that is no product of two matrices.
    """
    product, _ = as_matrix_product(einsum)
    shape = product.shape
    m, n, k = (shape.get(v, 1) for v in "mnk")
    return MatrixProduct(m, n, k, dataflow, count=count * shape.get("g", 1), name=name)


def products_of(network: Network, dataflow: str) -> list[MatrixProduct]:
    """The layers of a network, equal ones once; convolutions as the product of their im2col."""
    found: dict[tuple[int, int, int], MatrixProduct] = {}
    for layer in layers_of(network):
        made = product_of(layer.einsum, dataflow, count=layer.count, name=layer.name)
        known = found.get(made.bounds)
        if known is not None:
            made = MatrixProduct(*made.bounds, dataflow, count=known.count + made.count, name=known.name)
        found[made.bounds] = made
    if not found:
        raise SpecError(f"'{network.name}' has no matrix product or convolution")
    return list(found.values())


def check_cap(area_cap_mm2: float) -> None:
    """Raise unless a design is as small as the cap.

    Raises:
        SpecError: naming the smallest design's area.
    """
    least = float(areas_mm2().min())
    if not area_cap_mm2 >= least:
        raise SpecError(
            f"no design fits {area_cap_mm2:g} mm2",
            hint=f"the smallest takes {least:.3g} mm2, the largest {areas_mm2().max():.3g}",
        )
