"""A database file of ours: claimed, versioned, written in whole transactions, safe at any moment.

SQLite, with one transaction per write: a process that is killed leaves a file that opens, at most its last write missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from fiberloom.errors import SpecError

WAIT_SECONDS = 30.0
"""How long a write waits for another process that holds the file."""


class DatabaseFile:
    """A file of one kind; subclasses say which tables it has. A table ``meta (key, value)`` is always there.

    Args:
        path: of the file; made when it does not exist.

    Raises:
        SpecError: when the file is of another program, kind or layout, or can't be opened.
    """

    what: ClassVar[str]
    """What the file is, for messages: ``trial store``."""
    application: ClassVar[int]
    """Id in the header of the file, by which SQLite files tell whose they are."""
    layout: ClassVar[int]
    """Version of the tables."""
    tables: ClassVar[str]
    durable: ClassVar[bool] = False
    """Whether every write is on the disk before it returns, so that not even a power cut loses it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._database = sqlite3.connect(self.path, isolation_level=None, timeout=WAIT_SECONDS)
        except sqlite3.Error as error:
            raise self._refused(str(error)) from None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            self._claim()
            self._database.execute("PRAGMA journal_mode=WAL")
            self._durably(self.durable)
            self._database.executescript(
                "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
                f"INSERT OR IGNORE INTO meta VALUES ('format', '{self.layout}');"
            )
            found = self._meta()["format"]
            if found == str(self.layout):
                self._database.executescript(self.tables)
        except sqlite3.Error as error:
            raise self._refused(str(error)) from None
        if found != str(self.layout):
            raise SpecError(
                f"{self.path} has layout {found} of {self.what}s, this version writes {self.layout}",
                hint="name a new file for this version",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; it can be opened again."""
        self._database.close()

    def _meta(self) -> dict[str, str]:
        return {row["key"]: row["value"] for row in self._query("SELECT key, value FROM meta")}

    def _query(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        cursor = self._database.cursor()
        cursor.row_factory = sqlite3.Row
        return cursor.execute(sql, values)

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """All rows of a query.

        Raises:
            SpecError: when the file can't be read.
        """
        try:
            return self._query(sql, values).fetchall()
        except sqlite3.Error as error:
            raise SpecError(f"{self.path} can't be read: {error}", hint="it is damaged; name another file") from None

    def _durably(self, whether: bool) -> None:
        """Whether writes from now on are on the disk before they return, with those before them."""
        self._database.execute(f"PRAGMA synchronous={'FULL' if whether else 'NORMAL'}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it in the file, or nothing."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise SpecError(
                f"trials can't be written to {self.path}: {error}",
                hint="another run may hold the file, or the disk be full; name another file",
            ) from None

    def _claim(self) -> None:
        """Mark an empty file as ours; refuse one that another program made, unchanged."""
        if self._mark() == self.application:
            return
        with self._transaction():  # of two processes that find the file empty, one claims it
            mark = self._mark()
            if mark == self.application:
                return
            if mark or self._database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                raise self._refused("it is a database of another program")
            self._database.execute(f"PRAGMA application_id = {self.application}")

    def _mark(self) -> int:
        return int(self._database.execute("PRAGMA application_id").fetchone()[0])

    def _refused(self, reason: str) -> SpecError:
        article = "an" if self.what[0] in "aeiou" else "a"
        return SpecError(
            f"{self.path} can't be used as {article} {self.what}: {reason}",
            hint="name a new file in an existing folder, or one that a search wrote",
        )
