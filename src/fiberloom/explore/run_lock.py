"""Says which runs of a store are under way, so that no run goes on in two processes at once."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from fiberloom.errors import SpecError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such locks: nobody is kept from resuming a run twice there
    fcntl = None  # type: ignore[assignment]  # typeshed knows the module only where it exists


class RunLock:
    """Holds runs of a store for this process; the system lets go of them when it ends, however it ends.

    A byte per run of a file beside the store is locked; whoever is the last to leave removes the file.

    Args:
        store: the store's file.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.path = store.with_name(store.name + ".running")
        self._file: IO[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of all runs."""
        if self._file is not None:
            if self._locked(self._file, 0):
                self.path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def hold(self, run: int) -> None:
        """Take a run, which numbers from 1.

        Raises:
            SpecError: when another process has it.
        """
        if fcntl is None:
            return
        while True:
            try:
                file = self._file or self.path.open("a+b")
            except OSError as error:
                raise SpecError(
                    f"{self.path} can't be made: {error.strerror}",
                    hint="name a store in a folder that can be written to",
                ) from None
            held = self._locked(file, run)
            if self._file is None and held and not self._current(file):
                file.close()  # somebody removed it before it was locked
                continue
            break
        if held:
            self._file = file
            return
        if self._file is None:
            file.close()
        raise SpecError(
            f"run {run} of {self.store} is under way in another process",
            hint="wait for it, or begin a run of your own: leave --resume out, or take another --seed",
        )

    @staticmethod
    def _locked(file: IO[Any], run: int) -> bool:
        """Lock one run, or with 0 the whole file; False: another process is in the way."""
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1 if run else 0, run)
        except OSError as error:
            return error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # a file system without locks
        return True

    def _current(self, file: IO[Any]) -> bool:
        try:
            return os.fstat(file.fileno()).st_ino == self.path.stat().st_ino
        except FileNotFoundError:
            return False
