/* monitor.c — one thread that takes workers away from threads that are blocked in the kernel or hog the CPU, and watches
   what nobody else watches. It never owns a worker.

   While goroutines run it looks every LOOK_NS, or every QUICK_NS when a thread looks blocked, or every CALM_NS when it has
   found no thread blocked or computing, and no work beside an idle worker, for CALM_LOOKS: a look costs 40 us of somebody's
   time. A worker is taken when something waits for it and its thread is outside weft and
     blocked   /proc says so in two looks in a row at the same epoch, or, where /proc is unreadable, the epoch has not
               moved for SLICE_NS of wall time;
     a hog     its thread has used SLICE_NS x (1 + hogs already detached) of CPU time without scheduling. The stretch makes a
               thousand goroutines that compute share the cores instead of making a thousand threads.
   When nothing has waited for a while it sleeps for good, until a pusher finds WI_ALERT_MONITOR set:

     monitor: alert |= MONITOR; heavy barrier; look once more; sleep
     pusher:  queue; light barrier; look at alert                          */
#include "sched/enter.h"
#include "sched/hooks.h"

#include <stdlib.h>
#include <unistd.h>

#define LOOK_NS INT64_C(1000000)
#define QUICK_NS INT64_C(250000)
#define CALM_NS INT64_C(5000000)
#define CALM_LOOKS 100U
#define POLLS 16
#define SLICE_NS INT64_C(10000000)
#define QUIET_LOOKS 50 /* looks without anything waiting before it sleeps for good; they get longer */
#define HOGS_PER_PROC 8U
#define RECENT_NS INT64_C(100000000)  /* after the poller brought something the monitor stays awake that long ... */
#define IDLE_LOOK_NS INT64_C(5000000) /* ... looking that often */

/* What the monitor remembers of a worker between looks. */
struct watch {
    uint32_t thread, epoch, tick, turns;
    bool blocked;  /* the last look at this epoch found it blocked */
    uint8_t stuck; /* looks in a row with work queued beside an idle worker */
    int64_t epoch_since_ns, tick_since_ns, turns_since_ns;
    int64_t cpu_ns; /* the thread's CPU time when the tick was first seen */
    int proc;       /* descriptor of its /proc file, 0: none */
    pid_t proc_tid;
};

static struct {
    _Atomic uint32_t wake; /* futex: enum wi_wake */
    _Atomic bool stop;
    _Atomic uint32_t requests; /* bits for wi_hooks.requested */
    _Atomic int64_t trim_ns;   /* when to call wi_stack_trim; INT64_MAX: not */
    pthread_t handle;
    unsigned calm_looks; /* [monitor] looks in a row after which it may be calm */
    struct watch *watches;
    bool limit_reported;
} monitor;

void wi_monitor_wake(void)
{
    if (wi_load_relaxed(&wi_sched.alert) & WI_ALERT_MONITOR)
        wi_and_relaxed(&wi_sched.alert, ~WI_ALERT_MONITOR);
    if (wi_swap_acq_rel(&monitor.wake, WI_WAKE_SENT) == WI_WAKE_ASLEEP) /* pairs with the acquire in monitor_sleep */
        wi_os_futex_wake(&monitor.wake, 1);
}

void wi_monitor_trim(void)
{
    wi_store_relaxed(&monitor.trim_ns, wi_os_now_ns() + WI_STACK_TRIM_NS);
    wi_monitor_wake();
}

void wi_monitor_request(uint32_t requests)
{
    wi_or_acq_rel(&monitor.requests, requests);
    wi_monitor_wake();
}

/* Publishes when the monitor will look again: at deadline_ns, or at a timer that nobody else watches. One that was due
   when it looked its worker has been told of, or was left alone for a while as one of a dense row; the row may be over since,
   and the worker's thread compute. */
