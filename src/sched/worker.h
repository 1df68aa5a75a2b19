/* worker.h — a scheduling slot: run queue, timers, caches. weft_procs() of them exist for ever; each has at most one thread,
   named by its claim word. */
#ifndef WI_WORKER_H
#define WI_WORKER_H

#include "sched/runq.h"
#include "sched/thread.h"

/* The claim word: who has the worker. Only a compare-and-swap decides.
     0                    nobody: the worker is in the idle list             [wi_sched.lock] takes it out
     OWNED(T)             thread T
     ASKED(T, A)          thread T, but A wants it; T takes it back by entering weft first
   T alone changes nothing here but ASKED(T, *) -> OWNED(T). */
#define WI_CLAIM_FREE UINT64_C(0)
#define WI_CLAIM_NEVER UINT64_MAX /* no claim word is ever this */
#define WI_CLAIM_OWNED(t) (UINT64_C(1) << 62 | (t)->number)
#define WI_CLAIM_ASKED(t, asker) (UINT64_C(2) << 62 | (uint64_t)(asker) << 31 | (t)->number)
#define WI_CLAIM_THREAD(claim) ((uint32_t)(claim)&0x7fffffffU)
#define WI_CLAIM_IS_OWNED(claim) ((claim) >> 62 == 1)
#define WI_CLAIM_IS_ASKED(claim) ((claim) >> 62 == 2)
#define WI_ASKER_MONITOR 0 /* no thread has this number */

/* Bits of the attention word: what the thread should do when it next enters weft or picks. */
enum wi_attention {
    WI_ATTEND_SHARE = 1,    /* an idle worker wants work: give half away */
    WI_ATTEND_SLICE = 2,    /* the slice is over: others wait */
    WI_ATTEND_TIMER = 4,    /* a timer is due, or was added that somebody must watch */
    WI_ATTEND_BLOCKERS = 8, /* take one from wi_blockers */
    WI_ATTEND_STACKS = 16,  /* goroutines starve for stacks: give back those in the cache */
    WI_ATTEND_HOME = 32,    /* somebody came home to the thread: see home.c */
    WI_ATTEND_LEND = 64,    /* a thread without a worker has somebody home: give it this one */
};

#define WI_LAZY_SURE 32
#define WI_RECORDS_CACHED 256U
#define WI_STACKS_CACHED 64U
#define WI_DETACHED_MAX 10000U /* threads that run goroutines without a worker */

struct wi_worker {
    _Alignas(WI_CACHE_LINE) _Atomic uint64_t claim; /* [atomic] */
    _Atomic uint32_t attention;                     /* [atomic] enum wi_attention */
    _Atomic int32_t lazy;          /* [atomic] how often in a row one that made work then left the CPU to it */
    _Atomic int64_t timer_next_ns; /* [stores: its timers' lock; loads: all] INT64_MAX: none */
    _Atomic int64_t timers_came;   /* [stores: its timers' lock; loads: all] so far */
    uint32_t number;               /* [const] 0 .. weft_procs() - 1 */

    _Alignas(WI_CACHE_LINE) struct wi_runq runq; /* [owner] */
    uint32_t pushed_tick;                        /* [owner] the pick before which it last made work for idle cores */
    bool look;                                   /* [owner] it is time to look at inject, timers and the poller */
    uint32_t looked_tick;                        /* [owner] the pick at which it last did */
    bool home_next;                              /* [owner] whose turn it is: the thread's home, or the queue */
    uint32_t records_held;                       /* [owner] */
    uint32_t stacks_held;                        /* [owner] */
    struct wi_stack *stacks;                     /* [owner] free stacks of the default size */
    uint64_t next_id, last_id;                   /* [owner] ids to give out */
    _Atomic uint64_t started, ended;             /* [stores: owner] goroutines, here */
    _Atomic int64_t now_ns;                      /* [stores: owner, monitor] a recent time, for "waits since" */
    void *records[WI_RECORDS_CACHED];            /* [owner] free records; the last is the next to be used */

    _Alignas(WI_CACHE_LINE) struct wi_worker *next_idle; /* [wi_sched.lock] */
};

#endif
