package main

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// 100,000 goroutines sleep ten times for 100 to 300 ms.
func sleepers() {
	const count, times = 100000, 10
	late := make([]time.Duration, count*times)
	var wg sync.WaitGroup
	cpu := cpuTime()
	for i := range count {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			for t := range times {
				ns := 100*time.Millisecond + time.Duration(random.Int64N(int64(200*time.Millisecond)))
				start := time.Now()
				time.Sleep(ns)
				late[i*times+t] = time.Since(start) - ns
			}
		})
	}
	wg.Wait()
	report("sleepers.cpu", float64(cpuTime()-cpu)/float64(len(late)), "ns")
	var sum time.Duration
	for _, l := range late {
		sum += l
	}
	report("sleepers.late", float64(sum.Microseconds())/float64(len(late)), "us")
}

func far() time.Duration {
	return time.Minute + time.Duration(rand.Int64N(int64(59*time.Minute)))
}

// Starts and stops a timer beside 1,000 and a million that are pending.
func timers() {
	var pending []*time.Timer
	for _, count := range []int{1000, 1000000} {
		for len(pending) < count {
			pending = append(pending, time.NewTimer(far()))
		}
		name := "timer.1000"
		if count > 1000 {
			name = "timer.1000000"
		}
		each(name, func(n int) {
			timer := time.NewTimer(time.Minute)
			for range n {
				timer.Reset(far())
				timer.Stop()
			}
		})
	}
	runtime.KeepAlive(pending)
}

// The median of by how much a sleep of a millisecond takes longer.
func overshoot() {
	late := make([]time.Duration, 200)
	for i := range late {
		start := time.Now()
		time.Sleep(time.Millisecond)
		late[i] = time.Since(start) - time.Millisecond
	}
	slices.Sort(late)
	report("overshoot", float64(late[len(late)/2])/1e3, "us")
}

// How late a sleeper of a millisecond wakes in a second beside a goroutine that computes without pause.
func hog() {
	var stop atomic.Bool
	var late []time.Duration
	var wg sync.WaitGroup
	go func() {
		for !stop.Load() {
		}
	}()
	start := time.Now()
	wg.Go(func() {
		for time.Since(start) < time.Second {
			before := time.Now()
			time.Sleep(time.Millisecond)
			late = append(late, time.Since(before)-time.Millisecond)
		}
	})
	wg.Wait()
	stop.Store(true)
	report("hog", float64(slices.Max(late))/1e6, "ms")
}

// What a goroutine that counts and yields keeps of its pace beside eight that block for 50 ms in a system call.
func blocked() {
	var stop atomic.Bool
	var count atomic.Int64
	go func() {
		for {
			count.Store(count.Load() + 1)
			runtime.Gosched()
		}
	}()
	nap := func(duration time.Duration) {
		t := syscall.NsecToTimespec(int64(duration))
		syscall.Nanosleep(&t, nil)
	}
	pace := func() float64 {
		nap(50 * time.Millisecond)
		before, start := count.Load(), time.Now()
		nap(400 * time.Millisecond)
		return float64(count.Load()-before) / float64(time.Since(start))
	}
	alone := pace()
	for range 8 {
		go func() {
			for !stop.Load() {
				nap(50 * time.Millisecond)
				runtime.Gosched()
			}
		}()
	}
	report("blocked", pace()/alone*100, "%")
	stop.Store(true)
}
