/* idle.pml — going idle: src/sched/idle.c (wi_find_work, wi_wake_one, wi_alert_slow), src/sched/sched.h (wi_alert) and the sleep
   of src/sched/monitor.c. timer.pml has the same for times.

   Who makes work stores it, plainly, and then loads wi_sched.alert without a fence: nothing to do when it is 0 or somebody
   spins. Else he wakes one idle thread (as a spinner: the count of spinners goes 0 -> 1 before, so one at a time) and the
   sleeping monitor.
   Who found no work publishes himself as idle under the scheduler lock, stops being counted as a spinner, executes the heavy
   barrier, looks at all queues again, and only then sleeps. Seeing work, he takes himself off the list again; when a waker has
   popped him meanwhile he is the spinner that the waker counted. A spinner that finds work stops spinning and then wakes others
   as if he had made work, *without looking whether there is more*: those who made work while he was spinning left that to him,
   and their stores may not be visible yet. So does one who stopped spinning to go idle and found work in the second look. And
   a waker who finds the list empty counted a spinner that never was: he uncounts it before he gives back the lock, so that who
   joins the list next is not passed over because of it, and then wakes the monitor if that sleeps.

   A worker that makes two items of work and then stays in user code for ever; a foreign thread that injects one; two workers out of work, each of which may stay for ever in an item that it takes; the monitor.
   Checked, where nothing moves any more: no work is queued while an idle thread sleeps, nor while the monitor sleeps; nobody is
   counted as spinning; exactly the sleeping threads are counted and listed as idle.
   Left out: how a thief gets the work of a busy worker (handoff.pml; here one locked step), the inject queue's lock, the end of spinning by time,
   futexes (a sleeper wakes when its word changes in memory). The idle list and the count of it in `alert` change in one step
   under the lock, so here the count is the list, a bit for each.

   BUG_NO_BARRIER          the idle thread does not execute the heavy barrier
   BUG_NO_LOOK             it does not look again
   BUG_LATE_SPIN           it stops being counted as a spinner after it has looked again
   BUG_NO_CHAIN            a spinner that finds work wakes nobody
   BUG_CHAIN_LOOKS         a spinner that finds work wakes only when it sees more
   BUG_QUIET_RETURN        one who was a spinner and finds work in the second look wakes nobody
   BUG_UNDO_UNLOCKED       a waker that finds the list empty uncounts its spinner after it gave the lock back
   BUG_UNDO_NO_MONITOR     ... or then does not wake the monitor
   BUG_MONITOR_NO_BARRIER  the monitor goes to sleep without the heavy barrier
   BUG_MONITOR_NO_CHAIN    a spinner that finds work does not wake the monitor */
#define NT 5
#define DEPTH 2
#define PUSHER 0
#define FOREIGN 1
#define IDLER(i) (2 + (i))
#define MONITOR 4

#define ALERT 0
#define LOCK 1        /* wi_sched.lock */
#define TAIL 2        /* the pusher's queue */
#define HEAD 3
#define INJECT 4
#define WAKE(t) (3 + (t)) /* of IDLER(0) and IDLER(1) */
#define NA 7

#define IDLE(t) (1 << ((t) - 2))
#define IDLE_MASK 3
#define SPIN 4
#define ASLEEP 8 /* the monitor */
#define SPINS(alert) (((alert) & SPIN) != 0)

#define WORK (mem[TAIL] != mem[HEAD] || mem[INJECT])
#define FINAL assert((mem[ALERT] & IDLE_MASK) == sleepers && !SPINS(mem[ALERT]) && mem[LOCK] == 0 && \
    !(WORK && sleepers) && !(WORK && (mem[ALERT] & ASLEEP)))
byte sleepers; /* the idle threads that really sleep */
#include "tso.pml"

inline add_alert(delta)
{
    d_step { EMPTY(me); mem[ALERT] = mem[ALERT] + delta }
}

inline wake_monitor()
{
    d_step { EMPTY(me); mem[ALERT] = mem[ALERT] & ~ASLEEP }
}

inline wake_one()
{
    d_step {
        EMPTY(me);
        alert = mem[ALERT];
        if
        :: !SPINS(alert) && (alert & IDLE_MASK) -> mem[ALERT] = alert + SPIN
        :: else -> alert = 0
        fi
    };
    if
    :: alert == 0
    :: else ->
       atomic {
           lock(me, LOCK);
           alert = mem[ALERT] & IDLE_MASK;
           if
           :: alert & IDLE(IDLER(0)) -> add_alert(-IDLE(IDLER(0))); alert = IDLER(0)
           :: alert & IDLE(IDLER(1)) -> add_alert(-IDLE(IDLER(1))); alert = IDLER(1)
           :: else
           fi
       };
       if
       :: alert -> store(me, WAKE(alert), 1); unlock(me, LOCK)
       :: else ->
#ifdef BUG_UNDO_UNLOCKED
          unlock(me, LOCK);
          add_alert(-SPIN)
#else
          add_alert(-SPIN);
          unlock(me, LOCK)
#endif
#ifndef BUG_UNDO_NO_MONITOR
          ;
          if
          :: LOAD(me, ALERT) & ASLEEP -> wake_monitor()
          :: else
          fi
#endif
       fi
    fi
}

