package main

import "sync"

func roundTrips() func(n int) {
	there, back := make(chan int), make(chan int)
	go func() {
		for value := range there {
			back <- value
		}
	}()
	return func(n int) {
		for i := range n {
			there <- i
			<-back
		}
	}
}

// So many producers and as many consumers on one channel.
func buffered(capacity, sides int) func(n int) {
	return func(n int) {
		items := make(chan int, capacity)
		var wg sync.WaitGroup
		for side := range sides {
			share := (n + side) / sides
			wg.Go(func() {
				for i := range share {
					items <- i
				}
			})
			wg.Go(func() {
				for range share {
					<-items
				}
			})
		}
		wg.Wait()
	}
}

// 1,000 goroutines pass a token round.
func ring() func(n int) {
	const size = 1000
	done := make(chan int)
	var links [size]chan int
	for i := range links {
		links[i] = make(chan int)
	}
	for i := range links {
		from, to := links[i], links[(i+1)%size]
		go func() {
			for hops := range from {
				if hops > 1 {
					to <- hops - 1
				} else {
					done <- 0
				}
			}
		}()
	}
	return func(n int) {
		links[0] <- n
		<-done
	}
}

// One sends on the channels in turn, another selects over all of them.
func selects(width int, receive func(c []chan int)) func(n int) {
	channels := make([]chan int, width)
	for i := range channels {
		channels[i] = make(chan int)
	}
	return func(n int) {
		go func() {
			for i := range n {
				channels[i%width] <- i
			}
		}()
		for range n {
			receive(channels)
		}
	}
}

// The first 2,000 primes by a chain of filters; those that are left at the end stay blocked.
func sieve() {
	from := make(chan int)
	go func(to chan<- int) {
		for i := 2; ; i++ {
			to <- i
		}
	}(from)
	prime := 0
	for range 2000 {
		prime = <-from
		to := make(chan int)
		go filter(from, to, prime)
		from = to
	}
	if prime != 17389 {
		panic(prime)
	}
}

func filter(from <-chan int, to chan<- int, prime int) {
	for i := range from {
		if i%prime != 0 {
			to <- i
		}
	}
}
