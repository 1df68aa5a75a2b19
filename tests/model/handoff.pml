/* handoff.pml — who owns a worker: src/sched/enter.h (wi_enter, wi_leave) and src/sched/claim.c (ask, wi_take,
   wi_swap_workers, recover_worker, wi_reattach).

   A thread has an epoch, odd while it is inside weft, written by plain stores. A worker has a claim word: FREE, OWNED(T) or
   ASKED(T, A). Two threads enter and leave for ever, each with one worker at the start; either may stop outside for good
   (blocked, or computing). The monitor asks for any worker and, when it got it, sets it free. A thread that is inside may
   act as an idle thief: it asks for the other thread's worker and, when it got it, gives its own in exchange under the
   scheduler lock, unless the other has noticed. A thread that enters and finds its worker gone looks again under that lock,
   then takes a free worker, else stays without one until it enters again.

   Checked: whoever is inside with a worker reads what the last one inside wrote to the worker's data, so no two are inside
   with it at once and none sees old data; at the end every worker is free or owned by the thread whose pointer names it.
   Left out: what makes an asker choose a worker; the taker whom the monitor gives it to (its place is taken by the next
   thread that finds it free); the idle list (a free worker is one whose claim is FREE); counts. The epoch is its parity; the
   worker's data is one bit that each user flips.

   BUG_NO_BARRIER    the asker does not execute the heavy barrier
   BUG_NO_ASKER      ASKED(T) does not name the asker
   BUG_EARLY_EPOCH   leaving stores the epoch before the last store to the worker's data
   BUG_BLIND_SWAP    the thief does not look whether the other thread has noticed meanwhile, and got another worker: it then
                     is given one more (shows with -DWORKERS=3, the third being free at the start) */
#define NT 3
#define STORERS 2 /* the threads; not the monitor */
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

#ifndef WORKERS
#define WORKERS 2
#endif
#define SETTLED(w) (mem[CLAIM(w)] == FREE || (mem[CLAIM(w)] == OWNED(0) && mem[WORKER(0)] == w + 1) || \
    (mem[CLAIM(w)] == OWNED(1) && mem[WORKER(1)] == w + 1))
#define FINAL assert(mem[LOCK] == 0 && SETTLED(0) && SETTLED(1) && SETTLED(WORKERS - 1))
#include "tso.pml"

bit last[WORKERS]; /* what a worker's data must read as */

/* The inside of a critical section is one step where only one of its accesses is to a word that others may write
   meanwhile; its stores still leave the buffer one by one. */

/* recover_worker: got, with worker w, or it is lost. */
inline recover()
{
    got = 0;
    do
    :: w = LOAD(me, WORKER(me));
       if
       :: w == 0 -> break
       :: else -> w--
       fi;
       c = LOAD(me, CLAIM(w));
       if
       :: c == OWNED(me) -> c = 0; got = 1; break
       :: IS_ASKED(c, me) ->
          cas(me, CLAIM(w), c, OWNED(me), got);
          c = 0;
          if
          :: got -> break
          :: else /* somebody gave up asking, or took it, or another asks */
          fi
       :: else ->
          c = 0;
          atomic {
              lock(me, LOCK);
              if
              :: LOAD(me, WORKER(me)) == w + 1 && LOAD(me, CLAIM(w)) != OWNED(me) -> store(me, WORKER(me), 0)
              :: else
              fi
          };
          unlock(me, LOCK)
       fi
    od
}

#define REATTACH_TO(i) :: LOAD(me, CLAIM(i)) == FREE -> store(me, CLAIM(i), OWNED(me)); w = i; got = 1

inline reattach()
{
    atomic {
        lock(me, LOCK);
        if
        REATTACH_TO(0)
        REATTACH_TO(1)
#if WORKERS == 3
        REATTACH_TO(2)
#endif
        :: else
        fi;
        if
        :: got -> store(me, WORKER(me), w + 1)
        :: else
        fi
    };
    unlock(me, LOCK)
}

inline enter()
{
    store(me, EPOCH(me), 1);
    recover();
    if
    :: got
    :: else -> reattach()
    fi
}

/* ask, after the claim of worker v went from OWNED(t) to ASKED(t, me). got: v is OWNED(me). */
inline asked(v, t)
{
#ifndef BUG_NO_BARRIER
    barrier(me);
#endif
    if
    :: LOAD(me, EPOCH(t)) == 0 -> cas(me, CLAIM(v), ASKED(t, me), OWNED(me), got)
    :: LOAD(me, EPOCH(t)) == 1 -> got = 0
    fi;
    if
    :: got
    :: else ->
       cas(me, CLAIM(v), ASKED(t, me), OWNED(t), got);
       got = 0
    fi
}

#ifdef BUG_BLIND_SWAP
#define NOTICED(v, t) false
#else
#define NOTICED(v, t) (LOAD(me, WORKER(t)) != v + 1)
#endif

/* The second half of wi_swap_workers: v is ours, w goes to t. */
inline swap(v, t)
{
    atomic {
        lock(me, LOCK);
        store(me, WORKER(me), v + 1);
        if
        :: NOTICED(v, t) -> store(me, CLAIM(w), FREE)
        :: !NOTICED(v, t) -> store(me, CLAIM(w), OWNED(t)); store(me, WORKER(t), w + 1)
        fi
    };
    unlock(me, LOCK);
    w = v
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
          :: w < 2 ->
             cas(me, CLAIM(1 - w), OWNED(1 - me), ASKED(1 - me, me), got);
             if
             :: got -> asked(1 - w, 1 - me)
             :: else
             fi;
             if
             :: got -> swap(1 - w, 1 - me)
             :: else
             fi
          :: skip
          fi;
          got = 0;
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
       :: got ->
          /* Its stores need no buffer: before anything else that it does comes a locked instruction. */
          d_step {
              mem[LOCK] == 0;
              mem[LOCK] = 1;
              if
              :: mem[WORKER(t)] == w + 1 -> mem[WORKER(t)] = 0
              :: else
              fi
          };
          d_step { mem[CLAIM(w)] = FREE; mem[LOCK] = 0 }
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
