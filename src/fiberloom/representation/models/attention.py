"""Attention with its projections as layers of their own, so that they can be represented one by one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fiberloom.errors import UnsupportedError


class OpenAttention(nn.Module):
    """Computes what ``torch.nn.MultiheadAttention`` does, through four linear layers.

    The original keeps the projections of queries, keys and values in one parameter and multiplies by its output projection
    without calling it, and fused kernels bypass even that; layers inside could not be replaced or observed.

    Raises:
        UnsupportedError: for attention with ``bias_k``, ``bias_v`` or ``add_zero_attn``.
    """

    # What `torch.nn.TransformerEncoderLayer` asks of its attention before it takes a fused kernel: these answers keep it
    # from doing so.
    _qkv_same_embed_dim = False
    in_proj_bias = None

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        if original.bias_k is not None or original.bias_v is not None or original.add_zero_attn:
            raise UnsupportedError("attention with bias_k, bias_v or add_zero_attn")
        width = original.embed_dim
        weights: list[Tensor]
        if original.in_proj_weight is not None:
            weights = list(original.in_proj_weight.detach().chunk(3))
        else:
            weights = [p.detach() for p in (original.q_proj_weight, original.k_proj_weight, original.v_proj_weight)]
        biases = [None] * 3 if original.in_proj_bias is None else list(original.in_proj_bias.detach().chunk(3))
        self.q_proj, self.k_proj, self.v_proj = (
            _linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)
        )
        self.out_proj = _linear(original.out_proj.weight.detach(), original.out_proj.bias)
        self.embed_dim, self.num_heads, self.head_dim = width, original.num_heads, width // original.num_heads
        self.batch_first, self.dropout = original.batch_first, original.dropout
        self.train(original.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``torch.nn.MultiheadAttention.forward``."""
        batched = query.dim() == 3
        if not batched:
            query, key, value = (t.unsqueeze(0) for t in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        q, k, v = (
            self._heads(layer(t)) for layer, t in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )  # (batch, heads, length, head width)
        scores = q @ k.mT / self.head_dim**0.5
        if attn_mask is None and is_causal:
            raise UnsupportedError("attention that is causal without a mask")  # as the original
        for mask in (attn_mask, None if key_padding_mask is None else key_padding_mask[:, None, None, :]):
            if mask is not None:
                if mask.dim() == 3:
                    mask = mask.reshape(scores.shape[0], self.num_heads, *mask.shape[-2:])
                scores = scores.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        shares = nn.functional.dropout(scores.softmax(-1), self.dropout, self.training)
        mixed = (shares @ v).transpose(1, 2).flatten(2)
        weights = (shares.mean(1) if average_attn_weights else shares) if need_weights else None
        del q, k, v, scores, shares  # a sweep waits in the projection, with all that is held here
        result: Tensor = self.out_proj(mixed)
        if not batched:
            return result.squeeze(0), None if weights is None else weights.squeeze(0)
        return result if self.batch_first else result.transpose(0, 1), weights

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)


def open_attention(model: nn.Module) -> dict[str, str]:
    """Replace every ``torch.nn.MultiheadAttention`` inside `model`, which is changed; those that can't be, by name with the reason."""
    refused: dict[str, str] = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # it leads into the fused kernel
        if not isinstance(module, nn.MultiheadAttention):
            continue
        try:
            opened = OpenAttention(module)
        except UnsupportedError as error:
            refused[name] = error.problem
            continue
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, opened)
    return refused


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with these values (not copied)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach())
    return layer