static int64_t arm(int64_t deadline_ns, int64_t looked_ns)
{
    wi_store_relaxed(&wi_sched.armed_ns, deadline_ns);
    wi_os_barrier_heavy(); /* pairs with the light barrier in wi_guard_timers */
    int64_t timer_ns = wi_timers_next_ns();
    if (timer_ns <= looked_ns)
        timer_ns = looked_ns + LOOK_NS;
    if (timer_ns >= deadline_ns || timer_ns >= wi_load_relaxed(&wi_sched.sentinel_ns))
        return deadline_ns;
    wi_store_relaxed(&wi_sched.armed_ns, timer_ns); /* earlier than before: who has seen that wakes us in vain */
    return timer_ns;
}

/* looked_ns: when the monitor last looked. */
static void monitor_sleep(int64_t deadline_ns, int64_t looked_ns)
{
    int64_t trim_ns = wi_load_relaxed(&monitor.trim_ns);
    deadline_ns = deadline_ns < trim_ns ? deadline_ns : trim_ns;
    if (wi_count_timers(looked_ns) >= WI_TIMERS_OFTEN) { /* they can wait for that long: no barrier, and no look */
        int64_t most_ns = looked_ns + WI_BUSY_SLACK_NS;
        deadline_ns = deadline_ns < most_ns ? deadline_ns : most_ns;
        wi_store_relaxed(&wi_sched.armed_ns, deadline_ns);
    } else {
        deadline_ns = arm(deadline_ns, looked_ns);
    }
    uint32_t wake = WI_WAKE_NONE;
    if (wi_cas_acquire(&monitor.wake, &wake, WI_WAKE_ASLEEP)) /* pairs with wi_monitor_wake */
        wi_os_futex_wait(&monitor.wake, WI_WAKE_ASLEEP, deadline_ns);
    wi_swap_acquire(&monitor.wake, WI_WAKE_NONE);
}

/* ---- blocked or computing? ---- */

/* 1 blocked, 0 not, negative: cannot be told. */
static int is_blocked(struct watch *watch, struct wi_thread *thread)
{
    pid_t tid = wi_load_relaxed(&thread->tid);
    if (watch->proc_tid != tid) {
        if (watch->proc > 0)
            close(watch->proc);
        watch->proc = wi_os_thread_watch(tid);
        watch->proc_tid = tid;
    }
    return watch->proc > 0 ? wi_os_thread_blocked(watch->proc) : watch->proc;
}

static void report_limit(const char *what)
{
    if (monitor.limit_reported)
        return;
    monitor.limit_reported = true;
    wi_report("%u goroutines are %s in code outside weft: no more threads are made for others", //
              what[0] == 'b' ? wi_load_relaxed(&wi_sched.n_blocked) : wi_load_relaxed(&wi_sched.n_hogs), what);
}

static bool take(struct wi_worker *w, struct wi_thread *victim, enum wi_detached why)
{
    if (why == WI_DETACHED_BLOCKED && wi_load_relaxed(&wi_sched.n_blocked) >= WI_DETACHED_MAX) {
        report_limit("blocked");
        return false;
    }
    if (why == WI_DETACHED_HOG && wi_load_relaxed(&wi_sched.n_hogs) >= HOGS_PER_PROC * wi_sched.procs) {
        report_limit("computing");
        return false;
    }
    struct wi_thread *spare = wi_spare_thread();
    if (!spare)
        return false;
    if (wi_take(w, victim, spare, why))
        return true;
    wi_spare_thread_return(spare);
    return false;
}

/* ---- a look at one worker ---- */

enum verdict { NOTHING_WAITS, WAITS, SOON /* look again quickly */ };

/* What waits, seen from all workers. */
struct waiting {
    bool outside;  /* in the queues that belong to no worker */
    bool homesick; /* an idle thread has somebody home and no worker is idle */
    bool unpolled; /* what nobody sits in the poller for */
    bool queued;   /* in some worker's rings */
};

