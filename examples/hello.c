/* hello: the smallest program with a goroutine.

   weft_go starts a function that runs concurrently with its caller: a goroutine. It costs about as much as a function
   call that allocates, not as much as a thread. There is nothing to set up first, and main is an ordinary main.

   As in Go, a program ends when main returns, whether or not its goroutines have finished. So main waits for a word from
   the goroutine on a channel, a typed pipe between goroutines. */
#include <stdio.h>
#include <weft.h>

static void greet(const char *whom, weft_chan(int) done)
{
    printf("Hello, %s, from a goroutine!\n", whom);
    weft_send(done, 1);
}

int main(void)
{
    weft_chan(int) done = weft_chan_make(int, 0);

    puts("Hello from main!");
    weft_go(greet, "world", done); /* arguments are checked as in the call greet("world", done) */

    weft_recv(done, NULL); /* blocks until greet has sent; NULL: the value does not matter */
    puts("Goodbye from main!");
    weft_chan_free(done);
    return 0;
}
