"""What a representation costs on a design: cycles, energy, area and stored bits of the terms that the hardware runs.

>>> from fiberloom.codesign import evaluate
>>> evaluate((1024, 1024, 1024), "highlight", "C1(4:8)->C0(2:4)", 0.5).cycles
262144.0
"""

from fiberloom.codesign.evaluation import LayerCost, evaluate, evaluate_all
from fiberloom.codesign.planning import Task

__all__ = ["LayerCost", "Task", "evaluate", "evaluate_all"]
