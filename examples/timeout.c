/* timeout: give an operation only so much time, without the operation knowing of it.

   weft_ctx_with_timeout makes a context that ends by itself. What runs under weft_scoped_use(ctx) runs in it: each wait
   that would block then ends with -ETIMEDOUT when the time is up, however deep in the calls it is. `fetch` only has to
   pass errors on, as it would have to anyway. The goroutine that it starts inherits the context, so it ends in time too.

   weft_scoped_ctx cancels and frees the context at the end of the block: an operation that was quicker than its limit
   leaves no timer behind. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft.h>

typedef weft_chan(int) answer_chan;

/* Stands for somebody's slow server. */
static void serve(answer_chan answers, int64_t ns)
{
    if (weft_sleep(ns) == 0)
        weft_send(answers, 42);
    weft_chan_free(answers);
}

static int fetch(int64_t ns, int *answer)
{
    answer_chan answers = weft_chan_make(int, 1);
    if (!answers)
        return -ENOMEM;
    weft_go(serve, weft_chan_ref(answers), ns);
    int error = weft_recv_status(answers, answer);
    weft_chan_free(answers);
    return error;
}

static int fetch_within(int64_t limit_ns, int64_t ns, int *answer)
{
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_current(), limit_ns);
    if (!ctx)
        return -ENOMEM;
    weft_scoped_ctx(ctx);
    weft_scoped_use(ctx);
    return fetch(ns, answer);
}

static void report(const char *what, int error, const int *answer)
{
    if (error)
        printf("%s: %s\n", what, strerror(-error));
    else
        printf("%s: the answer is %d\n", what, *answer);
}

int main(void)
{
    int answer;
    report("a quick server, 10 s", fetch_within(10 * WEFT_SECOND, WEFT_MS, &answer), &answer);
    report("a slow server, 20 ms", fetch_within(20 * WEFT_MS, WEFT_MINUTE, &answer), &answer);
    report("no limit", fetch(WEFT_MS, &answer), &answer);
    return 0;
}
