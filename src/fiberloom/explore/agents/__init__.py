"""Agents that search design spaces, one published way per file."""

from typing import Final

AGENTS: Final = {
    "random": "random:Random",
    "grid": "grid:Grid",
}
"""Module and class by name."""
