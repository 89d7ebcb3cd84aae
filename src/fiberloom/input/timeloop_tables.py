"""Timeloop's energy and area tables (ERT, ART) → energy per action in pJ and area in um² by component."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeVar

from fiberloom.input.field import Field

_T = TypeVar("_T")
_RANGE = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True)
class ComponentTables:
    """Energy per action and area of components, by their full path without ranges (``system.PE.buffer``)."""

    energy_pj: dict[str, dict[str, float]] = field(default_factory=dict)
    area_um2: dict[str, float] = field(default_factory=dict)

    def energy_of(self, path: str) -> dict[str, float] | None:
        """Energies of the component at `path`, else of the last one of that name; None without a table."""
        return _find(self.energy_pj, path)

    def area_of(self, path: str) -> float | None:
        """Area of the component at `path`, else of the last one of that name; None without a table."""
        return _find(self.area_um2, path)


def _find(table: dict[str, _T], path: str) -> _T | None:
    if path in table:
        return table[path]
    name = path.rpartition(".")[2]
    found: _T | None = None
    for key, value in table.items():
        if key.rpartition(".")[2] == name:
            found = value
    return found


def read_tables(ert: Field | None, art: Field | None) -> ComponentTables:
    """Both tables; of an action's argument variants the dearest counts, as in Timeloop.

    Raises:
        SpecError: with the place of what is wrong.
    """
    energy_pj: dict[str, dict[str, float]] = {}
    area_um2: dict[str, float] = {}
    for table in _tables(ert, "ERT") if ert is not None else []:
        fields = table.mapping()
        if "name" not in fields or "actions" not in fields:
            raise table.error(
                "an energy table needs a name and actions",
                "write {name: system.buffer, actions: [{name: read, energy: 1.5}]}",
            )
        name = _RANGE.sub("", fields["name"].text())
        energies = energy_pj.setdefault(name, {})
        for item in fields["actions"].items():
            action = item.mapping()
            if "name" not in action or "energy" not in action:
                raise item.error("an action needs a name and an energy", "write {name: read, energy: 1.5}")
            key = action["name"].text()
            energies[key] = max(energies.get(key, 0.0), float(action["energy"].number(minimum=0)))
        if name.rpartition(".")[2].lower() == "wire" and any(energies.values()):
            raise table.unsupported(
                "wire energy is not supported", "remove the wire's table; networks cost no energy here"
            )
    for table in _tables(art, "ART") if art is not None else []:
        fields = table.mapping()
        if "name" not in fields or "area" not in fields:
            raise table.error("an area table needs a name and an area", "write {name: system.buffer, area: 120.5}")
        area_um2[_RANGE.sub("", fields["name"].text())] = float(fields["area"].number(minimum=0))
    return ComponentTables(energy_pj, area_um2)


def _tables(root: Field, what: str) -> list[Field]:
    fields = root.mapping()
    version = str(fields["version"].value) if "version" in fields else "0.4"
    if version not in ("0.3", "0.4"):
        raise fields["version"].error(f"{what} version {version} is not known", "known: 0.3, 0.4")
    if "tables" not in fields:
        raise root.error(f"the {what} has no 'tables'", "add 'tables:', a list of components")
    return fields["tables"].items()
