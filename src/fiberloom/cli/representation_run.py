"""From the options of ``compress`` and ``codesign`` to an assessment, and what is printed and saved of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from fiberloom.cli.failure import EXIT_INTERRUPTED
from fiberloom.cli.output import print_all, print_json
from fiberloom.cli.representation_options import Options
from fiberloom.cli.saving import refuse_unwritable, save
from fiberloom.errors import SpecError, nearest

if TYPE_CHECKING:
    from fiberloom.codesign.assessment import Assessment, NamedScheme
    from fiberloom.codesign.tradeoff import Tradeoff
    from fiberloom.representation import Representation

NO_DESIGN: Final = "none"


@dataclass(frozen=True)
class Request:
    """What ``compress`` is asked.

    Attributes:
        method: ``hss``, ``tasd``, ``sdq`` or ``quantize``.
        design: a name of the library, or ``none``.
        texts: the schemes, the one asked for first.
        beside: representations to compare them with.
        activations: how they are represented unless the options say.
        pruning, criterion, scales: of SDQ.
    """

    method: str
    model: str
    design: str
    texts: tuple[str, ...]
    beside: tuple[str, ...] = ()
    activations: str = "exact"
    pruning: str = "magnitude"
    criterion: str = "magnitude"
    scales: str = ""


def compressed(
    request: Request, options: Options, output: Path | None, save_terms: Path | None, *, overwrite: bool
) -> None:
    """Run ``fiberloom compress``.

    Raises:
        SpecError, MissingExtraError, FiberloomError: for input that makes no sense, and files that can't be written.
    """
    from fiberloom.cli.representation_saving import TensorSaving

    for path in (options.html, options.csv):
        refuse_unwritable(path)
    schemes = _schemes(request, options)
    designs = checked_designs([] if request.design == NO_DESIGN else [request.design])
    saving = TensorSaving(request.model, output, save_terms, overwrite=overwrite)
    if saving.wanted and len(request.texts) > 1:
        raise SpecError(f"{len(request.texts)} representations, and one file to save", hint="ask for one of them")
    assessment = prepared(request.model, options, request.activations)
    with shown() as tell, kept(assessment, designs, schemes, cached=not options.no_cache):
        found = assessment.run(designs, schemes, tell)
        if saving.wanted:
            saving.write(assessment, schemes[0])
    report(found, options, method=request.method)


def assessed(model: str, options: Options, designs: Sequence[str], schemes: Sequence[NamedScheme]) -> None:
    """Run ``fiberloom codesign``.

    Raises:
        SpecError, MissingExtraError, FiberloomError: for input that makes no sense, and files that can't be written.
    """
    for path in (options.html, options.csv):
        refuse_unwritable(path)
    schemes = [_with_tail(named, options.tail) for named in schemes]
    assessment = prepared(model, options, "exact")
    with shown() as tell, kept(assessment, designs, schemes, cached=not options.no_cache):
        found = assessment.run(designs, schemes, tell)
    report(found, options)


def listed(texts: Sequence[str]) -> list[str]:
    """What is repeated or listed with commas, commas inside brackets aside."""
    found = []
    for text in texts:
        depth, word = 0, ""
        for character in text + ",":
            depth += (character in "([{") - (character in ")]}")
            if character == "," and depth <= 0:
                found.append(word.strip())
                word = ""
            else:
                word += character
    return [word for word in found if word]


def _schemes(request: Request, options: Options) -> list[NamedScheme]:
    from fiberloom.codesign.assessment import read_scheme, read_sdq

    texts = list(dict.fromkeys(request.texts))
    if request.method == "sdq":
        made = [read_sdq(text, request.pruning, request.criterion, request.scales) for text in texts]
    else:
        made = [read_scheme(text) for text in texts]
    made += [read_scheme(text) for text in request.beside]
    return [_with_tail(named, options.tail) for named in made]


def _with_tail(named: NamedScheme, tail: str | None) -> NamedScheme:
    """The same with every pattern's tail policy; patterns without blocks have none."""
    if tail is None:
        return named
    from fiberloom.representation.patterns import Tail
    from fiberloom.representation.sdq import SDQ

    if tail not in list(Tail):
        raise SpecError(f"no tail is called '{tail}'", hint=nearest(tail, list(Tail)))

    def changed(pattern: Any) -> Any:
        return pattern.with_tail(Tail(tail)) if pattern is not None and pattern.span > 1 else pattern

    def of(representation: Representation) -> Representation:
        terms = tuple(replace(term, pattern=changed(term.pattern)) for term in representation.terms)
        return replace(representation, terms=terms, pruning=changed(representation.pruning))

    scheme = named.scheme
    if isinstance(scheme, SDQ):
        return replace(named, scheme=replace(scheme, representation=of(scheme.representation)))
    return replace(named, scheme=of(scheme))


def with_format(text: str, number_format: str | None) -> str:
    """Every term of `text` with a number format."""
    if number_format is None:
        return text
    return " + ".join(f"{term.strip()} {number_format}" for term in text.split("+"))


def plain_formats(text: str, scales: str) -> tuple[str, ...]:
    """The formats that `text` lists, with these scales; none for ``none``."""
    if text.strip().lower() in ("none", ""):
        return ()
    return tuple(f"{name.strip()}/{scales}" for name in text.split(","))


