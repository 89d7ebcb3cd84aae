"""Memory traces: synthetic ones from a seed, given ones from files, and bad lines named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore.dram.controller import Controller, simulate
from fiberloom.explore.dram.device import CAPACITY_BYTES, LINE_BYTES
from fiberloom.explore.dram.trace_files import read_trace
from fiberloom.explore.dram.traces import KINDS, MOST_CLOCKS, Trace, synthetic


def written(folder: Path, text: str, name: str = "given.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rows(trace: Trace) -> list[tuple[int, bool, bool, int, int]]:
    columns = (trace.when, trace.waits, trace.write, trace.address, trace.initiator)
    return [tuple(row) for row in zip(*(c.tolist() for c in columns), strict=True)]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_seed_gives_one_trace(kind: str) -> None:
    first, again, other = synthetic(kind, 500, 1), synthetic(kind, 500, 1), synthetic(kind, 500, 2)
    assert len(first) == 500
    assert rows(first) == rows(again)
    assert rows(first) != rows(other)
    assert len(synthetic(kind, 1, 1)) == 1
    assert len(synthetic(kind, 7, 1)) == 7


def test_kinds_are_what_their_names_say() -> None:
    hits = {k: simulate(synthetic(k), Controller()).metrics()["row_hit_rate"] for k in KINDS}
    assert hits["stream"] > 0.8
    assert max(hits[k] for k in ("random", "strided", "pointer-chase")) < 0.01
    assert hits["random"] < hits["cloud-1"] < hits["stream"]
    chase = simulate(synthetic("pointer-chase"), Controller())
    assert (chase.arrived[1:] == chase.delivered[:-1] + 10).all()
    assert len(np.unique(synthetic("cloud-1").initiator)) == 4
    assert synthetic("cloud-1").write.mean() < synthetic("cloud-2").write.mean()
    assert (np.diff(synthetic("strided").address) % CAPACITY_BYTES == 32_768).all()


def test_requests_in_text_keep_their_times_kinds_and_initiators(tmp_path: Path) -> None:
    text = (
        "cycle,access,address,initiator\n# a comment\n100,R,0x40\n110, W, 128, 3\n\n120 read 0x0 # why not\n+5;w;64;3\n"
    )
    assert rows(read_trace(written(tmp_path, text))) == [
        (0, False, False, 64, 0),
        (10, False, True, 128, 3),
        (20, False, False, 0, 0),
        (5, True, True, 64, 3),
    ]


def test_transactions_of_dramsys_become_lines_and_memory_clocks(tmp_path: Path) -> None:
    text = "# comment\n31: read 0x400140\n33: write 0x400160 0xdeadbeef\n81: (128) read 0x400180\n"
    found = rows(read_trace(written(tmp_path, text, "a.stl"), clock_mhz=300))  # a clock of the bus is 4 of the memory
    assert found == [
        (0, False, False, 0x400140, 0),
        (8, False, True, 0x400140, 0),
        (200, False, False, 0x400180, 0),
        (200, False, False, 0x4001C0, 0),
    ]
    relative = read_trace(written(tmp_path, "31: read 0x0\n2: (128) read 0x40\n", "a.rstl"))
    assert rows(relative)[:2] == [(31, True, False, 0, 0), (2, True, False, 64, 0)]
    run = simulate(relative, Controller())
    assert run.arrived[1] == run.delivered[0] + 2
    assert run.arrived[2] <= run.arrived[1]  # comes with it


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("5,R", "has 2 fields"),
        ("x,R,0x0", "'x' is no cycle"),
        ("-1,R,0x0", "'-1' is no cycle"),
        ("5,Q,0x0", "'Q' is no kind of access"),
        ("5,R,zero", "'zero' is no address"),
        ("5,R,-64", "'-64' is no address"),
        (f"5,R,{CAPACITY_BYTES}", "outside the memory"),
        (f"{MOST_CLOCKS + 1},R,0", "too far on"),
        ("9" * 5000 + ",R,0", "too far on"),
        ("5,R,0,-1", "'-1' is no initiator"),
        ("5,R,0,64", "'64' is no initiator"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = written(tmp_path, f"cycle,access,address\n1,R,0x0\n{line}\n")
    with pytest.raises(SpecError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "line", ["read 0x0", "5: fetch 0x0", "5: read 64", "5: (0) read 0x0", "5: (99999999) read 0x0", "5 read 0x0"]
)
def test_a_bad_transaction_is_named(tmp_path: Path, line: str) -> None:
    path = written(tmp_path, f"1: read 0x0\n{line}\n", "a.stl")
    with pytest.raises(SpecError, match=r"a\.stl:2: "):
        read_trace(path)


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    for path, problem in (
        (tmp_path / "none.csv", "can't be read"),
        (tmp_path / "a.json", "no trace file ends in"),
        (written(tmp_path, "# nothing\n"), "no requests"),
    ):
        with pytest.raises(SpecError, match=problem):
            read_trace(path)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SpecError, match="no text file"):
        read_trace(tmp_path / "binary.csv")
    with pytest.raises(SpecError, match="clock of the trace"):
        read_trace(written(tmp_path, "1,R,0\n"), clock_mhz=0)
    with pytest.raises(SpecError, match=r"no trace 'streams'\n.*stream"):
        synthetic("streams")
    for requests in (0, -1, 1.5, True):
        with pytest.raises(SpecError, match="requests"):
            synthetic("stream", requests)  # type: ignore[arg-type]


def test_a_long_pause_is_no_long_simulation(tmp_path: Path) -> None:
    run = simulate(read_trace(written(tmp_path, f"0,R,0\n{MOST_CLOCKS // 10},R,{LINE_BYTES}\n")), Controller())
    assert run.counts.refreshes == pytest.approx(MOST_CLOCKS / 10 / 9360, abs=9)
