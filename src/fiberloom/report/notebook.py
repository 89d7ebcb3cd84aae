"""The view of an evaluation in a notebook: the tables of the terminal as one piece of HTML."""

from __future__ import annotations

import io
from typing import Final

from rich.console import Console

from fiberloom.model.evaluation import Evaluation
from fiberloom.report.tables import evaluation_report

_FORMAT: Final = (
    '<pre class="fiberloom" style="line-height:1.25;overflow-x:auto;font-family:Menlo,Consolas,'
    "'DejaVu Sans Mono',monospace\">{code}</pre>"
)


def evaluation_html(evaluation: Evaluation, *, width: int = 110) -> str:
    """Self-contained HTML: no scripts, no style sheets, no fonts from elsewhere.

    Args:
        width: characters per line.
    """
    console = Console(record=True, width=width, file=io.StringIO(), highlight=False, force_jupyter=False)
    for part in evaluation_report(evaluation):
        console.print(part)
    return console.export_html(inline_styles=True, code_format=_FORMAT)
