"""The DRAM controller once more, clock by clock and in plain Python: what the event-driven simulation must agree with.

Written from docs/explore-dram.md. Every clock, in this order: responses arrive, requests move, refreshes fall due, and at most one
command is issued. Whether a command may be issued is looked up in the whole history of commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fiberloom.explore.dram.controller import Controller
from fiberloom.explore.dram.device import Timing, place
from fiberloom.explore.dram.traces import Trace

CONTROLLER_CLOCK = 4
BANKS, GROUPS = 16, 4


@dataclass
class Request:
    number: int
    write: bool
    bank: int
    row: int
    column: int
    initiator: int
    when: int
    waits: bool
    arrived: int | None = None
    crossed: int | None = None
    age: int | None = None
    complete: int | None = None
    left: int | None = None
    delivered: int | None = None


@dataclass
class Oracle:
    """One run; `log` has (clock, command, bank, row, request) with names for commands."""

    trace: Trace
    controller: Controller
    t: Timing
    log: list[tuple[int, str, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        bank, row, column = place(self.trace.address)
        self.requests = [
            Request(i, bool(self.trace.write[i]), int(bank[i]), int(row[i]), int(column[i]), int(self.trace.initiator[i]),
                    int(self.trace.when[i]), bool(self.trace.waits[i]))
            for i in range(len(self.trace))
        ]  # fmt: skip
        self.unsent = {
            who: [r for r in self.requests if r.initiator == who]
            for who in sorted({r.initiator for r in self.requests})
        }
        self.sent: dict[int, list[Request]] = {who: [] for who in self.unsent}
        self.arbiter: list[Request] = []
        self.buffers: list[Request] = []  # waiting for their access, oldest first
        self.accepted: list[Request] = []
        self.bursts: list[Request] = []  # accessed, not yet out of the response queue, in order of their bursts
        self.history: dict[tuple[str, int | None], list[int]] = {}  # clocks of commands, per bank
        self.open: dict[int, int] = {}
        self.link_free = 0
        self.last_left = -CONTROLLER_CLOCK
        self.last_delivered: dict[int, int] = {}
        self.way: bool = False
        self.owed = 0
        self.closing = False
        self.register = CONTROLLER_CLOCK * (1 if controller_is_simple(self.controller) else 2)

    def run(self) -> Oracle:
        clock = 0
        while any(r.delivered is None or r.delivered > clock for r in self.requests):
            while self.respond(clock) or self.move(clock):
                pass
            if self.controller.RefreshPolicy == "AllBank" and clock and clock % self.t.refi == 0:
                self.owed += 1
            self.command(clock)
            clock += 1
            assert clock < 10**6
        return self

    # responses

    def respond(self, clock: int) -> bool:
        """A response leaves the response queue, or reaches its initiator."""
        in_order = self.controller.RespQueue == "Reorder"
        queue = [r for r in self.accepted if r.left is None] if in_order else self.bursts
        head = queue[0] if queue else None
        if head and head.complete is not None and head.complete <= clock and self.last_left + CONTROLLER_CLOCK <= clock:
            head.left = self.last_left = clock
            self.bursts.remove(head)
            return True
        for who, requests in self.sent.items():
            waiting = [r for r in requests if r.delivered is None]
            if self.controller.Arbiter != "Reorder":
                waiting = sorted((r for r in waiting if r.left is not None), key=lambda r: r.left or 0)
            if not waiting or waiting[0].left is None or waiting[0].left + self.register > clock:
                continue
            spaced = self.last_delivered.get(who, -CONTROLLER_CLOCK) + CONTROLLER_CLOCK <= clock
            if self.controller.Arbiter != "Reorder" or spaced:
                waiting[0].delivered = self.last_delivered[who] = clock
                return True
        return False

    # requests

    def ready_since(self, who: int, clock: int) -> int | None:
        """The clock from which the initiator's next request may enter the arbiter; None: not yet."""
        if not self.unsent[who]:
            return None
        request, sent = self.unsent[who][0], self.sent[who]
        answered = sorted(r.delivered for r in sent if r.delivered is not None)
        since = request.when
        if request.waits:
            if len(answered) < len(sent):
                return None
            since += answered[-1] if answered else 0
        request.arrived = since
        most = self.controller.MaxActiveTransactions
        if self.controller.Arbiter != "Simple" and len(sent) >= most:
            if len(sent) - len(answered) >= most:
                return None
            since = max(since, answered[len(sent) - most])
        return since if since <= clock else None

    def move(self, clock: int) -> bool:
        """A request goes from the arbiter into a buffer, or from an initiator into the arbiter."""
        if self.arbiter and (self.arbiter[0].crossed or 0) <= clock and self.room(self.arbiter[0]):
            request = self.arbiter.pop(0)
            request.age = len(self.accepted)
            self.accepted.append(request)
            self.buffers.append(request)
            if self.controller.Arbiter == "Simple":
                self.link_free = clock
            return True
        if self.link_free > clock or (self.controller.Arbiter == "Simple" and self.arbiter):
            return False
        ready = [(since, who) for who in self.unsent if (since := self.ready_since(who, clock)) is not None]
        if not ready:
            return False
        _, who = min(ready)
        request = self.unsent[who].pop(0)
        self.sent[who].append(request)
        request.crossed = clock + self.register
        self.arbiter.append(request)
        self.link_free = clock + CONTROLLER_CLOCK
        return True

    def room(self, request: Request) -> bool:
        kind = self.controller.SchedulerBuffer
        same = [
            r
            for r in self.buffers
            if kind == "Shared"
            or (kind == "Bankwise" and r.bank == request.bank)
            or (kind == "ReadWrite" and r.write == request.write)
        ]
        return len(same) < self.controller.RequestBufferSize

    # commands

    def command(self, clock: int) -> None:
        c = self.controller
        idle = c.RefreshPolicy == "AllBank" and not self.buffers and self.accepted and self.owed > -c.RefreshMaxPulledin
        if self.closing or idle or self.owed > c.RefreshMaxPostponed:
            self.refresh(clock)
            return
        able = []
        for bank in {r.bank for r in self.buffers}:
            request = self.pick(bank)
            name = (
                "ACT"
                if bank not in self.open
                else "PRE"
                if self.open[bank] != request.row
                else "WR"
                if request.write
                else "RD"
            )
            if self.legal(name, bank, clock):
                able.append((request.age or 0, name, request))
        if not able:
            return
        _, name, request = min(able, key=lambda a: a[0])
        bank = request.bank
        self.note(name, bank, clock)
        if name == "ACT":
            self.open[bank] = request.row
        elif name == "PRE":
            del self.open[bank]
        else:
            name += "A" if self.access(request, clock) else ""
        self.log.append((clock, name, bank, request.row, request.number))

    def refresh(self, clock: int) -> None:
        t = self.t
        if self.open:
            if all(self.legal("PRE", bank, clock) for bank in self.open) and self.all_done("PRE", 0, clock):
                for bank in self.open:
                    self.note("PRE", bank, clock)
                self.open.clear()
                self.closing = True
                self.log.append((clock, "PRE_ALL", -1, -1, -1))
        elif self.all_done("PRE", t.rp, clock) and self.all_done("REF", t.rfc, clock):
            for bank in range(BANKS):
                self.note("REF", bank, clock)
            self.owed -= 1
            self.closing = False
            self.log.append((clock, "REF", -1, -1, -1))

    def all_done(self, name: str, distance: int, clock: int) -> bool:
        return all(clock - max(self.history.get((name, b), [-(10**6)])) >= distance for b in range(BANKS))

    def pick(self, bank: int) -> Request:
        queue = [r for r in self.buffers if r.bank == bank]
        hits = [r for r in queue if r.row == self.open.get(bank)]
        if self.controller.Scheduler == "Fifo" or not hits:
            return queue[0]
        if self.controller.Scheduler == "FrFcfsGrp":
            for request in hits:
                older = queue[: queue.index(request)]
                if request.write == self.way and not any(
                    (r.row, r.column) == (request.row, request.column) for r in older
                ):
                    return request
        return hits[0]

    def access(self, request: Request, clock: int) -> bool:
        """Move the data; returns whether the bank closes itself afterwards."""
        t = self.t
        self.buffers.remove(request)
        self.way = request.write
        request.complete = clock + t.burst + (t.cwl if request.write else t.cl)
        self.bursts.append(request)
        others = [r for r in self.buffers if r.bank == request.bank]
        hit = any(r.row == request.row for r in others)
        policy = self.controller.PagePolicy
        shut = policy == "Closed" or (
            not hit and (policy == "ClosedAdaptive" or (policy == "OpenAdaptive" and bool(others)))
        )
        if shut:
            own = self.history["ACT", request.bank][-1] + t.ras
            own = max(own, request.complete + t.wr if request.write else clock + t.rtp)
            self.note("PRE", request.bank, own)
            del self.open[request.bank]
        return shut

    def note(self, name: str, bank: int, clock: int) -> None:
        self.history.setdefault((name, bank), []).append(clock)

    def legal(self, name: str, bank: int, clock: int) -> bool:
        t = self.t
        group = [b for b in range(BANKS) if b % GROUPS == bank % GROUPS]
        everywhere = list(range(BANKS))
        before = {
            "ACT": [
                ("ACT", [bank], t.ras + t.rp), ("PRE", [bank], t.rp), ("REF", [bank], t.rfc),
                ("ACT", group, t.rrd_l), ("ACT", everywhere, t.rrd_s),
            ],
            "PRE": [("ACT", [bank], t.ras), ("RD", [bank], t.rtp), ("WR", [bank], t.cwl + t.burst + t.wr)],
            "RD": [
                ("ACT", [bank], t.rcd), ("RD", group, t.ccd_l), ("RD", everywhere, t.ccd_s),
                ("WR", group, t.cwl + t.burst + t.wtr_l), ("WR", everywhere, t.cwl + t.burst + t.wtr_s),
            ],
            "WR": [
                ("ACT", [bank], t.rcd), ("WR", group, t.ccd_l), ("WR", everywhere, t.ccd_s),
                ("RD", everywhere, t.cl + t.burst + 2 - t.cwl),
            ],
        }[name]  # fmt: skip
        for earlier, banks, distance in before:
            if any(clock - at < distance for b in banks for at in self.history.get((earlier, b), [])[-2:]):
                return False
        if name == "ACT":
            acts = sorted(at for b in everywhere for at in self.history.get(("ACT", b), [])[-4:])
            return len(acts) < 4 or clock - acts[-4] >= t.faw
        return True


def controller_is_simple(controller: Controller) -> bool:
    return controller.Arbiter == "Simple"
