"""Given traces: text files with a line per request, and DRAMSys' trace files.

* ``.csv``, ``.txt``: ``cycle, R|W, address`` or, with several initiators, ``cycle, R|W, address, initiator``. Blanks may stand for the
  commas; ``+cycle`` counts from the initiator's latest response; a header line and lines that begin with ``#`` are passed over.
* ``.stl``, ``.rstl``: ``cycle: [(bytes)] read|write 0xaddress [data]``, the latter with cycles after the end of the previous
  transaction (DRAMSys, configuration manual, "Trace Files"). Transactions of more than a line become as many requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from fiberloom.errors import Location, SpecError
from fiberloom.explore.dram.device import CAPACITY_BYTES, CLOCK_MHZ, LINE_BYTES
from fiberloom.explore.dram.traces import MOST_CLOCKS, MOST_INITIATORS, Trace

ENDINGS: Final = (".csv", ".txt", ".stl", ".rstl")

_STL: Final = re.compile(
    r"(\d+)\s*:\s*(?:\((\d+)\)\s*)?(read|write)\s+(0x[0-9a-f]+)(?:\s+0x[0-9a-f.]+)?", re.IGNORECASE
)
_ADDRESS: Final = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)
_CYCLE: Final = re.compile(r"(\+?)(\d+)")
_ACCESSES: Final = {"r": False, "read": False, "w": True, "write": True}
_HEADERS: Final = ("cycle", "cycles", "time", "clock")
_MOST_LINES: Final = 1 << 16

_Row = tuple[int, bool, bool, int, int]
"""Clock, waits, write, address, initiator."""


def read_trace(path: str | Path, *, clock_mhz: float = CLOCK_MHZ) -> Trace:
    """A trace from a file; its time begins with the earliest request.

    Args:
        clock_mhz: clock that the file's cycles count; they become memory clocks.

    Raises:
        SpecError: for a file that can't be read or a line that makes no sense, with its place.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise SpecError(f"{path}: no trace file ends in '{path.suffix}'", hint=f"known: {', '.join(ENDINGS)}")
    if not 0 < clock_mhz < float("inf"):
        raise SpecError(f"the clock of the trace is {clock_mhz} MHz", hint="give a positive number")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise SpecError(f"{path} can't be read: {error.strerror}", hint="check the name and the permissions") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path} is no text file", hint="give one line of text per request") from None
    rows: list[_Row] = []
    stl = path.suffix in (".stl", ".rstl")
    ratio = CLOCK_MHZ / clock_mhz
    for number, line in enumerate(lines, 1):
        where = Location(str(path), number)
        text = line.partition("#")[0].strip()
        if text and stl:
            rows += _transaction(text, path.suffix == ".rstl", ratio, where)
        elif text and not (not rows and re.split(r"[\s,;]+", text)[0].lower() in _HEADERS):
            rows.append(_request(text, ratio, where))
    if not rows:
        raise SpecError(f"{path} holds no requests", hint="give at least one line")
    return _shifted(rows)


def _shifted(rows: Iterable[_Row]) -> Trace:
    when, waits, write, address, initiator = (np.array(column) for column in zip(*rows, strict=True))
    if not waits.all():
        when = np.where(waits, when, when - when[~waits].min())
    return Trace(when.astype(np.int64), waits, write, address.astype(np.int64), initiator.astype(np.int64))


def _request(text: str, ratio: float, where: Location) -> _Row:
    parts = [part for part in re.split(r"[\s,;]+", text) if part]
    if len(parts) not in (3, 4):
        raise SpecError(
            f"'{text[:60]}' has {len(parts)} fields", where=where, hint="write cycle, R or W, address[, initiator]"
        )
    cycle = _CYCLE.fullmatch(parts[0])
    if cycle is None:
        raise SpecError(f"'{parts[0][:40]}' is no cycle", where=where, hint="a whole number, or +number to wait")
    if parts[1].lower() not in _ACCESSES:
        raise SpecError(f"'{parts[1][:40]}' is no kind of access", where=where, hint="write R or W")
    initiator = int(parts[3]) if len(parts) == 4 and parts[3].isdecimal() else 0
    if (len(parts) == 4 and not parts[3].isdecimal()) or initiator >= MOST_INITIATORS:
        raise SpecError(
            f"'{parts[3][:40]}' is no initiator", where=where, hint=f"a number from 0 to {MOST_INITIATORS - 1}"
        )
    address = _address(parts[2], 1, where)
    return _clock(cycle[2], ratio, where), bool(cycle[1]), _ACCESSES[parts[1].lower()], address, initiator


def _transaction(text: str, relative: bool, ratio: float, where: Location) -> list[_Row]:
    found = _STL.fullmatch(text)
    if found is None:
        raise SpecError(
            f"'{text[:60]}' is no transaction", where=where, hint="write 'cycle: [(bytes)] read|write 0xaddress'"
        )
    size = int(found[2] or 1)  # without a length: one burst
    if not 0 < size <= _MOST_LINES * LINE_BYTES:
        raise SpecError(f"a transaction of {size} bytes", where=where, hint=f"1 to {_MOST_LINES * LINE_BYTES:,}")
    address = _address(found[4], size, where)
    clock = _clock(found[1], ratio, where)
    lines = range(address // LINE_BYTES, (address + size - 1) // LINE_BYTES + 1)
    write = found[3].lower() == "write"
    rows = [(clock, relative, write, line * LINE_BYTES, 0) for line in lines]
    if relative:  # the lines after the first come with it
        rows[1:] = [(0, False, *row[2:]) for row in rows[1:]]
    return rows


def _clock(text: str, ratio: float, where: Location) -> int:
    clock = round(int(text) * ratio) if len(text) < 25 else MOST_CLOCKS + 1
    if clock > MOST_CLOCKS:
        raise SpecError(
            f"cycle {text[:40]} is too far on", where=where, hint=f"a trace lasts at most {MOST_CLOCKS:,} memory clocks"
        )
    return clock


def _address(text: str, size: int, where: Location) -> int:
    if not _ADDRESS.fullmatch(text):
        raise SpecError(f"'{text[:40]}' is no address", where=where, hint="write 0x… or a decimal number")
    address = int(text, 0 if text[:2].lower() == "0x" else 10)
    if address + size > CAPACITY_BYTES:
        raise SpecError(
            f"address {text[:40]} lies outside the memory",
            where=where,
            hint=f"the rank holds {CAPACITY_BYTES:,} bytes; map the trace's addresses to 0 … {CAPACITY_BYTES - 1:#x}",
        )
    return address
