"""AIRCHITECT v1 and v2 in PyTorch (extra ``torch``).

v1: Samajdar et al., *AIRCHITECT*, arXiv 2108.08295: embeddings of the inputs, one hidden layer of 256, one class per design.
v2: *AIRCHITECT v2*, DATE'25, arXiv 2501.09954: a transformer encoder over one token per input, trained by contrast between
designs and to foretell the cost; then, with the encoder held, an attention decoder and unified ordinal vectors for the two parts
of a design. The encoder's blocks are those of the released code; the perceptrons behind them are narrower (96 for 512, features of
64 for 128), so that a model trains in minutes on one core and takes less than a megabyte. Three things differ: inputs have numbers
beside their buckets, features are normalised before they are contrasted (Khosla et al., NeurIPS'20; that code does not),
and attention is over the tokens of one sample, never over a batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fiberloom.explore.learned.designs import BUFFER_KIB, CLUSTERS, COUNT
from fiberloom.explore.learned.inputs import BUCKETS, NUMBERS, TOKENS

EMBEDDING_V1, HIDDEN_V1 = 16, 256
EMBEDDING, LAYERS, HEADS, FEED_FORWARD, FEATURES, HIDDEN = 32, 4, 4, 128, 64, 96


class TokenEmbedding(nn.Module):
    """Tokens ``(batch, 5, width)`` of buckets ``(batch, 5)`` and numbers ``(batch, 5, 3)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(count, width) for count in BUCKETS)
        self.numbers = nn.ModuleList(nn.Linear(NUMBERS, width) for _ in BUCKETS)

    def forward(self, buckets: Tensor, numbers: Tensor) -> Tensor:
        """Embedded bucket plus linear map of the numbers, token by token."""
        made = [
            table(buckets[:, i]) + linear(numbers[:, i])
            for i, (table, linear) in enumerate(zip(self.tables, self.numbers, strict=True))
        ]
        return torch.stack(made, dim=1)


class Classifier(nn.Module):
    """v1: logits ``(batch, 768)``."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(EMBEDDING_V1)
        self.layers = nn.Sequential(nn.Linear(TOKENS * EMBEDDING_V1, HIDDEN_V1), nn.ReLU(), nn.Linear(HIDDEN_V1, COUNT))

    def forward(self, buckets: Tensor, numbers: Tensor) -> Tensor:
        """One logit per design."""
        logits: Tensor = self.layers(self.embedding(buckets, numbers).flatten(1))
        return logits


class Block(nn.Module):
    """Attention of queries ``(batch, q, width)`` to a memory ``(batch, t, width)`` of their own sample, then a feed-forward layer.

    Each part is added to its input and normalised, as in the original transformer.
    """

    def __init__(self, width: int, feed_forward: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.forward_layer = nn.Sequential(nn.Linear(width, feed_forward), nn.ReLU(), nn.Linear(feed_forward, width))

    def forward(self, queries: Tensor, memory: Tensor | None = None) -> Tensor:
        """As many tokens as there are queries; without a memory they attend to one another."""
        memory = queries if memory is None else memory

        def heads(x: Tensor) -> Tensor:
            return x.unflatten(2, (HEADS, -1)).transpose(1, 2)

        attended = F.scaled_dot_product_attention(
            heads(self.query(queries)), heads(self.key(memory)), heads(self.value(memory))
        )
        x = self.first(queries + self.out(attended.transpose(1, 2).flatten(2)))
        made: Tensor = self.second(x + self.forward_layer(x))
        return made


class Encoder(nn.Module):
    """v2's first stage: tokens ``(batch, 5, 32)``, features ``(batch, 64)`` and the foretold cost ``(batch,)``."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(EMBEDDING)
        self.blocks = nn.Sequential(*(Block(EMBEDDING, FEED_FORWARD) for _ in range(LAYERS)))
        width = TOKENS * EMBEDDING
        self.project = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, FEATURES)
        )
        self.performance = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN // 2), nn.Tanh(), nn.Linear(HIDDEN // 2, 1)
        )

    def forward(self, buckets: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens after attention, features, and standardised log cost of the best design (from the embeddings)."""
        embedded = self.embedding(buckets, numbers)
        tokens = self.blocks(embedded)
        return tokens, self.project(tokens.flatten(1)), self.performance(embedded.flatten(1)).squeeze(1)


class Decoder(nn.Module):
    """v2's second stage: two queries, one per part of a design, attend to the tokens and the features of their sample.

    Args:
        outputs: numbers per part: buckets of the ordinal vectors, or levels for a classifier of each part.
    """

    def __init__(self, outputs: tuple[int, int] = (len(CLUSTERS), len(BUFFER_KIB))) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(2, FEATURES) * FEATURES**-0.5)
        self.lift = nn.Linear(EMBEDDING, FEATURES)
        self.attention = Block(FEATURES, 2 * FEATURES)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(2 * FEATURES, HIDDEN),
                nn.Tanh(),
                nn.Linear(HIDDEN, HIDDEN // 2),
                nn.Tanh(),
                nn.Linear(HIDDEN // 2, count),
            )
            for count in outputs
        )

    def forward(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the array ``(batch, buckets)`` and of the buffer."""
        memory = torch.cat([self.lift(tokens), features.unsqueeze(1)], dim=1)
        attended = self.attention(self.queries.expand(tokens.shape[0], -1, -1), memory)
        array, buffer = (head(torch.cat([attended[:, i], features], dim=1)) for i, head in enumerate(self.heads))
        return array, buffer
