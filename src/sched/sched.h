/* sched.h — the scheduler's own interface and global state. The story in one place:

   A goroutine that stops (parks, yields, ends) picks the next one itself and switches to it directly; whoever is switched to
   first carries out the *commit step* of the one left (park.c). Only a thread that finds nothing in its queue goes to its
   own stack, the scheduler's, to look further, to spin for a while and to idle (idle.c). Threads enter and leave weft by
   their epoch and own workers by claim words (enter.h, claim.c); the monitor takes workers away from threads that are
   blocked or hog (monitor.c). */
#ifndef WI_SCHED_H
#define WI_SCHED_H

#include "base/perturb.h"
#include "sched/inject.h"
#include "sched/worker.h"

/* wi_sched.alert packs what a pusher must know, so that the common case is one load of a line that seldom changes. */
#define WI_ALERT_IDLE 1U /* x number of idle workers */
#define WI_ALERT_IDLE_MASK 0xfffU
#define WI_ALERT_SPIN (1U << 12) /* x number of spinning threads */
#define WI_ALERT_SPIN_MASK (0xfffU << 12)
#define WI_ALERT_MONITOR (1U << 24) /* the monitor sleeps for good */
#define WI_ALERT_FENCE (1U << 25) /* always, where there is no membarrier: a look at alert is worth nothing before a fence */
#define WI_PROCS_MAX 1024

struct wi_sched {
    _Alignas(WI_CACHE_LINE) _Atomic uint32_t alert; /* [atomic] */
    _Atomic int64_t armed_ns;                       /* [atomic] somebody sleeps to this time and will look at the timers */
    _Atomic uint32_t timers_come;                   /* [atomic] enum wi_timers_come */
    _Atomic int64_t sentinel_ns;                    /* [stores: lock] the earliest time an idle thread sleeps to */
    _Atomic bool polls;                             /* [stores: the poller, once] there is something to poll */
    _Atomic(struct wi_thread *) sitter;             /* [atomic] the idle thread that sleeps in the poller */
    _Atomic int64_t polled_ns;                      /* [atomic] when somebody last looked at the poller ... */
    _Atomic int64_t came_ns;                        /* [atomic] ... and when that brought something */
    _Atomic uint32_t n_home;                        /* [atomic] goroutines in the home queues of all threads */

    _Alignas(WI_CACHE_LINE) struct wi_lock lock; /* ownership of workers, idle lists, counts below */
    struct wi_worker *idle_workers;              /* [lock] */
    struct wi_thread *idle_threads;              /* [lock] */
    unsigned n_idle_threads;                     /* [lock] */
    _Atomic unsigned n_threads;                  /* [stores: lock] runtime threads */
    _Atomic unsigned n_blocked, n_hogs;          /* [stores: lock] threads that run a goroutine without a worker, by why */
    unsigned n_ending;                           /* [lock] threads that found themselves too many, not yet dead */
    _Atomic int64_t ended_ns;                    /* [atomic] when a thread that weft knew last ended */
    struct wi_thread *dead;                      /* [lock] ended, to be joined */
    bool stopping;                               /* [lock] threads end when idle */
    bool exiting;                                /* [lock] the program ends: idle threads stay, nobody will join them */

    _Alignas(WI_CACHE_LINE) _Atomic uint32_t started;    /* [atomic] enum wi_started */
    unsigned procs;                                      /* [const while started] */
    struct wi_worker *workers;                           /* [const while started] */
    _Atomic uint64_t started_elsewhere, ended_elsewhere; /* [atomic] goroutines, by threads without a worker */
    _Atomic uint64_t next_id;                            /* [atomic] */
    _Atomic int32_t shutting;                            /* [atomic] weft_try_go is refused */

    struct wi_lock starved_lock;
    struct wi_goroutine *starved; /* [starved_lock] fresh goroutines for which no stack could be had */
    _Atomic uint32_t n_starved;   /* [stores: starved_lock] */
};
extern WI_HIDDEN struct wi_sched wi_sched;

enum wi_started { WI_STOPPED, WI_STARTED };

/* ---- park.c ---- */
/* Stops the current goroutine, or blocks the foreign thread; publish is the commit step. Returns when it was made ready,
   perhaps on another thread: the caller must take wi_self() anew. */
void wi_park(struct wi_thread *t, wi_commit_fn publish, void *argument);
/* The same for threads and pinned goroutines only, with a time: false when the time came first and no wake was sent. The
   state is PARKED still then, for a completer may yet leave it: the caller sets RUNNING when it knows that the wait is
   over. */
