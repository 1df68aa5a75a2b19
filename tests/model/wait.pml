/* wait.pml — shared waits (src/sched/waiter.h) for the models of what goroutines wait for: select.pml, sem.pml,
   cond.pml.

   Memory is plain here, each step is one access or one section of a lock that nothing outside changes: the order of
   stores, sequences and members are the business of park.pml and cancel.pml. Every waiter waits once. Before including
   this file a model defines N (waiters) and, where a wait may last for ever, LASTS: whether it may when nothing moves
   any more; the waiter then goes on at its label stays. Processes have `bit got`.

   Checked: a wait is ended by one; completed by whoever claimed it, once; made ready once, at rest. */
#define OPEN 1
#define CLAIMED 2
#define DONE 4
#define PARKED 8

#define NOBODY 0
#define CONTEXT 1
#define TIME 2
#define OBJECT 3 /* and up: who it waited for */

byte word[N], ended_by[N];
bit alive[N]; /* its struct is on its stack */
bit resting[N], ready[N], readied[N];

inline open(i)
{
    d_step { alive[i] = 1; word[i] = OPEN }
}

/* got: the caller ends the wait. */
inline claim(i, who)
{
    d_step {
        got = word[i] & OPEN;
        if
        :: got ->
           word[i] = word[i] - OPEN + CLAIMED;
           assert(alive[i] && ended_by[i] == NOBODY);
           ended_by[i] = who
        :: else
        fi
    }
}

inline make_ready(i)
{
    assert(resting[i] && !readied[i]);
    readied[i] = 1;
    ready[i] = 1
}

inline complete(i)
{
    d_step {
        assert(alive[i] && (word[i] & CLAIMED) && !(word[i] & DONE));
        word[i] = word[i] | DONE;
        if
        :: word[i] & PARKED -> make_ready(i)
        :: else
        fi
    }
}

inline park(i)
{
    d_step {
        resting[i] = 1;
        word[i] = word[i] | PARKED;
        if
        :: word[i] & DONE -> make_ready(i)
        :: else
        fi
    };
    if
    :: d_step { ready[i]; ready[i] = 0; resting[i] = 0 }
#ifdef LASTS
    :: timeout && LASTS -> goto stays
#endif
    fi
}

/* A context, or time: ends one wait that has begun, whose it likes, or none. */
#define END(i) :: word[i] & OPEN -> \
    claim(i, who); \
    if \
    :: got -> complete(i) \
    :: else \
    fi
proctype ender(byte who)
{
    bit got;

    if
    :: true
    END(0)
    END(1)
#if N > 2
    END(2)
#endif
    fi
}

/* A queue: first in, first out, from whose middle waiters leave. An entry is a waiter + 1. */
typedef queue {
    byte at[N]
}

inline push(q)
{
    d_step {
        if
        :: !q.at[0] -> q.at[0] = me + 1
        :: q.at[0] && !q.at[1] -> q.at[1] = me + 1
#if N > 2
        :: q.at[0] && q.at[1] -> q.at[2] = me + 1
#endif
        fi
    }
}

inline drop_first(q)
{
    q.at[0] = q.at[1];
#if N > 2
    q.at[1] = q.at[2];
#endif
    q.at[N - 1] = 0
}

#if N > 2
#define HAS(q) (q.at[0] == me + 1 || q.at[1] == me + 1 || q.at[2] == me + 1)
#else
#define HAS(q) (q.at[0] == me + 1 || q.at[1] == me + 1)
#endif

/* The first waiter goes to `first`; the lock is held, and what is in the queue is alive. */
inline pop(q)
{
    d_step {
        first = q.at[0] - 1;
        assert(alive[first]);
        drop_first(q)
    }
}

/* The caller leaves, if it is there. */
inline remove(q)
{
    d_step {
        if
        :: q.at[0] == me + 1 -> drop_first(q)
#if N > 2
        :: q.at[1] == me + 1 -> q.at[1] = q.at[2]; q.at[2] = 0
        :: q.at[2] == me + 1 -> q.at[2] = 0
#else
        :: q.at[1] == me + 1 -> q.at[1] = 0
#endif
        :: else
        fi
    }
}
