"""docs/notebooks/networks.ipynb, run: the notebook's numbers are those that its text speaks of."""

from __future__ import annotations

import re
from typing import Any

import pytest

from notebooks import Run, run_notebook

SECONDS = 0.5
"""Per layer; the notebook itself allows 2."""
FACTS = """{
    "resnet": resnet.to_dict(), "kept": kept.to_dict(), "decode": decode.to_dict(), "profiled": profiled.to_dict(),
    "by_hand": by_hand.to_dict("records"), "sweep": sweep.to_dict("records"), "layer": found,
    "bytes": {"weights": weights, "table": table, "cache": cache},
    "misfit": {name: tensor.misfit for name, tensor in measured.tensors.items()},
    "cycles_of_removed_rows": (guess, truth),
}"""


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("notebook")
    return run_notebook("networks.ipynb", {"SECONDS": SECONDS}, FACTS, (), request, folder, 600)


def total_of(run: Run, result: str, design: str, case: str) -> Any:
    return next(t for t in run.facts[result]["totals"] if (t["design"], t["case"]) == (design, case))


def layer_of(run: Run, name: str, design: str, case: str, result: str = "resnet") -> Any:
    wanted = (name, design, case)
    return next(e for e in run.facts[result]["layers"] if (e["layer"], e["design"], e["case"]) == wanted)


def test_every_plot_of_the_notebook_is_a_figure(run: Run) -> None:
    for cell in ("layer-plot", "sweep", "energy-plot", "edp-plot", "roofline", "llama-plot"):
        assert "plotly" in str(run.cells[cell]["outputs"]), cell


def test_resnet_50_has_its_published_size(run: Run) -> None:
    assert run.text("network").startswith("4.09 GMAC, 25.56 M parameters")
    assert run.text("different") == "54 layers, 24 different computations\n"


def test_two_of_four_weights_are_twice_as_fast_where_multiplying_takes_the_time(run: Run) -> None:
    by_hand = {(row["images"], row["design"], row["weights"]): row for row in run.facts["by_hand"]}
    assert by_hand[8, "stc", "2:4"]["times faster"] == 2.0
    assert by_hand[8, "stc", "2:4"]["bottleneck"] == "MAC"
    assert by_hand[1, "stc", "2:4"]["times faster"] == pytest.approx(112896 / 58368)
    assert by_hand[1, "stc", "2:4"]["bottleneck"] == "SMEM"
    assert by_hand[8, "stc", 0.5]["times faster"] == 1.0


def test_two_of_four_weights_are_worth_their_bits_where_reading_them_takes_the_time(run: Run) -> None:
    sweep = {row["columns"]: row for row in run.facts["sweep"]}
    assert sweep[1]["stc limited by"] == "DRAM"
    assert sweep[1]["times faster"] == pytest.approx(8 / (8 / 2 + 2 / 2), rel=0.02)
    assert {sweep[n]["times faster"] for n in (128, 256, 512)} == {2.0}
    dense, sparse = layer_of(run, "fc", "dense-tensor-core", "dense"), layer_of(run, "fc", "stc", "2:4")
    assert sparse["bottleneck"] == "DRAM"
    assert dense["cycles"] / sparse["cycles"] == pytest.approx(1.6, abs=0.01)


def test_the_whole_of_resnet_gains_less_than_its_layers(run: Run) -> None:
    dense, sparse = total_of(run, "resnet", "stc", "dense"), total_of(run, "resnet", "stc", "2:4")
    layers = dense["einsums"]["cycles"] / sparse["einsums"]["cycles"]
    assert dense["other_operators"]["cycles"] == sparse["other_operators"]["cycles"] > 0
    assert 1.7 < layers < 2.1
    assert 1.4 < dense["cycles"] / sparse["cycles"] < layers
    assert sparse["left_out"]["share_of_macs"] == 0


def test_weights_without_a_pattern_speed_up_the_dual_side_design_alone(run: Run) -> None:
    dense, sparse = total_of(run, "resnet", "stc", "dense"), total_of(run, "resnet", "stc", "30 % left")
    assert (sparse["cycles"], sparse["energy_pj"]) == (dense["cycles"], dense["energy_pj"])
    dense, sparse = total_of(run, "resnet", "dstc", "dense"), total_of(run, "resnet", "dstc", "30 % left")
    assert 1.3 < dense["einsums"]["cycles"] / sparse["einsums"]["cycles"] < 3.4
    assert sparse["energy_pj"] < dense["energy_pj"]


