/* idle.c — what a thread does when its queue is empty: look further, spin for a while, idle; and how it is woken.

   No work is ever stranded. The two sides:

     a pusher                              a thread going idle
       queue the goroutine                   publish: worker in the idle list, alert counts it
       (light barrier)                       heavy barrier
       look at alert                         look at all queues, the inject queue and the timers again
       idle workers, nobody spins: wake one  work: take the worker back; none: sleep

   A pusher that sees a spinning thread wakes nobody: a thread stops spinning before its last look, so it finds the work. A
   spinning thread that finds work wakes the next idle one *without looking whether there is more*: what was pushed while
   it span was left to it, and need not be visible to it yet. While a worker is idle one idle thread, the sitter, sleeps in
   the poller instead of on its futex; while there is none, workers look at the poller when they have nothing else and every
   WI_POLL_NS, and the monitor when they do not. Two exceptions are deliberate: a goroutine in `next` will most likely be run
   by the pusher itself within nanoseconds (see wi_alert_slow), and what a dense row of timers lets run is not worth a core
   (wi_ready_list_here). If it is not run soon, the monitor finds it. */
#include "base/perturb.h"
#include "sched/enter.h"
#include "sched/hooks.h"

#define SPIN_NS 20000 /* about what it costs to sleep and be woken */
#define POLL_LATE_NS (10 * WI_POLL_NS)
#define INJECTED_MOST (WI_RUNQ_SIZE / 4) /* taken at a time */
#define STEAL_USER_NS 3000               /* a worker whose thread has been outside weft for that long is taken */
#define BARREN_NS 2000                   /* others' work that is done or stuck so soon was not worth its move ... */
#define BARREN_SURE 4U                   /* ... and when it was so that often in a row, a thread waits ... */
#define BARREN_WAIT_NS 15000             /* ... for that long, of SPIN_NS, before it asks for more */

/* ---- timers: the earliest of all, and who watches ---- */

int64_t wi_timers_next_ns(void)
{
    int64_t next_ns = INT64_MAX;
    for (unsigned i = 0; i < wi_sched.procs; i++) {
        int64_t timer_ns = wi_load_relaxed(&wi_sched.workers[i].timer_next_ns);
        if (timer_ns < next_ns)
            next_ns = timer_ns;
    }
    return next_ns;
}

static bool run_timers(struct wi_thread *t, struct wi_worker *w)
{
    int64_t timer_ns = wi_load_relaxed(&w->timer_next_ns);
    if (timer_ns == INT64_MAX)
        return false;
    int64_t now_ns = wi_os_now_ns();
    if (timer_ns > now_ns)
        return false;
    wi_hooks.timers_run(t, w, now_ns);
    return true;
}

/* Runs what is due on any worker: the timers of idle ones are everybody's business. */
static bool run_all_timers(struct wi_thread *t)
{
    bool any = false;
    for (unsigned i = 0; i < wi_sched.procs; i++)
        any |= run_timers(t, &wi_sched.workers[i]);
    return any;
}

/* Before a thread runs goroutines for who knows how long: somebody else must be going to look at the timers in time. */
void wi_guard_timers(void)
{
    int64_t next_ns = wi_timers_next_ns();
    if (next_ns == INT64_MAX)
        return;
    if (wi_timers_come() >= WI_TIMERS_OFTEN)
        next_ns += WI_BUSY_SLACK_NS;
    wi_os_barrier_light(); /* pairs with the heavy barrier of a monitor or sentinel that is about to sleep */
    if (next_ns < wi_load_relaxed(&wi_sched.sentinel_ns) && next_ns < wi_load_relaxed(&wi_sched.armed_ns))
        wi_monitor_wake();
}

void wi_guard_queue(void)
{
    wi_os_barrier_light(); /* pairs with the heavy barrier in sleep_for_good */
    if (wi_load_relaxed(&wi_sched.alert) & WI_ALERT_MONITOR)
        wi_monitor_wake();
}

