/* ctx.c — contexts: a tree that ends from the top down.

   References go up: a child has one to its parent, so what is below keeps what is above. The lists of children go down,
   without references: a child whose last reference is gone leaves its parent's list on its own, and who walks a list takes
   only those children that still have one (take_child).

   The end of a context, by whoever first sets err under its lock:
     1. err and cause                             from here on weft_ctx_err tells, and children are made ended
     2. the alarm is stopped, done is closed      a select with weft_on_done that runs in this context chooses its case
     3. wi_cancel_begin                           waits that begin from here on end at once
     4. wi_cancel_sweep, after a heavy barrier    waits that had begun end
     5. the watches are started
   Its descendants go through the same, each after its parent. The walk goes down and up by the links of the tree itself, so
   depth costs no stack, and no lock is held from one context to the next. Steps 1 to 3 are taken on the way; those that have
   something to do in 4 and 5 are collected, BATCH at a time, because the barrier costs more than all the rest: up to 12 us.

   Somebody else may end a part of the tree meanwhile: who finds err set leaves that part to who set it. So a call to
   weft_ctx_cancel that comes second may return before the first has ended everything.

   Contexts outlive weft_shutdown, as channels do; deadlines that were pending then do not come. */
#include "ctx/ctx.h"

#include "mem/slab.h"
#include "sched/enter.h"

#define BATCH 256U
#define BREATH 256U /* contexts that are ended between two looks at the outside */

static struct wi_slab plain = {.name = "contexts", .record_size = 64, .chunk_records = 2048};
static struct wi_slab endings = {.name = "contexts with an end", .record_size = 448, .chunk_records = 2048};
_Static_assert(sizeof(struct weft_ctx) <= 64, "a context without an end fits its record");
_Static_assert(sizeof(struct wi_ending) <= 448, "a context with an end fits its record");

static const weft_site alarm_site = {__FILE__, "the end of a context by its deadline", __LINE__, 1};

/* ---- ending ---- */

enum { BEGUN = 1, HAS_MEMBERS = 2, HAS_WATCHES = 4, HAS_CHILDREN = 8 };

struct end {
    struct wi_thread *t;
    int err, cause;
    bool breathe;   /* the caller is a public call: see wi_cancel_sweep */
    unsigned since; /* contexts since the last breath */
    unsigned n;
    bool members; /* of any of: */
    struct wi_ending *batch[BATCH];
};

/* Steps 1 to 3. What is left to do; 0: somebody else does it. */
static unsigned begin(struct end *end, struct wi_ending *e)
{
    unsigned left = BEGUN;
    wi_lock(&e->lock);
    if (wi_load_relaxed(&e->err)) {
        wi_unlock(&e->lock);
        return 0;
    }
    e->cause = end->cause;
    wi_store_release(&e->err, end->err); /* pairs with weft_ctx_err */
    left |= e->watches ? HAS_WATCHES : 0U;
    left |= e->children ? HAS_CHILDREN : 0U;
    wi_unlock(&e->lock);
    wi_perturb();
    if (wi_alarm_stop(&e->alarm))
        wi_context_unref(&e->ctx.base); /* not the last: the caller has one */
    wi_chan_close_inside(end->t, &e->done);
    wi_perturb();
    left |= wi_cancel_begin(&e->canceller, end->err) ? HAS_MEMBERS : 0U;
    return left;
}

/* Steps 4 and 5 for those collected. */
static void flush(struct end *end)
{
    if (end->members)
        wi_os_barrier_heavy(); /* pairs with the light barrier in wi_wait_begin */
    for (unsigned i = 0; i < end->n; i++) {
        struct wi_ending *e = end->batch[i];
        wi_cancel_sweep(end->t, &e->canceller, end->breathe);
        wi_watches_run(end->t, e);
        wi_context_unref(&e->ctx.base);
    }
    end->n = 0;
    end->members = false;
}

