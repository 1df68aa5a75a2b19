/* thread.c — OS threads: how weft learns of foreign ones, makes its own, and puts them to sleep. */
#include "sched/enter.h"
#include "sched/hooks.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

#define THREAD_STACK_SIZE ((size_t)512 << 10) /* the scheduler's frames, the alternate stack, glibc's thread-locals */

/* Read by wi_self alone; the name is in its assembly. */
__attribute__((used, visibility("hidden"), tls_model("initial-exec"))) _Thread_local struct wi_thread *wi_thread_current;

struct wi_slab wi_threads = {.name = "threads", .record_size = 320, .chunk_records = 1024};
_Static_assert(sizeof(struct wi_thread) <= 320, "a thread's record fits its slab");

static pthread_key_t exit_key; /* its destructor sees the end of foreign threads */
static bool exit_key_made;     /* while the runtime runs: a plugin that was unloaded must leave no destructor behind */

static void set_current(struct wi_thread *t)
{
    wi_thread_current = t;
}

/* ---- records ---- */

static void clear(void *from, const void *to)
{
    memset(from, 0, (size_t)((const char *)to - (char *)from));
}

static struct wi_thread *take_record(enum wi_thread_kind kind)
{
    void *record;
    if (wi_slab_take(&wi_threads, 1, &record) == 0)
        return NULL;
    struct wi_thread *t = record;
    /* Others may still look at what the record's last user left; so these are never cleared: epoch, number, alive, tid,
       cpu_clock, hog_cpu_ns; wake and detached are stored. The epoch goes on: an asker that looks at the last user must see a
       change. A runtime thread begins inside weft: nobody takes the worker that it is given before it has begun. */
    wi_store_relaxed(&t->epoch, (wi_load_relaxed(&t->epoch) | 1) + (kind == WI_THREAD_RUNTIME ? 2 : 1));
    if (t->number == 0)
        t->number = wi_slab_number(&wi_threads, t);
    t->entry = wi_os_membarrier_works ? WI_CLAIM_OWNED(t) : WI_CLAIM_NEVER;
    clear(&t->worker, &t->alive);
    clear(&t->exceptions, &t->wake);
    wi_store_relaxed(&t->wake, WI_WAKE_NONE);
    wi_store_relaxed(&t->detached, WI_ATTACHED);
    clear(&t->handle, t + 1);
    t->kind = (uint8_t)kind;
    t->pins = kind == WI_THREAD_FOREIGN;
    wi_store_relaxed(&t->armed_ns, INT64_MAX);
    t->random = (uint32_t)wi_os_now_ns() * 2 + 1;
    return t;
}

static void give_record(struct wi_thread *t)
{
    wi_store_release(&t->alive, false);
    wi_inject_close(&t->home);
    wi_slab_give_one(&wi_threads, t);
}

/* What every thread notes of itself. */
static void introduce(struct wi_thread *t)
{
    wi_store_relaxed(&t->tid, wi_os_tid());
    t->handle = pthread_self();
    clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
    pthread_getcpuclockid(t->handle, &clock);
    wi_store_relaxed(&t->cpu_clock, clock);
    wi_store_release(&t->alive, true); /* pairs with the acquire of who walks the threads */
    set_current(t);
}

/* ---- foreign threads ---- */

static void foreign_thread_ends(void *argument)
{
    struct wi_thread *t = argument;
    if (wi_self() != t || t->kind != WI_THREAD_FOREIGN)
        return;
    struct wi_goroutine *self = t->outdated ? NULL : t->self; /* goroutines' records ended with their runtime */
    if (self && self->extra) {
        wi_hooks.thread_ending(self);
        wi_extra_free(self);
    }
    set_current(NULL);
    give_record(t);
    if (!self)
        return;
    wi_goroutine_set_state(self, WI_FREE);
    wi_slab_give_one(&wi_goroutines, self);
    wi_store_relaxed(&wi_sched.ended_ns, wi_os_now_ns());
    wi_guard_quiet(); /* others may have waited for this thread */
}

/* A foreign thread keeps its record's address in its thread-local variable, where nobody else can clear it. So the
   records of foreign threads outlive the runtime; each is given back when its thread comes again. The odd epoch sends it
   the slow way. */