static void refresh(struct watch *watch, struct wi_worker *w, struct wi_thread *thread, int64_t now_ns)
{
    uint32_t epoch = wi_load_acquire(&thread->epoch), tick = wi_load_relaxed(&w->runq.tick);
    uint32_t turns = wi_load_relaxed(&w->runq.turns);
    bool other = watch->thread != thread->number;
    if (other || watch->epoch != epoch) {
        watch->epoch = epoch;
        watch->epoch_since_ns = now_ns;
        watch->blocked = false;
    }
    if (other || watch->tick != tick) {
        watch->tick = tick;
        watch->tick_since_ns = now_ns;
        watch->cpu_ns = wi_os_thread_cpu_ns(wi_load_relaxed(&thread->cpu_clock));
    }
    if (other || watch->turns != turns) {
        watch->turns = turns;
        watch->turns_since_ns = now_ns;
    }
    watch->thread = thread->number;
}

/* Something waits for w, or for any worker. */
static enum verdict judge(struct wi_worker *w, struct watch *watch, struct wi_thread *thread, int64_t now_ns)
{
    bool outside = (watch->epoch & 1) == 0;
    if (outside) {
        int blocked = is_blocked(watch, thread);
        if (blocked < 0)
            blocked = now_ns - watch->epoch_since_ns >= SLICE_NS ? watch->blocked = true : 0;
        if (blocked)
            monitor.calm_looks = 0;
        if (blocked && watch->blocked && take(w, thread, WI_DETACHED_BLOCKED))
            return WAITS;
        watch->blocked = blocked != 0;
        if (blocked)
            return SOON;
    }
    if (watch->tick_since_ns == now_ns && watch->turns_since_ns == now_ns)
        return WAITS; /* it goes from one to the next */
    monitor.calm_looks = 0;
    int64_t quantum_ns = SLICE_NS * (1 + (int64_t)wi_load_relaxed(&wi_sched.n_hogs));
    int64_t cpu_ns = wi_os_thread_cpu_ns(wi_load_relaxed(&thread->cpu_clock)) - watch->cpu_ns;
    if (cpu_ns >= quantum_ns) {
        if (!outside || !take(w, thread, WI_DETACHED_HOG))
            wi_or_relaxed(&w->attention, (uint32_t)WI_ATTEND_SLICE);
    } else if (now_ns - watch->turns_since_ns >= SLICE_NS) {
        wi_or_relaxed(&w->attention, (uint32_t)WI_ATTEND_SLICE); /* a chain through `next` keeps the queue waiting */
    }
    return WAITS;
}

static enum verdict look_at(struct wi_worker *w, struct watch *watch, int64_t now_ns, const struct waiting *waiting)
{
    uint64_t claim = wi_load_acquire(&w->claim);
    bool timer_due = wi_load_relaxed(&w->timer_next_ns) <= now_ns - wi_timers_patience_ns();
    bool idle_worker = (wi_load_relaxed(&wi_sched.alert) & WI_ALERT_IDLE_MASK) != 0;
    uint32_t queued = wi_runq_length(&w->runq);
    bool waits = waiting->outside || timer_due || queued || ((waiting->unpolled || waiting->homesick) && !idle_worker);
    if (!WI_CLAIM_IS_OWNED(claim)) {
        watch->thread = 0;
        if (waits && idle_worker)
            wi_wake_one();
        return waits ? WAITS : NOTHING_WAITS;
    }
    wi_store_relaxed(&w->now_ns, now_ns);
    struct wi_thread *thread = wi_slab_record(&wi_threads, WI_CLAIM_THREAD(claim));
    if (!wi_load_acquire(&thread->alive)) /* pairs with the release in introduce: it is about to begin */
        return waits ? WAITS : NOTHING_WAITS;
    uint32_t epoch = watch->epoch;
    refresh(watch, w, thread, now_ns);
    if (!waits) {
        watch->stuck = 0;
        return waiting->queued && !idle_worker ? judge(w, watch, thread, now_ns) : NOTHING_WAITS;
    }
    if (timer_due)
        wi_or_relaxed(&w->attention, (uint32_t)WI_ATTEND_TIMER);
    if (idle_worker) {
        bool still = epoch == watch->epoch;
        if (timer_due || waiting->outside || (queued && (still || ++watch->stuck > 3))) {
            watch->stuck = 0;
            monitor.calm_looks = 0;
            wi_store_relaxed(&w->lazy, still ? -1000 : -WI_LAZY_SURE);
            wi_or_relaxed(&w->attention, (uint32_t)WI_ATTEND_SHARE); /* also what is in `next` */
            wi_wake_one();
        }
        return WAITS;
    }
    return judge(w, watch, thread, now_ns);
}

