/* sit.pml — the thread that sits in the poller: src/sched/rest.c, src/sched/idle.c (wi_wait_for_worker, wi_poll,
   wi_guard_poller, wi_wake_one), src/sched/thread.c (wi_thread_sleep, wi_thread_poll, wi_thread_wake), src/io/poller.c
   (wi_poller_poll, wi_poller_interrupt) and src/sched/monitor.c (serve_poller, sleep_for_good).

   Of the idle threads one, the sitter, sleeps in epoll_wait, the others on their futexes. Who gives an idle thread a worker
   swaps SENT into its wake word, and when that was POLLS writes to an eventfd, which is watched edge-triggered: one thread
   is told, be it the sitter, or one that only looks, a worker or the monitor. Who only looks and meets that edge while
   somebody sits writes again. The place is the sitter's until it has come back and has read its wake word. Only who sees an
   idle worker sits down. While nobody sits the monitor does not sleep for good: it says that it will, executes the heavy
   barrier, and looks who sits; and who leaves the place and then runs goroutines, ends, or sleeps elsewhere, looks after it
   has left whether the monitor sleeps.

   Two idle threads, for whom there is one worker; each that was given it may run for ever, go idle again, or end. A worker
   that looks at the poller, twice gives a thread the idle worker, and then runs for ever; with -DWITH_MAKER it is the one
   that makes the poller, then waits as a thread does. The monitor. Something happens outside, up to twice, at any time.
   Checked: one thread at most is in epoll_wait; where nothing moves any more, no thread that was given a worker sleeps, and
   nothing that happened has not been looked at.
   Left out: queues and spinning (idle.pml), so what has come may be forgotten once somebody was told of it; times; what goes
   on under wi_sched.lock is one step.

   BUG_EARLY_FREE      who wakes the sitter frees its place, before it has come back: the next one takes the edge
   BUG_EDGE_EATEN      who only looks does not write again
   BUG_NO_GUARD        who leaves the place and runs a goroutine does not look whether the monitor sleeps
   BUG_END_UNGUARDED   nor does one that ends
   BUG_STAND_UNGUARDED nor one that does not sit down again because no worker is idle
   BUG_WAIT_UNGUARDED  nor one that waits for the poller as a thread
   BUG_EARLY_GUARD     he looks before he has left
   BUG_NO_BARRIER      the monitor goes to sleep without the heavy barrier
   BUG_NO_SITTER_LOOK  the monitor does not look who sits after it
   BUG_FUTEX_ONLY      who wakes a thread does not know POLLS */
#define NT 4
#define STORERS 3
#define DEPTH 2
#define IDLER(i) (i)
#define WORKER 2
#define MONITOR 3

#define SITTER 0 /* thread + 1 */
#define ALERT 1
#define POLLS 2  /* there is a poller */
#define NA 3

#define IDLE 1   /* the worker is */
#define ASLEEP 2 /* the monitor is, for good */
#define BIT(t) (1 << (t))

/* Wake words. */
#define NONE 0
#define SENT 1
#define SLEEPS 2
#define IN_POLL 3

#define FINAL assert(!outside && !given)
bit interrupt, outside; /* the kernel's list of what is ready */
bit added;              /* something is watched */
byte wake[2];
byte listed = 3;        /* idle threads, a bit each [lock] */
byte given;             /* threads that were given the worker and have not noticed, a bit each */
bit sent;               /* to the monitor */
byte in_wait;
#include "tso.pml"

#define READY (interrupt || outside)
#ifdef BUG_EARLY_FREE
#define ALONE skip /* what comes of it is to be found */
#else
#define ALONE assert(in_wait == 1)
#endif

inline epoll_wait()
{
    met = interrupt;
    came = outside;
    interrupt = 0;
    outside = 0
}

inline wake_monitor()
{
    d_step { EMPTY(me); mem[ALERT] = mem[ALERT] & ~ASLEEP };
    sent = 1
}

inline guard_poller()
{
    if
    :: !LOAD(me, POLLS) || LOAD(me, SITTER)
    :: LOAD(me, POLLS) && !LOAD(me, SITTER) ->
       if
       :: LOAD(me, ALERT) & ASLEEP -> wake_monitor()
       :: !(LOAD(me, ALERT) & ASLEEP)
       fi
    fi
}

/* A look that does not wait. */
inline poll()
{
    atomic { READY && EMPTY(me); epoll_wait(); came = 0 };
#ifndef BUG_EDGE_EATEN
    if
    :: met && LOAD(me, SITTER) -> EMPTY(me); interrupt = 1
    :: !met || !LOAD(me, SITTER)
    fi;
#endif
    met = 0
}

/* The idle worker is given to a listed thread, any: which one is asked for last is no part of the protocol. */
inline wake_one()
{
    atomic {
        EMPTY(me) && listed && (mem[ALERT] & IDLE);
        mem[ALERT] = mem[ALERT] & ~IDLE;
        if
        :: listed & BIT(0)
        :: listed & BIT(1) -> other = 1
        fi;
        listed = listed & ~BIT(other);
        given = given | BIT(other)
    };
    d_step { EMPTY(me); before = wake[other]; wake[other] = SENT };
    if
#ifndef BUG_FUTEX_ONLY
    :: before == IN_POLL ->
#ifdef BUG_EARLY_FREE
       d_step {
           if
           :: mem[SITTER] == other + 1 -> mem[SITTER] = 0
           :: else
           fi
       };
#endif
       interrupt = 1
#endif
    :: else /* SLEEPS: the futex is woken by the value */
    fi;
    d_step { before = 0; other = 0 }
}

