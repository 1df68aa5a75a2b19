/* plugin_lib.c — a shared object that uses weft inside; plugin.c loads and unloads it. It is built twice:
   plugin_lib.so with weft's static library inside, plugin_lib_shared.so with weft's shared library. */
#include <stdatomic.h>
#include <weft.h>

__attribute__((visibility("default"))) int plugin_work(int n);
__attribute__((visibility("default"))) int plugin_stop(void);

static _Atomic int sum;

static void add(int value)
{
    weft_yield();
    weft_sleep(10 * WEFT_US);
    atomic_fetch_add(&sum, value);
}

static void echo(weft_chan(int) in, weft_chan(int) out)
{
    for (int value; weft_recv(in, &value);)
        weft_send(out, value);
    weft_close(out);
}

/* 1 + 2 + ... + n by goroutines, through a channel, while others sleep. */
int plugin_work(int n)
{
    weft_waitgroup wg = {0};
    weft_chan(int) in = weft_chan_make(int, 0), out = weft_chan_make(int, 0);
    atomic_store(&sum, 0);
    weft_wg_go(&wg, echo, in, out);
    for (int i = 1, value; i <= n; i++) {
        weft_send(in, i);
        if (!weft_recv(out, &value))
            return -1;
        weft_wg_go(&wg, add, value);
    }
    weft_close(in);
    weft_wg_wait(&wg);
    weft_chan_free(in);
    weft_chan_free(out);
    return atomic_load(&sum);
}

int plugin_stop(void)
{
    return weft_shutdown(20 * WEFT_SECOND);
}
