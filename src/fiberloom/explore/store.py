"""Every evaluation of an exploration in one file, on the disk before the next begins; runs that can go on after any end.

**What resuming builds on.** Evaluations are kept by the number of the design, apart from the runs that asked for them. A resumed
run begins again with the same seed: its agent proposes the same designs, and those that the file knows cost nothing. So
a run that was killed loses the evaluations that were in flight, ends with the trials of one that was never stopped, and nothing is
counted twice. Other runs on the same problem, at the same time or later, use the same evaluations.
"""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fiberloom import __version__
from fiberloom.database_file import DatabaseFile
from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.explore.difference import differences
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Evaluated, Status, Trial
from fiberloom.network_evaluation.fingerprint import file_hash, source_hash

if TYPE_CHECKING:
    import pandas

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS evaluations (
  design TEXT PRIMARY KEY, status TEXT NOT NULL, metrics TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
  seconds REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
  run INTEGER PRIMARY KEY, agent TEXT NOT NULL, hyper_parameters TEXT NOT NULL, seed INTEGER NOT NULL, goal TEXT NOT NULL,
  version TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS trials (
  run INTEGER NOT NULL REFERENCES runs, trial INTEGER NOT NULL, design TEXT NOT NULL, status TEXT NOT NULL,
  metrics TEXT, reason TEXT, seconds REAL NOT NULL, PRIMARY KEY (run, trial)
) WITHOUT ROWID;
"""
# A trial's own metrics and reason stand there only where they are not those of the design's evaluation: bounds of a pruned one, and
# failures, which another run may have mended since.
_ONLY_OF_THE_TRIAL: Final = (Status.PRUNED, Status.FAILED)

SYNC_SECONDS: Final = 0.1
"""Evaluations that follow each other faster reach the disk together: a power cut may take this much computing, a kill nothing. A
write to the disk itself takes some 4 ms (measured), which is the time of twenty cheap evaluations."""

_KEEP: Final = (
    "INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (design) DO UPDATE SET status = excluded.status, "
    "metrics = excluded.metrics, reason = excluded.reason, detail = excluded.detail, seconds = excluded.seconds "
    f"WHERE status = '{Status.FAILED}'"
)


_SOURCES: Final = (
    "architecture/library/*.py",
    "codesign/**/*.py",
    "explore/accelerator/*.py",
    "explore/dram/*.py",
    "explore/joint/*.py",
)
"""Modules that metrics come from, beside those that mappings' costs come from."""


def model_hash() -> str:
    """Hash of all that metrics come from: stores of different hashes hold numbers that don't compare."""
    return source_hash(*_SOURCES)


@dataclass(frozen=True)
class StoredTrial:
    """A trial as a store has it.

    Attributes:
        design: its number.
        seconds: since the run began.
    """

    design: int
    evaluated: Evaluated
    seconds: float


@dataclass(frozen=True)
class StoredRun:
    """A run in a store.

    Attributes:
        trials: that were told to its agent.
    """

    run: int
    agent: str
    hyper_parameters: Mapping[str, Any]
    seed: int
    goal: Goal
    version: str
    trials: int


class ExplorationStore(DatabaseFile):
    """Evaluations and runs of one problem.

    Args:
        path: of the file; made when it does not exist.

    Raises:
        SpecError: when the file is of another kind or an older version, or can't be opened.
    """

    what = "exploration store"
    application = 0x66696278  # "fibx"
    layout = 2
    tables = _TABLES
    durable = True

    _synced = -math.inf

    def bind(self, problem: DesignProblem) -> None:
        """Name the problem of a new file; compare it with an old one's.

        Raises:
            SpecError: when the file holds designs of another problem, naming what differs.
        """
        facts = {**problem.facts(), "model": model_hash(), **_own_code(problem)}
        found = self.facts
        if not found:
            with self._transaction():
                self._database.executemany(
                    "INSERT OR IGNORE INTO meta VALUES (?, ?)",
                    [("facts", json.dumps(facts)), ("fiberloom", __version__), ("file", problem.file.file or "")],
                )
            found = self.facts
        different = differences(found, facts)
        if different and set(different) <= {"model", "code"}:
            raise SpecError(
                f"{self.path} holds evaluations of another version of the model ({self._meta().get('fiberloom')})",
                hint="their numbers don't compare: name another file",
            )
        if different:
            raise SpecError(
                f"{self.path} holds another exploration; what differs: {'; '.join(different)}",
                hint="name another file for this one",
            )

    @property
    def facts(self) -> dict[str, Any]:
        """What the evaluations depend on (`DesignProblem.facts`); empty in a new file."""
        with self._making_sense("its problem"):
            stored: dict[str, Any] = json.loads(self._meta().get("facts", "{}"))
        return stored

    @property
    def file(self) -> str | None:
        """The space's file, as it was named."""
        return self._meta().get("file") or None

    def open_run(self, agent: str, hyper_parameters: Mapping[str, Any], seed: int, goal: Goal, *, resume: bool) -> int:
        """A new run, or with `resume` the last of the same agent, hyper-parameters, seed and goal if there is one."""
        hyper = json.dumps(dict(hyper_parameters), sort_keys=True, default=str)
        wanted = json.dumps(goal.to_dict(), sort_keys=True)
        with self._transaction():
            if resume:
                (row,) = self._rows(
                    "SELECT MAX(run) AS run FROM runs WHERE agent = ? AND hyper_parameters = ? AND seed = ? AND goal = ?",
                    (agent, hyper, seed, wanted),
                )
                if row["run"] is not None:
                    return int(row["run"])
            cursor = self._database.execute(
                "INSERT INTO runs (agent, hyper_parameters, seed, goal, version) VALUES (?, ?, ?, ?, ?)",
                (agent, hyper, seed, wanted, __version__),
            )
            return int(cursor.lastrowid or 0)

    def evaluation(self, design: int) -> Evaluated | None:
        """What is known of a design; None: nothing, or only that its evaluation failed."""
        for row in self._rows("SELECT * FROM evaluations WHERE design = ?", (str(design),)):
            if row["status"] != Status.FAILED:
                return self._evaluated(row)
        return None

    def write(
        self, run: int, evaluations: Mapping[int, Evaluated], first: int = 0, trials: Sequence[StoredTrial] = ()
    ) -> None:
        """Keep evaluations by design, and a run's trials number `first` and on: all of it or nothing.

        What is written survives the end of this process at once, and a power cut from the next write that comes `SYNC_SECONDS` or
        more after the one before, or brings an evaluation that took as long. An evaluation that is known stays unless it had failed;
        a trial that is known stays.

        Raises:
            SpecError: when the file can't be written; it stays as it was.
        """
        now = time.monotonic()
        slowest = max((evaluated.seconds for evaluated in evaluations.values()), default=0.0)
        if now - self._synced >= SYNC_SECONDS or slowest >= SYNC_SECONDS:
            self._synced = now
            self._durably(True)
        else:
            self._durably(False)
        with self._transaction():
            self._database.executemany(_KEEP, [_evaluation_row(*entry) for entry in evaluations.items()])
            self._database.executemany(
                "INSERT OR IGNORE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(run, number, *_trial_row(trial)) for number, trial in enumerate(trials, first)],
            )

    def recorded(self, run: int) -> list[StoredTrial]:
        """Trials of a run, in order."""
        rows = self._rows(
            "SELECT t.trial, t.design, t.status, COALESCE(t.metrics, e.metrics, '{}') AS metrics, "
            "COALESCE(t.reason, e.reason, '') AS reason, CASE WHEN t.metrics IS NULL THEN e.detail END AS detail, "
            "CASE WHEN t.metrics IS NULL THEN e.seconds END AS seconds, t.seconds AS at "
            "FROM trials t LEFT JOIN evaluations e ON e.design = t.design WHERE run = ? ORDER BY trial",
            (run,),
        )
        return [StoredTrial(int(row["design"]), self._evaluated(row), float(row["at"])) for row in rows]

    def runs(self) -> list[StoredRun]:
        """All runs, oldest first."""
        rows = self._rows(
            "SELECT r.*, COUNT(t.trial) AS trials FROM runs r LEFT JOIN trials t ON t.run = r.run GROUP BY r.run ORDER BY r.run"
        )
        return [
            StoredRun(
                row["run"], row["agent"], json.loads(row["hyper_parameters"]), row["seed"], _goal(row["goal"]),
                row["version"], row["trials"],
            )
            for row in rows
        ]  # fmt: skip

    def trials(self, problem: DesignProblem, run: int, goal: Goal | None = None) -> Iterator[tuple[Trial, float]]:
        """Trials of a run in order, judged by its own goal or another, each with the seconds since the run began.

        Raises:
            SpecError: when there is no such run.
        """
        if goal is None:
            found = [r.goal for r in self.runs() if r.run == run]
            if not found:
                raise SpecError(f"{self.path} has no run {run}", hint=f"it has {len(self.runs())}")
            (goal,) = found
        for stored in self.recorded(run):
            yield Trial.of(problem.space.unrank(stored.design), stored.evaluated, goal), stored.seconds

    def designs(self, problem: DesignProblem) -> Iterator[tuple[Point, Evaluated]]:
        """Every design that was evaluated, by any run."""
        for row in self._rows("SELECT * FROM evaluations"):
            yield problem.space.unrank(int(row["design"])), self._evaluated(row)

    def frame(self, problem: DesignProblem) -> pandas.DataFrame:
        """One row per evaluated design: design (its number), status, reason, seconds, a column per parameter and per metric.

        Raises:
            MissingExtraError: without pandas.
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "frames", "ExplorationStore.frame") from None
        rows = [
            {
                "design": str(problem.space.rank(point)), "status": str(e.status), "reason": e.reason, "seconds": e.seconds,
                **{f"parameter.{name}": value for name, value in problem.space.values(point).items()}, **e.metrics,
            }
            for point, e in self.designs(problem)
        ]  # fmt: skip
        return pandas.DataFrame(rows)

    def _evaluated(self, row: Any) -> Evaluated:
        with self._making_sense(f"design {row['design']}"):
            return Evaluated(
                Status(row["status"]),
                json.loads(row["metrics"]),
                row["reason"],
                json.loads(row["detail"] or "{}"),
                row["seconds"] or 0.0,
            )

    @contextmanager
    def _making_sense(self, what: str) -> Iterator[None]:
        try:
            yield
        except ValueError:
            raise SpecError(f"{self.path} is damaged: {what} makes no sense", hint="name another file") from None


def _own_code(problem: DesignProblem) -> dict[str, str]:
    """Hash of the file that a problem's class stands in, where that is not fiberloom's, whose version tells."""
    kind = type(problem)
    if kind.__module__.partition(".")[0] == "fiberloom":
        return {}
    try:
        file = inspect.getsourcefile(kind)
    except TypeError:  # typed in by hand
        file = None
    return {} if file is None else {"code": file_hash(Path(file))}


def _evaluation_row(design: int, evaluated: Evaluated) -> tuple[Any, ...]:
    return (
        str(design), str(evaluated.status), json.dumps(dict(evaluated.metrics)), evaluated.reason,
        json.dumps(dict(evaluated.detail)), evaluated.seconds,
    )  # fmt: skip


def _trial_row(trial: StoredTrial) -> tuple[Any, ...]:
    evaluated = trial.evaluated
    own: tuple[str | None, str | None] = (None, None)
    if evaluated.status in _ONLY_OF_THE_TRIAL:
        own = (json.dumps(dict(evaluated.metrics)), evaluated.reason)
    return (str(trial.design), str(evaluated.status), *own, trial.seconds)


def _goal(text: str) -> Goal:
    stored = json.loads(text)
    return Goal.parse(stored["objectives"], stored["limits"])
