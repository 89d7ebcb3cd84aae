"""How good a proxy model is: per metric, and by region."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import ConsoleRenderable
from rich.text import Text

from fiberloom.explore.proxy import Proxy
from fiberloom.report.quantities import engineering, significant
from fiberloom.report.tables import bullet, heading, plain_table


def proxy_report(proxy: Proxy) -> Iterator[ConsoleRenderable]:
    """Errors on designs that were left out of training, and how much faster it is."""
    yield Text(f"trained on {proxy.trained_on} designs; errors are of others, left out of training")
    yield Text("")
    table = plain_table()
    table.add_column(" metric", no_wrap=True, style="bold")
    for column in ("RMSE", "RMSE of the mean", "R²", "rank correlation"):
        table.add_column(column, justify="right")
    for name, error in proxy.errors.items():
        table.add_row(
            f" {name}", _percent(error.rmse_percent), _percent(error.mean_percent), _number(error.r2),
            _number(error.rank_correlation),
        )  # fmt: skip
    yield table
    if any(error.regions for error in proxy.errors.values()):
        yield heading("By region", "designs in order of the metric, the lowest first")
        table = plain_table()
        table.add_column(" metric", no_wrap=True, style="bold")
        table.add_column("region", no_wrap=True)
        for column in ("from", "to", "designs", "RMSE", "mean error"):
            table.add_column(column, justify="right")
        for name, error in proxy.errors.items():
            for i, region in enumerate(error.regions):
                table.add_row(
                    f" {name}" if i == 0 else "", region.name, engineering(region.low, ""), engineering(region.high, ""),
                    str(region.rows), _percent(region.rmse_percent), f"{region.bias_percent:+.3g} %",
                    end_section=i == len(error.regions) - 1,
                )  # fmt: skip
        yield table
    each = engineering(proxy.proxy_seconds, "s")
    if proxy.speed_up is None or proxy.evaluation_seconds is None:
        yield bullet(f"A foretold design takes {each} in a batch of a thousand.", "dim")
    else:
        real = engineering(proxy.evaluation_seconds, "s")
        yield bullet(
            f"A foretold design takes {each} in a batch of a thousand, an evaluated one {real}: "
            f"{significant(proxy.speed_up)} times as long.",
            "dim",
        )
    for name, error in proxy.errors.items():
        if error.regions and error.rmse_percent >= error.mean_percent:
            yield bullet(f"{name}: no better than the mean of the designs it was trained on.", "yellow")


def proxy_dict(proxy: Proxy) -> dict[str, Any]:
    """Plain data of the same; what is not known is None."""
    return {
        "trained_on": proxy.trained_on,
        "parameters": list(proxy.parameters),
        "evaluation_seconds": proxy.evaluation_seconds,
        "proxy_seconds": proxy.proxy_seconds,
        "speed_up": proxy.speed_up,
        "metrics": {
            name: {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in asdict(e).items()
            }
            for name, e in proxy.errors.items()
        },
    }


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g} %"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