void wi_threads_outdate(void)
{
    uint32_t made = wi_load_acquire(&wi_threads.made);
    struct wi_thread *self = wi_self();
    bool others = false;
    for (uint32_t number = 1; number < made; number++) {
        struct wi_thread *t = wi_slab_record(&wi_threads, number);
        if (!t || t == self || t->kind != WI_THREAD_FOREIGN || !wi_load_acquire(&t->alive)) /* pairs with introduce */
            continue;
        if (t->outdated && !wi_os_thread_exists(wi_load_relaxed(&t->tid))) {
            give_record(t); /* it has ended since, and there was no key to tell us */
            continue;
        }
        others = true;
        if (!t->outdated)
            wi_hooks.thread_outdated(t->self);
        t->outdated = true;
        wi_store_relaxed(&t->epoch, wi_load_relaxed(&t->epoch) | 1);
    }
    if (self) {
        if (!self->outdated)
            wi_hooks.thread_outdated(self->self);
        set_current(NULL);
        give_record(self);
    }
    if (!others)
        wi_slab_destroy(&wi_threads);
    if (exit_key_made)
        pthread_key_delete(exit_key);
    exit_key_made = false;
}

int wi_thread_adopt(void)
{
    int error = wi_sched_start();
    if (error)
        return error;
    struct wi_thread *outdated = wi_self();
    if (outdated) {
        set_current(NULL);
        give_record(outdated);
    }
    void *record;
    if (wi_slab_take(&wi_goroutines, 1, &record) == 0)
        return -ENOMEM;
    struct wi_goroutine *self = record;
    struct wi_thread *t = take_record(WI_THREAD_FOREIGN);
    if (!t || !exit_key_made || pthread_setspecific(exit_key, t) != 0) {
        if (t)
            give_record(t);
        wi_slab_give_one(&wi_goroutines, self);
        return -ENOMEM;
    }
    self->flags = WI_G_THREAD;
    self->run.thread = t;
    self->run.kind = NULL;
    self->site = NULL;
    self->join = NULL;
    self->extra = NULL;
    self->run.scopes = NULL;
    wi_store_relaxed(&self->run.member, NULL);
    wi_store_relaxed(&self->stack, NULL);
    wi_store_relaxed(&self->id, 0);
    t->self = self;
    introduce(t);
    wi_goroutine_set_state(self, WI_RUNNING);
    return 0;
}

void wi_thread_forget(void)
{
    struct wi_thread *t = wi_self();
    if (t && t->kind == WI_THREAD_RUNTIME)
        wi_thread_unblock_signals();
    set_current(NULL);
    if (exit_key_made)
        pthread_setspecific(exit_key, NULL);
}

/* ---- runtime threads ---- */

static sigset_t original_mask; /* of the thread that started the runtime: what a forked child gets */

/* Faults and profilers stay deliverable; everything else is for the program's own threads. */
static void runtime_mask(sigset_t *mask)
{
    static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF};
    sigfillset(mask);
    for (unsigned i = 0; i < sizeof open / sizeof *open; i++)
        sigdelset(mask, open[i]);
}

void wi_thread_unblock_signals(void)
{
    pthread_sigmask(SIG_SETMASK, &original_mask, NULL);
}

extern struct wi_exceptions *__cxa_get_globals(void) __attribute__((weak));

static void run_scheduler(struct wi_thread *t)
{
    if (!wi_thread_sleep(t, INT64_MAX) || t->stop)
        return;
    for (;;) {
        wi_commit(t);
        struct wi_goroutine *g = wi_load_relaxed(&t->worker) ? wi_find_work(t) : NULL;
        if (!g && !wi_wait_for_worker(t))
            return;
        if (g && !wi_run(t, g))
            wi_starve(t, g);
    }
}

