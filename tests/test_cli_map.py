"""``fiberloom map`` and ``fiberloom mapspace``: what they find, prove, print and save, and what they refuse."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from fiberloom.cli.program import run
from fiberloom.input.specification import read
from fiberloom.model.evaluate import evaluate
from gemm import written
from map_problems import GEMM

PROGRAM = [sys.executable, "-c", "from fiberloom.cli import main; main()"]
FREE = GEMM.partition("mapping:\n")[0]
EMPTY = FREE.replace("mesh: 2x2, depth: 6", "mesh: 2x2, depth: 2")
TIMELOOP = """\
architecture:
  version: 0.3
  subtree:
  - name: system
    attributes: {technology: 45nm}
    local:
    - {name: DRAM, class: DRAM, attributes: {width: 64, datawidth: 16}}
    subtree:
    - name: chip
      local:
      - {name: Buffer, class: SRAM, attributes: {depth: 64, width: 16, datawidth: 16}}
      - {name: MAC, class: intmac, attributes: {datawidth: 16}}
problem:
  shape:
    name: gemm
    dimensions: [M, N, K]
    data-spaces:
    - {name: A, projection: [[[M]], [[K]]]}
    - {name: B, projection: [[[K]], [[N]]]}
    - {name: Z, projection: [[[M]], [[N]]], read-write: true}
  instance: {M: 4, N: 8, K: 4}
mapper: {optimization-metrics: [delay, energy], algorithm: random-pruned, timeout: 100}
architecture_constraints:
  targets:
  - {target: Buffer, type: temporal, factors: M=1}
