/* select.c — waiting for the first of several channel operations.

   A look without locks chooses among the operations that seem possible, each as likely as the others. It is carried out under
   the lock of its channel alone: that it was possible is all that a select has to be right about. When nothing is, or
   somebody was faster, all channels are locked in the order of their addresses (select against select cannot deadlock, and
   two selects that pair with each other see one state) and it is tried again. If there still is nothing, a waiter is queued
   on each channel, which is then unlocked; from the first unlock on somebody may end the wait, while others are still being
   queued: the word of the shared wait (waiter.h) decides who, and those that come too late to it drop off their queues.
   Afterwards what is left of the waiters is unlinked, so that nothing outlives the call; but the winner's channel is not
   looked at, which may have been freed meanwhile: its completer has unlinked all that was there. */
#include "chan/chan.h"

#include "base/rand.h"
#include "sched/enter.h"
#include "timer/timeout.h"

#include <stdlib.h>

#define CASES_MAX 65535U
#define CASES_SMALL 8U /* for which the stack is laid out by the compiler */
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
    unsigned n_cases;
    int timeout_case;          /* its index, or -1 */
    int64_t timeout_ns;        /* the earliest, INT64_MAX for none */
    struct place *places;      /* by their channels' addresses, so that those on one channel are neighbours */
    struct wi_waiter *waiters; /* one for each place */
    unsigned n;                /* places */
};

static inline bool names_channel(const weft_case *one)
{
    _Static_assert(WEFT_CASE_SEND == WEFT_CASE_RECV + 1, "one comparison is enough");
    return (unsigned)one->op - WEFT_CASE_RECV <= 1 && one->chan;
}

/* For a case that names a channel. */
static inline bool may_be_possible(const weft_case *one)
{
    return one->op == WEFT_CASE_RECV ? wi_chan_may_receive(one->chan) : wi_chan_may_send(one->chan);
}

/* Chooses among what comes one by one: the k-th takes the place of its predecessors with a probability of 1/k. */
static inline bool takes_place(unsigned k, uint32_t *random)
{
    return k == 1 || wi_random_below(random, k) == 0;
}

/* A case that seems possible; -1: there is none. Notes the timeout. */
static inline int look(struct selection *s, uint32_t *random)
{
    int chosen = -1;
    unsigned possible = 0;
    s->timeout_ns = INT64_MAX;
    s->timeout_case = -1;
    for (unsigned i = 0; i < s->n_cases; i++) {
        const weft_case *one = &s->cases[i];
        if (names_channel(one)) {
            if (may_be_possible(one) && takes_place(++possible, random))
                chosen = (int)i;
        } else if (one->op == WEFT_CASE_TIMEOUT && (s->timeout_case < 0 || one->timeout_ns < s->timeout_ns)) {
            s->timeout_ns = one->timeout_ns;
            s->timeout_case = (int)i;
        }
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

static void sort(struct place *a, unsigned n)
{
    if (n > SORTED_BY_INSERTION) {
        sort_many(a, n);
        return;
    }
    for (unsigned i = 1; i < n; i++) {
        struct place one = a[i];
        unsigned at = i;
        for (; at > 0 && comes_after(&a[at - 1], &one); at--)
            a[at] = a[at - 1];
        a[at] = one;
    }
}

static inline void find_places(struct selection *s)
{
    bool sorted = true;
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_cases; i++) {
        if (!names_channel(&s->cases[i]))
            continue;
        s->places[n] = (struct place){s->cases[i].chan, (uint16_t)i};
        sorted = sorted && (n == 0 || !comes_after(&s->places[n - 1], &s->places[n]));
        n++;
    }
    s->n = n;
    if (!sorted)
        sort(s->places, n);
}

/* Whether something is possible now. */
static inline bool lock_all(const struct selection *s)
{
    const weft_chan_core *last = NULL;
    bool possible = false;
    for (unsigned i = 0; i < s->n; i++) {
        weft_chan_core *c = s->places[i].chan;
        if (c != last)
            wi_lock(&c->lock);
        last = c;
        possible |= may_be_possible(&s->cases[s->places[i].index]);
    }
    return possible;
}

static void unlock_all(const struct selection *s)
{
    const weft_chan_core *last = NULL;
    for (unsigned i = 0; i < s->n; i++) {
        weft_chan_core *c = s->places[i].chan;
        if (c != last)
            wi_unlock(&c->lock);
        last = c;
    }
}

/* Carries out one of the possible operations, chosen as in look; its result, or -EAGAIN. All are locked; *ended as in
   chan.h. One that only seems possible no longer does once it was tried. */
static int try_all(const struct selection *s, uint32_t *random, struct wi_waiter **ended)
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

/* Queues a waiter for every case, those on one channel, who are first come first served, in a random order; and unlocks
   all. */
static inline void queue_everywhere(const struct selection *s, uint32_t *random, const struct wi_waiter *common)
{
    for (unsigned first = 0, end; first < s->n; first = end) {
        weft_chan_core *c = s->places[first].chan;
        end = first + 1;
        bool twins = end < s->n && s->places[end].chan == c;
        if (WI_UNLIKELY(twins)) {
            while (end < s->n && s->places[end].chan == c)
                end++;
            shuffle(&s->places[first], end - first, random);
        }
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
            wi_waitq_push(one->op == WEFT_CASE_SEND ? &c->senders : &c->receivers, w);
        }
        wi_unlock(&c->lock);
        wi_perturb();
    }
}

