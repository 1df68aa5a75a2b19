/* cond.pml — signal and broadcast against waiters that their context or time has ended: src/sync/cond.c over
   src/sync/queue.h.

   A waiter opens its wait and queues under the Cond's guard, unlocks the mutex, and parks. A signal takes waiters off,
   under the guard, until it can claim one, and completes that after the unlock. A broadcast moves the whole queue to a
   head of its own and claims from there, one under each holding of the guard; waiters that something else has ended
   leave from there, too. That nobody waits is seen without the guard.

   Three waiters; one may be refused, others given up by a context and by time. When all have queued, either two signals
   come from two threads, or a broadcast, after which the Cond is gone.
   Checked, beside wait.pml's: a waiter lasts only when each signal has ended the wait of another, and never after a
   broadcast; nobody meets the waiter of a call that has returned; a broadcast touches no Cond that those whom it woke
   may have freed.
   Left out: the mutex.

   BUG_ONE_LOOK       a signal takes the first waiter off, and is done also when somebody else has claimed that
   BUG_NO_UNLINK      who gave up does not leave the queue
   BUG_NO_CLAIM       a signal completes the first waiter without claiming it
   BUG_LATE_QUEUE     a waiter unlocks the mutex before it queues
   BUG_WALK_HEAD      a broadcast claims from the Cond's own head, one under each holding of the guard */
#define N 3
#define LASTS (!broadcast && signalled == 2)
#include "wait.pml"
queue q, all;
bit guard, broadcast, gone;
byte begun; /* waiters that have unlocked the mutex */
byte signalled;

#define LOCK d_step { !guard; guard = 1 }
#define UNLOCK guard = 0

proctype waiter(byte me)
{
    if
    :: true
    :: me == 0 -> begun++; goto stays /* refused: cancel.pml */
    fi;
    open(me);
#ifdef BUG_LATE_QUEUE
    begun++;
#endif
    LOCK;
    push(q);
    UNLOCK;
#ifndef BUG_LATE_QUEUE
    begun++;
#endif
    park(me);
    if
    :: ended_by[me] == OBJECT
    :: else ->
#ifndef BUG_NO_UNLINK
       LOCK;
       remove(q);
       remove(all);
       UNLOCK
#endif
    fi;
    if
    :: broadcast && ended_by[me] == OBJECT -> gone = 1 /* it may free the Cond */
    :: else
    fi;
    alive[me] = 0;
stays:
    skip
}

inline claim_first(from)
{
    got = 0;
    do
    :: got || !from.at[0] -> break
    :: !got && from.at[0] ->
       pop(from);
#ifdef BUG_NO_CLAIM
       got = 1;
       word[first] = CLAIMED | (word[first] & PARKED);
       ended_by[first] = OBJECT;
#else
       claim(first, OBJECT);
#endif
#ifdef BUG_ONE_LOOK
       break
#endif
    od
}

proctype signal()
{
    byte first;
    bit got;

    begun == N;
    if
    :: !q.at[0]
    :: q.at[0] ->
       LOCK;
       claim_first(q);
       UNLOCK;
       if
       :: got -> signalled++; complete(first)
       :: else
       fi
    fi
}

proctype broadcaster()
{
    byte first;
    bit got;

    begun == N;
    broadcast = 1;
    if
    :: !q.at[0]
    :: q.at[0] ->
       LOCK;
#ifdef BUG_WALK_HEAD
#define FROM q
#define LOOK assert(!gone)
#else
#define FROM all
#define LOOK skip
       d_step {
           all.at[0] = q.at[0];
           all.at[1] = q.at[1];
           all.at[2] = q.at[2];
           q.at[0] = 0;
           q.at[1] = 0;
           q.at[2] = 0
       };
#endif
       do
       :: LOOK;
          claim_first(FROM);
          if
          :: FROM.at[0] ->
             UNLOCK;
             if
             :: got -> complete(first)
             :: else
             fi;
             LOCK
          :: else ->
             UNLOCK;
             if
             :: got -> complete(first)
             :: else
             fi;
             break
          fi
       od
    fi
}

init
{
    atomic {
        run waiter(0);
        run waiter(1);
        run waiter(2);
        run ender(CONTEXT);
        run ender(TIME);
        if
        :: run signal(); run signal()
        :: run broadcaster()
        fi
    };
    _nr_pr == 1;
    assert(!broadcast || !q.at[0])
}
