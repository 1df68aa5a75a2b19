/* cancel.pml — a context that ends against the waits of a goroutine in it: src/sched/cancel.h (wi_wait_begin), cancel.c
   (wi_cancel_enter, _leave, _begin, _sweep, claim, complete, wi_wait_refused), src/sched/waiter.h, and a waiter as
   wait_cancellably in src/chan/chan.c, with a timeout (src/timer/timeout.c, wi_wait_shared, wi_timers_run).

     waiter                                 canceller
       open the wait (CANCELLABLE)            store ended; done if, under the list's lock, there is no member
       (light barrier)                        heavy barrier
       load ended: give up                    under the list's lock, for the member: load the word, load run.member,
       queue, park                              claim by the word;  unlock;  complete

   A goroutine is a member of context A and waits three times: in A, in A but shielded or in a wait that no context ends,
   or in B, which it enters for that wait and leaves after it. Whether a wait has a timeout is open. One thread ends A,
   B, both in either order, or none; a sender completes waits when it likes, or never.
   Checked: an end by a context hits a wait of that context that is open, not shielded and CANCELLABLE; whoever claimed a
   wait completes that and no later one; made ready once, at rest; who is told that its context ended sees the reason;
   the canceller looks at no member that has left; at the end no wait lasts in a context that ended, and none that
   anybody claimed.
   Left out: the switch (park.pml: here the stack is at rest when PARKED is set), more members and lists (walk.pml), more
   waiters in the queue (sem.pml). The channel's lock section is one step: only what is in it is changed by it.

   BUG_NO_BARRIER       the canceller executes no heavy barrier
   BUG_EARLY_LOAD       the waiter loads ended before it opens: what the light barrier keeps the compiler from
   BUG_LATE_ENDED       the canceller stores ended after it has ended the waits
   BUG_EMPTY_FIRST      the canceller looks whether there is a member before it stores ended
   BUG_REFUSED_OPEN     a refused waiter leaves its wait open
   BUG_REFUSED_GOES_ON  a refused waiter that the canceller had claimed goes on without the commit step
   BUG_NO_SEQUENCE      the canceller claims any open cancellable wait, not that whose word it loaded
   BUG_NO_MEMBER        the canceller does not look at run.member
   BUG_MEMBER_FIRST     the canceller loads run.member before the word
   BUG_ANY_WAIT         the canceller does not look at CANCELLABLE
   BUG_EARLY_UNLOCK     the canceller unlocks its list before it looks at the member
   BUG_LEAVE_UNLOCKED   the goroutine leaves the list without the lock
   BUG_PLAIN_DONE       the canceller sets DONE by a load and a store
   BUG_NO_UNLINK        a waiter that a context or time ended leaves its struct in the queue */
#define NT 2
#define DEPTH 3
#define CELL short
#define WAITER 0
#define CANCELLER 1

#define WORD 0
#define MEMBER 1
#define ENDED(c) (2 + (c))
#define NA 4
#define WAITS 3

#define OPEN 1
#define CLAIMED 2
#define DONE 4
#define PARKED 8
#define CANCELLABLE 16
#define BY_TIME 32
#define BY_CONTEXT 64
#define TICKET(wait, cancellable) (OPEN | (wait) << 8 | (cancellable))
#define WAIT_OF(w) ((w) >> 8)

#define A 0
#define B 1
#define MEMBER_OF(c) (1 + (c)) /* what run.member may be: the member of A, of B ... */
#define SHIELD 3               /* ... or one of A, shielded */
#define NONE 2                 /* no context ends this wait */
#define SENDER 1
#define TIMER 2
#define BY_END(c) (3 + (c))
#define ITSELF 5

bit locked[2];    /* the lists' locks */
bit listed[2];    /* the goroutine's member is in the list ... */
bit exists[2];    /* ... and in memory that is still its own */
byte alive;       /* the wait that goes on, or 0 */
byte context = NONE;
byte ended_by;
byte readied;
bit resting, ready, finished;
byte link;        /* the wait whose struct is in the channel's queue, or 0 */
byte armed;       /* the wait whose timer runs, or 0 */

/* Where nothing moves any more. */
#define LASTS (resting && (mem[WORD] & OPEN) && (context == NONE || mem[ENDED(context)] == 0))
#define FINAL assert(finished || LASTS)
#include "tso.pml"

/* ---- who ends waits ---- */

inline claimed(wait, who)
{
    assert(alive == wait && ended_by == 0);
    ended_by = who
}

