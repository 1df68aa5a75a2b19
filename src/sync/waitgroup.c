/* waitgroup.c — WaitGroup in one word.

     state = count << 32 | number of the record that began to wait last, 0 for none

   The waiters form a chain of numbers through structs on their stacks. A waiter publishes itself by a compare-and-swap in
   its commit step, that is when its stack is at rest, so whoever takes the chain may ready it at once.
   The one that brings the count to 0 takes the chain with it, by one compare-and-swap to 0: its last access to the
   WaitGroup, which any waiter, or a newcomer that sees the count at 0, may free from then on. */
#include "sync/waitgroup.h"

#include "sched/stop.h"
#include "weft/sync.h"

typedef _Atomic uint64_t word;

const struct wi_wait_kind wi_waits_for_group = {.text = "WaitGroup", .joins = true};

static word *state_of(weft_waitgroup *wg)
{
    return (word *)&wg->state;
}

static int32_t count_of(uint64_t state)
{
    return (int32_t)(state >> 32);
}

void wi_wg_release(struct wi_thread *t, uint32_t number)
{
    struct wi_goroutine *list = NULL;
    unsigned n = 0;
    while (number) {
        struct wi_goroutine *g = wi_goroutine_by_number(number);
        number = ((struct wi_wg_waiter *)g->run.waiter)->next;
        g->next = list;
        list = g;
        n++;
    }
    if (n == 1)
        wi_ready(t, list);
    else
        wi_ready_list(t, list);
}

/* Adds n < 0. Returns the waiters to let go, 0 for none. */
static inline uint32_t subtract(weft_waitgroup *wg, int n)
{
    uint64_t before = wi_load_relaxed(state_of(wg)), after;
    do {
        int64_t count = (int64_t)count_of(before) + n;
        if (WI_UNLIKELY(count < 0))
            wi_fatal("negative WaitGroup counter");
        after = count ? (uint64_t)count << 32 | (uint32_t)before : 0;
    } while (!wi_cas_acq_rel(state_of(wg), &before, after)); /* done happens before wait returns */
    return after ? 0 : (uint32_t)before;
}

/* Adds n >= 0: this lets nobody go, so one addition does it. */
static inline void add(weft_waitgroup *wg, int n)
{
    uint64_t before = wi_add_acq_rel(state_of(wg), (uint64_t)n << 32); /* done happens before wait returns */
    if (WI_UNLIKELY((int64_t)count_of(before) + n > INT32_MAX))
        wi_fatal("WaitGroup counter overflow");
}

void weft_wg_add(weft_waitgroup *wg, int n)
{
    if (n >= 0) {
        add(wg, n);
        return;
    }
    uint32_t waiters = subtract(wg, n);
    if (waiters) {
        struct wi_thread *t = wi_enter_or_die();
        wi_wg_release(t, waiters);
        wi_leave(t);
    }
}

void weft_wg_done(weft_waitgroup *wg)
{
    weft_wg_add(wg, -1);
}

void wi_wg_joined(struct wi_thread *t, void *wg)
{
    uint32_t waiters = subtract(wg, -1);
    if (waiters)
        wi_wg_release(t, waiters);
}

static bool commit_wait(struct wi_thread *t, struct wi_goroutine *g, void *argument)
{
    (void)t;
    weft_waitgroup *wg = argument;
    struct wi_wg_waiter *waiter = g->run.waiter;
    uint32_t number = wi_goroutine_number(g);
    uint64_t state = wi_load_acquire(state_of(wg)); /* pairs with subtract */
    do {
        if (count_of(state) == 0)
            return false;
        waiter->next = (uint32_t)state;
        wi_perturb();
    } while (!wi_cas_acq_rel(state_of(wg), &state, (state & ~(uint64_t)UINT32_MAX) | number)); /* publishes the waiter */
    return true;
}

/* As wait_in, for threads, pinned goroutines and whatever else is not as usual. */
static __attribute__((noinline)) void wait_slowly(struct wi_thread *t, const struct wi_wait_kind *kind, wi_commit_fn commit,
                                                  void *object)
{
    struct wi_goroutine *g = wi_waiting(t);
    struct wi_wg_waiter waiter;
    g->run.waiter = &waiter;
    wi_wait_on(t, g, kind, object);
    wi_park(t, commit, object);
    wi_leave(wi_self());
}

static inline __attribute__((always_inline)) void wait_in(const struct wi_wait_kind *kind, wi_commit_fn commit, void *object)
{
    struct wi_thread *t = wi_enter_blocking_or_die();
    struct wi_goroutine *g = t->current;
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    if (WI_UNLIKELY(!g || !w || (g->flags & WI_G_STOPS_SLOWLY))) {
        wait_slowly(t, kind, commit, object);
        return;
    }
    struct wi_wg_waiter waiter;
    g->run.waiter = &waiter;
    wi_wait_on_since(g, kind, object, wi_load_relaxed(&w->now_ns));
    wi_stop(t, w, g, commit, object);
    wi_leave(wi_self());
}

void wi_wg_wait_in(const struct wi_wait_kind *kind, wi_commit_fn commit, void *object)
{
    wait_in(kind, commit, object);
}

void weft_wg_wait(weft_waitgroup *wg)
{
    if (count_of(wi_load_acquire(state_of(wg))) == 0) /* pairs with subtract */
        return;
    wait_in(&wi_waits_for_group, commit_wait, wg);
}

void weft_wg_spawn_(weft_waitgroup *wg, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    add(wg, 1);
    int error = wi_spawn(NULL, site, fn, words, wg);
    if (WI_UNLIKELY(error))
        wi_spawn_failed(error);
}
