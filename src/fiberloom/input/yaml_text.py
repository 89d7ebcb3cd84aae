"""YAML as people write it: blocks, with short things on one line."""

from __future__ import annotations

from typing import Any

import yaml


class Inline(dict[str, Any]):
    """A mapping that is written on one line."""


class InlineList(list[Any]):
    """A list that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Block style; short things inline; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_inline(dumper: yaml.SafeDumper, data: Inline) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)


def _represent_inline_list(dumper: yaml.SafeDumper, data: InlineList) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


def _represent_float(dumper: yaml.SafeDumper, data: float) -> yaml.Node:
    """``repr``, which reads back exactly; with a point, so that YAML 1.1 readers see a number too."""
    text = repr(data)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(Inline, _represent_inline)
_Dumper.add_representer(InlineList, _represent_inline_list)
_Dumper.add_representer(float, _represent_float)


def yaml_text(document: Any) -> str:
    """The document as YAML, in the order of its keys, lines up to 118 characters where it can be broken."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=118, allow_unicode=True)
