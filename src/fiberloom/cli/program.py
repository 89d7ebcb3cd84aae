"""Run one command and turn whatever happens into an exit code; no traceback reaches a user.

Exit codes are documented in docs/cli.md. Commands live in one module each and import what they need when they run, so
that ``--help`` and small evaluations start fast.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from fiberloom.cli.algorithms import algorithms
from fiberloom.cli.codesign import codesign
from fiberloom.cli.compress import compress
from fiberloom.cli.convert import import_files
from fiberloom.cli.cost_models import cost_models
from fiberloom.cli.demo import demo
from fiberloom.cli.designs import designs
from fiberloom.cli.evaluate import evaluate
from fiberloom.cli.explore import explore
from fiberloom.cli.failure import EXIT_BROKEN_PIPE, EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_USAGE, report
from fiberloom.cli.formats import formats
from fiberloom.cli.map import map_files
from fiberloom.cli.mappers import mappers
from fiberloom.cli.mapspace import mapspace
from fiberloom.cli.models import models
from fiberloom.cli.network import network
from fiberloom.cli.profile import profile
from fiberloom.cli.recommend import recommend
from fiberloom.cli.schema import schema
from fiberloom.cli.simulate import simulate
from fiberloom.cli.validate import validate
from fiberloom.errors import FiberloomError

app = typer.Typer(
    name="fiberloom",
    help="Model sparse tensor accelerators: cycles, energy and area of a mapping, and the account behind them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("evaluate")(evaluate)
app.command("map")(map_files)
app.add_typer(mappers, name="mappers")
app.command("mapspace")(mapspace)
app.command("network")(network)
app.command("profile")(profile)
app.add_typer(compress, name="compress")
app.command("codesign")(codesign)
app.add_typer(formats, name="formats")
app.add_typer(explore, name="explore")
app.command("recommend")(recommend)
app.command("simulate")(simulate)
app.command("import")(import_files)
app.add_typer(designs, name="designs")
app.command("models")(models)
app.command("validate")(validate)
app.command("schema")(schema)
app.command("demo")(demo)
app.command("cost-models")(cost_models)
app.command("algorithms")(algorithms)


def _print_version(wanted: bool) -> None:
    if wanted:
        from fiberloom import __version__

        print(f"fiberloom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an internal error.")] = False,
) -> None:
    """Model sparse tensor accelerators: cycles, energy and area of a mapping, and the account behind them."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line `arguments` and return its exit code.

    Args:
        arguments: without the program's name.
    """
    # --debug and --json are looked for here, because errors of the parser itself have to obey them.
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end]
    as_json = "--json" in words[:end]
    words = [word for i, word in enumerate(words) if i >= end or word != "--debug"]
    command = typer.main.get_command(app)
    try:
        result = command.main(args=words, prog_name="fiberloom", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output left; writing what is still buffered must not raise a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except FiberloomError as error:
        return report(error, type(error).__name__, error.exit_code, as_json=as_json)
    except Exception as error:
        if hasattr(error, "format_message"):  # a ClickException, wherever this version of typer keeps the class
            return _report_usage(error, as_json=as_json)
        if debug:
            raise
        fault = FiberloomError(
            f"internal error: {type(error).__name__}: {str(error)[:400]}",
            hint="this is a fault of fiberloom, not of your input: please report it with what the same command "
            "prints with --debug",
        )
        return report(fault, "internal", EXIT_INTERNAL, as_json=as_json)


def _report_usage(error: Any, *, as_json: bool) -> int:
    """A command line that the parser refused; without any command, the help."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
        return EXIT_USAGE
    hint = f"see '{context.command_path} --help'" if context is not None else "see 'fiberloom --help'"
    return report(FiberloomError(error.format_message(), hint=hint), "usage", EXIT_USAGE, as_json=as_json)


def main() -> NoReturn:
    """Entry point of the program ``fiberloom``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that can't show a character shows '?'
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))
