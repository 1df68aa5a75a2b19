/* select.c — waiting for the first of several channel operations.

   A look without locks chooses among the operations that seem possible, each as likely as the others. It is carried out under
   the lock of its channel alone: that it was possible is all that a select has to be right about. When nothing is, or
   somebody was faster, all channels are locked in the order of their addresses (select against select cannot deadlock, and
   two selects that pair with each other see one state) and it is tried again; if there still is nothing, a waiter is queued
   on every channel, everything is unlocked, and the shared wait of waiter.h decides who ends it. Afterwards what is left of
   the waiters is unlinked, so that nothing outlives the call; but the winner's channel is not looked at, which may have been
   freed meanwhile: its completer has unlinked all that was there. */
#include "chan/chan.h"

#include "base/rand.h"
#include "sched/enter.h"
#include "timer/timeout.h"

#include <stdlib.h>

#define CASES_MAX 65535U
#define CASES_ON_STACK 64U
#define SORTED_BY_INSERTION 16U

static const struct wi_wait_kind waits_for_select = {.text = "select"};
static const struct wi_wait_kind waits_for_select_or_time = {.text = "select with timeout", .timed = true};

/* A case that names a channel. */
struct place {
    weft_chan_core *chan;
    uint16_t index;
};

struct selection {
    const weft_case *cases;
    struct place *places; /* by their channels' addresses from sort on, so that those on one channel are neighbours */
    unsigned n;
    struct wi_waiter *waiters; /* one for each place */
    int64_t timeout_ns;        /* the earliest, INT64_MAX for none */
    int timeout_case;          /* its index, or -1 */
};

static bool may_be_possible(const weft_case *one)
{
    return one->op == WEFT_CASE_SEND ? wi_chan_may_send(one->chan) : wi_chan_may_receive(one->chan);
}

/* Chooses among what comes one by one: the k-th takes the place of its predecessors with a probability of 1/k. */
static inline bool takes_place(unsigned k, uint32_t *random)
{
    return k == 1 || wi_random_below(random, k) == 0;
}

/* Fills s from the cases. One that seems possible; -1: there is none. */
static inline int look(struct selection *s, const weft_case *cases, unsigned n, uint32_t *random)
{
    int chosen = -1;
    unsigned possible = 0;
    s->cases = cases;
    s->n = 0;
    s->timeout_ns = INT64_MAX;
    s->timeout_case = -1;
    for (unsigned i = 0; i < n; i++) {
        const weft_case *one = &cases[i];
        if (one->op == WEFT_CASE_TIMEOUT && (s->timeout_case < 0 || one->timeout_ns < s->timeout_ns)) {
            s->timeout_ns = one->timeout_ns;
            s->timeout_case = (int)i;
        }
        if ((one->op != WEFT_CASE_RECV && one->op != WEFT_CASE_SEND) || !one->chan)
            continue;
        s->places[s->n++] = (struct place){one->chan, (uint16_t)i};
        if (may_be_possible(one) && takes_place(++possible, random))
            chosen = (int)i;
    }
    return chosen;
}

/* ---- one operation ---- */

static int report(const weft_case *one, int index, bool ok)
{
    if (one->op == WEFT_CASE_RECV && one->ok)
        *one->ok = ok;
    return one->op == WEFT_CASE_SEND && !ok ? -EPIPE : index;
}

/* Carries out a case whose channel is locked: its result, or -EAGAIN; *ended as in chan.h. */
static inline int carry_out(const weft_case *one, int index, struct wi_waiter **ended)
{
    enum wi_chan_result result = one->op == WEFT_CASE_SEND ? wi_chan_send_locked(one->chan, one->value, ended)
                                                           : wi_chan_recv_locked(one->chan, one->value, ended);
    return result == WI_CHAN_WAIT ? -EAGAIN : report(one, index, result == WI_CHAN_DONE);
}

/* The same, and locks it. */
static inline int try_one(struct wi_thread *t, const weft_case *one, int index)
{
    struct wi_waiter *ended;
    weft_chan_core *c = one->chan;
    wi_lock(&c->lock);
    int result = carry_out(one, index, &ended);
    wi_unlock(&c->lock);
    wi_waiter_complete(t, ended);
    return result;
}

