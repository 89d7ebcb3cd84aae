"""TASDER: which structured decomposition each layer gets, at the least compute that keeps quality.

Jeong, Tsai, Emer et al.: *Abstracting Sparse DNN Acceleration via Structured Sparse Tensor Decomposition*, arXiv:2403.07953.
The exact rules of the paper's search are not public; what is searched here is stated with each function. The plain rule, keep
what loses at most one percent on the examples at hand, picks chance as well: gains shrink or floors break on other examples. So
steps are judged by a lower bound on quality, and the outcome is judged again on examples that the search never saw.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fiberloom.errors import SpecError
from fiberloom.representation.confidence import checked_confidence, ratio_bound
from fiberloom.representation.models._arrays import as_array, as_tensor
from fiberloom.representation.models.attention import open_attention
from fiberloom.representation.models.calibrate import Batch, checked_batches, observe, use_of_layers
from fiberloom.representation.models.compress import Compressed, compress, copied
from fiberloom.representation.models.layers import Layer, layers_of
from fiberloom.representation.models.quality import Quality, read_quality
from fiberloom.representation.notation import read_representation
from fiberloom.representation.term import Representation

FLOOR: Final = 0.99
"""Share of the original's quality to keep (TASD, §4: as MLPerf Inference's closed division asks for)."""
HELD: Final = 0.99
"""Share of the magnitude that a pseudo-density's elements hold, for activations that are never exactly zero. TASD says *most*."""
NEVER_ZERO: Final = 0.95
"""Activations of which more than this share are non-zero count as never zero: ReLU leaves about half, GELU nearly all."""
MENU_VEGETA_M8: Final = ("4:8+2:8", "4:8+1:8", "4:8", "2:8+1:8", "2:8", "1:8")
"""What TTC-VEGETA-M8 runs besides dense: one or two terms of 1:8, 2:8 and 4:8 (VEGETA, arXiv:2302.08687)."""


@dataclass(frozen=True)
class Judgement:
    """Quality on some examples, as far as they tell.

    Attributes:
        quality: of the compressed model.
        original: of the original.
        bound: lower bound on `quality` / `original`; None where the quality function gives one figure only.
    """

    quality: float
    original: float
    bound: float | None

    @property
    def share(self) -> float:
        """`quality` / `original`."""
        return self.quality / self.original if self.original else 0.0


@dataclass(frozen=True)
class Step:
    """One thing that the search tried.

    Attributes:
        what: a layer's name, or what was changed throughout.
        representation: what it got.
        harm: what candidates were sorted by: the share of non-zeros dropped (weights), or alpha (activations).
        compute: share of multiplications left with it.
        judgement: on the search's examples.
        kept: whether it stayed.
    """

    what: str
    representation: str
    harm: float
    compute: float
    judgement: Judgement
    kept: bool


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        compressed: the model, compressed so.
        choices: representation by layer; layers that are not named stay dense.
        compute: share of the multiplications of all searched layers that are left.
        floor: share of the original's quality that was to be kept.
        confidence: of the bounds; None: the plain rule.
        searched: the outcome on the search's examples: too good by what the search owes to chance.
        held_out: the outcome on other examples; None without.
        steps: everything that was tried, in order.
    """

    compressed: Compressed
    choices: dict[str, str]
    compute: float
    floor: float
    confidence: float | None
    searched: Judgement
    held_out: Judgement | None
    steps: tuple[Step, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All figures, without the model."""
        return {
            "choices": self.choices,
            "compute": self.compute,
            "floor": self.floor,
            "confidence": self.confidence,
            "searched": _figures(self.searched),
            "held_out": None if self.held_out is None else _figures(self.held_out),
            "steps": [{**vars(step), "judgement": _figures(step.judgement)} for step in self.steps],
        }


