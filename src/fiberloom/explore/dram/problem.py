"""DRAM controllers for a trace, as a problem to explore."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from fiberloom.errors import SpecError, nearest
from fiberloom.explore.dram.controller import METRICS, PARAMETERS, Controller, Run, simulate
from fiberloom.explore.dram.device import CLOCK_MHZ
from fiberloom.explore.dram.trace_files import ENDINGS, read_trace
from fiberloom.explore.dram.traces import KINDS, Trace, synthetic
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point, SpaceFile
from fiberloom.explore.trial import Evaluated, Status
from fiberloom.input.field import Field


class DramProblem(DesignProblem):
    """Controllers that serve a trace (ArchGym, ISCA'23; the model is `fiberloom.explore.dram.simulation`).

    The space's parameters bear the names of `PARAMETERS`; those that it does not have keep the defaults of `Controller`. The file's
    section says the trace: ``problem: {kind: dram, trace: cloud-1, requests: 1000, seed: 0}``, or
    ``problem: {kind: dram, trace: requests.csv, clock_mhz: 1200}`` with a path from the file's own folder.

    Args:
        trace: instead of that of the file.

    Raises:
        SpecError: for a parameter or value that no controller has, or a trace that can't be had.
    """

    kind = "dram"
    metrics: ClassVar[Mapping[str, str]] = METRICS

    def __init__(self, file: SpaceFile, trace: Trace | None = None) -> None:
        super().__init__(file)
        self.trace, self._given = (_read(file), _is_given(file)) if trace is None else (trace, True)
        for parameter in self.space.parameters:
            if parameter.name not in PARAMETERS:
                raise parameter.error(
                    f"a DRAM controller has no parameter '{parameter.name}'", nearest(parameter.name, PARAMETERS)
                )
            for value in parameter.values:
                try:
                    Controller.of({parameter.name: value})
                except SpecError as error:
                    raise parameter.error(error.problem, error.hint or "") from None

    def facts(self) -> dict[str, Any]:
        """With the requests of a given trace, so that its file is not needed again, or the digest of a synthetic one."""
        if self._given:
            return {**super().facts(), "requests": self.trace.to_dict()}
        digest = hashlib.sha256(b"".join(array.tobytes() for array in self.trace.packed))
        return {**super().facts(), "trace": digest.hexdigest()}

    @classmethod
    def options(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"trace": Trace.from_dict(facts["requests"])} if "requests" in facts else {}

    def prepare(self) -> None:
        simulate(synthetic("stream", 1), Controller())

    def controller(self, point: Point) -> Controller:
        """The design of a point."""
        values = self.space.values(point)
        return Controller.of({name: value for name, value in values.items() if value is not None})

    def run(self, point: Point, *, log: bool = False) -> Run:
        """The trace on the design of a point."""
        return simulate(self.trace, self.controller(point), log=log)

    def measure(self, point: Point) -> Evaluated:
        return Evaluated(Status.EVALUATED, self.run(point).metrics())


def _is_given(file: SpaceFile) -> bool:
    return file.sections["problem"].mapping()["trace"].text().endswith(ENDINGS)


def _read(file: SpaceFile) -> Trace:
    section = file.sections.get("problem")
    fields = section.mapping() if section is not None else {}
    if section is None or "trace" not in fields:
        raise SpecError(
            f"the space '{file.name}' names no trace", hint="problem: {kind: dram, trace: cloud-1, requests: 1000}"
        )
    chosen = fields["trace"].text()
    given = _is_given(file)
    section.refuse_unknown(fields, ("kind", "trace", *(("clock_mhz",) if given else ("requests", "seed"))))
    if given:
        clock = float(fields["clock_mhz"].number(above=0)) if "clock_mhz" in fields else CLOCK_MHZ
        return read_trace(Path(file.file or ".").parent / chosen, clock_mhz=clock)
    fields["trace"].one_of(KINDS, "the trace")
    return synthetic(chosen, _whole(fields, "requests", 1000, 1), _whole(fields, "seed", 0, 0))


def _whole(fields: Mapping[str, Field], name: str, default: int, least: int) -> int:
    return fields[name].integer(minimum=least, maximum=10_000_000) if name in fields else default