void wi_guard_quiet(void)
{
    wi_os_barrier_light(); /* likewise */
    if (wi_only_monitor_can_help())
        wi_monitor_wake();
}

/* ---- the poller ---- */

struct wi_goroutine *wi_poll(void)
{
    if (!wi_load_acquire(&wi_sched.polls)) /* pairs with the release of who made the poller */
        return NULL;
    struct wi_goroutine *ready = wi_hooks.poll(0);
    int64_t now_ns = wi_os_now_ns();
    wi_store_relaxed(&wi_sched.polled_ns, now_ns);
    if (ready)
        wi_store_relaxed(&wi_sched.came_ns, now_ns);
    return ready;
}

static bool poll_for(struct wi_thread *t)
{
    struct wi_goroutine *ready = wi_poll();
    if (ready)
        wi_ready_list(t, ready);
    return ready != NULL;
}

void wi_guard_poller(void)
{
    if (WI_UNLIKELY(wi_load_relaxed(&wi_sched.polls)) && !wi_load_relaxed(&wi_sched.sitter))
        wi_guard_queue();
}

/* ---- spinning ---- */

static bool start_spinning(struct wi_thread *t)
{
    uint32_t alert = wi_load_relaxed(&wi_sched.alert);
    while (!t->spinning) {
        if (alert & WI_ALERT_SPIN_MASK)
            return false;
        t->spinning = wi_cas_relaxed(&wi_sched.alert, &alert, alert + WI_ALERT_SPIN);
    }
    return true;
}

static void stop_spinning(struct wi_thread *t)
{
    t->spinning = false;
    wi_sub_acq_rel(&wi_sched.alert, WI_ALERT_SPIN);
    wi_wake_one();
}

/* Takes a fair share, at most `most`; the first is returned, the rest queued. Fresh ones go below those already in the ring,
   which are deeper in the tree of who started whom. */
static struct wi_goroutine *take_injected(struct wi_worker *w, struct wi_inject *queue, unsigned most)
{
    struct wi_goroutine *taken[INJECTED_MOST];
    unsigned n = wi_load_relaxed(&queue->count) / wi_sched.procs + 1;
    n = wi_inject_take(queue, taken, n < most ? n : most);
    wi_perturb();
    for (unsigned i = 0; i < n; i++) /* their records are cold; all are fetched at the same time */
        wi_prefetch_record(taken[i]);
    for (unsigned i = 1; i < n; i++)
        if (wi_load_relaxed(&taken[i]->stack))
            wi_ring_push(&w->runq.woken, taken[i]);
        else
            wi_ring_push_oldest(&w->runq.fresh, taken[i]);
    if (n > 1) /* meanwhile nobody could see them, and the first may compute for ever */
        wi_guard_queue();
    return n > 0 ? taken[0] : NULL;
}

/* A worker with work whose thread seems to be outside weft for long. One at a time: the time must be seen to pass. */
struct look {
    struct wi_worker *victim; /* NULL: none */
    uint32_t epoch;           /* of its thread when first seen ... */
    int64_t since_ns;         /* ... then */
    int64_t ask_ns;           /* from then on workers are asked to share */
};

/* Looks at one other worker: asks it to share, or takes it when its thread is busy elsewhere. True: t has work in its
   queue. */