class Judge:
    """Compares models with the original on one set of examples; `confidence` None: by the plain figures."""

    def __init__(
        self, quality: Quality | Callable[[nn.Module], Any], original: nn.Module, confidence: float | None
    ) -> None:
        self._quality = read_quality(quality)
        self._before = self._quality.scores(original)
        self._confidence = None if confidence is None else checked_confidence(confidence)
        if float(self._quality.of(np.asarray(self._before.mean()))) <= 0:
            raise SpecError(
                f"the original's quality '{self._quality.name}' is not positive: no share of it can be kept",
                hint="give a quality that is positive and higher when better",
            )
        if self._confidence is not None and self._before.size < 2:
            raise SpecError(
                f"the quality '{self._quality.name}' gives one figure, which says nothing of chance",
                hint="return an array with a score for each example, or search with confidence=None, the plain rule",
            )

    def __call__(self, model: nn.Module) -> Judgement:
        after = self._quality.scores(model)
        bound = None
        if self._confidence is not None:
            bound = ratio_bound(self._before, after, self._confidence, self._quality.of)
        return Judgement(self._figure(after), self._figure(self._before), bound)

    def _figure(self, scores: NDArray[Any]) -> float:
        return float(self._quality.of(np.asarray(scores.mean())))


def tasder_weights(
    model: nn.Module,
    quality: Quality | Callable[[nn.Module], Any],
    calibration: Iterable[Batch],
    candidates: Sequence[str | Representation] = MENU_VEGETA_M8,
    *,
    held_out: Quality | Callable[[nn.Module], Any] | None = None,
    floor: float = FLOOR,
    confidence: float | None = 0.95,
    layerwise: bool = True,
    patience: int = 1,
    exclude: Sequence[str] = (),
) -> Search:
    """TASD-W: series for weights.

    All pairs of a layer and a candidate are sorted by the share of the layer's non-zeros that are dropped, and tried in that
    order where they lower the layer's compute; one that takes quality below the floor is taken back. With `layerwise` off, all
    layers get the same candidate.

    Args:
        quality: to keep, on the search's examples.
        calibration: batches; the first says how often each layer multiplies.
        candidates: the hardware's menu; dense need not be named.
        held_out: the same quality on examples that are not the search's.
        floor: share of the original's quality to keep.
        confidence: with which the floor is kept, on examples like the search's; None: the plain rule, by the figure alone.
        patience: refusals in a row after which the search ends; 1 is the plain rule.
        exclude: names or patterns of layers that stay dense.

    Raises:
        SpecError: for candidates whose density depends on the tensor, a quality function that raises or gives one figure where
            a bound is asked for, and what `compress` raises.
    """
    menu = _menu(candidates)
    _check(floor, patience)
    trial = _Trial(model, calibration, exclude)
    judge = Judge(quality, trial.model, confidence)
    tries: list[tuple[float, dict[str, Representation]]] = []
    for representation in menu:
        harms = {name: trial.harm(name, representation) for name in trial.layers}
        if layerwise:
            tries += [(harm, {name: representation}) for name, harm in harms.items()]
        else:
            tries.append((max(harms.values()), dict.fromkeys(harms, representation)))
    tries.sort(key=lambda entry: (entry[0], [-_share(r) for r in entry[1].values()]))
    current: dict[str, Representation] = {}
    standing = judge(trial.model)
    steps: list[Step] = []
    refused = 0
    for harm, change in tries:
        lower = all(_share(r) < (_share(current[name]) if name in current else 1) for name, r in change.items())
        if not lower:
            continue
        proposal = current | change
        trial.set(change)
        found = judge(trial.model)
        kept = _holds(found, floor)
        what, representation = next(iter(change.items()))
        what = what if layerwise else "every layer"
        steps.append(Step(what, str(representation), harm, trial.compute(proposal), found, kept))
        if kept:
            current, standing, refused = proposal, found, 0
            continue
        trial.set({name: current.get(name) for name in change})
        refused += 1
        if refused >= patience:
            break
    compute = trial.compute(current)
    chosen: Any = dict(current)
    compressed = compress(model, chosen) if chosen else _nothing(model)
    judged = None if held_out is None else Judge(held_out, model, confidence)(compressed.model)
    return Search(
        compressed, {n: str(r) for n, r in current.items()}, compute, floor, confidence, standing, judged, tuple(steps)
    )


