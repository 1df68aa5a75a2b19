/* sched.c — the runtime's beginning and end: lazy start, weft_procs, fork, weft_shutdown. */
#include "sched/cancel.h"
#include "sched/enter.h"
#include "sched/hooks.h"

#include <stdlib.h>
#include <string.h>

struct wi_sched wi_sched = {.armed_ns = INT64_MAX, .sentinel_ns = INT64_MAX};
uint32_t wi_lifetime;

static struct wi_lock start_lock;

/* ---- weft_procs ---- */

static _Atomic int procs_cached;

static int read_procs(void)
{
    const char *text = getenv("WEFT_PROCS");
    if (!text || !*text) {
        int cpus = wi_os_cpus();
        return cpus > WI_PROCS_MAX ? WI_PROCS_MAX : cpus;
    }
    char *rest;
    errno = 0;
    long value = strtol(text, &rest, 10);
    if (errno || *rest || value < 1 || value > WI_PROCS_MAX)
        wi_fatal("WEFT_PROCS=%s: must be a number from 1 to %d", text, WI_PROCS_MAX);
    return (int)value;
}

int wi_sched_procs(void)
{
    int procs = wi_load_relaxed(&procs_cached);
    if (WI_UNLIKELY(procs == 0)) {
        int saved_errno = errno;
        procs = read_procs();
        wi_store_relaxed(&procs_cached, procs);
        errno = saved_errno;
    }
    return procs;
}

/* ---- fork ---- */

/* In the child: everything that the other threads did stays where it is and is forgotten. The goroutine that forked, if it
   was one, goes on as a foreign thread on the stack that it has; the memory of the old runtime is not unmapped under it. */
static void forget_everything(void)
{
    wi_lifetime++;
    wi_thread_forget();
    wi_monitor_forget();
    memset(&wi_sched, 0, sizeof wi_sched);
    wi_store_relaxed(&wi_sched.armed_ns, INT64_MAX);
    wi_store_relaxed(&wi_sched.sentinel_ns, INT64_MAX);
    wi_injects_forget();
    memset(&start_lock, 0, sizeof start_lock);
    wi_slab_forget(&wi_goroutines);
    wi_slab_forget(&wi_threads);
    wi_cancel_slabs_forget();
    wi_extras_forget();
    wi_stack_forget();
    wi_hooks.forget();
}

/* Before start_lock is taken for the first time: it has a light side too. A forked child inherits the registration. */
static void prepare_process(void)
{
    wi_os_membarrier_init();
    pthread_atfork(NULL, NULL, forget_everything);
}

/* ---- start ---- */

static void init_workers(struct wi_worker *workers, unsigned procs)
{
    for (unsigned i = procs; i-- > 0;) {
        struct wi_worker *w = &workers[i];
        w->number = i;
        wi_store_relaxed(&w->timer_next_ns, INT64_MAX);
        wi_store_relaxed(&w->now_ns, wi_os_now_ns());
        w->next_idle = wi_sched.idle_workers;
        wi_sched.idle_workers = w;
    }
    wi_store_relaxed(&wi_sched.alert, procs * WI_ALERT_IDLE + (wi_os_membarrier_works ? 0 : WI_ALERT_FENCE));
}

static int start_locked(void)
{
    unsigned procs = (unsigned)wi_sched_procs();
    wi_threads_init();
    wi_context_init();
    wi_os_reserve_descriptors();
    size_t size = procs * sizeof(struct wi_worker);
    struct wi_worker *workers = wi_os_map(size);
    if (!workers)
        return -ENOMEM;
    wi_sched.procs = procs;
    wi_sched.workers = workers;
    wi_sched.idle_workers = NULL;
    wi_sched.stopping = false;
    wi_store_relaxed(&wi_sched.shutting, 0);
    init_workers(workers, procs);
    int error = wi_hooks.timers_start();
    struct wi_thread *first = error ? NULL : wi_thread_create(&error);
    if (first) {
        wi_spare_thread_return(first);
        wi_hooks.started();
        error = wi_monitor_start();
        if (!error)
            return 0;
        wi_hooks.stopped();
        wi_threads_stop();
    }
    wi_hooks.timers_stop();
    wi_os_unmap(workers, size);
    wi_sched.workers = NULL;
    return error;
}

