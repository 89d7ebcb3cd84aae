"""Sparsity profiles: what share of each tensor of a network is non-zero, measured, fitted or stated.

`SparsityProfile` is what a file holds and what is applied to a network; `make_profile` measures one. One module per step: `weights`
(values from files), `calibration` (activations from runs), `observing` (statistics), `fitting` (statistical models and their misfit),
`making` (all of it), `document` and `yaml_file` (the profile and its file).
"""

from __future__ import annotations

from fiberloom.workload.profile.document import SparsityProfile, TensorProfile, TileCheck
from fiberloom.workload.profile.making import LARGEST_MISFIT, make_profile

__all__ = ["LARGEST_MISFIT", "SparsityProfile", "TensorProfile", "TileCheck", "make_profile"]
