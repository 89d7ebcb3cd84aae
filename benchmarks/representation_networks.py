"""The networks of `representation_methods.py`: a CNN on scikit-learn's digits and a byte-level language model."""

from __future__ import annotations

from dataclasses import dataclass

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
