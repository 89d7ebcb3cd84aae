"""The command line on good input: what it prints, for people and for machines."""

import json
import math
import subprocess
import sys
import time

import pytest

from fiberloom import __version__
from fiberloom.cli.program import run
from fiberloom.input.specification import read
from fiberloom.model.evaluate import evaluate
from gemm import GEMM, bent, written

PROGRAM = [sys.executable, "-c", "from fiberloom.cli import main; main()"]


def test_json_is_the_evaluation_and_nothing_else(tmp_path, capsys):
    path = written(tmp_path)
    assert run(["evaluate", path, "--json"]) == 0
    out, err = capsys.readouterr()
    spec = read([path])
    expected = evaluate(spec.workload, spec.architecture, spec.mapping)
    assert json.loads(out) == expected.to_dict()
    assert err == ""


def test_json_has_the_documented_fields_and_only_finite_numbers(tmp_path, capsys):
    run(["evaluate", written(tmp_path), "--json"])
    result = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert result["version"] == 1
    assert {"cycles", "energy_pj", "area_um2", "utilization", "compute", "levels", "warnings", "provenance"} <= set(
        result
    )
    assert [level["name"] for level in result["levels"]] == ["DRAM", "Buffer", "Registers"]
    assert result["energy_pj"] == pytest.approx(sum(result["energy_by_component_pj"].values()))
    row = result["levels"][1]["tensors"]["B"]
    assert {"reads", "fills", "updates", "metadata_reads", "metadata_fills", "metadata_updates", "energy_pj"} <= set(
        row
    )
    assert row["reads"]["actual"] + row["reads"]["gated"] + row["reads"]["skipped"] == pytest.approx(2 * 32 * 16)


def test_tables_name_bottleneck_components_features_and_loops(tmp_path, capsys):
    assert run(["evaluate", written(tmp_path)]) == 0
    out = capsys.readouterr().out
    for passage in ("set by", "Energy by component", "Registers", "skipping B ← A at Buffer", "for k in 0..32", "mm²"):
        assert passage in out


