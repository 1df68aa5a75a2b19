/* sem.pml — release against waiters that their context or time has ended: src/sync/sem.c over src/sync/queue.h.

     state = units used, WAITERS

   Without WAITERS units are taken and given by a compare-and-swap on the state; with it only the holder of the guard
   changes it. Whoever frees units, or leaves the queue, serves the first waiters as far as the units go (share_out):
   takes them off, claims them, stores the state, unlocks, completes them.

   A semaphore of two units; one is taken, and given back at any time or never. One goroutine wants both, two want one
   each. The third waits in exclusive mode: it holds the guard until it is at rest, and nobody else ends its wait; the
   others' contexts and time may end theirs before they queue (wi_wait_refused) or after. Who got units gives them back.
   Checked, beside wait.pml's: units are given to who is told so, and no more than there are; nobody meets the waiter of
   a call that has returned; at the end the semaphore has what was given back, and nobody waits unless the first in the
   queue wants more.

   BUG_NO_PASS_ON     who gave up leaves the queue and serves nobody
   BUG_ONE_LOOK       share_out stops at a waiter that somebody else has claimed, having taken it off
   BUG_CHARGE         share_out counts the units of such a waiter as taken
   BUG_STALE_MARK     share_out leaves WAITERS when it has emptied the queue
   BUG_REFUSED_MARK   a waiter that is refused leaves the WAITERS that it has set
   BUG_NO_MARK        who is about to queue sets no WAITERS
   BUG_FAST_GIVE      a release does not look at WAITERS
   BUG_EARLY_UNLOCK   an exclusive waiter unlocks before it is at rest
   BUG_NO_UNLINK      who gave up does not leave the queue */
#define N 3
#define SIZE 2
#define WANTS(i) ((i) == 0 -> 2 : 1)
#define IS_SHARED(i) ((i) != 2)
/* Who is first wants more than there is. */
#define LASTS (q.at[0] && WANTS(q.at[0] - 1) > SIZE - used && ended_by[q.at[0] - 1] == NOBODY)
#include "wait.pml"
queue q;
bit guard, waiters;
byte used = 1, held = 1, staying;

#define LOCK d_step { !guard; guard = 1 }
#define UNLOCK guard = 0

/* For the state without n units, which are the caller's. served: a bit each. */
inline share_out(n)
{
    left = used - (n);
    do
    :: !q.at[0] || WANTS(q.at[0] - 1) > SIZE - left -> break
    :: q.at[0] && WANTS(q.at[0] - 1) <= SIZE - left ->
       pop(q);
       if
       :: IS_SHARED(first) -> claim(first, OBJECT)
       :: else -> got = 1; ended_by[first] = OBJECT
       fi;
       if
       :: got ->
          left = left + WANTS(first);
          served = served | 1 << first
#ifdef BUG_ONE_LOOK
       :: else -> break
#endif
#ifdef BUG_CHARGE
       :: else -> left = left + WANTS(first)
#endif
#if !defined(BUG_ONE_LOOK) && !defined(BUG_CHARGE)
       :: else
#endif
       fi
    od;
    assert(left <= SIZE && waiters);
    d_step {
        used = left;
#ifndef BUG_STALE_MARK
        waiters = (q.at[0] != 0);
#endif
        left = 0;
        got = 0
    }
}

#define SERVE(i) :: served & 1 << i -> \
    served = served & ~(1 << i); \
    if \
    :: IS_SHARED(i) -> complete(i) \
    :: else -> d_step { make_ready(i) } \
    fi
inline complete_served()
{
    do
    :: !served -> first = 0; break
    SERVE(0)
    SERVE(1)
    SERVE(2)
    od
}

#ifdef BUG_FAST_GIVE
#define GIVES true
#else
#define GIVES !waiters
#endif
inline give(n)
{
    d_step {
        got = GIVES;
        if
        :: got -> used = used - (n)
        :: else
        fi
    }
}

inline release(n)
{
    give(n);
    if
    :: got
    :: else ->
       LOCK;
       give(n);
       if
       :: got
       :: else -> share_out(n)
       fi;
       UNLOCK;
       complete_served()
    fi
}

proctype goroutine(byte me)
{
    byte first, left, served;
    bit got, has, queued;

    /* take; then, under the guard, take_or_mark */
    d_step {
        has = !waiters && WANTS(me) <= SIZE - used;
        if
        :: has -> used = used + WANTS(me)
        :: else
        fi
    };
    if
    :: has
    :: else ->
       LOCK;
       d_step {
           has = !waiters && WANTS(me) <= SIZE - used;
           if
           :: has -> used = used + WANTS(me)
           :: else ->
#ifndef BUG_NO_MARK
              waiters = 1
#endif
           fi
       };
       if
       :: has -> UNLOCK
       :: else ->
          if
          :: IS_SHARED(me) ->
             open(me);
             push(q);
             queued = 1;
             UNLOCK
          :: IS_SHARED(me) ->
             /* refused */
#ifndef BUG_REFUSED_MARK
             if
             :: !q.at[0] -> waiters = 0
             :: else
             fi;
#endif
             UNLOCK
          :: !IS_SHARED(me) ->
             alive[me] = 1;
             push(q);
#ifdef BUG_EARLY_UNLOCK
             UNLOCK;
             resting[me] = 1;
#else
             d_step { resting[me] = 1; UNLOCK };
#endif
             if
             :: d_step { ready[me]; ready[me] = 0; resting[me] = 0; alive[me] = 0; has = 1 }
             :: timeout && LASTS -> goto stays
             fi
          fi
       fi
    fi;
    if
    :: queued ->
       park(me);
       if
       :: ended_by[me] == OBJECT -> d_step { alive[me] = 0; has = 1 }
       :: else ->
#ifndef BUG_NO_UNLINK
          LOCK;
          if
          :: HAS(q) ->
             remove(q);
#ifndef BUG_NO_PASS_ON
             share_out(0)
#endif
          :: else
          fi;
          UNLOCK;
          complete_served();
#endif
          alive[me] = 0
       fi
    :: else
    fi;
    if
    :: has ->
       d_step { held = held + WANTS(me); assert(held <= used) };
       held = held - WANTS(me);
       release(WANTS(me))
    :: else
    fi;
    goto end;
stays:
    staying++;
end:
    skip
}

/* Has a unit at the beginning; gives it back, or keeps it. */
proctype holder()
{
    byte first, left, served;
    bit got;

    if
    :: true
    :: held--; release(1)
    fi
}

init
{
    atomic {
        run goroutine(0);
        run goroutine(1);
        run goroutine(2);
        run holder();
        run ender(CONTEXT);
        run ender(TIME)
    };
    _nr_pr == 1;
    assert(used == held && !guard && waiters == (staying != 0) && !staying == !q.at[0])
}
