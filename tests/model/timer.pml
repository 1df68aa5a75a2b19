/* timer.pml — going idle, for times: the insert of a timer (src/timer/timeout.c) and wi_guard_timers (src/sched/idle.c)
   against the sleep of the one idle thread that sleeps to the earliest timer of all workers, or of the monitor
   (src/sched/idle.c, arm_locked, wi_wait_for_worker; src/sched/monitor.c, monitor_sleep).

   Each worker publishes its earliest timer by a plain store; then it loads, without a fence, until when somebody sleeps, and
   wakes him when that is too late. The sleeper publishes until when he will sleep, executes the heavy barrier, and looks at
   all workers' earliest timers again; when one is earlier he publishes that and goes round again. The monitor (MONITOR) does
   not go round: it publishes the earlier time, so that it is not woken in vain, and sleeps.

   Two workers insert and cancel timers as often as they like, then stay in user code for ever. Times are 1, 2 and NEVER;
   they do not pass: the sleeper only wakes early, which is what the protocol is about.
   Checked, where nothing moves any more: the sleeper does not sleep beyond the earliest timer.
   Left out: timers that come due, which thread is the sleeper, the lock around choosing it.

   BUG_NO_BARRIER  the sleeper does not execute the heavy barrier
   BUG_NO_LOOK     the sleeper does not look again
   BUG_LATE_STORE  the worker looks at the sleeper before it publishes its timer */
#define NT 3
#define STORERS 3
#define DEPTH 2
#define SLEEPER 2
#define EARLIEST(w) (w)
#define UNTIL 2
#define WAKE 3
#define NA 4
#define NEVER 3

#define EARLIEST_OF_ALL (mem[EARLIEST(0)] < mem[EARLIEST(1)] -> mem[EARLIEST(0)] : mem[EARLIEST(1)])
#define FINAL assert(asleep && limit <= EARLIEST_OF_ALL)
bit asleep;
byte limit; /* what the sleeping thread gave the kernel */
#include "tso.pml"

inline warn()
{
    until = LOAD(me, UNTIL);
    if
    :: time < until -> d_step { EMPTY(me); mem[WAKE] = 1; until = 0 }
    :: else -> until = 0
    fi
}

proctype worker(byte me)
{
    byte time, until;

    do
    :: break
    :: LOAD(me, EARLIEST(me)) != NEVER -> store(me, EARLIEST(me), NEVER)
    :: 1 < LOAD(me, EARLIEST(me)) || 2 < LOAD(me, EARLIEST(me)) ->
       if
       :: 1 < LOAD(me, EARLIEST(me)) -> time = 1
       :: 2 < LOAD(me, EARLIEST(me)) -> time = 2
       fi;
#ifdef BUG_LATE_STORE
       warn();
       store(me, EARLIEST(me), time);
#else
       store(me, EARLIEST(me), time);
       warn();
#endif
       time = 0
    od
}

inline look()
{
    next = LOAD(me, EARLIEST(0));
    d_step {
        if
        :: LOAD(me, EARLIEST(1)) < next -> next = LOAD(me, EARLIEST(1))
        :: else
        fi
    }
}

proctype sleeper(byte me)
{
    byte next, until;

awake:
    look();
    until = next;
again:
    store(me, UNTIL, until);
#ifndef BUG_NO_BARRIER
    barrier(me);
#endif
#ifndef BUG_NO_LOOK
    look();
    if
#ifdef MONITOR
    :: next < until -> until = next; store(me, UNTIL, until)
#else
    :: next < until -> until = next; goto again
#endif
    :: else
    fi;
#endif
    atomic { EMPTY(me); limit = until; asleep = 1 };
end:
    atomic { mem[WAKE]; mem[WAKE] = 0; asleep = 0; limit = 0 };
    store(me, UNTIL, 0);
    goto awake
}

init
{
    atomic {
        mem[EARLIEST(0)] = NEVER;
        mem[EARLIEST(1)] = NEVER;
        run worker(0);
        run worker(1);
        run sleeper(SLEEPER)
    }
}
