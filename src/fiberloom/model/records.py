"""Memory layout of what the kernel works on: three records of fixed size.

A record is one pointer to compiled code, so that passing it costs nothing, its strides are constants, and one compilation
serves problems of every size up to the limits here. Arrays are named for what they hold; sizes in use are
`variables`, `levels`, `tensors`. Storage level 0 is the innermost; loops and ranks are listed innermost first.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

MAX_LEVELS: Final = 16
MAX_VARIABLES: Final = 16
MAX_TENSORS: Final = 8
MAX_RANKS: Final = 8
MAX_FORMAT_RANKS: Final = 12
MAX_ENTRIES: Final = 64
MAX_OPTIONS: Final = 128
MAX_LOOPS: Final = 2 * MAX_LEVELS * MAX_VARIABLES
TILE_MISSES: Final = 1024
UNIT_MISSES: Final = 128

_L, _D, _T, _R, _F = MAX_LEVELS, MAX_VARIABLES, MAX_TENSORS, MAX_RANKS, MAX_FORMAT_RANKS
_S, _O, _K = MAX_ENTRIES, MAX_OPTIONS, MAX_LOOPS
_int, _float, _bool = np.int64, np.float64, np.uint8  # compiled records hold no arrays of booleans


def _layout(fields: list[tuple[str, Any] | tuple[str, Any, tuple[int, ...]]]) -> np.dtype[Any]:
    return np.dtype(fields, align=True)


PROBLEM: Final = _layout(
    [
        ("variables", _int),
        ("levels", _int),
        ("tensors", _int),
        ("output", _int),
        ("entries", _int),  # gating and skipping
        ("spatial_entries", _int),
        ("position_entries", _int),
        ("delta_rule", _int),
        ("first_visit_fills", _bool),
        ("exact", _bool),
        ("evaluate_misfits", _bool),
        ("any_metadata", _bool),
        ("complete_nest", _bool),  # whether loops of bound 1 matter
        ("compute_gating", _bool),
        ("compute_skipping", _bool),
        ("bounds", _int, (_D,)),
        ("coefficient", _int, (_T, _R, _D)),  # 0 where a variable does not index the rank
        ("term_count", _int, (_T, _R)),  # the same, as lists of (variable, |coefficient|) per rank
        ("term_variable", _int, (_T, _R, _D)),
        ("term_coefficient", _int, (_T, _R, _D)),
        ("rank_count", _int, (_T,)),
        ("tensor_shape", _int, (_T, _R)),
        ("radix", _int, (_R,)),
        ("is_relevant", _bool, (_T, _D)),
        ("is_lone", _bool, (_T, _D)),  # the variable indexes a rank alone, so that stepping it leaves no overlap
        ("is_sole", _bool, (_T, _D)),  # the same, and no other rank
        ("is_filtered", _bool, (_T,)),  # has metadata, follows or leads
        ("is_simple", _bool, (_T,)),  # one variable per rank, every variable once: tiles never overlap
        ("is_dense", _bool, (_T,)),
        ("by_shape", _bool, (_T,)),  # occupancy depends on the tile's shape, not only on its size
        ("element_density", _float, (_T,)),
        ("tensor_has_metadata", _bool, (_T,)),
        ("has_fanout", _bool, (_L,)),
        ("fan_x", _int, (_L,)),
        ("fan_y", _int, (_L,)),
        ("block", _int, (_L,)),  # words per vector access
        ("block_of", _int, (_L, _T)),
        ("word_bits", _int, (_L,)),
        ("word_scale", _float, (_L, _T)),  # width of a value over the level's word
        ("values_per_access", _float, (_L, _T)),  # below 1 where a value is wider than a row
        ("demand", _float, (_L, _T)),  # words of the level's bandwidth that a value takes
        ("capacity", _float, (_L,)),  # words, inf when unbounded
        ("min_utilization", _float, (_L,)),
        ("cluster", _int, (_L,)),
        ("metadata_word_bits", _int, (_L,)),
        ("metadata_width", _int, (_L,)),
        ("metadata_capacity_bits", _float, (_L,)),
        ("read_bandwidth", _float, (_L,)),
        ("write_bandwidth", _float, (_L,)),
        ("shared_bandwidth", _float, (_L,)),
        ("can_decompress", _bool, (_L,)),
        ("has_metadata", _bool, (_L, _T)),
        ("is_compressed", _bool, (_L, _T)),
        ("inner_to_outer", _bool, (_L, _T)),
        ("format_ranks", _int, (_L, _T)),
        ("format_kind", _int, (_L, _T, _F)),
        ("format_rule", _int, (_L, _T, _F)),  # bit set of variables that may share the rank; 0: one loop
        ("metadata_bits", _float, (_L, _T, _F)),
        ("payload_bits", _float, (_L, _T, _F)),
        ("saf_kind", _int, (_S,)),
        ("saf_level", _int, (_S,)),
        ("saf_first", _int, (_S,)),
        ("saf_options", _int, (_S,)),
        ("option_follower", _int, (_O,)),
        ("option_leaders", _int, (_O,)),
        ("spatial_level", _int, (_S,)),
        ("spatial_follower", _int, (_S,)),
        ("spatial_leaders", _int, (_S,)),
        ("position_level", _int, (_S,)),
        ("position_follower", _int, (_S,)),
        ("energy", _float, (_L, 6, 3)),  # pJ per vector access
        ("compute_energy", _float, (3,)),
        ("leak", _float, (_L + 1,)),  # pJ per cycle and instance; 0 is compute
        ("conversion_energy", _float, (_L, 2)),  # decompression, compression, pJ per word
        ("block_threshold", _int, (_L, 10)),
    ]
)
"""An Einsum on an architecture."""

MAPPING: Final = _layout(
    [
        ("temporal", _int, (_L, _D)),
        ("spatial", _int, (_L, _D)),
        ("temporal_order", _int, (_L, _D)),  # variables, innermost first
        ("spatial_order", _int, (_L, _D)),
        ("on_x", _int, (_L,)),  # bit set of the variables whose spatial loop runs along X
        ("keep", _bool, (_L, _T)),
        ("multicast", _bool, (_L, _T)),
        ("peer_links", _bool, (_L, _T)),
    ]
)
"""One mapping."""

WORK: Final = _layout(
    [
        ("loop_variable", _int, (_K,)),
        ("loop_bound", _int, (_K,)),
        ("loop_level", _int, (_K,)),
        ("loop_axis", _int, (_K,)),  # 0 temporal, 1 X, 2 Y
        ("active_count", _int),  # loops of a bound above 1
        ("active_start", _int, (_L + 1,)),  # first active loop of each level
        ("active_variable", _int, (_K,)),
        ("active_bound", _int, (_K,)),
        ("active_level", _int, (_K,)),
        ("active_axis", _int, (_K,)),
        ("extent", _int, (_L + 1, _D)),  # iterations inside and at storage level l, row l + 1; row 0 is compute
        ("spatial_extent", _int, (_L, _D)),  # without level l's temporal loops
        ("fanout", _int, (_L,)),
        ("fanout_xy", _int, (_L, 2)),
        ("used_instances", _int, (_L + 1,)),  # row 0 is compute
        ("whole", _int, (_L, _T)),  # words of the tile, kept or not
        ("tile", _int, (_L, _T)),  # words; 0 where the tensor is not kept
        ("dense", _float, (_L, _T, 3)),  # reads, fills, updates
        ("peer", _float, (_L, _T)),
        ("share", _float, (_L + 1,)),
        ("content", _float, (_L + 1,)),
        ("link", _float, (_L + 1,)),
        ("partition", _float, (_L,)),
        ("running", _int, (_D,)),
        ("lengths", _int, (_R,)),
        ("back", _int, (_R,)),
        ("offset_bound", _int, (_K,)),
        ("offset_axis", _int, (_K,)),
        ("offset_step", _int, (_K, _R)),
        ("turn_bound", _int, (_K,)),
        ("turn_step", _int, (_K, _R)),
        ("turn_move", _int, (_K, _R)),
        ("turn_delta", _int, (_K,)),
        ("turn_partial", _bool, (_K,)),
        ("stat", _float, (5,)),  # statistics of the tile looked up last
        ("fibre", _int, (_L, _T, _F + 1)),
        ("subtile", _int, (_L, _T, _F + 2, _D)),
        ("rank_loop_variable", _int, (_K,)),
        ("rank_loop_bound", _int, (_K,)),
        ("rank_loop_extent", _int, (_K, _D)),
        ("rank_bound", _int, (_D,)),
        ("inner_bound", _int, (_D,)),
        ("units", _float, (_L, _T, _F, 2)),
        ("max_metadata_bits", _float, (_L, _T)),
        ("density", _float, (_L, _T)),
        ("present", _float, (_L, _T)),
        ("max_occupancy", _float, (_L, _T)),
        ("parent_metadata", _bool, (_L, _T)),
        ("empty", _float, (_L, _T)),  # probability that the tile is empty
        ("child_ranks", _int, (_L, _T)),  # ranks that a compressed tile has from its child
        ("empty_subtile", _float, (_L, _T, _F + 2)),  # probability by rank; −1 until asked for
        ("instances", _float, (_L, _T)),
        ("count", _float, (_L, _T, 3, 3)),  # action, kind
        ("moved_bits", _float, (3, 3)),  # bits of the tile at hand by action and kind
        ("metadata", _float, (_L, _T, _F, 2, 3, 3)),  # rank, item, action, kind
        ("saf_kind", _int, (_L, _T)),
        ("saf_p", _float, (_L, _T)),
        ("saf_leader", _float, (_L, _T, _T)),
        ("saf_extent", _int, (_L, _T, _D)),  # box of the leaders that the entry looks at
        ("best_extent", _int, (_D,)),
        ("best_leader", _float, (_T,)),
        ("leader_empty", _float, (_T,)),
        ("met_leader", _float, (_T,)),
        ("compute_leader", _float, (_T,)),
        ("skip_leader", _float, (_T,)),
        ("elimination", _float, (_L, _T)),
        ("reaches_compute", _bool, (_T,)),
        ("reach_p", _float, (_T,)),
        ("follower_extent", _int, (_D,)),
        ("leader_extent", _int, (_D,)),
        ("box_extent", _int, (_D,)),
        ("related", _int, (_K,)),
        ("shared_factor", _float, (_D,)),
        ("is_shared", _bool, (_D,)),
        ("expansion", _float, (_L + 1, _T, 2)),  # children along X and Y from the top; row 0 is compute
        ("original_expansion", _float, (_L + 1, _T, 2)),
        ("ratio", _float, (_L + 1, _T)),
        ("spatial_p", _float, (_L, _T)),
        ("is_reduced", _bool, (_L + 1, _T)),
        ("position", _bool, (_T,)),
        ("pass_ratio", _float, (_T,)),
        ("used_words", _float, (_L,)),
        ("energy", _float, (_L, _T, 6, 3)),
        ("compute", _float, (3,)),  # actual, gated, skipped
        ("compute_energy", _float, (3,)),
        ("leakage", _float, (_L + 1,)),
        ("level_cycles", _float, (_L,)),
        ("slowdown", _float, (_L,)),
        ("steps", _float),  # temporal iterations
        ("points", _float),  # of the iteration space
        ("remaining", _float),  # computations that storage levels let through
        ("idled", _float),  # computations whose cycle passes idle because a storage level gated an operand
        ("lane_use", _float),  # share of lanes that position skipping fills
        ("busy_units", _float),  # average units at work
        ("compute_cycles", _float),
        ("cycles", _float),
        ("energy_pj", _float),
        ("remainder", _bool),  # factors do not multiply to the bounds; what follows is for such nests
        ("active_stride", _int, (_K,)),  # iterations of the variable that one of the loop moves it by
        ("inner_of", _int, (_K,)),  # next inner active loop of the same variable, −1: none
        ("outermost_of", _int, (_D,)),  # outermost active loop of a variable, −1: none
        ("lane_rule", _int, (_L,)),
        ("full_length", _int, (_D,)),
        ("last_length", _int, (_D,)),
        ("held", _int, (_D,)),  # tiles, or their elements, with the loops passed so far at their start
        ("reach", _int, (_D,)),
        ("fullest", _float, (_L, _T, 3)),  # first instance over average: reads, fills, updates
        ("clamped", _bool),
        ("failed_level", _int),
        ("failed_tensor", _int),
        ("failed_amount", _float),
        ("failed_variable", _int),
        ("miss_count", _int),
        ("miss_key", _int, (TILE_MISSES,)),
        ("miss_tile", _int, (TILE_MISSES, 2 + _R)),
        ("unit_miss_count", _int),
        ("unit_miss_key", _int, (UNIT_MISSES,)),
        ("unit_miss", _int, (UNIT_MISSES, 3 + _F + 1)),
        ("unit_miss_extent", _int, (UNIT_MISSES, _F + 2, _D)),
    ]
)
"""Scratch and results of one mapping."""