inline make_ready()
{
    if
    :: old & PARKED ->
       d_step {
           assert(resting && readied == 0);
           readied++;
           ready = 1
       }
    :: else
    fi
}

/* Whoever does this has just claimed, so its buffer is empty. old: the word before. */
inline complete(wait)
{
    d_step {
        old = mem[WORD];
        assert(WAIT_OF(old) == wait && (old & CLAIMED) && !(old & DONE) && alive == wait);
        mem[WORD] = old | DONE
    };
    make_ready()
}

/* A sender, under the channel's lock: takes the struct off the queue, claims; then unlocks and completes. It stores nothing
   plainly that matters here. */
proctype sender()
{
    byte wait;
    short old;
    bit got;

    do
    :: break
    :: d_step {
           link;
           wait = link;
           assert(alive == wait);
           link = 0;
           got = ((mem[WORD] & ~PARKED) == TICKET(wait, mem[WORD] & CANCELLABLE));
           if
           :: got ->
              mem[WORD] = mem[WORD] - OPEN + CLAIMED;
              claimed(wait, SENDER)
           :: else
           fi
       };
       if
       :: got -> complete(wait)
       :: else
       fi;
       d_step { wait = 0; old = 0; got = 0 }
    od
}

/* The same for time. Taken off the wheel, it may be late. */
proctype timer()
{
    byte wait;
    short old;
    bit got;

end:
    do
    :: d_step { armed; wait = armed; armed = 0 };
       d_step {
           got = ((mem[WORD] & ~PARKED) == TICKET(wait, mem[WORD] & CANCELLABLE));
           if
           :: got ->
              mem[WORD] = mem[WORD] - OPEN + CLAIMED + BY_TIME;
              claimed(wait, TIMER)
           :: else
           fi
       };
       if
       :: got -> complete(wait)
       :: else
       fi;
       d_step { wait = 0; old = 0; got = 0 }
    od
}

#ifdef BUG_ANY_WAIT
#define MAY_END(w) ((w) & OPEN)
#else
#define MAY_END(w) (((w) & OPEN) && ((w) & CANCELLABLE))
#endif
#ifdef BUG_NO_SEQUENCE
#define MAY_CLAIM(w) MAY_END(mem[WORD])
#else
#define MAY_CLAIM(w) ((mem[WORD] & ~PARKED) == ((w) & ~PARKED))
#endif

/* claim in cancel.c, of the member in c's list. A failing compare-and-swap because of PARKED is repeated at once: that is one
   step here. */
inline claim(c)
{
    assert(exists[c]);
#ifdef BUG_MEMBER_FIRST
    member = LOAD(me, MEMBER);
    word = LOAD(me, WORD);
#else
    word = LOAD(me, WORD);
    member = LOAD(me, MEMBER);
#endif
    if
#ifdef BUG_NO_MEMBER
    :: MAY_END(word) ->
#else
    :: MAY_END(word) && member == MEMBER_OF(c) ->
#endif
       d_step {
           EMPTY(me);
           got = MAY_CLAIM(word);
           if
           :: got ->
              word = mem[WORD];
              mem[WORD] = word - OPEN + CLAIMED + BY_CONTEXT;
              claimed(WAIT_OF(word), BY_END(c));
              assert(context == c && (word & CANCELLABLE))
           :: else
           fi
       }
    :: else
    fi
}

/* wi_cancel_begin. */
inline begin_end(c)
{
#ifdef BUG_EMPTY_FIRST
    d_step { EMPTY(me) && !locked[c]; got = listed[c] };
    store(me, ENDED(c), 1)
#else
#ifndef BUG_LATE_ENDED
    store(me, ENDED(c), 1);
#endif
    d_step { EMPTY(me) && !locked[c]; got = listed[c] }
#endif
}

/* wi_cancel_sweep. */
inline sweep(c)
{
    d_step { EMPTY(me) && !locked[c]; locked[c] = 1; got = 0 };
    if
    :: listed[c] ->
#ifdef BUG_EARLY_UNLOCK
       locked[c] = 0;
#endif
       claim(c)
    :: else
    fi;
    locked[c] = 0;
    if
    :: got ->
#ifdef BUG_PLAIN_DONE
       old = LOAD(me, WORD);
       store(me, WORD, old | DONE);
       make_ready()
#else
       complete(WAIT_OF(word))
#endif
    :: else
    fi
}

inline end_context(c)
{
    begin_end(c);
    if
    :: got ->
#ifndef BUG_NO_BARRIER
       barrier(me);
#endif
       sweep(c)
    :: else
    fi;
#ifdef BUG_LATE_ENDED
    store(me, ENDED(c), 1);
#endif
    d_step { word = 0; old = 0; member = 0; got = 0 }
}