/* ---- all channels ---- */

static bool comes_after(const struct place *a, const struct place *b)
{
    return (uintptr_t)a->chan > (uintptr_t)b->chan;
}

/* Heap sort: no recursion, no memory, and n may be 65,535. */
static __attribute__((noinline)) void sort_many(struct place *a, unsigned n)
{
    for (unsigned end = n, start = n / 2; end > 1;) {
        if (start > 0) {
            start--;
        } else {
            end--;
            struct place top = a[0];
            a[0] = a[end];
            a[end] = top;
        }
        for (unsigned root = start, child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && comes_after(&a[child + 1], &a[child]))
                child++;
            if (!comes_after(&a[child], &a[root]))
                break;
            struct place swap = a[root];
            a[root] = a[child];
            a[child] = swap;
        }
    }
}

static inline void sort(const struct selection *s)
{
    if (s->n > SORTED_BY_INSERTION) {
        sort_many(s->places, s->n);
        return;
    }
    for (unsigned i = 1; i < s->n; i++) {
        struct place one = s->places[i];
        unsigned at = i;
        for (; at > 0 && comes_after(&s->places[at - 1], &one); at--)
            s->places[at] = s->places[at - 1];
        s->places[at] = one;
    }
}

/* All but `except`, which may be NULL. */
static inline void lock_all(const struct selection *s, const weft_chan_core *except)
{
    const weft_chan_core *last = except;
    for (unsigned i = 0; i < s->n; i++) {
        weft_chan_core *c = s->places[i].chan;
        if (c != last && c != except)
            wi_lock(&c->lock);
        last = c;
    }
}

static inline void unlock_all(const struct selection *s, const weft_chan_core *except)
{
    const weft_chan_core *last = except;
    for (unsigned i = s->n; i-- > 0;) {
        weft_chan_core *c = s->places[i].chan;
        if (c != last && c != except)
            wi_unlock(&c->lock);
        last = c;
    }
}

/* Carries out one of the possible operations, chosen as in look; its result, or -EAGAIN. All are locked; *ended as in
   chan.h. One that only seems possible no longer does once it was tried. */
static inline int try_all(const struct selection *s, uint32_t *random, struct wi_waiter **ended)
{
    for (;;) {
        unsigned possible = 0;
        int chosen = -1;
        for (unsigned i = 0; i < s->n; i++)
            if (may_be_possible(&s->cases[s->places[i].index]) && takes_place(++possible, random))
                chosen = s->places[i].index;
        *ended = NULL;
        if (WI_LIKELY(chosen < 0))
            return -EAGAIN;
        int result = carry_out(&s->cases[chosen], chosen, ended);
        if (result != -EAGAIN)
            return result;
    }
}

/* Fisher and Yates. */
static __attribute__((noinline)) void shuffle(struct place *a, unsigned n, uint32_t *random)
{
    for (unsigned i = n; i > 1; i--) {
        unsigned at = wi_random_below(random, i);
        struct place swap = a[at];
        a[at] = a[i - 1];
        a[i - 1] = swap;
    }
}

/* Queues a waiter for every case; those on one channel, who are first come first served, in a random order. All are
   locked. */
static inline void queue_everywhere(const struct selection *s, uint32_t *random, const struct wi_waiter *common)
{
    for (unsigned first = 0, end; first < s->n; first = end) {
        for (end = first + 1; end < s->n && s->places[end].chan == s->places[first].chan;)
            end++;
        bool twins = end - first > 1;
        if (WI_UNLIKELY(twins))
            shuffle(&s->places[first], end - first, random);
        for (unsigned i = first; i < end; i++) {
            const weft_case *one = &s->cases[s->places[i].index];
            struct wi_waiter *w = &s->waiters[i];
            w->g = common->g;
            w->ticket = common->ticket;
            w->winner = common->winner;
            w->value = one->value;
            w->n_twins = (uint16_t)(twins ? end - first : 0);
            w->twin = (uint16_t)(i - first);
            w->index = s->places[i].index;
            wi_waitq_push(one->op == WEFT_CASE_SEND ? &one->chan->senders : &one->chan->receivers, w);
        }
    }
}

