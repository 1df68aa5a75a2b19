/* timeout.c — the timers of each worker: a wheel under a lock, so that anybody may stop a timer and anybody may run what is
   due when the worker's own thread does not. A timer is started on the worker of the thread that waits; by a thread without
   one, on worker 0.

   w->timer_next_ns, stored under the lock, is the wheel's next time or an earlier one, or until when the timers rest;
   INT64_MAX when the wheel is empty.
   Whoever adds an earlier timer makes sure that somebody looks in time (wi_guard_timers; a goroutine that is about to wait
   leaves that to its thread, which does so before it runs the next).

   An alarm that is due is taken off under the lock and called after it. The last access to it under the lock makes its owner
   NULL: who sees that may start it again, also before the call has come. So a stop that comes too late takes no lock, and
   does not look at a runtime that may have ended. */
#include "timer/timeout.h"

#include "weft/time.h"

#include <string.h>
#include <time.h>

#define BATCH 64                       /* taken off under one lock, whose goroutines' stacks are fetched at the same time */
#define LATE_MOST_NS (3 * WI_SLACK_NS) /* in a dense row: with more a worker needs help */
#define SLEEPERS 256U                  /* records of sleepers that a worker's timers keep ... */
#define SLEEPERS_BATCH 64U             /* ... and how many they get from the slab, and give back, at a time */

struct wi_timers {
    struct wi_lock lock;
    struct wi_wheel wheel;    /* [lock] */
    struct wi_worker *worker; /* [const] */
    bool frozen;              /* [lock] nothing is taken off */
    int64_t rest_ns;          /* [lock] until then they rest: see publish_next */
    _Atomic unsigned calling; /* [atomic] alarms that were taken off and whose functions have not returned */
    uint32_t n_sleepers;      /* [lock] */
    void *sleepers[SLEEPERS]; /* [lock] free records; the last is the next to be used */
};

/* The timers of goroutines that sleep. On their stacks, a page each that nobody else has touched for long, every touch by the
   wheel would be a miss of the TLB too: with 100,000 sleepers a quarter of what a sleep costs. */
static struct wi_slab sleepers = {.name = "sleepers", .record_size = sizeof(struct wi_timeout), .chunk_records = 32768};
_Static_assert(sizeof(struct wi_timeout) == WI_CACHE_LINE, "a sleeper is a cache line");

static struct wi_timers *timers; /* [const while the runtime runs] one a worker */
static size_t timers_size;

int wi_timers_start(void)
{
    timers_size = wi_sched.procs * sizeof *timers;
    timers = wi_os_reserve(timers_size, 0); /* most of it is never touched */
    if (!timers)
        return -ENOMEM;
    for (unsigned i = 0; i < wi_sched.procs; i++)
        timers[i].worker = &wi_sched.workers[i];
    return 0;
}

/* Where timers come in a dense row, those that are due wait until rest_ns for more: to see to each alone costs the clock, the
   lock and a look at the wheel, or even a sleep. */
static void publish_next(struct wi_timers *set)
{
    int64_t next_ns = set->frozen ? INT64_MAX : wi_wheel_next_ns(&set->wheel);
    wi_store_relaxed(&set->worker->timer_next_ns, next_ns > set->rest_ns ? next_ns : set->rest_ns);
}

/* Alarms of the program may outlast the runtime: from now on they never come. */
static void drop_alarms(struct wi_timers *set)
{
    for (struct wi_timer *timer; (timer = wi_wheel_take_any(&set->wheel));) {
        WI_CHECK(timer->kind == WI_TIMER_ALARM); /* no goroutine is left that waits */
        struct wi_alarm *alarm = (struct wi_alarm *)timer;
        wi_store_relaxed(&alarm->owner, NULL);
        alarm->never = true;
    }
}

void wi_timers_stop(void)
{
    for (unsigned i = 0; timers && i < wi_sched.procs; i++)
        drop_alarms(&timers[i]);
    if (timers)
        wi_os_unmap(timers, timers_size);
    timers = NULL;
    wi_slab_destroy(&sleepers);
}

void wi_timers_freeze(bool freeze)
{
    for (unsigned i = 0; i < wi_sched.procs; i++) {
        struct wi_timers *set = &timers[i];
        wi_lock(&set->lock);
        set->frozen = freeze;
        publish_next(set); /* so that idle threads find nothing due and rest */
        wi_unlock(&set->lock);
        while (freeze && wi_load_acquire(&set->calling) != 0) { /* pairs with wi_timers_run. They do not block: soon */
            struct timespec pause = {.tv_nsec = 20000};
            nanosleep(&pause, NULL);
        }
    }
    if (!freeze)
        wi_guard_timers();
}

