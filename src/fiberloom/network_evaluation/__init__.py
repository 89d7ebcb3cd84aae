"""Whole networks on accelerators: every different layer mapped, the rest counted, totals and comparisons.

>>> from fiberloom.network_evaluation import run_network
>>> result = run_network("resnet50", ["stc", "dense-tensor-core"])
>>> result.total("stc")["cycles"]
"""

from __future__ import annotations

from fiberloom.network_evaluation.cases import Case, Widths, parse_density, with_densities
from fiberloom.network_evaluation.result import NetworkResult
from fiberloom.network_evaluation.run import Progress, run_network

__all__ = ["Case", "NetworkResult", "Progress", "Widths", "parse_density", "run_network", "with_densities"]
