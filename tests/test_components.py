"""What holds for the whole component library: wires and networks, technologies, provenance, refusals."""

import dataclasses
import math

import pytest

from component_costs import KIB, NODES, cost, dram, mac, sram
from fiberloom.architecture.components import (
    find_technology,
    hop_length_mm,
    network_energy,
    router_energy_pj_per_bit,
    wire_energy_pj_per_bit_mm,
)
from fiberloom.architecture.levels import ComponentClass, Compute
from fiberloom.errors import SpecError


def test_wires_meet_the_published_energies() -> None:
    assert wire_energy_pj_per_bit_mm("40nm") == pytest.approx(0.121, rel=1e-9)  # Keckler et al., IEEE Micro 2011
    # 0.078 at 10 nm, between the neighbours that are known by name
    assert wire_energy_pj_per_bit_mm("7nm") < 0.078 < wire_energy_pj_per_bit_mm("12nm")


@pytest.mark.parametrize("node", NODES)
def test_wire_and_router_energies_are_positive_and_never_rise_with_newer_nodes(node: str) -> None:
    older = NODES[max(0, NODES.index(node) - 1)]
    assert 0 < wire_energy_pj_per_bit_mm(node) <= wire_energy_pj_per_bit_mm(older)
    assert 0 < router_energy_pj_per_bit(node) <= router_energy_pj_per_bit(older)


def test_provenance_tells_anchors_from_extrapolation() -> None:
    for anchored in ("int8", "int32", "fp16", "fp32"):
        assert "on anchors" in cost(mac(number_format=anchored)).provenance
    for extrapolated in ("int4", "fp8-e4m3", "fp4-e2m1"):
        assert "extrapolated" in cost(mac(number_format=extrapolated)).provenance
    assert "extrapolated" in cost(sram(1 * KIB)).provenance
    assert "extrapolated" not in cost(sram(64 * KIB)).provenance


def test_network_energy_is_wire_and_router_per_bit() -> None:
    wire = wire_energy_pj_per_bit_mm("45nm")
    assert network_energy(64, 2.0, technology="45nm") == pytest.approx(128 * wire)
    hop = router_energy_pj_per_bit("45nm")
    assert network_energy(64, 2.0, technology="45nm", router_hops=3) == pytest.approx(128 * wire + 192 * hop)
    assert network_energy(0, 5.0, technology="45nm", router_hops=4) == 0


def test_an_unbuffered_router_is_cheaper() -> None:
    assert 0 < router_energy_pj_per_bit("28nm", buffered=False) < router_energy_pj_per_bit("28nm")


def test_neighbours_of_a_square_millimetre_are_a_millimetre_apart() -> None:
    assert hop_length_mm(1e6) == pytest.approx(1.0)


@pytest.mark.parametrize(("bits", "distance"), [(-1, 1), (1, -1), (math.inf, 1), (math.nan, 1)])
def test_network_refuses_amounts_that_are_not(bits: float, distance: float) -> None:
    with pytest.raises(SpecError, match="not negative"):
        network_energy(bits, distance, technology="45nm")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("46nm", "'45nm'"), ("10nm", "'12nm'"), ("3nm", "'5nm'"), ("tsmc", "known: 65nm"), ("28mm", "'28nm'")],
)
def test_an_unknown_technology_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(SpecError, match="unknown technology") as error:
        cost(sram(8 * KIB), name)
    assert hint in str(error.value)


@pytest.mark.parametrize("spelling", ["45", "45 nm", "45NM"])
def test_technologies_are_read_whatever_the_spelling(spelling: str) -> None:
    assert find_technology(spelling) == find_technology("45nm")


def test_a_mistyped_attribute_is_refused_and_a_foreign_one_left_alone() -> None:
    with pytest.raises(SpecError, match="did you mean 'number_format'"):
        cost(mac(number_fromat="int8"))
    assert cost(mac(number_format="int8", nports=2, latency=3)) == cost(mac(number_format="int8"))


@pytest.mark.parametrize("period", [0.0, -1e-9, math.inf, math.nan])
def test_the_clock_period_is_positive(period: float) -> None:
    with pytest.raises(SpecError, match="cycle_seconds"):
        cost(sram(8 * KIB), cycle_seconds=period)


def test_a_class_must_suit_the_component() -> None:
    with pytest.raises(SpecError, match="storage of class 'mac'"):
        cost(sram(8 * KIB, component="mac"))
    with pytest.raises(SpecError, match="compute of class 'dram'"):
        cost(Compute(name="mac", component=ComponentClass.DRAM))


def test_estimates_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        cost(dram()).area_um2 = 1.0  # type: ignore[misc]
