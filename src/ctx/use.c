/* use.c — the context that the caller runs in, and the scopes that change it: weft_scoped_ctx, weft_scoped_use,
   weft_scoped_shield.

   A scope may be left where its runtime is no more: after weft_shutdown a foreign thread is unknown, and only its member
   must go from the context's list; in a forked child nothing of the parent's may be touched, whose locks others may have
   held. */
#include "ctx/ctx.h"

#include "sched/enter.h"
#include "sched/scope.h"

static uint32_t forks; /* [const but for the child of a fork, which has one thread] */

/* What weft_ctx_scope_.member holds. */
struct inside {
    struct wi_member member;
    uint32_t forks; /* [const] when it was entered */
};
_Static_assert(sizeof(struct inside) <= sizeof((weft_ctx_scope_ *)0)->member, "the public scope has room for a member");

static struct inside *inside_of(weft_ctx_scope_ *scope)
{
    return (struct inside *)(void *)scope->member;
}

static weft_ctx_scope_ *scope_of(weft_scope_ *scope)
{
    return (weft_ctx_scope_ *)(void *)scope; /* the first member */
}

void wi_ctx_scopes_forget(void)
{
    forks++;
}

static void enter(weft_ctx_scope_ *scope, struct wi_context *context, bool shielded)
{
    struct wi_thread *t = wi_enter_or_die();
    wi_cancel_enter(t, &inside_of(scope)->member, context, shielded);
    wi_leave(t);
    inside_of(scope)->forks = forks;
}

/* False: in a forked child. */
static bool leave(weft_ctx_scope_ *scope)
{
    if (inside_of(scope)->forks != forks)
        return false;
    struct wi_thread *t = wi_self();
    t = t && !t->outdated ? wi_enter_or_die() : NULL;
    wi_cancel_leave(t, &inside_of(scope)->member);
    if (t)
        wi_leave(t);
    return true;
}

void weft_ctx_scope_leave_(weft_ctx_scope_ *scope)
{
    weft_scope_leave_(&scope->scope);
}

weft_ctx *weft_ctx_current(void)
{
    struct wi_thread *t = wi_self();
    struct wi_goroutine *g = t && !t->outdated ? wi_waiting(t) : NULL;
    struct wi_member *member = g ? wi_member_of(g) : NULL;
    return member ? (weft_ctx *)(void *)member->context : wi_ctx_background();
}

/* ---- scopes ---- */

static void undo_ctx(weft_scope_ *scope)
{
    weft_ctx *ctx = scope->object;
    if (!ctx || inside_of(scope_of(scope))->forks != forks)
        return;
    weft_ctx_cancel(ctx);
    weft_ctx_free(ctx);
}

weft_ctx *weft_scoped_ctx_(weft_ctx_scope_ *scope, weft_ctx *ctx)
{
    inside_of(scope)->forks = forks;
    wi_scope_enter(&scope->scope, undo_ctx, ctx);
    return ctx;
}

static void undo_use(weft_scope_ *scope)
{
    if (leave(scope_of(scope)))
        weft_ctx_free(scope->object);
}

weft_ctx *weft_scoped_use_(weft_ctx_scope_ *scope, weft_ctx *ctx)
{
    if (!ctx)
        wi_fatal("weft_scoped_use of a NULL context");
    enter(scope, (struct wi_context *)(void *)weft_ctx_ref(ctx), false);
    wi_scope_enter(&scope->scope, undo_use, ctx);
    return ctx;
}

static void undo_shield(weft_scope_ *scope)
{
    leave(scope_of(scope));
}

weft_ctx *weft_scoped_shield_(weft_ctx_scope_ *scope)
{
    weft_ctx *ctx = weft_ctx_current();
    enter(scope, (struct wi_context *)(void *)ctx, true);
    wi_scope_enter(&scope->scope, undo_shield, ctx);
    return ctx;
}