static bool look_at(struct wi_thread *t, struct wi_worker *victim, struct look *look, int64_t now_ns)
{
    uint64_t claim = wi_load_acquire(&victim->claim);
    int64_t patience_ns = WI_CLAIM_IS_OWNED(claim) ? wi_timers_patience_ns() : 0;
    if (wi_load_relaxed(&victim->timer_next_ns) <= now_ns - patience_ns && run_timers(t, victim))
        return true;
    if (wi_runq_length(&victim->runq) == 0 || !WI_CLAIM_IS_OWNED(claim)) {
        if (look->victim == victim)
            look->victim = NULL;
        return false;
    }
    if (now_ns >= look->ask_ns && wi_ring_length(&victim->runq.woken) + wi_ring_length(&victim->runq.fresh) > 0 &&
        (wi_load_relaxed(&victim->attention) & WI_ATTEND_SHARE) == 0)
        wi_or_relaxed(&victim->attention, (uint32_t)WI_ATTEND_SHARE);
    struct wi_thread *thread = wi_slab_record(&wi_threads, WI_CLAIM_THREAD(claim));
    uint32_t epoch = wi_load_acquire(&thread->epoch);
    if (!look->victim) {
        look->victim = victim;
        look->epoch = epoch;
        look->since_ns = now_ns;
    }
    if (look->victim != victim)
        return false;
    if (look->epoch != epoch) {
        look->victim = NULL;
        return false;
    }
    return (epoch & 1) == 0 && now_ns - look->since_ns > STEAL_USER_NS && wi_swap_workers(t, victim, thread);
}

static bool others_busy(void)
{
    return (wi_load_relaxed(&wi_sched.alert) & WI_ALERT_IDLE_MASK) + 1 < wi_sched.procs;
}

/* When t, which is out of work, may ask others to share. Goroutines that fight over one mutex or channel with those of
   another worker are soon stuck on the thread that took them, are woken on the other one, and would be taken again at once:
   each such round costs both workers more than it does, and brings them to fight. So whoever finds that holds back, and the
   others run on one core meanwhile; it still takes what is injected, overdue timers, and workers whose threads are busy
   elsewhere. At the end of its spinning it asks: by then it may be worth it, and no work waits for a core for longer. */
static int64_t may_ask_ns(struct wi_thread *t, int64_t now_ns)
{
    if (t->found_ns == 0 || now_ns - t->found_ns >= BARREN_NS)
        t->barren = 0;
    else if (t->barren < BARREN_SURE)
        t->barren++;
    t->found_ns = 0;
    return t->barren < BARREN_SURE ? now_ns : now_ns + BARREN_WAIT_NS;
}

static bool spin_from(struct wi_thread *t, int64_t start_ns, int64_t ask_ns)
{
    struct look look = {.ask_ns = ask_ns};
    int64_t now_ns = start_ns;
    unsigned first = (unsigned)wi_load_relaxed(&wi_load_relaxed(&t->worker)->runq.tick);
    do {
        if (wi_load_relaxed(&wi_inject.count) || wi_load_relaxed(&wi_blockers.count) || wi_is_home(t))
            return true;
        if (wi_poll_is_due() && poll_for(t))
            return true;
        for (unsigned i = 0; i < wi_sched.procs; i++) {
            struct wi_worker *victim = &wi_sched.workers[(first + i) % wi_sched.procs];
            if (victim != wi_load_relaxed(&t->worker) && look_at(t, victim, &look, now_ns))
                return true;
        }
        for (int i = 0; i < 8; i++)
            wi_pause();
        now_ns = wi_os_now_ns();
    } while (now_ns - start_ns < SPIN_NS);
    return false;
}

/* Spins until work turns up in t's queue or the inject queue (true), or it is time to idle. */
static bool spin(struct wi_thread *t)
{
    if (!others_busy() || !start_spinning(t))
        return false;
    int64_t start_ns = wi_os_now_ns();
    if (!spin_from(t, start_ns, may_ask_ns(t, start_ns)))
        return false;
    t->found_ns = wi_os_now_ns();
    return true;
}

/* ---- looking ---- */

/* What the poller brings is queued behind what waits already, and is out of the caches when its turn comes if that is much:
   then it can wait as well in the kernel, for a while; and as long as the queue would overflow. */
