"""How good predicted designs are: hits, near hits, and what they cost over the best design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.learned.designs import BUFFER_KIB, CLUSTERS, COUNT, areas_mm2, levels
from fiberloom.explore.learned.labelling import Labels

Floats = NDArray[np.float64]


def into_caps(designs: Any, caps_mm2: Any) -> NDArray[np.int64]:
    """The nearest designs within the caps, ``(n,)``; those within stay.

    Near is the sum of squared differences of levels, each part over its range; of equally near ones the larger.
    """
    designs = np.asarray(designs)
    array, buffer = levels(np.arange(COUNT))
    spans = len(CLUSTERS) - 1, len(BUFFER_KIB) - 1
    areas = areas_mm2()
    made: NDArray[np.int64] = designs.astype(np.int64)
    for i in np.flatnonzero(areas[designs] > caps_mm2):
        far = ((array - array[designs[i]]) / spans[0]) ** 2 + ((buffer - buffer[designs[i]]) / spans[1]) ** 2
        within = np.flatnonzero(areas <= caps_mm2[i])
        made[i] = within[np.lexsort((-areas[within], far[within]))[0]]
    return made


@dataclass(frozen=True)
class Score:
    """Of one predictor on rows of `Labels`.

    Attributes:
        exact: share of rows whose design is the label.
        near: share within one level of the label in both parts.
        regret: cost of the prediction over the best, geometric mean.
        regret_95: its 95th percentile.
        optimal: share of rows with the least cost (several designs may have it).
        outside: share of predictions over the cap, before they were moved to the nearest design within.
        infinite: share of rows that the predicted design can't run at all; they are not in the regrets.
    """

    exact: float
    near: float
    regret: float
    regret_95: float
    optimal: float
    outside: float
    infinite: float


def score(labels: Labels, predicted: Any) -> Score:
    """Judge predictions ``(n,)`` for all rows of `labels`, which keep their costs."""
    predicted = np.asarray(predicted)
    outside = areas_mm2()[predicted] > labels.cap_mm2
    designs = into_caps(predicted, labels.cap_mm2)
    array, buffer = levels(designs)
    near = (np.abs(array - labels.array_level) <= 1) & (np.abs(buffer - labels.buffer_level) <= 1)
    ratio = labels.costs[labels.product, designs] / labels.best
    finite = np.isfinite(ratio)
    return Score(
        exact=float((designs == labels.design).mean()),
        near=float(near.mean()),
        regret=float(np.exp(np.log(ratio[finite]).mean())),
        regret_95=float(np.quantile(ratio[finite], 0.95)),
        optimal=float((ratio <= 1 + 1e-12).mean()),
        outside=float(outside.mean()),
        infinite=float(1 - finite.mean()),
    )
