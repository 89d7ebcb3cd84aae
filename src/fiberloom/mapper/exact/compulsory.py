"""What every mapping of a problem costs at least, whatever it keeps: a bound before anything was searched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fiberloom.mapper.exact.ground import sizes
from fiberloom.mapper.exact.sparsity import is_sparse
from fiberloom.mapping.packed import PackedMappings
from fiberloom.mapping.space import MapSpace
from fiberloom.model.counting import GATING, READ, UPDATE
from fiberloom.model.evaluate import account_of
from fiberloom.model.lower import Problem


def compulsory(problem: Problem, space: MapSpace) -> tuple[float, float]:
    """Least energy and cycles: of the computations whose operands are all non-zero, on all lanes, and of moving every tensor
    once between the outermost memory and the rest."""
    p = problem.arrays[0]
    T, top = len(problem.tensors), int(p["levels"]) - 1
    output = int(p["output"])
    inputs = [t for t in range(T) if t != output]
    share = math.prod(float(p["element_density"][t]) for t in inputs) if is_sparse(p) or _odd(p) else 1.0
    least = problem.workload.macs * share
    energy = least * float(p["compute_energy"][0])
    cycles = least / problem.architecture.compute.instances
    shares = _least_shares(p, T)
    moved = np.zeros(2)  # read, written
    for t, size in enumerate(sizes(problem, space)):
        if not space.fixed_keep[top, t]:
            continue
        action = UPDATE if t == output else READ
        words = size * shares[t] * (float(p["element_density"][t]) if p["has_metadata"][top, t] else 1.0)
        moved[int(t == output)] += words * float(p["demand"][top, t])
        energy += (
            words
            * float(p["energy"][top, action, 0])
            / float(p["values_per_access"][top, t])
            / max(1, int(p["cluster"][top]))
        )
    read, written = float(p["read_bandwidth"][top]), float(p["write_bandwidth"][top])
    return energy, max(cycles, moved[0] / read, moved[1] / written, moved.sum() / float(p["shared_bandwidth"][top]))


def least_compute(problem: Problem, space: MapSpace, keep: Any) -> tuple[float, float]:
    """Least energy of compute, and least computations that take a cycle, with one choice of keeps ``(L, T)``.

    Both are what the model says of the mapping with all loops outermost, if there gating and skipping look at single
    elements of every leader: the innermost loop indexes every input, so that no element stays put for more.
    """
    p = problem.arrays[0]
    D, T, L = int(p["variables"]), int(p["tensors"]), int(p["levels"])
    work = float(np.prod(space.bounds.astype(float)))
    inputs = [t for t in range(T) if t != int(p["output"])]
    thin = math.prod(float(p["element_density"][t]) for t in inputs)
    least = work * thin * float(p["compute_energy"][0]), work * thin
    moving = [d for d in range(D) if all(p["is_relevant"][t, d] for t in inputs) and space.bounds[d] > 1]
    entries = int(p["entries"])
    gated = bool((p["saf_kind"][:entries] == GATING).any())
    if entries and (not moving or (gated and p["compute_skipping"])):  # what a level gates, compute could have skipped
        return least
    nest = np.ones((1, L, D), np.int64)
    nest[0, L - 1] = space.bounds
    first = moving[0] if moving else 0
    order = np.tile(np.array([first, *(d for d in range(D) if d != first)]), (1, L, 1))
    row = PackedMappings(
        nest, np.ones_like(nest), order, order, np.zeros((1, L), np.int64), keep[None], space.multicast,
        space.peer_links,
    )  # fmt: skip
    account = account_of(problem, row)
    found = _leaders(p, T)
    left = work * math.prod(float(p["element_density"][t]) for t in inputs if any(found[i] >> t & 1 for i in inputs))
    if account is None or float(account["remaining"]) > left * (1 + 1e-9):
        return least
    return float(account["compute_energy"].sum()), float(account["compute"][:2].sum())


def _leaders(p: Any, tensors: int) -> list[int]:
    """By follower, bit sets of the tensors whose zeros gate or skip it."""
    leaders = [0] * tensors
    for s in range(int(p["entries"])):
        for o in range(int(p["saf_first"][s]), int(p["saf_first"][s]) + int(p["saf_options"][s])):
            leaders[int(p["option_follower"][o])] |= int(p["option_leaders"][o])
    return leaders


def _least_shares(p: Any, tensors: int) -> list[float]:
    """Share of each tensor's words that skipping and gating leave at least: as if they looked at single elements of their leaders."""
    leaders = _leaders(p, tensors)
    for s in range(int(p["spatial_entries"])):
        leaders[int(p["spatial_follower"][s])] |= int(p["spatial_leaders"][s])
    for s in range(int(p["position_entries"])):  # a tensor's own zeros
        leaders[int(p["position_follower"][s])] |= 1 << int(p["position_follower"][s])
    return [
        math.prod(float(p["element_density"][leader]) for leader in range(tensors) if found >> leader & 1)
        for found in leaders
    ]


def _odd(p: Any) -> bool:
    return (
        bool(p["spatial_entries"])
        or bool(p["position_entries"])
        or bool(p["compute_gating"])
        or bool(p["compute_skipping"])
    )
