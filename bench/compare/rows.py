"""The rows of the comparison: what each is, how weft measures it, and the physical limit beside which it stands.

A row of a peer is one line in the table at the end of its program; its numbers are called as here. weft's come from the
programs of bench/, under the names that those print.
"""

from dataclasses import dataclass, field

# Numbers of bench/physical that rows are compared with, and how they are called in the tables.
LIMITS = {
    "switch": "bare switch",
    "locked_add": "locked add",
    "cache_line": "line there and back",
    "system_call": "system call",
    "page": "first touch of a page",
    "wake.arrive": "wake-up of an idle core",
}


@dataclass
class Number:
    """One number of a row. The limit is times * a number of bench/physical in ns, brought to the unit of the row."""

    name: str
    weft: str
    unit: str = "ns"
    limit: str = ""
    times: float = 1
    more: bool = False  # more is better


@dataclass
class Row:
    name: str
    what: str
    numbers: list
    weft: list = field(default_factory=list)  # program of bench/ and its arguments; [] for rows that the runner knows
    threads: tuple = (1, 2)
    span: bool = True  # operations are repeated for a span of time


def one(name, what, program, limit, times=1, weft=None, unit="ns", **rest):
    """A row with one number, which has the row's name."""
    weft = weft or name
    return Row(name, what, [Number(name, weft, unit, limit, times)], [program, weft], **rest)


ROWS = [
    one("yield", "two yield to each other; a yield", "yield", "switch"),
    one("spawn", "one that does nothing is started and waited for", "spawn", "switch"),
    one("join8", "eight are started, then waited for; each", "waitgroup", "switch", weft="waitgroup.join8"),
    one("spawn_million", "a million are started, then waited for; each (1 ms in all is 1 ns each)", "spawn_million",
        "switch", unit="ms", times=1e6, span=False),
    one("pingpong", "a value there and back over two unbuffered channels", "pingpong", "switch", 2),
    *(one(f"{kind}{capacity}", f"buffered channel of {capacity}, {who}; an item", "buffered", "locked_add",
          weft=f"buffered.{stem}{capacity}")
      for kind, who, stem in (("spsc", "one producer, one consumer", "cap"), ("mpmc", "four of each", "mpmc"))
      for capacity in (1, 128, 4096)),
    one("ring", "a token round 1,000 over unbuffered channels; a hop", "ring", "switch"),
    one("select4", "select over 4 unbuffered channels that another sends on in turn", "select", "switch"),
    one("select64", "the same over 64", "select", "switch"),
    one("mutex", "lock and unlock by eight at once", "mutex", "locked_add", weft="mutex.contended"),
    one("rwmutex", "nine reads to one write by eight at once", "rwmutex", "locked_add", weft="rwmutex.contended"),
    one("waitgroup", "add and done on one WaitGroup by eight at once", "waitgroup", "locked_add", 2,
        weft="waitgroup.contended"),
    one("sem", "four units of a semaphore, taken and given back by eight", "sem", "locked_add", 2,
        weft="sem.contended4"),
    one("skynet", "a tree of a million leaves, ten children each, sums up unbuffered channels", "skynet", "switch",
        1.11e6, unit="ms", span=False),
    one("sum", "ten million numbers by divide and conquer, 131,071 children", "sum", "switch", 131071, unit="ms",
        span=False),
    one("sieve", "2,000 primes by a chain of filters, 2.0 million values over unbuffered channels", "sieve", "switch",
        2.04e6, unit="ms", span=False),
    Row("parked", "a million wait to receive: memory of each, time to create and to wake it",
        [Number("parked.bytes", "parked.bytes", "B"), Number("parked.create", "parked.create", "ns", "page"),
         Number("parked.wake", "parked.wake", "ns", "switch")], ["parked", "parked"], (1,), span=False),
    Row("sleepers", "100,000 sleep ten times for 100 to 300 ms: CPU time of a sleep, how late it ends on average",
        [Number("sleepers.cpu", "sleepers_200ms.cpu", "ns", "switch"),
         Number("sleepers.late", "sleepers_200ms.late_mean", "us", "wake.arrive")],
        ["sleepers", "sleepers_200ms"], (2,), span=False),
    Row("timer", "a timer is started and stopped beside 1,000 and a million that are pending",
        [Number(f"timer.{n}", f"timer.start_stop.{n}", "ns", "switch") for n in (1000, 1000000)],
        ["timer", "timer.start_stop"], (1,), span=False),
    one("overshoot", "how much longer than that a sleep of 1 ms takes; the median of 200", "overshoot", "wake.arrive",
        unit="us", threads=(1,), span=False),
    Row("hog", "how late a sleeper of 1 ms wakes at most, in a second beside one that computes",
        [Number("hog", "hogs.endless.max", "ms")], ["hogs", "endless", "200"], (1,), span=False),
    Row("blocked", "what one that counts and yields keeps of its pace beside 8 in system calls of 50 ms",
        [Number("blocked", "hogs.raw50", "%", more=True)], ["hogs", "raw50", "400"], (2,), span=False),
    Row("cold", "a hello program from start to end, its most resident memory, the size of its file",
        [Number("cold.time", "", "ms"), Number("cold.memory", "", "KiB"), Number("cold.size", "", "KiB")],
        threads=(1,)),
    Row("digest", "SHA-256 of 2,000 files, 225 MB", [Number("digest", "", "ms")], threads=(1, 2)),
    Row("echo", "echo of 64 bytes over 100 connections, server on one core, load on another (bench/echo/run)",
        [Number("echo.rate", "", "1/s", more=True), Number("echo.cpu", "", "us")], threads=(1,)),
    Row("http", "HTTP over 100 connections, server on one core, wrk on another (bench/http/run)",
        [Number("http.rate", "", "1/s", more=True), Number("http.cpu", "", "us")], threads=(1,)),
]

# weft with more workers than there are cores: what must not collapse.
WORKER_ROWS = ("pingpong", "spawn", "spsc128", "mutex", "skynet", "select4")
WORKER_COUNTS = (2, 8, 64, 256)

NS = {"ns": 1, "us": 1e3, "ms": 1e6}
NUMBERS = {number.name: (row, number) for row in ROWS for number in row.numbers}


def limit_of(number, physical):
    """The physical limit of a number in its unit, or None."""
    ns = physical.get(number.limit)
    return ns * number.times / NS[number.unit] if ns else None