static void *thread_main(void *argument)
{
    struct wi_thread *t = argument;
    size_t size = getauxval(AT_MINSIGSTKSZ);
    size = (size < 2048 ? 2048 : size) + (32 << 10);
    char alternate[size];
    introduce(t);
    wi_os_precise_timers();
    if (__cxa_get_globals)
        t->exceptions = __cxa_get_globals();
    stack_t stack = {.ss_sp = alternate, .ss_size = size};
    sigaltstack(&stack, NULL);
    run_scheduler(t);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    set_current(NULL);
    wi_store_release(&t->alive, false);
    wi_lock(&wi_sched.lock);
    wi_store_relaxed(&wi_sched.ended_ns, wi_os_now_ns());
    wi_bump(&wi_sched.n_threads, -1U);
    wi_sched.n_ending -= t->ending;
    t->next_idle = wi_sched.dead;
    wi_sched.dead = t;
    wi_unlock(&wi_sched.lock);
    return NULL;
}

void wi_threads_reap(void)
{
    wi_lock(&wi_sched.lock);
    struct wi_thread *dead = wi_sched.dead;
    wi_sched.dead = NULL;
    wi_unlock(&wi_sched.lock);
    for (struct wi_thread *next; dead; dead = next) {
        next = dead->next_idle;
        pthread_join(dead->handle, NULL);
        give_record(dead);
    }
}

int wi_thread_start(pthread_t *handle, void *(*run)(void *), void *argument)
{
    sigset_t mask, before;
    runtime_mask(&mask);
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return -ENOMEM;
    pthread_attr_setstacksize(&attributes, THREAD_STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &mask, &before);
    int error = pthread_create(handle, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? 0 : error == ENOMEM ? -ENOMEM : -EAGAIN;
}

struct wi_thread *wi_thread_create(int *error)
{
    wi_threads_reap();
    struct wi_thread *t = take_record(WI_THREAD_RUNTIME);
    *error = -ENOMEM;
    if (!t)
        return NULL;
    wi_lock(&wi_sched.lock);
    wi_bump(&wi_sched.n_threads, 1);
    wi_unlock(&wi_sched.lock);
    *error = wi_thread_start(&t->handle, thread_main, t);
    if (*error == 0)
        return t;
    wi_lock(&wi_sched.lock);
    wi_bump(&wi_sched.n_threads, -1U);
    wi_unlock(&wi_sched.lock);
    give_record(t);
    static _Atomic bool reported;
    if (!atomic_exchange(&reported, true))
        wi_report("no thread can be made (%s); the %u there are go on", strerror(-*error),
                  wi_load_relaxed(&wi_sched.n_threads));
    return NULL;
}

void wi_threads_init(void)
{
    if (!exit_key_made)
        exit_key_made = pthread_key_create(&exit_key, foreign_thread_ends) == 0;
    pthread_sigmask(SIG_SETMASK, NULL, &original_mask);
}

/* ---- sleeping ---- */

bool wi_thread_sleep(struct wi_thread *t, int64_t deadline_ns)
{
    for (;;) {
        uint32_t wake = WI_WAKE_NONE;
        if (!wi_cas_acquire(&t->wake, &wake, WI_WAKE_ASLEEP) && wake == WI_WAKE_SENT) { /* pairs with wi_thread_wake */
            wi_store_relaxed(&t->wake, WI_WAKE_NONE);
            return true;
        }
        int result = wi_os_futex_wait(&t->wake, WI_WAKE_ASLEEP, deadline_ns);
        wake = WI_WAKE_ASLEEP;
        if (result == -ETIMEDOUT && wi_cas_acquire(&t->wake, &wake, WI_WAKE_NONE))
            return false;
    }
}

bool wi_thread_poll(struct wi_thread *t, int64_t deadline_ns, struct wi_goroutine **ready)
{
    uint32_t wake = WI_WAKE_NONE;
    *ready = NULL;
    if (wi_cas_acquire(&t->wake, &wake, WI_WAKE_POLLS)) /* pairs with wi_thread_wake */
        *ready = wi_hooks.poll(deadline_ns);
    return wi_swap_acquire(&t->wake, WI_WAKE_NONE) == WI_WAKE_SENT; /* likewise */
}

void wi_thread_wake(struct wi_thread *t)
{
    uint32_t before =
        wi_swap_acq_rel(&t->wake, WI_WAKE_SENT); /* pairs with the acquires in wi_thread_sleep and wi_thread_poll */
    if (before == WI_WAKE_ASLEEP)
        wi_os_futex_wake(&t->wake, 1);
    else if (before == WI_WAKE_POLLS)
        wi_hooks.poll_interrupt();
}