static void collect(struct end *end, struct wi_ending *e, unsigned left)
{
    if (left & (HAS_MEMBERS | HAS_WATCHES)) {
        wi_context_ref(&e->ctx.base);
        end->members |= (left & HAS_MEMBERS) != 0;
        end->batch[end->n++] = e;
        if (end->n == BATCH)
            flush(end);
    }
    if (end->breathe && ++end->since == BREATH) {
        end->since = 0;
        wi_breathe(end->t);
    }
}

static void leave_parent(struct wi_ending *e)
{
    if (!e->above)
        return;
    wi_lock(&e->above->lock);
    if (e->link) {
        *e->link = e->next;
        if (e->next)
            e->next->link = e->link;
        e->link = NULL;
    }
    wi_unlock(&e->above->lock);
}

/* Takes the first child off e's list, with a reference; NULL: there is none. */
static struct wi_ending *take_child(struct wi_ending *e)
{
    struct wi_ending *child;
    bool taken = false;
    wi_lock(&e->lock);
    while (!taken && (child = e->children)) {
        e->children = child->next;
        if (child->next)
            child->next->link = &e->children;
        child->link = NULL;
        uint32_t references = wi_load_relaxed(&child->ctx.base.references);
        while (references && !taken) /* 0: it is being freed, and waits for our lock to leave the list */
            taken = wi_cas_relaxed(&child->ctx.base.references, &references, references + 1);
    }
    wi_unlock(&e->lock);
    return taken ? child : NULL;
}

/* Ends what is below root, which has begun. On the way every context has a reference of ours. */
static void end_below(struct end *end, struct wi_ending *root)
{
    for (struct wi_ending *at = root;;) {
        struct wi_ending *child = take_child(at);
        if (child) {
            unsigned left = begin(end, child);
            collect(end, child, left);
            if (left & HAS_CHILDREN)
                at = child;
            else
                wi_context_unref(&child->ctx.base);
        } else if (at == root) {
            return;
        } else {
            struct wi_ending *above = at->above;
            wi_context_unref(&at->ctx.base);
            at = above;
        }
    }
}

/* Ends e and all below, unless it has ended. The caller has a reference. */
static void end_tree(struct wi_thread *t, struct wi_ending *e, int err, int cause, bool breathe)
{
    struct end end;
    end.t = t;
    end.err = err;
    end.cause = cause;
    end.breathe = breathe;
    end.since = end.n = 0;
    end.members = false;
    unsigned left = begin(&end, e);
    if (!left)
        return;
    leave_parent(e);
    collect(&end, e, left);
    if (left & HAS_CHILDREN)
        end_below(&end, e);
    flush(&end);
}

static void cancel(weft_ctx *ctx, int cause)
{
    if (!ctx)
        return;
    struct wi_ending *e = wi_ending_of(ctx);
    if (!e || &e->ctx != ctx)
        wi_fatal("weft_ctx_cancel of %s: it has no end of its own",
                 ctx == wi_ctx_background() ? "the background context"
                                            : "a context made by weft_ctx_with_value or weft_ctx_without_cancel");
    if (cause > 0)
        wi_fatal("weft_ctx_cancel_cause: the cause %d is not a negative errno", cause);
    if (wi_load_relaxed(&e->err))
        return;
    struct wi_thread *t = wi_enter_or_die();
    wi_context_ref(&ctx->base); /* who is woken may free the caller's */
    end_tree(t, e, -ECANCELED, cause ? cause : -ECANCELED, true);
    wi_context_unref(&ctx->base);
    wi_leave(t);
}

void weft_ctx_cancel(weft_ctx *ctx)
{
    cancel(ctx, -ECANCELED);
}

void weft_ctx_cancel_cause(weft_ctx *ctx, int cause)
{
    cancel(ctx, cause);
}

/* ---- deadlines ---- */

/* For a large tree, which may take milliseconds: who runs timers cannot let the worker go meanwhile. */
static void time_out_in_goroutine(struct wi_ending *e)
{
    struct wi_thread *t = wi_enter_or_die();
    end_tree(t, e, -ETIMEDOUT, -ETIMEDOUT, true);
    wi_context_unref(&e->ctx.base);
    wi_leave(t);
}

static bool is_small(struct wi_ending *e)
{
    wi_lock(&e->lock);
    bool small = !e->children;
    wi_unlock(&e->lock);
    return small && !wi_load_relaxed(&e->canceller.shards);
}

