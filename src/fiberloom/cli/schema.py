"""``fiberloom schema``: the JSON Schema of fiberloom's YAML, for editors."""

from __future__ import annotations

from fiberloom.cli.output import print_json


def schema() -> None:
    """Print the JSON Schema of fiberloom's YAML, for editors that complete and check."""
    from fiberloom.input.native_schema import json_schema

    print_json(json_schema())