static bool may_poll(struct wi_worker *w)
{
    uint32_t waiting = wi_ring_length(&w->runq.woken);
    if (WI_LIKELY(waiting < WI_RUNQ_LOOK))
        return true;
    return waiting < WI_RUNQ_SIZE / 2 && wi_os_now_ns() - wi_load_relaxed(&wi_sched.polled_ns) > POLL_LATE_NS;
}

static struct wi_goroutine *look_locally(struct wi_thread *t, struct wi_worker *w)
{
    uint32_t attention = wi_load_relaxed(&w->attention) ? wi_swap_acquire(&w->attention, 0) : 0;
    if (attention & WI_ATTEND_SHARE)
        wi_share(w);
    if (attention & WI_ATTEND_STACKS)
        wi_worker_drain(w);
    if ((attention & WI_ATTEND_LEND) && wi_home_lend(t))
        return NULL;
    run_timers(t, w);
    struct wi_goroutine *g;
    wi_home_fetch(t);
    if (wi_home_is_next(t, w))
        return wi_home_take(t);
    uint32_t tick = wi_load_relaxed(&w->runq.tick) + 1;
    wi_store_relaxed(&w->runq.tick, tick);
    if (w->look || tick - w->looked_tick >= WI_RUNQ_LOOK) { /* goroutines that stop see to it only when nothing else is up */
        w->look = false;
        w->looked_tick = tick;
        if (wi_poll_is_due() && may_poll(w))
            poll_for(t);
        if ((g = take_injected(w, &wi_inject, WI_RUNQ_LOOK))) /* as many as run before the next look */
            return g;
    }
    if ((attention & WI_ATTEND_BLOCKERS) && (g = take_injected(w, &wi_blockers, 1)))
        return g;
    if ((g = wi_runq_pick(&w->runq, tick, (attention & WI_ATTEND_SLICE) != 0)) || (g = wi_home_take(t)))
        return g;
    if ((g = take_injected(w, &wi_inject, INJECTED_MOST)))
        return g;
    return take_injected(w, &wi_blockers, 1);
}

struct wi_goroutine *wi_find_work(struct wi_thread *t)
{
    if (t->stackless) { /* its turn has come: to queue it again could starve it */
        struct wi_goroutine *g = t->stackless;
        t->stackless = NULL;
        return g;
    }
    for (;;) {
        struct wi_worker *w = wi_load_relaxed(&t->worker);
        struct wi_goroutine *g = look_locally(t, w);
        if (g) {
            if (t->spinning)
                stop_spinning(t);
            wi_guard_timers();
            wi_guard_poller();
            return g;
        }
        if (!wi_load_relaxed(&t->worker))
            return NULL; /* lent */
        if (!wi_is_home(t) && !poll_for(t) && !run_all_timers(t) && !spin(t))
            return NULL;
    }
}

/* ---- idling ---- */

/* A worker whose thread has been asked to share, and has not yet, is no reason to go on: it will before it runs anything
   else, and then sees who is idle (wi_share). To ask again and again while it is inside weft for long, sorting timers or in a
   system call, would only disturb it. */
bool wi_work_visible(void)
{
    if (wi_load_acquire(&wi_inject.count) || wi_load_acquire(&wi_blockers.count))
        return true;
    for (unsigned i = 0; i < wi_sched.procs; i++) {
        struct wi_worker *w = &wi_sched.workers[i];
        bool owned = WI_CLAIM_IS_OWNED(wi_load_relaxed(&w->claim));
        bool asked = owned && (wi_load_relaxed(&w->attention) & WI_ATTEND_SHARE);
        if (wi_ring_length(&w->runq.woken) + wi_ring_length(&w->runq.fresh) > 0 && !asked)
            return true;
        if (wi_load_relaxed(&w->runq.next) && !owned)
            return true;
    }
    return false;
}

static void disarm(struct wi_thread *t)
{
    int64_t armed_ns = wi_load_relaxed(&t->armed_ns);
    if (armed_ns != INT64_MAX && armed_ns == wi_load_relaxed(&wi_sched.sentinel_ns))
        wi_store_relaxed(&wi_sched.sentinel_ns, INT64_MAX);
    wi_store_relaxed(&t->armed_ns, INT64_MAX);
}

