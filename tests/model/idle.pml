/* idle.pml — going idle: src/sched/idle.c (wi_find_work, stop_spinning, wi_wait_for_worker, wi_wake_one, wi_alert_slow),
   src/sched/sched.h (wi_alert) and src/sched/monitor.c (sleep_for_good). timer.pml has the same for times.

   Who makes work stores it, plainly, and then loads wi_sched.alert without a fence. He wakes the monitor if that sleeps, and
   one idle thread unless somebody spins; the woken one is counted as a spinner before it runs, so one is woken at a time.
   Who found no work stops being counted as a spinner, publishes himself as idle, executes the heavy barrier, looks at all
   queues again unless somebody spins, and only then sleeps. Seeing work, he takes himself back, unless a waker has popped
   him meanwhile. A spinner that finds work stops spinning and then wakes the next idle thread *without looking whether there
   is more*: those who made work while he was spinning left that to him, and their stores may not be visible yet. One who
   takes himself back does the same: perhaps he was a spinner.

   A spinner that sees work of a worker which is not in user code for long does not take it but asks for it (ATTEND_SHARE).
   The worker, when it next picks, takes the request back, puts what it has into the inject queue, and then looks at alert
   again. So a request that is there when an idle thread looks again promises a later look at alert, which will see that
   thread: it may sleep although that worker has work.

   Who takes from the inject queue takes a fair share: it runs the first, and queues the others. Meanwhile nobody sees these;
   so after that it looks whether the monitor sleeps, as the first may compute for ever. An idle worker it wakes only as a
   spinner: the monitor would.

   A worker that makes two items of work, and from then on only shares when asked; a foreign thread that injects one; two
   workers out of work, each of which may stay for ever in an item that it takes. With -DWITH_MONITOR the monitor instead of
   one of these, and two items are injected.
   Checked, where nothing moves any more: no work is queued while an idle thread sleeps, nor while the monitor sleeps; nobody
   is counted as spinning; exactly the sleeping threads are counted and listed as idle.
   Left out: how a thief takes a busy worker (handoff.pml; here one locked step); the inject queue's lock and the fence after
   it; spinning by time; the one goroutine that a worker queues without waking anybody because it will most likely run it
   itself at once (wi_will_run_soon), and those that dense timers let run (wi_ready_list_here); threads that end because
   there are too many; futexes. What happens under wi_sched.lock is one step, because others can see only the change of
   `alert`; the idle list and the count of it in `alert` are one set of bits, idle threads and idle workers the same. The
   monitor's regular looks are left out on purpose: it mends what is stranded, but a millisecond later.

   BUG_NO_BARRIER          the idle thread does not execute the heavy barrier
   BUG_NO_LOOK             it does not look again
   BUG_LATE_SPIN           it stops being counted as a spinner after it has looked again
   BUG_NO_CHAIN            a spinner that finds work wakes nobody
   BUG_CHAIN_LOOKS         a spinner that finds work wakes the next only when it sees more
   BUG_QUIET_RETURN        one who takes himself back wakes nobody
   BUG_QUIET_SHARE         who shares does not look at alert afterwards
   BUG_EARLY_SHARE_LOOK    he looks at alert before he takes the request back
   BUG_MONITOR_NO_BARRIER  the monitor goes to sleep without the heavy barrier
   BUG_QUIET_TAKE        who has queued what it took does not look at alert */
#define NT 5
#ifdef WITH_MONITOR
#define STORERS 3
#define INJECTED 2
#else
#define STORERS 2
#define INJECTED 1
#endif
#define DEPTH 2
#define MAKER 0
#define FOREIGN 1
#define IDLER(i) (2 + (i))
#define MONITOR 4

#define ALERT 0
#define TAIL 1        /* the maker's queue: items made ... */
#define HEAD 2        /* ... and taken */
#define INJECT 3
#define ASKED 4       /* the maker shall share */
#define TAKEN 5       /* what the other worker took and queued */
#define NA 6