/* Queues on all, waits, unlinks. All are locked on entry, none on return. */
static int wait_for_one(struct wi_thread *t, const struct selection *s)
{
    struct wi_goroutine *g = wi_waiting(t);
    struct wi_waiter *winner = NULL;
    int64_t deadline_ns = s->timeout_case < 0 ? INT64_MAX : wi_deadline_ns(s->timeout_ns);
    uint64_t ticket;
    if (!wi_wait_begin(g, &ticket)) {
        unlock_all(s, NULL);
        return wi_wait_refused(t, g, ticket);
    }
    queue_everywhere(s, &t->random, &(struct wi_waiter){.g = g, .ticket = ticket, .winner = &winner});
    wi_wait_on(t, g, s->timeout_case < 0 ? &waits_for_select : &waits_for_select_or_time,
               s->n == 1 ? s->places[0].chan : NULL);
    unlock_all(s, NULL);
    uint64_t by = wi_wait_shared(t, g, ticket, deadline_ns);
    WI_CHECK((by == 0) == (winner != NULL));
    const weft_chan_core *gone = winner ? s->cases[winner->index].chan : NULL;
    lock_all(s, gone);
    for (unsigned i = 0; i < s->n; i++)
        wi_waitq_remove(&s->waiters[i]);
    unlock_all(s, gone);
    if (!winner)
        return by == WI_WAIT_BY_TIME ? s->timeout_case : wi_cancel_reason(g);
    return report(&s->cases[winner->index], winner->index, winner->ok);
}

/* Nothing was possible at a look, or somebody was faster. */
static int wait_or_give_up(struct wi_thread *t, const struct selection *s, bool block)
{
    struct wi_waiter *ended;
    sort(s);
    lock_all(s, NULL);
    int result = try_all(s, &t->random, &ended);
    if (result == -EAGAIN && block)
        return wait_for_one(t, s);
    unlock_all(s, NULL);
    wi_waiter_complete(t, ended);
    return result;
}

/* No channel takes part: time alone, or nothing, ends it. */
static int select_nothing(struct wi_thread *t, const struct selection *s)
{
    if (s->timeout_case < 0)
        return wi_sleep_for_ever(t, &wi_waits_for_ever);
    int error = wi_sleep_until(t, wi_deadline_ns(s->timeout_ns));
    return error ? error : s->timeout_case;
}

static int run(struct selection *s, const weft_case *cases, unsigned n, bool block)
{
    struct wi_thread *t = block ? wi_enter_blocking() : wi_enter();
    if (WI_UNLIKELY(!t))
        return -EDEADLK;
    int chosen = look(s, cases, n, &t->random);
    int result = chosen >= 0 ? try_one(t, &cases[chosen], chosen) : -EAGAIN;
    if (result == -EAGAIN) {
        bool in_time = block && !(s->timeout_case >= 0 && s->timeout_ns <= 0);
        if (in_time && s->n == 0)
            result = select_nothing(t, s);
        else if (in_time || chosen >= 0)
            result = wait_or_give_up(t, s, in_time);
        if (result == -EAGAIN && block)
            result = s->timeout_case;
    }
    wi_leave(wi_self());
    return result;
}

static int run_on_stack(const weft_case *cases, unsigned n, bool block)
{
    struct place places[n + 1];
    struct wi_waiter waiters[n + 1];
    struct selection s = {.places = places, .waiters = waiters};
    return run(&s, cases, n, block);
}

static int run_on_heap(const weft_case *cases, unsigned n, bool block)
{
    struct wi_waiter *waiters = malloc(n * (sizeof *waiters + sizeof(struct place)));
    if (!waiters)
        return -ENOMEM;
    struct selection s = {.places = (struct place *)(void *)(waiters + n), .waiters = waiters};
    int result = run(&s, cases, n, block);
    free(waiters);
    return result;
}

int weft_select_(const weft_case *cases, unsigned n, bool block)
{
    if (n > CASES_MAX)
        return -EINVAL;
    return n <= CASES_ON_STACK ? run_on_stack(cases, n, block) : run_on_heap(cases, n, block);
}