void wi_unlist(struct wi_thread *t)
{
    for (struct wi_thread **link = &wi_sched.idle_threads; *link; link = &(*link)->next_idle)
        if (*link == t) {
            *link = t->next_idle;
            break;
        }
    wi_sched.n_idle_threads--;
    t->listed = false;
    disarm(t);
}

struct wi_thread *wi_pop_homesick(void)
{
    struct wi_thread *t = wi_load_relaxed(&wi_sched.n_home) ? wi_sched.idle_threads : NULL;
    while (t && !wi_is_home(t))
        t = t->next_idle;
    if (t)
        wi_unlist(t);
    return t;
}

struct wi_worker *wi_pop_idle_worker(void)
{
    struct wi_worker **link = &wi_sched.idle_workers;
    for (struct wi_worker **l = link; *l; l = &(*l)->next_idle)
        if (wi_runq_length(&(*l)->runq) > 0) {
            link = l;
            break;
        }
    struct wi_worker *w = *link;
    if (w) {
        *link = w->next_idle;
        wi_sub_relaxed(&wi_sched.alert, WI_ALERT_IDLE);
        wi_store_relaxed(&w->now_ns, wi_os_now_ns());
    }
    return w;
}

/* At most one idle thread, the sentinel, sleeps to the earliest timer: t, unless another will wake early enough, or t has
   been given a worker. wi_sched.lock is held. */
static bool arm_locked(struct wi_thread *t)
{
    int64_t next_ns = wi_timers_next_ns();
    if (!t->listed || next_ns >= wi_load_relaxed(&wi_sched.sentinel_ns))
        return false;
    if (!wi_sched.idle_workers && next_ns <= wi_os_now_ns())
        return false; /* due on a worker whose thread will see to it, or the monitor */
    wi_store_relaxed(&t->armed_ns, next_ns);
    wi_store_relaxed(&wi_sched.sentinel_ns, next_ns);
    return true;
}

static bool arm(struct wi_thread *t)
{
    wi_lock(&wi_sched.lock);
    bool armed = arm_locked(t);
    wi_unlock(&wi_sched.lock);
    return armed;
}

/* Publishes that t and its worker, if it has one, are idle. False: the thread shall end. */
static bool list_idle(struct wi_thread *t)
{
    wi_lock(&wi_sched.lock);
    if (wi_load_relaxed(&t->worker))
        wi_release_worker_locked(t);
    if (wi_load_relaxed(&t->detached))
        wi_set_detached(t, WI_ATTACHED);
    bool surplus = wi_sched.n_idle_threads > (wi_load_relaxed(&wi_sched.alert) & WI_ALERT_IDLE_MASK) + 1;
    bool must_watch = wi_timers_next_ns() < wi_load_relaxed(&wi_sched.sentinel_ns); /* then it is needed */
    if (wi_sched.stopping || (surplus && !must_watch && !wi_sched.exiting && t->stays == 0)) {
        wi_sched.n_ending++;
        t->ending = true;
        wi_unlock(&wi_sched.lock);
        return false;
    }
    t->next_idle = wi_sched.idle_threads;
    wi_sched.idle_threads = t;
    wi_sched.n_idle_threads++;
    t->listed = true;
    wi_store_relaxed(&t->armed_ns, INT64_MAX);
    arm_locked(t);
    struct wi_thread *homesick = wi_sched.idle_workers ? wi_pop_homesick() : NULL; /* perhaps t */
    struct wi_worker *w = homesick ? wi_pop_idle_worker() : NULL;
    wi_unlock(&wi_sched.lock);
    if (homesick)
        wi_assign(w, homesick);
    return true;
}

