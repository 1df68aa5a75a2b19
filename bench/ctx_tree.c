/* ctx_tree.c — the cost of a context in a tree: made, ended with the root, and freed. All children of one; a chain, each the
   child of the one before; and children with a deadline each. Nobody runs in them. */
#include "bench.h"

enum { MAKE, END, FREE, NUMBERS };

static weft_ctx **nodes;

static weft_ctx *child_of_root(weft_ctx **all, long i)
{
    (void)i;
    return weft_ctx_with_cancel(all[0]);
}

static weft_ctx *child_of_last(weft_ctx **all, long i)
{
    return weft_ctx_with_cancel(all[i - 1]);
}

static weft_ctx *timed_child_of_root(weft_ctx **all, long i)
{
    return weft_ctx_with_timeout(all[0], WEFT_MINUTE + i * WEFT_MS);
}

static void measure(const char *name, weft_ctx *(*make)(weft_ctx **all, long i))
{
    static const char *const parts[NUMBERS] = {"make", "end", "free"};
    struct bench_series series[NUMBERS] = {0};
    for (int round = -1; round < bench.rounds; round++) {
        int64_t times[NUMBERS + 1] = {bench_now_ns()};
        nodes[0] = weft_ctx_with_cancel(weft_ctx_background());
        for (long i = 1; i <= bench.n; i++)
            if (!(nodes[i] = make(nodes, i)))
                bench_die("out of memory");
        times[1] = bench_now_ns();
        weft_ctx_cancel(nodes[0]);
        times[2] = bench_now_ns();
        for (long i = 0; i <= bench.n; i++)
            weft_ctx_free(nodes[i]);
        times[3] = bench_now_ns();
        for (int i = 0; i < NUMBERS && round >= 0; i++) /* the first round touches the memory */
            bench_add(&series[i], (double)(times[i + 1] - times[i]) / (double)bench.n);
    }
    for (int i = 0; i < NUMBERS; i++) {
        char line[64];
        snprintf(line, sizeof line, "%s.%s", name, parts[i]);
        bench_print(line, "ns", &series[i], "");
    }
}

static int app(void)
{
    nodes = calloc((size_t)bench.n + 1, sizeof *nodes);
    if (!nodes)
        bench_die("out of memory");
    measure("ctx_tree.flat", child_of_root);
    measure("ctx_tree.deep", child_of_last);
    measure("ctx_tree.timed", timed_child_of_root);
    free(nodes);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 100000, 1000);
    return weft_run(app);
}
