"""Training of AIRCHITECT v1 and v2 (extra ``torch``), sized for one core: Adam under a one-cycle schedule, large batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fiberloom.explore.learned.designs import BUFFER_KIB, CLUSTERS, levels
from fiberloom.explore.learned.inputs import tokens
from fiberloom.explore.learned.labelling import Labels
from fiberloom.explore.learned.networks import Classifier, Decoder, Encoder
from fiberloom.explore.learned.ordinal import OrdinalCode

TEMPERATURE = 0.07
"""Of the contrast between designs (AIRCHITECT v2's released code)."""
FOCAL_ALPHA, FOCAL_GAMMA = 0.5, 1.0
"""Of the unified focal loss. The released code has 0.75 for alpha, as most entries of its vectors are 0; here a bucket once reached
stays so, entries are balanced, and more than a half would teach levels that are too high."""


@dataclass(frozen=True)
class Schedule:
    """How long to train.

    Attributes:
        epochs: passes over the products; each takes one of the product's caps at random.
        rate: largest learning rate.
    """

    epochs: int
    batch: int = 512
    rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """Labels as tensors: inputs, designs and standardised log costs."""

    buckets: Tensor
    numbers: Tensor
    design: Tensor
    cost: Tensor
    cost_mean: float
    cost_scale: float
    product: Tensor

    @classmethod
    def of(cls, labels: Labels) -> Data:
        """All rows."""
        buckets, numbers = tokens(labels.bounds, labels.dataflow, labels.cap_mm2)
        log = np.log(labels.best)
        mean, scale = float(log.mean()), float(log.std()) or 1.0
        return cls(
            torch.from_numpy(buckets),
            torch.from_numpy(numbers),
            torch.from_numpy(labels.design),
            torch.from_numpy(((log - mean) / scale).astype(np.float32)),
            mean,
            scale,
            torch.from_numpy(labels.product),
        )


@dataclass
class Log:
    """Loss per epoch and CPU seconds spent, for reports."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


COST_SHARE = 0.1
"""Weight of the cost's error beside the ordinal loss, which is about a tenth as large, where the encoder is trained on."""

Report = Callable[[str], None]


def train_classifier(labels: Labels, schedule: Schedule, report: Report = print) -> tuple[Classifier, Log]:
    """v1, by cross entropy over all designs."""
    data = Data.of(labels)
    torch.manual_seed(schedule.seed)
    model = Classifier()

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(model(data.buckets[rows], data.numbers[rows]), data.design[rows])

    return model, _fit(model, data.product, loss, schedule, "v1", report)


def train_encoder(
    labels: Labels, schedule: Schedule, *, contrast: bool = True, performance: bool = True, report: Report = print
) -> tuple[Encoder, Log]:
    """v2's first stage: contrast between designs, and the cost of the best one by its absolute error.

    Args:
        contrast, performance: leave one out for an ablation; without both, the encoder stays as it was initialised.
    """
    data = Data.of(labels)
    torch.manual_seed(schedule.seed)
    model = Encoder()
    if not (contrast or performance):
        return model, Log()

    def loss(rows: Tensor) -> Tensor:
        _, features, cost = model(data.buckets[rows], data.numbers[rows])
        total = torch.zeros(())
        if contrast:
            total = total + supervised_contrast(features, data.design[rows])
        if performance:
            total = total + F.l1_loss(cost, data.cost[rows])
        return total

    return model, _fit(model, data.product, loss, schedule, "v2 encoder", report)


def train_decoder(
    encoder: Encoder,
    labels: Labels,
    schedule: Schedule,
    *,
    codes: tuple[OrdinalCode, OrdinalCode] | None,
    hold: bool = True,
    report: Report = print,
) -> tuple[Decoder, Log]:
    """v2's second stage.

    Args:
        codes: ordinal vectors of the array and of the buffer; None classifies the levels of each by cross entropy.
        hold: leave the encoder as it is, as the paper does; else it is trained further, in place, the cost included.
    """
    data = Data.of(labels)
    torch.manual_seed(schedule.seed)
    parts = [np.asarray(level) for level in levels(labels.design)]
    if codes is None:
        decoder = Decoder()
        targets = [torch.from_numpy(part) for part in parts]
    else:
        decoder = Decoder((codes[0].buckets, codes[1].buckets))
        targets = [
            torch.from_numpy(code.encode(part).astype(np.float32)) for code, part in zip(codes, parts, strict=True)
        ]
    held: tuple[Tensor, Tensor] | None = None
    if hold:
        with torch.no_grad():
            chunks = [encoder(data.buckets[r], data.numbers[r])[:2] for r in torch.arange(len(labels)).split(8192)]
        memories, all_features = zip(*chunks, strict=True)
        held = torch.cat(memories), torch.cat(all_features)
    per_part = F.cross_entropy if codes is None else unified_focal

    def loss(rows: Tensor) -> Tensor:
        extra = torch.zeros(())
        if held is None:
            memory, features, cost = encoder(data.buckets[rows], data.numbers[rows])
            extra = COST_SHARE * F.l1_loss(cost, data.cost[rows])
        else:
            memory, features = (part[rows] for part in held)
        made = decoder(memory, features)
        return per_part(made[0], targets[0][rows]) + per_part(made[1], targets[1][rows]) + extra

    trained = decoder if hold else nn.ModuleList([encoder, decoder])
    return decoder, _fit(trained, data.product, loss, schedule, "v2 decoder", report)


def default_codes(
    array_buckets: int = len(CLUSTERS), buffer_buckets: int = len(BUFFER_KIB)
) -> tuple[OrdinalCode, OrdinalCode]:
    """Ordinal vectors of the two parts, a bucket per level; AIRCHITECT v2's released code has 16 buckets of arrays."""
    return OrdinalCode(len(CLUSTERS), array_buckets), OrdinalCode(len(BUFFER_KIB), buffer_buckets)


def supervised_contrast(features: Tensor, labels: Tensor) -> Tensor:
    """Supervised contrastive loss of one view (Khosla et al., NeurIPS'20, equation 2), features ``(batch, F)`` normalised.

    Rows without another row of their label count as 0.
    """
    z = F.normalize(features, dim=1)
    similarity = z @ z.T / TEMPERATURE
    own = torch.eye(len(z), dtype=torch.bool)
    similarity = similarity.masked_fill(own, float("-inf"))
    log_share = similarity - torch.logsumexp(similarity, dim=1, keepdim=True)
    positive = (labels[:, None] == labels[None, :]) & ~own
    pulled = torch.where(positive, log_share, 0.0).sum(1) / positive.sum(1).clamp(min=1)
    return -pulled.mean()


def unified_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """AIRCHITECT v2's unified focal loss of ordinal vectors ``(batch, buckets)``."""
    p = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    reached = FOCAL_ALPHA * (targets - p).abs() ** FOCAL_GAMMA
    ahead = (1 - FOCAL_ALPHA) * p**FOCAL_GAMMA
    return (torch.where(targets > 0, reached, ahead) * entropy).mean()


def _fit(
    model: nn.Module, product: Tensor, loss: Callable[[Tensor], Tensor], schedule: Schedule, name: str, report: Report
) -> Log:
    log = Log()
    begun = time.process_time()
    order = torch.argsort(product, stable=True)
    _, caps = torch.unique_consecutive(product[order], return_counts=True)
    starts = torch.cumsum(caps, 0) - caps
    steps = -(-len(caps) // schedule.batch) * schedule.epochs
    optimiser = torch.optim.Adam(model.parameters(), lr=schedule.rate)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.rate, total_steps=steps)
    chance = torch.Generator().manual_seed(schedule.seed)
    model.train()
    for epoch in range(schedule.epochs):
        total = 0.0
        drawn = (torch.rand(len(caps), generator=chance) * caps).long()
        rows = order[starts + drawn][torch.randperm(len(caps), generator=chance)]
        for chosen in rows.split(schedule.batch):
            optimiser.zero_grad()
            value = loss(chosen)
            value.backward()
            optimiser.step()
            pace.step()
            total += float(value.detach()) * len(chosen)
        log.losses.append(total / len(rows))
        log.seconds = time.process_time() - begun
        report(f"{name}: epoch {epoch + 1} of {schedule.epochs}, loss {log.losses[-1]:.4f}, {log.seconds:.0f} CPU s")
    model.eval()
    return log
