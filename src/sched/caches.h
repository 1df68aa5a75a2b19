/* caches.h — what a worker keeps of free records and stacks, so that most goroutines begin and end without a lock. Only the
   thread that owns the worker touches them, from inside weft. */
#ifndef WI_CACHES_H
#define WI_CACHES_H

#include "sched/sched.h"

static inline bool wi_has_default_size(const struct wi_goroutine *g)
{
    return (g->flags & WI_G_SIZE_MASK) == 0;
}

/* A stack for g, or NULL. w may be NULL. */
static inline struct wi_stack *wi_stack_cached(struct wi_worker *w, const struct wi_goroutine *g)
{
    struct wi_stack *stack;
    if (WI_UNLIKELY(!w || !wi_has_default_size(g) || !(stack = w->stacks)))
        return NULL;
    w->stacks = stack->next;
    w->stacks_held--;
    wi_sanitizer_stack_reuse(&stack->side);
    return stack;
}

static inline __attribute__((always_inline)) void wi_count_ended(struct wi_worker *w)
{
    wi_store_release(&w->ended, wi_load_relaxed(&w->ended) + 1); /* pairs with the acquire in weft_count */
}

/* Frees g, which runs on its stack for the last time, before that is left: nobody takes a worker, or anything from its
   caches, until the next goroutine leaves weft, and what the next one to get the stack finds there is of no interest. False:
   not everything fits, or there is more to be done; then it is for the commit step. */
static inline __attribute__((always_inline)) bool wi_free_running(struct wi_worker *w, struct wi_goroutine *g,
                                                                  struct wi_stack *stack)
{
    uint32_t records = w->records_held;
    if (WI_UNLIKELY(w->stacks_held >= WI_STACKS_CACHED || records + 1 >= WI_RECORDS_CACHED || g->extra ||
                    (g->flags & WI_G_SIZE_MASK) || wi_load_relaxed(&wi_sched.n_starved)))
        return false;
    wi_store_relaxed(&g->stack, NULL);
    wi_goroutine_set_state(g, WI_FREE);
    stack->next = w->stacks;
    w->stacks = stack;
    w->stacks_held++;
    w->records[records] = g;
    w->records_held = records + 1;
    wi_count_ended(w);
    return true;
}

#endif