/* The alarm's reference is ours now. */
static void time_out(struct wi_thread *t, struct wi_alarm *alarm, int64_t now_ns)
{
    (void)now_ns;
    struct wi_ending *e = (struct wi_ending *)(void *)((char *)alarm - offsetof(struct wi_ending, alarm));
    const uintptr_t words[6] = {(uintptr_t)e};
    if (!is_small(e) && wi_spawn_inside(t, NULL, false, &alarm_site, (weft_fn_)time_out_in_goroutine, words) == 0)
        return;
    end_tree(t, e, -ETIMEDOUT, -ETIMEDOUT, false);
    wi_context_unref(&e->ctx.base);
}

static void start_alarm(struct wi_ending *e)
{
    struct wi_thread *t = wi_enter_or_die();
    wi_lock(&e->lock);
    if (!wi_load_relaxed(&e->err)) {
        wi_context_ref(&e->ctx.base);
        wi_alarm_start(t, &e->alarm, e->deadline_ns);
    }
    wi_unlock(&e->lock);
    wi_leave(t);
}

/* ---- making ---- */

static void init(weft_ctx *ctx, weft_ctx *parent, struct wi_canceller *canceller)
{
    wi_store_relaxed(&ctx->base.references, 1);
    ctx->base.canceller = canceller;
    ctx->parent = parent;
    ctx->has_value = false;
    wi_context_ref((struct wi_context *)(void *)parent);
}

/* Puts e in the list of the one above, or finds that it has ended: why. */
static int join_parent(struct wi_ending *e)
{
    struct wi_ending *above = e->above;
    if (!above)
        return 0;
    wi_lock(&above->lock);
    int err = wi_load_relaxed(&above->err);
    if (!err) {
        e->next = above->children;
        e->link = &above->children;
        if (e->next)
            e->next->link = &e->next;
        above->children = e;
    }
    wi_unlock(&above->lock);
    return err;
}

static weft_ctx *make(weft_ctx *parent, int64_t deadline_ns, int64_t now_ns)
{
    void *record;
    if (!parent || wi_slab_take(&endings, 1, &record) == 0)
        return NULL;
    struct wi_ending *e = record;
    init(&e->ctx, parent, &e->canceller);
    e->above = wi_ending_of(parent);
    int64_t above_ns = e->above ? e->above->deadline_ns : INT64_MAX;
    e->deadline_ns = deadline_ns < above_ns ? deadline_ns : above_ns;
    e->children = NULL;
    e->watches = NULL;
    e->link = NULL;
    e->alarm.fn = time_out;
    wi_chan_init(&e->done, 0, 0, NULL);
    wi_store_relaxed(&e->canceller.ended, 0);
    wi_store_relaxed(&e->err, 0);
    int err = deadline_ns <= now_ns ? -ETIMEDOUT : 0, cause = -ETIMEDOUT;
    if (e->above && wi_load_acquire(&e->above->err)) /* pairs with begin. The parent's end came first */
        err = 0;
    if (!err && (err = join_parent(e)))
        cause = e->above->cause;
    if (err) {
        e->cause = cause;
        wi_store_relaxed(&e->done.closed, true);
        wi_store_relaxed(&e->canceller.ended, err);
        wi_store_relaxed(&e->err, err);
    } else if (deadline_ns < above_ns) {
        start_alarm(e);
    }
    return &e->ctx;
}

weft_ctx *weft_ctx_with_cancel(weft_ctx *parent)
{
    return make(parent, INT64_MAX, 0);
}

weft_ctx *weft_ctx_with_deadline(weft_ctx *parent, int64_t deadline_ns)
{
    return make(parent, deadline_ns, wi_os_now_ns());
}

weft_ctx *weft_ctx_with_timeout(weft_ctx *parent, int64_t ns)
{
    int64_t now_ns = wi_os_now_ns();
    return make(parent, wi_os_after_ns(now_ns, ns), now_ns);
}

