package main

import (
	"sync"
	"sync/atomic"
)

const contenders = 8

// together has so many goroutines do their share of n.
func together(n int, work func(share int)) {
	var wg sync.WaitGroup
	for i := range contenders {
		wg.Go(func() { work((n + i) / contenders) })
	}
	wg.Wait()
}

func mutex(n int) {
	var mutex sync.Mutex
	counter := 0
	together(n, func(share int) {
		for range share {
			mutex.Lock()
			counter++
			mutex.Unlock()
		}
	})
	if counter != n {
		panic(counter)
	}
}

// Nine reads to one write.
func rwmutex(n int) {
	var mutex sync.RWMutex
	var seen atomic.Int64
	counter := 0
	together(n, func(share int) {
		sum := 0
		for i := 1; i <= share; i++ {
			if i%10 == 0 {
				mutex.Lock()
				counter++
				mutex.Unlock()
			} else {
				mutex.RLock()
				sum += counter
				mutex.RUnlock()
			}
		}
		seen.Add(int64(sum))
	})
}

func waitgroup(n int) {
	var shared sync.WaitGroup
	together(n, func(share int) {
		for range share {
			shared.Add(1)
			shared.Done()
		}
	})
	shared.Wait()
}

// Four units: a buffered channel, as Effective Go has it.
func semaphore(n int) {
	units := make(chan struct{}, 4)
	together(n, func(share int) {
		for range share {
			units <- struct{}{}
			<-units
		}
	})
}
