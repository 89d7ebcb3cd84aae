"""Cost models behind one mapping: the sparse model, a roofline bound, and a data-centric model.

>>> from fiberloom import cost_models
>>> for model in cost_models.cost_models():
...     print(model.name, model.supports(problem) or model.evaluate(problem, mapping).cycles)
"""

from __future__ import annotations

from fiberloom.cost_models._base import Check, Cost, CostModel, Words
from fiberloom.cost_models.data_centric import DataCentricModel
from fiberloom.cost_models.roofline import RooflineModel
from fiberloom.cost_models.sparse import SparseModel
from fiberloom.errors import SpecError, nearest

__all__ = [
    "Check",
    "Cost",
    "CostModel",
    "DataCentricModel",
    "RooflineModel",
    "SparseModel",
    "Words",
    "cost_model",
    "cost_models",
]

_MODELS: tuple[CostModel, ...] = (SparseModel(), RooflineModel(), DataCentricModel())


def cost_models() -> tuple[CostModel, ...]:
    """All cost models, with default parameters; the sparse model first."""
    return _MODELS


def cost_model(name: str) -> CostModel:
    """The cost model called `name`.

    Raises:
        SpecError: if there is none, with the nearest one.
    """
    for model in _MODELS:
        if model.name == name:
            return model
    raise SpecError(f"no cost model '{name}'", hint=nearest(name, [model.name for model in _MODELS]))
