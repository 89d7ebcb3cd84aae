"""Trained networks as ONNX files that carry what is needed to use them (extras ``torch`` and ``learn``)."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fiberloom.errors import MissingExtraError
from fiberloom.explore.learned.designs import fingerprint
from fiberloom.explore.learned.inputs import NUMBERS, TOKENS
from fiberloom.explore.learned.labelling import Labels
from fiberloom.explore.learned.networks import Decoder, Encoder
from fiberloom.explore.learned.ordinal import OrdinalCode
from fiberloom.explore.learned.recommender import INPUTS, KEY, OUTPUTS, Card
from fiberloom.explore.learned.training import Data


class OneShotNetwork(nn.Module):
    """Encoder and decoder as one: ordinal vectors ``(batch, buckets)`` of array and buffer, and the log cost ``(batch,)``."""

    def __init__(self, encoder: Encoder, decoder: Decoder, cost_mean: float, cost_scale: float) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.cost_mean, self.cost_scale = cost_mean, cost_scale

    def forward(self, buckets: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs in the order of `OUTPUTS`."""
        tokens, features, cost = self.encoder(buckets, numbers)
        array, buffer = self.decoder(tokens, features)
        return torch.sigmoid(array), torch.sigmoid(buffer), cost * self.cost_scale + self.cost_mean


def one_shot(encoder: Encoder, decoder: Decoder, labels: Labels) -> OneShotNetwork:
    """The whole network, its costs in the units of the labels that it was trained on."""
    data = Data.of(labels)
    return OneShotNetwork(encoder, decoder, data.cost_mean, data.cost_scale).eval()


def export_onnx(
    network: OneShotNetwork, path: Path, *, codes: tuple[OrdinalCode, OrdinalCode], labels: Labels, made_by: str
) -> None:
    """Write `network` to `path`.

    Args:
        labels: those that it was trained on.
        made_by: the command that made it, for whoever finds the file.

    Raises:
        MissingExtraError: without onnxscript.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter needs it
    except ImportError:
        raise MissingExtraError("onnxscript", "learn", "writing ONNX files") from None
    batch = torch.export.Dim("batch")
    example = torch.zeros(2, TOKENS, dtype=torch.long), torch.zeros(2, TOKENS, NUMBERS)
    with warnings.catch_warnings():  # of PyTorch's exporter, about itself
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            example,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: batch}, {0: batch}),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_making(model)
    card = Card(
        objective=labels.objective,
        array_buckets=codes[0].buckets,
        buffer_buckets=codes[1].buckets,
        rows=len(labels),
        space=fingerprint(),
        made_by=made_by,
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(card.__dict__)
    onnx.save(model, path)


def _forget_making(model: Any) -> None:
    """Drop what the exporter notes about every node: the Python lines that it came from, with their paths."""
    graph = model.graph
    for item in (
        graph,
        *graph.node,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *graph.initializer,
        *model.functions,
    ):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    model.ClearField("doc_string")
