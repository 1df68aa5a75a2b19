/* tso.pml — x86-TSO for the models in this folder: a store buffer per thread in front of one memory.

   Spin alone is sequentially consistent: it cannot see that a store and a later load of the same thread pass each other, and
   that is the one thing that these protocols are about. So here a plain store goes to the end of its thread's FIFO, a load
   takes the newest entry of its own FIFO or else memory, and the processes tso() move the oldest entry of each to memory
   whenever they like. A locked instruction, and every system call, can only run when its thread's buffer is empty; tso() can
   always empty it first, so the guard EMPTY is the drain.

   barrier() is membarrier(2): the caller and every other thread execute a full fence at some point during the call, each at
   a point of its own. All that a fence does is to require that its thread's buffer is empty at that point, and the first
   such point in the call allows every run that a later one allows; so the call ends when each buffer was empty once since it
   began.

   Before including this file a model defines NT (threads), NA (addresses), DEPTH (2 or 3 entries) and, where it wants them,
   CELL (the type of a value, byte if not told), STORERS (only that many threads, the first ones, make plain stores),
   FLUSHED(a) (runs with every store that reaches memory) and FINAL (runs once nothing else can: every process is blocked or
   ended and all buffers are empty). Processes that may wait for ever say so with an end label. */

#ifndef CELL
#define CELL byte
#endif
typedef sbuf {
    byte used;     /* entries in use; the others are 0, so that equal states look equal */
    byte at[DEPTH]; /* addresses, oldest first */
    CELL is[DEPTH]; /* values */
}
sbuf sb[NT];
CELL mem[NA];
byte unfenced[NT]; /* in barrier(): the threads whose buffers were not empty yet, a bit each */

#ifndef STORERS
#define STORERS NT
#endif
#ifndef FLUSHED
#define FLUSHED(a) skip
#endif

#define EMPTY(t) (sb[t].used == 0)
#define HAS(t, i, x) (sb[t].used > i && sb[t].at[i] == (x))
#define LOAD_OLDEST(t, x) (HAS(t, 0, x) -> sb[t].is[0] : mem[x])
#define LOAD_SECOND(t, x) (HAS(t, 1, x) -> sb[t].is[1] : LOAD_OLDEST(t, x))
#if DEPTH == 2
#define LOAD(t, x) LOAD_SECOND(t, x)
#else
#define LOAD(t, x) (HAS(t, 2, x) -> sb[t].is[2] : LOAD_SECOND(t, x))
#endif

/* A plain store. A full buffer makes it wait. */
inline store(t, x, y)
{
    d_step {
        sb[t].used < DEPTH;
        sb[t].at[sb[t].used] = x;
        sb[t].is[sb[t].used] = y;
        sb[t].used++
    }
}

inline cas(t, x, old, new, ok)
{
    d_step {
        EMPTY(t);
        ok = (mem[x] == (old));
        if
        :: ok -> mem[x] = new
        :: else
        fi
    }
}

/* A lock: taken by a locked instruction, given back by a plain store. How it sleeps is lock.pml's business. */
inline lock(t, x)
{
    d_step { EMPTY(t) && mem[x] == 0; mem[x] = 1 }
}

inline unlock(t, x)
{
    store(t, x, 0)
}

#if NT == 2
#define EACH(m) m(0) m(1)
#elif NT == 3
#define EACH(m) m(0) m(1) m(2)
#elif NT == 4
#define EACH(m) m(0) m(1) m(2) m(3)
#else
#define EACH(m) m(0) m(1) m(2) m(3) m(4)
#endif

#define UNFENCED(i) + (EMPTY(i) -> 0 : 1 << i)
inline barrier(t)
{
    d_step { EMPTY(t); unfenced[t] = 0 EACH(UNFENCED) };
    unfenced[t] == 0
}

#define DROP_OLDEST(t, i) sb[t].at[i] = sb[t].at[i + 1]; sb[t].is[i] = sb[t].is[i + 1];
#define FENCED(i) unfenced[i] = unfenced[i] & ~(1 << _pid);

/* The memory side of one buffer: thread t's is process t. */
active [STORERS] proctype tso()
{
end:
    do
    :: d_step {
           sb[_pid].used > 0;
           mem[sb[_pid].at[0]] = sb[_pid].is[0];
           FLUSHED(sb[_pid].at[0]);
           DROP_OLDEST(_pid, 0)
#if DEPTH == 3
           DROP_OLDEST(_pid, 1)
#endif
           sb[_pid].at[DEPTH - 1] = 0;
           sb[_pid].is[DEPTH - 1] = 0;
           sb[_pid].used--;
           if
           :: sb[_pid].used == 0 -> EACH(FENCED)
           :: else
           fi
       }
#ifdef FINAL
    :: _pid == 0 && timeout -> FINAL; break
#endif
    od
}
