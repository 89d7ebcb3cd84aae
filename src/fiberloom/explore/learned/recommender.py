"""A trained one-shot model in use: an ONNX file run by onnxruntime (extra ``onnx``); PyTorch is not needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.explore.learned.designs import BUFFER_KIB, CLUSTERS, DATAFLOWS, LARGEST_BOUND, MatrixProduct, fingerprint
from fiberloom.explore.learned.inputs import tokens
from fiberloom.explore.learned.ordinal import OrdinalCode
from fiberloom.explore.learned.scoring import into_caps
from fiberloom.explore.learned.workloads import LARGEST_CAP_MM2, LEAST_CAP_MM2

KEY: Final = "fiberloom"
"""Entry of an ONNX file's metadata that holds the `Card`."""
INPUTS: Final = ("buckets", "numbers")
OUTPUTS: Final = ("array", "buffer", "log_cost")
SHIPPED: Final = "airchitect-v2.onnx"
"""The model that comes with fiberloom, for latency."""


@dataclass(frozen=True)
class Card:
    """What a model file says about itself.

    Attributes:
        objective: ``latency`` or ``edp``.
        array_buckets, buffer_buckets: of its ordinal vectors.
        rows: labels that it was trained on.
        space: fingerprint of the design space that they were made for.
        made_by: command.
    """

    objective: str
    array_buckets: int
    buffer_buckets: int
    rows: int
    space: str
    made_by: str


@dataclass(frozen=True)
class Recommendation:
    """Answers, one per row.

    Attributes:
        design: ``(n,)``, 0..767, within the cap.
        foretold: ``(n,)``, what the network said before it was moved into the cap.
        cost: ``(n,)``, foretold cost of the best design.
    """

    design: NDArray[np.int64]
    foretold: NDArray[np.int64]
    cost: NDArray[np.float64]


class OneShot:
    """A trained model.

    Args:
        path: an ONNX file; None takes the one that comes with fiberloom.

    Raises:
        MissingExtraError: without onnxruntime.
        SpecError: for a file that is no such model, or one of another design space.
    """

    def __init__(self, path: Path | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("onnxruntime", "onnx", "a one-shot recommendation") from None
        name = str(path) if path is not None else f"the model that comes with fiberloom ({SHIPPED})"
        try:
            content = path.read_bytes() if path is not None else files(__package__).joinpath(SHIPPED).read_bytes()
        except OSError as error:
            raise SpecError(f"{name} can't be read: {error.strerror}") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # rows are few
        options.log_severity_level = 4  # errors come as exceptions
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            stated = self._session.get_modelmeta().custom_metadata_map
            self.card = _card(stated[KEY])
        except Exception as error:  # onnxruntime has an exception of its own for every fault of a file
            first = (str(error).splitlines() or [""])[0]
            raise SpecError(
                f"{name} is no one-shot model: {type(error).__name__}: {first}"[:300],
                hint="make one with: python benchmarks/airchitect.py",
            ) from None
        if self.card.space != fingerprint():
            raise SpecError(
                f"{name} was trained for another design space ({self.card.space}; here {fingerprint()})",
                hint="train it again: python benchmarks/airchitect.py",
            )
        self._codes = (
            OrdinalCode(len(CLUSTERS), self.card.array_buckets),
            OrdinalCode(len(BUFFER_KIB), self.card.buffer_buckets),
        )

    def __call__(self, products: Sequence[MatrixProduct], caps_mm2: Sequence[float]) -> Recommendation:
        """The design for each product (once) under its cap.

        Raises:
            SpecError: for bounds or caps outside those trained on.
        """
        for product, cap in zip(products, caps_mm2, strict=True):
            check_range(product, cap)
        return self.predict(
            np.array([p.bounds for p in products]).reshape(-1, 3),
            np.array([DATAFLOWS.index(p.dataflow) for p in products]),
            np.asarray(caps_mm2, float),
        )

    def predict(self, bounds: Any, dataflow: Any, caps_mm2: Any) -> Recommendation:
        """As a call, on arrays ``(n, 3)``, ``(n,)`` and ``(n,)`` that are in range."""
        made = dict(zip(INPUTS, tokens(bounds, dataflow, caps_mm2), strict=True))
        array, buffer, log_cost = self._session.run(list(OUTPUTS), made)
        foretold = self._codes[0].decode(array) * len(BUFFER_KIB) + self._codes[1].decode(buffer)
        return Recommendation(into_caps(foretold, caps_mm2), foretold, np.exp(log_cost.astype(float)))


def check_range(product: MatrixProduct, cap_mm2: float) -> None:
    """Raise unless a model has been trained on such bounds and caps.

    Raises:
        SpecError: naming the range.
    """
    if max(product.bounds) > LARGEST_BOUND:
        m, n, k = product.bounds
        raise SpecError(
            f"{product.name}: m {m}, n {n}, k {k}", hint=f"models are trained on bounds from 1 to {LARGEST_BOUND:,}"
        )
    if not LEAST_CAP_MM2 <= cap_mm2 <= LARGEST_CAP_MM2:
        raise SpecError(
            f"an area cap of {cap_mm2:g} mm2",
            hint=f"models are trained on caps from {LEAST_CAP_MM2:g} to {LARGEST_CAP_MM2:g} mm2",
        )


def _card(text: str) -> Card:
    content = json.loads(text)
    return Card(**{f.name: content[f.name] for f in fields(Card)})
