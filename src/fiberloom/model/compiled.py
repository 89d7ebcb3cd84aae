"""One source, run two ways: as Python for a single mapping, compiled by numba for batches.

Functions marked `@kernel` are plain Python over records (see `fiberloom.model.records`). A single mapping runs through
them as they are in a fraction of a second, without waiting for a compiler. `compile_kernel` replaces all of them by their
compiled versions, cached on disk, before the first batch; from then on everything in the process uses those.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

ENTRY_POINTS: Final = ("evaluate_part", "insert")
"""Functions that Python calls in compiled form; the others are compiled as parts of them."""

_F = TypeVar("_F", bound=Callable[..., Any])

_PACKAGE: Final = __package__
_NOTICE_SECONDS: Final = 2.0
_functions: dict[str, Callable[..., Any]] = {}
_lock = threading.Lock()
_compiled = False
_announced = False


def kernel(function: _F) -> _F:
    """Mark a function of the kernel: it may be compiled, and calls only other marked functions and numpy."""
    _functions[function.__name__] = function
    return function


def is_compiled() -> bool:
    """Whether this process runs the compiled kernel."""
    return _compiled


def compile_kernel() -> None:
    """Switch to the compiled kernel. The first call on a machine compiles it, later ones load it from disk."""
    global _compiled  # noqa: PLW0603 - the process switches once
    with _lock:
        if _compiled:
            return
        from numba import njit

        import fiberloom.model.kernel  # noqa: F401 - so that all functions are marked

        _drop_stale_caches()
        dispatchers = {}
        for name, function in _functions.items():
            entry = name in ENTRY_POINTS
            options: dict[str, Any] = (
                {"cache": True} if entry else {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
            )
            dispatchers[function] = njit(nogil=True, error_model="numpy", **options)(function)
        for module in [m for n, m in sys.modules.items() if n.startswith(f"{_PACKAGE}.")]:
            for name, value in list(vars(module).items()):
                if callable(value) and getattr(value, "__name__", None) in _functions and value in dispatchers:
                    setattr(module, name, dispatchers[value])
        _compiled = True


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say what takes so long while this process runs the compiled kernel for the first time."""
    global _announced  # noqa: PLW0603 - said once
    if _announced:
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
        _announced = True


def _drop_stale_caches() -> None:
    """Forget compiled code when any file of this folder changed: numba looks only at the file of the function itself."""
    folder = Path(__file__).parent
    sources = sorted(folder.glob("*.py"))
    stamp = "\n".join(f"{s.name} {s.stat().st_mtime_ns} {s.stat().st_size}" for s in sources)
    cache = folder / "__pycache__"
    record = cache / "kernel.stamp"
    with contextlib.suppress(OSError):  # a read-only installation never changes
        if record.exists() and record.read_text() == stamp:
            return
        for compiled in (*cache.glob("*.nbi"), *cache.glob("*.nbc")):
            compiled.unlink(missing_ok=True)
        cache.mkdir(exist_ok=True)
        record.write_text(stamp)
