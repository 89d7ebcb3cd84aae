"""What a file of the library says: a design's paper, parameters with their sources, architecture and dataflow."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.library.menu import Menu, read_menu
from fiberloom.architecture.library.roles import ROLES, SHORTHANDS, spelled_out
from fiberloom.errors import SpecError, nearest
from fiberloom.mapping.dataflow import Growth, LevelDataflow

if TYPE_CHECKING:
    from fiberloom.input.field import Field

FIELDS = (
    "title", "paper", "venue", "year", "summary", "computes", "operands", "output", "weights_density", "menu",
    "parameters", "dataflow",
)  # fmt: skip
NEEDED = ("computes", "operands", "output", "dataflow")
KINDS = ("weights", "activations", "left", "right")
_GROWTH = re.compile(r"([A-Z])(?:/(\w+))?(?:<=(\d+))?")


class Status(StrEnum):
    """How sure a parameter is."""

    PUBLISHED = "published"  # stands in the cited paper or in files released with it
    REPORTED = "reported"  # attributed to the paper by the literature; not checked against its text
    DERIVED = "derived"  # follows from published figures
    ASSUMPTION = "assumption"  # ours, where nothing is published


@dataclass(frozen=True)
class Parameter:
    """One parameter of a design and where it comes from."""

    what: str
    value: str
    status: Status
    source: str


@dataclass(frozen=True)
class TensorTreatment:
    """A tensor's place in the taxonomy of sparse acceleration features.

    Attributes:
        formats: level and ranks of each compressed representation, outermost level first.
        gating, skipping: entries that concern its accesses, ``W ← I at weights_spad``.
    """

    role: str
    kind: str
    formats: tuple[str, ...]
    gating: tuple[str, ...]
    skipping: tuple[str, ...]


@dataclass(frozen=True)
class DesignInfo:
    """A design of the library.

    Attributes:
        computes: ``gemm`` and ``conv``, as far as the design runs them directly.
        operands: the two operand roles, in operand order, and what they are (``weights``, ``activations``; ``left``,
            ``right`` where the design does not care).
        output: the output role.
        weights_density: density of the first operand that suits the design (a pattern such as ``2:4``); None: any.
        architecture: with the design's role names for tensors and variables.
        dataflow: with role names.
        treatments: one per tensor.
        menu: patterns, formats and terms that the hardware runs; None where the file does not say.
        settings: values of the file's `variables`, which `with_settings` changes.
        root: the file that it was read from.
    """

    name: str
    title: str
    paper: str
    venue: str
    year: int
    summary: str
    computes: tuple[str, ...]
    operands: Mapping[str, str]
    output: str
    weights_density: str | None
    parameters: tuple[Parameter, ...]
    dataflow: tuple[LevelDataflow, ...]
    architecture: Architecture
    treatments: tuple[TensorTreatment, ...]
    menu: Menu | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    root: Field | None = field(default=None, compare=False, repr=False)
    _variants: dict[Any, DesignInfo] = field(default_factory=dict, compare=False, repr=False)

    def with_settings(self, settings: Mapping[str, float]) -> DesignInfo:
        """The design with other values for its file's `variables`.

        Raises:
            SpecError: for a variable that its file does not have.
        """
        if not settings or self.root is None:
            return self
        key = tuple(sorted(settings.items()))
        if key not in self._variants:
            self._variants[key] = self._with(settings, self.root)
        return self._variants[key]

    def _with(self, settings: Mapping[str, float], root: Field) -> DesignInfo:
        source, sections = root.source, root.value
        for variable in settings:
            if variable not in self.settings:
                raise SpecError(
                    f"design '{self.name}' has no setting '{variable}'", hint=nearest(variable, self.settings)
                )
        variables = {**(sections.get("variables") or {}), **settings}
        changed = dataclasses.replace(source, data={**sections, "variables": variables})
        return parse_design(self.name, type(root)(changed.data, changed))

    @property
    def lanes(self) -> int:
        """Multipliers of the whole chip."""
        return self.architecture.compute.instances


@lru_cache(maxsize=1)
def design_names() -> tuple[str, ...]:
    """Names of all designs, sorted."""
    folder = resources.files(__package__)
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def read_design(name: str, settings: Mapping[str, float] | None = None) -> DesignInfo:
    """Read a design of the library.

    Args:
        settings: other values for the `variables` of the design's file.

    Raises:
        SpecError: if there is no design, or no variable of that design, of the name.
    """
    return _read(name, tuple(sorted((settings or {}).items())))


@lru_cache(maxsize=256)
def _read(name: str, settings: tuple[tuple[str, float], ...]) -> DesignInfo:
    known = name.strip().lower().replace("_", "-").replace(" ", "-")
    if known not in design_names():
        raise SpecError(f"no design '{name}' in the library", hint=nearest(known, design_names()))
    # The readers of files stand above this package; they are needed only when a design is asked for.
    parse_yaml = import_module("fiberloom.input.yaml_source").parse_yaml
    field_of = import_module("fiberloom.input.field").Field
    text = resources.files(__package__).joinpath(f"{known}.yaml").read_text(encoding="utf-8")
    (source,) = parse_yaml(text, f"{known}.yaml")
    return parse_design(known, field_of(source.data, source)).with_settings(dict(settings))


def parse_design(name: str, root: Field) -> DesignInfo:
    """A design from the sections of a file: ``design:`` and ``architecture:``.

    Raises:
        SpecError: with the place of what is missing or wrong.
    """
    read_native = import_module("fiberloom.input.native").read_native
    sections = root.mapping()
    for needed in ("design", "architecture"):
        if needed not in sections:
            raise root.error(f"'{needed}' is missing", f"add '{needed}:'")
    design = sections.pop("design")
    _, architecture, _ = read_native(sections)
    made = _design(name, design, architecture)
    return dataclasses.replace(made, settings=root.value.get("variables") or {}, root=root)


def _design(name: str, section: Field, architecture: Architecture) -> DesignInfo:
    fields = section.mapping()
    section.refuse_unknown(fields, FIELDS)
    for needed in NEEDED:
        if needed not in fields:
            raise section.error(f"'{needed}' is missing", f"add '{needed}:'")
    operands = {role: kind.one_of(KINDS, "operand") for role, kind in fields["operands"].mapping().items()}
    return DesignInfo(
        name=name,
        title=fields["title"].text() if "title" in fields else "",
        paper=fields["paper"].text() if "paper" in fields else "",
        venue=fields["venue"].text() if "venue" in fields else "",
        year=fields["year"].integer() if "year" in fields else 0,
        summary=fields["summary"].text() if "summary" in fields else "",
        computes=tuple(fields["computes"].names()),
        operands=operands,
        output=fields["output"].text(),
        weights_density=fields["weights_density"].text() if "weights_density" in fields else None,
        parameters=tuple(_parameter(e) for e in fields["parameters"].items()) if "parameters" in fields else (),
        dataflow=tuple(_level_dataflow(entry) for entry in fields["dataflow"].items()),
        architecture=architecture,
        menu=read_menu(fields["menu"]) if "menu" in fields else None,
        treatments=_treatments(architecture, {**operands, fields["output"].text(): "output"}),
    )


def _parameter(entry: Field) -> Parameter:
    fields = entry.mapping()
    entry.refuse_unknown(fields, ("what", "value", "status", "source"))
    texts = {key: fields[key].text() for key in ("what", "value", "source")}
    return Parameter(**texts, status=Status(fields["status"].one_of([s.value for s in Status], "status")))


def _level_dataflow(entry: Field) -> LevelDataflow:
    fields = entry.mapping()
    entry.refuse_unknown(fields, ("level", "x", "y", "tile", "order"))
    grown: dict[str, Any] = {key: _growths(fields[key]) for key in ("x", "y", "tile") if key in fields}
    order = tuple(r for role in fields["order"].names() for r in spelled_out(role)) if "order" in fields else ()
    return LevelDataflow(level=fields["level"].text(), order=order, **grown)


def _growths(field: Field) -> tuple[Growth, ...]:
    """``M K/A N<=4``: grow M, then K over the non-zeros of A, then N up to 4. Shorthands grow their last role first."""
    growths: list[Growth] = []
    for word in field.names():
        match = _GROWTH.fullmatch(word)
        if match is None or match[1] not in (*ROLES, *SHORTHANDS):
            raise field.error(f"'{word}' is not a loop to grow", "write M, M<=16 or K/A")
        limit = int(match[3]) if match[3] else None
        growths.append(Growth(match[1], limit, match[2]))
    return tuple(growths)


def _treatments(architecture: Architecture, kinds: Mapping[str, str]) -> tuple[TensorTreatment, ...]:
    formats: dict[str, list[str]] = {role: [] for role in kinds}
    gating: dict[str, list[str]] = {role: [] for role in kinds}
    skipping: dict[str, list[str]] = {role: [] for role in kinds}
    for level in architecture.levels:
        for role, layout in level.formats.items():
            ranks = "-".join(dict.fromkeys(rank.format.value for rank in layout.ranks))
            formats[role].append(f"{ranks} at {level.name}")
        for entry in level.optimizations:
            for option in entry.options:
                words = {"spatial-skipping": "in space", "position-skipping": "by position"}.get(entry.kind.value, "")
                arrow = f"{option.follower} ← {', '.join(option.leaders)}" if option.leaders else option.follower
                text = f"{arrow} {words + ' ' if words else ''}at {level.name}"
                (gating if entry.kind.value == "gating" else skipping)[option.follower].append(text)
    return tuple(
        TensorTreatment(role, kind, tuple(formats[role]), tuple(gating[role]), tuple(skipping[role]))
        for role, kind in kinds.items()
    )
