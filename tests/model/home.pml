/* home.pml — goroutines that stay on their thread: src/sched/home.c (wi_home_push, give_worker, wi_home_fetch, wi_home_take,
   wi_home_lend), src/sched/park.c (pick_anywhere), src/sched/idle.c (look_locally, list_idle, resume_with_worker, wi_wait_for_worker), src/sched/claim.c (wi_swap_workers,
   wi_take, wi_reattach, recover_worker) and src/sched/monitor.c (serve_homesick, judge, sleep_for_good).

   A thread T has a queue of goroutines that only it may run; who pushes one sets HOME on the worker that T seems to have, or
   gives T, which idles without one, an idle worker. T looks at the queue whenever it comes to its scheduler, and takes all
   of it; but while its worker's attention word is 0 it goes from one goroutine to the next without that, also to those that
   it has taken. Its worker is changed behind its back:
   another thread takes it and leaves its own in exchange, the monitor takes it for somebody else.

   T; another runtime thread U, which goes idle and resumes, goes through goroutines for ever, or stays in one for ever; a
   foreign thread that pushes twice; another that once has T woken for something else; the monitor, which may once take T's
   worker for U. There is one worker; with -DWITH_SWAP there are two, T and U take each other's, and one is pushed. T may
   always have another goroutine to go to. T and U have store buffers; the foreign threads execute a fence where it matters,
   and the monitor's stores are all under the lock or locked instructions.
   Checked, where nothing moves any more: nobody is left in T's queue.
   Left out: how a worker is asked for and taken back (handoff.pml): here it succeeds in one step while its thread is outside
   weft; T's own pushes; idle threads other than these two: the monitor's spare thread is T itself.

   BUG_QUIET_SWAP       a swap does not set HOME on the worker that it leaves
   BUG_QUIET_REATTACH   nor a thread that gets a worker while it runs a goroutine
   BUG_QUIET_RESUME     nor an idle one that takes itself back: its store of the worker may not be visible yet when it
                        looks at its queue for the last time
   BUG_ONE_HOME         T runs the last of those it has taken and does not set HOME when more have come
   BUG_HIDDEN_HOME      those that T has taken out of its queue do not count as being home
   BUG_NO_LOOK          T does not look at its queue after the heavy barrier
   BUG_NO_BARRIER       it looks without the heavy barrier
   BUG_NO_WAKE          T has somebody home and no worker is idle: it does not wake the monitor, which sleeps
   BUG_NO_LEND          the monitor gives T idle workers only
   BUG_NO_TAKE          it does not take the worker of a thread that stays in a goroutine, when only T waits for one */
#ifdef WITH_SWAP
#define PUSHES 1
#else
#define PUSHES 2
#endif
#define NT 2
#define DEPTH 2
#define T 0
#define U 1

#define LOCK 0            /* wi_sched.lock */
#define WORKER 1          /* T's: 1, 2, or 0 */
#define COUNT 2           /* goroutines that came home to T */
#define ATTENTION(w) (2 + (w))
#define TAKEN 5           /* goroutines that T has taken out of its queue, and not run */
#define NA 6

#define HOME 1
#define LEND 2
#define BIT(t) (1 << (t))

#define FINAL assert(mem[COUNT] == 0 && mem[TAKEN] == 0)
byte owner[3];     /* of each worker: thread + 1 */
byte u_worker;     /* U's field */
byte idle;         /* workers, a bit each [lock] */
byte listed;       /* idle threads, a bit each [lock] */
byte woken;        /* those that were assigned a worker */
bit outside[2];    /* in a goroutine's code */
bit hog;           /* U is, for ever */
bit alert, sent;   /* the monitor sleeps; it was woken */
#include "tso.pml"

#define LOCK_FREE (mem[LOCK] == 0)
#define IDLE_WORKER (idle & BIT(1) -> 1 : (idle & BIT(2) -> 2 : 0))
#ifdef BUG_HIDDEN_HOME
#define HOMESICK ((listed & BIT(T)) && mem[COUNT])
#define T_IS_HOME LOAD(T, COUNT)
#else
#define HOMESICK ((listed & BIT(T)) && (mem[COUNT] || mem[TAKEN]))
#define T_IS_HOME (LOAD(T, COUNT) || LOAD(T, TAKEN))
#endif

