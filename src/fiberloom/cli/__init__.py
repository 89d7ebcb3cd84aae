"""The command line: ``fiberloom evaluate``, ``simulate``, ``import``, ``designs``, ``validate``, ``schema``, ``demo``."""

from fiberloom.cli.program import main

__all__ = ["main"]
