"""What comes out of a comparison: the table on the terminal, the generated parts of docs/performance.md and of README.md,
the plots."""

import operator
import re
import shutil
import statistics
import subprocess
from pathlib import Path

from cost import KINDS
from rows import LIMITS, NUMBERS, ROWS, WORKER_COUNTS, limit_of

HERE = Path(__file__).resolve().parent
median = statistics.median


def processor():
    return re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text() + "model name: unknown\n", re.M)[1]


def digits(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


class Cell:
    """A number of one runtime. times says how many times better weft is: above 1 weft is the better one."""

    def __init__(self, entry, name, threads, runtime):
        self.number = NUMBERS[name][1]
        by_runtime = entry["values"].get(name, {}).get(threads, {})
        self.known = runtime in by_runtime
        self.values = [value for value in by_runtime.get(runtime) or [] if value is not None]
        self.failed = self.known and by_runtime[runtime] is None
        self.never = self.known and not self.failed and not self.values
        self.median = median(self.values) if self.values else None
        self.runtime = runtime
        self.times = None
        if runtime != "weft" and self.values:
            weft = Cell(entry, name, threads, "weft").median
            if weft and self.median:
                self.times = weft / self.median if self.number.more else self.median / weft
        limit = limit_of(self.number, {name: median(list_) for name, list_ in entry["physical"].items()})
        self.of_limit = self.median / limit if limit and self.values else None

    def spread(self):
        return f"{digits(min(self.values))}..{digits(max(self.values))}" if len(self.values) > 1 else ""

    def text(self):
        """As it stands in the page."""
        if not self.known:
            return ""
        if not self.values:
            return "never" if self.never else "fails"
        text = digits(self.median)
        if self.spread():
            text += f" <small>{self.spread()}</small>"
        return text + (f" **{digits(self.times)}×**" if self.times else "")


def lines_of(results, names):
    """(name, threads, entry) of what is known."""
    for name in names:
        entry = results["rows"].get(NUMBERS[name][0].name)
        for threads in sorted(entry["values"].get(name, {})) if entry else []:
            yield name, threads, entry


def print_table(results, titles, names):
    print(f"\n{'':16} {'threads':>7}  {'':14} {'median':>10} {'':4}  {'spread':23} {'x weft':>7}   limit")
    for name, threads, entry in lines_of(results, names):
        number = NUMBERS[name][1]
        for runtime, title in titles.items():
            cell = Cell(entry, name, threads, runtime)
            if not cell.known:
                continue
            value = digits(cell.median) if cell.values else "never" if cell.never else "fails"
            ratio = digits(cell.median / Cell(entry, name, threads, "weft").median) if cell.times else ""
            limit = f"{digits(cell.of_limit)} x {LIMITS[number.limit]}" if cell.of_limit else ""
            print(f"{name:16} {threads:>7}  {title:14} {value:>10} {number.unit:4}  {cell.spread():23} {ratio:>7}   {limit}",
                  flush=True)
    print()
    for text, value, verdict in judged(results, names):
        print(f"{text:44} {value:>10}  {verdict}")


# ---- targets ----

WHERE = {"1": "1 thread", "2": "2 threads", "workers": "more workers than processors"}


def value_of(results, name, threads, what):
    """What a target judges, or None."""
    if threads == "workers":
        table = results["workers"].get(name)
        base = table and median(table["2"]["weft"])
        return max(median(table[str(n)]["weft"]) / base for n in WORKER_COUNTS) if base else None
    entry = results["rows"].get(NUMBERS[name][0].name)
    if not entry:
        return None
    other = what.partition("/")[0]
    if other in NUMBERS: # another number of weft's
        return Cell(entry, other, threads, "weft").median / Cell(entry, name, threads, "weft").median
    cell = Cell(entry, name, threads, other)
    return cell.times if "/" in what else cell.median


def judged(results, names=None):
    """(target, value, ok or MISSED) of the targets of these numbers, as far as they were measured."""
    signs = {"<=": operator.le, ">=": operator.ge}
    for line in (HERE / "targets").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, threads, what, sign, bound = line.split()
        value = value_of(results, name, threads, what) if names is None or name in names else None
        if value is not None:
            good = signs[sign](value, float(bound))
            yield f"{name}, {WHERE[threads]}: {what} {sign} {bound}", digits(value), "ok" if good else "MISSED"


# ---- the page ----

def table(head, lines):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for line in lines:
        yield "| " + " | ".join(line) + " |"


def main_table(results, titles):
    def line(name, threads, entry):
        number = NUMBERS[name][1]
        weft = Cell(entry, name, threads, "weft")
        limit = f"{digits(weft.of_limit)} × {LIMITS[number.limit]}" if weft.of_limit else ""
        cells = [Cell(entry, name, threads, runtime).text() for runtime in titles]
        return [f"`{name}`", threads, number.unit, cells[0], limit, *cells[1:]]

    first, *others = titles.values()
    return table(["row", "threads", "unit", first, "of the limit", *others],
                 [line(*where) for where in lines_of(results, NUMBERS)])


def workers_table(results):
    for name, by_workers in results["workers"].items():
        middle = {n: median(by_workers[str(n)]["weft"]) for n in WORKER_COUNTS}
        yield [f"`{name}`", *(f"{digits(middle[n])} ({middle[n] / middle[2]:.2f})" for n in WORKER_COUNTS)]


def cost_table(results):
    for name, by_workers in results["cost"].items():
        yield [f"`{name}`", *(f"{max(0, by_workers[workers][kind]):.2f}" for kind in KINDS for workers in ("1", "2"))]


def generated(results, titles):
    """The lines between the markers."""
    rounds = sorted({entry["rounds"] for entry in results["rows"].values()})
    yield f"Measured on {results['machine']}; {' or '.join(map(str, rounds))} rounds. Versions: "
    yield ", ".join(f"{titles[name]} {version}" for name, version in results["versions"].items()) + "."
    yield ""
    yield "A cell is the median, the smallest and the largest value, and how many times as good weft is (below 1: worse)."
    yield "Empty: the runtime has no such thing, or not with so many threads."
    yield ""
    yield from main_table(results, titles)
    yield ""
    yield "![How many times as long as weft, one thread](performance/ratio-1.svg)"
    yield "![How many times as long as weft, two threads](performance/ratio-2.svg)"
    yield ""
    yield "### The rows"
    yield ""
    yield from (f"- `{row.name}`: {row.what}." for row in ROWS)
    yield ""
    yield "### More workers than processors"
    yield ""
    yield "weft, cost of an operation (ms for skynet) and, in brackets, relative to two workers."
    yield ""
    yield from table(["row", *(f"{n} workers" for n in WORKER_COUNTS)], workers_table(results))
    yield ""
    yield "### What an operation pays for"
    yield ""
    yield "Counted per operation with one worker and with two."
    yield ""
    yield from table(["row", *(f"{kind}, {n}" for kind in ("locked instructions", "system calls", "line transfers")
                               for n in (1, 2))], cost_table(results))
    yield ""
    yield "### Targets"
    yield ""
    yield from table(["target", "measured", ""], judged(results))


# What stands in the README.
SUMMARY = ("yield", "spawn", "spawn_million", "pingpong", "spsc128", "mpmc128", "ring", "select4", "mutex", "rwmutex",
           "skynet", "sum", "sieve", "parked.bytes", "parked.create", "parked.wake", "sleepers.cpu", "sleepers.late",
           "overshoot", "hog", "blocked", "cold.time", "digest", "echo.cpu", "http.cpu")


def summary(results):
    def text(entry, name, threads, runtime):
        cell = Cell(entry, name, threads, runtime)
        if not cell.values:
            return ""
        return digits(cell.median) + (f" ({cell.spread().replace('..', '–')})" if cell.spread() else "")

    def line(name, entry):
        number = NUMBERS[name][1]
        cells = (text(entry, name, threads, runtime) for threads in "12" for runtime in ("weft", "go"))
        return [f"`{name}`", number.unit, *cells]

    rounds = sorted({entry["rounds"] for entry in results["rows"].values()})
    yield f"On {results['machine']}, by `make compare`: median (smallest–largest) of {' or '.join(map(str, rounds))} rounds."
    yield ""
    yield from table(["row", "unit", "weft, 1 worker", "Go, 1", "weft, 2 workers", "Go, 2"],
                     [line(name, results["rows"][NUMBERS[name][0].name]) for name in SUMMARY])


def replace_generated(page, lines):
    before, begin, rest = page.read_text().partition("<!-- generated: make compare -->\n")
    _, end, after = rest.partition("<!-- end of what is generated -->\n")
    page.write_text(before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after)


def write_page(results, titles, docs):
    replace_generated(docs / "performance.md", generated(results, titles))
    replace_generated(docs.parent / "README.md", summary(results))
    if not shutil.which("gnuplot"):
        print("the plots are left as they are: they need gnuplot (apt-get install gnuplot-nox)")
        return
    for threads in ("1", "2"):
        plot(results, titles, threads, docs / f"performance/ratio-{threads}.svg")


def plot(results, titles, threads, path):
    """A line for each row, a point for each runtime: how many times as long as weft it takes."""
    rows = [(name, entry) for name, at, entry in lines_of(results, NUMBERS) if at == threads][::-1]
    script = [line.strip() for line in f"""
        set terminal svg size 860,{90 + 22 * len(rows)} font "sans-serif,12" background "white" noenhanced
        set output "{path}"
        set logscale x
        set xrange [0.05:200]
        set yrange [-0.7:{len(rows) - 0.3}]
        set key outside top center horizontal
        set grid xtics ytics linecolor rgb "#dddddd"
        set xlabel "times what weft takes, {WHERE[threads]} (right of 1: weft is better)"
        set arrow from 1,-0.7 to 1,{len(rows) - 0.3} nohead linewidth 2 linecolor rgb "#404040"
        """.splitlines() if line.strip()]
    script.append("set ytics (" + ", ".join(f'"{name}" {i}' for i, (name, _) in enumerate(rows)) + ")")
    series = []
    for point, runtime in enumerate([runtime for runtime in titles if runtime != "weft"]):
        points = [(Cell(entry, name, threads, runtime).times, i) for i, (name, entry) in enumerate(rows)]
        points = [f"{min(max(times, 0.05), 200):.4g} {i}" for times, i in points if times]
        if points:
            script += [f"$points{point} << END", *points, "END"]
            kind = (5, 7, 9, 11, 13, 3)[point % 6]
            series.append(f'$points{point} using 1:2 with points pointtype {kind} pointsize 0.8 title "{titles[runtime]}"')
    if series:
        path.parent.mkdir(exist_ok=True)
        subprocess.run(["gnuplot"], input="\n".join([*script, "plot " + ", ".join(series)]), text=True, check=True)
