/* lock.pml — the internal lock, src/os/lock.h: wi_lock, wi_unlock, wi_lock_slow, wi_unlock_slow.

   Unlocking is a plain store of 0 and then a plain load of sleepers; a locker that did not get the lock counts itself into
   sleepers, executes the heavy barrier and tries again before every sleep. Three threads lock and unlock as often as they
   like.

   Checked: at most one thread holds the lock and sees what the one before it wrote; no thread sleeps for ever while the lock
   is free; sleepers ends at 0.
   The kernel: futex_wait compares and goes to sleep in one step; futex_wake is a fence and wakes one sleeper, any. Spurious
   returns of futex_wait are left out (they could only hide a lost wake-up), and so is spinning before the first sleep.

   BUG_NO_BARRIER    the sleeper does not execute the heavy barrier
   BUG_EARLY_LEAVE   a woken sleeper leaves sleepers before it tries the lock again, and joins it once more
                     without a barrier */
#define NT 3
#define DEPTH 2
#define LOCKED 0
#define SLEEPERS 1
#define DATA 2
#define NA 3
#define FINAL assert(mem[LOCKED] == 0 && mem[SLEEPERS] == 0)
#include "tso.pml"

bit data;       /* what DATA must read as: the last value written by any holder */
bit asleep[NT]; /* the kernel's queue of the futex at LOCKED */

inline swap(got)
{
    d_step { EMPTY(me); got = (mem[LOCKED] == 0); mem[LOCKED] = 1 }
}

inline add_sleepers(delta)
{
    d_step { EMPTY(me); mem[SLEEPERS] = mem[SLEEPERS] + delta }
}

proctype thread(byte me)
{
    bit got;
    byte todo;

    do
    :: break
    :: swap(got);
       if
       :: got
       :: else ->
          add_sleepers(1);
#ifndef BUG_NO_BARRIER
          barrier(me);
#endif
          do
          :: swap(got);
             if
             :: got -> break
             :: else
             fi;
             atomic {
                 EMPTY(me);
                 if
                 :: mem[LOCKED] == 1 -> asleep[me] = 1
                 :: else
                 fi
             }
             asleep[me] == 0;
#ifdef BUG_EARLY_LEAVE
             add_sleepers(-1);
             swap(got);
             add_sleepers(1);
             if
             :: got -> break
             :: else
             fi
#endif
          od;
          add_sleepers(-1)
       fi;

       /* Holding the lock. */
       d_step {
           sb[me].used < DEPTH;
           assert(LOAD(me, DATA) == data);
           data = !data;
           sb[me].at[sb[me].used] = DATA;
           sb[me].is[sb[me].used] = data;
           sb[me].used++
       }

       store(me, LOCKED, 0);
       if
       :: LOAD(me, SLEEPERS) == 0
       :: LOAD(me, SLEEPERS) != 0 ->
          EMPTY(me);
          if
          :: asleep[0] -> asleep[0] = 0
          :: asleep[1] -> asleep[1] = 0
          :: asleep[2] -> asleep[2] = 0
          :: !asleep[0] && !asleep[1] && !asleep[2]
          fi
       fi
    od
}

init
{
    atomic { run thread(0); run thread(1); run thread(2) }
}
