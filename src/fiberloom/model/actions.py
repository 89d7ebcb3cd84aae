"""Which entry of an energy table pays for which action, by rule set (D3), and what serves when a table is silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fiberloom.architecture.levels import Component, ComponentClass, StorageLevel
from fiberloom.model.rules import EnergyNames

STORAGE_ACTIONS: Final = ("read", "fill", "update", "metadata_read", "metadata_fill", "metadata_update")
KINDS: Final = ("actual", "gated", "skipped")


def _new_names(action: str, kind: str) -> tuple[str, ...]:
    """Names of build 4: the action, else a write; skipped falls back to gated, gated to nothing."""
    prefix = "metadata_" if action.startswith("metadata_") else ""
    base = action.removeprefix("metadata_")
    bases = [base] if base == "read" else [base, "write"]
    if kind == "actual":
        return tuple(f"random_{prefix}{b}" for b in bases) + tuple(f"{prefix}{b}" for b in bases)
    kinds = [kind] if kind == "gated" else ["skipped", "gated"]
    return tuple(f"{k}_{prefix}{b}" for k in kinds for b in bases)


def _old_names(action: str, kind: str) -> tuple[str, ...]:
    """Names of the artifact's build and 3.0.3: gated and skipped fall back to idle, then to a full access."""
    match action, kind:
        case "read", "actual":
            return ("random_read", "read")
        case "read", "gated":
            return ("gated_read", "idle", "read")
        case "read", _:
            return ("skipped_read", "gated_read", "idle", "read")
        case "fill", "actual":
            return ("random_fill", "write")
        case "update", "actual":
            return ("random_update", "random_fill", "write")
        case (("fill" | "update"), "gated"):
            return (*_unique(f"gated_{action}", "gated_fill"), "gated_write", "idle", "write")
        case (("fill" | "update"), _):
            return (
                *_unique(f"skipped_{action}", "skipped_fill", f"gated_{action}", "gated_fill"),
                "gated_write",
                "idle",
                "write",
            )
        case "metadata_read", "actual":
            return ("random_metadata_read", "metadata_read", "metadata_idle", "idle")
        case "metadata_read", "gated":
            return ("gated_metadata_read", "metadata_idle", "metadata_read")
        case "metadata_read", _:
            return ("skipped_metadata_read", "metadata_idle", "metadata_read")
        case _, "actual":
            return (f"random_{action}", "random_metadata_write", "metadata_write", "metadata_idle", "idle")
        case _, "gated":
            return (f"gated_{action}", "gated_metadata_write", "metadata_idle", "metadata_write")
        case _:
            return (f"skipped_{action}", "skipped_metadata_write", "metadata_idle", "metadata_write")


def _unique(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def storage_energy(table: Mapping[str, float], action: str, kind: str, names: EnergyNames) -> float | None:
    """Energy in pJ of one vector access from a table; None when no name matches."""
    for name in _new_names(action, kind) if names is EnergyNames.NEW else _old_names(action, kind):
        if name in table:
            return float(table[name])
    return None


_PLAIN: Final = ("mac", "mult", "compute")


def compute_energy(table: Mapping[str, float], kind: str) -> float | None:
    """Energy in pJ of one operation from a table; gated falls back to the plain operation, skipped to gated first."""
    plain = ("mac_random", "mult_random", "random_compute", *_PLAIN)
    gated = ("mac_gated", "mult_gated", "compute_gated", "gated_compute")
    skipped = ("mac_skipped", "mult_skipped", "compute_skipped", "skipped_compute")
    order = {"actual": plain, "gated": (*gated, *plain), "skipped": (*skipped, *gated, *plain)}[kind]
    for name in order:
        if name in table:
            return float(table[name])
    return None


def reference_estimate(component: Component) -> float:
    """The reference tool's built-in estimate of one access or operation, in pJ, where no table says otherwise.

    Source: Timeloop's buffer and arithmetic models, as docs/model.md lists them (SRAM: a line through two sizes; DRAM:
    200 pJ per 16 bits; arithmetic: quadratic in the width).
    """
    if isinstance(component, StorageLevel):
        width = component.width_bits or component.word_bits * component.words_per_access * component.cluster_size
        if component.component is ComponentClass.DRAM or component.depth is None:
            return 200.0 * width / 16 / component.cluster_size
        kilobytes = component.depth * width / 8 / 1024
        return max(0.0, ((5 / 99.5) * (kilobytes - 0.5) + 1) * width / 16 / component.cluster_size)
    return (component.word_bits / 16) ** 2
