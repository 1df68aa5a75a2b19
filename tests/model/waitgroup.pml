/* waitgroup.pml — WaitGroup: src/sync/waitgroup.c (add, release, weft_wg_wait, commit_wait).

   The object is one word: count << 32 | number of the last waiter; each waiter's record names the one before it. wait: load
   the word, return when the count is 0; else stop the goroutine, and the commit step, on the next stack, publishes it by a
   compare-and-swap, or resumes it at once when the count got 0. add: one compare-and-swap for every change; the one that
   brings the count to 0 makes the whole word 0 by it, which is its last access to the object and gives it the chain of
   waiters. It walks that, makes a list of them, and makes them ready one after the other. So a count of 0 means that the
   word is 0, and that nobody will touch the object any more: who comes then returns, and may free.

   A count of 2 and two threads that take one off each, the first of which may add one before and take that off again; two
   goroutines that may call wait, each on a thread of its own. When a wait has returned its goroutine may free the object,
   provided that the other one is not between its call of wait and its last access, and does not call any more.

   Checked: no access after the free, plain stores on their way to memory included; every waiter is made ready exactly once,
   and only after its commit step; nobody waits for ever; no link is read after its goroutine ran on; the word ends at 0.
   Left out: the count's checks, waiters that are foreign threads, use of the object again, contexts (a wait is not ended by
   them).

   BUG_TWO_STEPS          add changes the count, and the one that brought it to 0 then stores 0 to drop the waiters
   BUG_BLIND_SWAP         add stores the new word without comparing
   BUG_JOIN_AT_ZERO       the commit step does not look at the count
   BUG_TOUCH_AFTER_READY  the last add looks at the word once more after it made a waiter ready
   BUG_NEXT_AFTER_READY   the last add reads a goroutine's place in its list after it made that goroutine ready */
#define NT 4
#define DEPTH 2
#define STATE 0       /* count * 4 + last waiter + 1, or 0 */
#define LINK(i) (1 + (i))
#define NEXT(i) (3 + (i))
#define READY(i) (5 + (i))
#define NA 7
#define COUNT(word) ((word) / 4)
#define LAST(word) ((word) % 4)
#define USED_AGAIN 3  /* what else a link may hold once its goroutine ran on */
#define FLUSHED(where) assert(where != STATE || !freed)
#define FINAL assert(freed || mem[STATE] == 0)

bit freed;
byte calls[2];  /* 0 before its call of wait, 1 until its last access in it, 2 after that */
bit waits[2];   /* published by the commit step, not ready yet */
#include "tso.pml"

#define TOUCH assert(!freed)
#define LOAD_STATE d_step { TOUCH; word = LOAD(me, STATE) }
/* A failing one gives the word as it is. */
#define CAS_STATE(new) d_step { EMPTY(me); TOUCH; ok = (mem[STATE] == word); \
    if :: ok -> mem[STATE] = new :: else -> word = mem[STATE] fi }

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
    :: COUNT(word) == 0 -> goto over
    :: else
    fi;
    /* The goroutine has stopped; the next stack on its thread goes on. */
    LOAD_STATE;
    do
#ifdef BUG_JOIN_AT_ZERO
    ::
#else
    :: COUNT(word) == 0 -> goto over
    :: COUNT(word) != 0 ->
#endif
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
    store(me, NEXT(me), USED_AGAIN);
over:
    calls[me] = 2;
    if
    :: atomic { calls[1 - me] == 2 && !freed -> freed = 1 }
    :: skip
    fi;
away:
    skip
}

#define SUM(n) (COUNT(word + 4 * (n)) != 0 -> word + 4 * (n) : 0)

/* chain: the waiters to make ready. */
inline add(n)
{
#if defined(BUG_TWO_STEPS)
    d_step { EMPTY(me); TOUCH; mem[STATE] = mem[STATE] + 4 * (n); word = mem[STATE] };
    if
    :: COUNT(word) == 0 && LAST(word) != 0 -> TOUCH; store(me, STATE, 0); chain = LAST(word)
    :: else
    fi;
#else
    LOAD_STATE;
#if defined(BUG_BLIND_SWAP)
    d_step { EMPTY(me); TOUCH; mem[STATE] = SUM(n) };
#else
    do
    :: atomic {
           CAS_STATE(SUM(n));
           if
           :: ok -> break
           :: else
           fi
       }
    od;
#endif
    chain = (SUM(n) != 0 -> 0 : LAST(word));
#endif
    d_step { word = 0; ok = 0 }
}

inline ready(i)
{
    d_step { sb[me].used < DEPTH; assert(waits[i]); waits[i] = 0 };
    store(me, READY(i), 1)
}

inline release()
{
    do
    :: chain == 0 -> break
    :: chain != 0 ->
       d_step { other = LOAD(me, LINK(chain - 1)); assert(other != USED_AGAIN) };
       store(me, NEXT(chain - 1), list);
       d_step { list = chain; chain = other; other = 0 }
    od;
    do
    :: list == 0 -> break
    :: list != 0 ->
#ifdef BUG_NEXT_AFTER_READY
       ready(list - 1);
       d_step { other = LOAD(me, NEXT(list - 1)); assert(other != USED_AGAIN) };
#else
       d_step { other = LOAD(me, NEXT(list - 1)); assert(other != USED_AGAIN) };
       ready(list - 1);
#endif
       d_step { list = other; other = 0 };
#ifdef BUG_TOUCH_AFTER_READY
       TOUCH
#endif
    od
}

proctype doer(byte me)
{
    byte word, chain, list, other;
    bit ok;

    if
    :: me == 2 -> add(1); add(-1)
    :: skip
    fi;
    add(-1);
    release()
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
