"""Networks from ONNX files of any operator set: `read`.

A file becomes a network in four steps, one module each: `file` opens and checks it, `graph` puts nodes in order, `shapes` infers the
shapes of all tensors and takes out what is computed on constants and shapes alone (`folding`), and `translation` turns the steps that
remain into operators: products (`contractions`, `attention`, `recurrent`) become Einsums, the rest is counted (`kinds`).
"""

from __future__ import annotations

from fiberloom.workload.importers.onnx.reading import read
from fiberloom.workload.importers.onnx.values import tensor_values

__all__ = ["read", "tensor_values"]
