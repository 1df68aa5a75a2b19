/* ctx.h — what a context is, for ctx.c, watch.c and use.c; and the layer's side of hooks.h. */
#ifndef WI_CTX_H
#define WI_CTX_H

#include "chan/chan.h"
#include "sched/cancel.h"
#include "timer/timeout.h"
#include "weft/ctx.h"

/* Any context but the background, which is a bare struct wi_context. Records are type-stable, as their locks must be. */
struct weft_ctx {
    struct wi_context base; /* first */
    weft_ctx *parent;       /* [const] with a reference */
    const void *key;        /* [const] has_value ... */
    void *value;            /* [const] ... what weft_ctx_value gives for it */
    bool has_value;         /* [const] */
};

/* A context with an end of its own: with_cancel, with_timeout, with_deadline. Others end with the nearest such one above,
   whose canceller they have, or never.

   Invariant: linked in above->children == err is 0, and it is not being made or freed. */
struct wi_ending {
    struct weft_ctx ctx;            /* first */
    struct wi_ending *above;        /* [const] the nearest above with an end; ctx.parent keeps it; or NULL */
    int64_t deadline_ns;            /* [const] its own or, when that is earlier, the one above's; INT64_MAX: none */
    struct wi_lock lock;            /* the end has begun or not: guards what depends on that */
    _Atomic int err;                /* [stores: lock, once; loads: all] 0, -ECANCELED, -ETIMEDOUT */
    int cause;                      /* [const once err is not 0] */
    struct wi_ending *children;     /* [lock] those with an end; without references */
    struct wi_ending *next, **link; /* [above->lock] link NULL: not in its list */
    struct weft_ctx_watch *watches; /* [lock] each with a reference */
    struct wi_alarm alarm;          /* [start: lock, err is 0; stop: who ends it] pending: has a reference */
    struct weft_chan_core done;     /* closed once err is set; no elements */
    struct wi_canceller canceller;  /* begins its end once done is closed */
};

/* The context's end: its own or the one that it has from above; NULL: it never ends. */
static inline struct wi_ending *wi_ending_of(const weft_ctx *ctx)
{
    struct wi_canceller *canceller =
        ((const struct wi_context *)(const void *)ctx)->canceller; /* the background has one too */
    return canceller ? (struct wi_ending *)(void *)((char *)canceller - offsetof(struct wi_ending, canceller)) : NULL;
}

static inline weft_ctx *wi_ctx_background(void)
{
    return (weft_ctx *)(void *)&wi_background;
}

/* watch.c: starts what waits for the end of `ending`, which has come. Inside weft, no lock held. */
void wi_watches_run(struct wi_thread *t, struct wi_ending *ending);

/* For hooks.h. */
void wi_ctx_freed(struct wi_context *context);
void wi_ctxs_stop(void);
void wi_ctxs_forget(void);
/* use.c: in a forked child, scopes of the parent's are left without a trace. */
void wi_ctx_scopes_forget(void);

#endif