proctype canceller(byte me)
{
    byte member;
    short word, old;
    bit got, done[2];

    do
    :: break
    :: !done[A] -> done[A] = 1; end_context(A)
    :: !done[B] -> done[B] = 1; end_context(B)
    od
}

/* ---- the waiter ---- */

/* Who finds the context ended need not be in its list. */
inline enter(c)
{
    exists[c] = 1;
    if
    :: LOAD(me, ENDED(c))
    :: else -> d_step { EMPTY(me) && !locked[c]; listed[c] = !mem[ENDED(c)] }
    fi;
    store(me, MEMBER, MEMBER_OF(c))
}

inline leave(c, outer)
{
    store(me, MEMBER, outer);
#ifdef BUG_LEAVE_UNLOCKED
    d_step { listed[c] = 0; exists[c] = 0 }
#else
    if
    :: !listed[c] -> exists[c] = 0
    :: listed[c] -> d_step { EMPTY(me) && !locked[c]; listed[c] = 0; exists[c] = 0 }
    fi
#endif
}

inline begin()
{
#ifdef BUG_EARLY_LOAD
    if
    :: cancellable -> ended = LOAD(me, ENDED(context))
    :: else
    fi;
    store(me, WORD, TICKET(wait, cancellable))
#else
    store(me, WORD, TICKET(wait, cancellable));
    if
    :: cancellable -> ended = LOAD(me, ENDED(context))
    :: else
    fi
#endif
}

/* wi_wait_refused. parks: the canceller has claimed it. */
inline refuse()
{
#ifdef BUG_REFUSED_OPEN
    skip
#else
    d_step {
        EMPTY(me);
        parks = (mem[WORD] != TICKET(wait, cancellable));
        if
        :: parks -> assert(ended_by == BY_END(context))
        :: else -> mem[WORD] = mem[WORD] - OPEN + CLAIMED; claimed(wait, ITSELF)
        fi
    };
#ifdef BUG_REFUSED_GOES_ON
    parks = 0
#endif
#endif
}

inline queue()
{
    d_step {
        EMPTY(me); /* the channel's lock */
        link = wait;
        parks = 1
    };
    if
    :: armed = wait
    :: true
    fi
}

/* After a wait that was not refused. */
inline woken()
{
    armed = 0; /* unless it is on its way */
    old = LOAD(me, WORD);
    if
    :: old & (BY_CONTEXT | BY_TIME) ->
#ifndef BUG_NO_UNLINK
       link = 0;
#endif
       if
       :: old & BY_CONTEXT -> assert(ended_by == BY_END(context) && LOAD(me, ENDED(context)))
       :: else -> assert(ended_by == TIMER)
       fi
    :: else -> assert(ended_by == SENDER && link == 0)
    fi
}

proctype waiter(byte me)
{
    byte wait = 1;
    short old, cancellable;
    bit parks, ended;

    do
    :: wait > WAITS -> break
    :: wait <= WAITS ->
       if
       :: context = A
       :: context = NONE
       :: context = NONE; store(me, MEMBER, SHIELD)
       :: context = B; enter(B)
       fi;
       d_step {
           cancellable = (context == NONE -> 0 : CANCELLABLE);
           alive = wait;
           readied = 0;
           ended_by = 0
       };
       begin();
       if
       :: ended -> refuse()
       :: else -> queue()
       fi;
       if
       :: parks ->
          /* To the commit step, and back when somebody made it ready. */
          d_step { EMPTY(me); old = mem[WORD]; mem[WORD] = old | PARKED; resting = 1 };
          if
          :: old & DONE -> resting = 0
          :: else ->
end:
             d_step { ready; ready = 0; resting = 0 }
          fi
       :: else
       fi;
       if
       :: ended
       :: else -> woken()
       fi;
       d_step { alive = 0; old = 0; ended = 0; parks = 0; cancellable = 0 };
       if
       :: context == B -> leave(B, MEMBER_OF(A))
       :: context == NONE && LOAD(me, MEMBER) == SHIELD -> store(me, MEMBER, MEMBER_OF(A))
       :: else
       fi;
       context = NONE;
       wait++
    od;
    leave(A, 0);
    finished = 1
}

init
{
    atomic {
        listed[A] = 1;
        exists[A] = 1;
        mem[MEMBER] = MEMBER_OF(A);
        run waiter(WAITER);
        run canceller(CANCELLER);
        run sender();
        run timer()
    }
}
