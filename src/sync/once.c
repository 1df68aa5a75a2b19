/* once.c — Once in one word, as waitgroup.c has it.

     state = NEW, RUNNING or DONE << 32 | while RUNNING the number of the record that began to wait last, 0 for none

   Whoever brings the state from NEW to RUNNING calls the function. Done is a record on its chain of what to undo, so that it
   comes however the function ends: it returns, exits the goroutine, panics, or throws (this file is compiled with
   -fexceptions, and a cleanup undoes the record). The swap to DONE takes the waiters with it: the last access to the
   Once. */
#include "arch/context.h"
#include "sched/enter.h"
#include "sched/scope.h"
#include "sync/waitgroup.h"
#include "weft/sync.h"

#define RUNNING (UINT64_C(1) << 32)
#define DONE (UINT64_C(2) << 32)

typedef _Atomic uint64_t word;

static const struct wi_wait_kind waits_for_once = {.text = "Once"};

static word *state_of(weft_once *once)
{
    return (word *)&once->state;
}

/* ---- the first call ---- */

static void undo_running(weft_scope_ *scope)
{
    weft_once *once = scope->object;
    uint64_t before = wi_swap_acq_rel(state_of(once), DONE); /* pairs with the acquires of the other calls */
    if (!(uint32_t)before)
        return;
    struct wi_thread *t = wi_enter_or_die();
    wi_wg_release(t, (uint32_t)before);
    wi_leave(t);
}

static __attribute__((noinline)) void call(weft_once *once, weft_fn_ fn, const uintptr_t *words)
{
    weft_scope_ scope __attribute__((cleanup(weft_scope_leave_)));
    wi_scope_enter(&scope, undo_running, once);
    wi_call_words(fn, words);
}

/* ---- the others ---- */

static bool commit_wait(struct wi_thread *t, struct wi_goroutine *g, void *argument)
{
    (void)t;
    weft_once *once = argument;
    struct wi_wg_waiter *waiter = g->run.waiter;
    uint32_t number = wi_goroutine_number(g);
    uint64_t state = wi_load_acquire(state_of(once)); /* pairs with the swap to DONE */
    do {
        if (state == DONE)
            return false;
        waiter->next = (uint32_t)state;
        wi_perturb();
    } while (!wi_cas_acq_rel(state_of(once), &state, RUNNING | number)); /* publishes the waiter */
    return true;
}

static __attribute__((noinline)) void wait(weft_once *once)
{
    wi_wg_wait_in(&waits_for_once, commit_wait, once);
}

void weft_once_do_(weft_once *once, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    (void)site;
    uint64_t state = wi_load_acquire(state_of(once)); /* pairs with the swap to DONE */
    if (WI_LIKELY(state == DONE))
        return;
    if (state == 0 && wi_cas_acquire(state_of(once), &state, RUNNING))
        call(once, fn, words);
    else if (state != DONE)
        wait(once);
}
