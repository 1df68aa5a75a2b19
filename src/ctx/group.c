/* group.c — goroutines that fail together.

   Everything of a group but the count of the running is guarded by wi_guard_of(group). A goroutine of the group ends in this
   order: its result is recorded, and the first negative one cancels the group's context; its slot goes to the next that
   waits for one; and when all else of the goroutine has ended (local values, its place in the context), the scheduler counts
   it down: it is `joined` to the WaitGroup in the group. That is the last access to the group, which the owner may free from
   then on.

   The slots are no semaphore of sync/: a wait for one is not ended by contexts, and nothing is to be freed.

   The group's context lives from the first goroutine until weft_group_wait. Under a shield it is no child of the current
   context, which ends no waits there, but has its values. */
#include "arch/context.h"
#include "ctx/future.h"
#include "ctx/panic.h"
#include "sched/cancel.h"
#include "sched/enter.h"
#include "sync/guard.h"
#include "sync/line.h"
#include "weft/group.h"

#include <string.h>

const struct wi_wait_kind wi_waits_for_slot = {.text = "slot of group"};

/* ---- results ---- */

/* Ends ctx, of which the caller has a reference, and drops that. */
static void end_context(weft_ctx *ctx, int cause)
{
    weft_ctx_cancel_cause(ctx, cause);
    weft_ctx_free(ctx);
}

/* The group has an error; panic: its text, or NULL. */
static void fail(weft_group *group, int error, char *panic)
{
    weft_ctx *ctx = NULL;
    struct wi_thread *t = wi_enter_or_die();
    struct wi_lock *guard = wi_guard_of(group);
    wi_lock(guard);
    if (!group->error) {
        group->error = error;
        ctx = group->ctx ? weft_ctx_ref(group->ctx) : NULL;
    }
    if (!group->panic) {
        group->panic = panic;
        panic = NULL;
    }
    wi_unlock(guard);
    wi_leave(t);
    if (ctx)
        end_context(ctx, error);
    if (panic)
        wi_panic_text_free(panic);
}

void weft_group_cancel(weft_group *group, int cause)
{
    if (cause >= 0)
        wi_fatal("weft_group_cancel: a cause is a negative errno");
    fail(group, cause, NULL);
}

/* ---- the context ---- */

static weft_ctx *make_context(void)
{
    weft_ctx *parent = weft_ctx_current(), *values = NULL;
    struct wi_thread *t = wi_self();
    struct wi_member *member = t && !t->outdated ? wi_member_of(wi_waiting(t)) : NULL;
    if (member && member->shielded) {
        parent = values = weft_ctx_without_cancel(parent);
        if (!values)
            return NULL;
    }
    weft_ctx *ctx = weft_ctx_with_cancel(parent);
    weft_ctx_free(values);
    return ctx;
}

weft_ctx *weft_group_ctx(weft_group *group)
{
    weft_ctx *_Atomic *place = (weft_ctx * _Atomic *)&group->ctx;
    weft_ctx *ctx = wi_load_acquire(place), *made; /* pairs with the release below */
    if (WI_LIKELY(ctx != NULL) || !(made = make_context()))
        return ctx;
    char *panic = NULL;
    int error = 0;
    struct wi_thread *t = wi_enter_or_die();
    struct wi_lock *guard = wi_guard_of(group);
    wi_lock(guard);
    ctx = group->ctx;
    if (!ctx) {
        ctx = made;
        made = NULL;
        panic = group->panic; /* of the last use */
        group->panic = NULL;
        error = group->error; /* it was cancelled before it had begun */
        wi_store_release(place, ctx);
    }
    wi_unlock(guard);
    wi_leave(t);
    weft_ctx_free(made); /* somebody was quicker */
    if (panic)
        wi_panic_text_free(panic);
    if (error)
        weft_ctx_cancel_cause(ctx, error);
    return ctx;
}

/* ---- slots ---- */

/* Takes one of as many slots as the limit says. False: there is none, and the caller will not wait. */
static bool take_slot(struct wi_thread *t, weft_group *group, bool may_wait)
{
    struct wi_lock *guard = wi_guard_of(group);
    wi_lock(guard);
    if (group->busy < group->limit) {
        group->busy++;
        wi_unlock(guard);
        return true;
    }
    if (!may_wait) {
        wi_unlock(guard);
        return false;
    }
    struct wi_in_line waiter = {.g = wi_waiting(t)};
    wi_line_push_last(&group->waiters, &waiter);
    wi_wait_on(t, waiter.g, &wi_waits_for_slot, group);
    wi_park(t, wi_wait_commit_unlock, guard);
    return true; /* whoever let us go left us his */
}