void wi_timers_forget(void)
{
    timers = NULL;
    wi_slab_forget(&sleepers);
}

/* Adds the timer; true when it became the next one of its worker. The lock is held. */
static bool add(struct wi_timers *set, struct wi_timer *timer, int64_t deadline_ns, int64_t now_ns)
{
    int64_t before_ns = wi_load_relaxed(&set->worker->timer_next_ns);
    timer->deadline_ns = deadline_ns;
    wi_wheel_add(&set->wheel, timer, now_ns);
    if (WI_LIKELY(deadline_ns >= before_ns))
        return false;
    publish_next(set);
    return wi_load_relaxed(&set->worker->timer_next_ns) < before_ns;
}

/* Takes the timer off; false when it was not pending. A next time that is too early now costs a look in vain, one that says
   that there is a timer when there is none would hide a deadlock. The lock is held. */
static bool drop(struct wi_timers *set, struct wi_timer *timer)
{
    if (!wi_wheel_remove(&set->wheel, timer))
        return false;
    if (timer->deadline_ns <= wi_load_relaxed(&set->worker->timer_next_ns) || set->wheel.count == 0)
        publish_next(set);
    return true;
}

/* A record for a sleeper; NULL when there is no memory. The lock is held. */
static struct wi_timeout *take_sleeper(struct wi_timers *set)
{
    if (WI_UNLIKELY(set->n_sleepers == 0))
        set->n_sleepers = wi_slab_take(&sleepers, SLEEPERS_BATCH, set->sleepers);
    return WI_LIKELY(set->n_sleepers > 0) ? set->sleepers[--set->n_sleepers] : NULL;
}

/* The lock is held. */
static void give_sleeper(struct wi_timers *set, struct wi_timeout *timeout)
{
    if (WI_UNLIKELY(set->n_sleepers == SLEEPERS)) {
        wi_slab_give(&sleepers, SLEEPERS_BATCH, set->sleepers); /* the oldest */
        set->n_sleepers -= SLEEPERS_BATCH;
        memmove(set->sleepers, set->sleepers + SLEEPERS_BATCH, set->n_sleepers * sizeof set->sleepers[0]);
    }
    set->sleepers[set->n_sleepers++] = timeout;
}

static struct wi_timers *lock_timers(struct wi_thread *t)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    struct wi_timers *set = &timers[w ? w->number : 0];
    wi_lock(&set->lock);
    return set;
}

/* A new earliest timer on set: who will look? */
static void notify(struct wi_thread *t, struct wi_timers *set)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    if (w == set->worker)
        wi_or_relaxed(&w->attention, (uint32_t)WI_ATTEND_TIMER); /* before it runs anything else */
    else
        wi_guard_timers();
}

void wi_timeout_start(struct wi_thread *t, struct wi_timeout *timeout, struct wi_goroutine *g, uint64_t ticket,
                      int64_t deadline_ns)
{
    int64_t now_ns = wi_os_now_ns();
    struct wi_timers *set = lock_timers(t);
    memset(&timeout->timer, 0, sizeof timeout->timer);
    timeout->owner = set;
    timeout->g = g;
    timeout->ticket = ticket;
    bool next = add(set, &timeout->timer, deadline_ns, now_ns);
    wi_unlock(&set->lock);
    if (next)
        notify(t, set);
}

void wi_timeout_stop(struct wi_timeout *timeout)
{
    struct wi_timers *set = timeout->owner;
    wi_lock(&set->lock);
    drop(set, &timeout->timer);
    wi_unlock(&set->lock);
}

/* ---- alarms ---- */

void wi_alarm_start(struct wi_thread *t, struct wi_alarm *alarm, int64_t deadline_ns)
{
    WI_CHECK(!alarm->never && !wi_load_relaxed(&alarm->owner));
    if (deadline_ns == INT64_MAX) {
        alarm->never = true;
        return;
    }
    int64_t now_ns = wi_os_now_ns();
    struct wi_timers *set = lock_timers(t);
    memset(&alarm->timer, 0, sizeof alarm->timer);
    alarm->timer.kind = WI_TIMER_ALARM;
    wi_store_relaxed(&alarm->owner, set);
    bool next = add(set, &alarm->timer, deadline_ns, now_ns);
    wi_unlock(&set->lock); /* from here on the alarm may be gone */
    /* Also for our own worker: the caller goes on, for who knows how long. The scheduler looks anyway. */
    if (next && (t->current || t->kind == WI_THREAD_FOREIGN))
        wi_guard_timers();
}

