"""docs/components.md prints what the component library answers."""

import itertools
import re
from pathlib import Path

import pytest

from component_costs import KIB, NODES, cost, mac, sram
from fiberloom.architecture.components import (
    ATTRIBUTES,
    DRAM_PJ_PER_BIT,
    adder_energy,
    find_technology,
    multiplier_energy,
    wire_energy_pj_per_bit_mm,
)
from fiberloom.architecture.components.bit_serial import PUBLISHED

PAGE = (Path(__file__).parents[1] / "docs" / "components.md").read_text(encoding="utf-8")


def rows(first_cell: str) -> list[list[str]]:
    """Body of the table on the page whose header begins with `first_cell`."""
    lines = PAGE.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_cell} |")) + 2
    body = itertools.takewhile(lambda line: line.startswith("|"), lines[start:])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def test_the_page_prints_the_published_serial_elements() -> None:
    printed = {row[0]: row[1:] for row in rows("published element")}
    assert set(printed) == {unit.name for unit in PUBLISHED}
    for unit in PUBLISHED:
        energy, area, rate = printed[unit.name][:3]
        assert energy == ("–" if unit.energy_pj is None else f"{unit.energy_pj:.2f}")
        assert (float(area), float(rate)) == (unit.area_um2, pytest.approx(unit.products_per_cycle, abs=6e-3))


def test_the_page_prints_the_figures_of_every_node() -> None:
    printed = rows("node")
    assert [row[0] for row in printed] == NODES
    for node, _, int8, fp16, small, large, wire, logic, cell in printed:
        tech = find_technology(node)
        assert float(int8) == pytest.approx(cost(mac(number_format="int8"), node).energy_pj["compute"], abs=6e-4)
        assert float(fp16) == pytest.approx(cost(mac(number_format="fp16"), node).energy_pj["compute"], abs=6e-4)
        assert float(small) == pytest.approx(cost(sram(8 * KIB), node).energy_pj["read"], abs=6e-3)
        assert float(large) == pytest.approx(cost(sram(1024 * KIB), node).energy_pj["read"], abs=6e-2)
        assert float(wire) == pytest.approx(wire_energy_pj_per_bit_mm(node), abs=6e-4)
        assert float(logic) == pytest.approx(tech.logic_area_factor, abs=6e-4)
        assert float(cell) == pytest.approx(tech.bitcell_um2, abs=6e-4)


def test_the_page_prints_the_figures_of_every_format() -> None:
    for fmt, multiply_45, add_45, mac_45, area_45, multiply_7, add_7 in rows("format"):
        unit = cost(mac(number_format=fmt))
        assert float(multiply_45) == pytest.approx(multiplier_energy(fmt, fmt, "45nm"), abs=6e-4)
        assert float(add_45) == pytest.approx(adder_energy(fmt, "45nm"), abs=6e-4)
        assert float(mac_45) == pytest.approx(unit.energy_pj["compute"], abs=6e-4)
        assert float(area_45) == pytest.approx(unit.area_um2, abs=0.6)
        assert float(multiply_7) == pytest.approx(multiplier_energy(fmt, fmt, "7nm"), abs=6e-5)
        assert float(add_7) == pytest.approx(adder_energy(fmt, "7nm"), abs=6e-5)


def test_the_page_names_every_attribute_and_dram_type() -> None:
    for name in (*ATTRIBUTES, *DRAM_PJ_PER_BIT):
        assert f"`{name}`" in PAGE


def test_the_examples_of_the_page_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "docs/components.md", "exec"), {})
