"""The ``problem:`` section of an accelerator space: workloads, and how their mappings are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from fiberloom.errors import SpecError
from fiberloom.input.field import Field
from fiberloom.mapper.objective import parse_objective
from fiberloom.mapper.search import searchers
from fiberloom.network_evaluation.mapping_search import DATAFLOW, EXACT
from fiberloom.workload.network import Network

_FIELDS: Final = ("kind", "workloads", "mapper", "seconds", "objective")
_WORKLOAD_FIELDS: Final = ("network", "dims", "weights", "activations", "weight", "name")

SECONDS: Final = 2.0
"""Most time of the exact mapper per layer, unless a space says otherwise: designs are many."""


@dataclass(frozen=True)
class Workload:
    """A network as it is run.

    Attributes:
        network: what `fiberloom.workload.importers.read_network` takes.
        dims: extents of its dynamic axes.
        weights, activations: a pattern, a representation, a share of non-zeros; None: as the network says.
        weight: in the geometric mean over workloads.
    """

    name: str
    network: str
    dims: Mapping[str, int] = field(default_factory=dict)
    weights: Any = None
    activations: Any = None
    weight: float = 1.0

    def read(self) -> Network:
        """The network, read once per process."""
        return _network(self.network, tuple(sorted(self.dims.items())))

    def check(self) -> None:
        """Whether there is such a network, and what is given of its tensors is a density or a representation.

        Raises:
            SpecError: where not.
        """
        try:
            self.sparse()
        except SpecError as error:
            from fiberloom.representation.notation import read_representation

            self.read()
            try:
                for given in (self.weights, self.activations):
                    if isinstance(given, str):
                        read_representation(given)
            except SpecError:
                raise error from None

    def sparse(self) -> Network:
        """The network with these densities.

        Raises:
            SpecError: for what is no density.
        """
        from fiberloom.network_evaluation import parse_density, with_densities

        given = (None if d is None else parse_density(str(d), self.name) for d in (self.weights, self.activations))
        return with_densities(self.read(), *given)


@dataclass(frozen=True)
class Search:
    """How a layer's mapping is found: see `fiberloom.network_evaluation.run_network`."""

    mapper: str = EXACT
    seconds: float = SECONDS
    objective: str = "edp"


@lru_cache(maxsize=32)
def _network(name: str, dims: tuple[tuple[str, int], ...]) -> Network:
    from fiberloom.workload.importers import read_network

    return read_network(name, dims=dict(dims))


def read_problem(section: Field) -> tuple[tuple[Workload, ...], Search]:
    """Workloads and search of a filled ``problem:`` section.

    Raises:
        SpecError: with the place of what is missing or wrong.
    """
    fields = section.mapping()
    section.refuse_unknown(fields, _FIELDS)
    if "workloads" not in fields or not fields["workloads"].items():
        raise section.error("no workload is given", "add 'workloads: [{network: resnet50}]', or use --workload")
    workloads = tuple(_workload(entry) for entry in fields["workloads"].items())
    names = [w.name for w in workloads]
    for name in names:
        if names.count(name) > 1:
            raise fields["workloads"].error(f"two workloads are called '{name}'", "give one another 'name'")
    search = Search(
        fields["mapper"].one_of((EXACT, DATAFLOW, *searchers()), "mapper") if "mapper" in fields else EXACT,
        float(fields["seconds"].number(above=0)) if "seconds" in fields else SECONDS,
        _objective(fields["objective"]) if "objective" in fields else Search.objective,
    )
    return workloads, search


def _objective(field: Field) -> str:
    try:
        parse_objective(field.text())
    except SpecError as error:
        raise field.error(error.problem, error.hint) from None
    return field.text()


def _workload(entry: Field) -> Workload:
    if entry.is_text:
        return parse_workload(entry.text())
    fields = entry.mapping()
    entry.refuse_unknown(fields, _WORKLOAD_FIELDS)
    if "network" not in fields:
        raise entry.error("'network' is missing", "name one of the zoo, or a file")
    given = {key: _plain(fields[key]) for key in ("weights", "activations") if key in fields}
    network = fields["network"].text()
    return Workload(
        name=fields["name"].text() if "name" in fields else _name(network, given.get("weights")),
        network=network,
        dims={k: v.integer(minimum=1) for k, v in fields["dims"].mapping().items()} if "dims" in fields else {},
        weight=float(fields["weight"].number(above=0)) if "weight" in fields else 1.0,
        **given,
    )


def parse_workload(text: str) -> Workload:
    """A workload of one line: ``resnet50``, ``resnet50@2:4``, ``bert_base@0.3,seq=128``.

    Raises:
        SpecError: for what can't be read.
    """
    network, _, rest = text.partition("@")
    weights: Any = None
    dims = {}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            weights = _density(part)
        elif value.isdigit() and int(value) > 0:
            dims[name.strip()] = int(value)
        else:
            raise SpecError(f"'{part}' is no extent", hint="for example resnet50@2:4,batch=4")
    return Workload(_name(network.strip(), weights), network.strip(), dims, weights)


def _name(network: str, weights: Any) -> str:
    return network if weights is None else f"{network} {weights}"


def _plain(field: Field) -> Any:
    return _density(field.value) if isinstance(field.value, str) else field.value


def _density(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return None if text == "dense" else text
