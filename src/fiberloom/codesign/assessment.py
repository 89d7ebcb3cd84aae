"""Every scheme scored on the model's weights and costed on every design: from a network with weights to a `Tradeoff`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from numpy.typing import NDArray

from fiberloom.codesign.network_cost import NetworkCost, Search, network_costs
from fiberloom.codesign.tradeoff import DENSE, Scored, Tradeoff, tradeoff
from fiberloom.codesign.weights.compression import EXACT, TERMS, Scheme, compress_layers, representation_of
from fiberloom.codesign.weights.network_weights import NetworkWeights
from fiberloom.codesign.weights.quality import Quality
from fiberloom.codesign.weights.represented_models import original_tensors, represented_module, represented_tensors
from fiberloom.errors import FiberloomError, SpecError
from fiberloom.representation import Representation, read_representation
from fiberloom.representation.sdq import SDQ, VECTOR_SCALES

SEARCHES: Final = 64
"""Mappings that are searched side by side at least, so that starting workers is worth it; points are finished so many at a time."""


@dataclass(frozen=True)
class NamedScheme:
    """A scheme as the user calls it."""

    name: str
    scheme: Scheme

    @property
    def representation(self) -> Representation:
        """What hardware runs."""
        return representation_of(self.scheme)

    @property
    def unquantised(self) -> bool:
        """Whether a term has no number format."""
        return any(term.format is None for term in self.representation.terms)


def read_scheme(text: str, method: str = "magnitude", criterion: str = "magnitude") -> NamedScheme:
    """The scheme that `text` writes: a representation, or SDQ where a pattern and ``=>`` stand in front.

    Args:
        method, criterion: of SDQ (`fiberloom.representation.sdq.SDQ.read`).

    Raises:
        SpecError: for what can't be read.
    """
    if "=>" in text or "⇒" in text:
        return read_sdq(text, method, criterion)
    return NamedScheme(" ".join(text.split()), read_representation(text))


def read_sdq(text: str, method: str, criterion: str, scales: str = VECTOR_SCALES) -> NamedScheme:
    """SDQ under a name that says how its places are chosen where that is not by magnitude.

    Args and errors as `fiberloom.representation.sdq.SDQ.read`.
    """
    scheme = SDQ.read(text, method, criterion, scales)
    how = [str(scheme.method)] if method != "magnitude" else []
    how += [f"{criterion} criterion"] if criterion != "magnitude" else []
    name = " ".join(text.split())
    return NamedScheme(f"{name} ({', '.join(how)})" if how else name, scheme)


def _named(tell: Callable[[str, int, int], None], scheme: str, layer: str) -> None:
    tell(f"{scheme}: {layer}", 0, 0)


@dataclass
class Assessment:
    """What is known so far; an interrupted one has the points that were finished.

    Attributes:
        weights: the model.
        quality: what is asked of represented models.
        activations: how they are represented where errors are measured (`compress_layers`).
        structure: of the activations, for hardware (`network_cost`).
        inputs: tensor → rows that meet it, from calibration data.
        batches: of inputs of the module, as calibration data.
        search: of mappings.
    """

    weights: NetworkWeights
    quality: Quality = field(default_factory=Quality)
    activations: str | Representation = EXACT
    structure: Any = None
    inputs: Mapping[str, NDArray[Any]] | None = None
    batches: Sequence[Any] | None = None
    search: Search = field(default_factory=Search)
    scored: dict[str, Scored] = field(default_factory=dict)
    costs: dict[tuple[str, str], NetworkCost | FiberloomError] = field(default_factory=dict)

    def run(
        self,
        designs: Sequence[str],
        schemes: Sequence[NamedScheme],
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Tradeoff:
        """Score and cost all of `schemes`, and the model as it is.

        Args:
            designs: names of the library; none: nothing is costed.
            progress: told what is being done, and how many mappings of it are searched of how many.

        Raises:
            SpecError: for schemes or designs given twice, weights that are not numbers, or a quality function that raises.
        """
        names = [named.name for named in schemes]
        for what, given in (("a representation", names), ("a design", list(designs))):
            if len(set(given)) < len(given):
                raise SpecError(f"{what} is given twice", hint="give each once")
        tell = progress or (lambda what, done, whole: None)
        dense = NamedScheme(DENSE, read_representation(DENSE))
        every = [dense, *(named for named in schemes if named.name != DENSE)]
        together = max(1, SEARCHES // max(1, len(self.weights.network.einsums) * max(1, len(designs))))
        for start in range(0, len(every), together):
            group = every[start : start + together]
            for named in group:
                if named.name not in self.scored:
                    self.score(named, partial(_named, tell, named.name))
            self._cost(designs, group, tell)
        return self.tradeoff(designs, names)

    def score(self, named: NamedScheme, progress: Callable[[str], None] | None = None) -> Scored:
        """What `named` leaves of the weights, and of the model's quality.

        Raises:
            SpecError: as `run`.
        """
        dense = named.name == DENSE
        if self.weights.module is not None and not dense and self._through_module:
            made = self._score_module(named)
        else:
            made = self._score_arrays(named, progress, dense=dense)
        self.scored[named.name] = made
        return made

    @property
    def _through_module(self) -> bool:
        """Whether the module itself has to compute: for its quality, or with calibration data run through it."""
        return self.quality.function is not None or self.batches is not None

    def _score_module(self, named: NamedScheme) -> Scored:
        activations = None if self.activations == EXACT else self.activations
        model, layers = represented_module(self.weights, named.scheme, activations, self.batches)
        value = self.quality.of(model) if self.quality.function is not None else None
        return Scored(named.name, str(named.scheme), layers, value, named.unquantised)

    def _score_arrays(self, named: NamedScheme, progress: Callable[[str], None] | None, *, dense: bool) -> Scored:
        asked = self.quality.function is not None
        layers = tuple(
            compress_layers(
                self.weights.layers,
                named.scheme,
                inputs=self.inputs,
                activations=EXACT if dense else self.activations,
                keep_terms=asked and not dense,
                progress=progress,
            )
        )
        value = None
        if asked and dense:
            module = self.weights.module
            value = self.quality.of(original_tensors(self.weights) if module is None else copy.deepcopy(module).eval())
        elif asked:
            value = self.quality.of(represented_tensors(self.weights, layers))
        light = tuple(replace(layer, terms=None) for layer in layers)
        return Scored(named.name, str(named.scheme), light, value, named.unquantised)

    def _cost(
        self, designs: Sequence[str], group: Sequence[NamedScheme], tell: Callable[[str, int, int], None]
    ) -> None:
        missing = [(d, named) for named in group for d in designs if (d, named.name) not in self.costs]
        if not missing:
            return
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        what = f"{missing[0][1].name} on {missing[0][0]}{others}"
        tell(what, 0, 0)
        found = network_costs(
            self.weights,
            [(design, named.representation if named.name != DENSE else None) for design, named in missing],
            activations=self.structure,
            search=self.search,
            progress=partial(tell, what),
        )
        self.costs |= {(design, named.name): cost for (design, named), cost in zip(missing, found, strict=True)}

    def tradeoff(self, designs: Sequence[str], names: Sequence[str]) -> Tradeoff:
        """The points that are known."""
        return tradeoff(
            replace(self.weights, notes=(*self.weights.notes, self._measured_on)),
            self.quality,
            self.scored,
            self.costs,
            designs,
            names,
            activations=str(self.activations),
        )

    @property
    def _measured_on(self) -> str:
        """Which inputs output errors belong to."""
        kept = {EXACT: "as they are", TERMS: "in the format of the weights that they meet"}
        how = f"activations {kept.get(str(self.activations), f'as {self.activations}')}"
        if self.inputs is not None or self.batches is not None:
            return f"output errors on calibration data, {how}"
        if self.activations == EXACT:
            return "output errors are those expected on Gaussian inputs: the errors of the weights"
        where = (
            "expected on Gaussian inputs"
            if self.weights.module is not None and self._through_module
            else "on Gaussian inputs"
        )
        return f"output errors {where}, {how}"


def assess(
    weights: NetworkWeights,
    representations: Sequence[str | NamedScheme],
    designs: Sequence[str] = (),
    *,
    quality: Callable[[Any], float] | Quality | None = None,
    lower_is_better: bool = False,
    calibration: Mapping[str, NDArray[Any]] | Sequence[Any] | None = None,
    activations: str | Representation = EXACT,
    activations_density: float | None = None,
    search: Search | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Tradeoff:
    """Every representation on every design: what is left of a model, what that costs, and which points are worth considering.

    Args:
        weights: see `fiberloom.codesign.weights.weight_files`.
        representations: as text (`read_scheme`), or made with `read_sdq`.
        designs: names of the library; none: only what is left is measured.
        quality: called with the represented model; None: the mean output error of layers.
        lower_is_better: of what a function returns.
        calibration: batches of a module's inputs, or tensor → rows ``(rows, in)`` that meet it.
        activations: how they are represented where quality is measured: ``exact``, ``terms`` (in the format of the weights that they
            meet) or a representation.
        activations_density: share of non-zero activations for the hardware; None: what the network states.
        search, progress: as `Assessment`.

    Raises:
        SpecError: for what makes no sense, weights that are not numbers, or a quality function that raises.
    """
    schemes = [read_scheme(given) if isinstance(given, str) else given for given in representations]
    if not schemes:
        raise SpecError("no representation is given", hint="give some, such as ['2:4', 'int8']")
    if quality is not None and not isinstance(quality, Quality):
        name = getattr(quality, "__name__", type(quality).__name__.lower())
        quality = Quality(name, lower_is_better, quality)
    return Assessment(
        weights,
        quality or Quality(),
        activations=activations,
        structure=activations_density,
        inputs=calibration if isinstance(calibration, Mapping) else None,
        batches=None if calibration is None or isinstance(calibration, Mapping) else list(calibration),
        search=search or Search(),
    ).run(designs, schemes, progress)
