"""Small ONNX models for tests: `model` builds one, `network` writes it to a file and reads that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from fiberloom.workload.importers import read_network  # noqa: E402
from fiberloom.workload.network import Network, Operator  # noqa: E402

FLOAT, INT8, UINT8, INT64, BOOL = (getattr(TensorProto, n) for n in ("FLOAT", "INT8", "UINT8", "INT64", "BOOL"))
node = helper.make_node


def info(name: str, shape: Any, kind: int = FLOAT) -> Any:
    """A stated type; extents are numbers, names, or None, and the shape may be None."""
    return helper.make_tensor_value_info(name, kind, shape)


def weights(name: str, *shape: int, kind: Any = np.float32) -> Any:
    """An initializer of ones."""
    return numpy_helper.from_array(np.ones(shape, kind), name)


def values(name: str, given: Any, kind: Any = np.int64) -> Any:
    """An initializer of given values."""
    return numpy_helper.from_array(np.array(given, kind), name)


def model(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], stored: Any = (), *, opset: int = 18, **more: Any
) -> Any:
    """A model of one graph."""
    shown = more.pop("value_info", [])
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(stored), value_info=shown)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, **more)


def written(folder: Path, made: Any, name: str = "model.onnx") -> Path:
    """The file of a model."""
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def network(folder: Path, made: Any, dims: dict[str, int] | None = None) -> Network:
    """The network in a model."""
    return read_network(str(written(folder, made)), dims=dims or {})


def only(read: Network) -> Operator:
    """The one Einsum of a network."""
    (operator,) = read.einsums
    return operator


def step(read: Network, op: str) -> Operator:
    """The one operator of a kind."""
    (operator,) = (o for o in read.operators if o.op == op)
    return operator
