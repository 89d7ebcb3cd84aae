"""The dense model with real numbers for tile factors: energy, cycles, and their gradients, for a batch of mappings.

Counts follow `fiberloom.model.dataflow`: a child is sent its tile once, and again each time that a loop which indexes the
tensor steps, or a loop outside such a loop. Written as a recursion over the loops (`_Sweep`), this is continuous in every
bound, and equal to the model's count at whole numbers (DOSA, MICRO'23, relaxes Timeloop's counts in the same spirit). What
it leaves out: overlap of sliding windows between steps, links between peers, leakage, gating, skipping and compression.
`Correction` brings those back to first order, taken from the model's account of a mapping nearby.

Array shapes: B points, L storage levels (0 innermost), D variables, T tensors. Logarithms are natural.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.mapper.searchers.accounts import Accounts
from fiberloom.mapping.packed import PackedMappings
from fiberloom.model.lower import Problem

Floats = NDArray[np.float64]
Array = NDArray[Any]

_READ, _FILL, _UPDATE = 0, 1, 2
_SHARPNESS = 12.0
"""Exponent of the smooth maximum over compute and bandwidths: within 7 % of the maximum for two equal terms."""


@dataclass(frozen=True)
class RelaxedPoints:
    """Points of the relaxed space.

    Attributes:
        temporal, spatial: ``(B, L, D)`` logarithms of the factors, at least 0.
        order: ``(B, L, D)`` temporal loop order, innermost first.
        on_x: ``(B, L, D)`` whether the spatial loop of a variable runs along X.
        keep: ``(B, L, T)``.
    """

    temporal: Floats
    spatial: Floats
    order: Array
    on_x: Array
    keep: Array

    @classmethod
    def of(cls, packed: PackedMappings) -> RelaxedPoints:
        """The mappings of a batch as points."""
        variables = np.arange(packed.temporal.shape[2])
        return cls(
            np.log(packed.temporal.astype(float)),
            np.log(packed.spatial.astype(float)),
            packed.temporal_order,
            (packed.on_x[:, :, None] >> variables & 1).astype(bool),
            packed.keep,
        )

    def at(self, temporal: Floats, spatial: Floats) -> RelaxedPoints:
        """The same points with other factors."""
        return replace(self, temporal=temporal, spatial=spatial)


@dataclass(frozen=True)
class Correction:
    """The model over the relaxed model, at a mapping: energies ``(B, L, T)``, occupancy ``(B, L, T)`` (0..1 where compressed),
    computations that take a cycle ``(B,)``."""

    energy: Floats
    occupancy: Floats
    busy: Floats


@dataclass(frozen=True)
class RelaxedCost:
    """What the relaxed model says of B points.

    Attributes:
        energy_pj, cycles: ``(B,)``.
        penalty: ``(B,)`` squared logarithmic excess over capacities and fan-outs; 0 where all fit.
        storage_pj: ``(B, L, T)``.
        tile: ``(B, L, T)`` words.
        temporal_gradient, spatial_gradient: ``(B, L, D)`` gradient of the loss with respect to the points' logarithms.
    """

    energy_pj: Floats
    cycles: Floats
    penalty: Floats
    storage_pj: Floats
    tile: Floats
    temporal_gradient: Floats
    spatial_gradient: Floats


class RelaxedModel:
    """Relaxed energy and cycles of one problem.

    Args:
        problem: the lowered problem.
        multicast: ``(L, T)`` as in the packed mappings of the space.
        penalty_weight: weight of the squared logarithmic excess over capacities and fan-outs in the loss.
    """

    def __init__(self, problem: Problem, multicast: Array, *, penalty_weight: float = 10.0) -> None:
        p = problem.arrays[0]
        L, D, T = len(problem.level_names), len(problem.variables), len(problem.tensors)
        self.penalty_weight = penalty_weight
        self.shape = (L, D, T)
        self.relevant: Array = np.array(p["is_relevant"][:T, :D], bool)
        self._coefficient: Floats = np.abs(p["coefficient"][:T, :, :D]).astype(float)
        self._output = int(p["output"])
        self._is_output = np.arange(T) == self._output
        blocks = np.array(p["values_per_access"][:L, :T])
        energy = p["energy"][:L, :, 0]
        self._energy: Floats = np.stack([energy[:, a, None] / blocks for a in (_READ, _FILL, _UPDATE)])  # (3, L, T)
        self._compute_pj = float(p["compute_energy"][0])
        self._macs = float(problem.workload.macs)
        self._split: Floats = (self.relevant[None] | ~np.asarray(multicast, bool)[:, :, None]).astype(
            float
        )  # (L, T, D)
        self._scale: Floats = np.array(p["word_scale"][:L, :T])
        self._demand: Floats = np.array(p["demand"][:L, :T])
        self._capacity: Floats = np.array(p["capacity"][:L])
        self._bandwidth: Floats = np.stack([p[f"{n}_bandwidth"][:L] for n in ("read", "write", "shared")])
        self._log_fan: Floats = np.log(np.stack([p["fan_x"][:L], p["fan_y"][:L]], axis=1).astype(float))

    def neutral(self, points: int) -> Correction:
        """No correction: everything dense."""
        L, _, T = self.shape
        ones = np.ones((points, L, T))
        return Correction(ones, ones, np.full(points, self._macs))

    def correction(self, points: RelaxedPoints, accounts: Accounts, previous: Correction) -> Correction:
        """What the model's `accounts` of the same (whole-number) points say beside the relaxed model.

        Points that do not fit, and terms that are 0 in either, keep their `previous` correction.
        """
        dense = self(points, self.neutral(len(points.temporal)))
        with np.errstate(all="ignore"):
            energy = accounts.storage_pj / dense.storage_pj
            occupancy = accounts.occupied / dense.tile
        fits = accounts.status == 0
        usable = np.isfinite(energy) & (energy > 0) & fits[:, None, None]
        filled = np.isfinite(occupancy) & (occupancy > 0) & fits[:, None, None]
        return Correction(
            np.where(usable, energy, previous.energy),
            np.where(filled, occupancy, previous.occupancy),
            np.where(fits & (accounts.busy > 0), accounts.busy, previous.busy),
        )

    def __call__(
        self, points: RelaxedPoints, correction: Correction, weights: tuple[Floats, Floats] | None = None
    ) -> RelaxedCost:
        """Cost of the points and the gradient of ``weights[0] log energy + weights[1] log cycles + penalty``.

        Args:
            weights: ``(B,)`` exponents of energy and cycles in the objective; None gives EDP.
        """
        L = self.shape[0]
        xt, xs, keep = points.temporal, points.spatial, points.keep
        B = len(xt)
        gt, gs = np.zeros_like(xt), np.zeros_like(xs)
        a, b = weights if weights is not None else (np.ones(B), np.ones(B))
        # tiles
        extent = np.exp(np.cumsum(xt + xs, axis=1))  # (B, L, D)
        length = 1 + np.einsum("trd,bld->bltr", self._coefficient, extent - 1)
        log_tile = np.log(length).sum(axis=3)
        slope = (
            np.einsum("trd,bltr->bltd", self._coefficient, 1 / length) * extent[:, :, None]
        )  # d log tile / d log extent
        tile = np.exp(log_tile)
        g_tile = np.zeros_like(log_tile)
        # words to each child: boundary l lies below level l; what it feeds is level l - 1, or compute
        sweep = _Sweep(xt, points.order, self.relevant)
        log_words = np.log1p(sweep.repeats)  # (B, T, L)
        log_words[:, :, 1:] += log_tile[:, :-1].transpose(0, 2, 1)
        log_words[:, :, 0] = xt.sum(axis=(1, 2))[:, None]
        fed, keeper, span = _keepers(keep)
        spread = np.einsum("bmd,mtd->btm", xs, self._split)
        words = np.where(fed, np.exp(log_words), 0.0)
        log_groups = np.einsum("btlm,btm->btl", span, spread)
        content = words * np.exp(log_groups)
        above = xs.sum(axis=2)
        log_instances = above[:, ::-1].cumsum(axis=1)[:, ::-1] - above  # (B, L) instances of a level: fan-outs above it
        instances = np.exp(log_instances)
        out = self._output
        own_turns = (xt * self.relevant[out]).sum(axis=2)
        partition = np.exp(log_tile[:, :, out] + own_turns[:, ::-1].cumsum(axis=1)[:, ::-1] - own_turns)  # (B, L)
        output = self._is_output[None, :, None]
        partition_keeper = np.einsum("btlk,bk->btl", keeper, partition)
        partition_child = np.concatenate([np.zeros((B, 1)), partition[:, :-1]], axis=1)[:, None]
        rereads = output & (content > partition_keeper)
        refills = output & (words > partition_child)
        reads = np.where(output, np.where(rereads, content - partition_keeper, 0.0), content)
        updates = np.where(output, content, 0.0)
        fills = np.where(output, np.where(refills, words - partition_child, 0.0), words)
        fills[:, :, 0] = 0.0
        # energy
        factor = correction.energy.transpose(0, 2, 1)  # (B, T, L)
        per_read, per_fill, per_update = (self._energy[i].T[None] * factor * instances[:, None] for i in range(3))
        read_at, update_at = (np.einsum("btlk,btk->btl", keeper, e) for e in (per_read, per_update))
        fill_at = np.zeros_like(read_at)
        fill_at[:, :, 1:] = per_fill[:, :, :-1]
        at_keeper = reads * read_at + updates * update_at
        at_child = fills * fill_at
        storage = np.einsum("btlk,btl->btk", keeper, at_keeper)
        storage[:, :, :-1] += at_child[:, :, 1:]
        energy = storage.sum(axis=(1, 2)) + correction.busy * self._compute_pj
        # cycles
        lanes = xs.sum(axis=(1, 2))
        # words of bandwidth per value that crosses
        factor = factor * self._demand.T
        moved = np.einsum("btlk,btk->btl", keeper, factor)
        moved_child = np.zeros_like(moved)
        moved_child[:, :, 1:] = factor[:, :, :-1]
        demand_read = np.einsum("btlk,btl->bk", keeper, reads * moved)
        demand_write = np.einsum("btlk,btl->bk", keeper, updates * moved)
        demand_write[:, :-1] += (fills * moved_child)[:, :, 1:].sum(axis=1)
        demands = (
            np.stack([demand_read, demand_write, demand_read + demand_write], axis=1) / self._bandwidth
        )  # (B, 3, L)
        times = np.concatenate([(correction.busy * np.exp(-lanes))[:, None], demands.reshape(B, -1)], axis=1)
        largest = times.max(axis=1, keepdims=True)
        powers = (times / largest) ** _SHARPNESS
        total = powers.sum(axis=1, keepdims=True)
        cycles = largest[:, 0] * total[:, 0] ** (1 / _SHARPNESS)
        share = powers / total  # d log cycles / d log time
        with np.errstate(all="ignore"):
            g_demand = (
                np.where(times > 0, share / times, 0.0)[:, 1:].reshape(B, 3, L) / self._bandwidth * b[:, None, None]
            )
        # backwards
        g_energy = (a / energy)[:, None, None]
        gs -= (b * share[:, 0])[:, None, None]
        g_read_level = (g_demand[:, 0] + g_demand[:, 2])[:, None]
        g_write_level = (g_demand[:, 1] + g_demand[:, 2])[:, None]
        g_reads = g_energy * read_at + np.einsum("btlk,btk->btl", keeper, factor * g_read_level)
        g_updates = g_energy * update_at + np.einsum("btlk,btk->btl", keeper, factor * g_write_level)
        g_fills = g_energy * fill_at
        g_fills[:, :, 1:] += (factor * g_write_level)[:, :, :-1]
        g_fills[:, :, 0] = 0.0
        g_content = np.where(output, g_updates + np.where(rereads, g_reads, 0.0), g_reads)
        g_words = np.where(output & ~refills, 0.0, g_fills)
        g_partition = -np.einsum("btlk,btl->bk", keeper, np.where(rereads, g_reads, 0.0))
        g_partition[:, :-1] -= np.where(refills, g_fills, 0.0)[:, out, 1:]
        g_log_groups = g_content * content
        g_log_words = g_log_groups + g_words * words
        gs += np.einsum("btlm,btl,mtd->bmd", span, g_log_groups, self._split)
        g_instances = g_energy[:, 0] * np.einsum("btlk,btl->bk", keeper, at_keeper)
        g_instances[:, :-1] += g_energy[:, 0] * at_child[:, :, 1:].sum(axis=1)
        gs += (np.cumsum(g_instances, axis=1) - g_instances)[:, :, None]
        g_log_partition = g_partition * partition
        g_tile[:, :, out] += g_log_partition
        gt += (np.cumsum(g_log_partition, axis=1) - g_log_partition)[:, :, None] * self.relevant[out]
        gt += g_log_words[:, :, 0].sum(axis=1)[:, None, None]
        g_log_words[:, :, 0] = 0.0
        g_tile[:, :-1] += g_log_words[:, :, 1:].transpose(0, 2, 1)
        gt += sweep.gradient(g_log_words / (1 + sweep.repeats))
        # what does not fit
        parts = np.where(keep, tile * correction.occupancy * self._scale, 0.0)
        used = parts.sum(axis=2)
        with np.errstate(all="ignore"):
            excess = np.where(used > self._capacity, np.log(used / np.maximum(self._capacity, 0.5)), 0.0)
            part_share = np.where(used[:, :, None] > 0, parts / used[:, :, None], 0.0)
        g_tile += 2 * self.penalty_weight * (excess[:, :, None] * part_share)
        penalty = (excess**2).sum(axis=1)
        for axis, chosen in enumerate((points.on_x, ~points.on_x)):
            over = np.maximum(0.0, (xs * chosen).sum(axis=2) - self._log_fan[:, axis])
            penalty = penalty + (over**2).sum(axis=1)
            gs += 2 * self.penalty_weight * over[:, :, None] * chosen
        g_extent = np.einsum("blt,bltd->bld", g_tile, slope)
        inside = g_extent[:, ::-1].cumsum(axis=1)[:, ::-1]
        return RelaxedCost(energy, cycles, penalty, storage.transpose(0, 2, 1), tile, gt + inside, gs + inside)


class _Sweep:
    """``r <- b r + (b - 1) g`` over the temporal loops above every boundary, innermost first, and its reverse.

    g is 1 for loops that index the tensor; for others it says whether such a loop has been passed, from 0 (none) to 1 (their
    bounds multiply to 2 or more), linear in the logarithm between.

    `repeats` ``(B, T, L)``: times that the tile below level l is sent again.
    """

    def __init__(self, temporal: Floats, order: Array, relevant: Array) -> None:
        B, L, D = temporal.shape
        self._shape = (B, L, D)
        self._rows = np.arange(B)
        self.repeats = np.zeros((B, len(relevant), L))
        passed = np.zeros_like(self.repeats)  # base-2 logarithm of the loops passed that index the tensor
        self._steps: list[tuple[int, Array, Array, Array, Array, Array]] = []
        for level in range(1, L):
            for i in range(D):
                variable = order[:, level, i]
                bound = np.exp(temporal[self._rows, level, variable])
                if (bound == 1.0).all():
                    continue
                moves = relevant[:, variable].T[:, :, None]  # (B, T, 1)
                part, before = self.repeats[:, :, : level + 1], passed[:, :, : level + 1]
                again = np.where(moves, 1.0, np.minimum(1.0, before))
                self._steps.append((level, variable, bound, moves, part + again, ~moves & (before < 1)))
                part[:] = bound[:, None, None] * (part + again) - again
                before += moves * np.log2(bound)[:, None, None]

    def gradient(self, g_repeats: Floats) -> Floats:
        """Gradient with respect to the logarithms of the factors, ``(B, L, D)``."""
        out = np.zeros(self._shape)
        g, g_passed = g_repeats.copy(), np.zeros_like(g_repeats)
        for level, variable, bound, moves, before, gating in reversed(self._steps):
            part, gate = g[:, :, : level + 1], g_passed[:, :, : level + 1]
            out[self._rows, level, variable] += (part * before).sum(axis=(1, 2)) * bound
            out[self._rows, level, variable] += (gate * moves).sum(axis=(1, 2)) / np.log(2)
            gate += part * (bound[:, None, None] - 1) * gating
            part *= bound[:, None, None]
        return out


def _keepers(keep: Array) -> tuple[Array, Floats, Floats]:
    """Per boundary below level l: whether a tile is fed there, by which level, through which fan-outs.

    Returns:
        ``fed (B, T, L)`` bool, ``keeper (B, T, L, L)`` one-hot, ``span (B, T, L, L)`` levels from l up to the keeper.
    """
    B, L, T = keep.shape
    kept = keep.transpose(0, 2, 1)  # (B, T, L)
    keeper = np.zeros((B, T, L, L))
    span = np.zeros((B, T, L, L))
    fed = np.zeros((B, T, L), bool)
    for level in range(L):
        below = np.ones((B, T), bool) if level == 0 else kept[:, :, level - 1]
        fed[:, :, level] = below & kept[:, :, level:].any(axis=2)
        nearest = level + np.argmax(kept[:, :, level:], axis=2)
        levels = np.arange(L)
        keeper[:, :, level] = (levels == nearest[:, :, None]) & fed[:, :, level, None]
        span[:, :, level] = (levels >= level) & (levels <= nearest[:, :, None]) & fed[:, :, level, None]
    return fed, keeper, span