/* ---- the loop ---- */

/* Goroutines known to block wait, and no worker is free: one that is busy must take one, but seldom. */
static void serve_blockers(int64_t now_ns)
{
    static int64_t last_ns;
    static unsigned turn;
    WI_CHECK(wi_sched.procs > 0);
    if (wi_load_relaxed(&wi_blockers.count) == 0) {
        last_ns = now_ns;
    } else if (now_ns - last_ns >= SLICE_NS) {
        last_ns = now_ns;
        wi_or_relaxed(&wi_sched.workers[turn++ % wi_sched.procs].attention, (uint32_t)WI_ATTEND_BLOCKERS);
    }
}

/* A hog whose CPU time stands still and that is blocked in the kernel. */
static bool has_blocked(struct wi_thread *t)
{
    int64_t cpu_ns = wi_os_thread_cpu_ns(wi_load_relaxed(&t->cpu_clock)), before_ns = t->hog_cpu_ns;
    t->hog_cpu_ns = cpu_ns;
    if (cpu_ns != before_ns)
        return false;
    int proc = wi_os_thread_watch(wi_load_relaxed(&t->tid));
    bool blocked = proc > 0 && wi_os_thread_blocked(proc) == 1;
    if (proc > 0)
        close(proc);
    return blocked;
}

/* Who computed, lost its worker, and then blocked takes nobody's time: were it counted on, those that compute would get longer
   turns, and from some such goroutines on lose no worker at all. */
static void serve_hogs(int64_t now_ns)
{
    static int64_t last_ns;
    if (WI_LIKELY(wi_load_relaxed(&wi_sched.n_hogs) == 0) || now_ns - last_ns < SLICE_NS)
        return;
    last_ns = now_ns;
    uint32_t made = wi_load_acquire(&wi_threads.made);
    for (uint32_t number = 1; number < made; number++) {
        struct wi_thread *t = wi_slab_record(&wi_threads, number);
        if (!t || wi_load_relaxed(&t->detached) != WI_DETACHED_HOG)
            continue;
        uint32_t epoch = wi_load_acquire(&t->epoch);
        if ((epoch & 1) || !has_blocked(t))
            continue;
        wi_lock(&wi_sched.lock);
        if (wi_load_relaxed(&t->detached) == WI_DETACHED_HOG && wi_load_relaxed(&t->epoch) == epoch)
            wi_set_detached(t, WI_DETACHED_BLOCKED);
        wi_unlock(&wi_sched.lock);
    }
}

/* Goroutines wait for a stack: what idle and busy workers keep for themselves is given back, and they try again. Whether
   there are any. Fatal when several looks in a row find no stack in use that could come back. */
static bool serve_starved(int64_t now_ns)
{
    static int64_t last_ns;
    static unsigned hopeless;
    if (wi_load_relaxed(&wi_sched.n_starved) == 0) {
        hopeless = 0;
        return false;
    }
    if (now_ns - last_ns < SLICE_NS)
        return true;
    last_ns = now_ns;
    wi_lock(&wi_sched.lock);
    for (struct wi_worker *w = wi_sched.idle_workers; w; w = w->next_idle)
        wi_worker_drain(w);
    wi_unlock(&wi_sched.lock);
    for (unsigned i = 0; i < wi_sched.procs; i++)
        wi_or_relaxed(&wi_sched.workers[i].attention, (uint32_t)WI_ATTEND_STACKS);
    hopeless = wi_stacks_are_out() ? 0 : hopeless + 1;
    if (hopeless > 5)
        wi_fatal("out of memory: no stack for a goroutine can be had, and none is in use that could be freed");
    wi_feed_starved();
    return true;
}