proctype idler(byte me)
{
    bit ok, met, came;

rest:
    if
    :: LOAD(me, POLLS) ->
       if
       :: atomic { LOAD(me, ALERT) & IDLE -> cas(me, SITTER, 0, me + 1, ok) } /* as if it were taken right after */
       :: !(LOAD(me, ALERT) & IDLE)
       fi;
#ifndef BUG_STAND_UNGUARDED
       if
       :: ok
       :: else -> guard_poller()
       fi
#endif
    :: !LOAD(me, POLLS)
    fi;
    if
    :: ok ->
       ok = 0;
       atomic {
           EMPTY(me);
           if
           :: wake[me] == NONE -> wake[me] = IN_POLL; ok = 1; in_wait++; ALONE
           :: else
           fi
       };
       if
       :: ok ->
          ok = 0;
end_sits:
          atomic { READY && EMPTY(me); epoll_wait(); met = 0; in_wait-- }
       :: else
       fi;
#ifdef BUG_EARLY_GUARD
       guard_poller();
#endif
       d_step { EMPTY(me); ok = (wake[me] == SENT); wake[me] = NONE };
#ifdef BUG_EARLY_FREE
       if
       :: LOAD(me, SITTER) == me + 1 -> store(me, SITTER, 0)
       :: else
       fi
#else
       store(me, SITTER, 0)
#endif
    :: else ->
       d_step {
           EMPTY(me);
           if
           :: wake[me] == NONE -> wake[me] = SLEEPS
           :: else
           fi
       };
end_sleeps:
       d_step { wake[me] == SENT; wake[me] = NONE; ok = 1 }
    fi;
    if
    :: ok -> d_step { ok = 0; came = 0; given = given & ~BIT(me) }
    :: else ->
       if
       :: came ->
          came = 0;
          d_step {
              EMPTY(me);
              if
              :: (listed & BIT(me)) && (mem[ALERT] & IDLE) ->
                 listed = listed & ~BIT(me);
                 mem[ALERT] = mem[ALERT] & ~IDLE;
                 ok = 1
              :: else
              fi
          };
          if
          :: ok -> ok = 0
          :: else -> goto rest
          fi
       :: else -> goto rest
       fi
    fi;

    /* With a worker. */
    if
    :: true ->
#if !defined(BUG_NO_GUARD) && !defined(BUG_EARLY_GUARD)
       guard_poller();
#endif
       if
       :: goto runs
       :: true
       fi
    :: true /* nothing is found */
    fi;
    d_step { EMPTY(me); mem[ALERT] = mem[ALERT] | IDLE };
    if
    :: true
    :: /* Too many threads idle. */
#ifndef BUG_END_UNGUARDED
       guard_poller();
#endif
       goto runs
    fi;
    listed = listed | BIT(me);
    goto rest;
runs:
    skip
}

proctype worker(byte me)
{
    byte before, other, todo = 2;
    bit met, came;

#ifdef WITH_MAKER
    store(me, POLLS, 1);
    EMPTY(me);
    added = 1;
#ifndef BUG_WAIT_UNGUARDED
    guard_poller()
#endif
#else
    do
    :: todo && LOAD(me, ALERT) & IDLE && listed ->
       if
       :: LOAD(me, ALERT) & ASLEEP -> wake_monitor()
       :: !(LOAD(me, ALERT) & ASLEEP)
       :: true /* it has looked before */
       fi;
       if
       :: wake_one(); todo--
       :: !listed || !(mem[ALERT] & IDLE)
       fi
    :: poll()
    :: true -> break
    od
#endif
}

proctype monitor(byte me)
{
    byte before, other;
    bit met, came;

end_awake:
    do
    :: LOAD(me, POLLS) && !LOAD(me, SITTER) ->
end_serves:
       if
       :: poll()
       :: wake_one()
       :: LOAD(me, SITTER)
       fi
    :: !LOAD(me, POLLS) || LOAD(me, SITTER) ->
       d_step { EMPTY(me); mem[ALERT] = mem[ALERT] | ASLEEP };
#ifndef BUG_NO_BARRIER
       barrier(me);
#endif
       if
#ifdef BUG_NO_SITTER_LOOK
       :: true ->
#else
       :: !LOAD(me, POLLS) || LOAD(me, SITTER) ->
#endif
end_asleep:
          d_step { sent; sent = 0 }
       :: LOAD(me, POLLS) && !LOAD(me, SITTER)
       fi;
       d_step { EMPTY(me); mem[ALERT] = mem[ALERT] & ~ASLEEP }
    od
}

proctype world()
{
end:
    atomic { added && !outside; outside = 1 };
    atomic { added && !outside; outside = 1 }
}

init
{
    atomic {
#ifndef WITH_MAKER
        mem[POLLS] = 1;
        added = 1;
#endif
        mem[ALERT] = IDLE;
        run idler(IDLER(0));
        run idler(IDLER(1));
        run worker(WORKER);
        run monitor(MONITOR);
        run world()
    }
}