bool wi_park_thread(struct wi_thread *t, wi_commit_fn publish, void *argument, int64_t deadline_ns);
/* The record that waits for the caller: the goroutine's or the thread's. */
static inline struct wi_goroutine *wi_waiting(struct wi_thread *t)
{
    return t->current ? t->current : t->self;
}
/* The caller waits as a thread does: on a futex, with its stack, and timers are the futex's. */
static inline bool wi_waits_as_thread(struct wi_thread *t)
{
    return WI_UNLIKELY(t->pins != 0);
}
/* Makes a parked goroutine run again (or its thread); the caller must be the one that may leave PARKED. */
void wi_ready(struct wi_thread *t, struct wi_goroutine *g);
/* The same and wi_leave, for functions without a frame, which end by calling this after wi_enter_quickly. Returns result. */
int wi_ready_and_leave(struct wi_thread *t, struct wi_goroutine *g, int result);
/* Queues a list of goroutines made ready at once. t is NULL on the monitor. */
void wi_ready_list(struct wi_thread *t, struct wi_goroutine *list);
/* The same for those that t, which has a worker, is about to run itself: wakes no idle worker. The monitor does when t does
   not come to it. */
void wi_ready_list_here(struct wi_thread *t, struct wi_goroutine *list);
/* Queues the current goroutine behind the others and runs them. */
void wi_yield(struct wi_thread *t);
/* Ends the current goroutine from wherever it is in its function; outside weft, and nothing is left to undo. */
_Noreturn void wi_goroutine_exit(void);
/* The first code on a goroutine's stack. */
void wi_goroutine_main(void *unused);
/* Lets g run on t, from t's own stack; returns when that stack is switched to again. False: no stack could be had. */
bool wi_run(struct wi_thread *t, struct wi_goroutine *g);
/* Carries out the commit step of whoever was left. */
void wi_commit(struct wi_thread *t);
static inline void wi_wait_on_since(struct wi_goroutine *g, const struct wi_wait_kind *kind, const void *object,
                                    int64_t since_ns)
{
    g->run.kind = kind;
    g->run.object = object;
    g->run.since_ns = since_ns;
}
/* Publishes a wait: kind and object for reports. */
static inline void wi_wait_on(struct wi_thread *t, struct wi_goroutine *g, const struct wi_wait_kind *kind,
                              const void *object)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    wi_wait_on_since(g, kind, object, WI_LIKELY(w != NULL) ? wi_load_relaxed(&w->now_ns) : wi_os_now_ns());
}

/* ---- idle.c ---- */
/* Finds the next goroutine for t's worker, spinning for a while. NULL: there is none. */
struct wi_goroutine *wi_find_work(struct wi_thread *t);
/* Gives up t's worker, if it has one, and waits for one with work. False: the thread shall end. */
bool wi_wait_for_worker(struct wi_thread *t);
/* Whether there is work that an idle worker should see to. To be called after a heavy barrier. */
bool wi_work_visible(void);
/* Somebody pushed work and alert was not 0. */
void wi_alert_slow(struct wi_worker *w, uint32_t alert);
/* One goroutine just queued, by one whose kind usually leaves the CPU to it at once: waking a core would cost more than it
   brings (8 us to send, 28 us to arrive). `lazy` counts how often in a row that went well on this worker; the monitor
   resets it when it finds work that waits beside an idle core. */
static inline bool wi_will_run_soon(struct wi_worker *w)
{
    return wi_load_relaxed(&w->lazy) >= WI_LAZY_SURE && wi_runq_length(&w->runq) <= 1;
}
/* Nobody is to be woken: nobody sleeps, or idle workers only, which are not wanted. */
static inline bool wi_alert_is_quiet(struct wi_worker *w, uint32_t alert)
{
    return WI_LIKELY(alert == 0) || (alert <= WI_ALERT_IDLE_MASK && w && wi_will_run_soon(w));
}
/* Takes a worker off the idle list, one with queued work first; NULL when there is none. wi_sched.lock is held. */
struct wi_worker *wi_pop_idle_worker(void);
/* Wakes one idle worker, unless one spins already. */
void wi_wake_one(void);
/* By w's owner, when WI_ATTEND_SHARE asks for it: gives half of its queue to everybody, and wakes somebody for it. */
void wi_share(struct wi_worker *w);
/* After work was queued: the light side of going idle. */
static inline void wi_alert(struct wi_worker *w)
{
    wi_perturb();
    wi_barrier_compiler(); /* pairs with the heavy barriers in idle.c and monitor.c; without membarrier there is WI_ALERT_FENCE */
    uint32_t alert = wi_load_relaxed(&wi_sched.alert);
    if (!wi_alert_is_quiet(w, alert))
        wi_alert_slow(w, alert);
}
/* All workers are idle, nobody spins, and the monitor sleeps for good. */
static inline bool wi_only_monitor_can_help(void)
{
    return (wi_load_relaxed(&wi_sched.alert) & ~WI_ALERT_FENCE) == (WI_ALERT_MONITOR | wi_sched.procs * WI_ALERT_IDLE);
}
/* To be called after a timer was added by a thread that has no worker, and before goroutines run for who knows how long:
   somebody will look at the timers in time. */
