"""A sparsity profile as a table, a heat map of channels, and plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import ConsoleRenderable, Group
from rich.table import Table
from rich.text import Text

from fiberloom.workload.profile import LARGEST_MISFIT, SparsityProfile, TensorProfile

_SHADES: Final = " ·░▒▓█"
"""From no non-zero to all, also readable without colour."""

_DENSE: Final = 0.9995
"""Shares that would be printed as 100.0 %."""

_HUES: Final = ("blue", "blue", "cyan", "green", "yellow", "red")


def profile_report(profile: SparsityProfile) -> Iterator[ConsoleRenderable]:
    """Table, heat map and notes; tensors with hardly a zero are counted, not listed."""
    listed = {name: t for name, t in profile.tensors.items() if t.nonzero is None or t.nonzero < _DENSE}
    dense = len(profile.tensors) - len(listed)
    notes = []
    if listed:
        prefix = _common(list(listed))
        if prefix:
            notes.append(f"names of tensors begin with {prefix}")
        shown = {name.removeprefix(prefix): t for name, t in listed.items()}
        yield _table(profile, shown)
        if any(t.channels for t in shown.values()):
            yield heat_map(shown)
        notes += [f"{name}: {t.note}" for name, t in shown.items() if t.note]
    if dense:
        notes.append(f"{dense} of {len(profile.tensors)} tensors have no zeros, or hardly any, and are not listed")
    for note in (*notes, *profile.notes):
        yield Text(f"· {note}", style="dim")


def _common(names: list[str]) -> str:
    """What all dotted names begin with."""
    parts = [name.split(".")[:-1] for name in names]
    shared = 0
    while len(names) > 1 and all(len(p) > shared and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    return "".join(f"{part}." for part in parts[0][:shared]) if shared else ""


def _table(profile: SparsityProfile, listed: Mapping[str, TensorProfile]) -> Table:
    columns: dict[str, list[str | Text]] = {
        "shape": ["×".join(map(str, t.shape or ())) for t in listed.values()],
        "non-zero": ["" if t.nonzero is None else _percent(t.nonzero) for t in listed.values()],
        "± samples": ["" if t.spread is None else _percent(t.spread) for t in listed.values()],
        "empty channels": [str(t.empty_channels or "") for t in listed.values()],
        "model": [t.model or ("" if t.density is None else str(t.density)) for t in listed.values()],
        "misfit": [
            "" if t.misfit is None else Text(_percent(t.misfit), style="yellow" if t.misfit > LARGEST_MISFIT else "")
            for t in listed.values()
        ],
    }
    table = Table(title=f"Sparsity of {profile.network}", title_justify="left", title_style="bold", box=None)
    table.add_column("tensor", overflow="fold")
    kept = {heading: cells for heading, cells in columns.items() if any(str(c) for c in cells)}
    for heading in kept:
        left = heading in ("shape", "model")
        table.add_column(
            heading, justify="left" if left else "right", no_wrap=heading not in ("model", "empty channels")
        )
    for i, name in enumerate(listed):
        table.add_row(name, *(cells[i] for cells in kept.values()))
    return table


def heat_map(listed: Mapping[str, TensorProfile]) -> Group:
    """One row per tensor, two characters per bin of channels."""
    width = min(34, max(map(len, listed), default=0))
    rows: list[Text] = [Text("\nNon-zeros by channel", style="bold")]
    for name, t in listed.items():
        if not t.channels:
            continue
        shown = name if len(name) <= width else "…" + name[1 - width :]
        row = Text(f"{shown:>{width}} ", no_wrap=True)
        for share in t.channels:
            step = 0 if share == 0 else min(len(_SHADES) - 1, 1 + int(share * (len(_SHADES) - 1)))
            row.append(_SHADES[step] * 2, style=_HUES[step])
        rows.append(row)
    scale = Text("share of non-zeros up to: ")
    for shade, hue, most in zip(_SHADES, _HUES, (0, 20, 40, 60, 80, 100), strict=True):
        scale.append(f"[{shade * 2}]", style=hue)
        scale.append(f" {most} %  ")
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
