/* row.pml — a dense row of timers that ends: who leaves timers alone for a while must not leave the last one alone for ever.
   src/sched/rest.c (wi_count_timers), src/sched/idle.c (wi_guard_timers), src/sched/monitor.c (look_at, monitor_sleep, arm).

   How many timers came lately decides how the monitor treats those of a busy worker. SELDOM: it sleeps to the earliest. OFTEN:
   it looks each BUSY, and who lets a goroutine run wakes it only if its next look comes later than that after the timer. DENSE:
   besides, its look passes over what is due for less than PATIENCE. After a look that found nothing it may sleep for good. Who
   counts may change all that at any time, between a look and the sleep after it too.

   A worker that starts timers and sees to them, then computes for ever; no thread is idle. The monitor. Time passes in steps,
   in each of which what was stored reaches memory.
   Checked: where nothing moves any more, no timer is left that was due long ago; the monitor has seen to it (it has the worker
   taken).
   Left out: the wheel, the sentinel (timer.pml), queues (idle.pml).

   BUG_SEEN        what was due when the monitor looked counts as seen to
   BUG_NO_BARRIER  the monitor goes to sleep without the heavy barrier
   BUG_NO_LOOK     it does not look at the timers after that
   BUG_LONG_BUSY   where timers come often it sleeps for good all the same
   BUG_LATE_STORE  the worker looks until when the monitor sleeps before it publishes its timer */
#define NT 2
#define DEPTH 2
#define WORKER 0
#define MONITOR 1
#define EARLIEST 0
#define UNTIL 1
#define COME 2 /* SELDOM, OFTEN or DENSE */
#define WAKE 3
#define NA 4

#define SELDOM 0
#define OFTEN 1
#define DENSE 2
#define PATIENCE 1
#define BUSY 2
#define LOOK 2
#define BEGUN_BY 2 /* the last timer is begun by then ... */
#define PUT_BY 5   /* ... and there by then; the rest of the time is for what comes of it */
#define LAST 10
#define NEVER 15

#define FINAL assert(mem[EARLIEST] == NEVER)
byte now;
bit starts; /* the worker is about to start a timer */
#include "tso.pml"

active proctype time_passes()
{
end:
    do
    :: d_step { now < (starts -> PUT_BY : LAST) && EMPTY(WORKER) && EMPTY(MONITOR) -> now++ }
    od
}

inline count(t)
{
    if
    :: store(t, COME, SELDOM)
    :: store(t, COME, OFTEN)
    :: store(t, COME, DENSE)
    fi
}

inline guard()
{
    until = LOAD(me, UNTIL);
    if
    :: time + (LOAD(me, COME) >= OFTEN -> BUSY : 0) < until -> d_step { EMPTY(me); mem[WAKE] = 1 }
    :: else
    fi
}

proctype worker(byte me)
{
    byte time, until;

    do
    :: break
    :: LOAD(me, EARLIEST) <= now -> store(me, EARLIEST, NEVER); count(me)
    :: atomic { LOAD(me, EARLIEST) == NEVER && now <= BEGUN_BY -> starts = 1; time = now + 1 };
       if
       :: time++
       :: skip
       fi;
#ifdef BUG_LATE_STORE
       guard();
       store(me, EARLIEST, time);
#else
       store(me, EARLIEST, time);
       guard();
#endif
       d_step { starts = 0; time = 0; until = 0 }
    od
}

proctype monitor(byte me)
{
    byte looked, until, timer;

look:
    looked = now;
    d_step {
        if
        :: LOAD(me, EARLIEST) + (LOAD(me, COME) == DENSE -> PATIENCE : 0) <= looked -> mem[EARLIEST] = NEVER
        :: else
        fi
    };
    if
    :: until = looked + LOOK
    :: until = NEVER
    fi;
    count(me);
    if
    :: LOAD(me, COME) >= OFTEN ->
#ifndef BUG_LONG_BUSY
       until = (until < looked + BUSY -> until : looked + BUSY);
#endif
       store(me, UNTIL, until)
    :: else ->
       store(me, UNTIL, until);
#ifndef BUG_NO_BARRIER
       barrier(me);
#endif
#ifndef BUG_NO_LOOK
       timer = LOAD(me, EARLIEST);
#ifdef BUG_SEEN
       timer = (timer <= looked -> NEVER : timer);
#else
       timer = (timer <= looked -> looked + LOOK : timer);
#endif
       if
       :: timer < until -> until = timer; store(me, UNTIL, until)
       :: else
       fi
#endif
    fi;
    timer = 0;
end:
    d_step { EMPTY(me) && (mem[WAKE] || now >= until) -> mem[WAKE] = 0 };
    until = 0;
    looked = 0;
    goto look
}

init
{
    atomic {
        mem[EARLIEST] = NEVER;
        run worker(WORKER);
        run monitor(MONITOR)
    }
}
