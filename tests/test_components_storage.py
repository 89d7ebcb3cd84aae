"""On-chip memories, DRAM and sparse logic: published anchors, and what must hold between any two."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from component_costs import KIB, NODES, cost, dram, mac, regfile, sram
from fiberloom.architecture.components import (
    DRAM_PJ_PER_BIT,
    STORAGE_ACTIONS,
    find_technology,
)
from fiberloom.architecture.components.sparse_units import (
    bitmask_intersection,
    coordinate_comparator,
    popcount,
    prefix_sum,
    priority_encoder,
    run_length_adder,
)
from fiberloom.architecture.levels import ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, LeaderFollower, TensorFormat
from fiberloom.errors import SpecError


@pytest.mark.parametrize(
    ("kib", "at_45nm", "at_7nm", "tolerance"), [(8, 10, 7.5, 0.001), (32, 20, 8.5, 0.04), (1024, 100, 14, 0.02)]
)
def test_sram_meets_the_published_64_bit_accesses(kib: int, at_45nm: float, at_7nm: float, tolerance: float) -> None:
    memory = sram(kib * KIB)
    assert cost(memory, "45nm").energy_pj["read"] == pytest.approx(at_45nm, rel=tolerance)
    assert cost(memory, "7nm").energy_pj["read"] == pytest.approx(at_7nm, rel=tolerance)


def test_large_sram_at_7nm_lies_within_published_densities() -> None:
    megabyte = cost(sram(16 * 1024 * KIB, 512, attributes={"banks": 16}), "7nm").area_um2 / 16e6
    assert 0.4 < megabyte < 0.65  # mm2/MB: 0.45 in Chiplet Cloud's survey, 0.64 for AMD's stacked cache


@pytest.mark.parametrize(
    ("kind", "pj_per_bit", "tolerance"),
    [
        ("HBM2", 3.9, 0.001),  # O'Connor et al., MICRO 2017
        ("GDDR5", 14.0, 0.001),  # O'Connor et al., MICRO 2017
        ("GDDR6", (350 + 480) / 2 / 64, 0.01),  # Jouppi et al., ISCA 2021
        ("DDR4", 1300 / 64, 0.01),  # Jouppi et al., ISCA 2021
        ("LPDDR4", 8.0, 0.001),
    ],
)
def test_dram_costs_its_published_energy_per_bit(kind: str, pj_per_bit: float, tolerance: float) -> None:
    assert cost(dram(kind, 128)).energy_pj["read"] == pytest.approx(128 * pj_per_bit, rel=tolerance)


def test_dram_lies_in_horowitz_range_for_ddr3_and_does_not_follow_the_logic_node() -> None:
    energies = {cost(dram("DDR3"), node).energy_pj["read"] for node in NODES}
    assert len(energies) == 1
    assert 1290 <= energies.pop() <= 2600  # 1.3 to 2.6 nJ per 64 bits


@pytest.mark.parametrize(("spelling", "same_as"), [("hbm2", "HBM2"), ("lpddr-4", "LPDDR4"), ("gddr 6", "GDDR6")])
def test_dram_types_are_read_whatever_the_spelling(spelling: str, same_as: str) -> None:
    assert cost(dram(spelling)).energy_pj == cost(dram(same_as)).energy_pj


def test_dram_without_a_type_is_lpddr4_and_says_so() -> None:
    assert cost(dram()).energy_pj == cost(dram("LPDDR4")).energy_pj
    assert "assumed" in cost(dram()).provenance
    assert "assumed" not in cost(dram("LPDDR4")).provenance


def test_half_a_kilobyte_of_registers_costs_about_a_16_bit_mac_at_65nm() -> None:
    # Eyeriss, ISCA 2016: register file 1 x, global buffer 6 x, DRAM 200 x the energy of a MAC
    multiply_accumulate = cost(mac(number_format="int16", accumulator_bits=16), "65nm").energy_pj["compute"]
    registers = cost(regfile(256, 16), "65nm").energy_pj["read"]
    assert 0.5 < registers / multiply_accumulate < 2


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["sram", "regfile"]),
    depth=st.integers(0, 1 << 20),
    width=st.integers(1, 2048),
    banks=st.sampled_from([1, 2, 16]),
    ports=st.integers(1, 4),
)
def test_a_newer_node_never_costs_more_storage(kind: str, depth: int, width: int, banks: int, ports: int) -> None:
    attributes = {"banks": banks, "ports": ports}
    level = sram(width, width, component=kind, attributes=attributes).model_copy(update={"depth": depth})
    costs = [cost(level, node) for node in NODES]
    for older, newer in itertools.pairwise(costs):
        assert newer.area_um2 <= older.area_um2 * (1 + 1e-12)
        for action in STORAGE_ACTIONS:
            assert newer.energy_pj[action] <= older.energy_pj[action] * (1 + 1e-12)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["sram", "regfile", "dram"]),
    node=st.sampled_from(NODES),
    size=st.tuples(st.integers(0, 1 << 22), st.integers(1, 4096)),
    growth=st.tuples(st.integers(0, 1 << 22), st.integers(0, 4096)),
    banks=st.sampled_from([1, 2, 8, 32]),
)
def test_a_bigger_or_wider_storage_never_costs_less(
    kind: str, node: str, size: tuple[int, int], growth: tuple[int, int], banks: int
) -> None:
    def level(rows: int, bits: int) -> StorageLevel:
        return StorageLevel(
            name="buffer",
            component=ComponentClass(kind),
            word_bits=8,
            width_bits=bits,
            block_words=1,
            depth=rows,
            metadata_width_bits=max(1, bits // 8),
            metadata_depth=rows,
            attributes={"banks": banks},
        )

    small = cost(level(*size), node)
    large = cost(level(size[0] + growth[0], size[1] + growth[1]), node)
    assert large.area_um2 >= small.area_um2 * (1 - 1e-12)
    for action in STORAGE_ACTIONS:
        assert large.energy_pj[action] >= small.energy_pj[action] * (1 - 1e-12)
    for answer in (small, large):
        assert all(math.isfinite(pj) and pj >= 0 for pj in answer.energy_pj.values())
        assert math.isfinite(answer.area_um2)


def test_a_storage_level_prices_every_action_and_nothing_else() -> None:
    for level in (sram(8 * KIB), regfile(16), dram(), sram(8 * KIB, component="dummy")):
        assert set(cost(level).energy_pj) == set(STORAGE_ACTIONS)


def test_gated_accesses_cost_the_clock_and_skipped_ones_nothing() -> None:
    energy = cost(sram(8 * KIB, metadata_width_bits=16)).energy_pj
    for action in ("read", "write", "update", "metadata_read", "metadata_write", "metadata_update"):
        assert energy[f"gated_{action}"] == pytest.approx(0.03 * energy[action])
        assert energy[f"skipped_{action}"] == 0


def test_a_dummy_costs_nothing() -> None:
    level = cost(sram(8 * KIB, component="dummy"))
    assert level.area_um2 == 0
    assert not any(level.energy_pj.values())
    compute = cost(Compute(name="nothing", component=ComponentClass.DUMMY))
    assert compute.area_um2 == 0
    assert not any(compute.energy_pj.values())


def test_dram_has_no_area_and_no_leakage() -> None:
    memory = cost(dram("HBM2"))
    assert memory.area_um2 == 0
    assert memory.energy_pj["leak"] == 0
    assert "off chip" in memory.provenance


def test_leakage_is_charged_by_time() -> None:
    slow, fast = (cost(sram(64 * KIB), cycle_seconds=period).energy_pj["leak"] for period in (4e-9, 1e-9))
    assert slow == pytest.approx(4 * fast)
    assert fast > 0


def test_banks_make_an_access_cheaper_and_the_memory_larger() -> None:
    one, many = cost(sram(256 * KIB)), cost(sram(256 * KIB, attributes={"banks": 8}))
    assert many.energy_pj["read"] < one.energy_pj["read"]
    assert many.area_um2 > one.area_um2


@pytest.mark.parametrize("kind", ["sram", "regfile"])
def test_ports_cost_energy_and_area(kind: str) -> None:
    one = cost(sram(4 * KIB, component=kind))
    two = cost(sram(4 * KIB, component=kind, attributes={"ports": 2}))
    assert two.energy_pj["read"] > one.energy_pj["read"]
    assert two.area_um2 > one.area_um2


def test_latches_are_smaller_and_cheaper_than_flip_flops() -> None:
    flops, latches = cost(regfile(16)), cost(regfile(16, attributes={"latch": True}))
    assert latches.energy_pj["read"] < flops.energy_pj["read"]
    assert latches.area_um2 < flops.area_um2


def test_wide_rows_spread_the_decoder_over_more_bits() -> None:
    narrow, wide = cost(sram(64 * KIB, 16)).energy_pj["read"], cost(sram(64 * KIB, 256)).energy_pj["read"]
    assert narrow < wide < 16 * narrow


def test_a_cluster_shares_its_rows_and_area() -> None:
    alone = cost(sram(64 * KIB, 64, word_bits=16))
    clustered = cost(sram(64 * KIB, 64, word_bits=16, cluster_size=4))
    assert clustered.energy_pj["read"] == alone.energy_pj["read"]
    assert clustered.area_um2 == pytest.approx(alone.area_um2 / 4)


def test_width_follows_from_words_when_it_is_not_given() -> None:
    given_width = cost(StorageLevel(name="b", word_bits=8, width_bits=64, depth=1024)).energy_pj["read"]
    from_words = cost(StorageLevel(name="b", word_bits=8, block_words=8, depth=1024)).energy_pj["read"]
    assert from_words == given_width


def test_metadata_costs_nothing_where_there_is_none() -> None:
    level = cost(sram(8 * KIB))
    assert level.energy_pj["metadata_read"] == 0
    with_metadata = cost(sram(8 * KIB, metadata_width_bits=16, metadata_depth=1024))
    assert 0 < with_metadata.energy_pj["metadata_write"] < with_metadata.energy_pj["write"]
    assert with_metadata.area_um2 > level.area_um2


def sparse_level(fmt: str, skipping: bool = False) -> StorageLevel:
    formats = {"A": TensorFormat.model_validate({"ranks": [{"format": fmt, "metadata_word_bits": 4}]})}
    follow = ActionOptimization.model_validate(
        {"kind": "skipping", "options": [LeaderFollower(follower="B", leaders=("A",))]}
    )
    optimizations = (follow,) if skipping else ()
    return sram(8 * KIB, metadata_width_bits=32, metadata_depth=256, formats=formats, optimizations=optimizations)


@pytest.mark.parametrize("fmt", ["B", "RLE", "UOP"])
def test_metadata_reads_pay_for_their_decoder(fmt: str) -> None:
    energy = cost(sparse_level(fmt)).energy_pj
    assert energy["metadata_read"] > energy["metadata_write"]
    assert cost(sparse_level(fmt)).area_um2 > cost(sparse_level("CP")).area_um2


def test_explicit_coordinates_need_no_decoder() -> None:
    energy = cost(sparse_level("CP")).energy_pj
    assert energy["metadata_read"] == energy["metadata_write"]


@pytest.mark.parametrize("fmt", ["B", "RLE", "CP"])
def test_skipping_pays_for_an_intersection_unit(fmt: str) -> None:
    plain, skipping = cost(sparse_level(fmt)), cost(sparse_level(fmt, skipping=True))
    assert skipping.energy_pj["metadata_read"] > plain.energy_pj["metadata_read"]
    assert skipping.area_um2 > plain.area_um2
    assert "intersection" in skipping.provenance


def test_compression_is_free_only_where_the_level_does_not_do_it() -> None:
    able = cost(sram(8 * KIB)).energy_pj
    unable = cost(sram(8 * KIB, decompress=False, compress=False)).energy_pj
    assert able["compression_count"] > able["decompression_count"] > 0
    assert unable["compression_count"] == unable["decompression_count"] == 0


def test_sparse_units_grow_with_their_width() -> None:
    tech = find_technology("45nm")
    for unit in (popcount, priority_encoder, prefix_sum, run_length_adder, coordinate_comparator, bitmask_intersection):
        energies = [unit(bits).energy_pj(tech) for bits in (2, 8, 64, 512)]
        assert energies == sorted(energies)
        assert energies[0] > 0


def test_a_popcount_of_eight_bits_costs_an_eight_bit_adder() -> None:
    tech = find_technology("45nm")
    assert popcount(8).energy_pj(tech) == pytest.approx(0.03)
    assert popcount(8).area_um2(tech) == pytest.approx(36)


def test_an_unknown_dram_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'HBM2'"):
        cost(dram("HBM"))


@pytest.mark.parametrize("banks", [0, -1, 1.5, True, "two", math.inf, math.nan])
def test_banks_are_a_whole_number(banks: object) -> None:
    with pytest.raises(SpecError, match="whole number from 1"):
        cost(sram(8 * KIB, attributes={"banks": banks}))


def test_latch_is_yes_or_no() -> None:
    with pytest.raises(SpecError, match="true or false"):
        cost(regfile(16, attributes={"latch": "yes"}))


def test_on_chip_storage_needs_a_depth() -> None:
    with pytest.raises(SpecError, match="without a depth") as error:
        cost(StorageLevel(name="buffer"))
    assert "energy_pj" in str(error.value)


def test_every_dram_type_costs_more_than_a_large_sram() -> None:
    on_chip = cost(sram(1024 * KIB)).energy_pj["read"]
    assert all(cost(dram(kind)).energy_pj["read"] > on_chip for kind in DRAM_PJ_PER_BIT)
