"""Element-wise operators that are computed as the output of an Einsum leaves the array.

A bias, a batch normalisation (in inference a multiplication and an addition per channel), an activation function or a residual
sum needs one element at a time, so hardware applies it on the way out: what it is given is not written to the outermost memory and
read again, and what it makes takes the place of what the Einsum would have written. Its other inputs, such as the residual, are
read as before, and its operations are computed as before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from fiberloom.workload.network import Kind, Network, Operator, Role


def fused(network: Network) -> dict[int, str]:
    """The operators that can be computed on the way out, by index, and the input that they take as it is made.

    Such an operator is element-wise or a batch normalisation with one output, and this input is used by nothing else, has the
    shape of the output, and comes out of an Einsum or out of another such operator. Where two inputs do, it is the one made last.
    """
    made_by = {name: i for i, o in enumerate(network.operators) for name in o.outputs}
    uses = Counter(name for o in network.operators for name in o.inputs)
    found: dict[int, str] = {}
    for i, operator in enumerate(network.operators):
        if not _pointwise(operator) or len(operator.outputs) != 1:
            continue
        shape = network.tensors[operator.outputs[0]].shape
        candidates = [
            (made_by[name], name)
            for name in operator.inputs
            if name in made_by
            and made_by[name] < i
            and uses[name] == 1
            and network.tensors[name].shape == shape
            and network.tensors[name].role is Role.ACTIVATION
            and _streams(network.operators[made_by[name]], operator, made_by[name] in found)
        ]
        if candidates:
            found[i] = max(candidates)[1]
    return found


def streamed(network: Network, fusion: Mapping[int, str], index: int) -> frozenset[str]:
    """Tensors that operator `index` neither reads from memory nor writes to it."""
    return frozenset({fusion[index], *network.operators[index].outputs}) if index in fusion else frozenset()


def _pointwise(operator: Operator) -> bool:
    if operator.kind is Kind.NORMALISATION:
        return "batchnorm" in re.sub("[^a-z]", "", operator.op.lower())
    return operator.kind is Kind.ELEMENTWISE


def _streams(maker: Operator, user: Operator, fused_itself: bool) -> bool:
    return maker.count == user.count and (maker.einsum is not None or fused_itself)
