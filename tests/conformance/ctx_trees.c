/* ctx_trees.c — contexts by the hundred thousand, wide and deep, and what is left of them. */
#include "../workload.h"
#include <weft.h>

#include "../test.h"

#define FOR_EVER (60 * WEFT_SECOND)

static void count_one(int *count)
{
    __atomic_fetch_add(count, 1, __ATOMIC_RELEASE);
}

/* ---- memory ---- */

struct seen {
    weft_ctx *all[100];
    int n;
};

static void note(weft_ctx *ctx, struct seen *seen)
{
    for (int i = 0; i < seen->n; i++)
        if (seen->all[i] == ctx)
            return;
    CHECK(seen->n < 100);
    seen->all[seen->n++] = ctx;
}

/* What was freed is used again: thousands of contexts have the room of some. */
TEST_BOTH(NothingIsLost)
{
    struct seen seen = {.n = 0};
    int called = 0;
    for (int i = 0; i < 1000; i++) {
        weft_ctx *parent = weft_ctx_with_cancel(weft_ctx_background()), *timed = weft_ctx_with_timeout(parent, FOR_EVER);
        weft_ctx *value = weft_ctx_with_value(timed, &called, NULL), *below = weft_ctx_with_timeout(value, FOR_EVER / 2);
        weft_ctx *free = weft_ctx_without_cancel(below), *ended = weft_ctx_with_timeout(free, 0);
        weft_ctx *all[] = {parent, timed, value, below, free, ended};
        weft_ctx_watch *watch = weft_ctx_after_func(value, count_one, &called);
        if (i % 2)
            CHECK(weft_ctx_unwatch(watch));
        weft_ctx_cancel(all[i % 3 == 0 ? 3 : i % 3 == 1 ? 1 : 0]);
        weft_ctx_cancel(timed); /* the alarms have references */
        for (int k = 0; k < 6; k++)
            note(all[k], &seen);
        for (int k = 0; k < 6; k++)
            weft_ctx_free(all[(k * 5 + i) % 6]);
        if (i % 2 == 0)
            CHECK(!weft_ctx_unwatch(watch));
    }
    while (__atomic_load_n(&called, __ATOMIC_ACQUIRE) != 500)
        weft_sleep(WEFT_MS);
}

/* ---- large trees ---- */

TEST_BOTH(HundredThousandChildren)
{
    int n = test_scale(100000);
    weft_ctx **children = calloc((size_t)n, sizeof *children), *parent = weft_ctx_with_cancel(weft_ctx_background());
    for (int i = 0; i < n; i++)
        CHECK((children[i] = weft_ctx_with_cancel(parent)) != NULL);
    for (int i = 0; i < n; i += 5) { /* some are gone before */
        if (i % 2)
            weft_ctx_cancel(children[i]);
        weft_ctx_free(children[i]);
        children[i] = NULL;
    }
    weft_ctx_cancel_cause(parent, -EIO);
    for (int i = 0; i < n; i++) {
        CHECK(!children[i] || weft_ctx_cause(children[i]) == -EIO);
        weft_ctx_free(children[i]);
    }
    weft_ctx_free(parent);
    free(children);
}

/* Neither the end nor the last free of a deep chain needs a stack as deep: a goroutine's of 32 KiB does. */
static void make_and_end_chain(int n, weft_waitgroup *wg)
{
    weft_ctx *root = weft_ctx_with_cancel(weft_ctx_background()), *at = weft_ctx_ref(root);
    for (int i = 0; i < n; i++) {
        weft_ctx *below = i % 3 ? weft_ctx_with_cancel(at) : weft_ctx_with_value(at, &n, NULL);
        CHECK(below);
        weft_ctx_free(at); /* only what is below keeps it */
        at = below;
    }
    CHECK_EQ(weft_ctx_err(at), 0);
    weft_ctx_cancel(root);
    CHECK_EQ(weft_ctx_err(at), -ECANCELED);
    weft_ctx_free(root);
    weft_ctx_free(at);
    weft_wg_done(wg);
}

TEST_BOTH(HundredThousandDeep)
{
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go_opt(WEFT_OPTIONS(.stack_size = 32768), make_and_end_chain, test_scale(100000), &wg);
    weft_wg_wait(&wg);
}

/* A large tree ends by its deadline. */
TEST_BOTH(TreeTimesOut)
{
    int n = test_scale(20000);
    weft_ctx **tree = calloc((size_t)n, sizeof *tree);
    tree[0] = weft_ctx_with_timeout(weft_ctx_background(), 5 * WEFT_MS);
    for (int i = 1; i < n; i++)
        tree[i] = weft_ctx_with_cancel(tree[(i - 1) / 3]);
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_select([0] = weft_on_done(tree[i]), [1] = weft_on_timeout(FOR_EVER)), 0);
        CHECK_EQ(weft_ctx_err(tree[i]), -ETIMEDOUT);
        weft_ctx_free(tree[i]);
    }
    free(tree);
}

TEST_MAIN()
