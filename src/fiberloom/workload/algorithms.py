"""Other algorithms for the same Einsum: a contraction as transposes and a GEMM, a convolution as the GEMM of its im2col.

A rewriting is a list of steps: Einsums that are computed, and words that are moved from one layout into another. What the
steps cost is for a cost model to say (`fiberloom.cost_models.algorithms`). Union (Jeong et al., PACT'21) compares contractions
natively and as TTGT in this way; TTGT goes back to Kolda and Bader's unfoldings and is studied by Springer and Bientinesi
(*Design of a High-Performance GEMM-like Tensor–Tensor Multiplication*, TOMS 44(3), 2018); im2col is Chellapilla, Puri and
Simard's (IWFHR 2006).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fiberloom.errors import UnsupportedError
from fiberloom.workload.einsum import Einsum, IndexTerm, Tensor


@dataclass(frozen=True)
class Movement:
    """Words of one tensor copied from one layout into another, through the outermost memory.

    Attributes:
        what: e.g. ``transpose A[a,c,b] to [c,b,a]``.
        tensor: name of the tensor.
        read_words, written_words: words read from and written to the outermost memory.
        transposes: whether words that lie side by side are written far apart.
    """

    what: str
    tensor: str
    read_words: int
    written_words: int
    transposes: bool = True


Step = Einsum | Movement


@dataclass(frozen=True)
class Algorithm:
    """One way to compute an Einsum.

    Attributes:
        name: ``native``, ``ttgt``, ``im2col`` or ``im2col-implicit``.
        steps: in the order in which they run, one after the other.
        remark: what a reader should know.
        groups: of `ttgt`, the indices that each index of the GEMM flattens.
    """

    name: str
    steps: tuple[Step, ...]
    remark: str = ""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def einsums(self) -> tuple[Einsum, ...]:
        """The steps that compute."""
        return tuple(step for step in self.steps if isinstance(step, Einsum))

    @property
    def movements(self) -> tuple[Movement, ...]:
        """The steps that move words."""
        return tuple(step for step in self.steps if isinstance(step, Movement))


def native(einsum: Einsum) -> Algorithm:
    """The Einsum as it stands."""
    return Algorithm("native", (einsum,))


def ttgt(einsum: Einsum) -> Algorithm:
    """A contraction of two tensors as transpose, transpose, GEMM, transpose.

    Indices fall into groups: those of the first operand and the output (rows), of the second and the output (columns), of
    both operands (reduced), of all three (batch). The GEMM reads an operand along either axis, so a tensor is transposed only
    if one of its groups is scattered, or stands in another order than in the tensor that shares it. The orders are chosen
    so that the fewest words are transposed.

    Raises:
        UnsupportedError: if the Einsum is not a contraction of two tensors, or a density depends on the layout.
    """
    groups = _contraction_groups(einsum)
    a, b = einsum.inputs
    z = einsum.output
    sharing = {"m": (a, z), "n": (b, z), "k": (a, b), "b": (a, b, z)}
    candidates = []
    for kind, tensors in sharing.items():
        orders = dict.fromkeys(tuple(v for v in t.variables if v in groups[kind]) for t in tensors)
        candidates.append([(kind, order) for order in orders])
    best: tuple[int, tuple[Tensor, ...], dict[str, tuple[str, ...]]] | None = None
    for choice in itertools.product(*candidates):
        order = dict(choice)
        moved = tuple(t for t in (a, b, z) if _scattered(t, order))
        words = sum(math.prod(einsum.tensor_shape(t.name)) for t in moved)
        if best is None or words < best[0]:
            best = words, moved, order
    assert best is not None
    _, moved, order = best
    layouts = {a.name: "bmk", b.name: "bkn", z.name: "bmn"}
    sizes = {kind: math.prod(einsum.shape[v] for v in names) for kind, names in groups.items()}
    gemm = _gemm(einsum, f"{einsum.name}-ttgt", layouts, sizes)
    before = [_transpose(einsum, t, layouts[t.name], order, back=False) for t in moved if not t.is_output]
    after = [_transpose(einsum, t, layouts[t.name], order, back=True) for t in moved if t.is_output]
    remark = "" if moved else "the layouts suit the GEMM: nothing is transposed"
    return Algorithm("ttgt", (*before, gemm, *after), remark, groups)


def im2col(einsum: Einsum, *, explicit: bool = True) -> Algorithm:
    """A convolution as the GEMM of its weights with the unrolled input.

    Args:
        explicit: whether the unrolled matrix is written to the outermost memory and read back; else its words are
            gathered on their way (the GEMM still reads every copy, but nothing is written).

    Raises:
        UnsupportedError: if the Einsum is not a convolution of two tensors, or a density depends on the layout.
    """
    sliding = [t for t in einsum.inputs if any(len(rank) > 1 for rank in t.ranks)]
    if len(einsum.inputs) != 2 or len(sliding) != 1:
        raise UnsupportedError(
            f"'{einsum}' is not a convolution: one of two operands has to be indexed by sums such as p+r",
            hint="a contraction is rewritten by ttgt",
        )
    (inputs,) = sliding
    (weights,) = (t for t in einsum.inputs if t is not inputs)
    output = einsum.output
    for tensor in (weights, output):
        if any(len(rank) > 1 for rank in tensor.ranks):
            raise UnsupportedError(
                f"'{tensor.name}' of '{einsum}' is indexed by sums too", hint="only the input may slide"
            )
    groups: dict[str, list[str]] = {"m": [], "n": [], "k": [], "b": []}
    for variable in einsum.shape:
        where = tuple(variable in t.variables for t in (weights, inputs, output))
        kinds = {(True, False, True): "m", (False, True, True): "n", (True, True, False): "k", (True, True, True): "b"}
        if where not in kinds:
            raise UnsupportedError(f"index '{variable}' of '{einsum}' stands in one tensor only")
        groups[kinds[where]].append(variable)
    sizes = {kind: math.prod(einsum.shape[v] for v in names) for kind, names in groups.items()}
    layouts = {weights.name: "bmk", inputs.name: "bkn", output.name: "bmn"}
    name = "im2col" if explicit else "im2col-implicit"
    gemm = _gemm(einsum, f"{einsum.name}-{name}", layouts, sizes)
    unrolled = sizes["b"] * sizes["k"] * sizes["n"]
    held = math.prod(einsum.tensor_shape(inputs.name))
    if not explicit:
        return Algorithm(name, (gemm,), f"{unrolled:,} words of {inputs.name} are gathered from {held:,} on their way")
    step = Movement(f"unroll {inputs}", inputs.name, held, unrolled, transposes=False)
    return Algorithm(name, (step, gemm), f"{inputs.name} grows {unrolled / held:.2f} times")


def algorithms(einsum: Einsum) -> tuple[Algorithm, ...]:
    """All algorithms that apply, the Einsum itself first."""
    found = [native(einsum)]
    for rewrite in (ttgt, im2col, _implicit):
        try:
            found.append(rewrite(einsum))
        except UnsupportedError:
            continue
    return tuple(found)


def _implicit(einsum: Einsum) -> Algorithm:
    return im2col(einsum, explicit=False)


def _contraction_groups(einsum: Einsum) -> dict[str, tuple[str, ...]]:
    """Indices by group: rows ``m``, columns ``n``, reduced ``k``, batch ``b``."""
    if len(einsum.inputs) != 2:
        raise UnsupportedError(f"'{einsum}' has {len(einsum.inputs)} operands; a contraction has two")
    for tensor in einsum.tensors:
        if any(len(rank) != 1 or rank[0].coefficient != 1 for rank in tensor.ranks):
            raise UnsupportedError(
                f"'{tensor}' is not indexed by plain variables, as a contraction's tensors are",
                hint="a convolution is rewritten by im2col",
            )
    first, second = einsum.inputs
    groups: dict[str, list[str]] = {"m": [], "n": [], "k": [], "b": []}
    for variable in einsum.shape:
        where = tuple(variable in t.variables for t in (first, second, einsum.output))
        kinds = {(True, False, True): "m", (False, True, True): "n", (True, True, False): "k", (True, True, True): "b"}
        if where not in kinds:
            raise UnsupportedError(
                f"index '{variable}' of '{einsum}' stands in one tensor only",
                hint="sum it out, or repeat it, beforehand",
            )
        groups[kinds[where]].append(variable)
    return {kind: tuple(names) for kind, names in groups.items()}


def _scattered(tensor: Tensor, order: Mapping[str, Sequence[str]]) -> bool:
    """Whether a tensor's groups do not stand together in the chosen orders, or the batch stands innermost."""
    left = list(tensor.variables)
    last = ""
    while left:
        group = next((g for g, names in order.items() if names and left[0] == names[0]), None)
        if group is None or tuple(left[: len(order[group])]) != tuple(order[group]):
            return True
        del left[: len(order[group])]
        last = group
    return last == "b"


