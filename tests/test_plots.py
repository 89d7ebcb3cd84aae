"""Plots: the figures hold the numbers of the result."""

from __future__ import annotations

import copy
import importlib.util
import sys
from typing import Any

import pytest

import fiberloom as fl
from fiberloom.architecture import library
from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.network_evaluation import NetworkResult
from fiberloom.report.plots import network_plot
from networks import CONVOLUTION, DESIGNS, small_result

needs_plotly = pytest.mark.skipif(importlib.util.find_spec("plotly") is None, reason="plotly is not installed")


def evaluation() -> fl.Evaluation:
    gemm = fl.Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 64, "n": 64, "k": 64}, densities={"A": "2:4"})
    return fl.evaluate(gemm, library.load("stc", gemm), library.default_mapping("stc", gemm))


def total(figure: Any, axis: str) -> dict[str, float]:
    """Sums of stacked bars by the name at their foot."""
    sums: dict[str, float] = {}
    for bar in figure.data:
        names, values = (bar.y, bar.x) if axis == "x" else (bar.x, bar.y)
        for name, value in zip(names, values, strict=True):
            sums[name] = sums.get(name, 0.0) + value
    return sums


@needs_plotly
def test_an_evaluation_plots_all_its_energy_and_its_cycles() -> None:
    found = evaluation()
    figure = found.plot()
    parts = [bar for bar in figure.data if bar.name != "cycles"]
    sums: dict[str, float] = {}
    for bar in parts:
        for name, value in zip(bar.y, bar.x, strict=True):
            sums[name] = sums.get(name, 0.0) + value
    assert sums == pytest.approx({name: pj * 1e-12 for name, pj in found.energy_by_component_pj.items()})
    cycles = next(bar for bar in figure.data if bar.name == "cycles")
    assert max(cycles.x) == found.cycles
    assert found.bottleneck in cycles.y


@needs_plotly
def test_bars_of_designs_add_up_to_the_totals() -> None:
    totals = {t["design"]: t for t in small_result()["totals"] if t["case"] == "2:4"}
    energies = total(network_plot(small_result(), "energy", case="2:4"), "x")
    assert energies == pytest.approx({name: t["energy_pj"] * 1e-12 for name, t in totals.items()}, rel=1e-6)
    cycles = total(network_plot(small_result(), "cycles", case="2:4"), "x")
    assert cycles == pytest.approx({name: t["cycles"] for name, t in totals.items()}, rel=1e-6)


@needs_plotly
def test_the_edp_of_the_first_design_is_one() -> None:
    bar = network_plot(small_result(), "edp").data[0]
    assert list(bar.x) == list(DESIGNS)
    assert bar.y[0] == pytest.approx(1)
    expected = [e["geomean_edp_ratio"] for e in small_result()["comparison"] if e["case"] == "dense"]
    assert list(bar.y) == pytest.approx(expected, rel=1e-6)


@needs_plotly
def test_a_result_plots_itself() -> None:
    result = NetworkResult(small_result())
    assert result.plot("layers", design="stc", case="2:4") == network_plot(
        small_result(), "layers", design="stc", case="2:4"
    )
    with pytest.raises(SpecError, match="kind of plot 'enrgy'"):
        result.plot("enrgy")


@needs_plotly
def test_layers_of_a_design_add_up_to_its_total() -> None:
    figure = network_plot(small_result(), "layers", design="scnn", case="dense")
    whole = next(t for t in small_result()["totals"] if (t["case"], t["design"]) == ("dense", "scnn"))
    assert sum(total(figure, "y").values()) == pytest.approx(whole["energy_pj"] * 1e-12, rel=1e-6)
    assert CONVOLUTION in total(figure, "y")


@needs_plotly
def test_a_roofline_has_every_mapped_layer_under_its_roofs() -> None:
    figure = network_plot(small_result(), "roofline", design="stc", case="2:4")
    points = [(x, y) for trace in figure.data if trace.mode == "markers" for x, y in zip(trace.x, trace.y, strict=True)]
    roofs = next(trace for trace in figure.data if trace.mode == "lines")
    slope = roofs.y[0] / roofs.x[0]
    assert len(points) == 2
    assert all(y <= min(max(roofs.y), slope * x) * 1.001 for x, y in points)


@needs_plotly
@pytest.mark.parametrize("kind", ["energy", "cycles", "edp", "layers", "roofline"])
def test_names_are_shown_as_they_are(kind: str) -> None:
    result = copy.deepcopy(small_result())
    result["network"]["name"] = "<b>bold</b>"
    assert network_plot(result, kind).layout.title.text.startswith("&lt;b&gt;bold&lt;/b&gt;")


@needs_plotly
def test_what_there_is_not_is_named_with_what_there_is() -> None:
    with pytest.raises(SpecError, match="no kind of plot 'enrgy'\n  did you mean 'energy'"):
        network_plot(small_result(), "enrgy")
    with pytest.raises(SpecError, match="no design 'scn'\n  did you mean 'scnn'"):
        network_plot(small_result(), "layers", design="scn")
    with pytest.raises(SpecError, match="no case 'sparse'"):
        network_plot(small_result(), case="sparse")
    with pytest.raises(SpecError, match="no layers to plot"):
        network_plot({"layers": [], "totals": []})


def test_without_plotly_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.subplots", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fiberloom\[report\]'"):
        evaluation().plot()
