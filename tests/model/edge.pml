/* edge.pml — waiting for a descriptor and closing it: src/io/fd_wait.c (do_until, attempt_once, watch,
   wait_for_edge, dequeue, wi_fd_event, wi_fd_wake_side, wi_fd_wait_until), src/io/fd_deadline.c (set, arm, passed) and
   src/io/fd.c (enter_state, wi_fd_end, finish_close, next_generation, wi_fd_new, weft_close_fd). One side of a descriptor, the
   reading one, of a stream.

   An operation notes the count of edges, then asks the kernel, and when nothing is there waits, under the lock, for a count
   other than the noted one. `drained` keeps the noted count, so that the next operation does not ask in vain; a short
   transfer is as good as nothing there, unless an edge has said more than "data". The descriptor is watched, edge-triggered,
   from when the first operation finds nothing; the kernel then reports as an edge what is there already.

   Two threads read until the end; a poller, which may be slow with an edge in its hands; a peer that sends twice and then
   perhaps ends the stream, each followed by an edge unless one is due already.
   -DWITH_EITHER: the second waits for data or room to write, what comes first.
   -DWITH_CLOSE: a thread reads up to twice while another closes; as soon as close(2) has given the number up, a third gets
   it for its own connection, made by weft or not, reads what its peer sends, and closes that.
   -DWITH_DEADLINE: a thread reads, another sets the deadline twice, sooner, later or to none.
   -DWITH_CONTEXT: the context in which the first reads ends, and with it its wait, which is a shared one. The peer sends
   once.
   Checked, where nothing moves any more: nobody waits who could go on: there is nothing to read and no end, the descriptor
   is not closing, and the deadline is not past. Nobody who began before a close touches the next descriptor, nor does an
   edge of before; a close returns when the descriptor is closed; nobody who is gone has a place among the waiters.
   Left out: park's commit step (park.pml); how a context finds the wait (cancel.pml); a caller's own time (until_ns), which
   ends a wait as a context does; the attempt of who ended without one; the writing side, which is the same.

   BUG_LATE_NOTE         drained becomes the count after the kernel was asked, not the noted one
   BUG_WAIT_NOW          who found nothing waits for a count other than the present one
   BUG_SHORT_HANGUP      a short transfer drains also after an edge that said more than "data"
   BUG_LATE_WATCH        the descriptor is added to the poller without a report of what is there
   BUG_NO_COUNT          a waiter does not look at the count under the lock
   BUG_LATE_EITHER       who waits for either says so after he has looked
   BUG_NO_USE            operations hold no use of the record
   BUG_EARLY_FRESH       the record is made fresh before close(2)
   BUG_BLIND_FRESH       after close(2) it is made fresh although its next descriptor has been already
   BUG_NO_GENERATION     events are taken for those of the present descriptor
   BUG_NOT_TOLD          the last to leave does not tell who closes
   BUG_NO_CLOSING_LOOK   a waiter does not look, under the lock, whether the descriptor is closing
   BUG_QUIET_CLOSE       a close does not end the waits
   BUG_QUIET_DEADLINE    a deadline that is set to the past makes no edge
   BUG_QUIET_ALARM       nor does one that passes
   BUG_EARLY_TIME        the deadline is looked at before the count is noted
   BUG_LAZY_ARM          a deadline that is set sooner leaves the alarm where it is
   BUG_FINAL_ALARM       an alarm that comes before the deadline is not started again
   BUG_NO_UNLINK         who waited when the context ended keeps its place */
#define DEPTH 2
#if defined(WITH_CLOSE) || defined(WITH_DEADLINE)
#define NT 4
#else
#define NT 3
#endif
#define STORERS NT
#define READER(i) (i)
#define CLOSER 1
#define NEXT 2
#define MOVER 1
#define ALARM 2
#define POLLER (NT - 1)

#define LOCK 0
#define EVENTS 1
#define DRAINED 2
#define WATCHED 3
#define HUNG_UP 4
#define STATE 5 /* generation << 4 | CLOSING | uses */
#define EITHER 6
#define DEADLINE 7
#define NA 8

#define CLOSING 8
#define USES 7
#define GENERATION(state) ((state) >> 4)
#ifdef BUG_NO_USE
#define USE 0
#else
#define USE 1
#endif
#define BIT(t) (1 << (t))
#define WHOLE 2 /* what a reader asks for */

#define THERE (data || fin)
#define IS_PAST(d) ((d) && (d) <= now)
#define FINAL assert(!closer_parked && (!(waits & ~BIT(0)) || !THERE) && \
    (!(waits & BIT(0)) || !(THERE || (mem[STATE] & CLOSING) || IS_PAST(mem[DEADLINE]))) && !(waits_either && room))

