"""Mamba (Gu and Dao, arXiv:2312.00752, §3): a recurrence along the tokens instead of attention."""

from __future__ import annotations

from dataclasses import dataclass

from fiberloom.workload.layers import convolution_nd
from fiberloom.workload.network import Kind, Network
from fiberloom.workload.zoo.attention import cached
from fiberloom.workload.zoo.building import Builder
from fiberloom.workload.zoo.encoder import unknown_head
from fiberloom.workload.zoo.passes import Pass

SCAN_OPERATIONS = 8
"""Per token, channel and element of the state, of algorithm 2 and equation 2: Δ·A and its exponential, (Δ·x)·B in two products, one
product and one addition for the new state, one product and one addition for the output."""


@dataclass(frozen=True)
class StateSpace:
    """What defines a Mamba.

    Attributes:
        inner: channels inside a layer (E·D in the paper).
        state: elements of the state per channel (N).
        kernel: tokens that the convolution sees.
        rank: width of the vector that time steps come from.
        bias, kernel_bias: of the products into and out of a layer; of the convolution.
        final: ``words`` for logits, ``""`` for none, or the name of last layers that are not known.
    """

    name: str
    vocabulary: int
    layers: int
    width: int
    inner: int
    state: int
    kernel: int
    rank: int
    bias: bool = False
    kernel_bias: bool = True
    function: str = "silu"
    tied: bool = True
    final: str = "words"


def state_space(
    model: StateSpace,
    this: Pass,
    *,
    number_format: str = "fp32",
    weight_format: str | None = None,
    cache_format: str | None = None,
    source: str = "",
) -> Network:
    """The network of one pass; what it keeps does not grow with the context."""
    b = Builder(model.name, number_format, weight_format)
    x = b.embedding(
        "words", b.input("tokens", this.batch, this.tokens, number_format="int32"), model.vocabulary, model.width
    )
    for i in range(model.layers):
        here = f"layers.{i}"
        y = _mixer(b, here, b.norm(f"{here}.norm", x, "rms norm"), model, this, cache_format)
        x = b.elementwise(f"{here}.add", "add", x, y)
    x = b.norm("norm", x, "rms norm")
    if this.last_only and this.tokens > 1:
        x = b.reshape("last_token", x, this.batch, 1, model.width, op="slice")
    if model.final == "words":
        x = b.linear("logits", x, model.vocabulary, bias=False, weight="words.weight" if model.tied else None)
    elif model.final:
        x = unknown_head(b, model.final, x)
    return b.network(x, source=source)


def _mixer(b: Builder, here: str, x: str, model: StateSpace, this: Pass, cache_format: str | None) -> str:
    shape = (this.batch, this.tokens, model.inner)
    both = b.linear(f"{here}.in", x, 2 * model.inner, bias=model.bias)
    y, gate = (b.reshape(f"{here}.{part}", both, *shape, op="slice") for part in ("branch", "gate"))
    y = _convolution(b, here, y, model, this, cache_format)
    y = b.elementwise(f"{here}.{model.function}", model.function, y)
    made = b.linear(f"{here}.selection", y, model.rank + 2 * model.state, bias=False)
    step = b.reshape(f"{here}.step_vector", made, this.batch, this.tokens, model.rank, op="slice")
    step = b.elementwise(f"{here}.softplus", "softplus", b.linear(f"{here}.step", step, model.inner))
    decay, skip = b.parameter(f"{here}.A_log", model.inner, model.state), b.parameter(f"{here}.D", model.inner)
    state = b.state(f"{here}.state", this.batch, model.inner, model.state, number_format=cache_format)
    elements = this.batch * this.tokens * model.inner
    z = b.step(
        f"{here}.scan", "selective scan", Kind.SCAN, (y, made, step, decay, skip, state), shape,
        operations=elements * (SCAN_OPERATIONS * model.state + 2),  # and D·x, added
        note="its state is written too",
    )  # fmt: skip
    gate = b.elementwise(f"{here}.gate.{model.function}", model.function, gate)
    return b.linear(f"{here}.out", b.elementwise(f"{here}.gated", "multiply", z, gate), model.width, bias=model.bias)


def _convolution(b: Builder, here: str, x: str, model: StateSpace, this: Pass, cache_format: str | None) -> str:
    """A depth-wise convolution along the tokens that sees no later ones; its last inputs are kept."""
    batch, tokens, inner = b.shape(x)
    kept = cached(b, f"{here}.last_inputs", x, model.kernel, cache_format)
    einsum = convolution_nd(
        f"{here}.convolution",
        outputs=inner,
        inputs=inner,
        groups=inner,
        extents=(tokens,),
        kernel=model.kernel,
        batch=batch,
    )
    weight = b.parameter(f"{here}.convolution.weight", inner, 1, model.kernel)
    extra = (b.parameter(f"{here}.convolution.bias", inner),) if model.kernel_bias else ()
    source = kept if this.decodes else x
    return b.einsum(
        f"{here}.convolution", "convolution", einsum, {"W": weight, "I": source}, (batch, tokens, inner), inputs=extra
    )
