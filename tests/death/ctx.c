/* ctx.c — misuse of contexts that is fatal. */
#include "death.h"

static weft_ctx *background(void)
{
    return weft_ctx_background();
}

static void cancel_background(void)
{
    weft_ctx_cancel(background());
}

static void cancel_with_value(void)
{
    int value;
    weft_ctx_cancel(weft_ctx_with_value(weft_ctx_with_cancel(background()), &value, &value));
}

static void cancel_without_cancel(void)
{
    weft_ctx_cancel_cause(weft_ctx_without_cancel(weft_ctx_with_cancel(background())), -EIO);
}

static void scope_of_a_value(void)
{
    int value;
    weft_scoped_ctx(weft_ctx_with_value(background(), &value, &value));
}

TEST(CancelOfWhatHasNoEnd)
{
    death_expect_abort(cancel_background, NULL, "weft_ctx_cancel of the background context: it has no end of its own");
    death_expect_abort(cancel_with_value, NULL, "weft_ctx_cancel of a context made by weft_ctx_with_value");
    death_expect_abort(cancel_without_cancel, NULL, "weft_ctx_cancel of a context made by weft_ctx_with_value");
    death_expect_abort(scope_of_a_value, NULL, "weft_ctx_cancel of a context made by weft_ctx_with_value");
}

static void cancel_with_a_positive_cause(void)
{
    weft_ctx_cancel_cause(weft_ctx_with_cancel(background()), EIO);
}

TEST(PositiveCause)
{
    death_expect_abort(cancel_with_a_positive_cause, NULL, "is not a negative errno");
}

static void use_null(void)
{
    weft_scoped_use(NULL);
}

TEST(UseOfNull)
{
    death_expect_abort(use_null, NULL, "weft_scoped_use of a NULL context");
}

static void free_twice(void)
{
    weft_ctx *ctx = weft_ctx_with_cancel(background());
    weft_ctx_free(ctx);
    weft_ctx_free(ctx);
}

static void free_value_twice(void)
{
    weft_ctx *ctx = weft_ctx_with_value(background(), NULL, NULL);
    weft_ctx_free(ctx);
    weft_ctx_free(ctx);
}

TEST(FreedTwice)
{
    death_expect_abort(free_twice, NULL, "free of a context that has been freed");
    death_expect_abort(free_value_twice, NULL, "free of a context that has been freed");
}

static void wait_for_end(weft_ctx *ctx)
{
    weft_select([0] = weft_on_done(ctx));
}

static void free_while_waited_for(void)
{
    weft_ctx *ctx = weft_ctx_with_cancel(background());
    weft_go_opt(WEFT_OPTIONS(.ctx = background()), wait_for_end, ctx);
    nap_ms(50);
    weft_ctx_free(ctx);
}

TEST(FreedWhileWaitedFor)
{
    death_expect_abort(free_while_waited_for, NULL, "free of a context whose end goroutines wait for");
}

TEST_MAIN()
