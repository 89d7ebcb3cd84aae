"""Gradient-boosted regression trees as plain arrays: trained by scikit-learn, answered without it, by compiled code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MissingExtraError
from fiberloom.model.compiled import compile_kernel, entry_point

Floats = NDArray[np.float64]

ARRAYS: Final = ("feature", "threshold", "left", "right", "value")
"""Names of the arrays of an ensemble, ``(trees, nodes)`` each."""


@entry_point
def add_leaves(x, feature, threshold, left, right, value, total):
    """Add to `total` ``(n,)`` the leaves that the rows ``(n, features)`` reach; a leaf's children are itself."""
    for tree in range(feature.shape[0]):  # outside, so that a tree stays in the cache for all rows
        for i in range(x.shape[0]):
            node = 0
            while left[tree, node] != node:
                lower = x[i, feature[tree, node]] <= threshold[tree, node]
                node = left[tree, node] if lower else right[tree, node]
            total[i] += value[tree, node]


@dataclass(frozen=True)
class TreeEnsemble:
    """The sum of regression trees.

    Attributes:
        feature, threshold: rows with ``x[feature] <= threshold`` go left.
        left, right: nodes after the present one; a leaf's own number.
        value: of leaves.
        start: added to every answer.
        logarithmic: whether the sum is the logarithm of the answer.
    """

    feature: NDArray[np.int64]
    threshold: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Floats
    start: float
    logarithmic: bool

    def __call__(self, x: Floats) -> Floats:
        """Answers ``(n,)`` for rows ``(n, features)``."""
        compile_kernel()
        total = np.full(len(x), self.start)
        add_leaves(x, self.feature, self.threshold, self.left, self.right, self.value, total)
        return np.exp(total) if self.logarithmic else total

    @classmethod
    def fit(cls, x: Floats, y: Floats, iterations: int, seed: int) -> TreeEnsemble:
        """Boost at most `iterations` trees; fewer where more do not help on a tenth of the rows, left out.

        The logarithm of `y` is learned where all of it is positive.

        Raises:
            MissingExtraError: without scikit-learn.
        """
        try:
            from sklearn.ensemble import HistGradientBoostingRegressor
        except ImportError:
            raise MissingExtraError("scikit-learn", "learn", "training boosted trees") from None
        logarithmic = bool((y > 0).all())
        model = HistGradientBoostingRegressor(
            max_iter=iterations,
            early_stopping=True,
            validation_fraction=0.1,
            n_iter_no_change=20,
            min_samples_leaf=min(20, max(2, len(x) // 50)),
            random_state=seed,
        )
        model.fit(x, np.log(y) if logarithmic else y)
        return cls.of(model, logarithmic=logarithmic)

    @classmethod
    def of(cls, model: Any, *, logarithmic: bool) -> TreeEnsemble:
        """The trees of a `HistGradientBoostingRegressor` without categories or missing values."""
        # scikit-learn has no public view of these trees; the tests hold that ours answer as they do
        ensembles = [stage[0].nodes for stage in model._predictors]
        shape = len(ensembles), max(len(nodes) for nodes in ensembles)
        feature = np.zeros(shape, np.int64)
        left, right = (np.tile(np.arange(shape[1]), (shape[0], 1)) for _ in range(2))
        threshold, value = np.zeros(shape), np.zeros(shape)
        for i, nodes in enumerate(ensembles):
            n = len(nodes)
            leaf = nodes["is_leaf"].astype(bool)
            feature[i, :n] = np.where(leaf, 0, nodes["feature_idx"])
            threshold[i, :n] = nodes["num_threshold"]
            left[i, :n] = np.where(leaf, np.arange(n), nodes["left"])
            right[i, :n] = np.where(leaf, np.arange(n), nodes["right"])
            value[i, :n] = nodes["value"]
        return cls(feature, threshold, left, right, value, float(np.ravel(model._baseline_prediction)[0]), logarithmic)

    def checked(self, features: int) -> TreeEnsemble:
        """The ensemble, if every walk down its trees ends and stays inside the arrays.

        Raises:
            ValueError: if not.
        """
        shape = self.feature.shape
        if len(shape) != 2 or any(getattr(self, name).shape != shape for name in ARRAYS):
            raise ValueError("arrays of trees differ in shape")
        whole = replace(
            self,
            feature=np.ascontiguousarray(self.feature, np.int64),
            threshold=np.ascontiguousarray(self.threshold, np.float64),
            left=np.ascontiguousarray(self.left, np.int64),
            right=np.ascontiguousarray(self.right, np.int64),
            value=np.ascontiguousarray(self.value, np.float64),
        )
        own = np.arange(shape[1])
        leaf = whole.left == own
        inward = (whole.left > own) & (whole.right > own) & (whole.left < shape[1]) & (whole.right < shape[1])
        if not (leaf | inward).all() or not ((whole.feature >= 0) & (whole.feature < features)).all():
            raise ValueError("trees make no sense")
        return whole
