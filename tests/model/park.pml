/* park.pml — park against completion: src/sched/waiter.h (wi_wait_open, _claim, _complete, _commit, _commit_unlock) and
   src/sched/park.c (stop, commit, wi_ready), with the channel's side as in src/chan.

   Shared wait: the goroutine opens its word under a new sequence number, links its waiter into two channels under their
   locks, unlocks and switches away; the commit step on the next stack sets PARKED. A sender on either channel, under the
   lock, takes the waiter off, claims the word (OPEN -> CLAIMED, whatever PARKED is), copies its message, unlocks and sets
   DONE; a timeout does the same without a channel. Of PARKED and DONE whoever comes second makes the goroutine ready. The
   goroutine then takes what is left of it off the channels, under their locks, before it returns.
   Exclusive wait: the goroutine keeps the lock of the one channel until the commit step gives it back; a sender needs no
   word.

   A goroutine that waits twice, each time in one mode or the other, on alternating threads; the next stack of either thread;
   a sender for each channel; timeouts of both waits, one of which may have been on its way when its wait ended.
   Checked: made ready once per wait, never while it still runs on its stack, and resumed after that; a wait ends by one
   completer and gets its message; nobody touches the waiter of a wait that has returned; a timeout of the first wait does
   not end the second; no wait lasts for ever.
   Left out: run queues (ready is one plain store), senders that wait, threads that wait on a futex.

   BUG_NO_SEQUENCE    the claim looks only at OPEN
   BUG_PLAIN_COMMIT   the commit step sets PARKED by a load and a store
   BUG_TOUCH_LATE     a sender looks at the waiter after it set DONE
   BUG_EARLY_UNLOCK   an exclusive wait gives the channel's lock back before the switch
   BUG_NO_UNLINK      the goroutine returns without taking its waiter off the other channel */
#define NT 5
#define STORERS 5
#define DEPTH 3
#define SENDER(c) (2 + (c))
#define TIMER 4

#define WORD 0
#define LOCK(c) (1 + (c))
#define LINK(c) (3 + (c)) /* the wait whose waiter is in channel c's queue, + EXCLUSIVE, or 0 */
#define MESSAGE 5
#define READY 6
#define NA 7

#define OPEN 1
#define CLAIMED 2
#define DONE 4
#define PARKED 8
#define TICKET(wait) (OPEN | (wait) << 4)
#define EXCLUSIVE 4

byte alive;     /* the wait whose waiter exists: 1, 2, or 0 */
bit on_stack;   /* the goroutine runs on its stack */
byte readied;   /* times in this wait */
byte ended_by;  /* who completed it: sender + 1, or TIMER */
byte armed;     /* timers, a bit for each wait */
byte leaving;   /* thread + 1 whose next stack has a commit step to do */
bit exclusive;  /* which one */
#include "tso.pml"

inline ready()
{
    d_step {
        sb[me].used < DEPTH;
        readied++;
        assert(readied == 1 && !on_stack);
        sb[me].at[sb[me].used] = READY;
        sb[me].is[sb[me].used] = 1;
        sb[me].used++
    }
}

inline set(bits)
{
    d_step { EMPTY(me); word = mem[WORD]; mem[WORD] = mem[WORD] | bits }
}

proctype goroutine()
{
    byte me, wait = 1; /* me: the thread that it runs on */

    do
    :: wait == 3 -> break
    :: else ->
       if
       :: exclusive = 0
       :: exclusive = 1
       fi;
       d_step { alive = wait; on_stack = 1; readied = 0; ended_by = 0 };
       store(me, MESSAGE, 0);
       if
       :: exclusive ->
          lock(me, LOCK(0));
          store(me, LINK(0), wait | EXCLUSIVE);
#ifdef BUG_EARLY_UNLOCK
          unlock(me, LOCK(0))
#endif
       :: else ->
          store(me, WORD, TICKET(wait));
          lock(me, LOCK(0));
          lock(me, LOCK(1));
          store(me, LINK(0), wait);
          store(me, LINK(1), wait);
          armed = armed | wait;
          unlock(me, LOCK(0));
          unlock(me, LOCK(1))
       fi;
       d_step { on_stack = 0; leaving = me + 1 };

       d_step { mem[READY]; mem[READY] = 0; me = 1 - me };
       if
       :: exclusive
       :: else ->
          armed = armed & ~wait; /* unless it is on its way */
#ifndef BUG_NO_UNLINK
          lock(me, LOCK(0));
          lock(me, LOCK(1));
          if
          :: LOAD(me, LINK(0)) -> store(me, LINK(0), 0)
          :: else
          fi;
          if
          :: LOAD(me, LINK(1)) -> store(me, LINK(1), 0)
          :: else
          fi;
          unlock(me, LOCK(0));
          unlock(me, LOCK(1))
#endif
       fi;
       d_step {
           assert(ended_by == TIMER || LOAD(me, MESSAGE) == ended_by);
           alive = 0
       };
       wait++
    od
}

