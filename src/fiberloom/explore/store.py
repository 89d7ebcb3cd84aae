"""Every evaluation of an exploration in one file, on the disk before the next begins; runs that can go on after any end.

**What resuming builds on.** Evaluations are kept by the number of the design, apart from the runs that asked for them. A resumed
run begins again with the same seed: its agent proposes the same designs, and those that the file knows cost nothing. So
a run that was killed loses the evaluations that were in flight, ends with the trials of one that was never stopped, and nothing is
counted twice. Other runs on the same problem, at the same time or later, use the same evaluations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fiberloom import __version__
from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.space import Point
from fiberloom.explore.trial import Evaluated, Status, Trial
from fiberloom.mapper.database_file import DatabaseFile
from fiberloom.network_evaluation.fingerprint import source_hash

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
  metrics TEXT NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (run, trial)
) WITHOUT ROWID;
"""


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
    layout = 1
    tables = _TABLES
    durable = True

    def bind(self, problem: DesignProblem) -> None:
        """Name the problem of a new file; compare it with an old one's.

        Raises:
            SpecError: when the file holds designs of another problem, naming what differs.
        """
        facts = {**problem.facts(), "model": source_hash()}
        found = self._meta()
        if "facts" not in found:
            with self._transaction():
                self._database.executemany(
                    "INSERT OR IGNORE INTO meta VALUES (?, ?)",
                    [("facts", json.dumps(facts)), ("fiberloom", __version__), ("file", problem.file.file or "")],
                )
            found = self._meta()
        stored: dict[str, Any] = json.loads(found["facts"])
        different = [part for part in stored.keys() | facts.keys() if stored.get(part) != _plain(facts.get(part))]
        if different == ["model"]:
            raise SpecError(
                f"{self.path} holds evaluations of another version of the model ({found['fiberloom']})",
                hint="their numbers don't compare: name another file",
            )
        if different:
            raise SpecError(
                f"{self.path} holds another exploration: its {' and '.join(sorted(different))} "
                f"{'differs' if len(different) == 1 else 'differ'}",
                hint="name another file for this one",
            )

    @property
    def facts(self) -> dict[str, Any]:
        """What the evaluations depend on (`DesignProblem.facts`); empty in a new file."""
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
                row = self._query(
                    "SELECT MAX(run) AS run FROM runs WHERE agent = ? AND hyper_parameters = ? AND seed = ? AND goal = ?",
                    (agent, hyper, seed, wanted),
                ).fetchone()
                if row["run"] is not None:
                    return int(row["run"])
            cursor = self._database.execute(
                "INSERT INTO runs (agent, hyper_parameters, seed, goal, version) VALUES (?, ?, ?, ?, ?)",
                (agent, hyper, seed, wanted, __version__),
            )
            return int(cursor.lastrowid or 0)

    def evaluation(self, design: int) -> Evaluated | None:
        """What is known of a design; None: nothing, or only that its evaluation failed."""
        row = self._query("SELECT * FROM evaluations WHERE design = ?", (str(design),)).fetchone()
        if row is None or row["status"] == Status.FAILED:
            return None
        return _evaluated(row)

    def keep(self, design: int, evaluated: Evaluated) -> None:
        """Keep an evaluation. One that is known stays, unless it had failed."""
        with self._transaction():
            self._database.execute(
                "INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (design) DO UPDATE SET "
                "status = excluded.status, metrics = excluded.metrics, reason = excluded.reason, "
                "detail = excluded.detail, seconds = excluded.seconds WHERE status = ?",
                (
                    str(design), str(evaluated.status), json.dumps(dict(evaluated.metrics)), evaluated.reason,
                    json.dumps(dict(evaluated.detail)), evaluated.seconds, str(Status.FAILED),
                ),
            )  # fmt: skip

    def told(self, run: int, first: int, designs: Sequence[int], trials: Sequence[Trial], seconds: float) -> None:
        """Record that the agent was told trials number `first` and on; those that stand there stay.

        Raises:
            SpecError: when another process records other designs for the same run.
        """
        with self._transaction():
            for number, design, trial in zip(range(first, first + len(trials)), designs, trials, strict=True):
                there = self._query("SELECT design FROM trials WHERE run = ? AND trial = ?", (run, number)).fetchone()
                if there is None:
                    metrics = json.dumps(dict(trial.evaluated.metrics))
                    self._database.execute(
                        "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?)",
                        (run, number, str(design), str(trial.evaluated.status), metrics, seconds),
                    )

    def proposed(self, run: int, first: int, designs: Sequence[int]) -> bool:
        """Whether the run's stored trials, as far as they go, are these designs from number `first` on."""
        rows = self._query(
            "SELECT design FROM trials WHERE run = ? AND trial >= ? ORDER BY trial LIMIT ?", (run, first, len(designs))
        ).fetchall()
        return all(row["design"] == str(design) for row, design in zip(rows, designs, strict=False))

    def runs(self) -> list[StoredRun]:
        """All runs, oldest first."""
        rows = self._query(
            "SELECT r.*, COUNT(t.trial) AS trials FROM runs r LEFT JOIN trials t ON t.run = r.run GROUP BY r.run ORDER BY r.run"
        ).fetchall()
        return [
            StoredRun(
                row["run"], row["agent"], json.loads(row["hyper_parameters"]), row["seed"], _goal(row["goal"]),
                row["version"], row["trials"],
            )
            for row in rows
        ]  # fmt: skip

    def trials(self, problem: DesignProblem, run: int, goal: Goal | None = None) -> Iterator[tuple[Trial, float]]:
        """Trials of a run in order, judged by its own goal or another, each with the seconds since the run began."""
        if goal is None:
            row = self._query("SELECT goal FROM runs WHERE run = ?", (run,)).fetchone()
            if row is None:
                raise SpecError(f"{self.path} has no run {run}", hint=f"it has {len(self.runs())}")
            goal = _goal(row["goal"])
        rows = self._query(
            "SELECT t.design, t.status AS status, t.metrics AS metrics, t.seconds AS at, e.reason, e.detail, e.seconds "
            "FROM trials t LEFT JOIN evaluations e ON e.design = t.design WHERE run = ? ORDER BY trial",
            (run,),
        )
        for row in rows:
            yield Trial.of(problem.space.unrank(int(row["design"])), _evaluated(row), goal), float(row["at"])

    def designs(self, problem: DesignProblem) -> Iterator[tuple[Point, Evaluated]]:
        """Every design that was evaluated, by any run."""
        for row in self._query("SELECT * FROM evaluations"):
            yield problem.space.unrank(int(row["design"])), _evaluated(row)

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


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def _goal(text: str) -> Goal:
    stored = json.loads(text)
    return Goal.parse(stored["objectives"], stored["limits"])


def _evaluated(row: Any) -> Evaluated:
    return Evaluated(
        Status(row["status"]),
        json.loads(row["metrics"]),
        row["reason"] or "",
        json.loads(row["detail"] or "{}"),
        row["seconds"] or 0.0,
    )
