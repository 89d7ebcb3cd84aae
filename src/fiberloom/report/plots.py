"""Plots for notebooks and papers, as plotly figures: of one evaluation, and of a network on several designs.

Figures are plotly's own objects: `figure.show()`, `figure.write_html(...)`, `figure.update_layout(...)`. Colours are those of the HTML
report, told apart with any colour vision (Okabe, Ito, *Color Universal Design*, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fiberloom.errors import MissingExtraError, SpecError, nearest
from fiberloom.model.evaluation import Evaluation
from fiberloom.report.html.components import BUFFER, COMPUTE, MEMORY, NETWORK, REGISTER
from fiberloom.report.html.content import content
from fiberloom.report.quantities import energy

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLOURS: Final = {MEMORY: "#0072b2", BUFFER: "#e69f00", REGISTER: "#009e73", COMPUTE: "#cc79a7", NETWORK: "#7d8794"}
"""By kind of component."""

NAMES: Final = {
    MEMORY: "Off-chip memory",
    BUFFER: "On-chip buffers",
    REGISTER: "Register files",
    COMPUTE: "Arithmetic",
    NETWORK: "Wires and networks",
}

T = TypeVar("T")

TENSOR_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#56b4e9", "#d55e00", "#f0e442")
OTHER_COLOUR: Final = "#7d8794"
"""Of what belongs to no tensor: arithmetic, leakage, networks."""


def evaluation_plot(evaluation: Evaluation) -> go.Figure:
    """Energy of every component, by tensor, and the cycles that each component takes beside those of the whole.

    Raises:
        MissingExtraError: without plotly.
    """
    figure = _panels(("Energy, by tensor", "Cycles that each allows"))
    networks = {network.name: network.energy_pj for network in evaluation.networks if network.energy_pj}
    names = [*(level.name for level in evaluation.levels), *networks, evaluation.compute.name]
    for place, tensor in enumerate(dict.fromkeys(t for level in evaluation.levels for t in level.tensors)):
        spent = {level.name: level.tensors[tensor].energy_pj for level in evaluation.levels if tensor in level.tensors}
        _bar(
            figure,
            names,
            [spent.get(name, 0.0) for name in names],
            tensor,
            TENSOR_COLOURS[place % len(TENSOR_COLOURS)],
            1,
        )
    rest = dict.fromkeys(names, 0.0)
    rest |= {level.name: level.leakage_pj for level in evaluation.levels}
    rest |= networks
    rest[evaluation.compute.name] = evaluation.compute.energy_pj + evaluation.compute.leakage_pj
    _bar(figure, names, [rest[name] for name in names], "arithmetic, leakage, networks", OTHER_COLOUR, 1)
    cycles = {level.name: level.cycles for level in evaluation.levels} | {
        evaluation.compute.name: evaluation.compute.cycles
    }
    timed = [name for name in names if name in cycles]
    colours = [COLOURS[MEMORY] if name == evaluation.bottleneck else "#9dbfd6" for name in timed]
    bars = {
        "x": [cycles[name] for name in timed],
        "y": timed,
        "marker_color": colours,
        "showlegend": False,
        "name": "cycles",
    }
    figure.add_bar(**bars, orientation="h", hovertemplate="%{y}: %{x:,.0f} cycles<extra></extra>", row=1, col=2)
    figure.update_xaxes(title_text="J", tickformat="~s", row=1, col=1)
    figure.update_xaxes(title_text="cycles (dark: the bottleneck)", row=1, col=2)
    figure.update_yaxes(autorange="reversed")
    title = f"{evaluation.workload} on {evaluation.architecture}: {evaluation.cycles:,.0f} cycles, {energy(evaluation.energy_pj)}"
    return _styled(figure, title)


def network_plot(
    result: Mapping[str, Any], kind: str = "energy", *, design: str | None = None, case: str | None = None
) -> go.Figure:
    """A network's result.

    Args:
        result: what `NetworkResult.to_dict` returns.
        kind: ``energy`` or ``cycles`` of every design, by kind of component; ``edp``: geometric mean of the layers' ratios to the
            first design; ``layers``: energy of every layer of a design; ``roofline``: every layer under the roofs of a design.
        design: for ``layers`` and ``roofline``; None: the design of least energy–delay product.
        case: None: the first.

    Raises:
        MissingExtraError: without plotly.
        SpecError: for a kind, design or case that there is not.
    """
    draw = _named(kind, _KINDS, "kind of plot")
    page = content(result)
    cases = {entry["name"]: entry for entry in page["cases"]}
    if not cases:
        raise SpecError("the result has no layers to plot", hint="run the network on at least one design")
    shown = next(iter(cases.values())) if case is None else _named(case, cases, "case")
    places = {entry["name"]: place for place, entry in enumerate(shown["designs"])}
    chosen = shown["best"] if design is None else _named(design, places, "design")
    title = page["network"]["name"] + ("" if shown["name"] in ("", "all") else f", {shown['name']}")
    return draw(page, shown, chosen, title)


def _energy(page: Any, case: Any, design: int, title: str) -> go.Figure:
    return _designs(case, "energy_pj", 1e-12, "J", f"{title}: energy")


def _cycles(page: Any, case: Any, design: int, title: str) -> go.Figure:
    return _designs(case, "bound_cycles", 1.0, "cycles, by the component that sets them", f"{title}: cycles")


def _designs(case: Any, field: str, scale: float, axis: str, title: str) -> go.Figure:
    figure = _panels(("",))
    names = [design["name"] for design in case["designs"]]
    for kind, label in NAMES.items():
        values = [
            scale * math.fsum(c[field] for c in design["components"] if c["kind"] == kind) for design in case["designs"]
        ]
        if any(values):
            _bar(figure, names, values, label, COLOURS[kind], 1, unit=axis.split(",", maxsplit=1)[0], scale=1.0)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text=axis, tickformat="~s")
    return _styled(figure, title)


def _edp(page: Any, case: Any, design: int, title: str) -> go.Figure:
    figure = _panels(("",))
    names = [entry["name"] for entry in case["designs"]]
    ratios = [1 / ratio if ratio else None for ratio in case["geomean"][0]]
    labels = ["not comparable" if ratio is None else f"{ratio:.3g}" for ratio in ratios]
    figure.add_bar(x=names, y=ratios, text=labels, marker_color=COLOURS[MEMORY], showlegend=False)
    figure.add_hline(y=1, line_dash="dash", line_color="#555")
    figure.update_yaxes(title_text=f"EDP over that of {names[0]} (less is better)", rangemode="tozero")
    return _styled(figure, f"{title}: energy–delay product, geometric mean of layers")


def _layers(page: Any, case: Any, design: int, title: str) -> go.Figure:
    figure = _panels(("",))
    shown = case["designs"][design]
    found = _answers(page, case, design)
    names = [layer["name"] for layer, _ in found]
    for place, component in enumerate(shown["components"]):
        values = [answer["energy"][place] * layer["count"] * 1e-12 for layer, answer in found]
        colour, pattern = COLOURS[component["kind"]], ("", "/", ".", "x")[min(3, component["variant"] - 1)]
        figure.add_bar(
            x=names,
            y=values,
            name=component["name"],
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate="%{x}: %{y:.3s}J<extra>" + _plain(component["name"]) + "</extra>",
        )
    figure.update_layout(barmode="stack")
    figure.update_yaxes(title_text="J", tickformat="~s")
    return _styled(figure, f"{title}: energy of each layer on {shown['name']}")


def _roofline(page: Any, case: Any, design: int, title: str) -> go.Figure:
    figure = _panels(("",))
    shown, roof = case["designs"][design], case["designs"][design]["roof"]
    found = [
        (layer, answer) for layer, answer in _answers(page, case, design) if answer["rate"] and answer["intensity"]
    ]
    if not found:
        raise SpecError(
            f"no layer on {shown['name']} has both traffic and computations", hint="choose a design with mapped layers"
        )
    for place, component in enumerate(shown["components"]):
        here = [(layer, answer) for layer, answer in found if answer["bound"] == place]
        if here:
            figure.add_scatter(
                x=[answer["intensity"] for _, answer in here],
                y=[answer["rate"] for _, answer in here],
                text=[_plain(layer["name"]) for layer, _ in here],
                mode="markers",
                name=f"set by {component['name']}",
                marker={
                    "size": 11,
                    "color": COLOURS[component["kind"]],
                    "symbol": "circle" if component["kind"] == COMPUTE else "square",
                    "line": {"width": 1, "color": "#333"},
                },
                hovertemplate="%{text}<br>%{y:.3g} computations per cycle<br>%{x:.3g} per word<extra></extra>",
            )
    intensities = [answer["intensity"] for _, answer in found]
    ridge = roof["lanes"] / roof["bandwidth"] if roof["lanes"] and roof["bandwidth"] else max(intensities)
    low, high = min(*intensities, ridge) / 2, max(*intensities, ridge) * 2
    if roof["lanes"] or roof["bandwidth"]:
        along = [low, ridge, high]
        lanes, words = roof["lanes"] or math.inf, roof["bandwidth"] or math.inf
        heights = [min(lanes, words * x) for x in along]
        figure.add_scatter(x=along, y=heights, mode="lines", name="roofs", line={"color": "#333", "width": 2})
    figure.update_xaxes(type="log", dtick=1, title_text=f"computations per word of {roof['level']}")
    figure.update_yaxes(type="log", dtick=1, title_text="computations per cycle")
    return _styled(figure, f"{title}: roofline of {shown['name']}")


_KINDS: Final[dict[str, Callable[[Any, Any, int, str], Any]]] = {
    "energy": _energy,
    "cycles": _cycles,
    "edp": _edp,
    "layers": _layers,
    "roofline": _roofline,
}


def _answers(page: Any, case: Any, design: int) -> list[tuple[Any, Any]]:
    """Layers with their answers, where there is one with finite numbers."""
    numbers = [(layer, layer["answers"][design]) for layer in case["layers"]]
    found = [(layer, page["answers"][number]) for layer, number in numbers if number is not None]
    return [
        (layer, answer) for layer, answer in found if isinstance(answer["cycles"], int | float) and answer["cycles"]
    ]


def _named(name: str, known: Mapping[str, T], what: str) -> T:
    if name not in known:
        raise SpecError(f"there is no {what} '{name}'", hint=nearest(name, known))
    return known[name]


def _panels(titles: Sequence[str]) -> Any:
    try:
        from plotly.subplots import make_subplots
    except ImportError:
        raise MissingExtraError("plotly", "report", "plotting") from None
    return make_subplots(rows=1, cols=len(titles), subplot_titles=titles if any(titles) else None)


def _bar(
    figure: Any,
    names: Sequence[str],
    values: Sequence[float],
    label: str,
    colour: str,
    column: int,
    unit: str = "J",
    scale: float = 1e-12,
) -> None:
    """A part of horizontal stacked bars; values times `scale` are in the unit."""
    figure.add_bar(
        y=list(names),
        x=[value * scale for value in values],
        name=label,
        marker_color=colour,
        orientation="h",
        hovertemplate="%{y}: %{x:.3s}" + unit + "<extra>" + _plain(label) + "</extra>",
        row=1,
        col=column,
    )


def _plain(text: str) -> str:
    """Text where plotly would take tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _styled(figure: Any, title: str) -> Any:
    figure.update_layout(
        title=_plain(title),
        barmode="stack",
        template="plotly_white",
        font={"family": "system-ui, Helvetica Neue, Arial, sans-serif", "size": 13},
        legend={"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0, "traceorder": "normal"},
        margin={"l": 20, "r": 20, "t": 60, "b": 20},
        bargap=0.3,
    )
    return figure