/* But for what was on `gone`, which is not looked at. */
static inline void unlink_everywhere(const struct selection *s, const weft_chan_core *gone)
{
    for (unsigned i = 0; i < s->n; i++) {
        weft_chan_core *c = s->places[i].chan;
        if (c == gone)
            continue;
        wi_lock(&c->lock);
        wi_waitq_remove(&s->waiters[i]);
        wi_unlock(&c->lock);
    }
}

/* Queues on all, waits, unlinks. All are locked on entry, none on return. */
static inline int wait_for_one(struct wi_thread *t, const struct selection *s)
{
    struct wi_goroutine *g = wi_waiting(t);
    struct wi_waiter *winner = NULL;
    int64_t deadline_ns = s->timeout_case < 0 ? INT64_MAX : wi_deadline_ns(s->timeout_ns);
    uint64_t ticket;
    if (!wi_wait_begin(g, &ticket)) {
        unlock_all(s);
        return wi_wait_refused(t, g, ticket);
    }
    wi_wait_on(t, g, s->timeout_case < 0 ? &waits_for_select : &waits_for_select_or_time,
               s->n == 1 ? s->places[0].chan : NULL);
    queue_everywhere(s, &t->random, &(struct wi_waiter){.g = g, .ticket = ticket, .winner = &winner});
    uint64_t by = wi_wait_shared(t, g, ticket, deadline_ns);
    WI_CHECK((by == 0) == (winner != NULL));
    unlink_everywhere(s, winner ? s->cases[winner->index].chan : NULL);
    if (!winner)
        return by == WI_WAIT_BY_TIME ? s->timeout_case : wi_cancel_reason(g);
    return report(&s->cases[winner->index], winner->index, winner->ok);
}

/* No channel takes part: time alone, or nothing, ends it. */
static int select_nothing(struct wi_thread *t, const struct selection *s)
{
    if (s->timeout_case < 0)
        return wi_sleep_for_ever(t, &wi_waits_for_ever);
    int error = wi_sleep_for(t, s->timeout_ns);
    return error ? error : s->timeout_case;
}

/* Nothing was possible at a look, or somebody was faster. */
static int wait_or_give_up(struct wi_thread *t, struct selection *s, bool block)
{
    find_places(s);
    if (WI_UNLIKELY(s->n == 0))
        return block ? select_nothing(t, s) : -EAGAIN;
    if (WI_UNLIKELY(lock_all(s))) {
        struct wi_waiter *ended;
        int result = try_all(s, &t->random, &ended);
        if (result != -EAGAIN) {
            unlock_all(s);
            wi_waiter_complete(t, ended);
            return result;
        }
    }
    if (block)
        return wait_for_one(t, s);
    unlock_all(s);
    return -EAGAIN;
}

static __attribute__((noinline)) int run(struct selection *s, bool block)
{
    struct wi_thread *t = block ? wi_enter_blocking() : wi_enter();
    if (WI_UNLIKELY(!t))
        return -EDEADLK;
    int chosen = look(s, &t->random);
    int result = chosen >= 0 ? try_one(t, &s->cases[chosen], chosen) : -EAGAIN;
    if (result == -EAGAIN) {
        bool in_time = block && !(s->timeout_case >= 0 && s->timeout_ns <= 0);
        if (in_time || chosen >= 0)
            result = wait_or_give_up(t, s, in_time);
        if (result == -EAGAIN && block)
            result = s->timeout_case;
    }
    wi_leave(wi_self());
    return result;
}

static int run_small(const weft_case *cases, unsigned n, bool block)
{
    struct place places[CASES_SMALL];
    struct wi_waiter waiters[CASES_SMALL];
    struct selection s = {.cases = cases, .n_cases = n, .places = places, .waiters = waiters};
    return run(&s, block);
}

static int run_on_stack(const weft_case *cases, unsigned n, bool block)
{
    struct place places[n];
    struct wi_waiter waiters[n];
    struct selection s = {.cases = cases, .n_cases = n, .places = places, .waiters = waiters};
    return run(&s, block);
}

static int run_on_heap(const weft_case *cases, unsigned n, bool block)
{
    struct wi_waiter *waiters = malloc(n * (sizeof *waiters + sizeof(struct place)));
    if (!waiters)
        return -ENOMEM;
    struct selection s = {.cases = cases, .n_cases = n, .places = (struct place *)(void *)(waiters + n), .waiters = waiters};
    int result = run(&s, block);
    free(waiters);
    return result;
}

int weft_select_(const weft_case *cases, unsigned n, bool block)
{
    if (WI_LIKELY(n <= CASES_SMALL))
        return run_small(cases, n, block);
    if (n > CASES_MAX)
        return -EINVAL;
    return n <= CASES_ON_STACK ? run_on_stack(cases, n, block) : run_on_heap(cases, n, block);
}
