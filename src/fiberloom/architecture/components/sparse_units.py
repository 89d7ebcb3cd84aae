"""Logic that sparse formats and skipping need: bitmask decoders, run-length adders, intersection units, prefix sums.

Every unit is counted in full adders and simple gates, which are priced from the published 8-bit adder; no published
unit stands behind these figures (trust: a factor of 2, control and pipeline registers left out). Counts are those of
textbook circuits (Weste & Harris, CMOS VLSI Design, ch. 11: ripple adder, priority encoder, Sklansky prefix network).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fiberloom.architecture.components._base import LOGIC_LEAKAGE_NW_PER_UM2
from fiberloom.architecture.components.mac import AREA_45NM, AT_7NM, AT_45NM
from fiberloom.architecture.components.technology import Technology
from fiberloom.architecture.levels import StorageLevel
from fiberloom.architecture.sparse import Format, RankFormat, SafKind
from fiberloom.representation.formats import Integer

_INT8 = Integer(8)
# source: a NAND2_X1 takes 0.8 um2 and a full adder FA_X1 4.3 um2 in the NanGate 45 nm library. trust: good for area,
# taken for energy too.
_GATE_PER_FULL_ADDER = 0.2
# assumption: coordinates reach 65,536; run lengths and positions are added up in this width.
COORDINATE_BITS = 16


@dataclass(frozen=True)
class Logic:
    """A block of logic in units of full adders.

    Attributes:
        adders: full adders that switch in one use.
    """

    adders: float

    def __add__(self, other: Logic) -> Logic:
        return Logic(self.adders + other.adders)

    def __mul__(self, times: float) -> Logic:
        return Logic(self.adders * times)

    def energy_pj(self, tech: Technology) -> float:
        """pJ of one use."""
        return tech.energy(AT_45NM.add(_INT8) / 8 * self.adders, AT_7NM.add(_INT8) / 8 * self.adders)

    def area_um2(self, tech: Technology) -> float:
        """um2 of the block."""
        return AREA_45NM.add(_INT8) / 8 * self.adders * tech.logic_area_factor

    def leakage_nw(self, tech: Technology) -> float:
        """Leakage power in nW."""
        return AREA_45NM.add(_INT8) / 8 * self.adders * LOGIC_LEAKAGE_NW_PER_UM2 * tech.leakage_factor


NOTHING = Logic(0.0)


def gates(count: float) -> Logic:
    """Simple two-input gates."""
    return Logic(count * _GATE_PER_FULL_ADDER)


def popcount(bits: float) -> Logic:
    """Count of the ones among `bits` bits: one full adder a bit."""
    return Logic(bits)


def priority_encoder(bits: float) -> Logic:
    """Position of the first one among `bits` bits: a prefix of gates and an encoder of log2(bits) outputs."""
    return gates(bits * (1 + math.log2(max(bits, 2))))


def prefix_sum(items: float) -> Logic:
    """Running counts of `items` one-bit flags: items/2 · log2(items) adders of log2(items) bits (Sklansky)."""
    levels = math.log2(max(items, 1))
    return Logic(items / 2 * levels * levels)


def run_length_adder(bits: float = COORDINATE_BITS) -> Logic:
    """Adds a run length to the coordinate before it."""
    return Logic(bits)


def coordinate_comparator(bits: float) -> Logic:
    """Compares two coordinates (a subtraction) and advances the lesser, as in a two-finger intersection."""
    return Logic(bits) + gates(bits)


def bitmask_intersection(bits: float) -> Logic:
    """ANDs two bitmasks, takes the first match, and counts the ones before it in either mask."""
    return gates(bits) + priority_encoder(bits) + popcount(bits) * 2


def zero_detector(bits: float) -> Logic:
    """Tells whether a word is zero."""
    return gates(bits)


def decompressor(word_bits: int, block_words: int) -> Logic:
    """Puts one word of a block to its place: position, address, and a column of multiplexers."""
    spread = prefix_sum(block_words) * (1 / block_words) + gates(word_bits * math.log2(block_words))
    return run_length_adder() + spread


def compressor(word_bits: int, block_words: int) -> Logic:
    """Takes one word of a block to its place among the non-zeros; zeros are found first."""
    return decompressor(word_bits, block_words) + zero_detector(word_bits)


def rank_decoder(rank: RankFormat, item_bits: int, access_bits: int) -> Logic:
    """Decoder of one metadata access of `access_bits`, which holds items of `item_bits`."""
    items = max(1.0, access_bits / item_bits)
    match rank.format:
        case Format.B | Format.UB:
            return priority_encoder(access_bits) + popcount(access_bits)
        case Format.RLE:
            return run_length_adder() * items
        case Format.UOP:
            return Logic(item_bits) * items  # end minus start
        case Format.CP | Format.U:
            return NOTHING  # coordinates stand there as they are


def rank_intersection(rank: RankFormat, item_bits: int, access_bits: int) -> Logic:
    """Intersection of one metadata access with that of a leader."""
    if rank.format in (Format.B, Format.UB):
        return bitmask_intersection(access_bits)
    if rank.format in (Format.CP, Format.RLE):
        bits = item_bits if rank.format is Format.CP else COORDINATE_BITS
        return coordinate_comparator(bits) * max(1.0, access_bits / item_bits)
    return NOTHING


@dataclass(frozen=True)
class LevelLogic:
    """Sparse logic of one storage level.

    Attributes:
        decode: decoders and intersection, used by every metadata read.
        decompress, compress: used per word.
        note: what to add to the provenance; empty when there is none.
    """

    decode: Logic
    decompress: Logic
    compress: Logic
    note: str


def level_logic(level: StorageLevel, access_bits: int) -> LevelLogic:
    """Units that a level's formats and optimisations call for; of several formats the costliest one is built."""
    decode, names = NOTHING, []
    skips = any(o.kind in (SafKind.SKIPPING, SafKind.SPATIAL_SKIPPING) for o in level.optimizations)
    ranks = [rank for tensor in level.formats.values() for rank in tensor.ranks if rank.format is not Format.U]
    if access_bits and ranks:
        costs = []
        for rank in ranks:
            item_bits = rank.metadata_word_bits or level.metadata_word_bits or access_bits
            cost = rank_decoder(rank, item_bits, access_bits)
            if skips:
                cost += rank_intersection(rank, item_bits, access_bits)
            costs.append(cost)
        decode = max(costs, key=lambda logic: logic.adders)
        names.append("metadata decoder" + (" and intersection" if skips else "") + " by gate count, within 2 x")
    words = level.words_per_access
    return LevelLogic(
        decode=decode,
        decompress=decompressor(level.word_bits, words) if level.decompress else NOTHING,
        compress=compressor(level.word_bits, words) if level.compress else NOTHING,
        note="; ".join(names),
    )
