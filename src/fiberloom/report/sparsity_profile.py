"""A sparsity profile as a table, a heat map of channels, and plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import ConsoleRenderable, Group
from rich.table import Table
from rich.text import Text

from fiberloom.workload.profile import SparsityProfile, TensorProfile

_SHADES: Final = " ·░▒▓█"
"""From no non-zero to all, also readable without colour."""

_HUES: Final = ("blue", "blue", "cyan", "green", "yellow", "red")


def profile_report(profile: SparsityProfile) -> Iterator[ConsoleRenderable]:
    """Table, heat map and notes; tensors that are dense are counted, not listed."""
    listed = {name: t for name, t in profile.tensors.items() if t.model != "dense"}
    dense = len(profile.tensors) - len(listed)
    if listed:
        yield _table(profile, listed)
        yield heat_map(listed)
    notes = [f"{dense} of {len(profile.tensors)} tensors have no zeros and are not listed"] if dense else []
    for note in (*notes, *profile.notes):
        yield Text(f"· {note}", style="dim")


def _table(profile: SparsityProfile, listed: Mapping[str, TensorProfile]) -> Table:
    table = Table(title=f"Sparsity of {profile.network}", title_justify="left", title_style="bold", box=None)
    table.add_column("tensor", overflow="fold")
    table.add_column("shape", no_wrap=True)
    for heading in ("non-zero", "± samples", "empty ch."):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("model")
    table.add_column("misfit", justify="right", no_wrap=True)
    for name, t in listed.items():
        misfit = Text("" if t.misfit is None else _percent(t.misfit), style="yellow" if (t.misfit or 0) > 0.05 else "")
        table.add_row(
            name,
            "×".join(map(str, t.shape or ())),
            "" if t.nonzero is None else _percent(t.nonzero),
            "" if t.spread is None else _percent(t.spread),
            "" if not t.empty_channels else str(t.empty_channels),
            t.model + (f" ({t.note})" if t.note else ""),
            misfit,
        )
    return table


def heat_map(listed: Mapping[str, TensorProfile]) -> Group:
    """One row per tensor, one character per bin of channels."""
    width = min(44, max(map(len, listed), default=0))
    rows: list[Text] = [Text("\nNon-zeros by channel", style="bold")]
    for name, t in listed.items():
        if not t.channels:
            continue
        shown = name if len(name) <= width else "…" + name[1 - width :]
        row = Text(f"{shown:>{width}} ")
        for share in t.channels:
            step = 0 if share == 0 else min(len(_SHADES) - 1, 1 + int(share * (len(_SHADES) - 1)))
            row.append(_SHADES[step] * 2, style=_HUES[step])
        rows.append(row)
    scale = Text(" " * (width + 1))
    for shade, hue, text in zip(_SHADES, _HUES, ("0 %", "–20 %", "–40 %", "–60 %", "–80 %", "–100 %"), strict=True):
        scale.append(f"[{shade * 2}]", style=hue)
        scale.append(f" {text}  ")
    return Group(*rows, scale)


def _percent(share: float) -> str:
    return f"{share:.1%}"


def profile_dict(profile: SparsityProfile) -> dict[str, Any]:
    """Plain data for ``--json``."""
    fields = ("density", "role", "nonzero", "spread", "samples", "model", "misfit", "empty_channels", "note")
    return {
        "version": 1,
        "network": profile.network,
        "notes": list(profile.notes),
        "tensors": {
            name: {f: getattr(t, f) for f in fields}
            | {
                "shape": None if t.shape is None else list(t.shape),
                "channels": list(t.channels),
                "tiles": [
                    {"tile": list(c.tile), "empty": c.empty, "predicted_empty": c.predicted_empty, "misfit": c.misfit}
                    for c in t.tiles
                ],
            }
            for name, t in profile.tensors.items()
        },
    }


def heat_map_html(profile: SparsityProfile) -> str:
    """Table and heat map as one HTML file that needs nothing else."""
    import io

    from rich.console import Console

    console = Console(record=True, width=140, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for part in profile_report(profile):
        console.print(part)
    return console.export_html(inline_styles=True)
