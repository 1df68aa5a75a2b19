/* pipeline: stages joined by channels, stopped early by a context.

     generate ---- numbers ----> square (three of them) ---- squares ----> main

   Each stage is a goroutine that receives from one channel and sends on the next, and closes it when no more will come. main
   wants only so many squares: it cancels the context that all stages run in. A stage that waits, to send what nobody takes
   any more or to receive what nobody will send, is told so by its send or receive, and ends. So nothing is left behind, and
   no stage has a line of code for it, but that it looks at what weft_send returns. */
#include <stdio.h>
#include <unistd.h>
#include <weft.h>

enum { SQUARERS = 3, WANTED = 5 };

static void generate(weft_chan(long) numbers)
{
    for (long i = 1;; i++) /* has no end of its own */
        if (weft_send(numbers, i) != 0)
            break;
    weft_close(numbers);
}

static void square(weft_chan(long) numbers, weft_chan(long) squares)
{
    for (long n; weft_recv(numbers, &n);)
        if (weft_send(squares, n * n) != 0)
            return;
}

/* The squares have several senders: the channel is closed when all of them have ended. */
static void square_all(weft_chan(long) numbers, weft_chan(long) squares)
{
    weft_waitgroup squarers = {0};
    for (int i = 0; i < SQUARERS; i++)
        weft_wg_go(&squarers, square, numbers, squares);
    weft_wg_wait(&squarers);
    weft_close(squares);
}

static bool is_square(long n)
{
    long root = 0;
    while (root * root < n)
        root++;
    return root * root == n;
}

int main(void)
{
    weft_chan(long) numbers = weft_chan_make(long, 0);
    weft_chan(long) squares = weft_chan_make(long, 0);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    if (numbers == NULL || squares == NULL || ctx == NULL)
        return 1;

    weft_waitgroup stages = {0};
    {
        weft_scoped_use(ctx); /* what is started in this block runs in ctx */
        weft_wg_go(&stages, generate, numbers);
        weft_wg_go(&stages, square_all, numbers, squares);
    }

    int good = 0;
    long n;
    while (good < WANTED && weft_recv(squares, &n))
        good += is_square(n);
    printf("%d squares, as many as were wanted\n", good);

    weft_ctx_cancel(ctx);
    weft_wg_wait(&stages); /* never ended by a context: when it returns, they have all ended */
    printf("%d goroutines left behind\n", weft_leaks(STDERR_FILENO));

    weft_ctx_free(ctx);
    weft_chan_free(numbers);
    weft_chan_free(squares);
    return 0;
}
