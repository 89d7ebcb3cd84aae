"""``fiberloom mappers``: the list, and the comparison under one budget with its table, curves and data."""

import _thread
import csv
import itertools
import json
import math
from xml.etree import ElementTree

import pytest

from fiberloom.cli.program import run
from fiberloom.mapper.comparison import FRACTIONS, Yardstick, compare
from fiberloom.mapper.search import searchers
from fiberloom.report.mapper_comparison import curve_rows
from fiberloom.report.search_curves import curves_svg
from gemm import written
from map_problems import GEMM, gemm_problem

FREE = GEMM.partition("mapping:\n")[0]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def free(tmp_path):
    return written(tmp_path, FREE, "free.yaml")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One comparison on the command line: its printed table and its folder."""
    folder = tmp_path_factory.mktemp("compared")
    path, out = written(folder, FREE, "free.yaml"), folder / "out"
    arguments = ["--mappers", "genetic,annealing", "--evaluations", "600", "--time", "0.3", "--seeds", "3"]
    assert run(["mappers", "compare", path, *arguments, "-o", str(out)]) == 0
    return out


def test_every_mapper_is_listed_with_its_hyper_parameters(capsys):
    assert run(["mappers", "--json"]) == 0
    listed = {mapper["name"]: mapper for mapper in json.loads(capsys.readouterr().out)["mappers"]}
    assert set(listed) == {"exact", *searchers()}
    assert listed["genetic"]["hyper_parameters"]["population"] == 100
    assert run(["mappers"]) == 0
    assert "population=100" in capsys.readouterr().out


def test_summary_has_quartiles_at_shares_of_both_budgets(compared):
    summary = json.loads((compared / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["optimum"]["proved"]
    assert summary["budget"] == {"evaluations": 600, "seconds": 0.3}
    assert [mapper["name"] for mapper in summary["mappers"]] == ["random", "genetic", "annealing"]
    for mapper in summary["mappers"]:
        for axis in ("evaluations", "seconds"):
            rows = [mapper[axis][name] for name in ("first_quartile", "median", "third_quartile")]
            assert all(len(row) == len(FRACTIONS) for row in rows)
            low, middle, high = (row[-1] for row in rows)
            assert 1 <= low <= middle <= high
            known = [value for value in mapper[axis]["median"] if value is not None]
            assert known == sorted(known, reverse=True)
        assert 0 <= mapper["invalid_share"] < 1


def test_curves_fall_and_end_with_their_budget(compared):
    with (compared / "curves.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    runs = {(r["budget"], r["mapper"], r["seed"]) for r in rows}
    assert len(runs) == 2 * 3 * 3
    for key in runs:
        run_rows = [r for r in rows if (r["budget"], r["mapper"], r["seed"]) == key]
        values = [float(r["value"]) for r in run_rows]
        assert values == sorted(values, reverse=True)
        assert all(float(r["ratio"]) >= 1 for r in run_rows)
        if key[0] == "evaluations":
            assert int(run_rows[-1]["evaluations"]) == 600
        else:
            assert float(run_rows[-1]["seconds"]) >= 0.3


def test_picture_has_a_panel_per_budget_and_a_curve_per_mapper(compared):
    picture = ElementTree.parse(compared / "curves.svg").getroot()
    panels = [g for g in picture.iter(f"{SVG}g") if "transform" in g.attrib]
    assert len(panels) == 2
    for panel in panels:
        assert len(list(panel.iter(f"{SVG}polyline"))) == 3
        text = " ".join("".join(t.itertext()) for t in panel.iter(f"{SVG}text"))
        assert all(word in text for word in ("random", "genetic", "annealing", "multiple of the proved optimum"))
    text = "".join(picture.itertext())
    assert "seconds" in text
    assert "http" not in text


def test_picture_stays_inside_its_frame(compared):
    picture = ElementTree.parse(compared / "curves.svg").getroot()
    width = float(picture.attrib["width"])
    for line in picture.iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert all(0 <= x <= width for x, _ in points)
        assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(points))


def test_table_is_sorted_by_the_last_median_and_names_the_optimum(free, capsys):
    assert run(["mappers", "compare", free, "--mappers", "genetic", "--evaluations", "300", "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert "proved by the exact mapper" in out
    assert "as a multiple of the proved optimum" in out
    rows = [line.split() for line in out.splitlines() if line.startswith((" random ", " genetic "))][:2]
    assert {row[0] for row in rows} == {"random", "genetic"}
    assert float(rows[0][5]) <= float(rows[1][5])


@pytest.mark.parametrize("columns", ["80", "140"])
def test_comparison_fits_the_terminal(free, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    run(["mappers", "compare", free, "--mappers", "random-pruned", "--evaluations", "200", "--seeds", "1"])
    run(["mappers"])
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= int(columns)


def test_without_a_proof_the_best_known_mapping_is_the_yardstick(free, capsys):
    arguments = ["--mappers", "random", "--evaluations", "200", "--seeds", "2", "--exact-time", "0", "--json"]
    assert run(["mappers", "compare", free, *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not found["optimum"]["proved"]
    assert found["mappers"][0]["evaluations"]["first_quartile"][-1] >= 1


def test_same_seeds_give_the_same_curves_over_evaluations():
    runs = [
        compare(
            gemm_problem(),
            ["annealing"],
            evaluations=400,
            seconds=None,
            seeds=2,
            optimum=Yardstick(1.0, 1.0, True, 0.0),
        )
        for _ in range(2)
    ]
    first, second = ([(r["evaluations"], r["value"]) for r in curve_rows(comparison)] for comparison in runs)
    assert first == second


def test_a_mapping_below_the_proved_optimum_is_reported_as_a_fault():
    found = compare(
        gemm_problem(), ["random"], evaluations=100, seconds=None, seeds=1, optimum=Yardstick(1e30, 1e30, True, 0.0)
    )
    assert not found.yardstick.proved
    assert "fault of fiberloom" in found.yardstick.note


def test_a_budget_in_which_nothing_valid_was_found_is_drawn_as_nothing():
    comparison = compare(gemm_problem(), ["random"], evaluations=300, seconds=None, seeds=2)
    early = comparison.quartiles(comparison.contestants[0], "evaluations", [0.5, 300])
    assert math.isinf(early[1, 0])
    assert math.isfinite(early[1, 1])
    ElementTree.fromstring(curves_svg(comparison, "a < b & c"))


@pytest.mark.parametrize(
    ("arguments", "passage"),
    [
        (["--mappers", "genetc"], "did you mean 'genetic'?"),
        (["--objective", "edpp"], "did you mean 'edp'?"),
        (["--evaluations", "0"], "positive"),
        (["--time", "-1"], "positive"),
        (["--exact-time", "-1"], "exact-time"),
        (["--seeds", "0"], "seeds"),
        (["-o", "/dev/null/folder"], "can't write"),
    ],
)
def test_bad_options_are_explained(free, capsys, arguments, passage):
    code = run(["mappers", "compare", free, *arguments, "--json"])
    out, err = capsys.readouterr()
    assert code != 0
    assert out == ""
    error = json.loads(err)["error"]
    assert error["type"] != "internal"
    assert passage in f"{error['problem']} {error['hint']}"


def test_an_empty_map_space_is_explained_here_too(tmp_path, capsys):
    empty = written(tmp_path, FREE.replace("mesh: 2x2, depth: 6", "mesh: 2x2, depth: 2"))
    for exact in ("0", "5"):
        arguments = ["--mappers", "random", "--evaluations", "100", "--seeds", "1", "--exact-time", exact]
        assert run(["mappers", "compare", empty, *arguments]) == 4
        assert "smallest tiles" in " ".join(capsys.readouterr().err.split())


def test_an_interrupted_comparison_keeps_the_mappers_that_had_finished():
    def told(name, seed, news):  # from the thread that reports
        if name == "annealing" and news.phase == "searching" and not sent:
            sent.append(seed)
            _thread.interrupt_main()

    sent: list[int] = []
    found = compare(gemm_problem(), ["annealing", "genetic"], evaluations=None, seconds=0.6, seeds=1, progress=told)
    assert found.interrupted
    assert [contestant.name for contestant in found.contestants] == ["random"]
    assert set(found.left_out) == {"annealing", "genetic"}
