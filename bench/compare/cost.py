"""What an operation of weft pays for: locked instructions, system calls, cache lines taken from another thread.

count.so counts them in qemu-user, for n operations and for 3 n; the difference leaves out what starting costs.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Row, program with its arguments, operations of a round.
PROGRAMS = [
    ("yield", ["yield"], 20000),
    ("spawn", ["spawn"], 10000),
    ("join8", ["waitgroup", "waitgroup.join8"], 16000),
    ("pingpong", ["pingpong"], 10000),
    ("spsc1", ["buffered", "buffered.cap1"], 20000),
    ("spsc128", ["buffered", "buffered.cap128"], 20000),
    ("mpmc128", ["buffered", "buffered.mpmc128"], 200000),
    ("ring", ["ring"], 20000),
    ("select4", ["select", "select4"], 10000),
    ("select64", ["select", "select64"], 3000),
    ("mutex", ["mutex", "mutex.contended"], 200000),
    ("rwmutex", ["rwmutex", "rwmutex.contended"], 200000),
    ("waitgroup", ["waitgroup", "waitgroup.contended"], 200000),
    ("sem", ["sem", "sem.contended4"], 200000),
]
KINDS = ("locked", "syscalls", "transfers")


def count(plugin, program, n, workers):
    """The counts of a run with one round of n operations, after n / 10 + 1 to warm up."""
    done = subprocess.run(["qemu-x86_64", "-plugin", plugin, *program, str(n), "--rounds", "1"], capture_output=True,
                          text=True, timeout=300, env={**os.environ, "WEFT_PROCS": str(workers)})
    found = re.search(r"counted (\d+) locked (\d+) syscalls (\d+) transfers", done.stderr)
    if done.returncode != 0 or not found:
        raise RuntimeError(f"qemu-x86_64 {program[0]}: {done.stderr[-300:]}")
    return [int(number) for number in found.groups()]


def measure(tree, build):
    """{row: {workers: {kind: count per operation}}}, or {} where it cannot be counted."""
    if not shutil.which("qemu-x86_64") or os.uname().machine != "x86_64":
        print("the costs are left out: they need qemu-x86_64 (apt-get install qemu-user) on x86-64")
        return {}
    plugin = build / "count.so"
    subprocess.run(["gcc", "-O2", "-std=gnu11", "-shared", "-fPIC", HERE / "count.c", "-o", plugin], check=True)
    table = {}
    for row, (name, *words), n in PROGRAMS:
        program = [tree / "bench" / name, *words]
        for workers in (1, 2):
            few, many = count(plugin, program, n, workers), count(plugin, program, 3 * n, workers)
            each = [(b - a) / (2 * n + 2 * n // 10) for a, b in zip(few, many)]
            table.setdefault(row, {})[str(workers)] = dict(zip(KINDS, each))
    return table
