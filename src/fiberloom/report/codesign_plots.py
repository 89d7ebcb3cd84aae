"""Quality against energy–delay product as a plotly figure, for notebooks and papers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.report.quantities import energy, ratio

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#7d8794", "#56b4e9", "#d55e00")
"""By design; told apart with any colour vision (Okabe, Ito, Color Universal Design, 2008)."""
SYMBOLS: Final = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")


def tradeoff_plot(result: Mapping[str, Any]) -> go.Figure:
    """Points by design, the front as steps, the dense model on each design hollow.

    Args:
        result: what `fiberloom.codesign.tradeoff.Tradeoff.to_dict` returns.

    Raises:
        MissingExtraError: without plotly.
        SpecError: if no point has a cost.
    """
    try:
        import plotly.graph_objects as go
    except ImportError:
        raise MissingExtraError("plotly", "report", "a plot of the trade-off") from None
    costed = [point for point in result["points"] if point.get("edp_j_s") is not None]
    if not costed:
        raise SpecError("no point has a cost to plot", hint="assess on a design that runs the representations")
    quality = result["quality"]
    figure = go.Figure()
    front = sorted((point for point in costed if point["on_front"]), key=lambda point: point["edp_j_s"])
    steps = {"x": [p["edp_j_s"] for p in front], "y": [p["quality"] for p in front]}
    figure.add_scatter(
        **steps, mode="lines", line={"shape": "hv", "color": "#66758a", "width": 1.5}, name="front", hoverinfo="skip"
    )
    for place, design in enumerate(result["designs"]):
        mine = [point for point in costed if point["design"] == design["name"]]
        look = {"color": COLOURS[place % len(COLOURS)], "symbol": SYMBOLS[place % len(SYMBOLS)]}
        figure.add_scatter(
            x=[point["edp_j_s"] for point in mine],
            y=[point["quality"] for point in mine],
            text=[escape(point["scheme"], quote=False) if point["on_front"] else "" for point in mine],
            customdata=[_said(point) for point in mine],
            hovertemplate="%{customdata}<extra></extra>",
            mode="markers+text",
            textposition="top right",
            marker={**look, "size": 11, "opacity": [1.0 if point["on_front"] else 0.4 for point in mine]},
            name=design["name"],
        )
        if design["dense"] is not None and quality["original"] is not None:
            figure.add_scatter(
                x=[design["dense"]["edp_j_s"]],
                y=[quality["original"]],
                customdata=[f"dense on {design['name']}"],
                hovertemplate="%{customdata}<extra></extra>",
                mode="markers",
                marker={"color": look["color"], "symbol": f"{look['symbol']}-open", "size": 12},
                showlegend=False,
            )
    better = "lower" if quality["lower_is_better"] else "higher"
    figure.update_xaxes(type="log", title_text="energy–delay product, J·s (lower is better)", tickformat="~s")
    figure.update_yaxes(title_text=f"{quality['name']} ({better} is better)")
    figure.update_layout(
        title=escape(result["model"]["name"], quote=False),
        template="plotly_white",
        legend={"orientation": "h", "y": -0.2},
    )
    return figure


def _said(point: Mapping[str, Any]) -> str:
    versus = point.get("versus_dense")
    parts = [
        f"<b>{escape(point['scheme'], quote=False)}</b> on {point['design']}",
        f"quality {point['quality']:.4g}",
        f"{point['bits_per_weight']:.3g} bits per weight",
        f"energy {energy(point['energy_pj'])}, {point['cycles']:,.0f} cycles",
        f"throughput ideal {ratio(point['throughput']['ideal'])}, menu {ratio(point['throughput']['menu'])}",
    ]
    return "<br>".join(parts + ([f"EDP {ratio(versus['edp'])} less than dense"] if versus else []))