"""


@pytest.fixture
def free(tmp_path):
    return written(tmp_path, FREE, "free.yaml")


@pytest.fixture
def answer(capsys):
    """Run the command line, require success, and return the JSON that it prints."""

    def ran(*arguments):
        code = run([*arguments, "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out, parse_constant=pytest.fail)

    return ran


@pytest.fixture
def failing(capsys):
    """Run the command line, require an error without a traceback, and return exit code and message."""

    def ran(*arguments):
        code = run([*arguments, "--json"])
        out, err = capsys.readouterr()
        assert code != 0
        assert out == ""
        error = json.loads(err)["error"]
        assert error["type"] != "internal", error
        return code, f"{error['problem']}\n{error['hint']}\n{error['file']}:{error['line']}"

    return ran


def test_exact_answer_is_the_best_of_all_mappings(free, answer):
    exact, everything = answer("map", free), answer("map", free, "--mapper", "exhaustive")
    assert exact["search"]["value"] == everything["search"]["value"]
    assert everything["search"]["stopped"] == "exhausted"
    for found in (exact, everything):
        assert found["certificate"]["status"] == "optimal"
        assert found["certificate"]["gap"] == 0
        assert found["certificate"]["lower_bound"] == found["edp_pj_cycles"]


def test_json_is_an_evaluation_with_mapping_and_certificate(free, answer, tmp_path):
    found = answer("map", free, "-o", str(tmp_path / "best.yaml"))
    extra = {key: found.pop(key) for key in ("mapping", "certificate", "search")}
    evaluated = answer("evaluate", str(tmp_path / "best.yaml"))
    assert found == evaluated
    assert extra["mapping"] == yaml.safe_load((tmp_path / "best.yaml").read_text())["mapping"]
    assert set(extra["certificate"]) == {"status", "lower_bound", "gap", "objective"}
    assert extra["search"]["mapper"] == "exact"
    assert extra["search"]["map_space_size"] > 1000


def test_a_sampling_mapper_states_a_bound_and_proves_nothing(free, answer):
    found = answer("map", free, "--mapper", "random", "--evaluations", "500", "--seed", "3")
    best = answer("map", free)["search"]["value"]
    assert found["certificate"]["status"] == "none"
    assert 0 < found["certificate"]["lower_bound"] <= best <= found["search"]["value"]
    assert found["search"]["evaluations"] == 500
    assert found["search"] | {"seconds": 0} == answer(
        "map", free, "--mapper", "random", "--evaluations", "500", "--seed", "3"
    )["search"] | {"seconds": 0, "prepare_seconds": found["search"]["prepare_seconds"]}


def test_each_objective_is_least_for_itself(free, answer):
    found = {name: answer("map", free, "--objective", name) for name in ("energy", "latency", "edp")}
    assert found["energy"]["energy_pj"] == min(f["energy_pj"] for f in found.values())
    assert found["latency"]["cycles"] == min(f["cycles"] for f in found.values())
    assert found["edp"]["edp_pj_cycles"] == min(f["edp_pj_cycles"] for f in found.values())


def test_front_runs_from_least_cycles_to_least_energy(free, answer, capsys):
    found = answer("map", free, "--front")
    cycles, energy = ([point[key] for point in found["front"]] for key in ("cycles", "energy_pj"))
    assert cycles == sorted(cycles)
    assert energy == sorted(energy, reverse=True)
    assert cycles[0] == answer("map", free, "--objective", "latency")["cycles"]
    assert energy[-1] == answer("map", free, "--objective", "energy")["energy_pj"]
    assert run(["map", free, "--front"]) == 0
    assert "Pareto front" in capsys.readouterr().out


def test_tables_show_loops_certificate_and_account(free, capsys):
    assert run(["map", free]) == 0
    out, err = capsys.readouterr()
    for passage in ("Buffer [A, B, Z]", "for m in", "proved optimal", "map space", "Energy by component", "bottleneck"):
        assert passage.replace("bottleneck", "set by") in out
    assert err == ""


@pytest.mark.parametrize("columns", ["80", "140"])
@pytest.mark.parametrize("command", [["map", "--front"], ["mapspace", "--ablation", "--samples", "300"]])
def test_tables_fit_the_terminal(free, capsys, monkeypatch, columns, command):
    monkeypatch.setenv("COLUMNS", columns)
    assert run([command[0], free, *command[1:]]) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= int(columns)


def test_a_mapping_in_the_files_is_ignored_and_that_is_said(tmp_path, free, answer):
    found = answer("map", written(tmp_path, GEMM, "mapped.yaml"))
    assert any("mapping in the files is ignored" in warning for warning in found["warnings"])
    assert found["search"]["value"] == answer("map", free)["search"]["value"]


def test_constraints_of_a_file_hold(tmp_path, free, answer):
    constraints = written(
        tmp_path, "constraints:\n  Registers: {bypass: [A]}\n  Buffer: {temporal: {factors: {m: 2}}}\n", "limits.yaml"
    )
    found = answer("map", free, "--constraints", constraints)
    levels = {level["level"]: level for level in found["mapping"]}
    assert "A" not in levels["Registers"]["keep"]
    assert "m=2" in levels["Buffer"]["temporal"].split()


def test_fixed_factors_only_make_the_optimum_worse(tmp_path, free, answer):
    constraints = written(tmp_path, "constraints:\n  Buffer: {temporal: {factors: {m: 2, k: 1}}}\n", "limits.yaml")
    limited, best = answer("map", free, "--constraints", constraints)["search"], answer("map", free)["search"]
    assert limited["value"] >= best["value"]
    assert limited["map_space_size"] < best["map_space_size"]


def test_a_constraint_on_a_level_that_is_not_there_suggests_the_right_one(tmp_path, free, failing):
    constraints = written(tmp_path, "constraints:\n  Registrs: {bypass: [A]}\n", "limits.yaml")
    code, message = failing("map", free, "--constraints", constraints)
    assert code == 2
    assert "did you mean 'Registers'?" in message
    assert "limits.yaml:2" in message
    nothing = written(tmp_path, "mapping: []\n", "nothing.yaml")
    assert "no constraints" in failing("map", free, "--constraints", nothing)[1]


def test_timeloop_inputs_are_taken_as_they_are(tmp_path, answer):
    path, out = written(tmp_path, TIMELOOP, "mapper.yaml"), tmp_path / "mapping.yaml"
    found = answer("map", path, "--timeloop", str(out))
    assert found["search"]["objective"] == "latency"
    buffer = next(level for level in found["mapping"] if level["level"] == "Buffer")
    assert "M=1" in buffer["temporal"].split()
    without = written(tmp_path, TIMELOOP.partition("mapper:")[0], "design.yaml")
    again = answer("evaluate", without, str(out))
    assert (again["cycles"], again["energy_pj"]) == (found["cycles"], found["energy_pj"])


def test_timeloop_constraints_are_added_to_those_of_the_files(tmp_path, answer):
    more = written(
        tmp_path, "mapspace_constraints:\n  targets:\n  - {target: Buffer, type: temporal, factors: N=2}\n", "more.yaml"
    )
    found = answer("map", written(tmp_path, TIMELOOP, "mapper.yaml"), "--constraints", more)
    buffer = next(level for level in found["mapping"] if level["level"] == "Buffer")
    assert {"M=1", "N=2"} <= set(buffer["temporal"].split())


@pytest.mark.parametrize("mapper", [[], ["--mapper", "random", "--evaluations", "300"]])
def test_a_capacity_that_nothing_fits_is_named_with_what_is_missing(tmp_path, failing, mapper):
    code, message = failing("map", written(tmp_path, EMPTY), *mapper)
    assert code == 4
    assert "even the smallest tiles" in message
    assert "3 words at 'Registers', which holds 2" in message


def test_a_format_that_nothing_fits_is_named(tmp_path, failing):
    short = FREE.replace(
        "keep: [A, B, Z]}\n    - {name: Reg", "keep: [A, B, Z], min_utilization: 1, depth: 24}\n    - {name: Reg"
    )
    short = short.replace("{name: Buffer, depth: 24,", "{name: Buffer,")
    code, message = failing("map", written(tmp_path, short), "--mapper", "random", "--evaluations", "300")
    assert code == 4
    assert "minimum utilisation" in message
    assert "%" in message


def test_constraints_that_leave_no_mapping_are_named(tmp_path, free, failing):
    constraints = written(tmp_path, "constraints:\n  Buffer: {temporal: {factors: {m: 3}}}\n", "limits.yaml")
    code, message = failing("map", free, "--constraints", constraints)
    assert code == 2
    assert "m" in message
    assert "limits.yaml" in message


@pytest.mark.parametrize(
    ("arguments", "passage"),
    [
        (["--mapper", "genetc"], "did you mean 'genetic'?"),
        (["--objective", "enregy"], "did you mean 'energy'?"),
        (["--rules", "timeloop-5"], "timeloop-4"),
        (["--time", "0"], "positive"),
        (["--time", "nan"], "positive"),
        (["--evaluations", "-3", "--mapper", "random"], "positive"),
        (["--memory", "-1"], "positive"),
        (["--evaluations", "10"], "sampling mappers"),
        (["--set", "block=3"], "sampling mappers"),
        (["--front", "--mapper", "random"], "exact"),
        (["--resume", "--mapper", "random"], "--store"),
        (["--mapper", "random", "--set", "block"], "name=value"),
        (["--mapper", "random", "--set", "blok=3"], "did you mean 'block'?"),
        (["--mapper", "random", "--set", "block=many"], "number"),
        (["--mapper", "random", "--set", "block=0"], "at least 1"),
        (["--output", "/nowhere/out.yaml"], "no folder"),
        (["--timeloop", "/nowhere/out.yaml"], "no folder"),
        (["--constraints", "nowhere.yaml"], "nowhere.yaml"),
        (["--time", "soon"], "--time"),
    ],
)
def test_bad_options_are_explained(free, failing, arguments, passage):
    assert passage in failing("map", free, *arguments)[1]


def test_missing_parts_are_named(tmp_path, failing):
    workload = written(tmp_path, "fiberloom: 1\n" + FREE[FREE.index("workload:") : FREE.index("architecture:")])
    code, message = failing("map", workload)
    assert code == 2
    assert "no architecture" in message
    assert "--arch" in message


def test_output_that_is_a_folder_is_refused_before_the_search(tmp_path, free, failing):
    assert "it is a folder" in failing("map", free, "-o", str(tmp_path))[1]


def test_a_saved_mapping_finds_the_tensor_files_from_its_own_folder(tmp_path, answer):
    import numpy as np

    np.save(tmp_path / "weights.npy", np.eye(4))
    sparse = FREE.replace(
        "shape: {m: 8, n: 4, k: 4}",
        "shape: {m: 8, n: 4, k: 4}\n  density: {B: {distribution: actual, file: weights.npy}}",
    ).replace("width_bits: 64, read_bandwidth: 4,", "width_bits: 64, read_bandwidth: 4, skip: [A <- B],")
    (tmp_path / "deep").mkdir()
    out = tmp_path / "deep" / "best.yaml"
    found = answer("map", written(tmp_path, sparse), "--mapper", "random", "--evaluations", "200", "-o", str(out))
    assert answer("evaluate", str(out))["energy_pj"] == found["energy_pj"]


def test_a_stored_search_goes_on_where_it_stopped(tmp_path, free, answer):
    store = str(tmp_path / "trials.db")
    common = ["map", free, "--mapper", "random", "--set", "block=64", "--seed", "5"]
    whole = answer(*common, "--evaluations", "640")
    first = answer(*common, "--evaluations", "256", "--store", store)
    rest = answer(*common, "--evaluations", "640", "--store", store, "--resume")
    assert (first["search"]["evaluations"], rest["search"]["evaluations"]) == (256, 640)
    assert rest["search"]["statistics"]["replayed"] == 256
    assert rest["search"]["value"] == whole["search"]["value"]


def test_a_file_that_is_no_store_is_refused(tmp_path, free, failing):
    other = written(tmp_path, "not a store, but long enough to be one " * 40, "trials.db")
    assert "trials.db" in failing("map", free, "--mapper", "random", "--evaluations", "9", "--store", other)[1]


def test_an_interrupted_search_prints_and_saves_the_best_so_far(tmp_path, free):
    store, out = tmp_path / "trials.db", tmp_path / "best.yaml"
    options = ["--mapper", "random", "--time", "300", "--store", str(store), "-o", str(out), "--json"]
    with subprocess.Popen(
        [*PROGRAM, "map", free, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as search:
        patience = time.monotonic() + 240
        while _stored(store) < 3 and time.monotonic() < patience and search.poll() is None:
            time.sleep(0.05)
        search.send_signal(signal.SIGINT)
        printed, err = search.communicate(timeout=120)
    assert search.returncode == 130, err
    assert "Traceback" not in err
    found = json.loads(printed)
    assert found["search"]["stopped"] == "interrupted"
    spec = read([str(out)])
    assert evaluate(spec.workload, spec.architecture, spec.mapping).energy_pj == found["energy_pj"]


def _stored(path):
    """Batches in a trial store that another process is writing."""
    import sqlite3
    from contextlib import closing

    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute("SELECT COUNT(*) FROM batches").fetchone()[0]
    except sqlite3.OperationalError:  # not yet made
        return 0


def test_mapspace_counts_every_point_and_axis(free, answer):
    space = answer("mapspace", free, "--samples", "2000")
    product = 1
    for number in space["by_axis"].values():
        product *= number
    assert space["size"] == product
    assert sum(space["outcomes"].values()) == 2000
    assert space["valid_share"]["low"] < space["valid_share"]["value"] < space["valid_share"]["high"]
    exact = answer("map", free, "--mapper", "exhaustive", "--set", "skip_equivalent=false")["search"]
    share = exact["valid"] / space["size"]
    assert space["valid_share"]["low"] * 0.9 < share < space["valid_share"]["high"] * 1.1


def test_mapspace_says_what_constraints_fix(tmp_path, free, answer):
    constraints = written(tmp_path, "constraints:\n  DRAM: {temporal: {factors: {m: 8}}}\n", "limits.yaml")
    space = answer("mapspace", free, "--constraints", constraints, "--samples", "50")
    assert space["by_axis"]["tile"] < space["by_axis_without_constraints"]["tile"]
    outermost = space["levels"][0]
    assert outermost["level"] == "DRAM"
    assert outermost["temporal"]["m"] == [8]


def test_ablation_never_finds_less_than_the_proved_optimum(free, answer):
    space = answer("mapspace", free, "--ablation", "--samples", "3000")
    ablation = space["ablation"]
    assert {axis["axis"] for axis in ablation["axes"]} == {"tile", "order", "parallel"}
    for axis in ablation["axes"]:
        assert axis["exhaustive"]
        assert axis["best"] == ablation["value"]
        assert axis["ratio"] >= 1


def test_mapspace_refuses_what_is_no_number_of_samples(free, failing):
    assert "samples" in failing("mapspace", free, "--samples", "0")[1]
    assert "positive" in failing("mapspace", free, "--ablation", "--time", "0")[1]


def test_the_how_to_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "mapping.md").read_text(encoding="utf-8")
    ran = dict.fromkeys(("yaml", "bash", "python", "text"), 0)
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        ran[language] += 1
        if language == "yaml":
            Path(text.partition("\n")[0].removeprefix("# file: ")).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, "mapping.md", "exec"), {})
        elif language == "bash":
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "fiberloom"
                assert run(arguments) == 0, (line, capsys.readouterr().err)
    assert min(ran.values()) >= 1
    assert (tmp_path / "compared" / "curves.svg").stat().st_size > 1000
