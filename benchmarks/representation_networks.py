"""The networks of `representation_methods.py`: a CNN on scikit-learn's digits and a byte-level language model."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Split:
    """Images ``(n, 1, 8, 8)`` in 0..1 and their labels ``(n,)``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Digits:
    """Three disjoint parts: to train on (and calibrate with), to search on, and to judge on."""

    train: Split
    search: Split
    test: Split


def digits(seed: int = 0) -> Digits:
    """scikit-learn's 1,797 digits, shuffled by `seed`: 757 to train on, 500 to search on, 540 to judge on."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.target))
    images = torch.tensor(data.images[order] / 16, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(data.target[order])

    def split(start: int, stop: int) -> Split:
        return Split(images[start:stop], labels[start:stop])

    return Digits(train=split(0, 757), search=split(757, 1257), test=split(1257, 1797))


def digits_network() -> nn.Sequential:
    """Two convolutions and two linear layers, 368,778 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 320),
        nn.ReLU(),
        nn.Linear(320, 10),
    )


def train_digits(model: nn.Module, data: Split, epochs: int, seed: int, lr: float = 2e-3) -> None:
    """Adam on shuffled batches of 64, the learning rate falling to nothing over the epochs."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    steps = epochs * (-(-len(data) // 64))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(data), generator=generator).split(64):
            optimiser.zero_grad()
            F.cross_entropy(model(data.images[batch]), data.labels[batch]).backward()
            optimiser.step()
            schedule.step()
    model.eval()


def accuracy(model: nn.Module, data: Split) -> float:
    """Share of images whose largest output is their label."""
    with torch.no_grad():
        return float((model(data.images).argmax(1) == data.labels).float().mean())


class ByteModel(nn.Module):
    """A causal language model over bytes: four transformer layers of width 128 with ReLU, contexts of 128 bytes, 0.87 M parameters."""

    def __init__(self, width: int = 128, layers: int = 4, heads: int = 4, context: int = 128) -> None:
        super().__init__()
        self.bytes = nn.Embedding(256, width)
        self.places = nn.Embedding(context, width)
        block = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 256)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``(windows, length, 256)`` of the next byte for tokens ``(windows, length)``."""
        length = tokens.shape[1]
        mask = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
        states = self.bytes(tokens) + self.places(torch.arange(length))
        return self.head(self.blocks(states, mask=mask, is_causal=True))


@dataclass(frozen=True)
class Sources:
    """Bytes of Python's own standard library, split by file: to train on, to search on, and to judge on."""

    train: Tensor
    search: Tensor
    test: Tensor

    def windows(self, part: str, count: int, length: int = 129, seed: int = 0) -> Tensor:
        """Windows ``(count, length)`` at places drawn by `seed`."""
        data: Tensor = getattr(self, part)
        starts = torch.randint(len(data) - length, (count,), generator=torch.Generator().manual_seed(seed))
        return torch.stack([data[start : start + length] for start in starts.tolist()]).long()


def python_sources() -> Sources:
    """The ``.py`` files of the running Python's standard library, without its tests and installed packages."""
    root = Path(sysconfig.get_path("stdlib"))
    left_out = ("site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3")
    files = sorted(f for f in root.rglob("*.py") if not set(f.relative_to(root).parts) & set(left_out))
    parts: dict[str, list[bytes]] = {"train": [], "search": [], "test": []}
    for index, file in enumerate(files):
        parts["search" if index % 20 == 7 else "test" if index % 20 == 17 else "train"].append(file.read_bytes())
    return Sources(**{k: torch.frombuffer(bytearray(b"\n".join(v)), dtype=torch.uint8) for k, v in parts.items()})


def train_bytes(model: nn.Module, data: Sources, steps: int, seed: int, lr: float = 3e-3) -> None:
    """AdamW on batches of 32 windows of 128 bytes, the learning rate rising and falling once."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(steps):
        starts = torch.randint(len(data.train) - 129, (32,), generator=generator)
        windows = torch.stack([data.train[s : s + 129] for s in starts.tolist()]).long()
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    model.eval()


def cached(model: nn.Module, file: Path | None, train: Callable[[], None]) -> None:
    """Weights from `file`, or trained and written to it; None keeps none."""
    if file is not None and file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
        model.eval()
        return
    train()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), file)