bool wi_alarm_stop(struct wi_alarm *alarm)
{
    if (alarm->never) {
        alarm->never = false;
        return true;
    }
    struct wi_timers *set = wi_load_acquire(&alarm->owner); /* pairs with take_due */
    if (!set)
        return false;
    wi_lock(&set->lock);
    bool removed = drop(set, &alarm->timer);
    if (removed)
        wi_store_relaxed(&alarm->owner, NULL);
    wi_unlock(&set->lock);
    return removed;
}

bool wi_alarm_comes_by(const struct wi_alarm *alarm, int64_t deadline_ns)
{
    return wi_load_relaxed(&alarm->owner) && alarm->timer.deadline_ns <= deadline_ns; /* which only the starter sets */
}

/* ---- what is due ---- */

struct call {
    struct wi_alarm *alarm;
    wi_alarm_fn fn;
};

/* What was due, up to BATCH. */
struct due {
    struct wi_goroutine *asleep[BATCH]; /* their waits nobody else can end */
    struct wi_goroutine *shared[BATCH]; /* claimed waits */
    struct call calls[BATCH];
    unsigned n_asleep, n_shared, n_calls;
    int64_t since_ns; /* the earliest deadline */
    bool more;        /* there may be more */
};

/* Takes what is due off the wheel. The lock is held. */
static void take_due(struct wi_timers *set, int64_t now_ns, struct due *due)
{
    struct wi_timer *timer = NULL;
    unsigned n = 0;
    due->n_asleep = due->n_shared = due->n_calls = 0;
    due->since_ns = now_ns;
    while (n < BATCH && (timer = wi_wheel_expire(&set->wheel, now_ns))) {
        if (n++ == 0)
            due->since_ns = timer->deadline_ns;
        if (timer->kind == WI_TIMER_ALARM) {
            struct wi_alarm *alarm = (struct wi_alarm *)timer;
            due->calls[due->n_calls++] = (struct call){alarm, alarm->fn};
            wi_store_release(&alarm->owner, NULL); /* pairs with wi_alarm_stop, after which it may be started again */
            continue;
        }
        struct wi_timeout *timeout = (struct wi_timeout *)timer;
        struct wi_goroutine *g = timeout->g;
        __builtin_prefetch(g, 1);
        if (timeout->ticket == 0) { /* it sleeps, at rest */
            due->asleep[due->n_asleep++] = g;
            if (WI_LIKELY(timer->kind == WI_TIMER_SLEEPER))
                give_sleeper(set, timeout);
        } else if (wi_wait_claim_by(g, timeout->ticket, WI_WAIT_BY_TIME)) {
            due->shared[due->n_shared++] = g;
        }
    }
    due->more = timer != NULL;
    wi_bump(&set->worker->timers_came, n);
}

/* Who is ready, as a list: completes the claimed waits; those of them that are at rest join the sleepers. All of them queue
   behind who waits already; were they to run next, as what the running goroutine wakes, goroutines with short timeouts would
   starve the rest. */
static struct wi_goroutine *ready_of(const struct due *due)
{
    struct wi_goroutine *ready = NULL;
    for (unsigned i = 0; i < due->n_shared; i++) {
        struct wi_goroutine *g = due->shared[i];
        if (!wi_wait_done(g, 1)) /* any ticket but 0: it is a shared wait */
            continue;
        g->next = ready;
        ready = g;
    }
    for (unsigned i = due->n_asleep; i-- > 0;) {
        struct wi_goroutine *g = due->asleep[i];
        wi_prefetch_stack(g);
        g->next = ready;
        ready = g;
    }
    return ready;
}

static bool somebody_asks(struct wi_thread *t)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    return w && wi_load_relaxed(&w->attention) != 0;
}

