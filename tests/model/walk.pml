/* walk.pml — the lists of a context's members: src/sched/cancel.c (wi_cancel_enter, wi_cancel_leave, lock_list,
   make_shards, end_members, wi_cancel_begin, wi_cancel_sweep) over plain memory.

   Members join the canceller's one list or, once that has been long, the list of their worker, of which there is one
   here; those that find the context ended join none. The canceller stores ended, and is done if there is no member then.
   Else it takes one member at a time off a list, under its lock, claims its wait, and puts it into a list of its own
   that begins on its stack; from there, too, members may leave, through their link. When a list is empty, the walked
   ones are put back, to leave from there.

   Three goroutines join, wait or not, and leave, one of them twice; one thread ends the context at any time, or never.
   Checked: a member is unlinked from where it is; nobody looks at a member that has left; at the end nobody waits in the
   ended context, and the lists hold just the members.
   Left out: the order in which memory sees stores (cancel.pml): a lock section is one step.

   BUG_LINK_LEFT      the walked ones are put back without their first one's link
   BUG_KEEP_NEXT      the canceller walks by a pointer to the next member that it keeps while it has no lock
   BUG_ONE_LIST       the canceller does not look at the workers' lists
   BUG_WRONG_LOCK     a member leaves under the lock of the list that it would join now
   BUG_EMPTY_LIST     the canceller is done when the one list is empty, whatever is in the others
   BUG_ONE_LOOK       the waiter does not look at ended */
#define MEMBERS 3
#define SHARD_AT 1 /* members of the one list from which on a newcomer makes the others */

/* What a link can point to: a list's head, the walked ones' head, or a member's next (1 and up). */
#define HEAD(l) (10 + (l))
#define WALKED 12

bit exists[MEMBERS + 1], waits[MEMBERS + 1], claimed[MEMBERS + 1];
byte next[MEMBERS + 1], link[MEMBERS + 1];
byte head[2], count;
byte walked;
bit shards, ended, over;
bit locked[2];

inline at_link(m, y)
{
    if
    :: link[m] >= HEAD(0) && link[m] < WALKED -> assert(head[link[m] - HEAD(0)] == m); head[link[m] - HEAD(0)] = y
    :: link[m] == WALKED -> assert(walked == m && !over); walked = y
    :: link[m] < HEAD(0) -> assert(exists[link[m]] && next[link[m]] == m); next[link[m]] = y
    fi
}

inline unlink(m)
{
    assert(exists[m]);
    at_link(m, next[m]);
    if
    :: next[m] -> assert(exists[next[m]]); link[next[m]] = link[m]
    :: else
    fi;
    next[m] = 0;
    link[m] = 0
}

inline link_first(h, where, m)
{
    next[m] = h;
    link[m] = where;
    if
    :: next[m] -> assert(exists[next[m]]); link[next[m]] = m
    :: else
    fi;
    h = m
}

proctype member(byte m, times)
{
    byte l;
    bit listed, helped;

    do
    :: times == 0 -> break
    :: times ->
       times--;
       l = shards; /* which list; it may be the one list for the last time */
       d_step {
           !locked[l];
           exists[m] = 1;
           if
           :: l == 0 && count >= SHARD_AT -> shards = 1
           :: else
           fi;
           if
           :: !ended ->
              listed = 1;
              link_first(head[l], HEAD(l), m);
              if
              :: l == 0 -> count++
              :: else
              fi
           :: else
           fi
       };
       if
       :: true
       :: atomic {
              waits[m] = 1;
              if
              :: helped = 0
              :: helped = 1
              fi
          };
#ifdef BUG_ONE_LOOK
          if
          :: true ->
#else
          if
          :: ended ->
             /* Refused: it claims its wait itself, or waits for the canceller's completion. */
             if
             :: d_step { waits[m] -> waits[m] = 0 }
             :: d_step { claimed[m] -> claimed[m] = 0 }
             fi
          :: !ended ->
#endif
             if
             :: d_step { claimed[m] -> claimed[m] = 0 }
             :: d_step { helped && waits[m] -> waits[m] = 0 } /* somebody else ends it */
             :: timeout && !ended -> goto stays
             fi
          fi
       fi;
       if
       :: listed ->
          d_step {
#ifdef BUG_WRONG_LOCK
              !locked[shards];
#else
              !locked[l];
#endif
              unlink(m);
              if
              :: l == 0 -> count--
              :: else
              fi;
              exists[m] = 0;
              listed = 0;
              l = 0;
              helped = 0
          }
       :: else -> d_step { exists[m] = 0; l = 0; helped = 0 }
       fi
    od;
stays:
    skip
}

/* end_members: chunks of one. */
inline walk(l)
{
    more = 1;
    do
    :: !more -> break
    :: more ->
       d_step { !locked[l]; locked[l] = 1 };
#ifdef BUG_KEEP_NEXT
       if
       :: started -> m = kept
       :: else -> m = head[l]
       fi;
       started = 1;
       if
       :: m -> assert(exists[m]); kept = next[m]
#else
       m = head[l];
       if
       :: m ->
          d_step {
              unlink(m);
              link_first(walked, WALKED, m)
          }
#endif
       :: else ->
          d_step {
              more = 0;
              if
              :: walked ->
                 head[l] = walked;
#ifndef BUG_LINK_LEFT
                 link[walked] = HEAD(l);
#endif
                 walked = 0
              :: else
              fi
          }
       fi;
       d_step {
           got = 0;
           if
           :: m && waits[m] -> assert(exists[m]); waits[m] = 0; got = 1
           :: else
           fi;
           locked[l] = 0
       };
       if
       :: got -> claimed[m] = 1; got = 0
       :: else
       fi
    od;
    m = 0
}

proctype canceller()
{
    byte m;
    bit more, got;
#ifdef BUG_KEEP_NEXT
    byte kept;
    bit started;
#endif

    if
    :: true
    :: ended = 1;
       d_step {
           !locked[0];
#ifdef BUG_EMPTY_LIST
           more = (head[0] != 0)
#else
           more = head[0] || shards
#endif
       };
       if
       :: more
       :: else -> goto end
       fi;
       walk(0);
#ifdef BUG_KEEP_NEXT
       started = 0;
#endif
#ifndef BUG_ONE_LIST
       if
       :: shards -> walk(1)
       :: else
       fi;
#endif
       over = 1
    fi;
end:
    skip
}

init
{
    atomic {
        run member(1, 2);
        run member(2, 1);
        run member(3, 1);
        run canceller()
    };
    /* Everybody has left, or waits in a context that has not ended. */
    _nr_pr == 1;
    byte left = exists[1] + exists[2] + exists[3];
    if
    :: left == 0 -> assert(!head[0] && !head[1] && count == 0)
    :: else -> assert(!ended)
    fi
}
