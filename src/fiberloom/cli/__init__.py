"""The command line: ``fiberloom evaluate``, ``simulate``, ``import``, ``designs``, ``validate``, ``schema``, …"""

from fiberloom.cli.program import main

__all__ = ["main"]
