/* future.c — a goroutine with one result, for one other.

   One record, shared by the goroutine and whoever has the future; its state decides who frees it:

     number << 32 | DONE | DROPPED       number: of the record that awaits, 0: nobody yet

   The goroutine stores its result in the record and sets DONE when everything else of it has ended, destructors of its local
   values too, by one fetch-or. Somebody who awaits is then let go, and frees the record; if it is DROPPED, the goroutine
   frees it; else whoever comes first of weft_future_core_await and _free. The fetch-or is the goroutine's last access. The
   awaiter publishes itself in its commit step, when its stack is at rest, so that it may be readied at once. */
#include "ctx/future.h"

#include "arch/context.h"
#include "base/perturb.h"
#include "ctx/panic.h"
#include "sched/enter.h"
#include "weft/group.h"

#include <string.h>

#define DONE UINT64_C(1)
#define DROPPED UINT64_C(2)
#define NUMBER_SHIFT 32

struct weft_future_core {
    _Atomic uint64_t state; /* [atomic] */
    weft_fn_ fn;            /* [const] */
    uintptr_t words[6];     /* [const] */
    uint64_t result;        /* [goroutine until DONE] its low bytes */
    int error;              /* [goroutine until DONE] */
    char *panic;            /* [goroutine until DONE] message and stack, or NULL */
};

const struct wi_wait_kind wi_waits_for_future = {.text = "future", .joins = true};

/* ---- the goroutine's side ---- */

static void ended(struct wi_boundary *boundary, char *panic)
{
    struct weft_future_core *f = boundary->object;
    f->panic = panic;
}

/* The prefix keeps it out of the stacks that reports show. */
static void wi_future_child(struct weft_future_core *f)
{
    struct wi_boundary boundary;
    wi_boundary_enter(&boundary, ended, f);
    uint64_t result = wi_call_words(f->fn, f->words);
    f->panic = wi_boundary_leave(&boundary);
    if (f->panic)
        return;
    f->result = result;
    f->error = 0;
}

static void destroy(struct weft_future_core *f)
{
    if (f->panic)
        wi_panic_text_free(f->panic);
    free(f);
}

void wi_future_joined(struct wi_thread *t, void *join)
{
    struct weft_future_core *f = wi_join_object(join);
    wi_perturb();
    uint64_t before = wi_or_acq_rel(&f->state, DONE); /* pairs with the acquires of who looks for DONE */
    uint32_t number = (uint32_t)(before >> NUMBER_SHIFT);
    if (number)
        wi_ready(t, wi_goroutine_by_number(number));
    else if (before & DROPPED)
        destroy(f);
}

weft_future_core *weft_async_(void *unused, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    (void)unused;
    struct weft_future_core *f = malloc(sizeof *f);
    if (!f)
        return NULL;
    *f = (struct weft_future_core){.fn = fn, .error = -ENOTRECOVERABLE};
    memcpy(f->words, words, sizeof f->words);
    uintptr_t argument[6] = {(uintptr_t)f};
    if (wi_spawn(NULL, site, (weft_fn_)wi_future_child, argument, (void *)((uintptr_t)f | WI_JOIN_FUTURE)) == 0)
        return f;
    free(f);
    return NULL;
}

/* ---- the other side ---- */

static void misused(void)
{
    wi_fatal("a future is awaited or freed by two");
}

static bool commit_await(struct wi_thread *t, struct wi_goroutine *g, void *argument)
{
    (void)t;
    struct weft_future_core *f = argument;
    uint64_t number = wi_goroutine_number(g);
    uint64_t state = wi_load_acquire(&f->state); /* pairs with wi_future_joined */
    do {
        if (state & DONE)
            return false;
        if (state >> NUMBER_SHIFT)
            misused();
        wi_perturb();
    } while (!wi_cas_acq_rel(&f->state, &state, state | number << NUMBER_SHIFT)); /* publishes the waiter */
    return true;
}

static void wait_for(struct weft_future_core *f)
{
    uint64_t state = wi_load_acquire(&f->state); /* pairs with wi_future_joined */
    if (state >> NUMBER_SHIFT || (state & DROPPED))
        misused();
    if (state & DONE)
        return;
    struct wi_thread *t = wi_enter_blocking_or_die();
    struct wi_goroutine *g = wi_waiting(t);
    wi_wait_on(t, g, &wi_waits_for_future, f);
    wi_park(t, commit_await, f);
    wi_leave(wi_self());
}

int weft_future_core_await(weft_future_core *f, void *result, size_t size, char **panic)
{
    int error = -ENOMEM;
    uint64_t word = 0;
    char *text = NULL;
    if (f) {
        wait_for(f);
        error = f->error;
        word = f->result;
        if (panic && f->panic != wi_panic_unknown) {
            text = f->panic;
            f->panic = NULL;
        }
        destroy(f);
    }
    if (result)
        memcpy(result, &word, size < sizeof word ? size : sizeof word); /* the low bytes come first */
    if (panic)
        *panic = text;
    return error;
}

bool weft_future_core_ready(const weft_future_core *f)
{
    return !f || (wi_load_acquire(&f->state) & DONE); /* pairs with wi_future_joined */
}

void weft_future_core_free(weft_future_core *f)
{
    if (!f)
        return;
    uint64_t before = wi_or_acq_rel(&f->state, DROPPED); /* pairs with wi_future_joined */
    if (before >> NUMBER_SHIFT || (before & DROPPED))
        misused();
    if (before & DONE)
        destroy(f);
}
