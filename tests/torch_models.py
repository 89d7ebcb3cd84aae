"""Small PyTorch modules that tests of the importer and of sparsity profiles share."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Pruned(nn.Module):
    """A grouped, a depth-wise and four dense layers; weights are pruned in four ways by `pruned`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.mid = nn.Conv2d(32, 64, 3, groups=2, padding=1)
        self.dw = nn.Conv2d(64, 64, 3, groups=64, padding=1)
        self.rows = nn.Linear(64, 64)
        self.fc = nn.Linear(64, 128)
        self.band = nn.Linear(128, 128)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.dw(self.relu(self.mid(self.relu(self.stem(x))))))
        return self.band(self.relu(self.fc(self.relu(self.rows(x.mean((2, 3)))))))


def pruned(batch: int = 1) -> tuple[nn.Module, Any]:
    """30 % at random, every third row empty, 2:4, and a band of five on each side."""
    torch.manual_seed(0)
    model = Pruned()
    with torch.no_grad():
        model.mid.weight *= torch.rand(model.mid.weight.shape) < 0.3
        model.rows.weight[::3] = 0
        groups = model.fc.weight.view(-1, 4)
        groups *= torch.zeros_like(groups).scatter_(1, groups.abs().topk(2, 1).indices, 1)
        i = torch.arange(128)
        model.band.weight *= (i[:, None] - i).abs() <= 5
    return model, (torch.randn(batch, 3, 16, 16),)


class Branching(nn.Module):
    """Which way it goes depends on the data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


class Transforming(nn.Module):
    """Uses an operator that is no part of any network the importer knows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(x).abs() @ torch.ones(x.shape[-1] // 2 + 1, 2)


class Attending(nn.Module):
    """Causal attention with four heads of queries for each head of keys and values, repeated as many models do."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if self.how == "flag":
            return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        batch, heads, tokens, depth = k.shape
        if self.how == "interleave":
            k, v = k.repeat_interleave(4, dim=1), v.repeat_interleave(4, dim=1)
        else:
            k, v = (
                t[:, :, None].expand(batch, heads, 4, tokens, depth).reshape(batch, 4 * heads, tokens, depth)
                for t in (k, v)
            )
        if self.how == "products":
            return torch.softmax(q @ k.transpose(2, 3), -1) @ v
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def attention_inputs() -> tuple[torch.Tensor, ...]:
    """Eight heads of queries, two of keys and values, 16 tokens of width 32."""
    return torch.randn(1, 8, 16, 32), torch.randn(1, 2, 16, 32), torch.randn(1, 2, 16, 32)
