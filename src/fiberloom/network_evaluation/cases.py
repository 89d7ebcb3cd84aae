"""Cases: one network at one batch size, one sparsity and one choice of widths, and its layers, equal ones together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fiberloom.errors import SpecError
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Network, NetworkTensor, Operator, Role


class Widths(StrEnum):
    """How wide values are on a design."""

    FIT = "fit"
    """As in the network, but no wider than the words of the design's compute."""
    NETWORK = "network"
    """As in the network."""
    DESIGN = "design"
    """As wide as the words of the level that holds them."""


@dataclass(frozen=True)
class Case:
    """A network as it is evaluated.

    Attributes:
        name: what tells it from the other cases; ``all`` where there is one.
        settings: the same as data (batch, weights, activations, profile).
    """

    name: str
    network: Network
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """Einsums of a network that are one computation: equal in indices, bounds, densities and widths.

    Attributes:
        einsum: with densities and widths.
        operators: those that compute it, in order.
        count: how often they do, repetitions of an operator counted.
    """

    einsum: Einsum
    operators: tuple[Operator, ...]

    @property
    def name(self) -> str:
        """Name of the first of them."""
        return self.operators[0].name

    @property
    def count(self) -> int:
        """How often it is computed."""
        return sum(o.count for o in self.operators)


def layers_of(network: Network) -> tuple[Layer, ...]:
    """The Einsums of a network, each once, in order of first use."""
    found: dict[str, tuple[Einsum, list[Operator]]] = {}
    for operator in network.einsums:
        einsum = network.resolved(operator).model_copy(update={"name": "layer"})
        identity = json.dumps(
            [list(einsum.shape.items()), [t.model_dump(mode="json") for t in einsum.tensors]], sort_keys=True
        )
        found.setdefault(identity, (einsum, []))[1].append(operator)
    return tuple(Layer(einsum, tuple(operators)) for einsum, operators in found.values())


def fitted(einsum: Einsum, widths: Widths, compute_bits: int) -> Einsum:
    """`einsum` with the widths of its values on a design whose compute takes words of `compute_bits`."""
    if widths is Widths.NETWORK:
        return einsum

    def bits(own: int | None) -> int | None:
        if widths is Widths.DESIGN or own is None or own >= compute_bits:
            return None
        return own

    tensors = tuple(t.model_copy(update={"word_bits": bits(t.word_bits)}) for t in einsum.tensors)
    return einsum.model_copy(update={"tensors": tensors})


def density_of(einsum: Einsum, tensor: str) -> float:
    """Share of non-zeros of a tensor of an Einsum."""
    found = einsum.tensor(tensor)
    if found.density is None:
        return 1.0
    if isinstance(found.density, (int, float)):
        return float(found.density)
    if isinstance(found.density, str) and "(" not in found.density:
        kept, _, of = found.density.partition(":")
        return int(kept) / int(of)
    from fiberloom.workload.density import build_density

    return float(build_density(tensor, einsum.tensor_shape(tensor), found.density).density)


def effectual_macs(einsum: Einsum) -> float:
    """Expected multiplications of two non-zeros, operands independent of each other."""
    share = 1.0
    for operand in einsum.inputs:
        share *= density_of(einsum, operand.name)
    return einsum.macs * share


def parse_density(text: str, what: str) -> float | str | None:
    """``dense``, a share of non-zeros such as ``0.3``, or a pattern such as ``2:4``; None is dense.

    Raises:
        SpecError: for anything else.
    """
    cleaned = text.strip().lower()
    if cleaned in ("dense", "1", "1.0"):
        return None
    value: float | str = cleaned
    if ":" in cleaned:
        from fiberloom.workload.density import build_density

        build_density(what, (64,), cleaned)
    else:
        try:
            value = float(cleaned)
        except ValueError:
            raise SpecError(
                f"{what}: '{text}' is not a density",
                hint="a share of non-zeros such as 0.3, a pattern such as 2:4, or dense",
            ) from None
        if not 0 < value <= 1:
            raise SpecError(f"{what}: a density of {text}", hint="the share of non-zeros, above 0 and up to 1")
    return value


def with_densities(network: Network, weights: float | str | None, activations: float | str | None) -> Network:
    """`network` with one density for all weights that Einsums multiply, and one for all activations.

    Tensors of other roles (inputs, caches) stay as they are. None leaves a kind as it is.
    """
    multiplied = {name for o in network.einsums for name in o.operands.values()}

    def changed(tensor: NetworkTensor) -> NetworkTensor:
        density = {Role.PARAMETER: weights, Role.ACTIVATION: activations}.get(tensor.role)
        if density is None or tensor.name not in multiplied:
            return tensor
        return NetworkTensor(tensor.name, tensor.shape, tensor.role, tensor.number_format, tensor.bits, density)

    return network.with_tensors([changed(t) for t in network.tensors.values()])