def test_the_loop_nest_that_is_shown_computes_its_layer(run: Run) -> None:
    shown = run.text("mapping")
    layer = run.facts["layer"]
    assert [line for line in layer["loop_nest"] if line not in shown] == []
    assert layer["loop_nest"][0] == "DRAM [W, I, O]"
    factors = {"m": 1, "n": 1, "k": 1}
    for line in layer["loop_nest"]:
        if loop := re.search(r"for (?:[XY] )?(\w) in 0\.\.(\d+)", line):
            factors[loop[1]] *= int(loop[2])
    assert factors == {"m": 1024, "n": 14 * 14, "k": 256}
    assert str(layer["certificate"]) in shown


def test_certificates_say_what_is_proved(run: Run) -> None:
    for result in ("resnet", "decode"):
        for layer in run.facts[result]["layers"]:
            certificate = layer["certificate"]
            assert 0 <= certificate["gap"] <= 1
            if certificate["status"] == "optimal":
                assert certificate["gap"] == 0
                assert layer["energy_pj"] * layer["cycles"] == pytest.approx(certificate["lower_bound"], rel=1e-5)
    assert layer_of(run, "fc", "dense-tensor-core", "dense")["certificate"]["gap"] < 0.01
    assert layer_of(run, "layers.0.query", "dense-tensor-core", "dense", "decode")["certificate"]["gap"] < 0.01


def test_what_stays_on_chip_saves_time_and_energy(run: Run) -> None:
    for before in run.facts["resnet"]["totals"]:
        after = total_of(run, "kept", before["design"], before["case"])
        assert after["cycles"] < before["cycles"]
        assert after["energy_pj"] < before["energy_pj"]
        assert 0 < after["kept_on_chip"]["most_bytes"] <= after["kept_on_chip"]["capacity_bytes"] == 256 * 1024


def test_llama_reads_its_weights_and_its_cache(run: Run) -> None:
    sizes = run.facts["bytes"]
    assert round(sizes["weights"] / 2**20, 1) == 12852.5
    assert round((sizes["weights"] - sizes["table"]) / 2**20, 1) == 12602.5
    assert sizes["cache"] == 1152 * 2**20
    assert "12,602.5 MiB of them are read for every token\n1,152.0 MiB of keys and values" in run.text("llama")


def test_a_token_of_llama_takes_as_long_as_reading_its_words(run: Run) -> None:
    words = (run.facts["bytes"]["weights"] - run.facts["bytes"]["table"] + run.facts["bytes"]["cache"]) / 2
    dense = total_of(run, "decode", "dense-tensor-core", "dense")
    assert dense["einsums"]["cycles"] == pytest.approx(words / 32, rel=0.01)  # 32 words per cycle
    for total in run.facts["decode"]["totals"]:
        assert list(total["cycles_by_bottleneck"]) == ["DRAM"], (total["design"], total["case"])
    speed_up = {
        (t["design"], t["case"]): dense["cycles"] / t["cycles"]
        for t in run.facts["decode"]["totals"]
    }  # fmt: skip
    assert speed_up["stc", "dense"] < 1
    assert 1.45 < speed_up["stc", "2:4"] < 1.6
    assert speed_up["dstc", "30 % left"] > speed_up["dstc", "2:4"]
    assert speed_up["stc", "30 % left"] == speed_up["stc", "dense"]


def test_a_profile_sets_densities_tensor_by_tensor(run: Run) -> None:
    densities = dict(line.split() for line in run.text("profile").splitlines())
    assert densities == {
        "conv1.weight": "dense",
        "conv2_1.3x3.weight": "2:4",
        "conv2_1.3x3.relu": "0.5",
        "conv5_3.3x3.weight": "0.3",
        "fc.weight": "0.2",
    }
    profiled = next(iter(run.facts["profiled"]["totals"]))
    assert (
        total_of(run, "resnet", "stc", "2:4")["cycles"]
        < profiled["cycles"]
        < total_of(run, "resnet", "stc", "dense")["cycles"]
    )


def test_misfit_tells_removed_rows_from_scattered_zeros(run: Run) -> None:
    assert run.facts["misfit"]["scattered"] < 0.02
    assert run.facts["misfit"]["rows_removed"] > 0.2
    guess, truth = run.facts["cycles_of_removed_rows"]
    assert abs(guess / truth - 1) > 0.2


def test_the_report_and_the_table_are_written(run: Run) -> None:
    page = (run.folder / "resnet50.html").read_text(encoding="utf-8")
    assert "conv4_1.expand" in page
    assert not re.search(r'(src|href)="https?://', page)
    assert "layers.0.query" in (run.folder / "llama-decode.html").read_text(encoding="utf-8")
    rows = (run.folder / "resnet50.csv").read_text(encoding="utf-8").splitlines()
    assert sum("conv4_1.expand" in row for row in rows) >= 9