/* The poller, while no idle thread sits in it. Whether somebody must go on looking. */
static bool serve_poller(int64_t now_ns)
{
    if (!wi_load_relaxed(&wi_sched.polls) || wi_load_relaxed(&wi_sched.sitter))
        return false;
    if (now_ns - wi_load_relaxed(&wi_sched.polled_ns) >= LOOK_NS) {
        struct wi_goroutine *ready;
        for (int i = 0; i < POLLS && (ready = wi_poll()); i++) /* a poll brings no more than some */
            wi_ready_list(NULL, ready);
    }
    if (wi_load_relaxed(&wi_sched.alert) & WI_ALERT_IDLE_MASK)
        wi_wake_one(); /* it will find something to do, or sit */
    return true;
}

/* Threads without a worker that have somebody home: they get an idle one, or one that is busy lends its own. */
static bool serve_homesick(bool *lacks)
{
    static unsigned turn;
    if (wi_load_relaxed(&wi_sched.n_home) == 0)
        return false;
    for (;;) {
        bool wanted = false;
        struct wi_worker *w = NULL;
        wi_lock(&wi_sched.lock);
        for (struct wi_thread *t = wi_sched.idle_threads; t && !wanted; t = t->next_idle)
            wanted = wi_is_home(t);
        struct wi_thread *t = wanted && wi_sched.idle_workers ? wi_pop_homesick() : NULL;
        if (t)
            w = wi_pop_idle_worker();
        wi_unlock(&wi_sched.lock);
        *lacks = !t && wanted;
        if (!t && wanted)
            wi_or_relaxed(&wi_sched.workers[turn++ % wi_sched.procs].attention, (uint32_t)WI_ATTEND_LEND);
        if (!t)
            return true;
        wi_assign(w, t);
    }
}

static enum verdict look_around(int64_t now_ns)
{
    enum verdict verdict = NOTHING_WAITS;
    struct waiting waiting = {.outside = wi_load_relaxed(&wi_inject.count) || wi_load_relaxed(&wi_blockers.count)};
    for (unsigned i = 0; i < wi_sched.procs && !waiting.queued; i++) {
        struct wi_runq *q = &wi_sched.workers[i].runq;
        waiting.queued = wi_ring_length(&q->woken) + wi_ring_length(&q->fresh) != 0;
    }
    serve_blockers(now_ns);
    serve_hogs(now_ns);
    waiting.unpolled = serve_poller(now_ns);
    bool starved = serve_starved(now_ns), homesick = serve_homesick(&waiting.homesick);
    if (starved || waiting.unpolled || homesick)
        verdict = WAITS;
    for (unsigned i = 0; i < wi_sched.procs; i++) {
        enum verdict one = look_at(&wi_sched.workers[i], &monitor.watches[i], now_ns, &waiting);
        if (one > verdict)
            verdict = one;
    }
    return verdict;
}

static bool all_idle(void)
{
    return (wi_load_relaxed(&wi_sched.alert) & (WI_ALERT_IDLE_MASK | WI_ALERT_SPIN_MASK)) ==
               wi_sched.procs * WI_ALERT_IDLE &&
           wi_load_relaxed(&wi_inject.count) == 0 && wi_load_relaxed(&wi_blockers.count) == 0 &&
           wi_load_relaxed(&wi_sched.n_starved) == 0;
}

/* Nothing has waited for a while: sleeps until a pusher needs the monitor. Timers are seen to by the sentinel, an idle
   thread; when no thread is idle, by us. */
