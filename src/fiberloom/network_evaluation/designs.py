"""The designs that a network is evaluated on: of the library by name, or of a user's file, bound to the names of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library import bind, describe, names
from fiberloom.architecture.library.binding import roles_of
from fiberloom.architecture.library.design import DesignInfo
from fiberloom.architecture.library.roles import Binding, find_roles, rename
from fiberloom.architecture.library.structure import Structure, structure_of
from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.mapping.constraints import Constraints
from fiberloom.network_evaluation.cases import density_of
from fiberloom.network_evaluation.matrix_product import as_matrix_product, slides
from fiberloom.network_evaluation.role_constraints import in_variables, renamed, speaks_of_roles, variables_of
from fiberloom.workload.einsum import Einsum

_FILE_ENDINGS: Final = (".yaml", ".yml", ".json")

_SPELLINGS: Final = (
    ("W", "I", "O"),
    ("W", "X", "Y"),
    ("A", "B", "Z"),
    ("A", "B", "C"),
    ("Weights", "Inputs", "Outputs"),
    ("weights", "inputs", "outputs"),
)
"""Names that architectures in files give to the first operand (weights), the second (activations) and the output."""


@dataclass(frozen=True)
class Bound:
    """A design on one layer.

    Attributes:
        einsum: the layer as the design computes it: itself, or the matrix product of its im2col.
        architecture, constraints: under the names of `einsum`.
        notes: what was changed.
        within_menu: which weights the design runs as which other, denser ones; None where it runs them as they are.
    """

    einsum: Einsum
    architecture: Architecture
    constraints: Constraints
    notes: tuple[str, ...] = ()
    within_menu: str | None = None


@dataclass(frozen=True)
class Design:
    """An accelerator that layers are mapped to.

    Attributes:
        name: of the library, or the architecture's own; unique among the designs of an evaluation.
        title: what it is, in a few words.
        source: ``library`` or the file.
        architecture: with its own names for tensors and variables.
        constraints: of the map space of every layer.
        info: for a design of the library.
    """

    name: str
    title: str
    source: str
    architecture: Architecture
    constraints: Constraints = field(default_factory=Constraints)
    info: DesignInfo | None = None
    notes: tuple[str, ...] = ()

    def bound(self, einsum: Einsum) -> Bound:
        """The design under the names of a layer.

        Raises:
            SpecError, UnsupportedError: when the design can't compute the layer, or its constraints don't fit it.
        """
        made = self._from_library(einsum) if self.info is not None else self._from_file(einsum)
        if made.constraints.levels:
            made.constraints.check(made.einsum, made.architecture)
        return made

    def _from_library(self, einsum: Einsum) -> Bound:
        info = self.info
        assert info is not None
        notes: tuple[str, ...] = ()
        if "conv" not in info.computes and slides(einsum):
            einsum, notes = as_matrix_product(einsum)
        limited, said = _within_menu(einsum, info)
        return Bound(limited, bind(info, limited), self._constraints(limited, roles_of(info, limited)), notes, said)

    def _constraints(self, einsum: Einsum, binding: Binding) -> Constraints:
        """The constraints under the names of a layer: tensors by role, variables by role unless they are the layer's own."""
        constraints = renamed(self.constraints, binding.tensors) if self.constraints.levels else self.constraints
        by_role = speaks_of_roles(constraints) and not variables_of(constraints) <= set(einsum.shape)
        return in_variables(constraints, binding) if by_role else constraints

    def _from_file(self, einsum: Einsum) -> Bound:
        mentioned = _tensors_of(self.architecture, self.constraints)
        if mentioned <= {t.name for t in einsum.tensors}:
            if not speaks_of_roles(self.constraints):
                return Bound(einsum, self.architecture, self.constraints)
            binding = _own_roles(einsum)
            return Bound(einsum, self.architecture, self._constraints(einsum, binding))
        for first, second, output in _SPELLINGS:
            if mentioned <= {first, second, output}:
                binding = find_roles(einsum, {first: "weights", second: "activations"}, output)
                architecture = _renamed(self.architecture, binding, einsum)
                return Bound(einsum, architecture, self._constraints(einsum, binding))
        raise UnsupportedError(
            f"'{self.name}' names the tensors {', '.join(sorted(mentioned))}, and the layer has "
            f"{', '.join(t.name for t in einsum.tensors)}",
            hint="name tensors W, I and O (or A, B and Z) in the architecture: they stand for weights, inputs and outputs",
        )


def _own_roles(einsum: Einsum) -> Binding:
    """Roles of a layer whose tensors keep their names."""
    first, second = (t.name for t in einsum.inputs)
    binding = find_roles(einsum, {first: "weights", second: "activations"}, einsum.output.name)
    return Binding({t.name: t.name for t in einsum.tensors}, binding.variables)


def _within_menu(einsum: Einsum, info: DesignInfo) -> tuple[Einsum, str | None]:
    """The layer with weights of the sparsest pattern that the design runs and that holds them, and what that changed.

    A design for 2:4 weights runs 1:4 as 2:4, and non-zeros anywhere as dense weights.
    """
    role = next((role for role, kind in info.operands.items() if kind == "weights"), None)
    features = any(level.formats or level.optimizations for level in info.architecture.levels)
    if info.menu is None or role is None or not features:
        return einsum, None
    weights = einsum.tensor(roles_of(info, einsum).tensors[role])
    if weights.density is None:
        return einsum, None
    structure = _structure(weights.density, density_of(einsum, weights.name))
    runs = info.menu.runs_weights_as(structure)
    if runs.ranks == structure.ranks or runs.density == structure.density:
        return einsum, None
    limited = weights.model_copy(update={"density": runs.density_field()})
    tensors = tuple(limited if t.name == weights.name else t for t in einsum.tensors)
    return einsum.model_copy(update={"tensors": tensors}), f"{info.name} runs weights that are {structure} as {runs}"


