"""A proxy model of an exploration: gradient-boosted trees that foretell the metrics of designs from those evaluated so far.

ArchGym (ISCA'23) trains such models on the trajectories of its agents. Here each metric has an ensemble of trees over the indices
of the parameters, on the logarithm of the metric where it is positive. It is trained by scikit-learn (extra ``learn``); a trained
proxy is plain arrays, which need none, and its file holds nothing that runs.

.. warning:: A proxy knows what is like the designs that it was trained on. Where a search leads away from them its errors
   grow; `MetricError.regions` says how good it is among the best designs, which are few.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError
from fiberloom.explore.tree_ensemble import ARRAYS, TreeEnsemble
from fiberloom.explore.trial import Evaluated, Status

if TYPE_CHECKING:
    from fiberloom.explore.space import Point

Floats = NDArray[np.float64]

LEAST_ROWS: Final = 40
"""Fewest designs to train on: fewer leave no test set worth its name."""
_VERSION: Final = 1


@dataclass(frozen=True)
class Region:
    """How good a proxy is on a part of the test designs.

    Attributes:
        name: ``best 5 %``, or a quartile of the metric.
        low, high: of the metric's true values there.
        rows: test designs there.
        rmse_percent: root of the mean squared relative error, in percent.
        bias_percent: mean relative error.
    """

    name: str
    low: float
    high: float
    rows: int
    rmse_percent: float
    bias_percent: float


@dataclass(frozen=True)
class MetricError:
    """How good a proxy is for a metric, on designs that it was not trained on.

    Attributes:
        r2: share of the variance that is explained; of the logarithm where `logarithmic`.
        rmse_percent: root of the mean squared relative error, in percent; NaN where the metric is not positive.
        mean_percent: the same of the simplest proxy, the mean of the training designs (geometric where `logarithmic`).
        rank_correlation: Spearman's, what matters where the proxy only has to choose.
        logarithmic: whether the logarithm was learned.
        regions: the best 5 % (lowest), then the quartiles, lowest first.
    """

    r2: float
    rmse_percent: float
    mean_percent: float
    rank_correlation: float
    logarithmic: bool
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True)
class Proxy:
    """Foretells metrics of points.

    Attributes:
        parameters: names, in the order of a point.
        errors: by metric, on test designs.
        trained_on: designs.
        evaluation_seconds: of a real evaluation, the median of those trained on; None where it is not known.
        proxy_seconds: of one foretold point in a batch of a thousand, all metrics.
        facts: what the evaluations depend on, as the store has it; {} where it is not known.
    """

    parameters: tuple[str, ...]
    errors: Mapping[str, MetricError]
    trained_on: int
    evaluation_seconds: float | None
    proxy_seconds: float
    facts: Mapping[str, Any]
    _trees: Mapping[str, TreeEnsemble] = field(repr=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(self._trees)

    @property
    def speed_up(self) -> float | None:
        """Real evaluation over foretold point, in time; None where the time of an evaluation is not known."""
        return None if self.evaluation_seconds is None else self.evaluation_seconds / self.proxy_seconds

    def evaluate(self, points: Sequence[Sequence[int]] | NDArray[Any]) -> dict[str, Floats]:
        """Foretold metrics, ``(n,)`` each, of points ``(n, parameters)``.

        Raises:
            SpecError: for points of another length.
        """
        x = np.ascontiguousarray(points, float).reshape(len(points), -1 if len(points) else len(self.parameters))
        if x.shape[1] != len(self.parameters):
            raise SpecError(f"points of {x.shape[1]} numbers", hint=f"the proxy has {len(self.parameters)} parameters")
        return {name: trees(x) for name, trees in self._trees.items()}

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file: arrays of numbers and one text of JSON.

        Raises:
            SpecError: when it can't be written.
        """
        about = {
            "version": _VERSION,
            "parameters": list(self.parameters),
            "errors": {name: asdict(error) for name, error in self.errors.items()},
            "trained_on": self.trained_on,
            "evaluation_seconds": self.evaluation_seconds,
            "proxy_seconds": self.proxy_seconds,
            "facts": dict(self.facts),
            "trees": [
                {"metric": name, "start": t.start, "logarithmic": t.logarithmic} for name, t in self._trees.items()
            ],
        }
        arrays = {f"{i}.{name}": getattr(t, name) for i, t in enumerate(self._trees.values()) for name in ARRAYS}
        try:
            with path.open("wb") as file:
                np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)
        except OSError as error:
            raise SpecError(f"{path} can't be written: {error.strerror}") from None

    @classmethod
    def load(cls, path: Path) -> Proxy:
        """Read what `save` wrote.

        Raises:
            SpecError: for a file that can't be read, is no proxy, or is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about["version"] != _VERSION:
                    raise SpecError(f"{path} is a proxy of version {about['version']}", hint="train it again")
                trees = {
                    entry["metric"]: TreeEnsemble(
                        start=float(entry["start"]),
                        logarithmic=bool(entry["logarithmic"]),
                        **{name: file[f"{i}.{name}"] for name in ARRAYS},
                    ).checked(len(about["parameters"]))
                    for i, entry in enumerate(about["trees"])
                }
            errors = {
                name: MetricError(**{**error, "regions": tuple(Region(**r) for r in error["regions"])})
                for name, error in about["errors"].items()
            }
        except SpecError:
            raise
        except Exception as error:  # zip, JSON and numpy have many ways to say that a file is not theirs
            raise SpecError(f"{path} is no proxy, or is damaged: {type(error).__name__}: {error}"[:300]) from None
        return cls(
            tuple(about["parameters"]), errors, about["trained_on"], about["evaluation_seconds"],
            about["proxy_seconds"], about["facts"], trees,
        )  # fmt: skip


def train(
    parameters: Sequence[str],
    points: Sequence[Sequence[int]] | NDArray[Any],
    metrics: Mapping[str, Any],
    *,
    seconds: Any = None,
    facts: Mapping[str, Any] | None = None,
    test_share: float = 0.2,
    iterations: int = 400,
    seed: int = 0,
) -> Proxy:
    """Train on evaluated designs.

    A random `test_share` of them is left out to measure errors; the proxy that is returned is the one that was measured.

    Args:
        points: ``(n, parameters)``, indices of the chosen values.
        metrics: values ``(n,)`` by name; rows that are not finite in one are left out there.
        seconds: ``(n,)`` that the evaluations took.
        iterations: most trees per metric; fewer where more do not help on a tenth of the training designs.

    Raises:
        MissingExtraError: without scikit-learn.
        SpecError: for fewer than `LEAST_ROWS` designs, or shapes that do not agree.
    """
    x = np.asarray(points, float).reshape(len(points), -1)
    if not 0 < test_share < 1:
        raise SpecError(f"a test share of {test_share:g}", hint="a number between 0 and 1")
    if len(x) < LEAST_ROWS:
        raise SpecError(f"{len(x)} evaluated designs", hint=f"a proxy takes at least {LEAST_ROWS} to train on")
    if x.shape[1] != len(parameters):
        raise SpecError(f"{len(parameters)} parameters, but points of {x.shape[1]} numbers")
    if not metrics:
        raise SpecError("the designs have no metrics")
    order = np.random.default_rng(seed).permutation(len(x))
    is_test = np.zeros(len(x), np.bool_)
    is_test[order[: max(1, round(test_share * len(x)))]] = True
    trees: dict[str, TreeEnsemble] = {}
    errors: dict[str, MetricError] = {}
    for name, given in metrics.items():
        y = np.asarray(given, float)
        if y.shape != (len(x),):
            raise SpecError(f"metric '{name}' has {y.size} values for {len(x)} designs")
        known = np.isfinite(y)
        fit, test = known & ~is_test, known & is_test
        if fit.sum() < LEAST_ROWS // 2 or test.sum() < 2:
            raise SpecError(
                f"metric '{name}' is known of {known.sum()} designs only", hint=f"at least {LEAST_ROWS} are needed"
            )
        trees[name] = TreeEnsemble.fit(x[fit], y[fit], iterations, seed)
        errors[name] = _error(trees[name], y[fit], x[test], y[test])
    took = None if seconds is None else float(np.median(np.asarray(seconds, float)))
    proxy = Proxy(
        tuple(parameters), errors, int((~is_test).sum()), took or None, 1.0, facts or {}, trees
    )  # a time of 0 is none
    sample = x[np.random.default_rng(seed).integers(0, len(x), 1000)]
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        proxy.evaluate(sample)
        times.append((time.perf_counter() - begun) / len(sample))
    return Proxy(proxy.parameters, errors, proxy.trained_on, proxy.evaluation_seconds, min(times), proxy.facts, trees)


def train_on_designs(
    parameters: Sequence[str],
    designs: Iterable[tuple[Point, Evaluated]],
    *,
    facts: Mapping[str, Any] | None = None,
    **options: Any,
) -> Proxy:
    """`train` on what `ExplorationStore.designs` gives; only designs that were evaluated count.

    Metrics that some of them lack are left out.

    Raises:
        MissingExtraError, SpecError: as `train`.
    """
    rows = [(point, e) for point, e in designs if e.status is Status.EVALUATED]
    if not rows:
        raise SpecError("no design has been evaluated")
    names = [name for name in rows[0][1].metrics if all(name in e.metrics for _, e in rows)]
    metrics = {name: np.array([e.metrics[name] for _, e in rows]) for name in names}
    seconds = np.array([e.seconds for _, e in rows])
    return train(parameters, [point for point, _ in rows], metrics, seconds=seconds, facts=facts, **options)


def _error(trees: TreeEnsemble, fitted: Floats, x: Floats, y: Floats) -> MetricError:
    made = trees(x)
    positive = trees.logarithmic and bool((y > 0).all())
    seen, foretold = (np.log(y), np.log(made)) if positive else (y, made)
    spread = float(((seen - seen.mean()) ** 2).sum())
    r2 = 1.0 - float(((seen - foretold) ** 2).sum()) / spread if spread > 0 else math.nan
    if not positive:
        return MetricError(r2, math.nan, math.nan, _spearman(y, made), False)
    simple = float(np.exp(np.log(fitted).mean()))
    order = np.argsort(y, kind="stable")
    best = order[: max(1, round(0.05 * len(y)))]
    quartiles = np.array_split(order, 4)
    named = [("best 5 %", best), *((f"quartile {i + 1}", rows) for i, rows in enumerate(quartiles))]
    regions = tuple(
        Region(
            name, float(y[rows].min()), float(y[rows].max()), len(rows), _rmse(made[rows], y[rows]),
            100 * float((made[rows] / y[rows] - 1).mean()),
        )
        for name, rows in named
        if len(rows)
    )  # fmt: skip
    return MetricError(r2, _rmse(made, y), _rmse(np.full(len(y), simple), y), _spearman(y, made), True, regions)


def _rmse(made: Floats, y: Floats) -> float:
    return 100 * float(np.sqrt(((made / y - 1) ** 2).mean()))


def _spearman(a: Floats, b: Floats) -> float:
    """Correlation of the ranks, equal values sharing theirs; NaN where one of them does not vary."""
    ranks = []
    for values in (a, b):
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(count) - (count + 1) / 2)[place])
    if any(r.std() == 0 for r in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
