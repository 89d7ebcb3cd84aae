"""Every trial of a search in one file, safe at any moment: killed mid-run, at most the last batch is missing.

The file is an SQLite database, one transaction per batch. `meta` names the problem; `runs` has a row per search (searcher,
hyper-parameters, seed); `batches` has a row per batch, its columns as compressed arrays.

**What resuming guarantees.** A run is found again by searcher, hyper-parameters and seed. Its batches are replayed: the
searcher is asked for as many mappings, and told the stored outcomes, nothing is evaluated. A searcher whose
randomness is its generator alone proposes the stored mappings again, so it ends in the state it was killed in, and a
run that was stopped and resumed has the trials of one that never stopped. Where a searcher proposes others (another
version of it or of numpy, offline training that does not repeat), it is told the stored trials all the same: none is lost and the
incumbent stands, but the run goes on differently, and `SearchResult.replayed_exactly` is False.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom import __version__
from fiberloom.database_file import DatabaseFile
from fiberloom.errors import MissingExtraError, SpecError
from fiberloom.mapper.objective import Objective, parse_objective
from fiberloom.mapper.search import Outcome, Searcher, SearchProblem
from fiberloom.mapping.packed import ROWS, PackedMappings

if TYPE_CHECKING:
    import pandas

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS runs (
  run INTEGER PRIMARY KEY, searcher TEXT NOT NULL, hyper_parameters TEXT NOT NULL, seed INTEGER, version TEXT NOT NULL,
  links BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
  run INTEGER NOT NULL REFERENCES runs, batch INTEGER NOT NULL, trials INTEGER NOT NULL, valid INTEGER NOT NULL,
  seconds REAL NOT NULL, best REAL, mappings BLOB NOT NULL, energy_pj BLOB NOT NULL, cycles BLOB NOT NULL,
  status BLOB NOT NULL, objective BLOB, PRIMARY KEY (run, batch)
) WITHOUT ROWID;
"""
_PARTS: Final = ("workload", "architecture", "constraints", "rules", "objective")
_LEVEL: Final = 1
"""Of zlib: factors and orders are small repeating numbers, which the fastest level already shrinks some tenfold."""


