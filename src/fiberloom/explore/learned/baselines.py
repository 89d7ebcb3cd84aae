"""What a learned model has to beat: constants, tables, neighbours, trees, and searches of the model itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import require
from fiberloom.explore.learned.designs import BUFFER_KIB, CLUSTERS, COUNT, areas_mm2, levels
from fiberloom.explore.learned.inputs import columns
from fiberloom.explore.learned.labelling import Labels

Designs = NDArray[np.int64]
Floats = NDArray[np.float64]


class Predictor(Protocol):
    """Foretells a design for every row of labels, of which it reads bounds, dataflow and cap."""

    def __call__(self, labels: Labels) -> Designs:
        """Design numbers ``(n,)``."""
        ...


def most_frequent(train: Labels) -> Predictor:
    """The design that is best most often."""
    design = int(np.bincount(train.design, minlength=COUNT).argmax())
    return lambda labels: np.full(len(labels), design)


def most_lanes() -> Predictor:
    """The largest array that fits the cap, then the largest buffer beside it. Learns nothing."""
    return lambda labels: rank_by_lanes(labels.cap_mm2)


def largest_buffer() -> Predictor:
    """The largest buffer that fits the cap, then the largest array beside it. Learns nothing."""
    return lambda labels: _first_within(labels.cap_mm2, part=1)


def rank_by_lanes(caps_mm2: Any) -> Designs:
    """The design of the most lanes within each cap ``(n,)``, with the largest buffer beside them."""
    return _first_within(caps_mm2, part=0)


def _first_within(caps_mm2: Any, part: int) -> Designs:
    parts = levels(np.arange(COUNT))
    ranking = np.lexsort((-parts[1 - part], -parts[part]))
    within = areas_mm2()[ranking] <= np.asarray(caps_mm2)[:, None]
    return np.asarray(ranking[np.argmax(within, axis=1)])


_RESOLUTIONS = ((1.0, 4.0), (1.0, 2.0), (2.0, 2.0), (4.0, 1.0))
"""Octaves to a cell of the shape, cells of the cap to an octave: finest table first. The finest has about as many cells as rows."""


def table(train: Labels) -> Predictor:
    """The most frequent design by dataflow and quantised shape and cap; unseen cells ask a coarser table, at last cap and dataflow."""

    def keys(labels: Labels, octaves: float, per_octave: float) -> list[tuple[int, ...]]:
        shape = np.floor(np.log2(labels.bounds) / octaves).astype(int)
        cap = np.floor(np.log2(labels.cap_mm2) * per_octave).astype(int)
        return [tuple(map(int, row)) for row in np.column_stack([labels.dataflow, cap, shape])]

    def made(of: Callable[[Labels], list[tuple[int, ...]]]) -> dict[tuple[int, ...], int]:
        cells: dict[tuple[int, ...], Counter[int]] = {}
        for key, design in zip(of(train), train.design, strict=True):
            cells.setdefault(key, Counter())[int(design)] += 1
        return {key: counter.most_common(1)[0][0] for key, counter in cells.items()}

    def reader_of(octaves: float, per_octave: float) -> Callable[[Labels], list[tuple[int, ...]]]:
        return lambda labels: keys(labels, octaves, per_octave)

    readers = [reader_of(*resolution) for resolution in _RESOLUTIONS]
    readers.append(lambda labels: [key[:2] for key in keys(labels, 1.0, 4.0)])
    tables = [(reader, made(reader)) for reader in readers]
    common = int(np.bincount(train.design, minlength=COUNT).argmax())

    def predict(labels: Labels) -> Designs:
        found: list[int | None] = [None] * len(labels)
        for reader, cells in tables:
            found = [f if f is not None else cells.get(key) for f, key in zip(found, reader(labels), strict=True)]
        return np.array([common if f is None else f for f in found])

    return predict


def neighbours(train: Labels, count: int = 5) -> Predictor:
    """The design that most of the nearest rows of the same dataflow have, near in log2 of bounds and cap (extra ``learn``)."""
    _need_sklearn()
    from sklearn.neighbors import KNeighborsClassifier

    weights = np.array([1.0, 1.0, 1.0, 0.0, _CAP_WEIGHT])
    by_dataflow = {}
    for dataflow in np.unique(train.dataflow):
        rows = train.dataflow == dataflow
        model = KNeighborsClassifier(n_neighbors=min(count, int(rows.sum())), weights="distance")
        by_dataflow[int(dataflow)] = model.fit(columns(train)[rows] * weights, train.design[rows])

    def predict(labels: Labels) -> Designs:
        made = np.zeros(len(labels), np.int64)
        for dataflow, model in by_dataflow.items():
            rows = labels.dataflow == dataflow
            if rows.any():
                made[rows] = model.predict(columns(labels)[rows] * weights)
        return made

    return predict


_CAP_WEIGHT = 4.0  # a quarter of an octave of area matters as much as an octave of a bound; chosen on training rows


def trees(train: Labels, *, iterations: int = 300) -> Predictor:
    """Gradient-boosted trees: a regression of each part of the design, rounded (extra ``learn``).

    The buffer is foretold first and is an input of the array's model, as both share the cap.
    """
    _need_sklearn()
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x = columns(train)
    buffer = HistGradientBoostingClassifier(max_iter=iterations // 3, categorical_features=[3], random_state=0)
    buffer.fit(x, train.buffer_level)
    array = HistGradientBoostingRegressor(
        max_iter=iterations, categorical_features=[3], max_leaf_nodes=63, loss="absolute_error", random_state=0
    )
    array.fit(np.column_stack([x, train.buffer_level]), train.array_level)

    def predict(labels: Labels) -> Designs:
        features = columns(labels)
        size = buffer.predict(features)
        clusters = np.rint(array.predict(np.column_stack([features, size]))).clip(0, len(CLUSTERS) - 1)
        return np.asarray(clusters.astype(np.int64) * len(BUFFER_KIB) + size)

    return predict


def random_search(labels: Labels, evaluations: int, seed: int = 0) -> Designs:
    """The best of `evaluations` designs drawn without repetition within the cap; the true costs are looked up."""
    rng = np.random.default_rng(seed)
    areas = areas_mm2()
    made = np.zeros(len(labels), np.int64)
    for i, (product, cap) in enumerate(zip(labels.product, labels.cap_mm2, strict=True)):
        within = np.flatnonzero(areas <= cap)
        drawn = rng.permutation(within)[:evaluations]
        made[i] = _best(drawn, labels.costs[product], areas)
    return made


def genetic(labels: Labels, evaluations: int, seed: int = 0) -> Designs:
    """A genetic algorithm over the two levels, with the true costs, for every row on its own.

    A population of a fifth of the evaluations, at most 20; tournaments of two, a part from each parent, steps of one or two
    levels, the best survives. Areas are known without evaluation: designs over the cap are never drawn at first,
    and as children they die unevaluated. A design costs one evaluation, however often it is met.
    """
    rng = np.random.default_rng(seed)
    areas = areas_mm2()
    size = min(20, max(2, evaluations // 5))
    within = areas[None, :] <= labels.cap_mm2[:, None]
    known = np.zeros(within.shape, np.bool_)
    count, stale = np.zeros(len(labels), int), np.zeros(len(labels), int)
    parents = _uniform(rng, within, size)
    active = np.arange(len(labels))
    while active.size:
        before = count[active]
        for design in parents.T:
            fresh = ~known[active, design] & within[active, design] & (count[active] < evaluations)
            known[active[fresh], design[fresh]] = True
            count[active[fresh]] += 1
        stale[active] = np.where(count[active] > before, 0, stale[active] + 1)
        on = (count[active] < evaluations) & (stale[active] < _STALE)
        active, parents = active[on], parents[on]
        judged = known[active[:, None], parents]
        cost = np.where(judged, labels.costs[labels.product[active][:, None], parents], np.inf)
        parents = _children(rng, parents, cost)
    costs = np.where(known, labels.costs[labels.product], np.inf)
    by_area = np.argsort(areas, kind="stable")
    return np.asarray(by_area[costs[:, by_area].argmin(axis=1)])


def _uniform(rng: np.random.Generator, within: NDArray[np.bool_], size: int) -> Designs:
    """Designs ``(n, size)`` drawn uniformly from those within."""
    place = rng.random((len(within), size)) * within.sum(axis=1)[:, None]
    order = np.argsort(~within, axis=1, kind="stable")
    return np.asarray(np.take_along_axis(order, place.astype(np.int64), axis=1))


def _children(rng: np.random.Generator, parents: Designs, fitness: Floats) -> Designs:
    n, size = parents.shape
    best = np.take_along_axis(parents, fitness.argmin(axis=1)[:, None], axis=1)
    duels = rng.integers(0, size, (2, n, size - 1, 2))
    winners = []
    for duel in duels:
        first, second = duel[..., 0], duel[..., 1]
        wins = np.take_along_axis(fitness, first, axis=1) <= np.take_along_axis(fitness, second, axis=1)
        winners.append(np.take_along_axis(parents, np.where(wins, first, second), axis=1))
    made = []
    for one, other, most in zip(levels(winners[0]), levels(winners[1]), _MOST, strict=True):
        part = np.where(rng.random(one.shape) < 0.5, one, other)
        step = rng.integers(-2, 3, part.shape)
        draw = rng.random(part.shape)
        part = np.where(draw < 0.4, part + step, np.where(draw < 0.5, rng.integers(0, most + 1, part.shape), part))
        made.append(np.clip(part, 0, most))
    return np.concatenate([best, made[0] * len(BUFFER_KIB) + made[1]], axis=1)


_MOST = len(CLUSTERS) - 1, len(BUFFER_KIB) - 1
_STALE = 20  # generations without a new design after which a search has converged


def _best(designs: Any, cost: Floats, areas: Floats) -> int:
    return int(designs[np.lexsort((designs, areas[designs], cost[designs]))[0]])


def _need_sklearn() -> None:
    require("sklearn", "scikit-learn", "learn", "neighbours and gradient-boosted trees")