inline attend(w, bits)
{
    d_step { mem[ATTENTION(w)] = mem[ATTENTION(w)] | bits }
}

/* wi_pop_idle_worker, and T off the list. */
inline pop_both(w)
{
    w = IDLE_WORKER;
    idle = idle & ~BIT(w);
    listed = listed & ~BIT(T)
}

/* wi_assign. */
inline assign_t(w)
{
    d_step { LOCK_FREE; owner[w] = T + 1; mem[WORKER] = w };
    woken = woken | BIT(T)
}

inline assign_u(w)
{
    d_step { LOCK_FREE; owner[w] = U + 1; u_worker = w };
    woken = woken | BIT(U)
}

inline wake_monitor()
{
    alert = 0;
    sent = 1
}

#define N_HOME (mem[COUNT] + mem[TAKEN]) /* wi_sched.n_home */
#define MINE(w) (owner[w] == T + 1)
#define W LOAD(T, WORKER)

proctype owner_of_home()
{
    byte w, bits, other;

find:
    w = W;
    assert(w != 0);
    if
    :: LOAD(T, ATTENTION(w)) -> d_step { EMPTY(T); mem[ATTENTION(w)] = 0 } /* LEND: only this thread has a home */
    :: !LOAD(T, ATTENTION(w))
    fi;
    if
    :: LOAD(T, COUNT) && !LOAD(T, TAKEN) ->
       atomic { EMPTY(T); bits = mem[COUNT]; mem[COUNT] = 0; store(T, TAKEN, bits); bits = 0 }
    :: !LOAD(T, COUNT) || LOAD(T, TAKEN)
    fi;
    if
    :: LOAD(T, TAKEN) ->
       if
       :: goto runs /* it is the others' turn */
       :: true
       fi;
takes:
       atomic { bits = LOAD(T, TAKEN) - 1; store(T, TAKEN, bits); bits = 0 };
#ifndef BUG_ONE_HOME
       if
       :: !LOAD(T, TAKEN) && LOAD(T, COUNT) -> EMPTY(T); attend(w, HOME)
       :: LOAD(T, TAKEN) || !LOAD(T, COUNT)
       fi;
#endif
       goto runs
    :: !LOAD(T, TAKEN) ->
       if
       :: goto runs
       :: goto nothing
#ifdef WITH_SWAP
       :: atomic {
              /* It takes U's worker instead. */
              EMPTY(T) && EMPTY(U) && outside[U] && u_worker && owner[u_worker] == U + 1;
              other = u_worker;
              owner[other] = T + 1
          };
          lock(T, LOCK);
          store(T, WORKER, other);
          d_step {
              EMPTY(T);
              if
              :: u_worker == other -> owner[w] = U + 1; u_worker = w; mem[ATTENTION(w)] = mem[ATTENTION(w)] | HOME
              :: else -> owner[w] = 0; idle = idle | BIT(w)
              fi
          };
          unlock(T, LOCK);
          other = 0;
          goto find
#endif
       fi
    fi;

runs:
    outside[T] = 1;
    if
    :: true /* the queue will be empty, or a call notices what happened to the worker */
    :: true ->
end_busy:
       W == 0 || !MINE(W) || LOAD(T, ATTENTION(W)) || LOAD(T, TAKEN)
    fi;
    d_step { outside[T] = 0; w = 0 };
recover:
    w = W;
    if
    :: w == 0 -> goto without
    :: w != 0 && MINE(w) ->
       if
       :: LOAD(T, ATTENTION(w)) -> goto find
       :: !LOAD(T, ATTENTION(w)) && LOAD(T, TAKEN) -> goto takes
       :: !LOAD(T, ATTENTION(w)) && !LOAD(T, TAKEN) -> goto runs
       :: !LOAD(T, ATTENTION(w)) && !LOAD(T, TAKEN) -> goto find
       fi
    :: w != 0 && !MINE(w) ->
       atomic {
           lock(T, LOCK);
           if
           :: W == w && !MINE(w) -> store(T, WORKER, 0)
           :: else
           fi;
           unlock(T, LOCK)
       };
       goto recover
    fi;

without:
    if
    :: idle ->
       atomic {
           lock(T, LOCK);
           w = IDLE_WORKER;
           if
           :: w ->
              idle = idle & ~BIT(w);
              owner[w] = T + 1;
              store(T, WORKER, w);
#ifndef BUG_QUIET_REATTACH
              EMPTY(T);
              attend(w, HOME)
#endif
           :: else
           fi;
           unlock(T, LOCK)
       };
       if
       :: w -> goto runs
       :: else -> goto nothing
       fi
    :: true
    fi;

nothing:
    atomic {
        lock(T, LOCK);
        w = W;
        if
        :: w -> store(T, WORKER, 0); owner[w] = 0; idle = idle | BIT(w)
        :: else
        fi;
        listed = listed | BIT(T);
        if
        :: idle && T_IS_HOME -> pop_both(w)
        :: else -> w = 0
        fi;
        unlock(T, LOCK)
    };
    if
    :: w -> EMPTY(T); assign_t(w)
    :: else
    fi;
#ifndef BUG_NO_BARRIER
    barrier(T);
#endif
    if
    :: true /* there is, or the poller brings, something else to do */
#ifdef BUG_NO_LOOK
    :: goto rests
#else
    :: T_IS_HOME
    :: !T_IS_HOME -> goto rests
#endif
    fi;
    atomic {
        lock(T, LOCK);
        bits = (listed & BIT(T)) != 0;
        w = (bits -> IDLE_WORKER : 0);
        if
        :: w ->
           idle = idle & ~BIT(w);
           owner[w] = T + 1;
           listed = listed & ~BIT(T);
           bits = 0;
           store(T, WORKER, w);
#ifndef BUG_QUIET_RESUME
           EMPTY(T);
           attend(w, HOME)
#endif
        :: else
        fi;
        unlock(T, LOCK)
    };
    if
    :: w -> goto find
    :: else
    fi;
#ifndef BUG_NO_WAKE
    if
    :: bits && T_IS_HOME && alert -> EMPTY(T); wake_monitor()
    :: else
    fi;
#endif
rests:
    bits = 0;
    w = 0;
end:
    atomic { woken & BIT(T); woken = woken & ~BIT(T) };
    goto find
}