/* Takes t off the idle list with a worker. False: somebody assigns one to it already, or there is none. */
static bool resume_with_worker(struct wi_thread *t, bool *listed)
{
    wi_lock(&wi_sched.lock);
    *listed = t->listed;
    struct wi_worker *w = t->listed ? wi_pop_idle_worker() : NULL;
    if (w) {
        wi_store_release(&w->claim, WI_CLAIM_OWNED(t)); /* pairs with the acquires of askers */
        wi_store_relaxed(&t->worker, w);
        wi_unlist(t);
        if (t->stays) /* who pushes home before our stores are seen finds us neither with a worker nor listed */
            wi_or_relaxed(&w->attention, (uint32_t)WI_ATTEND_HOME);
    }
    wi_unlock(&wi_sched.lock);
    return w != NULL;
}

/* A timer came due for t, the sentinel, but every worker has a thread: they must look themselves. */
static void leave_timers_to_owners(struct wi_thread *t)
{
    int64_t now_ns = wi_os_now_ns();
    for (unsigned i = 0; i < wi_sched.procs; i++)
        if (wi_load_relaxed(&wi_sched.workers[i].timer_next_ns) <= now_ns)
            wi_or_relaxed(&wi_sched.workers[i].attention, (uint32_t)WI_ATTEND_TIMER);
    wi_lock(&wi_sched.lock);
    disarm(t);
    wi_unlock(&wi_sched.lock);
    wi_monitor_wake();
}

/* The last worker went idle, and nothing will happen by itself: whether that is a deadlock is for the monitor to see. */
static void wake_monitor_for_deadlock(void)
{
    if (wi_only_monitor_can_help() && wi_timers_next_ns() == INT64_MAX)
        wi_monitor_wake();
}

bool wi_wait_for_worker(struct wi_thread *t)
{
    if (t->spinning) {
        t->spinning = false;
        wi_sub_relaxed(&wi_sched.alert, WI_ALERT_SPIN);
    }
    if (!list_idle(t)) {
        wi_os_barrier_heavy(); /* as below: this thread's last look, on behalf of those that stay idle */
        wake_monitor_for_deadlock();
        if (wi_work_visible())
            wi_wake_one();
        wi_guard_timers();
        wi_guard_poller();
        return false;
    }
    for (;;) {
        wi_perturb();
        wi_os_barrier_heavy(); /* pairs with the light barriers of pushers and of timer inserts */
        bool listed = true;
        wake_monitor_for_deadlock();
        bool somebody_spins = (wi_load_relaxed(&wi_sched.alert) & WI_ALERT_SPIN_MASK) != 0; /* and will look after that */
        bool home = wi_is_home(t);
        if ((home || (!somebody_spins && wi_work_visible())) && resume_with_worker(t, &listed)) {
            wi_wake_one(); /* as a spinner does that found work: perhaps we were one, and more was left to us */
            return true;
        }
        if (listed && home && (wi_load_relaxed(&wi_sched.alert) & WI_ALERT_MONITOR))
            wi_monitor_wake(); /* somebody will have to lend a worker */
        if (listed && wi_timers_next_ns() < wi_load_relaxed(&wi_sched.sentinel_ns) && arm(t)) /* one was added meanwhile */
            continue;
        wi_perturb();
        struct wi_goroutine *ready = NULL;
        int64_t armed_ns = wi_load_relaxed(&t->armed_ns);
        bool assigned = wi_rest(t, armed_ns, &ready), due = !assigned && armed_ns <= wi_os_now_ns();
        if (!assigned && !ready && !due)
            continue; /* the poller was interrupted, or gave what somebody else has seen to */
        if (assigned || resume_with_worker(t, &listed)) {
            if (ready)
                wi_ready_list(t, ready);
            return !t->stop;
        }
        if (ready)
            wi_ready_list(NULL, ready);
        if (due && listed)
            leave_timers_to_owners(t);
    }
}

/* ---- waking ---- */

