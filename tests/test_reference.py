"""Agreement with what released builds of the reference tool printed, where their cases stand beside the repository."""

import os
from pathlib import Path

import pytest

from fiberloom.validate.reference import (
    NEEDED,
    Deviation,
    cases_in,
    compare,
    distribution,
    passed,
    rules_of,
    run_case,
    summary,
)

REFERENCE = Path(os.environ.get("FIBERLOOM_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))
CASES = REFERENCE / "cases"

beside = pytest.mark.skipif(not CASES.is_dir(), reason="no reference cases beside the repository")


@pytest.fixture(scope="module")
def results():
    return [run_case(case) for case in cases_in(CASES)]


@beside
def test_reference_cases_agree_in_every_count(results, record_property, capsys):
    agreeing = sum(result.agrees for result in results)
    record_property("reference_cases", len(results))
    with capsys.disabled():
        print(f"\n{agreeing} of {len(results)} reference cases agree in cycles, energy and every data count")
    assert passed(results), [(r.name, r.failure or r.worst) for r in results if not r.agrees]


@beside
def test_metadata_counts_agree_as_often(results):
    assert distribution(results)["metadata"]["within"] >= NEEDED


@beside
def test_typical_errors_are_of_rounding(results):
    for quantity, row in distribution(results).items():
        assert row["median"] <= 1e-4, quantity
        assert row["p90"] <= 0.01, quantity


def test_each_build_has_its_rules():
    assert rules_of("ship_ex05_some") == "timeloop-4"
    assert rules_of("ship_fig12_some") == "artifact"
    assert rules_of("gen_dense_gemm") == "timeloop-3.0.3"


def _case(folder: Path, expected: str) -> Path:
    from gemm import written

    folder.mkdir()
    written(folder, name="input.yaml")
    (folder / "expected.json").write_text(expected, encoding="utf-8")
    return folder


EXPECTED = '{"cycles": %s, "energy_pj": null, "compute": {"random": %s, "gated": null, "skipped": null}, "levels": []}'


def test_a_case_that_differs_is_counted_as_such(tmp_path):
    good = run_case(_case(tmp_path / "ours", EXPECTED % (0, 0)))
    cycles = next(d.ours for d in good.deviations if d.quantity == "cycles")
    computes = next(d.ours for d in good.deviations if d.quantity == "compute")
    same = run_case(_case(tmp_path / "same", EXPECTED % (cycles, computes)))
    other = run_case(_case(tmp_path / "other", EXPECTED % (cycles * 2, computes)))
    broken = run_case(_case(tmp_path / "broken", "not JSON"))
    assert same.agrees
    assert not other.agrees
    assert other.worst == Deviation("cycles", "", cycles, cycles * 2, 0.5)
    assert broken.failure is not None
    assert not passed([same, other])
    assert [entry["case"] for entry in summary([same, other, broken])["disagreeing"]] == ["other", "broken"]


def test_levels_that_are_missing_are_infinitely_wrong(tmp_path):
    from fiberloom.input.specification import parse
    from fiberloom.model.evaluate import evaluate
    from gemm import GEMM

    spec = parse(GEMM)
    row = {action: {"random": 1, "gated": 0, "skipped": 0} for action in ("reads", "fills", "updates")}
    expected = {
        "cycles": 0,
        "energy_pj": None,
        "compute": {},
        "levels": [{"name": "elsewhere", "tensors": {"A": row}}],
    }
    deviations = list(compare(evaluate(spec.workload, spec.architecture, spec.mapping), expected))
    assert any(d.error == float("inf") and d.where == "elsewhere.A actual" for d in deviations)