def _transpose(
    einsum: Einsum, tensor: Tensor, layout: str, order: Mapping[str, Sequence[str]], *, back: bool
) -> Movement:
    words = math.prod(einsum.tensor_shape(tensor.name))
    target = ",".join(v for kind in layout for v in order[kind])
    held = ",".join(tensor.variables)
    ends = (target, held) if back else (held, target)
    return Movement(f"transpose {tensor.name}[{ends[0]}] to [{ends[1]}]", tensor.name, words, words)


def _gemm(einsum: Einsum, name: str, layouts: Mapping[str, str], sizes: Mapping[str, int]) -> Einsum:
    """The GEMM over the groups, with the tensors' own names, widths and densities; a batch of one is left out."""
    kinds = [kind for kind in "bmnk" if kind != "b" or sizes["b"] > 1]
    tensors = tuple(
        Tensor(
            name=t.name,
            ranks=tuple((IndexTerm(1, kind),) for kind in layouts[t.name] if kind in kinds),
            is_output=t.is_output,
            word_bits=t.word_bits,
            density=_carried(einsum, t),
        )
        for t in einsum.tensors
    )
    return Einsum(name=name, shape={kind: sizes[kind] for kind in kinds}, tensors=tensors)


def _carried(einsum: Einsum, tensor: Tensor) -> float | str | dict[str, Any] | None:
    """The density of a tensor in any layout."""
    density = tensor.density
    plain = density is None or isinstance(density, (int, float))
    if plain or (isinstance(density, dict) and density.get("distribution") in ("uniform", "dense")):
        return density
    raise UnsupportedError(
        f"the non-zeros of '{tensor.name}' of '{einsum}' are placed by rank ({density}), which another layout does not keep",
        hint="give it a uniform density",
    )
