"""One source, run two ways: as Python for a single mapping, compiled by numba for batches.

Functions marked `@kernel` are plain Python over records (see `fiberloom.model.records`). A single mapping runs through
them as they are in a fraction of a second, without waiting for a compiler. `compile_kernel` replaces all of them by their
compiled versions, cached on disk, before the first batch; from then on everything in the process uses those. Packages that
build on the kernel mark their own functions the same way and call `compile_kernel` once they are imported.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, Final, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

_NOTICE_SECONDS: Final = 2.0
_functions: dict[Callable[..., Any], bool] = {}  # marked, and whether Python calls them in compiled form
_lean: set[str] = set()
_inlined: set[Callable[..., Any]] = set()
_dispatchers: dict[Callable[..., Any], Any] = {}
_lock = threading.Lock()
_announced = threading.Event()


def kernel(function: _F) -> _F:
    """Mark a function of the kernel: it may be compiled, and calls only other marked functions and numpy."""
    _functions[function] = False
    return function


def entry_point(function: _F) -> _F:
    """Mark a function of the kernel that Python calls in compiled form; the others are compiled as parts of it."""
    _functions[function] = True
    return function


def inlined(function: _F) -> _F:
    """Make a marked function part of those that call it: passing many arrays on would take longer than it runs."""
    _inlined.add(function)
    return function


def allocates_nothing(module: str) -> None:
    """Say of a module that none of its marked functions makes an array, so that none needs to count references to those it gets."""
    _lean.add(module)


def is_compiled() -> bool:
    """Whether this process runs the compiled kernel."""
    return bool(_dispatchers)


def compile_kernel() -> None:
    """Switch to compiled functions. The first call of each on a machine compiles it, later ones load it from disk."""
    with _lock:
        import_module("fiberloom.model.kernel")  # so that all functions of the model are marked
        marked = [f for f in _functions if f not in _dispatchers]
        if not marked:
            return
        from numba import njit

        _drop_stale_caches({Path(f.__code__.co_filename).parent for f in marked})
        for function in marked:
            options: dict[str, Any] = (
                {"cache": True} if _functions[function] else {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
            )
            options |= {"forceinline": True} if function in _inlined else {}
            options["_nrt"] = function.__module__ not in _lean
            _dispatchers[function] = njit(nogil=True, error_model="numpy", **options)(function)
        package = __name__.partition(".")[0]
        for module in [m for n, m in sys.modules.items() if n.startswith(f"{package}.")]:
            for name, value in list(vars(module).items()):
                if isinstance(value, FunctionType) and value in _dispatchers:
                    setattr(module, name, _dispatchers[value])


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say what takes so long while this process runs the compiled kernel for the first time."""
    if _announced.is_set():
        yield
        return
    notice = threading.Timer(
        _NOTICE_SECONDS,
        lambda: print(
            "fiberloom: compiling the batch kernel for this machine, once; about a minute …",
            file=sys.stderr,
            flush=True,
        ),
    )
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()
        _announced.set()


def _drop_stale_caches(folders: set[Path]) -> None:
    """Forget compiled code of `folders` when a file with marked functions changed: numba looks only at a function's own file."""
    model = Path(__file__).parent
    marked = {Path(f.__code__.co_filename) for f in _functions} | {model / "records.py"}
    for folder in folders:
        sources = sorted(file for file in marked if file.parent in (folder, model))
        stamp = "\n".join(f"{s.name} {s.stat().st_mtime_ns} {s.stat().st_size}" for s in sources)
        cache = folder / "__pycache__"
        record = cache / "kernel.stamp"
        with contextlib.suppress(OSError):  # a read-only installation never changes
            if record.exists() and record.read_text() == stamp:
                continue
            for compiled in (*cache.glob("*.nbi"), *cache.glob("*.nbc")):
                compiled.unlink(missing_ok=True)
            cache.mkdir(exist_ok=True)
            record.write_text(stamp)