/* After work was queued. */
inline alert_others()
{
    alert = LOAD(me, ALERT);
    if
    :: alert == 0 || SPINS(alert)
    :: else ->
       if
       :: alert & ASLEEP -> wake_monitor()
       :: else
       fi;
       wake_one()
    fi;
    alert = 0
}

proctype pusher(byte me)
{
    byte alert;

    store(me, TAIL, 1);
    alert_others();
    store(me, TAIL, 2);
    alert_others()
}

proctype foreign(byte me)
{
    byte alert;

    store(me, INJECT, 1);
    alert_others()
}

#define SEES_LOCAL (LOAD(me, TAIL) != LOAD(me, HEAD))
#define SEES_INJECTED (LOAD(me, INJECT) != 0)

inline take()
{
    if
    :: d_step { SEES_LOCAL && EMPTY(me); mem[HEAD] = mem[HEAD] + 1; found = 1 }
    :: atomic { !SEES_LOCAL -> found = 0 };
       if
       :: d_step { SEES_INJECTED && EMPTY(me); mem[INJECT] = 0; found = 1 }
       :: !SEES_INJECTED
       fi
    fi
}

inline look()
{
    if
    :: atomic { SEES_LOCAL -> found = 1 }
    :: atomic { !SEES_LOCAL -> found = 0 };
       if
       :: atomic { SEES_INJECTED -> found = 1 }
       :: !SEES_INJECTED
       fi
    fi
}

proctype idler(byte me)
{
    byte alert;
    bit spin;  /* counted as a spinner */
    bit duty;  /* was a spinner since it last had work or slept */
    bit found;

out_of_work:
    atomic { EMPTY(me); spin = !SPINS(mem[ALERT]); duty = spin; mem[ALERT] = mem[ALERT] | SPIN }
search:
    take();
    if
    :: found ->
       if
       :: duty ->
          if
          :: spin -> add_alert(-SPIN); spin = 0
          :: else
          fi;
          duty = 0;
#ifdef BUG_CHAIN_LOOKS
          look();
          if
          :: found -> alert_others()
          :: else
          fi
#elif defined(BUG_MONITOR_NO_CHAIN)
          wake_one();
          alert = 0
#elif !defined(BUG_NO_CHAIN)
          alert_others()
#endif
       :: else
       fi;
       found = 0;
       if
       :: goto out_of_work
       :: goto busy
       fi
    :: else
    fi;

    atomic { lock(me, LOCK); add_alert(IDLE(me)) }
    unlock(me, LOCK);
#ifndef BUG_LATE_SPIN
    if
    :: spin -> add_alert(-SPIN); spin = 0
    :: else
    fi;
#endif
#ifndef BUG_NO_BARRIER
    barrier(me);
#endif
#ifndef BUG_NO_LOOK
    look();
#endif
#ifdef BUG_LATE_SPIN
    if
    :: spin -> add_alert(-SPIN); spin = 0
    :: else
    fi;
#endif
    if
    :: found ->
       atomic {
           lock(me, LOCK);
           if
           :: mem[ALERT] & IDLE(me) -> add_alert(-IDLE(me))
           :: else -> found = 0
           fi
       };
       unlock(me, LOCK);
       if
       :: found ->
#ifdef BUG_QUIET_RETURN
          duty = 0;
#endif
          goto search
       :: else
       fi
    :: else
    fi;
    d_step { EMPTY(me); sleepers = sleepers | IDLE(me); found = 0 };
end:
    atomic { mem[WAKE(me)] == 1; sleepers = sleepers & ~IDLE(me); mem[WAKE(me)] = 0; spin = 1; duty = 1 };
    goto search;
busy:
    skip
}

proctype monitor(byte me)
{
    bit found;

end_awake:
    !SEES_LOCAL && !SEES_INJECTED;
    d_step { EMPTY(me); mem[ALERT] = mem[ALERT] | ASLEEP };
#ifndef BUG_MONITOR_NO_BARRIER
    barrier(me);
#endif
    look();
    if
    :: found -> d_step { EMPTY(me); mem[ALERT] = mem[ALERT] & ~ASLEEP; found = 0 }; goto end_awake
    :: else
    fi;
end_asleep:
    (mem[ALERT] & ASLEEP) == 0;
    goto end_awake
}

init
{
    atomic {
        run pusher(PUSHER);
        run foreign(FOREIGN);
        run idler(IDLER(0));
        run idler(IDLER(1));
        run monitor(MONITOR)
    }
}