class TrialStore(DatabaseFile):
    """Trials of one problem, of any number of runs.

    Args:
        path: of the file; made when it does not exist.

    Raises:
        SpecError: when the file is not a trial store, or can't be written.
    """

    what = "trial store"
    application = 0x66696265  # "fibe"
    layout = 1
    tables = _TABLES

    def open_run(self, target: SearchProblem, searcher: Searcher, *, seed: int | None, resume: bool = False) -> int:
        """A new run, or with `resume` the last one of the same searcher, hyper-parameters and seed if there is one.

        Raises:
            SpecError: when the file holds trials of another problem, naming the parts that differ.
        """
        self._bind(target)
        hyper = json.dumps(searcher.hyper_parameters, sort_keys=True, default=str)
        links = _links(target)
        with self._transaction():
            if resume:
                row = self._database.execute(
                    "SELECT MAX(run) FROM runs WHERE searcher = ? AND hyper_parameters = ? AND seed IS ?",
                    (searcher.name, hyper, seed),
                ).fetchone()
                if row[0] is not None:
                    return int(row[0])
            cursor = self._database.execute(
                "INSERT INTO runs (searcher, hyper_parameters, seed, version, links) VALUES (?, ?, ?, ?, ?)",
                (searcher.name, hyper, seed, __version__, links),
            )
            return int(cursor.lastrowid or 0)

    def append(self, run: int, packed: PackedMappings, outcome: Outcome, seconds: float) -> None:
        """Add a batch to a run, in one transaction; `seconds` since the run began."""
        objective = self._objective()
        implied = objective.value(outcome.energy_pj, outcome.cycles)
        stored = None if np.array_equal(implied, outcome.objective) else _squeeze(outcome.objective)
        best = float(outcome.objective.min()) if len(outcome) else np.inf
        with self._transaction():
            self._database.execute(
                "INSERT INTO batches SELECT ?, COALESCE(MAX(batch) + 1, 0), ?, ?, ?, ?, ?, ?, ?, ?, ? FROM batches WHERE run = ?",
                (
                    run, len(packed), int(np.count_nonzero(outcome.valid)), seconds, best if np.isfinite(best) else None,
                    _pack(packed), _squeeze(outcome.energy_pj), _squeeze(outcome.cycles),
                    _squeeze(outcome.status.astype(np.uint8)), stored, run,
                ),
            )  # fmt: skip

    def replay(self, run: int) -> Iterator[tuple[PackedMappings, Outcome, float]]:
        """The batches of a run in order: mappings, outcomes, seconds since the run began at their end."""
        links = self._run_links(run)
        with closing(self._batches("WHERE run = ? ORDER BY batch", (run,))) as rows:
            for row in rows:
                yield self._mappings(row, links), self._outcome(row), float(row["seconds"])

    def resume(self, run: int) -> list[tuple[PackedMappings, Outcome, float]]:
        """All of `replay` at once."""
        return list(self.replay(run))

    def runs(self) -> list[dict[str, Any]]:
        """One entry per run: run, searcher, hyper_parameters, seed, version, trials, valid, best (None without a valid trial)."""
        rows = self._query(
            "SELECT r.run, searcher, hyper_parameters, seed, version, COALESCE(SUM(trials), 0) AS trials, "
            "COALESCE(SUM(valid), 0) AS valid, MIN(best) AS best "
            "FROM runs r LEFT JOIN batches b ON b.run = r.run GROUP BY r.run ORDER BY r.run"
        )
        return [{**dict(r), "hyper_parameters": json.loads(r["hyper_parameters"])} for r in rows.fetchall()]

    def best(self) -> tuple[PackedMappings, Outcome] | None:
        """The best trial of all runs as one row and what it costs, ties broken as the objective does; None without a valid one."""
        objective = self._objective()
        best: tuple[float, float] | None = None
        found: tuple[PackedMappings, Outcome] | None = None
        with closing(self._batches("WHERE best = (SELECT MIN(best) FROM batches) ORDER BY run, batch")) as rows:
            for row in rows:
                outcome = self._outcome(row)
                least = np.flatnonzero(outcome.objective == outcome.objective.min())
                ties = objective.tie(outcome.energy_pj[least], outcome.cycles[least])
                key = (float(outcome.objective.min()), float(ties.min()))
                if best is None or key < best:
                    chosen = [int(least[int(np.argmin(ties))])]
                    packed = self._mappings(row, self._run_links(row["run"]))
                    best, found = key, (packed.take(chosen), outcome.take(chosen))
        return found

    def frame(self, *, mappings: bool = False) -> pandas.DataFrame:
        """One row per trial: run, searcher, seed, batch, trial, valid, objective, energy_pj, cycles, status, seconds.

        `trial` counts from 0 within a run; `seconds` is the end of the trial's batch. With `mappings` also the genome:
        ``temporal.LEVEL.VARIABLE`` and ``spatial.LEVEL.VARIABLE`` (factors), ``order.LEVEL.VARIABLE`` (position of the
        temporal loop, 0 innermost), ``x.LEVEL.VARIABLE`` and ``keep.LEVEL.TENSOR`` (true or false).

        Raises:
            MissingExtraError: without pandas.
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "frames", "TrialStore.frame") from None
        runs = {r["run"]: r for r in self.runs()}
        columns: list[dict[str, Any]] = []
        counted = dict.fromkeys(runs, 0)
        with closing(self._batches("ORDER BY run, batch")) as rows:
            for row in rows:
                outcome, run, n = self._outcome(row), row["run"], int(row["trials"])
                first, counted[run] = counted[run], counted[run] + n
                columns.append(
                    {
                        "run": np.full(n, run), "searcher": [runs[run]["searcher"]] * n, "seed": [runs[run]["seed"]] * n,
                        "batch": np.full(n, row["batch"]), "trial": np.arange(first, first + n), "valid": outcome.valid,
                        "objective": outcome.objective, "energy_pj": outcome.energy_pj, "cycles": outcome.cycles,
                        "status": outcome.status, "seconds": np.full(n, row["seconds"]),
                        **(self._genome(self._mappings(row, self._run_links(run))) if mappings else {}),
                    }
                )  # fmt: skip
        if not columns:
            names = ("run", "searcher", "seed", "batch", "trial", "valid", "objective", "energy_pj", "cycles")
            return pandas.DataFrame(columns=[*names, "status", "seconds"])
        return pandas.concat([pandas.DataFrame(c) for c in columns], ignore_index=True)

    def _genome(self, packed: PackedMappings) -> dict[str, NDArray[Any]]:
        axes = {k: json.loads(self._meta()[k]) for k in ("variables", "tensors", "levels")}
        columns: dict[str, NDArray[Any]] = {}
        position = np.argsort(packed.temporal_order, axis=2)
        for level, name in enumerate(axes["levels"]):
            for d, variable in enumerate(axes["variables"]):
                columns[f"temporal.{name}.{variable}"] = packed.temporal[:, level, d]
                columns[f"spatial.{name}.{variable}"] = packed.spatial[:, level, d]
                columns[f"order.{name}.{variable}"] = position[:, level, d]
                columns[f"x.{name}.{variable}"] = (packed.on_x[:, level] >> d & 1).astype(bool)
            for t, tensor in enumerate(axes["tensors"]):
                columns[f"keep.{name}.{tensor}"] = packed.keep[:, level, t].astype(bool)
        return columns

    def _bind(self, target: SearchProblem) -> None:
        """Name the problem of a new file; compare it with an old one's."""
        parts = fingerprint(target)
        found = self._meta()
        if "workload" not in found:
            axes = {
                "variables": target.problem.variables,
                "tensors": target.problem.tensors,
                "levels": target.problem.level_names,
            }
            entries = {"fiberloom": __version__, **parts}
            entries |= {k: json.dumps(list(v)) for k, v in axes.items()}
            with self._transaction():
                self._database.executemany(
                    "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(k, str(v)) for k, v in entries.items()]
                )
            return
        different = [part for part in _PARTS if found.get(part) != parts[part]]
        if different:
            objective = f" (it holds {found['objective']})" if "objective" in different else ""
            raise SpecError(
                f"{self.path} holds trials of another problem: its {' and '.join(different)} "
                f"{'differs' if len(different) == 1 else 'differ'}{objective}",
                hint="name another file for this problem",
            )

    def _objective(self) -> Objective:
        return parse_objective(self._meta().get("objective", "edp"))

    def _batches(self, condition: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        return self._query(f"SELECT * FROM batches {condition}", values)

    def _run_links(self, run: int) -> NDArray[Any]:
        blob = self._query("SELECT links FROM runs WHERE run = ?", (run,)).fetchone()["links"]
        return np.frombuffer(blob, np.uint8).reshape(2, len(json.loads(self._meta()["levels"])), -1)

    def _mappings(self, row: sqlite3.Row, links: NDArray[Any]) -> PackedMappings:
        D = len(json.loads(self._meta()["variables"]))
        return _unpack(row["mappings"], int(row["trials"]), links, D)

    def _outcome(self, row: sqlite3.Row) -> Outcome:
        energy, cycles = (_spread(row[name], np.float64) for name in ("energy_pj", "cycles"))
        status = _spread(row["status"], np.uint8).astype(np.int64)
        stored = row["objective"]
        value = self._objective().value(energy, cycles) if stored is None else _spread(stored, np.float64)
        return Outcome(value, energy, cycles, status)


def fingerprint(target: SearchProblem) -> dict[str, str]:
    """What names a problem: digests of workload, architecture and constraints, the rule set, the objective."""
    problem = target.problem
    specs = {
        "workload": problem.workload.model_dump_json(),
        "architecture": problem.architecture.model_dump_json(),
        "constraints": target.space.constraints.model_dump_json(exclude={"where"}),
        "rules": repr(problem.rules),
    }
    digests = {part: hashlib.sha256(text.encode()).hexdigest() for part, text in specs.items()}
    return {**digests, "objective": target.objective.name}


def _links(target: SearchProblem) -> bytes:
    """Multicast and peer links, which are one for the whole space, as ``(2, L, T)`` bytes."""
    one = target.space.sample(np.random.default_rng(0), 1)
    return np.stack([one.multicast, one.peer_links]).astype(np.uint8).tobytes()


def _squeeze(column: NDArray[Any]) -> bytes:
    return zlib.compress(np.ascontiguousarray(column).tobytes(), _LEVEL)


def _spread(blob: bytes, dtype: Any) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(blob), dtype).copy()


