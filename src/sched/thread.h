/* thread.h — the record of an OS thread that uses weft, and the one way to find the calling one. */
#ifndef WI_THREAD_H
#define WI_THREAD_H

#include "arch/context.h"
#include "arch/sanitizer.h"
#include "sched/inject.h"
#include <pthread.h>

struct wi_worker;

enum wi_thread_kind { WI_THREAD_FOREIGN, WI_THREAD_RUNTIME };

/* Why a runtime thread that runs a goroutine has no worker. */
enum wi_detached { WI_ATTACHED, WI_DETACHED_BLOCKED, WI_DETACHED_HOG };

/* What the context that is resumed does for the one that was left: publishes it (unlocks what it waits on, queues it, frees
   it). False: the wait is over already, make it ready. */
typedef bool (*wi_commit_fn)(struct wi_thread *t, struct wi_goroutine *g, void *argument);

/* __cxa_eh_globals of the Itanium C++ ABI. */
struct wi_exceptions {
    void *caught;
    unsigned uncaught;
};

struct wi_thread {
    _Atomic uint32_t epoch;             /* [stores: thread; loads: all] odd: inside weft */
    uint32_t number;                    /* [const] in its slab; names it in claim words */
    uint64_t entry;                     /* [const] WI_CLAIM_OWNED(this thread); WI_CLAIM_NEVER without membarrier */
    _Atomic(struct wi_worker *) worker; /* [stores: wi_sched.lock, or the thread with nobody else about; loads: all] */
    struct wi_goroutine *current;       /* [thread] the goroutine it runs; NULL on the scheduler's own stack */
    struct wi_goroutine *left;          /* [thread] whose commit step is due */
    wi_commit_fn commit;                /* [thread] the commit step */
    void *commit_argument;              /* [thread] */
    void *sched_sp;                     /* [thread] the scheduler's own stack, suspended */
    struct wi_goroutine *stackless; /* [thread] the successor that could not be run at once: the scheduler runs it next */
    struct wi_goroutine *self;      /* [const] foreign: the record that waits for it */
    uint32_t random;                /* [thread] see base/rand.h */
    uint32_t pins;                  /* [thread] weft_pin count of the current goroutine; a foreign thread is always pinned */
    uint8_t kind;                   /* [const] enum wi_thread_kind */
    bool spinning;                  /* [thread; who wakes it] counted in wi_sched.alert */
    bool listed;                    /* [wi_sched.lock] in the list of idle threads */
    bool stop;                      /* [wi_sched.lock] end it */
    bool ending;                    /* [wi_sched.lock] counted in wi_sched.n_ending */
    bool outdated;                  /* [weft_shutdown; then const] foreign: known to a runtime that has ended */
    _Atomic bool alive;             /* [atomic] the record is in use */
    _Atomic uint8_t detached;       /* [stores: wi_sched.lock] enum wi_detached */
    struct wi_exceptions *exceptions; /* [const] C++'s per-thread state, NULL when there is no C++ in the process */
#ifdef WEFT_CHECKED
    int32_t mutexes_held; /* [thread] pthread mutexes that the goroutine holder_id has locked here, see debug/held.c */
    uint64_t holder_id;   /* [thread] */
#endif
    struct wi_sanitizer_side side; /* [thread] the scheduler's own stack, for the sanitizers */

    _Atomic(struct wi_goroutine *) came_home; /* [stores: thread; loads: all] taken out of `home`, to be run next */
    int64_t found_ns; /* [thread] when spinning last brought work; 0: it has been asked since how long that lasted */
    uint32_t barren;  /* [thread] how often in a row it was soon out of work again, see may_ask_ns in idle.c */
    uint32_t stays;   /* [thread] goroutines that stay here, see home.c */

    _Alignas(WI_CACHE_LINE) _Atomic uint32_t wake; /* [atomic] futex: enum wi_wake */
    _Atomic pid_t tid;                             /* [stores: thread, when it begins; loads: all] */
    _Atomic clockid_t cpu_clock;                   /* [likewise] CLOCK_THREAD_CPUTIME_ID as others see it */
    int64_t hog_cpu_ns;                            /* [monitor] its CPU time when the monitor last looked at it as a hog */
    pthread_t handle;                              /* [const] runtime threads */
    struct wi_thread *next_idle;                   /* [wi_sched.lock] */
    _Atomic int64_t armed_ns;                      /* [stores: wi_sched.lock] idle: the time it sleeps to */

    _Alignas(WI_CACHE_LINE) struct wi_inject home; /* goroutines that are ready and must go on here, newly come */
};

enum wi_wake { WI_WAKE_NONE, WI_WAKE_SENT, WI_WAKE_ASLEEP, WI_WAKE_POLLS /* asleep in the poller, not on the futex */ };

extern WI_HIDDEN struct wi_slab wi_threads;

/* The calling thread's record, NULL when weft does not know it yet. No other thread-local variable is used where stacks are
   switched, and this is the only way to it: an assembly read, because a compiler may keep the address of a thread-local, or a
   value read through it, across a call that continues on another thread. */
static inline struct wi_thread *wi_self(void)
{
    struct wi_thread *t;
#if defined(__x86_64__)
    __asm__ volatile("movq wi_thread_current@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(t) : : "memory");
#elif defined(__aarch64__)
    struct wi_thread **address;
    __asm__ volatile("mrs %0, tpidr_el0\n\tadrp %1, :gottprel:wi_thread_current\n\t"
                     "ldr %1, [%1, :gottprel_lo12:wi_thread_current]\n\tldr %0, [%0, %1]"
                     : "=&r"(t), "=&r"(address)
                     :
                     : "memory");
#endif
    return t;
}

/* Makes the calling thread known, as a foreign one, and starts the runtime when needed. 0, -ENOMEM or -EAGAIN. */
int wi_thread_adopt(void);
/* A new runtime thread that waits for a worker; NULL and *error when there is no memory or no thread. */
struct wi_thread *wi_thread_create(int *error);
/* Starts an OS thread with the runtime's signal mask. 0, -ENOMEM, -EAGAIN. */
int wi_thread_start(pthread_t *handle, void *(*run)(void *), void *argument);
/* Joins the runtime threads that have ended. */
void wi_threads_reap(void);
/* Notes the signal mask of the thread that starts the runtime. */
void wi_threads_init(void);
/* Sleeps until wi_thread_wake, at most to deadline_ns: false on time-out. A wake that came first is not lost. */
bool wi_thread_sleep(struct wi_thread *t, int64_t deadline_ns);
void wi_thread_wake(struct wi_thread *t);
/* The same in the poller, from which it may return for nothing: who is ready then comes in *ready. */
bool wi_thread_poll(struct wi_thread *t, int64_t deadline_ns, struct wi_goroutine **ready);
/* At the end of the runtime: the calling thread and all other foreign ones must become known anew. */
void wi_threads_outdate(void);
/* Runs in the child of a fork: the thread becomes unknown again. */
void wi_thread_forget(void);
/* The signals that runtime threads leave unblocked are those of faults and profilers. The mask to give to a forked child. */
void wi_thread_unblock_signals(void);

#endif
