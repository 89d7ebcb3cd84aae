"""Design spaces: exact sizes, a number for every design, dependent parameters, templates, and messages for bad files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberloom.errors import SpecError
from fiberloom.explore.space import DesignSpace, Parameter, Requirement, parse_space, read_space, space_names

SPACE = """
fiberloom: 1
space:
  name: little
  parameters:
    lanes: {powers_of_two: [4, 32]}
    sparse: {choice: [none, gated, skipped]}
    bits: {choice: [4, 8], when: sparse == 'skipped', otherwise: 8}
  requires: [lanes * bits <= 128]
  known:
    small: {lanes: 4, sparse: none}
architecture:
  name: little
  levels:
    - {name: DRAM, component: dram, width_bits: 64}
    - when: sparse != 'none'
      name: buffer
      component: sram
      width_bits: 64
      depth: {linear: [100, 300, 100]}
    - name: registers
      component: regfile
      mesh: "1x${lanes}"
      depth: 2 * lanes
      skip: {switch: sparse, cases: {skipped: [A <- B]}, otherwise: []}
  compute: {name: MAC, mesh: "1x${lanes}", word_bits: bits}
"""


@st.composite
def spaces(draw: st.DrawFn) -> DesignSpace:
    """Up to six parameters; some depend on the value of an earlier one."""
    parameters: list[Parameter] = []
    for i in range(draw(st.integers(1, 6))):
        when: tuple[str, ...] = ()
        if parameters and draw(st.booleans()):
            other = draw(st.sampled_from(parameters))
            when = (f"{other.name} == {draw(st.integers(0, 3))}",)
        parameters.append(Parameter(f"p{i}", tuple(range(draw(st.integers(1, 4)))), True, when, otherwise=-1))
    return DesignSpace(parameters)


def every_design(space: DesignSpace) -> list[tuple[int, ...]]:
    """By trying every combination of indices."""
    grid = itertools.product(*(range(n) for n in space.shape))
    return sorted({space.canonical(point) for point in grid})


@settings(max_examples=80, deadline=None)
@given(spaces())
def test_designs_are_counted_and_numbered_exactly(space: DesignSpace) -> None:
    designs = every_design(space)
    assert space.size() == len(designs)
    assert [space.unrank(i) for i in range(len(designs))] == designs
    assert [space.rank(point) for point in designs] == list(range(len(designs)))


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 1000))
def test_neighbours_are_designs_that_differ_in_one_choice(space: DesignSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    (point,) = space.sample(rng, 1)
    other = space.neighbour(rng, point)
    assert space.canonical(other) == other
    if space.size() > 1 and any(on and n > 1 for on, n in zip(space.active(point), space.shape, strict=True)):
        first = next(i for i in range(len(point)) if point[i] != other[i])
        changed = space.parameters[first].name
        later = [p.name for p, a, b in zip(space.parameters, point, other, strict=True) if a != b]
        assert later[0] == changed
        assert all(space.parameters[space.index[name]].when for name in later[1:])


def test_every_design_is_drawn_equally_often() -> None:
    space = DesignSpace([Parameter("a", (0, 1)), Parameter("b", tuple(range(7)), when=("a == 1",))])
    drawn = space.sample(np.random.default_rng(0), 16_000)
    counts = np.bincount([space.rank(point) for point in drawn], minlength=8)
    assert space.size() == 8
    assert abs(counts - 2000).max() < 5 * 2000**0.5


def test_a_space_of_more_than_128_bits_is_counted_numbered_and_sampled() -> None:
    space = DesignSpace([Parameter(f"p{i}", tuple(range(10))) for i in range(60)])
    assert space.size() == 10**60
    for point in space.sample(np.random.default_rng(1), 20):
        assert space.unrank(space.rank(point)) == point
    assert space.rank(space.unrank(10**60 - 1)) == 10**60 - 1


def test_a_file_becomes_a_space_and_each_design_a_specification() -> None:
    file = parse_space(SPACE, "little.yaml")
    space = file.space
    assert space.names == ("lanes", "sparse", "bits", "buffer.depth")
    assert space.size() == 4 * (1 + 1 * 3 + 2 * 3)
    point = space.point({"lanes": 8, "sparse": "skipped", "bits": 4, "buffer.depth": 200})
    levels = file.template.fill(space.values(point)).data["architecture"]["levels"]
    assert [level["name"] for level in levels] == ["DRAM", "buffer", "registers"]
    assert levels[1]["depth"] == 200
    assert levels[2]["mesh"] == "1x8"
    assert levels[2]["skip"] == ["A <- B"]
    plain = file.template.fill(space.values(space.point(file.known["small"]))).data["architecture"]["levels"]
    assert [level["name"] for level in plain] == ["DRAM", "registers"]
    assert plain[1]["skip"] == []


def test_a_design_lacks_what_depends_on_another_choice() -> None:
    space = parse_space(SPACE).space
    point = space.point({"lanes": 4, "sparse": "gated", "buffer.depth": 300})
    assert space.active(point) == (True, True, False, True)
    assert space.values(point)["bits"] == 8
    assert space.canonical((0, 1, 1, 2)) == space.canonical((0, 1, 0, 2))


def test_requirements_rule_designs_out_and_are_never_sampled() -> None:
    space = parse_space(SPACE).space
    point = space.point({"lanes": 32, "sparse": "none"})
    assert [r.text for r in space.violated(point)] == ["lanes * bits <= 128"]
    assert all(not space.violated(p) for p in space.sample(np.random.default_rng(0), 200))
    assert len(list(space.all())) < space.size()


def test_places_in_a_filled_specification_are_lines_of_the_space() -> None:
    file = parse_space(SPACE, "little.yaml")
    source = file.template.fill(file.space.values(file.space.point({"sparse": "none"})))
    line = SPACE.splitlines().index('      mesh: "1x${lanes}"') + 1
    assert source.where(("architecture", "levels", 1, "mesh")).line == line


@pytest.mark.parametrize(
    ("change", "problem", "hint"),
    [
        (("lanes: {powers_of_two: [4, 32]}", "lanes: {choice: []}"), "no values", "at least one"),
        (("lanes: {powers_of_two: [4, 32]}", "lanes: {choice: [4, 4]}"), "twice", "once"),
        (("lanes: {powers_of_two: [4, 32]}", "lanes: {powers_of_two: [4, 2]}"), "rises", "first, last"),
        (("lanes: {powers_of_two: [4, 32]}", "lanes: {linear: [0, 1e9]}"), "more than", "linear"),
        (("lanes: {powers_of_two: [4, 32]}", "lanes: {chioce: [4]}"), "chioce", "choice"),
        (("lanes: {powers_of_two: [4, 32]}", "lanes: {choice: [4], linear: [1, 2]}"), "choice and linear", "one of"),
        (("when: sparse == 'skipped'", "when: spars == 'skipped'"), "depends on 'spars'", "sparse"),
        (("when: sparse == 'skipped'", "when: 'sparse ='"), "not arithmetic", None),
        (("requires: [lanes * bits <= 128]", "requires: [lane * bits <= 128]"), "'lane', which is no", "lanes"),
        (("small: {lanes: 4", "small: {lanes: 5"), "never 5", None),
        (("small: {lanes: 4", "small: {lane: 4"), "no parameter 'lane'", "lanes"),
        (("  name: little\n  parameters", "  nmae: little\n  parameters"), "unknown field 'nmae'", "name"),
        (("space:", "spaces:"), "no 'space:' section", "parameters"),
        (("depth: {linear: [100, 300, 100]}", "depth: {name: lanes, choice: [1]}"), "called 'lanes'", "another"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_with_its_place(
    change: tuple[str, str], problem: str, hint: str | None
) -> None:
    assert change[0] in SPACE
    with pytest.raises(SpecError) as caught:
        file = parse_space(SPACE.replace(*change), "little.yaml")
        file.space.size()
    assert problem in str(caught.value)
    assert caught.value.where is not None and caught.value.where.file == "little.yaml"
    assert hint is None or hint in (caught.value.hint or "")


def test_a_space_may_say_what_is_wanted_of_its_designs() -> None:
    said = SPACE.replace("  requires:", "  objectives: [edp, max lanes]\n  limits: [area <= 5]\n  requires:")
    file = parse_space(said)
    assert (file.objectives, file.limits) == (("edp", "max lanes"), ("area <= 5",))


def test_a_switch_without_a_fitting_case_says_so() -> None:
    file = parse_space(SPACE.replace("otherwise: []", "").replace("[A <- B]},", "[A <- B]}"), "little.yaml")
    with pytest.raises(SpecError, match="'sparse' is none, which is none of the cases"):
        file.template.fill(file.space.values(file.space.point({"sparse": "none"})))


def test_requirements_that_contradict_each_other_are_named() -> None:
    space = DesignSpace([Parameter("a", (1, 2, 3))], [Requirement("a > 2"), Requirement("a < 3"), Requirement("a > 0")])
    with pytest.raises(SpecError, match=r"none of 20,000 random designs meets the requirements; 'a (>|<)"):
        space.sample(np.random.default_rng(0), 1)


@pytest.mark.parametrize("point", [(0,), (0, 0, 0, 9), (-1, 0, 0, 0), (0.5, 0, 0, 0)])
def test_points_outside_the_space_are_refused(point: tuple[int, ...]) -> None:
    with pytest.raises(SpecError):
        parse_space(SPACE).space.canonical(point)


@pytest.mark.parametrize("name", space_names())
def test_spaces_of_the_library_are_whole(name: str) -> None:
    file = read_space(name)
    space = file.space
    assert file.name == name and file.title
    for point in space.sample(np.random.default_rng(0), 30):
        assert space.unrank(space.rank(point)) == point
        file.template.fill(space.values(point))


def test_a_space_that_does_not_exist_suggests_one() -> None:
    with pytest.raises(SpecError) as caught:
        read_space("tensor-cores")
    assert "tensor-core" in (caught.value.hint or "")
