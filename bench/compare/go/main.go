// The rows of the comparison in Go: compare ROW THREADS [N].
//
// Fair: goroutines, channels, package sync and timers as the Go project itself documents them, compiled by the newest
// Go at hand with its defaults, garbage collector included; GOMAXPROCS is the number of threads. A line of JSON per
// number.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var rows = map[string]func(){
	"yield":         func() { each("yield", yields) },
	"spawn":         func() { each("spawn", spawns) },
	"join8":         func() { each("join8", joins) },
	"spawn_million": func() { whole("spawn_million", spawnMillion) },
	"skynet":        func() { whole("skynet", skynet) },
	"sum":           func() { whole("sum", sum()) },
	"parked":        parked,
	"pingpong":      func() { each("pingpong", roundTrips()) },
	"spsc1":         func() { each("spsc1", buffered(1, 1)) },
	"spsc128":       func() { each("spsc128", buffered(128, 1)) },
	"spsc4096":      func() { each("spsc4096", buffered(4096, 1)) },
	"mpmc1":         func() { each("mpmc1", buffered(1, 4)) },
	"mpmc128":       func() { each("mpmc128", buffered(128, 4)) },
	"mpmc4096":      func() { each("mpmc4096", buffered(4096, 4)) },
	"ring":          func() { each("ring", ring()) },
	"select4":       func() { each("select4", selects(4, select4)) },
	"select64":      func() { each("select64", selects(64, select64)) },
	"sieve":         func() { whole("sieve", sieve) },
	"mutex":         func() { each("mutex", mutex) },
	"rwmutex":       func() { each("rwmutex", rwmutex) },
	"waitgroup":     func() { each("waitgroup", waitgroup) },
	"sem":           func() { each("sem", semaphore) },
	"sleepers":      sleepers,
	"timer":         timers,
	"overshoot":     overshoot,
	"hog":           hog,
	"blocked":       blocked,
	"digest":        func() { digest(os.Args[3:]) },
}

var threads int

func main() {
	if len(os.Args) < 3 || rows[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: compare ROW THREADS [N]")
		os.Exit(2)
	}
	threads = int(number(os.Args[2]))
	runtime.GOMAXPROCS(threads)
	rows[os.Args[1]]()
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// A measurement takes about so long.
const span = 100 * time.Millisecond

func report(name string, value float64, unit string) {
	fmt.Printf("{\"name\": \"%s\", \"value\": %.5g, \"unit\": \"%s\"}\n", name, value, unit)
}

// each prints nanoseconds per operation; round does n of them. First more and more of them until they take a quarter
// of the span: that is the warm-up.
func each(name string, round func(n int)) {
	timed := func(n int) time.Duration {
		start := time.Now()
		round(n)
		return time.Since(start)
	}
	n := 16
	if len(os.Args) > 3 {
		n = int(number(os.Args[3]))
		timed(n/10 + 1)
	} else {
		took := timed(n)
		for took < span/4 {
			n *= 4
			took = timed(n)
		}
		n = max(1, int(float64(n)*float64(span)/float64(took)))
	}
	report(name, float64(timed(n))/float64(n), "ns")
}

// whole prints milliseconds for the whole work, after once to warm up if that takes less than a second.
func whole(name string, work func()) {
	timed := func() time.Duration {
		start := time.Now()
		work()
		return time.Since(start)
	}
	took := timed()
	if took < time.Second {
		took = timed()
	}
	report(name, took.Seconds()*1e3, "ms")
}

// cpuTime is user and system time of the process.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// memory is the resident memory and the page tables for it.
func memory() float64 {
	text, err := os.ReadFile("/proc/self/status")
	check(err)
	var bytes float64
	for line := range strings.SplitSeq(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && (fields[0] == "VmRSS:" || fields[0] == "VmPTE:") {
			bytes += float64(number(fields[1])) * 1024
		}
	}
	return bytes
}
