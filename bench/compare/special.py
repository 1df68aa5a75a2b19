"""Rows that are not a line of a runtime's program: the cold start, the digest, and the servers."""

import os
import random
import re
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1] / "build/compare/tree"


def measure(peer, row, threads):
    """One measurement of a row, as run has it; {} when the runtime has no part in it."""
    if row.name == "cold":
        return cold(peer)
    if row.name == "digest" and hasattr(peer, "digest"):
        return digest(peer, threads)
    return {}


# ---- cold start ----

def stripped_size(program):
    """KiB of the program's file without symbols."""
    with tempfile.NamedTemporaryFile() as copy:
        done = subprocess.run(["strip", "-o", copy.name, program], capture_output=True)
        return Path(copy.name if done.returncode == 0 else program).stat().st_size / 1024


def cold(peer):
    """The mean of ten starts. The size is left out where the program is not one file, as with Java."""
    program = peer.build / "cold"
    if not program.exists():
        subprocess.run(["gcc", "-O2", HERE / "cold.c", "-o", program], check=True)
    done = subprocess.run([program, "10", *peer.hello], capture_output=True, text=True, check=True)
    took, memory = map(float, done.stdout.split())
    numbers = {"cold.time": took, "cold.memory": memory}
    if len(peer.hello) == 1:
        numbers["cold.size"] = stripped_size(peer.hello[0])
    return numbers


# ---- digest ----

def make_tree():
    """2,000 files of 0.1 to 1,000 KiB in 40 directories, always the same."""
    if (TREE / "done").exists():
        return
    source = random.Random(1)
    for i in range(2000):
        directory = TREE / f"files/{i % 40}"
        directory.mkdir(parents=True, exist_ok=True)
        size = int(102.4 * 10 ** (4 * source.random()))
        (directory / f"{i}").write_bytes(source.randbytes(size))
    (TREE / "done").touch()


def digest(peer, threads):
    """Milliseconds; what is printed must be what sha256sum prints."""
    make_tree()
    command = peer.digest(threads, TREE / "files")
    if not command:
        return {}
    expected = TREE / "expected"
    if not expected.exists():
        names = sorted(str(path) for path in (TREE / "files").glob("*/*"))
        expected.write_bytes(subprocess.run(["sha256sum", *names], capture_output=True, check=True).stdout)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, env={**os.environ, **peer.env(threads)})
    took = (time.perf_counter() - start) * 1e3
    if done.stdout != expected.read_bytes():
        raise RuntimeError(f"{peer.name}'s digests are wrong: {done.stderr[-200:]}")
    return {"digest": took}


# ---- servers: programs of their own, which interleave their rounds themselves ----

def measure_servers(options, row, values):
    """Adds the medians that the program prints."""
    if row.name == "echo":
        command = [HERE.parent / "echo/run", options.tree, "--rounds", str(options.rounds), "--seconds", "1",
                   "--connections", "100", "--servers", "weft epoll go st tokio"]
        line = re.compile(r"^ *100 +(\w+) +(\d+) +\d+ +\d+ +\d+ +([\d.]+)", re.M)
    elif row.name == "http":
        command = [HERE.parent / "http/run", options.tree, str(options.rounds), "1", "100"]
        line = re.compile(r"^ *100 connections +(\w+) +(\d+) requests/s .* ([\d.]+) us of CPU", re.M)
    else:
        return
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{row.name}: {done.stdout[-300:]}{done.stderr[-300:]}")
    for server, rate, cpu in line.findall(done.stdout):
        runtime = {"httpd": "weft"}.get(server, server)
        values.setdefault(f"{row.name}.rate", {}).setdefault("1", {})[runtime] = [float(rate)]
        values.setdefault(f"{row.name}.cpu", {}).setdefault("1", {})[runtime] = [float(cpu)]