void wi_timers_run(struct wi_thread *t, struct wi_worker *w, int64_t now_ns)
{
    struct wi_timers *set = &timers[w->number];
    bool dense = wi_count_timers(now_ns) == WI_TIMERS_DENSE;
    bool runs_next = !t->current; /* in a call of a goroutine this thread goes on with that, for who knows how long */
    struct due due;
    do {
        wi_lock(&set->lock);
        if (WI_UNLIKELY(set->frozen)) {
            wi_unlock(&set->lock);
            return;
        }
        take_due(set, now_ns, &due);
        set->rest_ns = dense && !due.more ? now_ns + WI_SLACK_NS : 0;
        publish_next(set);
        if (due.n_calls)
            wi_add_relaxed(&set->calling, due.n_calls);
        wi_unlock(&set->lock);
        struct wi_goroutine *ready = ready_of(&due);
        if (ready && dense && runs_next && now_ns - due.since_ns < LATE_MOST_NS)
            wi_ready_list_here(t, ready);
        else if (ready)
            wi_ready_list(t, ready);
        for (unsigned i = 0; i < due.n_calls; i++)
            due.calls[i].fn(t, due.calls[i].alarm, now_ns);
        if (due.n_calls)
            wi_sub_acq_rel(&set->calling, due.n_calls); /* pairs with wi_timers_freeze */
        /* What is left when somebody asks is due, and seen to at the next look. */
    } while (due.more && !somebody_asks(t));
}

int64_t wi_deadline_ns(int64_t ns)
{
    return wi_os_after_ns(wi_os_now_ns(), ns);
}

/* ---- shared waits ---- */

uint64_t wi_wait_shared(struct wi_thread *t, struct wi_goroutine *g, uint64_t ticket, int64_t deadline_ns)
{
    if (wi_waits_as_thread(t)) {
        if (!wi_park_thread(t, wi_wait_commit, NULL, deadline_ns)) {
            if (!wi_wait_claim_by(g, ticket, WI_WAIT_BY_TIME))
                wi_thread_sleep(t, INT64_MAX); /* somebody claimed it and is about to complete it */
            wi_goroutine_set_state(g, WI_RUNNING);
        }
        return wi_wait_ended_by(g);
    }
    struct wi_timeout timeout;
    if (deadline_ns != INT64_MAX)
        wi_timeout_start(t, &timeout, g, ticket, deadline_ns);
    wi_park(t, wi_wait_commit, NULL);
    if (deadline_ns != INT64_MAX)
        wi_timeout_stop(&timeout);
    return wi_wait_ended_by(g);
}

/* ---- sleep ---- */

static const struct wi_wait_kind sleeps = {.text = "sleep", .timed = true};

/* Where the caller's context may end its wait. */
static int sleep_cancellably(struct wi_thread *t, struct wi_goroutine *g, const struct wi_wait_kind *kind,
                             int64_t deadline_ns)
{
    uint64_t ticket;
    if (!wi_wait_begin(g, &ticket))
        return wi_wait_refused(t, g, ticket);
    wi_wait_on(t, g, kind, NULL);
    return wi_wait_shared(t, g, ticket, deadline_ns) == WI_WAIT_BY_CONTEXT ? wi_cancel_reason(g) : 0;
}

int wi_sleep_for_ever(struct wi_thread *t, const struct wi_wait_kind *kind)
{
    return sleep_cancellably(t, wi_waiting(t), kind, INT64_MAX);
}

int wi_sleep_for(struct wi_thread *t, int64_t ns)
{
    struct wi_goroutine *g = wi_waiting(t);
    int64_t now_ns = wi_os_now_ns(), deadline_ns = wi_os_after_ns(now_ns, ns);
    if (WI_UNLIKELY(wi_cancel_of(g) != NULL))
        return sleep_cancellably(t, g, &sleeps, deadline_ns);
    wi_wait_on(t, g, &sleeps, NULL);
    if (wi_waits_as_thread(t)) {
        if (!wi_park_thread(t, wi_wait_commit_forever, NULL, deadline_ns))
            wi_goroutine_set_state(g, WI_RUNNING);
        return 0;
    }
    struct wi_timeout on_stack;
    struct wi_timers *set = lock_timers(t);
    struct wi_timeout *timeout = take_sleeper(set); /* given back by who takes it off */
    uint8_t kind = WI_TIMER_SLEEPER;
    if (WI_UNLIKELY(!timeout)) {
        timeout = &on_stack;
        kind = WI_TIMER_WAIT;
    }
    *timeout = (struct wi_timeout){.timer.kind = kind, .owner = set, .g = g};
    if (add(set, &timeout->timer, deadline_ns, now_ns)) /* before the unlock: by then we may run elsewhere */
        notify(t, set);
    wi_park(t, wi_wait_commit_unlock, &set->lock);
    return 0;
}

int weft_sleep(int64_t ns)
{
    if (ns <= 0)
        return 0;
    struct wi_thread *t = wi_enter_blocking();
    if (!t)
        return -EDEADLK;
    int result = wi_sleep_for(t, ns);
    wi_leave(wi_self());
    return result;
}

int64_t weft_now(void)
{
    return wi_os_now_ns();
}