static void give_slot(weft_group *group)
{
    if (!group->limit)
        return;
    struct wi_thread *t = wi_enter_or_die();
    struct wi_lock *guard = wi_guard_of(group);
    wi_lock(guard);
    struct wi_in_line *waiter = group->waiters ? wi_line_pop(&group->waiters) : NULL;
    if (!waiter)
        group->busy--;
    wi_unlock(guard);
    if (waiter)
        wi_ready(t, waiter->g); /* found under the guard, so it is at rest */
    wi_leave(t);
}

/* ---- the goroutines ---- */

/* The last that a goroutine does in its group, but for the count. */
static void settle(weft_group *group, int result, char *panic)
{
    if (result < 0)
        fail(group, result, panic);
    give_slot(group);
}

static void ended(struct wi_boundary *boundary, char *panic)
{
    settle(boundary->object, panic ? -ENOTRECOVERABLE : 0, panic);
}

/* The words are packed: first the function, then its own; six are on the heap. The prefix keeps it out of the stacks that
   reports show. */
static void wi_group_child(weft_fn_ fn, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)
{
    struct wi_goroutine *g = wi_self()->current;
    weft_group *group = g->join;
    uintptr_t words[6] = {a, b, c, d, e};
    if (g->site->arguments > 5) {
        memcpy(words, (void *)a, sizeof words);
        free((void *)a);
    }
    struct wi_boundary boundary;
    wi_boundary_enter(&boundary, ended, group);
    int result = (int)wi_call_words(fn, words);
    char *panic = wi_boundary_leave(&boundary);
    settle(group, panic ? -ENOTRECOVERABLE : result, panic);
}

/* Starts the goroutine, which has its slot. 0 or an error. */
static int start(weft_group *group, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    weft_options options = {.size = sizeof options, .ctx = weft_group_ctx(group)};
    uintptr_t packed[6] = {(uintptr_t)fn};
    uintptr_t *heap = NULL;
    if (!options.ctx)
        return -ENOMEM;
    if (site->arguments > 5) {
        if (!(heap = malloc(6 * sizeof *heap)))
            return -ENOMEM;
        memcpy(heap, words, 6 * sizeof *heap);
        packed[1] = (uintptr_t)heap;
    } else {
        memcpy(packed + 1, words, 5 * sizeof *packed);
    }
    weft_wg_add(&group->running, 1);
    int error = wi_spawn(&options, site, (weft_fn_)wi_group_child, packed, &group->running);
    if (!error)
        return 0;
    weft_wg_done(&group->running);
    free(heap);
    return error;
}

static int spawn(weft_group *group, const weft_site *site, weft_fn_ fn, const uintptr_t *words, bool may_wait)
{
    struct wi_thread *t = may_wait ? wi_enter_blocking() : wi_enter();
    if (!t)
        return -EDEADLK;
    bool may_start = !group->limit || take_slot(t, group, may_wait);
    wi_leave(wi_self());
    if (!may_start)
        return -EBUSY;
    int error = start(group, site, fn, words);
    if (WI_UNLIKELY(error))
        settle(group, error, NULL);
    return error;
}

int weft_group_spawn_(weft_group *group, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    return spawn(group, site, fn, words, true);
}

int weft_group_try_spawn_(weft_group *group, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    return spawn(group, site, fn, words, false);
}

/* ---- the owner ---- */

int weft_group_wait(weft_group *group)
{
    weft_wg_wait(&group->running);
    struct wi_thread *t = wi_enter_or_die();
    struct wi_lock *guard = wi_guard_of(group);
    wi_lock(guard); /* somebody may be in weft_group_cancel */
    weft_ctx *ctx = group->ctx;
    int error = group->error;
    group->ctx = NULL;
    group->error = 0;
    wi_unlock(guard);
    wi_leave(t);
    if (ctx)
        end_context(ctx, error ? error : -ECANCELED);
    return error;
}

const char *weft_group_panic(const weft_group *group)
{
    return group->panic;
}

void weft_group_clear(weft_group *group)
{
    if (group->panic)
        wi_panic_text_free(group->panic);
    group->panic = NULL;
}

static void undo_group(weft_scope_ *scope)
{
    weft_group *group = scope->object;
    weft_group_cancel(group, -ECANCELED);
    weft_group_wait(group);
    weft_group_clear(group);
}

void weft_scoped_group_(weft_group_scope_ *scope, weft_group *group)
{
    wi_scope_enter(&scope->scope, undo_group, group);
}

void weft_group_scope_leave_(weft_group_scope_ *scope)
{
    weft_scope_leave_(&scope->scope);
}