@pytest.mark.parametrize("columns", [80, 140])
def test_tables_fit_the_terminal(tmp_path, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    run(["evaluate", written(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= columns
    assert not any("…" in line for line in lines)


def test_specification_may_be_split_over_files(tmp_path, capsys):
    head, mapping = GEMM.split("mapping:\n")
    paths = [written(tmp_path, head, "a.yaml"), written(tmp_path, "mapping:\n" + mapping, "b.yaml")]
    assert run(["evaluate", *paths, "--json"]) == 0
    split = json.loads(capsys.readouterr().out)
    run(["evaluate", written(tmp_path), "--json"])
    assert split == json.loads(capsys.readouterr().out)


def test_arch_replaces_the_architecture(tmp_path, capsys):
    other = written(
        tmp_path, "fiberloom: 1\narchitecture:" + bent("small-sparse", "wide").split("architecture:")[1], "other.yaml"
    )
    assert run(["evaluate", written(tmp_path), "--arch", other, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == "wide"


def test_misfit_is_a_warning_when_the_fit_is_not_checked(tmp_path, capsys):
    path = written(tmp_path, bent("depth: 16\n", "depth: 2\n"))
    assert run(["evaluate", path]) == 4
    capsys.readouterr()
    assert run(["evaluate", path, "--no-fit-check", "--json"]) == 0
    assert any("does not fit" in warning for warning in json.loads(capsys.readouterr().out)["warnings"])


def test_rules_are_named_in_the_result(tmp_path, capsys):
    run(["evaluate", written(tmp_path), "--rules", "timeloop-4", "--json"])
    assert json.loads(capsys.readouterr().out)["rules"] == "timeloop-4"


def test_simulation_agrees_with_the_model_on_dense_counts(tmp_path, capsys):
    path = written(tmp_path, bent("  density: {A: 0.25, B: 0.5}\n", ""))
    run(["evaluate", path, "--json"])
    model = json.loads(capsys.readouterr().out)
    assert run(["simulate", path, "--json"]) == 0
    oracle = json.loads(capsys.readouterr().out)
    for ours, theirs in zip(model["levels"], oracle["levels"], strict=True):
        for tensor, row in theirs["tensors"].items():
            for action in ("reads", "fills", "updates"):
                assert ours["tensors"][tensor][action]["actual"] == row[action]["actual"], (
                    ours["name"],
                    tensor,
                    action,
                )


def test_simulation_averages_over_samples(tmp_path, capsys):
    assert run(["simulate", written(tmp_path), "--samples", "3", "--seed", "7", "--json"]) == 0
    three = json.loads(capsys.readouterr().out)
    singles = []
    for seed in (7, 8, 9):
        run(["simulate", written(tmp_path), "--seed", str(seed), "--json"])
        singles.append(json.loads(capsys.readouterr().out)["compute"]["actual"])
    assert three["samples"] == 3
    assert three["compute"]["actual"] == pytest.approx(sum(singles) / 3)


def test_simulation_prints_tables(tmp_path, capsys):
    assert run(["simulate", written(tmp_path)]) == 0
    assert "lockstep" in capsys.readouterr().out


def test_import_writes_what_evaluates_the_same(tmp_path, capsys):
    path, copy = written(tmp_path), str(tmp_path / "copy.yaml")
    assert run(["import", path, "-o", copy]) == 0
    capsys.readouterr()
    run(["evaluate", path, "--json"])
    original = capsys.readouterr().out
    run(["evaluate", copy, "--json"])
    assert capsys.readouterr().out == original


def test_schema_is_json_schema(capsys):
    assert run(["schema"]) == 0
    assert "$schema" in json.loads(capsys.readouterr().out)


def test_designs_are_listed_and_drawn(capsys):
    assert run(["designs", "--json"]) == 0
    designs = [design["name"] for design in json.loads(capsys.readouterr().out)["designs"]]
    assert {"eyeriss", "stc", "dstc"} <= set(designs)
    assert run(["designs"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in designs)
    assert run(["designs", "show", "dstc"]) == 0
    assert "SMEM" in capsys.readouterr().out


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"fiberloom {__version__}"


def test_a_closed_pipe_is_silent(tmp_path):
    command = " ".join(f"'{word}'" for word in [*PROGRAM, "evaluate", written(tmp_path)])
    done = subprocess.run(f"{command} | head -1", shell=True, capture_output=True, text=True, check=False)
    assert "small-sparse" in done.stdout
    assert done.stderr == ""


def test_program_in_a_shell_takes_about_a_second(tmp_path):
    command = [*PROGRAM, "evaluate", written(tmp_path), "--json"]
    subprocess.run(command, capture_output=True, check=True)
    seconds = math.inf
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds = min(seconds, time.perf_counter() - began)
    assert seconds < 2  # 0.6 s on an idle core; room for loaded ones


def test_help_needs_no_compiler_and_no_arrays():
    code = (
        "import sys; from fiberloom.cli.program import run; run(['--help']); "
        "heavy = {'numba', 'numpy', 'scipy', 'pandas', 'fiberloom.model.evaluate'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_demo_compares_designs_by_cycles_energy_and_features(capsys):
    assert run(["demo", "--layer", "BERT"]) == 0
    out = capsys.readouterr().out
    for passage in ("dense-tensor-core", "dstc", "bottleneck", "Energy by kind of component", "position-skipping"):
        assert passage in out
    assert run(["demo", "--layer", "no such layer"]) == 2


@pytest.mark.slow
def test_validation_prints_published_figures_and_passes(capsys):
    assert run(["validate", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed"]
    assert {"published", "ours", "error", "allowed", "source"} <= set(result["comparisons"][0])


def test_notebook_view_is_self_contained(tmp_path):
    spec = read([written(tmp_path)])
    html = evaluate(spec.workload, spec.architecture, spec.mapping)._repr_html_()
    assert "Energy by component" in html
    assert "Registers" in html
    for outside in ("<script", "<link", "http://", "https://", "url("):
        assert outside not in html