def _pack(packed: PackedMappings) -> bytes:
    """The six arrays, each in the smallest unsigned type that holds it, gene by gene so that equal numbers stand together."""
    parts = []
    for name in ROWS:
        array = np.asarray(getattr(packed, name))
        dtype = np.min_scalar_type(int(array.max(initial=0)))
        parts.append(dtype.char.encode() + np.ascontiguousarray(np.moveaxis(array, 0, -1), dtype).tobytes())
    return zlib.compress(b"".join(parts), _LEVEL)


def _unpack(blob: bytes, n: int, links: NDArray[Any], D: int) -> PackedMappings:
    _, L, T = links.shape
    shapes = {"on_x": (L,), "keep": (L, T)}
    data, at = zlib.decompress(blob), 0
    arrays: dict[str, Any] = {}
    for name in ROWS:
        shape = (*shapes.get(name, (L, D)), n)
        dtype = np.dtype(chr(data[at]))
        count = int(np.prod(shape))
        found = np.frombuffer(data, dtype, count, at + 1).reshape(shape)
        at += 1 + count * dtype.itemsize
        arrays[name] = np.ascontiguousarray(np.moveaxis(found, -1, 0)).astype(bool if name == "keep" else np.int64)
    return PackedMappings(**arrays, multicast=links[0].astype(bool), peer_links=links[1].astype(bool))
