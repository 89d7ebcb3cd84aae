"""Labels: the best of all 768 designs under an area cap, by evaluating every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.explore.learned.designs import COUNT, DATAFLOWS, DesignSpaceModel, MatrixProduct, areas_mm2, levels
from fiberloom.explore.learned.workloads import draw_caps, draw_products

Array = NDArray[Any]
Floats = NDArray[np.float64]

CAPS_PER_PRODUCT = 4
"""Caps drawn for every random product; one exhaustive evaluation labels all of them."""


def best_designs(costs: Floats, caps_mm2: Floats) -> Array:
    """Cheapest design under each cap; of equal ones the smallest, then the one of the lowest number.

    Args:
        costs: ``(768,)``, infinite where a design can't run the product.
        caps_mm2: any shape; at least the smallest design's area.

    Returns:
        design numbers, of the shape of `caps_mm2`.
    """
    areas = areas_mm2()
    by_area = np.argsort(areas, kind="stable")
    sorted_costs = costs[by_area]
    best = np.minimum.accumulate(sorted_costs)
    # first place, in order of area, where the best cost so far was reached
    first = np.maximum.accumulate(np.where(sorted_costs < np.append(np.inf, best[:-1]), np.arange(COUNT), 0))
    within = np.searchsorted(areas[by_area], caps_mm2, side="right")
    if np.any(within == 0):
        raise SpecError(f"no design is as small as {np.min(caps_mm2):g} mm2")
    return np.asarray(by_area[first[within - 1]])


@dataclass(frozen=True)
class Labels:
    """Products under dataflows and caps, and the best design of each. One row per (product, cap).

    Attributes:
        bounds: ``(n, 3)``, m, n, k.
        dataflow: ``(n,)``, index into `DATAFLOWS`.
        cap_mm2: ``(n,)``.
        design: ``(n,)``, 0..767.
        best: ``(n,)``, its cost.
        product: ``(n,)``, row of `costs`.
        costs: ``(products, 768)``, cost of every design; empty where it was not kept.
        objective: ``latency`` (cycles) or ``edp`` (pJ·cycles).
    """

    bounds: Array
    dataflow: Array
    cap_mm2: Floats
    design: Array
    best: Floats
    product: Array
    costs: Floats
    objective: str

    def __len__(self) -> int:
        return len(self.design)

    @property
    def array_level(self) -> Array:
        """0..63, clusters less one."""
        return np.asarray(levels(self.design)[0])

    @property
    def buffer_level(self) -> Array:
        """0..11."""
        return np.asarray(levels(self.design)[1])

    def take(self, rows: Any) -> Labels:
        """Some of the rows; `costs` stays whole."""
        chosen = {name: getattr(self, name)[rows] for name in _PER_ROW}
        return Labels(**chosen, costs=self.costs, objective=self.objective)

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file."""
        content: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        np.savez_compressed(path, **content)

    @classmethod
    def load(cls, path: Path) -> Labels:
        """Read what `save` wrote.

        Raises:
            SpecError: for a file that can't be read, or holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {f.name: file[f.name] for f in fields(cls)}
        except (OSError, ValueError, KeyError) as error:
            raise SpecError(
                f"{path} holds no labels: {error}", hint="make them: benchmarks/airchitect.py label"
            ) from None
        return cls(**{**content, "objective": str(content["objective"])})


_PER_ROW = ("bounds", "dataflow", "cap_mm2", "design", "best", "product")


def label(
    products: Sequence[MatrixProduct],
    caps_mm2: Floats,
    *,
    objective: str = "latency",
    keep_costs: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Labels:
    """Evaluate all designs for every product and find the best under each of its caps.

    Args:
        caps_mm2: ``(products, caps)``.
        keep_costs: keep what every design costs, 6 KB a product.
        progress: told how many products are done.
    """
    model = DesignSpaceModel()
    shape = caps_mm2.shape
    design, best = np.zeros(shape, np.int64), np.zeros(shape)
    costs = np.zeros((len(products) if keep_costs else 0, COUNT))
    for i, product in enumerate(products):
        cost = model(product).objective(objective)
        design[i] = best_designs(cost, caps_mm2[i])
        best[i] = cost[design[i]]
        if keep_costs:
            costs[i] = cost
        if progress is not None:
            progress(i + 1)
    rows = np.repeat(np.arange(len(products)), shape[1])
    return Labels(
        bounds=np.array([p.bounds for p in products])[rows],
        dataflow=np.array([DATAFLOWS.index(p.dataflow) for p in products])[rows],
        cap_mm2=caps_mm2.reshape(-1),
        design=design.reshape(-1),
        best=best.reshape(-1),
        product=rows,
        costs=costs,
        objective=objective,
    )


def random_labels(
    count: int,
    *,
    seed: int,
    objective: str = "latency",
    keep_costs: bool = False,
    without: frozenset[tuple[int, int, int]] = frozenset(),
    progress: Callable[[int], None] | None = None,
) -> Labels:
    """Labels of `count` random products under `CAPS_PER_PRODUCT` random caps each.

    Args:
        without: bounds that are left out, such as those of networks to be judged by.
    """
    rng = np.random.default_rng(seed)
    products: list[MatrixProduct] = []
    while len(products) < count:
        drawn = draw_products(rng, count - len(products))
        products += [p for p in drawn if p.bounds not in without]
    caps = draw_caps(rng, (count, CAPS_PER_PRODUCT))
    return label(products, caps, objective=objective, keep_costs=keep_costs, progress=progress)
