"""A small network with every kind of thing that a report has to show, and its result on three designs."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from fiberloom.network_evaluation import Case, run_network
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Kind, Network, NetworkTensor, Operator, Role

CONVOLUTION = "conv <3x3> & bias"
DESIGNS = ("dense-tensor-core", "stc", "scnn")


def small_network(weights: str | None = None) -> Network:
    """A convolution, ReLU, a flattening, a fully connected layer computed twice, and an operator nobody knows."""

    def tensor(name: str, shape: tuple[int, ...], role: Role, density: float | str | None = None) -> NetworkTensor:
        return NetworkTensor(name, shape, role, "int8", 8, density)

    tensors = (
        tensor("image", (8, 10, 10), Role.INPUT),
        tensor("conv.weight", (16, 8, 3, 3), Role.PARAMETER, weights),
        tensor("conv", (16, 8, 8), Role.ACTIVATION),
        tensor("relu", (16, 8, 8), Role.ACTIVATION, 0.5),
        tensor("flat", (1024,), Role.ACTIVATION, 0.5),
        tensor("fc.weight", (32, 1024), Role.PARAMETER, weights),
        tensor("fc", (32,), Role.ACTIVATION),
        tensor("kept", (32,), Role.OUTPUT),
    )
    convolution = Einsum.parse(
        "O[m,p,q] = W[m,c,r,s] * I[c,p+r,q+s]", {"m": 16, "c": 8, "p": 8, "q": 8, "r": 3, "s": 3}
    )
    product = Einsum.parse("O[m] = W[m,c] * I[c]", {"m": 32, "c": 1024})
    conv_operands = {"W": "conv.weight", "I": "image", "O": "conv"}
    product_operands = {"W": "fc.weight", "I": "flat", "O": "fc"}
    operators = (
        Operator(CONVOLUTION, "Conv", Kind.EINSUM, ("image", "conv.weight"), ("conv",), convolution, conv_operands),
        Operator("relu", "Relu", Kind.ELEMENTWISE, ("conv",), ("relu",), operations=1024),
        Operator("flatten", "Flatten", Kind.LAYOUT, ("relu",), ("flat",)),
        Operator("fc", "Gemm", Kind.EINSUM, ("flat", "fc.weight"), ("fc",), product, product_operands, count=2),
        Operator("nms", "NonMaxSuppression", Kind.UNKNOWN, ("fc",), ("kept",), note="no cost is known for it"),
    )
    return Network("Small <net>", operators, {t.name: t for t in tensors}, "made by hand", ("A note & more.",))


@cache
def small_result() -> dict[str, Any]:
    """The small network on three designs, with dense and with 2:4 weights. Read only."""
    cases = [
        Case(name, small_network(weights), {"weights": name}) for name, weights in (("dense", None), ("2:4", "2:4"))
    ]
    return run_network(cases, DESIGNS, mapper="random", evaluations=2048, seed=1, jobs=1, cache=False).to_dict()


def one_design(result: dict[str, Any], design: str = "stc", case: str = "2:4") -> dict[str, Any]:
    """The same result with one design and one case."""
    made = copy.deepcopy(result)
    for name in ("layers", "operators", "totals"):
        made[name] = [e for e in made[name] if (e["case"], e["design"]) == (case, design)]
    made["designs"] = [e for e in made["designs"] if e["name"] == design]
    made["cases"] = [e for e in made["cases"] if e["name"] == case]
    return made
