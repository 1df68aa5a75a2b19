/* select.pml — close against select: src/chan/select.c (wait_for_one), src/chan/chan.h (wi_waitq_claim), src/chan/chan.c
   (send, close), with a context and time that end waits as they like.

   Two goroutines select to receive from channel 0 or 1: both locked, they look whether channel 0 is closed, queue on one
   after the other, which they unlock, park, and then unlink what is left of them on the channels, but not on that of the
   winner, whose completer has. Senders try to send to either: under the channel's lock they take the first waiter off
   whose wait they can claim, and complete it after the unlock. One thread closes channel 0: under its lock it claims all
   waiters, and completes them after.
   Checked, beside wait.pml's: what was sent is received; who was told that the channel is closed, sent to, or that its
   context ended has been; nobody meets the waiter of a select that has returned; close leaves nobody waiting.

   BUG_EARLY_LOOK   the select looks whether the channel is closed before it has the locks
   BUG_LATE_CLOSED  close marks the channel closed after it has unlocked it
   BUG_NEXT_LATE    close reads the next of the waiters that it claimed after it completed one
   BUG_NO_CLAIM     close completes without claiming
   BUG_DROP         a sender gives up at a waiter that somebody else has claimed, as if it had sent
   BUG_NO_UNLINK    a select returns without unlinking its waiters */
#define N 2
#include "wait.pml"
queue q[2];
bit lock[2], closed;
byte winner[N]; /* channel + 1 */
bit message[N], ok[N];
byte then[N];   /* the next waiter that close claimed, + 1 */
byte sent, received;
#define SENT OBJECT
#define CLOSED (OBJECT + 1)

#define LOCK(c) d_step { !lock[c]; lock[c] = 1 }
#define UNLOCK(c) lock[c] = 0

proctype selection(byte me)
{
    bit is_closed;

#ifdef BUG_EARLY_LOOK
    is_closed = closed;
#endif
    LOCK(0);
    LOCK(1);
#ifndef BUG_EARLY_LOOK
    is_closed = closed;
#endif
    if
    :: is_closed ->
       UNLOCK(1);
       UNLOCK(0)
    :: else ->
       open(me);
       push(q[0]);
       UNLOCK(0);
       push(q[1]);
       UNLOCK(1);
       park(me);
       assert((ended_by[me] >= OBJECT) == (winner[me] != 0));
#ifndef BUG_NO_UNLINK
       if
       :: winner[me] != 1 -> LOCK(0); remove(q[0]); UNLOCK(0)
       :: else
       fi;
       if
       :: winner[me] != 2 -> LOCK(1); remove(q[1]); UNLOCK(1)
       :: else
       fi;
#endif
       d_step {
           assert(message[me] == (ended_by[me] == SENT) && ok[me] == message[me]);
           assert(ended_by[me] != CLOSED || closed);
           received = received + message[me];
           alive[me] = 0
       }
    fi
}

proctype sender(byte c)
{
    byte first;
    bit got;

    LOCK(c);
    do
    :: (c == 0 && closed) || !q[c].at[0] -> UNLOCK(c); break
    :: !(c == 0 && closed) && q[c].at[0] ->
       pop(q[c]);
       claim(first, SENT);
       if
       :: got ->
          d_step {
              message[first] = 1;
              ok[first] = 1;
              winner[first] = c + 1;
              sent++
          };
          UNLOCK(c);
          complete(first);
          break
#ifdef BUG_DROP
       :: else -> sent++; UNLOCK(c); break
#else
       :: else
#endif
       fi
    od
}

proctype closer()
{
    byte first, list, last;
    bit got;

    LOCK(0);
#ifndef BUG_LATE_CLOSED
    closed = 1;
#endif
    do
    :: !q[0].at[0] -> break
    :: q[0].at[0] ->
       pop(q[0]);
#ifdef BUG_NO_CLAIM
       got = 1;
       word[first] = CLAIMED | (word[first] & PARKED);
       ended_by[first] = CLOSED;
#else
       claim(first, CLOSED);
#endif
       if
       :: got ->
          d_step {
              winner[first] = 1;
              if
              :: list -> then[last] = first + 1
              :: else -> list = first + 1
              fi;
              last = first
          }
       :: else
       fi
    od;
    UNLOCK(0);
#ifdef BUG_LATE_CLOSED
    closed = 1;
#endif
    do
    :: !list -> break
    :: list ->
       first = list - 1;
#ifdef BUG_NEXT_LATE
       complete(first);
       assert(alive[first]);
       list = then[first]
#else
       assert(alive[first]);
       list = then[first];
       complete(first)
#endif
    od
}

init
{
    atomic {
        run selection(0);
        run selection(1);
        run sender(0);
        run sender(1);
        run closer();
        run ender(CONTEXT);
        run ender(TIME)
    };
    _nr_pr == 1;
    assert(sent == received && !q[0].at[0] && !q[1].at[0])
}
