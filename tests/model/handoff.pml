/* handoff.pml — who owns a worker: src/sched/enter.h (wi_enter, wi_leave) and src/sched/claim.c (wi_take, swap, wi_enter_slow,
   wi_reattach).

   A thread has an epoch, odd while it is inside weft, written by plain stores. A worker has a claim word, changed by
   compare-and-swap: FREE, OWNED(T), ASKED(T, A). Two threads enter and leave for ever, each with one worker at the start; either
   may stop outside for good (blocked, or computing). The monitor asks for any worker and sets it free. A thread that is inside
   may act as an idle thief: it asks for the other thread's worker and, under the scheduler lock, swaps the two. A thread that
   enters and finds its worker gone looks again under that lock, then takes a free worker, else stays without one.

   Checked: whoever is inside with a worker reads what the last one inside wrote to the worker's data, so no two are inside with
   it at once and none sees old data; at the end every worker is free or owned by the thread whose pointer names it.
   Left out: idle lists and spare threads (a free worker is one whose claim is FREE), what makes an asker choose a worker,
   counters of detached threads. The epoch is its parity; the worker's data is one bit that each user flips.

   BUG_NO_BARRIER    the asker does not execute the heavy barrier
   BUG_NO_ASKER      ASKED(T) does not name the asker
   BUG_EARLY_EPOCH   leaving stores the epoch before the last store to the worker's data
   BUG_SWAP_LATE     the thief takes the scheduler lock only after the compare-and-swap that takes the worker (shows with a third
                     worker, free at the start: the other thread takes it in between and then is given one more)
   BUG_NO_RECHECK    the slow path does not read the thread's worker pointer again under the lock */
#define NT 3
#define STORERS 2
#define DEPTH 2
#define MONITOR 2
#define EPOCH(t) (t)
#define WORKER(t) (2 + (t)) /* the worker's number + 1, or 0 */
#define CLAIM(w) (4 + (w))
#define DATA(w) (4 + WORKERS + (w))
#define LOCK (4 + 2 * WORKERS)
#define NA (5 + 2 * WORKERS)

#define FREE 0
#define OWNED(t) (1 + (t))
#ifdef BUG_NO_ASKER
#define ASKED(t, a) (4 + 3 * (t))
#else
#define ASKED(t, a) (4 + 3 * (t) + (a))
#endif
#define IS_ASKED(c, t) ((c) >= 4 + 3 * (t) && (c) < 7 + 3 * (t))

#ifdef BUG_SWAP_LATE
#define WORKERS 3
#else
#define WORKERS 2
#endif
#define SETTLED(w) (mem[CLAIM(w)] == FREE || (mem[CLAIM(w)] == OWNED(0) && mem[WORKER(0)] == w + 1) || \
    (mem[CLAIM(w)] == OWNED(1) && mem[WORKER(1)] == w + 1))
#define FINAL assert(mem[LOCK] == 0 && SETTLED(0) && SETTLED(1) && SETTLED(WORKERS - 1))
#include "tso.pml"

bit last[WORKERS]; /* what a worker's data must read as */

/* Makes sure of worker w: got, or it is lost. */
inline claim_back()
{
    do
    :: d_step { c = LOAD(me, CLAIM(w)); got = (c == OWNED(me)) };
       if
       :: got -> break
       :: !got && !IS_ASKED(c, me) -> break
       :: !got && IS_ASKED(c, me) ->
          cas(me, CLAIM(w), c, OWNED(me), got);
          if
          :: got -> break
          :: else
          fi
       fi
    od
}