/* Takes a thread off the idle list, if possible one that watches nothing. wi_sched.lock is held. */
static struct wi_thread *pop_idle_thread(void)
{
    struct wi_thread *t = wi_sched.idle_threads;
    for (struct wi_thread *other = t; other; other = other->next_idle)
        if (wi_load_relaxed(&other->armed_ns) == INT64_MAX && wi_load_relaxed(&wi_sched.sitter) != other) {
            t = other;
            break;
        }
    if (t)
        wi_unlist(t);
    return t;
}

struct wi_thread *wi_spare_thread(void)
{
    wi_lock(&wi_sched.lock);
    struct wi_thread *t = wi_sched.stopping ? NULL : pop_idle_thread();
    bool stopping = wi_sched.stopping;
    wi_unlock(&wi_sched.lock);
    int error;
    return t || stopping ? t : wi_thread_create(&error);
}

void wi_spare_thread_return(struct wi_thread *t)
{
    wi_lock(&wi_sched.lock);
    t->next_idle = wi_sched.idle_threads;
    wi_sched.idle_threads = t;
    wi_sched.n_idle_threads++;
    t->listed = true;
    wi_unlock(&wi_sched.lock);
}

void wi_wake_one(void)
{
    uint32_t alert = wi_load_relaxed(&wi_sched.alert);
    if ((alert & WI_ALERT_IDLE_MASK) == 0 || (alert & WI_ALERT_SPIN_MASK))
        return;
    wi_lock(&wi_sched.lock);
    alert = wi_load_relaxed(&wi_sched.alert);
    struct wi_worker *w = (alert & WI_ALERT_SPIN_MASK) || wi_sched.stopping ? NULL : wi_pop_idle_worker();
    struct wi_thread *t = NULL;
    if (w) {
        wi_add_relaxed(&wi_sched.alert, WI_ALERT_SPIN);
        t = pop_idle_thread();
    }
    wi_unlock(&wi_sched.lock);
    if (!w)
        return;
    int error;
    if (!t && !(t = wi_thread_create(&error))) { /* no thread can be made: those that exist must do */
        wi_lock(&wi_sched.lock);
        w->next_idle = wi_sched.idle_workers;
        wi_sched.idle_workers = w;
        wi_add_relaxed(&wi_sched.alert, WI_ALERT_IDLE - WI_ALERT_SPIN);
        wi_unlock(&wi_sched.lock);
        return;
    }
    t->spinning = true;
    wi_assign(w, t);
}

/* w makes work while cores are idle: counts how the last time went, see wi_will_run_soon. */
static void note_push(struct wi_worker *w)
{
    uint32_t tick = wi_load_relaxed(&w->runq.tick);
    int32_t lazy = wi_load_relaxed(&w->lazy);
    if (tick != w->pushed_tick && lazy < WI_LAZY_SURE) /* the last time it left the CPU */
        wi_store_relaxed(&w->lazy, lazy + 1);
    w->pushed_tick = tick;
}

/* The request is taken back before the look at alert, which has a fence in between (wi_inject_push): who still saw it in its
   last look is seen idle. */
void wi_share(struct wi_worker *w)
{
    if (wi_runq_share(&w->runq))
        wi_alert(NULL); /* not lazily: what w keeps it will run itself */
}

void wi_alert_slow(struct wi_worker *w, uint32_t alert)
{
    if (WI_UNLIKELY(alert & WI_ALERT_FENCE)) {
        wi_fence_seq_cst();
        alert = wi_load_relaxed(&wi_sched.alert) & ~WI_ALERT_FENCE;
        if (alert == 0)
            return;
    }
    if (w)
        note_push(w);
    if (alert & WI_ALERT_MONITOR)
        wi_monitor_wake();
    if ((alert & WI_ALERT_IDLE_MASK) && (alert & WI_ALERT_SPIN_MASK) == 0 && !(w && wi_will_run_soon(w)))
        wi_wake_one();
}