#define IDLE(t) (1 << ((t) - 2))
#define IDLE_MASK 3
#define SPIN 4
#define ASLEEP 8 /* the monitor */
#define SPINS(alert) (((alert) & SPIN) != 0)

#define WORK (mem[TAIL] != mem[HEAD] || mem[INJECT] || mem[TAKEN])
#define FINAL assert((mem[ALERT] & IDLE_MASK) == sleepers && !SPINS(mem[ALERT]) && \
    !(WORK && sleepers) && !(WORK && (mem[ALERT] & ASLEEP)))
byte sleepers; /* the idle threads that really sleep, a bit each */
byte woken;    /* those whose futex word was set */
#include "tso.pml"

inline wake_monitor()
{
    d_step { EMPTY(me); mem[ALERT] = mem[ALERT] & ~ASLEEP }
}

/* Under wi_sched.lock: an idle worker, and somebody to run it, who is a spinner from now on. */
inline wake_one()
{
    d_step {
        EMPTY(me);
        alert = mem[ALERT] & IDLE_MASK;
        if
        :: alert & IDLE(IDLER(0)) -> alert = IDLE(IDLER(0))
        :: else
        fi;
        if
        :: alert && !SPINS(mem[ALERT]) -> mem[ALERT] = mem[ALERT] - alert + SPIN; woken = woken | alert
        :: else
        fi
    }
}

/* After work was queued. */
inline alert_others()
{
    alert = LOAD(me, ALERT);
    if
    :: alert & ASLEEP -> wake_monitor()
    :: else
    fi;
    if
    :: (alert & IDLE_MASK) && !SPINS(alert) -> wake_one()
    :: else
    fi;
    alert = 0
}

/* The maker picks. */
inline share()
{
#ifdef BUG_EARLY_SHARE_LOOK
    alert = LOAD(me, ALERT);
    d_step { EMPTY(me); mem[ASKED] = 0 };
    if
    :: mem[HEAD] != LOAD(me, TAIL) ->
       d_step { EMPTY(me); mem[HEAD] = mem[TAIL] };
       store(me, INJECT, 1);
       if
       :: (alert & IDLE_MASK) && !SPINS(alert) -> wake_one()
       :: else
       fi
    :: else
    fi;
    alert = 0
#else
    d_step { EMPTY(me); mem[ASKED] = 0 };
    if
    :: d_step { EMPTY(me) && mem[HEAD] != mem[TAIL] -> mem[HEAD] = mem[TAIL] };
       store(me, INJECT, 1);
#ifndef BUG_QUIET_SHARE
       alert_others()
#endif
    :: d_step { EMPTY(me) && mem[HEAD] == mem[TAIL] }
    fi
#endif
}

proctype maker(byte me)
{
    byte alert;

    store(me, TAIL, 1);
    alert_others();
    if
    :: mem[ASKED] -> share()
    :: skip
    fi;
    store(me, TAIL, 2);
    alert_others();
end:
    do
    :: mem[ASKED] -> share()
    od
}

proctype foreign(byte me)
{
    byte alert;

    store(me, INJECT, INJECTED);
    alert_others()
}

#define SEES_LOCAL (LOAD(me, TAIL) != LOAD(me, HEAD))
#define SEES_INJECTED (LOAD(me, INJECT) != 0)

inline queue_taken()
{
    store(me, TAKEN, 1);
#ifndef BUG_QUIET_TAKE
    alert = LOAD(me, ALERT);
    if
    :: alert & ASLEEP -> wake_monitor()
    :: else
    fi;
    alert = 0
#endif
}