inline enter()
{
    store(me, EPOCH(me), 1);
    d_step { w = LOAD(me, WORKER(me)); got = 0 };
    if
    :: w == 0
    :: else -> w--; claim_back()
    fi;
    if
    :: got
    :: else ->
       lock(me, LOCK);
#ifndef BUG_NO_RECHECK
       w = LOAD(me, WORKER(me));
       if
       :: w == 0
       :: else -> w--; claim_back()
       fi;
#endif
       if
       :: got
       :: else ->
          cas(me, CLAIM(0), FREE, OWNED(me), got);
          if
          :: got -> w = 0
          :: else ->
             cas(me, CLAIM(1), FREE, OWNED(me), got);
             w = 1;
#if WORKERS == 3
             if
             :: got
             :: else ->
                cas(me, CLAIM(2), FREE, OWNED(me), got);
                w = 2
             fi
#endif
          fi;
          if
          :: got -> store(me, WORKER(me), w + 1)
          :: else -> store(me, WORKER(me), 0)
          fi
       fi;
       unlock(me, LOCK)
    fi
}

/* After the claim of worker v went from OWNED(t) to ASKED(t, me). got: v may be taken, if the claim is still the same. */
inline asked(v, t)
{
#ifndef BUG_NO_BARRIER
    barrier(me);
#endif
    if
    :: LOAD(me, EPOCH(t)) == 0
    :: LOAD(me, EPOCH(t)) == 1 ->
       cas(me, CLAIM(v), ASKED(t, me), OWNED(t), got);
       got = 0
    fi
}

/* Worker w for worker v of the other thread. */
inline swap(v, t)
{
    asked(v, t);
    if
    :: got ->
#ifdef BUG_SWAP_LATE
       cas(me, CLAIM(v), ASKED(t, me), OWNED(me), got);
       lock(me, LOCK);
#else
       lock(me, LOCK);
       cas(me, CLAIM(v), ASKED(t, me), OWNED(me), got);
#endif
       if
       :: got ->
          store(me, CLAIM(w), OWNED(t)); /* nobody else can change it for good: an asker sees this thread inside */
          store(me, WORKER(t), w + 1);
          store(me, WORKER(me), v + 1);
          w = v
       :: else
       fi;
       unlock(me, LOCK)
    :: else
    fi
}

#define USE d_step { sb[me].used < DEPTH; assert(d == last[w]); d = !d; last[w] = d; \
    sb[me].at[sb[me].used] = DATA(w); sb[me].is[sb[me].used] = d; sb[me].used++ }

proctype thread(byte me)
{
    byte w, c, todo;
    bit got, d;

    do
    :: break
    :: enter();
       if
       :: got ->
          if
          :: w < 2;
             cas(me, CLAIM(1 - w), OWNED(1 - me), ASKED(1 - me, me), got);
             if
             :: got -> swap(1 - w, 1 - me)
             :: else
             fi
          :: skip
          fi;
          d = LOAD(me, DATA(w));
#ifdef BUG_EARLY_EPOCH
          store(me, EPOCH(me), 0);
          USE
#else
          USE;
          store(me, EPOCH(me), 0)
#endif
       :: else ->
          store(me, EPOCH(me), 0)
       fi;
       d_step { w = 0; c = 0; got = 0; d = 0 }
    od
}

proctype monitor(byte me)
{
    byte w, t, todo;
    bit got;

    do
    :: break
    :: atomic {
           /* It reads a claim and asks the owner; a failing compare-and-swap in between would change nothing. */
           if
           :: mem[CLAIM(0)] == OWNED(0) -> w = 0; t = 0
           :: mem[CLAIM(0)] == OWNED(1) -> w = 0; t = 1
           :: mem[CLAIM(1)] == OWNED(0) -> w = 1; t = 0
           :: mem[CLAIM(1)] == OWNED(1) -> w = 1; t = 1
           fi;
           mem[CLAIM(w)] = ASKED(t, me);
           got = 1
       };
       asked(w, t);
       if
       :: got -> cas(me, CLAIM(w), ASKED(t, me), FREE, got)
       :: else
       fi;
       d_step { w = 0; t = 0; got = 0 }
    od
}

init
{
    atomic {
        mem[WORKER(0)] = 1;
        mem[WORKER(1)] = 2;
        mem[CLAIM(0)] = OWNED(0);
        mem[CLAIM(1)] = OWNED(1);
        run thread(0);
        run thread(1);
        run monitor(MONITOR)
    }
}