proctype other()
{
    byte w, mine;
    bit may_resume = 1;
#ifdef WITH_SWAP
    bit may_swap = 1;
#endif

#ifndef WITH_SWAP
    goto sleeps;
#endif
    do
#ifndef WITH_SWAP
    :: hog = 1; outside[U] = 1; goto stays
#endif
    :: /* From one goroutine to the next. */
       outside[U] = 1;
end_busy:
       atomic { u_worker == 0 || owner[u_worker] != U + 1 || LOAD(U, ATTENTION(u_worker)); outside[U] = 0 };
       w = u_worker;
       if
       :: w && owner[w] == U + 1 ->
          if
          :: LOAD(U, ATTENTION(w)) & LEND ->
             d_step {
                 EMPTY(U) && LOCK_FREE;
                 mem[ATTENTION(w)] = 0;
                 mine = HOMESICK;
                 if
                 :: mine -> listed = listed & ~BIT(T); u_worker = 0
                 :: else
                 fi
             };
             if
             :: mine -> mine = 0; assign_t(w); w = 0; goto idles
             :: else
             fi
          :: else -> d_step { EMPTY(U); mem[ATTENTION(w)] = 0 }
          fi
       :: w && owner[w] != U + 1 ->
          atomic {
              EMPTY(U) && LOCK_FREE;
              if
              :: u_worker == w && owner[w] != U + 1 -> u_worker = 0; w = 0; goto idles
              :: else
              fi
          }
       :: !w -> goto idles
       fi;
       w = 0
#ifdef WITH_SWAP
    :: atomic {
           may_swap && outside[T] && EMPTY(T) && EMPTY(U) && W && MINE(W);
           may_swap = 0;
           w = W;
           owner[w] = U + 1
       };
       lock(U, LOCK);
       mine = u_worker;
       u_worker = w;
       if
       :: LOAD(U, WORKER) == w ->
          owner[mine] = T + 1;
          store(U, WORKER, mine);
          EMPTY(U);
#ifndef BUG_QUIET_SWAP
          attend(mine, HOME)
#endif
       :: else -> EMPTY(U); d_step { owner[mine] = 0; idle = idle | BIT(mine) }
       fi;
       unlock(U, LOCK);
       d_step { w = 0; mine = 0 }
#endif
    :: goto idles;
idles:
       skip;
       d_step {
           EMPTY(U) && LOCK_FREE;
           w = u_worker;
           if
           :: w -> owner[w] = 0; idle = idle | BIT(w); u_worker = 0; w = 0
           :: else
           fi;
           listed = listed | BIT(U);
           if
           :: idle && HOMESICK -> pop_both(w)
           :: else
           fi
       };
       if
       :: w -> assign_t(w); w = 0
       :: else
       fi;
sleeps:
end:
       if
       :: atomic { woken & BIT(U); woken = woken & ~BIT(U) }
       :: atomic {
              may_resume && LOCK_FREE && (listed & BIT(U)) && idle;
              may_resume = 0;
              listed = listed & ~BIT(U);
              u_worker = IDLE_WORKER;
              idle = idle & ~BIT(u_worker);
              owner[u_worker] = U + 1
          }
       fi
    od;
stays:
    skip
}