int wi_sched_start(void)
{
    if (WI_LIKELY(wi_load_acquire(&wi_sched.started) == WI_STARTED)) /* pairs with the release below */
        return 0;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_process);
    wi_lock(&start_lock);
    int error = 0;
    if (wi_load_relaxed(&wi_sched.started) != WI_STARTED) {
        error = start_locked();
        if (!error)
            wi_store_release(&wi_sched.started, WI_STARTED); /* pairs with the acquire above */
    }
    wi_unlock(&start_lock);
    return error;
}

/* ---- shutdown ---- */

void wi_threads_exiting(void)
{
    wi_lock(&wi_sched.lock);
    wi_sched.exiting = true;
    while (wi_sched.n_ending != 0) { /* they hold no lock and run no user code: soon */
        wi_unlock(&wi_sched.lock);
        struct timespec pause = {.tv_nsec = 100000};
        nanosleep(&pause, NULL);
        wi_lock(&wi_sched.lock);
    }
    wi_unlock(&wi_sched.lock);
    wi_threads_reap();
}

/* Ends and joins the runtime threads; nothing runs any more. */
void wi_threads_stop(void)
{
    wi_lock(&wi_sched.lock);
    wi_sched.stopping = true;
    wi_unlock(&wi_sched.lock);
    while (wi_load_relaxed(&wi_sched.n_threads) != 0) {
        wi_lock(&wi_sched.lock);
        while (wi_sched.idle_threads) {
            struct wi_thread *t = wi_sched.idle_threads;
            wi_sched.idle_threads = t->next_idle;
            wi_sched.n_idle_threads--;
            t->listed = false;
            t->stop = true;
            wi_thread_wake(t);
        }
        wi_unlock(&wi_sched.lock);
        struct timespec pause = {.tv_nsec = 200000};
        nanosleep(&pause, NULL);
    }
    wi_threads_reap();
}

static void free_everything(void)
{
    unsigned procs = wi_sched.procs;
    wi_monitor_stop();
    wi_threads_stop();
    wi_lifetime++;
    wi_hooks.stopped();
    for (unsigned i = 0; i < procs; i++)
        wi_worker_drain(&wi_sched.workers[i]);
    wi_hooks.timers_stop();
    wi_hooks.poll_stop(); /* after the timers: deadlines' alarms lie in the descriptors' records */
    wi_os_unmap(wi_sched.workers, procs * sizeof(struct wi_worker));
    wi_threads_outdate();
    wi_slab_destroy(&wi_goroutines);
    wi_extras_destroy();
    wi_injects_destroy();
    wi_stack_destroy();
    memset(&wi_sched, 0, sizeof wi_sched);
    wi_store_relaxed(&wi_sched.armed_ns, INT64_MAX);
    wi_store_relaxed(&wi_sched.sentinel_ns, INT64_MAX);
    wi_store_relaxed(&procs_cached, 0);
}

/* A timer may start a goroutine at any moment; so first nothing happens by time any more. start_lock is held. */
static bool end_if_quiet(void)
{
    wi_hooks.timers_freeze(true);
    if (weft_count() != 0) {
        wi_hooks.timers_freeze(false);
        return false;
    }
    free_everything();
    return true;
}

int weft_shutdown(int64_t deadline_ns)
{
    if (weft_id() != 0)
        return -EDEADLK;
    if (wi_load_acquire(&wi_sched.started) != WI_STARTED)
        return 0;
    int64_t end_ns = wi_os_after_ns(wi_os_now_ns(), deadline_ns > 0 ? deadline_ns : 0);
    wi_store_relaxed(&wi_sched.shutting, 1);
    for (int64_t pause_ns = 20000;; pause_ns = pause_ns < 1000000 ? 2 * pause_ns : pause_ns) {
        if (weft_count() == 0) {
            wi_lock(&start_lock);
            bool ended =
                wi_load_relaxed(&wi_sched.started) != WI_STARTED /* somebody else did meanwhile */ || end_if_quiet();
            wi_unlock(&start_lock);
            if (ended)
                return 0;
        }
        if (wi_os_now_ns() >= end_ns) {
            wi_store_relaxed(&wi_sched.shutting, 0);
            return -ETIMEDOUT;
        }
        struct timespec pause = {.tv_nsec = pause_ns};
        nanosleep(&pause, NULL);
    }
}
