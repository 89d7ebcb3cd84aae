"""Joint search of hardware and mappings: array, loops of every layer, and buffers as large as those need."""

from fiberloom.explore.joint.problem import JointProblem

__all__ = ["JointProblem"]
