"""The memory behind the controller: one rank of eight 8 Gb x8 DDR4-2400 devices, 64 data bits, 8 GiB.

Timings are those of JEDEC JESD79-4 for DDR4-2400R (16-16-16) and devices with 1 KiB pages, in memory clocks of 1200 MHz, a value
in nanoseconds rounded up. Currents are those of Micron's MT40A1G8, die revision B, at DDR4-2400, from the table of the module
data sheet MTA18ASF2G72HZ (Rev. F), divided by its devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberloom.explore.dram.memory import BANKS, GROUPS

Integers = NDArray[np.int64]

CLOCK_MHZ: Final = 1200
"""Memory clock of DDR4-2400; two transfers per clock."""

NS_PER_CLOCK: Final = 1e3 / CLOCK_MHZ

LINE_BYTES: Final = 64
"""One burst: 8 transfers (JESD79-4, BL8) of 64 bits."""

LINES_PER_ROW: Final = 128
"""1024 columns (JESD79-4, 8 Gb x8) in bursts of 8."""

ROWS: Final = 65_536
"""Rows per bank of an 8 Gb x8 device (JESD79-4)."""

CAPACITY_BYTES: Final = LINE_BYTES * LINES_PER_ROW * BANKS * ROWS

DEVICES: Final = 8
"""Devices that share the 64 data bits."""


class Timing(NamedTuple):
    """Least distances between commands, in memory clocks; names as in JESD79-4 without the leading t.

    ``_s`` holds between bank groups, ``_l`` within one. Analogue values: RCD, RP 13.32 ns (clocks of the speed bin), RAS 32 ns,
    RRD_L 4.9 ns, RRD_S 3.3 ns or 4 clocks, FAW 21 ns, WR 15 ns, WTR_S 2.5 ns, WTR_L 7.5 ns, RTP 7.5 ns, RFC1 350 ns for 8 Gb,
    REFI 7.8 us up to 85 degrees.
    """

    burst: int = 4
    cl: int = 16
    cwl: int = 12
    rcd: int = 16
    rp: int = 16
    ras: int = 39
    rrd_s: int = 4
    rrd_l: int = 6
    faw: int = 26
    ccd_s: int = 4
    ccd_l: int = 6
    rtp: int = 9
    wr: int = 18
    wtr_s: int = 3
    wtr_l: int = 9
    rfc: int = 420
    refi: int = 9360


@dataclass(frozen=True)
class Currents:
    """Data-sheet currents of one device in mA, and supply voltages in V; names as in the data sheet.

    `ipp3n` flows always; `ipp5b` during a refresh. IPP0 equals IPP3N, so that activations add nothing on VPP.
    """

    idd0: float = 48.0
    idd2n: float = 34.0
    idd3n: float = 43.0
    idd4r: float = 135.0
    idd4w: float = 123.0
    idd5b: float = 250.0
    ipp3n: float = 3.0
    ipp5b: float = 28.0
    vdd: float = 1.2
    vpp: float = 2.5


@dataclass(frozen=True)
class Energies:
    """Of the whole rank: nJ per command, mW of standby.

    Micron TN-40-07 (Calculating Memory Power for DDR4 SDRAM): a command costs the current above the standby in which it runs, over
    the time in which the data sheet measures it. I/O and termination power depend on the board and are left out.
    """

    activate_nj: float
    read_nj: float
    write_nj: float
    refresh_nj: float
    precharged_mw: float
    active_mw: float

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, timing: Timing, currents: Currents) -> Energies:
        """From data-sheet values."""
        c, t = currents, timing
        pump_mw = DEVICES * c.ipp3n * c.vpp
        nj = DEVICES * NS_PER_CLOCK * 1e-3  # mA · V · clocks → nJ

        standby = (c.idd3n * t.ras + c.idd2n * t.rp) / (t.ras + t.rp)
        return cls(
            activate_nj=nj * c.vdd * (c.idd0 - standby) * (t.ras + t.rp),
            read_nj=nj * c.vdd * (c.idd4r - c.idd3n) * t.burst,
            write_nj=nj * c.vdd * (c.idd4w - c.idd3n) * t.burst,
            refresh_nj=nj * (c.vdd * (c.idd5b - c.idd3n) + c.vpp * (c.ipp5b - c.ipp3n)) * t.rfc,
            precharged_mw=DEVICES * c.idd2n * c.vdd + pump_mw,
            active_mw=DEVICES * c.idd3n * c.vdd + pump_mw,
        )


def place(address: Integers) -> tuple[Integers, Integers, Integers]:
    """Bank (group = bank % 4), row and column (in lines) of byte addresses below `CAPACITY_BYTES`.

    From the lowest bit: byte, bank group, column, bank within the group, row. Neighbouring lines lie in different groups, so
    that a stream runs at CCD_S.
    """
    line = address // LINE_BYTES
    group, line = line % GROUPS, line // GROUPS
    column, line = line % LINES_PER_ROW, line // LINES_PER_ROW
    within, row = line % (BANKS // GROUPS), line // (BANKS // GROUPS)
    return within * GROUPS + group, row, column
