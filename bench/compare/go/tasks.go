package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Two goroutines yield to each other.
func yields(n int) {
	var wg sync.WaitGroup
	for _, share := range []int{n / 2, n - n/2} {
		wg.Go(func() {
			for range share {
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
}

func nothing() {}

func spawns(n int) {
	for range n {
		var wg sync.WaitGroup
		wg.Go(nothing)
		wg.Wait()
	}
}

// Eight started, then waited for.
func joins(n int) {
	for done := 0; done < n; done += 8 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(nothing)
		}
		wg.Wait()
	}
}

const million = 1000000

func spawnMillion() {
	var wg sync.WaitGroup
	for range million {
		wg.Go(nothing)
	}
	wg.Wait()
}

func skynetNode(up chan<- int, first, leaves int) {
	if leaves == 1 {
		up <- first
		return
	}
	down := make(chan int)
	for i := range 10 {
		go skynetNode(down, first+i*leaves/10, leaves/10)
	}
	sum := 0
	for range 10 {
		sum += <-down
	}
	up <- sum
}

func skynet() {
	result := make(chan int)
	go skynetNode(result, 0, million)
	if sum := <-result; sum != million*(million-1)/2 {
		panic(sum)
	}
}

func addUp(numbers []uint32) uint64 {
	var sum, left uint64
	if len(numbers) <= 100 {
		for _, number := range numbers {
			sum += uint64(number)
		}
		return sum
	}
	var wg sync.WaitGroup
	half := len(numbers) / 2
	wg.Go(func() { left = addUp(numbers[:half]) })
	sum = addUp(numbers[half:])
	wg.Wait()
	return left + sum
}

func sum() func() {
	const n = 10 * million
	numbers := make([]uint32, n)
	for i := range numbers {
		numbers[i] = uint32(i)
	}
	return func() {
		if sum := addUp(numbers); sum != n*(n-1)/2 {
			panic(sum)
		}
	}
}

// A million goroutines that wait to receive.
func parked() {
	var running atomic.Int64
	gate := make(chan int)
	waiter := func() {
		running.Add(1)
		<-gate
		running.Add(-1)
	}
	become := func(n int64) {
		for running.Load() != n {
			runtime.Gosched()
		}
	}
	go waiter()
	become(1)
	before, start := memory(), time.Now()
	for range million {
		go waiter()
	}
	become(million + 1)
	report("parked.create", float64(time.Since(start))/million, "ns")
	report("parked.bytes", (memory()-before)/million, "B")
	start = time.Now()
	close(gate)
	become(0)
	report("parked.wake", float64(time.Since(start))/million, "ns")
}