def tasder_activations(
    model: nn.Module,
    quality: Quality | Callable[[nn.Module], Any],
    calibration: Iterable[Batch],
    candidates: Sequence[str | Representation] = MENU_VEGETA_M8,
    *,
    held_out: Quality | Callable[[nn.Module], Any] | None = None,
    floor: float = FLOOR,
    confidence: float | None = 0.95,
    held: float = HELD,
    exclude: Sequence[str] = (),
) -> Search:
    """TASD-A: series for activations, taken at run time.

    Every layer gets the candidate of least compute whose sparsity is at most the measured sparsity of its inputs plus alpha,
    one number for the whole model. The largest alpha that keeps the floor is found by bisection over the finitely many that
    make a difference (quality is taken to fall as alpha grows).

    Args:
        held: of the magnitude, by the fewest elements that hold so much: the pseudo-density of activations that are never
            zero (see `NEVER_ZERO`). Others have a density.
        calibration: batches on which densities are measured.

    Other arguments, results and errors as `tasder_weights`.
    """
    menu = sorted(_menu(candidates), key=_share)
    _check(floor, 1)
    if not 0 < held <= 1:
        raise SpecError(f"a pseudo-density that holds {held:g} of the magnitude", hint="above 0, at most 1")
    batches = checked_batches(calibration)
    densities = activation_densities(model, batches, held, exclude)
    judge = Judge(quality, model, confidence)
    trial = _Trial(model, batches, exclude)
    alphas = sorted({density - _share(r) for density in densities.values() for r in menu})
    steps: list[Step] = []
    best: tuple[dict[str, Representation], Judgement, Compressed] | None = None
    low, high = 0, len(alphas)
    while low < high:
        middle = (low + high) // 2
        choices = _at_alpha(densities, menu, alphas[middle])
        inputs: Any = choices
        compressed = compress(model, dict.fromkeys(choices, "dense"), activations=inputs)
        found = judge(compressed.model)
        kept = _holds(found, floor)
        text = ", ".join(sorted({str(r) for r in choices.values()}))
        steps.append(Step("every layer", text, alphas[middle], trial.compute(choices), found, kept))
        if kept:
            best, low = (choices, found, compressed), middle + 1
        else:
            high = middle
    choices, standing, compressed = best if best is not None else ({}, judge(model), _nothing(model))
    judged = None if held_out is None else Judge(held_out, model, confidence)(compressed.model)
    return Search(
        compressed,
        {n: str(r) for n, r in choices.items()},
        trial.compute(choices),
        floor,
        confidence,
        standing,
        judged,
        tuple(steps),
    )


def activation_densities(
    model: nn.Module, calibration: Iterable[Batch], held: float = HELD, exclude: Sequence[str] = ()
) -> dict[str, float]:
    """Mean density of each layer's inputs, or their pseudo-density where they are never zero; of layers that are reached.

    Args:
        held: see `tasder_activations`.
    """
    opened = copied(model)
    open_attention(opened)
    layers, _ = layers_of(opened, exclude)
    sums: dict[str, NDArray[np.float64]] = {}

    def see(layer: Layer, inputs: Tensor) -> None:
        values = as_array(inputs).ravel()
        nonzero = float(np.count_nonzero(values) / values.size)
        sums.setdefault(layer.name, np.zeros(3))[:] += (1, nonzero, pseudo_density(values, held))

    observe(opened, layers, checked_batches(calibration), see)
    found = {}
    for name, (count, nonzeros, pseudo) in sums.items():
        found[name] = float(pseudo / count if nonzeros / count > NEVER_ZERO else nonzeros / count)
    return found


def pseudo_density(values: NDArray[Any], held: float = HELD) -> float:
    """Least share of elements that hold `held` of the sum of magnitudes; with 1, the share of non-zeros."""
    magnitudes = np.sort(np.abs(values), axis=None)[::-1].astype(np.float64)
    total = np.cumsum(magnitudes)
    if total[-1] == 0:
        return 0.0
    if held >= 1:
        return float(np.count_nonzero(magnitudes) / magnitudes.size)
    return float((int(np.searchsorted(total, held * total[-1])) + 1) / magnitudes.size)


