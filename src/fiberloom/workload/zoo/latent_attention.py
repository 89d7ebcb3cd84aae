"""Multi-head latent attention: keys and values of all heads come from one narrow vector per token, which is what is cached.

DeepSeek-V2 (arXiv:2405.04434, §2.1 and appendix C), DeepSeek-V3 (arXiv:2412.19437, §2.1.1). Two forms compute the same. The
*naive* one makes keys and values of all heads from the cached vectors. The *absorbed* one moves those products to the side of the
queries and of the output, so that every head attends to the cached vectors themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fiberloom.errors import SpecError, nearest
from fiberloom.workload.layers import fully_connected
from fiberloom.workload.network import Kind
from fiberloom.workload.zoo.attention import attend, cached, rotary
from fiberloom.workload.zoo.building import Builder
from fiberloom.workload.zoo.passes import Pass

FORMS: Final = ("naive", "absorbed")


@dataclass(frozen=True)
class Latent:
    """Widths of latent attention.

    Attributes:
        queries: of the vector that queries come from; None: they come from the token itself.
        keys: of the cached vector that keys and values come from (d_c in the paper).
        plain, rotary: parts of a query's head without and with positions; the latter's keys are one per token for all heads.
        values: of a head of values.
        bias: of the products that make the narrow vectors, and of the output.
    """

    queries: int | None
    keys: int
    plain: int
    rotary: int
    values: int
    bias: bool = False


def latent_attention(
    b: Builder,
    here: str,
    x: str,
    angles: str,
    this: Pass,
    latent: Latent,
    *,
    heads: int,
    form: str | None = None,
    cache_format: str | None = None,
) -> str:
    """Attention with its output product.

    Args:
        form: ``naive`` or ``absorbed``; None: naive for a prompt, absorbed for a token (as DeepSeek-V2 is served).

    Raises:
        SpecError: for another form.
    """
    form = form or ("absorbed" if this.decodes else "naive")
    if form not in FORMS:
        raise SpecError(f"there is no form of latent attention '{form}'", hint=nearest(form, FORMS))
    width, head = b.shape(x)[-1], latent.plain + latent.rotary
    y = x
    if latent.queries is not None:
        y = b.norm(f"{here}.q_a.norm", b.linear(f"{here}.q_a", x, latent.queries, bias=latent.bias), "rms norm")
    q = rotary(
        b, f"{here}.q_rotary", b.linear(f"{here}.q_b", y, heads * head, bias=False), angles, latent.rotary / head
    )
    both = latent.keys + latent.rotary
    kv = b.linear(f"{here}.kv_a", x, both, bias=latent.bias)
    kv = _normalised(b, f"{here}.kv_a.norm", kv, latent.keys)
    kv = rotary(b, f"{here}.k_rotary", kv, angles, latent.rotary / both)
    cache = cached(b, f"{here}.latent", kv, this.context, cache_format)
    kept = cache if this.decodes else kv
    attention = _absorbed if form == "absorbed" else _naive
    return b.linear(f"{here}.output", attention(b, here, q, kept, latent, heads, this), width, bias=latent.bias)


def _normalised(b: Builder, name: str, kv: str, width: int) -> str:
    """RMS normalisation of the first `width` elements of each token's vector; the rotary key beside them stays as it is."""
    batch, tokens, _ = b.shape(kv)
    weight = b.parameter(f"{name}.weight", width)
    operations = batch * tokens * (4 * width + 3)  # OPERATIONS and PER_ROW of "rms norm"
    return b.step(name, "rms norm", Kind.NORMALISATION, (kv, weight), b.shape(kv), operations=operations)


def _naive(b: Builder, here: str, q: str, kept: str, latent: Latent, heads: int, this: Pass) -> str:
    batch, keys, _ = b.shape(kept)
    vectors = b.reshape(f"{here}.vectors", kept, batch, keys, latent.keys, op="slice")
    made = b.linear(f"{here}.kv_b", vectors, heads * (latent.plain + latent.values), bias=False)
    k = b.step(
        f"{here}.keys", "concatenate", Kind.LAYOUT, (made, kept), (batch, keys, heads * (latent.plain + latent.rotary)),
        note="every head's key ends in the token's rotary key",
    )  # fmt: skip
    v = b.reshape(f"{here}.values", made, batch, keys, heads * latent.values, op="slice")
    return attend(b, f"{here}.attention", q, k, v, heads=heads, before=_before(this))


def _absorbed(b: Builder, here: str, q: str, kept: str, latent: Latent, heads: int, this: Pass) -> str:
    batch, tokens, _ = b.shape(q)
    weight = b.parameter(f"{here}.kv_b.weight", heads * (latent.plain + latent.values), latent.keys)
    plain = b.reshape(f"{here}.q_plain", q, batch, tokens, heads * latent.plain, op="slice")
    absorbed = b.einsum(
        f"{here}.absorb_keys", "absorbed keys",
        fully_connected(
            f"{here}.absorb_keys", outputs=heads * latent.keys, inputs=heads * latent.plain, groups=heads, batch=batch * tokens
        ),
        {"W": weight, "I": plain}, (batch, tokens, heads * latent.keys), note="the rows of kv_b that make keys",
    )  # fmt: skip
    both = latent.keys + latent.rotary
    whole = b.step(f"{here}.q_whole", "concatenate", Kind.LAYOUT, (absorbed, q), (batch, tokens, heads * both))
    z = attend(
        b,
        f"{here}.attention",
        whole,
        kept,
        kept,
        heads=heads,
        groups=1,
        depth=both,
        values=latent.keys,
        before=_before(this),
    )
    return b.einsum(
        f"{here}.absorb_values", "absorbed values",
        fully_connected(
            f"{here}.absorb_values", outputs=heads * latent.values, inputs=heads * latent.keys, groups=heads, batch=batch * tokens
        ),
        {"W": weight, "I": z}, (batch, tokens, heads * latent.values), note="the rows of kv_b that make values",
    )  # fmt: skip


def _before(this: Pass) -> str:
    return "scale" if this.tokens == 1 else "scale and mask"