proctype pusher()
{
    byte w, todo = PUSHES;

    do
    :: todo == 0 -> break
    :: todo ->
       atomic { mem[COUNT] = mem[COUNT] + 1; todo-- };
       w = mem[WORKER];
       if
       :: w -> attend(w, HOME)
       :: else ->
          atomic {
              LOCK_FREE;
              if
              :: (listed & BIT(T)) && idle -> pop_both(w)
              :: (listed & BIT(T)) && !idle -> w = 3
              :: else
              fi
          };
          if
          :: w == 1 || w == 2 -> assign_t(w)
          :: w == 3 && alert -> wake_monitor()
          :: else
          fi
       fi;
       w = 0
    od
}

/* Something else is queued, and T woken for it. */
proctype foreign()
{
    byte w;

end:
    atomic { LOCK_FREE && idle && (listed & BIT(T)); pop_both(w) };
    assign_t(w)
}

proctype monitor()
{
    byte w;
    bit may_take = 1;

end_awake:
    do
    :: N_HOME == 0 ->
       alert = 1;
       if
       :: N_HOME == 0 ->
end_asleep:
          atomic { sent; sent = 0 }
       :: else
       fi;
       alert = 0
    :: atomic { LOCK_FREE && HOMESICK && idle; pop_both(w) };
       assign_t(w);
       w = 0
#ifndef BUG_NO_LEND
    :: d_step {
           LOCK_FREE && HOMESICK && !idle && !(mem[ATTENTION(1)] & mem[ATTENTION(2)] & LEND);
           mem[ATTENTION(1)] = mem[ATTENTION(1)] | LEND;
           mem[ATTENTION(2)] = mem[ATTENTION(2)] | LEND
       }
#endif
#if !defined(BUG_NO_TAKE) && !defined(WITH_SWAP)
    :: atomic {
           LOCK_FREE && HOMESICK && !idle && hog && EMPTY(U) && u_worker && owner[u_worker] == U + 1;
           listed = listed & ~BIT(T)
       };
       atomic { w = u_worker; u_worker = 0 };
       assign_t(w);
       w = 0
#endif
    :: atomic { LOCK_FREE && may_take && (listed & BIT(U)); may_take = 0; listed = listed & ~BIT(U) };
       if
       :: atomic { outside[T] && EMPTY(T) && W && MINE(W); w = W; owner[w] = U + 1 };
          d_step {
              LOCK_FREE;
              if
              :: mem[WORKER] == w -> mem[WORKER] = 0
              :: else
              fi
          };
          assign_u(w);
          w = 0
       :: d_step { LOCK_FREE; listed = listed | BIT(U) } /* in vain */
       fi
    od
}

init
{
    atomic {
        owner[1] = T + 1;
        mem[WORKER] = 1;
#ifdef WITH_SWAP
        owner[2] = U + 1;
        u_worker = 2;
#else
        listed = BIT(U);
        run foreign();
#endif
        run owner_of_home();
        run other();
        run pusher();
        run monitor()
    }
}
