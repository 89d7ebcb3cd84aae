"""How the kernel is compiled: cached on disk, without Python objects, IEEE arithmetic."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

OPTIONS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy"}


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


_drop_stale_caches()
