"""The runtimes that are compared: what each needs, how its programs are built, and how they are run."""

import glob
import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
C = ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]


class Peer:
    """program and hello are commands; program takes the row and the number of threads."""

    name = title = install = ""
    threads = (1, 2)
    environment = {}

    def __init__(self, build):
        self.build = build  # where to
        self.program = [build / self.name]
        self.hello = [build / f"hello_{self.name}"]

    def missing(self):
        """Whether what it needs is not there."""
        return False

    def make(self):
        """Commands that build it."""
        return []

    def version(self):
        return ""

    def row(self, row, threads):
        return [*self.program, row.name, str(threads)]

    def env(self, threads):
        return {}


def compiles(compiler, language, *libraries, text):
    """Whether the compiler is there and makes a program of the text."""
    command = [compiler, "-x", language, "-", "-o", "/dev/null", *libraries]
    return bool(shutil.which(compiler)) and not subprocess.run(command, input=text, text=True, capture_output=True).returncode


def compilations(command, extension, build, sources, libraries):
    """Commands that compile the sources that are newer than their programs."""
    for name in sources:
        source, program = HERE / (name + extension), build / name
        newest = max(path.stat().st_mtime for path in (source, HERE / "harness.h"))
        if not program.exists() or program.stat().st_mtime < newest:
            yield [*command, *C, source, "-o", program, *libraries]


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip().split("\n")[0]


class Weft(Peer):
    name, title = "weft", "weft"

    def __init__(self, build, tree):
        super().__init__(build)
        self.tree = tree  # the build directory of weft
        self.hello = [tree / "examples/hello"]

    def version(self):
        return first_line("git", "-C", str(HERE), "rev-parse", "--short", "HEAD")

    def row(self, row, threads):
        program, *arguments = row.weft
        span = ["--span", "100"] if row.span else []
        return [self.tree / "bench" / program, *arguments, "--json", "--rounds", "1", *span]

    def env(self, threads):
        return {"WEFT_PROCS": str(threads)}

    def digest(self, threads, directory):
        return [self.tree / "examples/digest", f"--jobs={threads}", "--no-progress", directory]


class Go(Peer):
    name, title, install = "go", "Go", "Go 1.26 or newer (go.dev, or golang-go of a new Debian)"

    def missing(self):
        version = re.search(r"go1\.(\d+)", first_line("go", "version")) if shutil.which("go") else None
        return not version or int(version[1]) < 26

    def make(self):
        return [["go", "-C", HERE / "go", "build", "-o", self.program[0], "."],
                ["go", "-C", HERE / "go", "build", "-o", self.hello[0], "./hello"]]

    def version(self):
        return first_line("go", "version").split()[2]

    def env(self, threads):
        return {"GOMAXPROCS": str(threads)}

    def digest(self, threads, directory):
        return [*self.program, "digest", str(threads), directory]


class Tokio(Peer):
    name, title, install = "tokio", "Tokio", "cargo (rustup.rs), Rust 1.85 or newer"

    def __init__(self, build):
        super().__init__(build)
        self.program = [build / "cargo/release/compare"]
        self.hello = [build / "cargo/release/hello"]

    def missing(self):
        version = re.search(r"1\.(\d+)", first_line("cargo", "--version")) if shutil.which("cargo") else None
        return not version or int(version[1]) < 85

    def make(self):
        return [["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", HERE / "tokio/Cargo.toml",
                 "--target-dir", self.build / "cargo"]]

    def version(self):
        lock = (HERE / "tokio/Cargo.lock").read_text()
        return re.search(r'name = "tokio"\nversion = "(.*)"', lock)[1]


class Boost(Peer):
    name, title, install = "boost", "Boost.Fiber", "apt-get install g++ libboost-fiber-dev"
    libraries = ["-lboost_fiber", "-lboost_context"]

    def missing(self):
        return not compiles("g++", "c++", *self.libraries, "-pthread",
                            text="#include <boost/fiber/all.hpp>\nint main() { boost::this_fiber::yield(); }")

    def make(self):
        return compilations(["g++", "-std=c++17"], ".cc", self.build, ("boost", "hello_boost"), self.libraries)

    def version(self):
        text = Path("/usr/include/boost/version.hpp").read_text()
        return re.search(r'BOOST_LIB_VERSION "(.*)"', text)[1].replace("_", ".")


class StateThreads(Peer):
    name, title, install, threads = "st", "State Threads", "apt-get install gcc libst-dev", (1,)

    def missing(self):
        return not compiles("gcc", "c", "-lst", text="#include <st.h>\nint main(void) { return st_init(); }")

    def make(self):
        return compilations(["gcc", "-std=gnu11"], ".c", self.build, ("st", "hello_st"), ["-lst"])

    def version(self):
        return re.search(r'ST_VERSION\s+"(.*)"', Path("/usr/include/st.h").read_text())[1]


class Java(Peer):
    name, title, install = "java", "Java", "a JDK 21 or newer (JAVA_HOME, or under /usr/lib/jvm)"

    def __init__(self, build):
        super().__init__(build)
        self.home = self.find()
        java = [self.home / "bin/java", "-cp", build / "java"] if self.home else []
        self.program, self.hello = java, [*java, "Hello"]

    @staticmethod
    def find():
        """The newest Java that is new enough."""
        best = (20, None)
        for home in [os.environ.get("JAVA_HOME", ""), *glob.glob("/usr/lib/jvm/*")]:
            release = Path(home) / "release"
            version = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if home and release.exists() else None
            if version and (Path(home) / "bin/javac").exists():
                best = max(best, (int(version[1]), Path(home)), key=lambda found: found[0])
        return best[1]

    def missing(self):
        return self.home is None

    def make(self):
        return [[self.home / "bin/javac", "-Xlint:all", "-Werror", "-d", self.build / "java",
                 *sorted((HERE / "java").glob("*.java"))]]

    def version(self):
        return first_line(str(self.home / "bin/java"), "--version")

    def row(self, row, threads):
        options = ["-XX:MaxRAMPercentage=60", f"-Djdk.virtualThreadScheduler.parallelism={threads}"]
        return [*self.program, *options, "Compare", row.name, str(threads)]


class Pthread(Peer):
    name, title, install = "pthread", "pthreads", "apt-get install gcc libc6-dev"

    def missing(self):
        return not shutil.which("gcc")

    def make(self):
        return compilations(["gcc", "-std=gnu11"], ".c", self.build, ("pthread", "hello_pthread"), [])

    def digest(self, threads, directory):
        return [self.tree / "bench/digest_pthread", directory] if threads == 2 else None


def all_peers(build, tree):
    peers = [Weft(build, tree), *(kind(build) for kind in (Go, Tokio, Boost, StateThreads, Java, Pthread))]
    peers[-1].tree = tree
    return peers