/* The kernel. */
byte data;
bit fin, room;
byte added;  /* the generation of the key + 1; 0: not watched */
bit ready;   /* on the poller's list */
byte conn;   /* how many descriptors of this number were closed */
bit free_number;
byte now;

byte queued;     /* [lock] waiters, a bit each */
byte waits;      /* who waits */
bit waits_either;
byte woken;
bit open_wait;   /* the word of the first reader's shared wait; it may be claimed */
bit by_context;
byte alarm_at;   /* [lock, but when it is due] 0: not pending */
byte fresh_for;  /* the first descriptor of which the record's generation is */
byte closer;     /* [lock] thread + 1 */
byte told_closers; /* [lock] closers that were told, a bit each */
byte closer_parked;
#include "tso.pml"

/* To be done by every change outside. */
#define NOTIFY ready = (added -> 1 : ready)

/* The claimed ones of the queue. The lock is held. */
inline claim_all()
{
    d_step {
        list = queued;
        queued = 0;
#ifdef WITH_CONTEXT
        if
        :: list & BIT(0) ->
           if
           :: open_wait -> open_wait = 0
           :: else -> list = list & ~BIT(0)
           fi
        :: else
        fi
#endif
    }
}

inline complete()
{
    if
    :: list -> d_step { EMPTY(me); woken = woken | list; list = 0 }
    :: else
    fi
}

inline wake_side()
{
    lock(me, LOCK);
    store(me, EVENTS, mem[EVENTS] + 1);
    claim_all();
    unlock(me, LOCK);
    complete()
}

/* ok: the record is not closing, and we have added to its state. */
inline enter_state(more)
{
    do
    :: s = LOAD(me, STATE);
       if
       :: s & CLOSING ->
          if
          :: s & USES -> break
          :: else -> LOAD(me, STATE) != s /* looks again and again */
          fi
       :: else ->
          cas(me, STATE, s, s + (more), ok);
          if
          :: ok -> mine = conn; break
          :: else
          fi
       fi
    od;
    s = 0
}

inline next_generation()
{
    store(me, WATCHED, 0);
    store(me, HUNG_UP, 0);
    d_step { EMPTY(me); mem[STATE] = (GENERATION(mem[STATE]) + 1) << 4; fresh_for = conn }
}

inline finish_close()
{
    d_step { EMPTY(me) && mem[LOCK] == 0; told = closer; closer = 0; s = mem[STATE] };
#ifdef BUG_EARLY_FRESH
    lock(me, LOCK);
    next_generation();
    unlock(me, LOCK);
#endif
    d_step { EMPTY(me); added = 0; ready = 0 };
    d_step { conn++; data = 0; fin = 0; free_number = 1 }; /* close(2) takes its time: it has not returned */
    lock(me, LOCK);
#ifndef BUG_EARLY_FRESH
    if
#ifdef BUG_BLIND_FRESH
    :: true -> next_generation()
#else
    :: mem[STATE] == s -> next_generation()
    :: mem[STATE] != s
#endif
    fi;
#endif
#ifndef BUG_NOT_TOLD
    d_step { told_closers = told_closers | BIT(told - 1); s = (closer_parked & BIT(told - 1)) };
    unlock(me, LOCK);
    if
    :: s -> d_step { EMPTY(me); closer_parked = closer_parked & ~BIT(told - 1) }
    :: else
    fi;
#else
    unlock(me, LOCK);
#endif
    d_step { s = 0; told = 0 }
}

inline fd_end()
{
    d_step { EMPTY(me); s = mem[STATE]; mem[STATE] = s - USE };
    if
    :: (s & (CLOSING | USES)) == (CLOSING | USE) -> finish_close()
    :: else -> s = 0
    fi
}

/* Until there is an edge after e, or something else to look at. */
inline wait_side()
{
    if
    :: LOAD(me, WATCHED)
    :: !LOAD(me, WATCHED) ->
       lock(me, LOCK);
       if
       :: mem[WATCHED] == 0 ->
          d_step {
              added = GENERATION(mem[STATE]) + 1;
#ifndef BUG_LATE_WATCH
              if
              :: THERE || room -> ready = 1
              :: else
              fi
#endif
          };
          store(me, WATCHED, 1)
       :: else
       fi;
       unlock(me, LOCK)
    fi;
    lock(me, LOCK);
    if
#ifdef BUG_NO_CLOSING_LOOK
    :: false
#else
    :: (mem[STATE] & CLOSING) -> unlock(me, LOCK); goto ended
#endif
    :: else ->
       if
#ifdef BUG_NO_COUNT
       :: false
#else
       :: LOAD(me, EVENTS) != e -> unlock(me, LOCK)
#endif
       :: else ->
          d_step {
              queued = queued | BIT(me);
              waits = waits | BIT(me);
#ifdef WITH_CONTEXT
              open_wait = (me == 0 -> 1 : open_wait)
#endif
          };
          unlock(me, LOCK);
end_waits:
          d_step { woken & BIT(me); woken = woken & ~BIT(me); waits = waits & ~BIT(me) };
#ifdef WITH_CONTEXT
          if
          :: me == 0 && by_context ->
#ifndef BUG_NO_UNLINK
             d_step { EMPTY(me) && mem[LOCK] == 0; queued = queued & ~BIT(me) };
#endif
             goto ended
          :: else
          fi
#endif
       fi
    fi
}

