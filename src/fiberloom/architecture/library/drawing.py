"""A design as architects draw it: the hierarchy from outermost memory to compute, with sizes and sparse features."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from fiberloom.architecture.levels import Architecture, Component, ComponentClass, StorageLevel
from fiberloom.architecture.library.design import DesignInfo, read_design
from fiberloom.architecture.sparse import ActionOptimization, SafKind, TensorFormat

WIDTH = 100
_VERBS = {
    SafKind.GATING: "gates",
    SafKind.SKIPPING: "skips",
    SafKind.SPATIAL_SKIPPING: "skips in space",
    SafKind.POSITION_SKIPPING: "packs lanes with non-zeros of",
}


def draw(design: str | DesignInfo, *, width: int = WIDTH) -> str:
    """Text of at most `width` columns: title, source, hierarchy with fan-outs, formats, gating and skipping.

    Raises:
        SpecError: for an unknown design.
    """
    info = read_design(design) if isinstance(design, str) else design
    operands = ", ".join(f"{role} {kind}" for role, kind in {**info.operands, info.output: "output"}.items())
    lines = [f"{info.title}  ({info.venue} {info.year})"]
    lines += textwrap.wrap(info.paper, width)
    lines += textwrap.wrap(f"{info.lanes:,} lanes; runs {' and '.join(info.computes)}; {operands}", width)
    return "\n".join([*lines, "", *hierarchy(info.architecture, width=width)])


@dataclass(frozen=True)
class DrawnPart:
    """A level or the compute in words.

    Attributes:
        count: of instances, with their mesh; empty for one.
        size: what it is built of and how much it holds.
        details: what it keeps, its bandwidth, formats and sparse features.
        fan_out: instances of the next part below each of its own, along x and y.
    """

    name: str
    component: ComponentClass
    count: str
    size: str
    details: tuple[str, ...]
    fan_out: tuple[int, int]


def drawn_parts(architecture: Architecture) -> list[DrawnPart]:
    """Levels from the outermost on, and the compute."""
    parts = [
        DrawnPart(
            level.name, level.component, _count(level), _size(level), tuple(_details(level)),
            architecture.fanout(level.name),
        )
        for level in architecture.levels
    ]  # fmt: skip
    compute = architecture.compute
    features = tuple(
        name for name, on in (("gates on zeros", compute.gating), ("skips missing operands", compute.skipping)) if on
    )
    size = f"{compute.word_bits}-bit MAC"
    return [*parts, DrawnPart(compute.name, compute.component, _count(compute), size, features, (1, 1))]


def hierarchy(architecture: Architecture, *, width: int = WIDTH) -> list[str]:
    """Lines of the tree of levels."""
    lines: list[str] = []
    *levels, compute = drawn_parts(architecture)
    for depth, level in enumerate(levels):
        indent = "   " * depth
        joint = "" if depth == 0 else "└─ "
        lines.append(f"{indent[:-3] if depth else ''}{joint}{level.name}{level.count}  {level.size}".rstrip())
        below = f"{indent}│  "
        for text in level.details:
            wrapped = textwrap.wrap(text, max(20, width - len(below)), subsequent_indent="  ")
            lines += [f"{below}{line}" for line in wrapped]
        fan_x, fan_y = level.fan_out
        if fan_x * fan_y > 1:
            lines.append(f"{indent}╪═ fan-out {fan_x} x {fan_y}")
    indent = "   " * (len(levels) - 1)
    text = f"{indent}└─ {compute.name}{compute.count}  {compute.size}"
    return [*lines, ", ".join([text, *compute.details])]


def _count(component: Component) -> str:
    x, y = component.mesh
    if component.instances == 1:
        return ""
    return f" ×{component.instances:,} ({x} x {y})" if y > 1 and x > 1 else f" ×{component.instances:,}"


def _size(level: StorageLevel) -> str:
    if level.component is ComponentClass.DUMMY:
        return "wires"
    words = level.capacity_words
    rows = f", {level.words_per_access} words per access" if level.words_per_access > 1 else ""
    if words is None:
        return f"{level.component.value.upper()}, unbounded, {level.word_bits}-bit words{rows}"
    size = _bytes(words * level.word_bits / 8)
    kind = {"sram": "SRAM", "regfile": "registers"}.get(level.component.value, level.component.value.upper())
    return f"{kind}, {size} ({words:,} × {level.word_bits} bit){rows}"


def _bytes(count: float) -> str:
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count:.4g} B"


def _details(level: StorageLevel) -> list[str]:
    details = []
    if level.keep is None or level.keep:
        details.append("keeps " + (", ".join(level.keep) if level.keep is not None else "all tensors"))
    bandwidth = [
        f"{kind} {value:g}"
        for kind, value in (
            ("read", level.read_bandwidth),
            ("write", level.write_bandwidth),
            ("shared", level.shared_bandwidth),
        )
        if value is not None
    ]
    if bandwidth:
        details.append(f"bandwidth in words/cycle: {', '.join(bandwidth)}")
    if level.formats:
        details.append("formats: " + "; ".join(f"{t} {format_name(f)}" for t, f in level.formats.items()))
    details += [_feature(entry) for entry in level.optimizations]
    return details


def format_name(layout: TensorFormat) -> str:
    """Ranks, outermost first, runs of one format written once, with bits where a rank states them."""
    parts: list[str] = []
    for rank in layout.ranks:
        bits = f"({rank.metadata_word_bits} bit)" if rank.metadata_word_bits else ""
        part = f"{rank.format.value}{bits}"
        if not parts or parts[-1] != part:
            parts.append(part)
    return "-".join(parts)


def _feature(entry: ActionOptimization) -> str:
    options = [f"{o.follower} ← {', '.join(o.leaders)}" if o.leaders else o.follower for o in entry.options]
    return f"{_VERBS[entry.kind]} {' or '.join(options)}"
