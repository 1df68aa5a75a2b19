/* select.c — waiting for the first of several channel operations.

   All channels are locked in the order of their addresses (select against select cannot deadlock, and two selects that pair
   with each other see one state); if an operation is possible it is carried out, the first possible one in a random order;
   otherwise a waiter is queued on every channel, everything is unlocked, and the shared wait of waiter.h decides who ends
   it. Afterwards the channels are locked again and what is left of the waiters unlinked, so that nothing outlives the call;
   but not the winner's channel, which may have been freed meanwhile: its completer has unlinked all that was there. */
#include "chan/chan.h"

#include "base/rand.h"
#include "sched/enter.h"
#include "timer/timeout.h"

#include <stdlib.h>

#define CASES_MAX 65535U
#define CASES_ON_STACK 64U

static const struct wi_wait_kind waits_for_select = {.text = "select"};
static const struct wi_wait_kind waits_for_select_or_time = {.text = "select with timeout", .timed = true};

struct selection {
    const weft_case *cases;
    unsigned n;                /* cases that name a channel */
    uint16_t *order;           /* their indices in the random order */
    uint16_t *by_address;      /* their indices by their channels' addresses */
    struct wi_waiter *waiters; /* one for each of by_address, so that those on one channel are neighbours */
    int64_t timeout_ns;        /* the earliest, INT64_MAX for none */
    int timeout_case;          /* its index, or -1 */
};

/* All but `except`, which may be NULL. */
static void lock_all(const struct selection *s, const weft_chan_core *except)
{
    const weft_chan_core *last = except;
    for (unsigned i = 0; i < s->n; i++) {
        weft_chan_core *c = s->cases[s->by_address[i]].chan;
        if (c != last && c != except)
            wi_lock(&c->lock);
        last = c;
    }
}

static void unlock_all(const struct selection *s, const weft_chan_core *except)
{
    const weft_chan_core *last = except;
    for (unsigned i = s->n; i-- > 0;) {
        weft_chan_core *c = s->cases[s->by_address[i]].chan;
        if (c != last && c != except)
            wi_unlock(&c->lock);
        last = c;
    }
}

/* Heap sort: no recursion, no memory, and n may be 65,535. */
static void sort_by_address(const struct selection *s)
{
    uint16_t *a = s->by_address;
    for (unsigned end = s->n, start = s->n / 2; end > 1;) {
        if (start > 0) {
            start--;
        } else {
            end--;
            uint16_t top = a[0];
            a[0] = a[end];
            a[end] = top;
        }
        for (unsigned root = start, child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && (uintptr_t)s->cases[a[child]].chan < (uintptr_t)s->cases[a[child + 1]].chan)
                child++;
            if ((uintptr_t)s->cases[a[root]].chan >= (uintptr_t)s->cases[a[child]].chan)
                break;
            uint16_t swap = a[root];
            a[root] = a[child];
            a[child] = swap;
        }
    }
}

/* Fills s from the cases: which take part, in a random order (Fisher and Yates), by address; the earliest timeout. */
static void prepare(struct selection *s, const weft_case *cases, unsigned n, uint32_t *random)
{
    s->cases = cases;
    s->n = 0;
    s->timeout_ns = INT64_MAX;
    s->timeout_case = -1;
    for (unsigned i = 0; i < n; i++) {
        if (cases[i].op == WEFT_CASE_TIMEOUT && (s->timeout_case < 0 || cases[i].timeout_ns < s->timeout_ns)) {
            s->timeout_ns = cases[i].timeout_ns;
            s->timeout_case = (int)i;
        }
        if ((cases[i].op != WEFT_CASE_RECV && cases[i].op != WEFT_CASE_SEND) || !cases[i].chan)
            continue;
        unsigned at = wi_random_below(random, s->n + 1);
        s->order[s->n] = s->order[at];
        s->order[at] = (uint16_t)i;
        s->n++;
    }
    memcpy(s->by_address, s->order, s->n * sizeof *s->order); /* twins, which are equal, stay in a random order */
    sort_by_address(s);
}