static void sleep_for_good(int64_t looked_ns)
{
    wi_or_relaxed(&wi_sched.alert, WI_ALERT_MONITOR);
    wi_os_barrier_heavy(); /* pairs with the light barriers of wi_alert and wi_park_thread, and with those of threads going idle */
    int64_t again_ns = all_idle() ? wi_hooks.quiet() : INT64_MAX;
    bool waits = wi_load_relaxed(&wi_inject.count) || wi_load_relaxed(&wi_blockers.count) ||
                 wi_load_relaxed(&wi_sched.n_home) ||
                 (wi_load_relaxed(&wi_sched.polls) && !wi_load_relaxed(&wi_sched.sitter));
    for (unsigned i = 0; i < wi_sched.procs && !waits; i++)
        waits = wi_runq_length(&wi_sched.workers[i].runq) != 0;
    if (!waits)
        monitor_sleep(again_ns, looked_ns);
    wi_and_relaxed(&wi_sched.alert, ~WI_ALERT_MONITOR);
}

/* While this runs nobody stores trim_ns: wi_stack_give says only once that there is something to trim. */
static void trim(int64_t now_ns)
{
    wi_store_relaxed(&monitor.trim_ns, INT64_MAX);
    int64_t again_ns = wi_stack_trim(now_ns);
    if (again_ns != INT64_MAX)
        wi_store_relaxed(&monitor.trim_ns, again_ns);
}

static void *monitor_main(void *unused)
{
    (void)unused;
    wi_os_precise_timers();
    unsigned quiet_looks = 0;
    while (!wi_load_acquire(&monitor.stop)) {
        if (wi_load_relaxed(&monitor.requests))
            wi_hooks.requested(wi_swap_acq_rel(&monitor.requests, 0));
        int64_t now_ns = wi_os_now_ns();
        if (now_ns >= wi_load_relaxed(&monitor.trim_ns))
            trim(now_ns);
        monitor.calm_looks++;
        enum verdict verdict = look_around(now_ns);
        quiet_looks = verdict == NOTHING_WAITS ? quiet_looks + 1 : 0;
        bool idle = verdict == NOTHING_WAITS && all_idle();
        bool recent = now_ns - wi_load_relaxed(&wi_sched.came_ns) < RECENT_NS || wi_timers_come() >= WI_TIMERS_OFTEN;
        if (idle && recent) { /* the next request or timer would wake us again, which costs more than this */
            monitor_sleep(now_ns + IDLE_LOOK_NS, now_ns);
            continue;
        }
        if (idle || quiet_looks > QUIET_LOOKS) {
            sleep_for_good(now_ns);
            continue;
        }
        int64_t pause_ns = verdict == SOON ? QUICK_NS : LOOK_NS * (1 + quiet_looks / 8);
        if (pause_ns == LOOK_NS && monitor.calm_looks > CALM_LOOKS)
            pause_ns = CALM_NS;
        monitor_sleep(now_ns + pause_ns, now_ns);
    }
    return NULL;
}

int wi_monitor_start(void)
{
    monitor.watches = calloc(wi_sched.procs, sizeof *monitor.watches);
    if (!monitor.watches)
        return -ENOMEM;
    wi_store_relaxed(&monitor.stop, false);
    wi_store_relaxed(&monitor.wake, WI_WAKE_NONE);
    wi_store_relaxed(&monitor.trim_ns, INT64_MAX);
    int error = wi_thread_start(&monitor.handle, monitor_main, NULL);
    if (error) {
        free(monitor.watches);
        monitor.watches = NULL;
    }
    return error;
}

void wi_monitor_stop(void)
{
    wi_store_release(&monitor.stop, true);
    wi_monitor_wake();
    pthread_join(monitor.handle, NULL);
    for (unsigned i = 0; i < wi_sched.procs; i++)
        if (monitor.watches[i].proc > 0)
            close(monitor.watches[i].proc);
    free(monitor.watches);
    monitor.watches = NULL;
}

void wi_monitor_forget(void)
{
    for (unsigned i = 0; monitor.watches && i < wi_sched.procs; i++)
        if (monitor.watches[i].proc > 0)
            close(monitor.watches[i].proc);
    monitor.watches = NULL; /* not freed: another thread may have held malloc's locks */
    monitor.limit_reported = false;
    wi_store_relaxed(&monitor.requests, 0);
}
