"""Exploring accelerators for whole networks."""

from fiberloom.explore.accelerator.problem import AcceleratorProblem

__all__ = ["AcceleratorProblem"]