void wi_guard_timers(void);
/* The same for the poller: to be called also by who waits for it and keeps its thread. */
void wi_guard_poller(void);
/* After work was queued for which nobody else is to be woken: the monitor will see to it if it is not run soon. */
void wi_guard_queue(void);
/* By a thread without a worker that is about to wait, or to end: if nobody can help those that wait, the monitor will see. */
void wi_guard_quiet(void);
/* Takes a thread off the idle list that has somebody home, for whom there is no worker; NULL: there is none.
   wi_sched.lock is held. */
struct wi_thread *wi_pop_homesick(void);
/* Looks at the poller: who is ready, linked by next. */
struct wi_goroutine *wi_poll(void);
#define WI_POLL_NS INT64_C(50000) /* while a worker is busy somebody looks that often */
static inline bool wi_poll_is_due(void)
{
    return WI_UNLIKELY(wi_load_relaxed(&wi_sched.polls)) && !wi_load_relaxed(&wi_sched.sitter) &&
           wi_os_now_ns() - wi_load_relaxed(&wi_sched.polled_ns) > WI_POLL_NS;
}
/* Takes an idle thread off the list. wi_sched.lock is held. */
void wi_unlist(struct wi_thread *t);
/* The earliest timer of all workers. */
int64_t wi_timers_next_ns(void);

/* Which of the process's runtimes this is. */
extern WI_HIDDEN uint32_t wi_lifetime; /* [const but when one ends, or is forgotten in a forked child] */

/* ---- rest.c ---- */
/* How many timers came lately, on all workers, and what follows from it; see rest.c. */
enum wi_timers_come {
    WI_TIMERS_SELDOM, /* each is seen to as soon as it is due */
    WI_TIMERS_OFTEN, /* those that are due while all threads are busy are left to the monitor's looks, WI_BUSY_SLACK_NS apart */
    WI_TIMERS_DENSE, /* besides, a worker's timers are looked at WI_SLACK_NS apart */
};
#define WI_SLACK_NS INT64_C(300000)
#define WI_BUSY_SLACK_NS INT64_C(1000000)
static inline enum wi_timers_come wi_timers_come(void)
{
    return (enum wi_timers_come)wi_load_relaxed(&wi_sched.timers_come);
}
/* The same, counted anew if that is due: by who runs timers, and who is about to sleep to one. */
enum wi_timers_come wi_count_timers(int64_t now_ns);
/* How long others leave timers that are due to the thread that owns their worker. */
static inline int64_t wi_timers_patience_ns(void)
{
    return wi_timers_come() == WI_TIMERS_DENSE ? WI_SLACK_NS : 0;
}
/* Sleeps until t is given a worker, which is true, or to the time, or for less. What the poller brought comes in *ready,
   which is NULL before. */
bool wi_rest(struct wi_thread *t, int64_t deadline_ns, struct wi_goroutine **ready);

/* ---- home.c ---- */
/* Queues g, which stays on its thread, there. */
void wi_home_push(struct wi_goroutine *g);
/* Whether somebody came home to t. */
static inline bool wi_is_home(struct wi_thread *t)
{
    return wi_load_relaxed(&t->came_home) || wi_load_relaxed(&t->home.count);
}
/* Whether it is the turn of those that came home to t, whose worker is w, and not of w's queue. */
static inline bool wi_home_is_next(struct wi_thread *t, struct wi_worker *w)
{
    return WI_UNLIKELY(wi_load_relaxed(&t->came_home) != NULL) && (w->home_next = !w->home_next);
}
/* Takes those that have come home to t since, if nobody is left of those before: t->came_home. */
void wi_home_fetch(struct wi_thread *t);
/* The first of t->came_home, or NULL. */
struct wi_goroutine *wi_home_take(struct wi_thread *t);
/* Gives t's worker to an idle thread that has somebody home. True: t has none now. */
bool wi_home_lend(struct wi_thread *t);

