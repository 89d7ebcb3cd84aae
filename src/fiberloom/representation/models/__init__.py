"""Representations on PyTorch models: compress, evaluate as the hardware computes, search, fine-tune.

One way leads through it: `compress` finds the `layers` of a model, gives each a `recipe` (with what `calibrate` saw of its
inputs), and puts a `compressed_layer` in its place. `quality` judges models; the searches choose what to compress to.
"""

from importlib import import_module

from fiberloom.errors import MissingExtraError

try:
    import_module("torch")
except ImportError:
    raise MissingExtraError("torch", "torch", "a representation on a PyTorch model") from None

from fiberloom.representation.models.accumulator import Accumulator
from fiberloom.representation.models.compress import Compressed, LayerReport, compress
from fiberloom.representation.models.files import FileReport, compress_file
from fiberloom.representation.models.finetune import finetune, plain
from fiberloom.representation.models.layers import Untouched
from fiberloom.representation.models.quality import Accuracy, Agreement, OutputError, OwnQuality, Perplexity, Quality
from fiberloom.representation.models.sensitivity import Mixed, Sensitivity, allocate_representations, sensitivities
from fiberloom.representation.models.tasder import Search, activation_densities, tasder_activations, tasder_weights

__all__ = [
    "Accumulator",
    "Accuracy",
    "Agreement",
    "Compressed",
    "FileReport",
    "LayerReport",
    "Mixed",
    "OutputError",
    "OwnQuality",
    "Perplexity",
    "Quality",
    "Search",
    "Sensitivity",
    "Untouched",
    "activation_densities",
    "allocate_representations",
    "compress",
    "compress_file",
    "finetune",
    "plain",
    "sensitivities",
    "tasder_activations",
    "tasder_weights",
]