inline attempt()
{
    d_step {
        EMPTY(me);
        assert(conn == mine);
        n = (data > WHOLE -> WHOLE : data);
        data = data - n;
        nothing = (n == 0 && !fin);
        the_end = (n == 0 && fin)
    }
}

/* got: there was something, or the end. */
inline read_some()
{
    do
    :: LOAD(me, STATE) & CLOSING -> break
    :: !(LOAD(me, STATE) & CLOSING) ->
#ifndef BUG_EARLY_TIME
       e = LOAD(me, EVENTS);
#endif
#ifdef WITH_DEADLINE
       if
       :: IS_PAST(LOAD(me, DEADLINE)) -> break
       :: !IS_PAST(LOAD(me, DEADLINE))
       fi;
#endif
#ifdef BUG_EARLY_TIME
       e = LOAD(me, EVENTS);
#endif
       if
       :: LOAD(me, WATCHED) && LOAD(me, DRAINED) == e
       :: !LOAD(me, WATCHED) || LOAD(me, DRAINED) != e ->
          attempt();
          if
#ifdef BUG_SHORT_HANGUP
          :: nothing || (n && n < WHOLE) ->
#else
          :: nothing || (n && n < WHOLE && !LOAD(me, HUNG_UP)) ->
#endif
#ifdef BUG_LATE_NOTE
             e = LOAD(me, EVENTS);
#endif
             store(me, DRAINED, e)
          :: else
          fi;
          got = !nothing;
          d_step { n = 0; nothing = 0 };
          if
          :: got -> break
          :: else
          fi
       fi;
#ifdef BUG_WAIT_NOW
       e = LOAD(me, EVENTS);
#endif
       wait_side();
       e = 0
    od;
ended:
    e = 0;
    assert(!(queued & BIT(me)))
}

proctype reader(byte me)
{
    byte e, n, s, mine, list, told;
    bit nothing, the_end, got, ok;
#ifdef WITH_CLOSE
    bit again = 1;
#endif

    do
    ::
#ifdef WITH_CLOSE
       enter_state(USE);
       if
       :: !ok -> break
       :: else
       fi;
       ok = 0;
#endif
       read_some();
#ifdef WITH_CLOSE
       fd_end();
#endif
       if
       :: the_end || !got -> break
       :: else
       fi;
       got = 0;
#ifdef WITH_CLOSE
       if
       :: again -> again = 0
       :: else -> break
       fi
#endif
    od
}

#ifdef WITH_EITHER
proctype waiter(byte me)
{
    byte e;

#ifndef BUG_LATE_EITHER
    d_step { EMPTY(me); mem[EITHER] = 1 };
#endif
    do
    :: e = LOAD(me, EVENTS);
       if
       :: atomic { EMPTY(me) && (THERE || room) -> break }
       :: EMPTY(me) && !THERE && !room
       fi;
#ifdef BUG_LATE_EITHER
       d_step { EMPTY(me); mem[EITHER] = 1 };
#endif
       waits_either = 1;
       wait_side();
       waits_either = 0
    od;
ended:
    skip
}
#endif

#ifdef WITH_CLOSE
/* weft_close_fd. */
inline close_it()
{
    enter_state(CLOSING | USE);
    if
    :: ok ->
       ok = 0;
       d_step { EMPTY(me) && mem[LOCK] == 0; closer = me + 1 };
#ifndef BUG_QUIET_CLOSE
       wake_side();
#endif
#ifdef BUG_NO_USE
       finish_close();
#else
       fd_end();
#endif
       atomic {
           EMPTY(me) && mem[LOCK] == 0;
           if
           :: told_closers & BIT(me)
           :: else -> closer_parked = closer_parked | BIT(me)
           fi
       };
end_closes:
       atomic { !(closer_parked & BIT(me)); assert(conn > mine) }
    :: else
    fi
}

proctype closes(byte me)
{
    byte s, mine, list, told;
    bit ok;

    close_it()
}