def hss_menu(design: str, degree: float | None) -> list[str]:
    """The hierarchical patterns of a design's menu; only those whose density is nearest to `degree`.

    Raises:
        SpecError: for a design without such, or a degree that is no density.
    """
    from fiberloom.representation import read_representation

    if degree is not None and not 0 < degree <= 1:
        raise SpecError(f"a degree of {degree:g}", hint="the density, above 0 and up to 1")
    (known,) = checked_designs([design]) or (None,)
    menu = _menu(known) if known is not None else ()
    found = [text for text in menu if "->" in text or "→" in text]
    if not found:
        raise SpecError(
            f"'{design}' has no hierarchical patterns" if known else "no design whose patterns could be taken",
            hint='name one with --pattern "C1(4:8)->C0(2:4)", or take --on highlight',
        )
    densities = {text: read_representation(text).terms[0].pattern.density for text in found}
    found.sort(key=lambda text: -densities[text])
    if degree is None:
        return found
    least = min(abs(densities[text] - degree) for text in found)
    return [text for text in found if abs(densities[text] - degree) <= least + 1e-9]


def _menu(design: str) -> Sequence[str]:
    from fiberloom.architecture.library import describe

    menu = describe(design).menu
    return menu.weights if menu is not None else ()


def checked_designs(names: Sequence[str]) -> list[str]:
    """Names of the library as they are.

    Raises:
        SpecError: for one that is not in it, with the nearest that states what it runs.
    """
    from fiberloom.architecture import library

    known = library.names()
    for name in names:
        if name not in known:
            fitting = [other for other in known if library.describe(other).menu is not None]
            raise SpecError(f"no design '{name}' in the library", hint=nearest(name, fitting))
        if library.describe(name).menu is None:
            fitting = [other for other in known if library.describe(other).menu is not None]
            raise SpecError(
                f"'{name}' does not say which patterns and number formats it runs",
                hint="these do: " + ", ".join(fitting),
            )
    return list(names)


def prepared(model: str, options: Options, activations: str) -> Assessment:
    """The model with its weights, quality function and calibration data, ready to be assessed.

    Raises:
        SpecError, MissingExtraError: for what can't be read.
    """
    from fiberloom.cli.network import _extents
    from fiberloom.cli.reading_progress import reading
    from fiberloom.codesign.assessment import Assessment
    from fiberloom.codesign.network_cost import Search
    from fiberloom.codesign.weights.calibration_files import read_calibration
    from fiberloom.codesign.weights.quality import read_quality
    from fiberloom.codesign.weights.weight_files import read_network_weights

    if options.cache is not None and options.no_cache:
        raise SpecError("--cache beside --no-cache", hint="give one of them")
    density = options.activations_density
    if density is not None and not 0 < density <= 1:
        raise SpecError(f"--activations-density {density:g}", hint="the share of non-zeros, above 0 and up to 1")
    if options.time is not None and not 0 < options.time < float("inf"):
        raise SpecError(f"--time {options.time:g}", hint="a number of seconds above 0")
    quality = read_quality(options.quality, lower_is_better=options.lower_is_better)
    with reading(model) as progress:
        weights = read_network_weights(
            model,
            rows=options.rows,
            axis=options.axis,
            dims=_extents(options.dim or []) or None,
            weights=options.weights,
            random_weights=options.random_weights,
            progress=progress,
        )
    weights = weights.chosen(options.layers or (), options.exclude or ())
    inputs, batches = (None, None) if options.calibration is None else read_calibration(options.calibration, weights)
    search = Search(workers=options.jobs, cache=False if options.no_cache else options.cache or True)
    if options.time is not None:
        search = replace(search, seconds=options.time)
    return Assessment(
        weights,
        quality,
        activations=_activations(options.activations or activations),
        structure=density,
        inputs=inputs,
        batches=batches,
        search=search,
    )


def _activations(text: str) -> str | Representation:
    from fiberloom.representation import read_representation

    return text if text in ("exact", "terms") else read_representation(text)


def report(found: Tradeoff, options: Options, *, method: str | None = None) -> None:
    """Save and print what was found.

    Args:
        method: of ``compress``, whose object says of one representation what it is.
    """
    from fiberloom.report.representation import compress_dict, csv_text, tradeoff_report

    if options.csv is not None:
        save(options.csv, csv_text(found))
    if options.html is not None:
        from fiberloom.report.html.tradeoff import write_tradeoff

        write_tradeoff(found.to_dict(), options.html)
    if options.json:
        print_json(found.to_dict() if method is None else compress_dict(method, found.to_dict()))
    else:
        print_all(tradeoff_report(found.to_dict()))
        sys.stdout.flush()


@contextmanager
def shown() -> Iterator[Callable[[str, int, int], None]]:
    """A line on stderr that says what runs, and disappears in the end; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        task = display.add_task("", total=None)

        def tell(what: str, done: int, whole: int) -> None:
            display.update(task, description=what, completed=done, total=whole or None)

        yield tell


@contextmanager
def kept(
    assessment: Assessment, designs: Sequence[str], schemes: Sequence[NamedScheme], *, cached: bool
) -> Iterator[None]:
    """On Ctrl-C, print the points that were finished, and say what is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        partial = assessment.tradeoff(designs, [named.name for named in schemes])
        whole = len(schemes) * max(1, len(designs))
        if partial.points and designs:
            from fiberloom.report.representation import points_table

            print_all([points_table(partial.to_dict())])
        rest = (
            "mappings are kept: the same command goes on from there" if cached else "mappings are not kept (--no-cache)"
        )
        print(f"interrupted after {len(partial.points)} of {whole} points; {rest}", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
