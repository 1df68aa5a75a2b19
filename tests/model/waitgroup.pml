/* waitgroup.pml — WaitGroup: src/sync/waitgroup.c (weft_wg_done, weft_wg_wait and its commit step).

   The object is one word: count << 32 | number of the last waiter; each waiter's record names the one before it. wait: load
   the word, return when it is 0; else stop the goroutine, and the commit step, on the next stack, publishes it by a
   compare-and-swap, or resumes it at once when the word got 0. done: take one off the count; the one that takes the last
   with waiters there swaps the word for 0, its last access to the object, and makes the chain that it got ready. Between
   those two steps the count is 0 and the word is not: who comes then must join the chain, because to return means that it
   may free. A count of 2, two threads that call done, two goroutines that may call wait, each on a thread of its own. When a
   wait has returned its goroutine may free the object, provided that the other one is not between its call of wait and its
   last access, and does not call any more.

   Checked: no access after the free, plain stores on their way to memory included; every waiter is made ready exactly once,
   and only after its commit step; nobody waits for ever; the word ends at 0.
   Left out: add, the count's checks, waiters that are foreign threads, contexts (a wait is not ended by them).

   BUG_COUNT_ONLY         wait returns when the count is 0, whatever the waiters
   BUG_STORE_ZERO         done takes the chain that it saw when it took the last one off, and stores 0
   BUG_TOUCH_AFTER_READY  done clears the word after it made the waiters ready
   BUG_NEXT_AFTER_READY   done reads a waiter's link after it made that waiter ready */
#define NT 4
#define DEPTH 2
#define STATE 0       /* count * 4 + last waiter + 1, or 0 */
#define LINK(i) (1 + (i))
#define READY(i) (3 + (i))
#define NA 5
#define COUNT(word) ((word) / 4)
#define LAST(word) ((word) % 4)
#define USED_AGAIN 3  /* what else a record's link may hold once its waiter ran on */
#define FLUSHED(where) assert(where != STATE || !freed)
#define FINAL assert(freed || mem[STATE] == 0)

bit freed;
byte calls[2];  /* 0 before its call of wait, 1 until its last access in it, 2 after that */
bit waits[2];   /* published by the commit step, not ready yet */
#include "tso.pml"

#ifdef BUG_COUNT_ONLY
#define FINISHED(word) (COUNT(word) == 0)
#else
#define FINISHED(word) ((word) == 0)
#endif

#define TOUCH assert(!freed)
#define LOAD_STATE d_step { TOUCH; word = LOAD(me, STATE) }
#define CAS_STATE(new) d_step { EMPTY(me); TOUCH; ok = (mem[STATE] == word); if :: ok -> mem[STATE] = new :: else fi }

proctype waiter(byte me)
{
    byte word;
    bit ok;

    if
    :: calls[me] = 2; goto away
    :: atomic { !freed -> calls[me] = 1 }
    fi;

    LOAD_STATE;
    if
    :: FINISHED(word) -> goto over
    :: else
    fi;
    /* The goroutine has stopped; the next stack on its thread goes on. */
    do
    :: LOAD_STATE;
       if
       :: FINISHED(word) -> goto over
       :: else
       fi;
       store(me, LINK(me), LAST(word));
       atomic {
           CAS_STATE(COUNT(word) * 4 + me + 1);
           if
           :: ok -> waits[me] = 1; calls[me] = 2; break
           :: else
           fi
       }
    od;
    atomic { mem[READY(me)] == 1; mem[READY(me)] = 0 }
    store(me, LINK(me), USED_AGAIN);
over:
    calls[me] = 2;
    if
    :: atomic { calls[1 - me] == 2 && !freed -> freed = 1 }
    :: skip
    fi;
away:
    skip
}

inline ready(i)
{
    d_step { sb[me].used < DEPTH; assert(waits[i]); waits[i] = 0 };
    store(me, READY(i), 1)
}

proctype doer(byte me)
{
    byte word, chain, before;

    d_step { EMPTY(me); TOUCH; mem[STATE] = mem[STATE] - 4; word = mem[STATE] }
    if
    :: COUNT(word) != 0 || LAST(word) == 0 -> word = 0
#ifdef BUG_STORE_ZERO
    :: else -> TOUCH; store(me, STATE, 0); chain = LAST(word)
#elif defined(BUG_TOUCH_AFTER_READY)
    :: else -> chain = LAST(word)
#else
    :: else -> d_step { EMPTY(me); TOUCH; chain = LAST(mem[STATE]); mem[STATE] = 0 }
#endif
    fi;
    do
    :: chain == 0 -> break
    :: chain != 0 ->
#ifdef BUG_NEXT_AFTER_READY
       ready(chain - 1);
       before = LOAD(me, LINK(chain - 1));
       assert(before != USED_AGAIN);
#else
       before = LOAD(me, LINK(chain - 1));
       assert(before != USED_AGAIN);
       ready(chain - 1);
#endif
       chain = before
    od
#ifdef BUG_TOUCH_AFTER_READY
    ;
    if
    :: word != 0 -> TOUCH; store(me, STATE, 0)
    :: else
    fi
#endif
}

init
{
    atomic {
        mem[STATE] = 8;
        run waiter(0);
        run waiter(1);
        run doer(2);
        run doer(3)
    }
}