proctype next(byte me)
{
    byte e, n, s, mine, list, told;
    bit nothing, the_end, got, ok;

end:
    atomic { free_number; free_number = 0 };
    if
    :: true /* socket(2) */
    :: lock(me, LOCK);
       s = mem[STATE];
       if
       :: (s & CLOSING) && !(s & USES) -> next_generation()
       :: else ->
          store(me, WATCHED, 0);
          store(me, HUNG_UP, 0);
          d_step { EMPTY(me); mem[STATE] = mem[STATE] + 16; fresh_for = conn }
       fi;
       unlock(me, LOCK);
       s = 0
    fi;
    enter_state(USE);
    if
    :: ok ->
       ok = 0;
       read_some();
       fd_end();
       close_it()
    :: else
    fi
}
#endif

#ifdef WITH_DEADLINE
/* Has the alarm come by d; stopped, it is one that may have been taken off already, and then comes all the same. The lock is
   held. */
inline arm(d)
{
    d_step {
        if
#ifdef BUG_LAZY_ARM
        :: alarm_at
#else
        :: alarm_at && alarm_at <= (d)
#endif
        :: else -> alarm_at = (d)
        fi
    }
}

proctype mover(byte me)
{
    byte d, list, todo = 2;
    bit past;

    do
    :: todo == 0 -> break
    :: todo ->
       todo--;
       if
       :: d = 1
       :: d = 2
       :: d = 0
       fi;
       past = IS_PAST(d);
       lock(me, LOCK);
       store(me, DEADLINE, d);
       if
       :: d == 0 || past -> alarm_at = 0
       :: d && !past -> arm(d)
       fi;
       unlock(me, LOCK);
#ifndef BUG_QUIET_DEADLINE
       if
       :: past -> wake_side()
       :: else
       fi;
#endif
       d_step { past = 0; d = 0 }
    od
}

/* Whoever runs timers; twice at the same time is as once after the other, by the lock. */
proctype alarm(byte me)
{
    byte at, d, list;

end:
    do
    :: d_step { alarm_at && alarm_at <= now; alarm_at = 0; at = now };
       lock(me, LOCK);
       d = LOAD(me, DEADLINE);
       if
#ifndef BUG_FINAL_ALARM
       :: d > at -> arm(d)
#endif
       :: else
       fi;
       unlock(me, LOCK);
#ifndef BUG_QUIET_ALARM
       if
       :: d && d <= at -> wake_side()
       :: else
       fi;
#endif
       d_step { d = 0; at = 0 }
    od
}

/* What happens by time 1 must not need that it becomes 2. */
proctype clock()
{
    now = 1;
    if
    :: now = 2
    :: true
    fi
}
#endif

#ifdef WITH_CONTEXT
/* It ends once; a wait that begins after that sees it (cancel.pml). It has nothing to store. */
proctype context()
{
end:
    atomic { open_wait; open_wait = 0; by_context = 1 };
    woken = woken | BIT(0)
}
#endif

proctype poller(byte me)
{
    byte key, whose, list;
    bit in, hup, out;

end:
    do
    :: d_step { ready && EMPTY(me); ready = 0; key = added - 1; whose = conn; in = THERE; hup = fin; out = room };
       lock(me, LOCK);
       if
#ifndef BUG_NO_GENERATION
       :: GENERATION(mem[STATE]) != key
#endif
       :: else ->
          assert(whose >= fresh_for);
          if
          :: hup -> store(me, HUNG_UP, 1)
          :: else
          fi;
          if
          :: in || (out && LOAD(me, EITHER)) -> store(me, EVENTS, mem[EVENTS] + 1); claim_all()
          :: else
          fi
       fi;
       unlock(me, LOCK);
       complete();
       d_step { key = 0; whose = 0; in = 0; hup = 0; out = 0 }
    od
}

proctype peer()
{
#ifdef WITH_CLOSE
    if
    :: atomic { conn == 0; data++ };
       if
       :: atomic { conn == 0; NOTIFY }
       :: conn != 0
       fi
    :: true
    fi;
end:
    atomic { conn == 1 && !free_number; data++ };
    if
    :: atomic { conn == 1; NOTIFY }
    :: conn != 1
    fi
#else
    if
    :: data++; NOTIFY
    :: true
    fi;
#ifndef WITH_DEADLINE
#ifdef WITH_EITHER
    if
    :: room = 1; NOTIFY
    :: true
    fi;
#elif !defined(WITH_CONTEXT)
    if
    :: data++; NOTIFY
    :: true
    fi;
#endif
    if
    :: fin = 1; NOTIFY
    :: true
    fi
#endif
#endif
}

init
{
    atomic {
        run reader(READER(0));
#if defined(WITH_CLOSE)
        run closes(CLOSER);
        run next(NEXT);
#elif defined(WITH_DEADLINE)
        run mover(MOVER);
        run alarm(ALARM);
        run clock();
#elif defined(WITH_EITHER)
        run waiter(READER(1));
#else
        run reader(READER(1));
#ifdef WITH_CONTEXT
        run context();
#endif
#endif
        run poller(POLLER);
        run peer()
    }
}
