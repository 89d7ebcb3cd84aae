"""Feed-forward layers of transformers: plain, gated, and mixtures of experts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fiberloom.workload.layers import fully_connected
from fiberloom.workload.network import Kind, Role
from fiberloom.workload.zoo.building import Builder


@dataclass(frozen=True)
class Experts:
    """A mixture of experts (Shazeer et al., ICLR'17, §2; DeepSeekMoE: Dai et al., ACL'24, §3).

    Attributes:
        total: experts that the router chooses from.
        chosen: experts per token.
        width: inside one expert.
        shared: width inside the expert that all tokens take; 0: there is none.
        shared_gate: the shared expert's output is weighted by a sigmoid of a product with the token.
        scoring: what the router makes of its scores, ``softmax`` or ``sigmoid``; the latter with a correction per expert that is
            added to choose by, and is no parameter (DeepSeek-V3, arXiv:2412.19437, equations 15 and 16).
    """

    total: int
    chosen: int
    width: int
    shared: int = 0
    shared_gate: bool = False
    scoring: str = "softmax"

    def hit(self, tokens: int) -> int:
        """Experts that at least one of `tokens` chooses, expected of a router that chooses evenly: ``E · (1 − (1 − k/E)^T)``."""
        expected = self.total * (1 - (1 - self.chosen / self.total) ** tokens)
        return max(self.chosen, min(round(expected), self.total, tokens * self.chosen))

    def loads(self, tokens: int) -> tuple[tuple[int, int], ...]:
        """(experts, tokens of each) of the experts hit; their loads differ by one token at most and sum up to all choices."""
        hit = self.hit(tokens)
        each, more = divmod(tokens * self.chosen, hit)
        return tuple(load for load in ((more, each + 1), (hit - more, each)) if load[0])


def feed_forward(
    b: Builder, here: str, x: str, inside: int, *, gated: bool, function: str, bias: bool, fused: bool = False
) -> str:
    """Two layers with a function between them; gated: a third multiplies what the function gives (Shazeer, arXiv:2002.05202).

    Args:
        inside: width between the layers.
        fused: the gate and what it multiplies come from one product.
    """
    *lead, width = b.shape(x)
    if gated and fused:
        both = b.linear(f"{here}.gate_up", x, 2 * inside, bias=bias)
        y, up = (b.reshape(f"{here}.{part}", both, *lead, inside, op="slice") for part in ("gate", "up"))
    elif gated:
        y, up = (b.linear(f"{here}.{part}", x, inside, bias=bias) for part in ("gate", "up"))
    else:
        y = b.linear(f"{here}.up", x, inside, bias=bias)
    y = b.elementwise(f"{here}.{function}", function, y)
    if gated:
        y = b.elementwise(f"{here}.multiply", "multiply", y, up)
    return b.linear(f"{here}.down", y, width, bias=bias)


def mixture(b: Builder, here: str, x: str, experts: Experts, function: str) -> str:
    """A router, the experts that are hit, and the shared expert."""
    *lead, width = b.shape(x)
    tokens, chosen = math.prod(lead), experts.chosen
    scores = b.linear(f"{here}.router", x, experts.total, bias=False, op="router")
    if experts.scoring == "softmax":
        scores = b.softmax(f"{here}.router.softmax", scores)
    else:
        scores = b.elementwise(f"{here}.router.{experts.scoring}", experts.scoring, scores)
        correction = b.tensor(f"{here}.router.correction", (experts.total,), Role.CONSTANT)
        scores = b.elementwise(f"{here}.router.corrected", "add", scores, correction)
    # one comparison per expert for every choice
    choices = b.step(
        f"{here}.router.choose", "top-k", Kind.REDUCTION, (scores,), (*lead, chosen),
        operations=tokens * chosen * experts.total,
    )  # fmt: skip
    sent = b.step(f"{here}.dispatch", "gather", Kind.LOOKUP, (x, choices), (tokens * chosen, width))
    made = [_expert(b, here, sent, experts, function, count, each) for count, each in experts.loads(tokens)]
    # a product with the router's weight and an addition per element
    y = b.step(
        f"{here}.combine", "weighted sum", Kind.REDUCTION, (*made, choices), (*lead, width),
        operations=2 * tokens * chosen * width,
    )  # fmt: skip
    if experts.shared:
        z = feed_forward(b, f"{here}.shared", x, experts.shared, gated=True, function=function, bias=False)
        if experts.shared_gate:
            weight = b.elementwise(
                f"{here}.shared_gate.sigmoid", "sigmoid", b.linear(f"{here}.shared_gate", x, 1, bias=False)
            )
            z = b.elementwise(f"{here}.shared.weighted", "multiply", z, weight)
        y = b.elementwise(f"{here}.add_shared", "add", y, z)
    return y


def _expert(b: Builder, here: str, x: str, experts: Experts, function: str, count: int, tokens: int) -> str:
    """`count` experts that take `tokens` each; their weights are one tensor with all experts'."""
    width, inside = b.shape(x)[-1], experts.width
    name = f"{here}.experts_of_{tokens}_tokens"
    note = f"{count} of {experts.total} experts; expected of a router that chooses evenly"

    def product(part: str, inputs: str, outputs: int) -> str:
        weight = b.parameter(f"{here}.experts.{part}.weight", experts.total, outputs, b.shape(inputs)[-1])
        einsum = fully_connected(f"{name}.{part}", outputs=outputs, inputs=b.shape(inputs)[-1], batch=tokens)
        return b.einsum(
            f"{name}.{part}", "expert", einsum, {"W": weight, "I": inputs}, (count * tokens, outputs),
            count=count, note=note,
        )  # fmt: skip

    y = b.elementwise(f"{name}.{function}", function, product("gate", x, inside))
    return product("down", b.elementwise(f"{name}.multiply", "multiply", y, product("up", x, inside)), width)