/* The commit step of what was left on thread me, if it was left on that. */
proctype next_stack(byte me)
{
    byte word;
    bit unlocks;

end:
    do
    :: d_step { leaving == me + 1; leaving = 0; unlocks = exclusive };
       if
       :: unlocks ->
#ifndef BUG_EARLY_UNLOCK
          unlock(me, LOCK(0))
#endif
       :: else ->
#ifdef BUG_PLAIN_COMMIT
          word = LOAD(me, WORD);
          store(me, WORD, word | PARKED);
#else
          set(PARKED);
#endif
          if
          :: word & DONE -> ready()
          :: else
          fi;
          word = 0
       fi;
       unlocks = 0
    od
}

#ifdef BUG_NO_SEQUENCE
#define MAY_CLAIM(wait) (word & OPEN)
#else
#define MAY_CLAIM(wait) ((word & ~PARKED) == TICKET(wait))
#endif

/* got: the caller ends the wait. */
inline claim(wait, who)
{
    do
    :: word = LOAD(me, WORD);
       if
       :: !MAY_CLAIM(wait) -> got = 0; break
       :: MAY_CLAIM(wait) ->
          d_step {
              EMPTY(me);
              got = (mem[WORD] == word);
              if
              :: got ->
                 mem[WORD] = word - OPEN + CLAIMED;
                 assert(ended_by == 0 && alive == wait);
                 ended_by = who
              :: else
              fi
          };
          if
          :: got -> break
          :: else
          fi
       fi
    od;
    word = 0
}

inline complete()
{
    set(DONE);
    if
    :: word & PARKED -> ready()
    :: else
    fi
}

proctype sender(byte me)
{
    byte wait, word;
    bit got;

end:
    do
    :: d_step {
           /* A look at an empty queue changes nothing. */
           EMPTY(me) && mem[LOCK(me - 2)] == 0 && mem[LINK(me - 2)] != 0;
           mem[LOCK(me - 2)] = 1;
           wait = mem[LINK(me - 2)];
           assert(alive == (wait & 3))
       };
       store(me, LINK(me - 2), 0);
       if
       :: wait & EXCLUSIVE ->
          assert(ended_by == 0 && alive == (wait & 3));
          ended_by = me - 1;
          store(me, MESSAGE, me - 1);
          unlock(me, LOCK(me - 2));
          ready()
       :: else ->
          claim(wait, me - 1);
          if
          :: got ->
             assert(alive == wait);
             store(me, MESSAGE, me - 1);
             unlock(me, LOCK(me - 2));
             complete();
#ifdef BUG_TOUCH_LATE
             assert(alive == wait);
#endif
          :: else -> unlock(me, LOCK(me - 2))
          fi
       fi;
       d_step { wait = 0; word = 0; got = 0 }
    od
}

proctype timer(byte me)
{
    byte wait, word;
    bit got;

end:
    do
    :: d_step {
           armed;
           wait = (armed & 1 -> 1 : 2);
           armed = armed & ~wait
       };
       claim(wait, TIMER);
       if
       :: got -> complete()
       :: else
       fi;
       d_step { wait = 0; word = 0; got = 0 }
    od
}

init
{
    atomic {
        run goroutine();
        run next_stack(0);
        run next_stack(1);
        run sender(SENDER(0));
        run sender(SENDER(1));
        run timer(TIMER)
    }
}