inline take()
{
    if
    :: LOAD(me, TAKEN) -> store(me, TAKEN, 0); found = 1 /* our own */
    :: d_step { !LOAD(me, TAKEN) && SEES_LOCAL; mem[HEAD] = mem[HEAD] + 1; found = 1 }
    :: d_step { !LOAD(me, TAKEN) && SEES_LOCAL && !SEES_INJECTED; mem[ASKED] = 1; found = 0 } /* and in vain */
    :: atomic { !LOAD(me, TAKEN) && !SEES_LOCAL -> found = 0 };
       if
       :: d_step { SEES_INJECTED; more = mem[INJECT] - 1; mem[INJECT] = 0; found = 1 };
          if
          :: more -> more = 0; queue_taken()
          :: else
          fi
       :: !SEES_INJECTED
       fi
    fi
}

#define SEES_UNASKED (SEES_LOCAL && !LOAD(me, ASKED))
inline look()
{
    if
    :: atomic { SEES_UNASKED -> found = 1 }
    :: atomic { !SEES_UNASKED -> found = 0 };
       if
       :: atomic { SEES_INJECTED -> found = 1 }
       :: !SEES_INJECTED
       fi
    fi
}

inline stop_counting()
{
    if
    :: spin -> d_step { EMPTY(me); mem[ALERT] = mem[ALERT] - SPIN; spin = 0 }
    :: else
    fi
}

inline stop_spinning()
{
    stop_counting();
#ifdef BUG_CHAIN_LOOKS
    look();
    if
    :: found -> wake_one(); alert = 0; found = 0
    :: else
    fi
#elif !defined(BUG_NO_CHAIN)
    wake_one();
    alert = 0
#endif
}

proctype idler(byte me)
{
    byte alert;
    bit spin;  /* counted as a spinner */
    bit found, more;

out_of_work:
    atomic { EMPTY(me); spin = !SPINS(mem[ALERT]); mem[ALERT] = mem[ALERT] | SPIN }
search:
    take();
    if
    :: found && spin ->
       found = 0;
       stop_spinning();
       goto work
    :: found && !spin -> found = 0; goto work
    :: else
    fi;

#ifndef BUG_LATE_SPIN
    stop_counting();
#endif
    d_step { EMPTY(me); mem[ALERT] = mem[ALERT] + IDLE(me) }; /* under wi_sched.lock, as is joining the list */
#ifndef BUG_NO_BARRIER
    barrier(me);
#endif
#ifndef BUG_NO_LOOK
    if
    :: SPINS(mem[ALERT]) /* that one will look */
    :: !SPINS(mem[ALERT]) -> look()
    fi;
#endif
#ifdef BUG_LATE_SPIN
    stop_counting();
#endif
    if
    :: found ->
       d_step {
           /* Under wi_sched.lock. */
           if
           :: mem[ALERT] & IDLE(me) -> mem[ALERT] = mem[ALERT] - IDLE(me)
           :: else -> found = 0
           fi
       };
       if
       :: found ->
          found = 0;
#ifndef BUG_QUIET_RETURN
          wake_one();
          alert = 0;
#endif
          goto search
       :: else
       fi
    :: else
    fi;
    sleepers = sleepers | IDLE(me);
end:
    atomic { woken & IDLE(me); sleepers = sleepers & ~IDLE(me); woken = woken & ~IDLE(me); spin = 1 };
    goto search;
work:
    if
    :: goto out_of_work
    :: skip
    fi
}

proctype monitor(byte me)
{
    bit found;

end_awake:
    !SEES_LOCAL && !SEES_INJECTED && !LOAD(me, TAKEN);
    d_step { mem[ALERT] = mem[ALERT] | ASLEEP };
#ifndef BUG_MONITOR_NO_BARRIER
    barrier(me);
#endif
    look();
    if
    :: found || LOAD(me, TAKEN) -> d_step { mem[ALERT] = mem[ALERT] & ~ASLEEP; found = 0 }; goto end_awake
    :: else
    fi;
end_asleep:
    (mem[ALERT] & ASLEEP) == 0;
    goto end_awake
}

init
{
    atomic {
        run maker(MAKER);
        run foreign(FOREIGN);
        run idler(IDLER(0));
#ifdef WITH_MONITOR
        run monitor(MONITOR)
#else
        run idler(IDLER(1))
#endif
    }
}