class _Trial:
    """A copy of a model whose weights are exchanged to try representations."""

    def __init__(self, model: nn.Module, calibration: Iterable[Batch], exclude: Sequence[str]) -> None:
        self.model = copied(model)
        open_attention(self.model)
        layers, _ = layers_of(self.model, exclude)
        use = use_of_layers(self.model, layers, checked_batches(calibration)[0])
        self.layers = {layer.name: layer for layer in layers if layer.name in use}
        if not self.layers:
            raise SpecError("the calibration data reaches no layer")
        self._products = {name: use[name].products for name in self.layers}
        self._originals = {name: layer.module.weight.detach() for name, layer in self.layers.items()}

    def harm(self, name: str, representation: Representation) -> float:
        """Share of a layer's non-zeros that a representation drops."""
        matrix = as_array(self.layers[name].geometry.matrix(self._originals[name]))
        lost = int(np.count_nonzero((matrix != 0) & (self._project(name, representation) == 0)))
        return lost / max(1, int(np.count_nonzero(matrix)))

    def set(self, change: Mapping[str, Representation | None]) -> None:
        """Give layers representations; None: the original weights."""
        for name, representation in change.items():
            layer, original = self.layers[name], self._originals[name]
            if representation is None:
                layer.module.weight = nn.Parameter(original, requires_grad=False)
                continue
            matrix = as_tensor(self._project(name, representation), original)
            layer.module.weight = nn.Parameter(layer.geometry.weight(matrix), requires_grad=False)

    def compute(self, choices: Mapping[str, Representation]) -> float:
        """Share of all layers' multiplications that is left."""
        left = sum(p * (_share(choices[n]) if n in choices else 1.0) for n, p in self._products.items())
        return left / sum(self._products.values())

    def _project(self, name: str, representation: Representation) -> NDArray[Any]:
        matrix = as_array(self.layers[name].geometry.matrix(self._originals[name]))
        groups = np.split(matrix, self.layers[name].geometry.groups)
        return np.concatenate([representation.project(np.ascontiguousarray(group)) for group in groups])


def _menu(candidates: Sequence[str | Representation]) -> list[Representation]:
    if isinstance(candidates, str | Representation):
        raise SpecError("candidates are a list", hint=f"write ['{candidates}']")
    menu = [read_representation(candidate) for candidate in candidates]
    for representation in menu:
        if representation.stored_share is None:
            raise SpecError(
                f"how much '{representation}' computes depends on the tensor", hint="take N:M or HSS patterns"
            )
    return [r for r in menu if _share(r) < 1]


def _check(floor: float, patience: int) -> None:
    if not 0 < floor <= 1:
        raise SpecError(f"a floor of {floor:g} of the original's quality", hint="a share, such as 0.99")
    if patience < 1:
        raise SpecError(f"a patience of {patience}", hint="1 or more refusals")


def _at_alpha(densities: Mapping[str, float], menu: list[Representation], alpha: float) -> dict[str, Representation]:
    """The candidate of least compute for every layer whose share is at least the density less alpha."""
    found = {}
    for name, density in densities.items():
        fitting = [r for r in menu if _share(r) >= density - alpha - 1e-12]  # alphas are such differences themselves
        if fitting:
            found[name] = fitting[0]
    return found


def _share(representation: Representation) -> float:
    share = representation.stored_share
    assert share is not None
    return float(share)


def _holds(judgement: Judgement, floor: float) -> bool:
    return (judgement.share if judgement.bound is None else judgement.bound) >= floor


def _figures(judgement: Judgement) -> dict[str, float | None]:
    return {**vars(judgement), "share": judgement.share}


def _nothing(model: nn.Module) -> Compressed:
    return Compressed(copy.deepcopy(model), (), ())