def _structure(density: Any, share: float) -> Structure:
    """The structure that a density states; non-zeros anywhere where it states none."""
    if isinstance(density, Mapping):
        field = {"fixed-structured": "density", "hierarchical": "pattern", "hss": "pattern"}.get(
            str(density.get("distribution"))
        )
        density = density.get(field) if field is not None else None
    if isinstance(density, str):
        try:
            return structure_of(density)
        except SpecError:
            pass
    return structure_of(share) if share > 0 else Structure(None, Fraction(0))


def read_design(choice: str | Path | Architecture | Design) -> Design:
    """The design that a name of the library or a file stands for.

    Args:
        choice: a library name, a YAML file with ``architecture:`` (and ``constraints:``), or an architecture.

    Raises:
        SpecError: if there is none, with the nearest name; for a file that makes no sense.
    """
    if isinstance(choice, Design):
        return choice
    if isinstance(choice, Architecture):
        return Design(choice.name, choice.description or choice.name, "given", choice)
    text = str(choice)
    if not text.endswith(_FILE_ENDINGS) and not Path(text).exists():
        try:
            info = describe(text)
        except SpecError:
            raise SpecError(
                f"no design '{text}': it is neither in the library nor a file", hint=nearest(text, names())
            ) from None
        return Design(info.name, info.title, "library", info.architecture, info=info)
    from fiberloom.input.specification import read

    found = read([text])
    if found.architecture is None:
        raise SpecError(f"{text} has no architecture", hint="give a file with an 'architecture:' section")
    name = found.architecture.name if found.architecture.name != "architecture" else Path(text).stem
    return Design(
        name, found.architecture.description or name, text, found.architecture, found.constraints, notes=found.warnings
    )


def read_designs(choices: list[str | Path | Architecture | Design]) -> tuple[Design, ...]:
    """All of them, under different names.

    Raises:
        SpecError: as `read_design`, or when none is given.
    """
    if not choices:
        raise SpecError("no design is given", hint="name at least one: --arch stc")
    made: dict[str, Design] = {}
    for choice in choices:
        design = read_design(choice)
        if design.name in made:
            if made[design.name] == design:
                continue
            raise SpecError(
                f"two designs are called '{design.name}' ({made[design.name].source} and {design.source})",
                hint="give the architectures different names",
            )
        made[design.name] = design
    return tuple(made.values())


def describe_design(design: Design) -> dict[str, Any]:
    """Peaks, capacities, bandwidths and sizes of a design, for reports.

    Bandwidths are words per cycle of all instances of a level; capacities words of one instance.
    """
    architecture = design.architecture
    info = design.info
    described: dict[str, Any] = {
        "name": design.name,
        "title": design.title,
        "source": design.source,
        "technology": architecture.technology,
        "cycle_seconds": architecture.cycle_seconds,
        "lanes": architecture.compute.instances,
        "peak_macs_per_cycle": architecture.compute.instances,
        "compute": {"name": architecture.compute.name, "word_bits": architecture.compute.word_bits},
        "levels": [
            {
                "name": level.name,
                "component": level.component.value,
                "instances": level.instances,
                "word_bits": level.word_bits,
                "capacity_words": level.capacity_words,
                "capacity_bytes": None
                if level.capacity_words is None
                else level.capacity_words * level.word_bits * level.instances / 8,
                "read_words_per_cycle": _all(level.read_bandwidth, level.instances),
                "write_words_per_cycle": _all(level.write_bandwidth, level.instances),
                "shared_words_per_cycle": _all(level.shared_bandwidth, level.instances),
                "read_bytes_per_cycle": _all(level.read_bandwidth, level.instances * level.word_bits / 8),
                "write_bytes_per_cycle": _all(level.write_bandwidth, level.instances * level.word_bits / 8),
            }
            for level in architecture.levels
        ],
        "sources": list(architecture.sources),
        "notes": list(design.notes),
    }
    if info is not None:
        described["paper"] = f"{info.paper} ({info.venue} {info.year})"
        described["summary"] = info.summary
    return described


def _all(bandwidth: float | None, instances: float) -> float | None:
    return None if bandwidth is None else bandwidth * instances


def _tensors_of(architecture: Architecture, constraints: Constraints) -> set[str]:
    found: set[str] = set()
    for level in architecture.levels:
        found |= {*(level.keep or ()), *level.formats}
        for entry in level.optimizations:
            for option in entry.options:
                found |= {option.follower, *option.leaders}
    for at in constraints.levels.values():
        found |= {*at.keep, *at.bypass, *at.free, *at.multicast, *at.peer_links}
    return found


def _renamed(architecture: Architecture, binding: Any, einsum: Einsum) -> Architecture:
    """Tensors by role; variables of ranks as they are where the layer has them, by role else."""
    named = {
        v for level in architecture.levels for f in level.formats.values() for r in f.ranks for v in r.variables or ()
    }
    if not named or not named <= set(einsum.shape):
        try:
            return rename(architecture, binding)
        except KeyError as error:
            raise UnsupportedError(
                f"a format of '{architecture.name}' flattens the variable {error}, which the layer does not have",
                hint="name roles there (M C P Q R S B G), which every layer has",
            ) from None
    levels = []
    for level in architecture.levels:
        renamed = rename(
            architecture.model_copy(update={"levels": (level.model_copy(update={"formats": {}}),)}), binding
        )
        formats = {binding.tensors[t]: layout for t, layout in level.formats.items()}
        levels.append(renamed.levels[0].model_copy(update={"formats": formats}))
    return architecture.model_copy(update={"levels": tuple(levels)})
