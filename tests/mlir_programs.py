"""MLIR programs of one operation for tests, and what they are read as."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fiberloom.workload.einsum import Einsum
from fiberloom.workload.importers.mlir import read_text
from fiberloom.workload.network import Operator

Shape = tuple[int, ...]


def tensor(shape: Shape, element: str = "f32") -> str:
    return f"tensor<{''.join(f'{e}x' for e in shape)}{element}>"


def named(
    operation: str, inputs: Sequence[Shape], output: Shape, attributes: str = "", element: str = "f32", extra: str = ""
) -> str:
    types = [tensor(s, element) for s in inputs]
    made = tensor(output, element)
    names = [f"%a{i}" for i in range(len(inputs))]
    arguments = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
    return (
        f"func.func @main({arguments}, %o: {made}) -> {made} {{\n"
        f"  %r = linalg.{operation} {attributes} ins({', '.join(names)} : {', '.join(types)}) outs(%o : {made}){extra} -> {made}\n"
        f"  return %r : {made}\n}}\n"
    )


def only(text: str) -> Operator:
    pytest.importorskip("xdsl")
    network = read_text(text, "f.mlir")
    assert len(network.operators) == 1
    return network.operators[0]


def only_einsum(text: str) -> Einsum:
    einsum = only(text).einsum
    assert einsum is not None
    return einsum


STEPS = "{dilations = dense<2> : tensor<2xi64>, strides = dense<[2, 1]> : tensor<2xi64>}"