/* ---- claim.c ---- */
/* Takes w from its thread victim for thread taker, which must wait for a worker or own none: true when taken. */
bool wi_take(struct wi_worker *w, struct wi_thread *victim, struct wi_thread *taker, enum wi_detached why);
/* Takes w from its thread for t, and gives t's own worker to that thread in exchange. */
bool wi_swap_workers(struct wi_thread *t, struct wi_worker *w, struct wi_thread *victim);
/* Gives t's worker to another thread, which is woken or made: false when there is none, and t keeps it. */
bool wi_hand_off(struct wi_thread *t, enum wi_detached why);
/* Gives up t's worker before its goroutine blocks, to whoever has something to do. False: too many do so already, and t
   keeps it. */
bool wi_detach(struct wi_thread *t);
/* Puts t's worker in the idle list. wi_sched.lock is held. */
void wi_release_worker_locked(struct wi_thread *t);
/* A thread without a worker that runs a goroutine tries to get an idle one. */
bool wi_reattach(struct wi_thread *t);
/* Counts t as attached again, or as done with its goroutine. wi_sched.lock is held. */
void wi_set_detached(struct wi_thread *t, enum wi_detached why);
/* A thread to give a worker to: an idle one, off its list, or a new one. NULL when none can be had. wi_sched.lock is
   free. */
struct wi_thread *wi_spare_thread(void);
/* Gives an unowned worker (in no list) to a spare thread and wakes it. */
void wi_assign(struct wi_worker *w, struct wi_thread *t);
/* Puts a thread that wi_spare_thread gave back. */
void wi_spare_thread_return(struct wi_thread *t);

/* ---- sched.c ---- */
/* Starts the runtime. 0, -ENOMEM, -EAGAIN. */
int wi_sched_start(void);
/* The program ends: joins the threads that have ended; no others will. For TSan, which reports those left as leaks. */
void wi_threads_exiting(void);
/* Ends and joins the runtime threads. */
void wi_threads_stop(void);
/* weft_procs() without the runtime. */
int wi_sched_procs(void);

/* ---- monitor.c ---- */
int wi_monitor_start(void);
void wi_monitor_stop(void);
void wi_monitor_forget(void);
/* Wakes the monitor: async-signal-safe. */
void wi_monitor_wake(void);
/* Has the monitor give the pages of unused stacks back, a little later. */
void wi_monitor_trim(void);
/* Has the monitor call wi_hooks.requested with these bits: async-signal-safe. */
void wi_monitor_request(uint32_t requests);

/* ---- go.c ---- */
int wi_spawn(const weft_options *options, const weft_site *site, weft_fn_ fn, const uintptr_t *words, void *join);
/* The same from inside weft, in the given context (NULL: background), shielded from its end or not. 0 or -ENOMEM. */
int wi_spawn_inside(struct wi_thread *t, struct wi_context *context, bool shielded, const weft_site *site, weft_fn_ fn,
                    const uintptr_t *words);
/* The end for callers that have no error to return. */
_Noreturn void wi_spawn_failed(int error);
/* Gives an ended goroutine's record and its stack back. */
void wi_goroutine_free(struct wi_thread *t, struct wi_goroutine *g);
void wi_stack_recycle(struct wi_thread *t, struct wi_stack *stack);
/* A stack for g when the caches have none; NULL, and *error as of wi_stack_take. */
struct wi_stack *wi_stack_obtain(struct wi_thread *t, struct wi_goroutine *g, int *error);
/* The goroutine's extra record, which is made when there is none; NULL: no memory. */
struct wi_extra *wi_extra_of(struct wi_goroutine *g);
void wi_extra_free(struct wi_goroutine *g);
void wi_extras_destroy(void);
void wi_extras_forget(void);
/* Gives back what a worker caches; the caller owns the worker, or it is idle and wi_sched.lock is held. */
void wi_worker_drain(struct wi_worker *w);
/* g was to run, but no stack could be had: it waits until one comes back. */
void wi_starve(struct wi_thread *t, struct wi_goroutine *g);
/* Queues the goroutines that starve for a stack again. */
void wi_feed_starved(void);
/* Whether any goroutine has a stack that it could give back one day. */
bool wi_stacks_are_out(void);

#endif