static weft_ctx *make_plain(weft_ctx *parent, struct wi_canceller *canceller)
{
    void *record;
    if (wi_slab_take(&plain, 1, &record) == 0)
        return NULL;
    weft_ctx *ctx = record;
    init(ctx, parent, canceller);
    return ctx;
}

weft_ctx *weft_ctx_with_value(weft_ctx *parent, const void *key, void *value)
{
    weft_ctx *ctx = parent ? make_plain(parent, ((struct wi_context *)(void *)parent)->canceller) : NULL;
    if (!ctx)
        return NULL;
    ctx->key = key;
    ctx->value = value;
    ctx->has_value = true;
    return ctx;
}

weft_ctx *weft_ctx_without_cancel(weft_ctx *parent)
{
    return parent ? make_plain(parent, NULL) : NULL;
}

/* ---- freeing ---- */

static void free_ending(struct wi_ending *e)
{
    wi_perturb(); /* who ends the parent may take us off its list, but not end us */
    leave_parent(e);
    WI_CHECK(!e->children && !e->watches); /* they would have references */
    wi_lock(&e->done.lock);                /* what somebody completed may still be on its way out of the lock */
    bool waited_on = wi_waitq_first(&e->done.receivers) || wi_waitq_first(&e->done.senders);
    wi_unlock(&e->done.lock);
    if (waited_on)
        wi_fatal("free of a context whose end goroutines wait for");
    wi_cancel_destroy(&e->canceller);
    wi_slab_give_one(&endings, e);
}

/* The last reference to a context may be the last one that keeps its parent, and so on: a loop, for chains of any length. */
void wi_ctx_freed(struct wi_context *context)
{
    for (weft_ctx *ctx = (weft_ctx *)(void *)context, *parent;; ctx = parent) {
        struct wi_ending *e = wi_ending_of(ctx);
        parent = ctx->parent;
        if (e && &e->ctx == ctx)
            free_ending(e);
        else
            wi_slab_give_one(&plain, ctx);
        if (parent == wi_ctx_background() || wi_sub_acq_rel(&parent->base.references, 1) != 1) /* as in wi_context_unref */
            return;
    }
}

weft_ctx *weft_ctx_ref(weft_ctx *ctx)
{
    if (ctx)
        wi_context_ref((struct wi_context *)(void *)ctx);
    return ctx;
}

void weft_ctx_free(weft_ctx *ctx)
{
    if (ctx)
        wi_context_unref((struct wi_context *)(void *)ctx);
}

/* Alarms that will never come any more give up the reference that they have for that. */
void wi_ctxs_stop(void)
{
    uint32_t made = wi_load_acquire(&endings.made); /* nobody makes more */
    for (uint32_t number = 1; number < made; number++) {
        struct wi_ending *e = wi_slab_record(&endings, number);
        if (e && e->alarm.never && wi_alarm_stop(&e->alarm))
            wi_context_unref(&e->ctx.base);
    }
}

void wi_ctxs_forget(void)
{
    wi_slab_forget(&plain);
    wi_slab_forget(&endings);
    wi_ctx_scopes_forget();
}

/* ---- asking ---- */

weft_ctx *weft_ctx_background(void)
{
    return wi_ctx_background();
}

int weft_ctx_err(const weft_ctx *ctx)
{
    struct wi_ending *e = wi_ending_of(ctx);
    return e ? wi_load_acquire(&e->err) : 0; /* pairs with begin */
}

int weft_ctx_cause(const weft_ctx *ctx)
{
    return weft_ctx_err(ctx) ? wi_ending_of(ctx)->cause : 0;
}

void *weft_ctx_value(const weft_ctx *ctx, const void *key)
{
    for (; ctx != wi_ctx_background(); ctx = ctx->parent)
        if (ctx->has_value && ctx->key == key)
            return ctx->value;
    return NULL;
}

int64_t weft_ctx_deadline(const weft_ctx *ctx)
{
    struct wi_ending *e = wi_ending_of(ctx);
    return e ? e->deadline_ns : INT64_MAX;
}

weft_chan_core *weft_ctx_done(weft_ctx *ctx)
{
    struct wi_ending *e = wi_ending_of(ctx);
    return e ? &e->done : NULL;
}