static int report(const weft_case *one, int index, bool ok)
{
    if (one->op == WEFT_CASE_RECV && one->ok)
        *one->ok = ok;
    return one->op == WEFT_CASE_SEND && !ok ? -EPIPE : index;
}

/* Carries out the first possible operation; its result, or -EAGAIN. All are locked; *ended as in chan.h. */
static int try_all(const struct selection *s, struct wi_waiter **ended)
{
    for (unsigned i = 0; i < s->n; i++) {
        const weft_case *one = &s->cases[s->order[i]];
        enum wi_chan_result result = one->op == WEFT_CASE_SEND ? wi_chan_send_locked(one->chan, one->value, ended)
                                                               : wi_chan_recv_locked(one->chan, one->value, ended);
        if (result != WI_CHAN_WAIT)
            return report(one, s->order[i], result == WI_CHAN_DONE);
    }
    *ended = NULL;
    return -EAGAIN;
}

/* Queues a waiter for every case. All are locked. */
static void queue_everywhere(const struct selection *s, struct wi_goroutine *g, uint64_t ticket, struct wi_waiter **winner)
{
    for (unsigned i = 0, first = 0; i < s->n; i++) {
        const weft_case *one = &s->cases[s->by_address[i]];
        if (one->chan != s->cases[s->by_address[first]].chan)
            first = i;
        s->waiters[i] = (struct wi_waiter){.g = g,
                                           .ticket = ticket,
                                           .value = one->value,
                                           .winner = winner,
                                           .twins = &s->waiters[first],
                                           .index = s->by_address[i]};
        s->waiters[first].n_twins++;
        wi_waitq_push(one->op == WEFT_CASE_SEND ? &one->chan->senders : &one->chan->receivers, &s->waiters[i]);
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
    queue_everywhere(s, g, ticket, &winner);
    wi_wait_on(t, g, s->timeout_case < 0 ? &waits_for_select : &waits_for_select_or_time,
               s->n == 1 ? s->cases[s->order[0]].chan : NULL);
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

/* No channel takes part: time alone, or nothing, ends it. */
static int select_nothing(struct wi_thread *t, const struct selection *s)
{
    if (s->timeout_case < 0)
        return wi_sleep_for_ever(t, &wi_waits_for_ever);
    int error = s->timeout_ns > 0 ? wi_sleep_until(t, wi_deadline_ns(s->timeout_ns)) : 0;
    return error ? error : s->timeout_case;
}

static int run(struct selection *s, const weft_case *cases, unsigned n, bool block)
{
    struct wi_thread *t = block ? wi_enter_blocking() : wi_enter();
    if (WI_UNLIKELY(!t))
        return -EDEADLK;
    prepare(s, cases, n, &t->random);
    int result;
    if (s->n == 0) {
        result = block ? select_nothing(t, s) : -EAGAIN;
        wi_leave(wi_self());
        return result;
    }
    struct wi_waiter *ended;
    lock_all(s, NULL);
    result = try_all(s, &ended);
    if (result == -EAGAIN && block && !(s->timeout_case >= 0 && s->timeout_ns <= 0)) {
        result = wait_for_one(t, s);
    } else {
        unlock_all(s, NULL);
        wi_waiter_complete(t, ended);
        if (result == -EAGAIN && block)
            result = s->timeout_case;
    }
    wi_leave(wi_self());
    return result;
}

static int run_on_stack(const weft_case *cases, unsigned n, bool block)
{
    uint16_t order[n + 1], by_address[n + 1];
    struct wi_waiter waiters[n + 1];
    struct selection s = {.order = order, .by_address = by_address, .waiters = waiters};
    return run(&s, cases, n, block);
}

static int run_on_heap(const weft_case *cases, unsigned n, bool block)
{
    struct wi_waiter *waiters = malloc(n * (sizeof *waiters + 2 * sizeof(uint16_t)));
    if (!waiters)
        return -ENOMEM;
    uint16_t *order = (uint16_t *)(void *)(waiters + n);
    struct selection s = {.order = order, .by_address = order + n, .waiters = waiters};
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
