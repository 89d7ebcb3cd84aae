"""Explorations in words, tables and pages: the front reads, reasons are said, importance is honest, the store alone is enough."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from agent_problems import Formula
from explorations import explored
from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.explore import Evaluated, Exploration, ExplorationStore, Goal, Status, Trial, explore, make_agent
from fiberloom.explore.problems import stored_problem
from fiberloom.explore.space import parse_space
from fiberloom.report.exploration import csv_text, exploration_dict, exploration_report, references_report
from fiberloom.report.exploration_account import counts, measures, over, quantity, reasons, settings, shared
from fiberloom.report.exploration_importance import importance
from fiberloom.report.exploration_references import known_references, library_references, standing
from fiberloom.report.exploration_stored import chosen_run, same_goal, stored_exploration
from fiberloom.report.html.exploration import content, headline, render_exploration, write_exploration
from fiberloom.report.html.exploration_designs import marks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small")


@pytest.fixture(scope="module")
def found(folder: Path) -> Exploration:
    return explored(folder, limits=("area <= 0.05",))


def formula(objectives: list[str], limits: list[str] = [], n: int = 120, seed: int = 0) -> Exploration:  # noqa: B006
    problem = Formula()
    goal = Goal.parse(objectives, limits, problem.metrics)
    return explore(problem, make_agent("random", problem, goal, seed), evaluations=n, seed=seed)


def lines(found: Exploration, width: int = 100) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    for part in exploration_report(found):
        console.print(part)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_every_value_of_a_front_stands_unbroken_at_100_columns(found: Exploration) -> None:
    printed = lines(found)
    assert max(map(len, printed)) <= 100
    text = "\n".join(printed)
    for trial in found.front:
        own = {k: v for k, v in settings(found, trial).items()}
        assert all(f"{name}={value}" in text for name, value in own.items())
    assert "…" not in text


def test_values_that_all_designs_share_are_said_once(found: Exploration) -> None:
    assert shared([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1}]) == {"a": 1}
    assert shared([{"a": 1}]) == {}
    same = [t for t in found.front if settings(found, t)["zeros"] == "skipped"][:2]
    assert len(same) == 2
    text = "\n".join(lines(replace(found, front=tuple(same))))
    assert text.count("zeros=skipped") == 1 and "all have" in text


def test_objectives_come_first_then_what_limits_speak_of() -> None:
    goal = Goal.parse(["area", "max lanes"], ["latency <= 3"])
    columns = measures(goal, {"edp": "J s", "latency": "s", "area": "mm2", "lanes": "MACs"})
    assert [(m.text, m.aim, m.maximise) for m in columns] == [
        ("area", True, False),
        ("lanes", True, True),
        ("latency", False, False),
        ("edp", False, False),
    ]
    arithmetic = measures(Goal.parse(["edp * area"]), {"edp": "J s", "area": "mm2"})[0]
    assert arithmetic.of({"edp": 2.0, "area": 3.0}) == 6.0 and arithmetic.of({"edp": 2.0}) is None


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(9.2e-4, "J s", "920 µJ·s"), (16.0, "MACs", "16"), (0.13721, "mm2", "0.137"), (1.5e-7, "", "1.5e-07"), (0.0, "s", "0 s")],
)  # fmt: skip
def test_quantities_have_prefixes_where_their_unit_takes_them(value: float, unit: str, said: str) -> None:
    assert quantity(value, unit) == said


def test_reasons_of_pruned_designs_follow_from_their_bounds() -> None:
    goal = Goal.parse(["delay"], ["area <= 5", "delay <= 10"])
    trials = [
        Trial.of((0,), Evaluated(Status.PRUNED, {"area": 7.0}), goal),
        Trial.of((1,), Evaluated(Status.PRUNED, {"area": 8.0}), goal),
        Trial.of((2,), Evaluated(Status.PRUNED, {"area": 3.0, "delay": 4.0}), goal),
        Trial.of((3,), Evaluated(Status.INVALID, reason="the mesh is odd"), goal),
    ]
    assert counts(trials) == {Status.PRUNED: 3, Status.INVALID: 1}
    assert reasons(goal, trials, Status.PRUNED) == [
        ("breaks area <= 5 at best", 2),
        ("bounds are no better than a known design", 1),
    ]
    assert reasons(goal, trials, Status.INVALID) == [("the mesh is odd", 1)]
    assert over(goal, {"area": 7.5}) == ("area <= 5 (found 7.5, 50% off)",)


def test_designs_that_can_t_be_evaluated_are_counted_with_their_reason() -> None:
    found = formula(["delay"], ["area <= 64"])
    text = "\n".join(lines(found))
    invalid = sum(t.evaluated.status is Status.INVALID for t in found.trials)
    assert invalid and f"{invalid} invalid: 13 banks bring bad luck" in text
    broken = sum(t.evaluated.metrics.get("area", 0) > 64 for t in found.trials)
    assert f"{broken} break area <= 64" in text


def test_the_nearest_miss_is_named_where_nothing_meets_the_limits() -> None:
    found = formula(["delay"], ["area <= 0.5"])
    miss = found.nearest_miss()
    assert miss is not None
    text = "\n".join(lines(found))
    assert "no design meets the limits" in text and f"found {miss.evaluated.metrics['area']:.4g}" in text
    assert headline(found).startswith(f"None of {len({t.point for t in found.trials})} designs meets the limits")


def test_a_csv_has_a_row_per_trial_and_a_column_per_parameter_and_metric(found: Exploration) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(found))))
    assert len(rows) == len(found.trials)
    for row, trial in zip(rows, found.trials, strict=True):
        values = settings(found, trial)
        assert {k.removeprefix("parameter."): v for k, v in row.items() if k.startswith("parameter.") and v} == {
            name: str(value) for name, value in values.items()
        }
        for metric in found.problem.metrics:
            assert row[metric] == str(trial.evaluated.metrics.get(metric, ""))
        assert row["feasible"] == str(trial.feasible)
        assert row["on_front"] == str(trial.point in {t.point for t in found.front})


def test_a_parameter_that_decides_all_explains_all() -> None:
    space = Formula().space
    points = list(dict.fromkeys(space.sample(np.random.default_rng(0), 400)))
    rows = [space.values(p)["rows"] for p in points]
    entries = importance(space, points, rows)
    assert entries[0].parameter == "rows" and entries[0].share == pytest.approx(1.0) and entries[0].shows
    mean = np.log(rows).mean()
    for value in entries[0].values:
        assert value.ratio == pytest.approx(float(value.label) / np.exp(mean))
    assert sum(value.designs for value in entries[0].values) == len(points)


def test_what_has_no_effect_passes_for_chance_in_nineteen_of_twenty_cases() -> None:
    space = Formula().space
    points = list(dict.fromkeys(space.sample(np.random.default_rng(1), 60)))
    shows = [
        entry.shows
        for seed in range(60)
        for entry in importance(space, points, np.random.default_rng(seed).lognormal(size=len(points)))
    ]
    assert len(shows) > 300 and 0.02 < np.mean(shows) < 0.09


def test_a_conditional_parameter_is_judged_among_the_designs_that_have_it() -> None:
    space = Formula().space
    points = list(dict.fromkeys(space.sample(np.random.default_rng(2), 300)))
    queue = [space.values(p)["queue"] if space.values(p)["skipping"] else 1000.0 for p in points]
    entry = next(e for e in importance(space, points, queue) if e.parameter == "queue")
    assert entry.designs == sum(bool(space.values(p)["skipping"]) for p in points) < len(points)
    assert entry.share == pytest.approx(1.0)


def test_few_designs_and_constant_objectives_say_nothing() -> None:
    space = Formula().space
    points = list(dict.fromkeys(space.sample(np.random.default_rng(3), 40)))
    assert importance(space, points[:5], [1, 2, 3, 4, 5]) == []
    assert importance(space, points, np.ones(len(points))) == []
    assert importance(space, [], []) == []


def test_long_ranges_are_judged_in_groups_of_neighbours() -> None:
    space = parse_space("fiberloom: 1\nspace: {parameters: {depth: {linear: [1, 64]}}}").space
    points = [(i,) for i in range(64)]
    (entry,) = importance(space, points, [float(i + 1) for i in range(64)])
    assert [v.label for v in entry.values][:2] == ["1 … 8", "9 … 16"] and len(entry.values) == 8


def test_named_designs_stand_beside_the_front(found: Exploration) -> None:
    references = list(known_references(found))
    assert {r.name for r in references} == {"plain", "large"}
    for reference in references:
        place, by = standing(found.front, reference.trial)
        on_front = any(t.point == reference.point for t in found.front)
        if on_front:
            assert place == "equal"
        elif not reference.trial.feasible:
            assert place == "over the limits"
        else:
            assert place == "beaten" and by is not None
            assert all(a <= b for a, b in zip(by.values, reference.trial.values, strict=True))


def test_a_design_that_the_front_does_not_reach_is_said_to_be_ahead(found: Exploration) -> None:
    better = {**found.front[0].evaluated.metrics, "edp": found.front[0].values[0] / 2}
    trial = Trial.of((), Evaluated(Status.EVALUATED, better), found.goal)
    assert standing(found.front, trial) == ("ahead", None)


def test_a_library_design_is_evaluated_on_the_same_workload_or_says_why_not(found: Exploration) -> None:
    eyeriss, cnn = library_references(found, ["dense-tensor-core", "eyeriss-v2-pe"])
    assert eyeriss.trial.evaluated.status is Status.EVALUATED
    run = eyeriss.trial.evaluated.detail["workloads"]["product"]
    metrics = eyeriss.trial.evaluated.metrics
    assert metrics["edp"] == pytest.approx(run["energy"] * run["latency"])
    assert eyeriss.architecture is not None and eyeriss.point is None
    if cnn.trial.evaluated.status is Status.INVALID:
        assert cnn.trial.evaluated.reason
    console = Console(width=100, file=io.StringIO())
    for part in references_report(found, [eyeriss, cnn]):
        console.print(part)
    assert "dense-tensor-core" in console.file.getvalue()  # type: ignore[attr-defined]
    with pytest.raises(SpecError, match="no design 'stcc'"):
        list(library_references(found, ["stcc"]))


def test_every_field_of_the_json_object_is_documented(found: Exploration) -> None:
    page = (Path(__file__).parents[1] / "docs" / "json.md").read_text(encoding="utf-8")
    section = page[page.index("## explore") : page.index("## designs, validate")]
    made = exploration_dict(found)
    json.dumps(made, allow_nan=False)
    assert all(f"`{field}`" in section or f"`{field}[]`" in section for field in made)
    assert all(field in section for field in made["front"][0])


def test_designs_that_are_no_accelerators_have_no_library() -> None:
    with pytest.raises(UnsupportedError, match="can't evaluate designs"):
        list(library_references(formula(["delay"]), ["stc"]))


def test_a_store_alone_gives_the_exploration_again(found: Exploration, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "small.db", tmp_path / "moved.db")
    with ExplorationStore(tmp_path / "moved.db") as store:
        problem = stored_problem(store)
        again = stored_exploration(store, problem, chosen_run(store))
        assert [t.point for t in again.trials] == [t.point for t in found.trials]
        assert [t.values for t in again.front] == [t.values for t in found.front]
        assert exploration_dict(again)["front"] == json.loads(json.dumps(exploration_dict(found)["front"]))
        with pytest.raises(SpecError, match="no run 9"):
            chosen_run(store, 9)


def test_other_runs_of_the_same_goal_are_found_and_their_better_designs_said(tmp_path: Path, folder: Path) -> None:
    shutil.copy(folder / "small.db", tmp_path / "small.db")
    for suffix in ("-wal", "-shm"):
        if (folder / f"small.db{suffix}").exists():
            shutil.copy(folder / f"small.db{suffix}", tmp_path / f"small.db{suffix}")
    shutil.copy(folder / "product.stablehlo", tmp_path)
    with ExplorationStore(tmp_path / "small.db") as store:
        problem = stored_problem(store)
        first = chosen_run(store, 1)
        goal = first.goal
        short = explore(problem, make_agent("grid", problem, goal, 0), evaluations=2, store=store)
        (other,) = same_goal(store, chosen_run(store))
        assert other.run == 1
        made = content(short, [], [stored_exploration(store, problem, other)])
    assert any("of other runs in the store would join this front" in text for text in made["remarks"])
    assert [run["main"] for run in made["curves"]["runs"]] == [True, False]


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    with ExplorationStore(tmp_path / "new.db") as store:
        with pytest.raises(SpecError, match="holds no exploration"):
            stored_problem(store)
        with pytest.raises(SpecError, match="holds no trials"):
            chosen_run(store)


def test_marks_are_the_evaluated_designs_each_once_the_front_first(found: Exploration) -> None:
    references = list(known_references(found))
    listed, left_out = marks(found, references, measures(found.goal, found.problem.metrics))
    assert left_out == 0
    numbers = [m["number"] for m in listed]
    evaluated = {str(found.problem.space.rank(t.point)) for t in found.trials if t.evaluated.status is Status.EVALUATED}
    assert set(numbers) == evaluated and len(numbers) == len(evaluated)
    kinds = [m["kind"] for m in listed]
    assert kinds[: len(found.front)] == ["front"] * len(found.front) and "front" not in kinds[len(found.front) :]
    assert all(m["parts"] for m in listed if m["kind"] == "front")
    top = listed[0]["parts"]
    assert [part["name"] for part in top] == ["DRAM", "buffer", "registers", "MAC"]
    assert [part["kind"] for part in top] == ["memory", "buffer", "register", "compute"]


def test_a_page_needs_nothing_from_elsewhere_and_takes_no_text_for_markup(found: Exploration) -> None:
    page = render_exploration(found, list(known_references(found)))
    assert not re.search(r'(src|href)="https?://', page)
    assert "{{" not in page and "<array>" not in page


def test_headlines_say_the_ends_of_the_front_or_the_best(found: Exploration) -> None:
    said = headline(found)
    assert "are worth considering" in said and "the least edp" in said and "the least area" in said
    single = formula(["delay"])
    assert headline(single).startswith("The best of ") and "delay" in headline(single)
    most = headline(formula(["max lanes", "delay"]))
    assert "the largest lanes" in most


def test_a_page_that_can_t_be_written_is_an_error_and_leaves_the_old_one(found: Exploration, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="can't be written"):
        write_exploration(found, tmp_path / "nowhere" / "x.html")
