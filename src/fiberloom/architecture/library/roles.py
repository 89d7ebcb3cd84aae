"""Roles: what a workload's tensors and variables are to a design.

Designs speak of *their* weights and activations and of *their* output channels; a workload has its own names. Binding
finds for each role the tensor, and for each variable the role, from the shape of the Einsum:

| role | variables |
| --- | --- |
| `M` | index the first operand (weights) and the output: output channels, rows |
| `C` | index both operands and not the output: reduced channels |
| `R`, `S` | reduced within the first and second window of a convolution (``p+r``): filter rows, filter columns |
| `P`, `Q` | index the second operand (activations) and the output: output rows, output columns; `P` alone in a GEMM |
| `B` | further such variables: batch |
| `G` | index all three: groups |

`K` stands for ``C R S`` and `N` for ``B P Q``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fiberloom.architecture.levels import Architecture, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, LeaderFollower, RankFormat, TensorFormat
from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.workload.einsum import Einsum, Tensor

ROLES = ("G", "B", "M", "C", "P", "Q", "R", "S")
SHORTHANDS = {"K": ("C", "R", "S"), "N": ("B", "P", "Q")}

_NAMES = {
    "weights": frozenset({"w", "weight", "weights", "filter", "filters", "f", "kernel", "kernels"}),
    "activations": frozenset(
        {"i", "input", "inputs", "ia", "iact", "iacts", "ifmap", "activation", "activations", "act", "x"}
    ),
}
"""Usual tensor names by what the tensor is, in lower case."""


@dataclass(frozen=True)
class Binding:
    """A design's roles in a workload.

    Attributes:
        tensors: workload tensor by the design's tensor role.
        variables: workload variables by role, outermost (declaration order) first; all roles of `ROLES` are there.
    """

    tensors: Mapping[str, str]
    variables: Mapping[str, tuple[str, ...]]

    def of_role(self, role: str) -> tuple[str, ...]:
        """Variables of a role or shorthand."""
        return tuple(v for r in SHORTHANDS.get(role, (role,)) for v in self.variables[r])


def spelled_out(role: str) -> tuple[str, ...]:
    """The roles that a role or shorthand stands for, outermost first."""
    return SHORTHANDS.get(role, (role,))


def find_roles(
    workload: Einsum, operands: Mapping[str, str], output: str, given: Mapping[str, str] | None = None
) -> Binding:
    """What the workload's tensors and variables are to a design.

    Tensors are bound, in this order: as `given`; by the design's own names; the tensor that a window slides over is the
    activations; by usual names (``W``, ``Weights``, ``I``, ``Inputs`` …); by position, first operand first.

    Args:
        operands: the design's operand roles in order, and what each is (``weights``, ``activations``, ``left``,
            ``right``).
        output: the design's output role.
        given: tensor by role, to decide it by hand.

    Raises:
        UnsupportedError: if the workload has not two operands.
        SpecError: if `given` names unknown roles or tensors.
    """
    inputs = [t.name for t in workload.inputs]
    if len(inputs) != 2:
        raise UnsupportedError(
            f"the design multiplies two tensors; '{workload}' has {len(inputs)} operands",
            hint="describe the architecture yourself, or split the Einsum",
        )
    first, second = operands
    chosen = _given(workload, operands, output, given or {})
    if not chosen:
        kinds = {kind: role for role, kind in operands.items()}
        chosen = (
            ({first: first, second: second} if set(inputs) == {first, second} else {})
            or _by_window(workload, kinds)
            or _by_name(inputs, kinds)
            or {first: inputs[0], second: inputs[1]}
        )
    if len(chosen) == 1:
        (role, name), *_ = chosen.items()
        other = second if role == first else first
        chosen[other] = next(n for n in inputs if n != name)
    tensors = {first: chosen[first], second: chosen[second], output: workload.output.name}
    return Binding(tensors, _variables(workload, workload.tensor(tensors[first]), workload.tensor(tensors[second])))


def _given(workload: Einsum, operands: Mapping[str, str], output: str, given: Mapping[str, str]) -> dict[str, str]:
    inputs = [t.name for t in workload.inputs]
    for role, name in given.items():
        if role not in (*operands, output):
            raise SpecError(f"the design has no tensor role '{role}'", hint=nearest(role, [*operands, output]))
        if role == output and name != workload.output.name:
            raise SpecError(f"role '{role}' is the output, which is '{workload.output.name}' and not '{name}'")
        if role != output and name not in inputs:
            raise SpecError(
                f"'{name}', given for role '{role}', is not an operand of '{workload}'", hint=nearest(name, inputs)
            )
    chosen = {role: name for role, name in given.items() if role != output}
    if len(set(chosen.values())) != len(chosen):
        raise SpecError(f"one tensor is given for both operands: {', '.join(chosen.values())}")
    return chosen


def _windows(tensor: Tensor) -> list[tuple[str, ...]]:
    """Variables of each rank that sums several."""
    return [tuple(term.variable for term in rank) for rank in tensor.ranks if len(rank) > 1]


def _by_window(workload: Einsum, kinds: Mapping[str, str]) -> dict[str, str]:
    sliding = [t.name for t in workload.inputs if _windows(t)]
    role = kinds.get("activations", kinds.get("right"))
    return {role: sliding[0]} if role is not None and len(sliding) == 1 else {}


def _by_name(inputs: Sequence[str], kinds: Mapping[str, str]) -> dict[str, str]:
    for kind, names in _NAMES.items():
        found = [name for name in inputs if name.lower() in names]
        if kind in kinds and len(found) == 1:
            return {kinds[kind]: found[0]}
    return {}


def _variables(workload: Einsum, weights: Tensor, activations: Tensor) -> dict[str, tuple[str, ...]]:
    in_output = set(workload.output.variables)
    in_weights, in_activations = set(weights.variables), set(activations.variables)
    roles: dict[str, list[str]] = {role: [] for role in ROLES}
    slid: list[str] = []
    for i, window in enumerate(_windows(activations)):
        for variable in window:
            if variable in in_output and variable not in in_weights:
                roles["P" if i == 0 else "Q"].append(variable)
                slid.append(variable)
            elif variable in in_weights and variable not in in_output:
                roles["R" if i == 0 else "S"].append(variable)
                slid.append(variable)
    free = []  # of the activations
    for variable in workload.shape:
        if variable in slid:
            continue
        if variable in in_output:
            if variable in in_weights:
                roles["G" if variable in in_activations else "M"].append(variable)
            else:
                free.append(variable)
        else:
            roles["C"].append(variable)
    places = (
        [] if slid else ["P"] if len(free) == 1 else ["P", "Q"]
    )  # a GEMM has one, a 1x1 convolution rows and columns
    places = ["B"] * (len(free) - len(places)) + places[: len(free)]
    for variable, place in zip(free, places, strict=True):
        roles[place].append(variable)
    return {role: tuple(variables) for role, variables in roles.items()}


def rename(architecture: Architecture, binding: Binding) -> Architecture:
    """`architecture` with the workload's tensor and variable names for the design's roles."""
    return architecture.model_copy(
        update={"levels": tuple(_rename_level(level, binding) for level in architecture.levels)}
    )


def _rename_level(level: StorageLevel, binding: Binding) -> StorageLevel:
    names = binding.tensors
    return level.model_copy(
        update={
            "keep": None if level.keep is None else tuple(names[t] for t in level.keep),
            "formats": {names[t]: _rename_format(layout, binding) for t, layout in level.formats.items()},
            "optimizations": tuple(_rename_entry(entry, names) for entry in level.optimizations),
        }
    )


def _rename_entry(entry: ActionOptimization, names: Mapping[str, str]) -> ActionOptimization:
    options = tuple(
        LeaderFollower(follower=names[o.follower], leaders=tuple(names[t] for t in o.leaders)) for o in entry.options
    )
    return ActionOptimization(kind=entry.kind, options=options)


def _rename_format(layout: TensorFormat, binding: Binding) -> TensorFormat:
    """Ranks over the workload's variables; a rank whose roles the workload has not falls away."""
    ranks = []
    for rank in layout.ranks:
        if rank.variables is None:
            ranks.append(rank)
            continue
        variables = _unique(v for role in rank.variables for v in binding.of_role(role))
        if variables:
            ranks.append(rank.model_copy(update={"variables": variables}))
    if not ranks:  # nothing is left to order; one rank keeps the format
        ranks.append(RankFormat(format=layout.ranks[-1].format, metadata_word_bits=layout.ranks[-1].metadata_word_bits))
    return TensorFormat(ranks=tuple(ranks), inner_to_outer=layout.inner_to_outer)


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
