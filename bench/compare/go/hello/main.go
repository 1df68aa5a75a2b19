// The smallest program with a goroutine: the twin of examples/hello.c.
package main

import "fmt"

func greet(whom string, done chan<- int) {
	fmt.Printf("Hello, %s, from a goroutine!\n", whom)
	done <- 1
}

func main() {
	done := make(chan int)
	fmt.Println("Hello from main!")
	go greet("world", done)
	<-done
	fmt.Println("Goodbye from main!")
}
