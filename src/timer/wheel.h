/* wheel.h — pending timers of one worker: a hierarchical timing wheel for the far ones, a pairing heap for the near ones.

   Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987; Fredman, Sedgewick, Sleator and Tarjan, "The
   Pairing Heap", Algorithmica 1986. Most timers are timeouts that are stopped long before they are due: in the wheel, start
   and stop are O(1) list operations. What comes within one level-0 slot of being due moves to the heap, which orders it to
   the nanosecond. Both are intrusive: they never allocate and never fail. A timer that nobody has looked at for long is not
   in the caches, and if it lies on its waiter's stack not in the TLB either; hence the wide level 1, from which what is due
   within four seconds comes out a millisecond before it is needed, and not before. The caller locks. */
#ifndef WI_WHEEL_H
#define WI_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wi_timer {
    int64_t deadline_ns;           /* CLOCK_MONOTONIC; INT64_MAX never fires */
    struct wi_timer *next, **link; /* wheel: slot list; heap: sibling and who points here */
    union {
        struct wi_timer *child; /* heap */
        const void *ahead;      /* wheel: what to fetch when this one is sorted, see wheel.c; it may be gone */
    };
    uint8_t where; /* 0 idle, 1 wheel, 2 heap */
    uint8_t kind;  /* the starter's, see timeout.h; the wheel does not look */
    uint8_t level; /* wheel: to keep the occupancy bitmap */
    uint16_t slot; /* wheel: of all levels, likewise */
};

#define WI_WHEEL_LEVELS 6
#define WI_WHEEL_AHEAD 8
#define WI_WHEEL_WORDS (64 + 5) /* of 64 slots: level 1 has 64 of them, the others one each */
struct wi_wheel {
    uint64_t now_tick;                 /* slots up to here have been moved to the heap */
    uint64_t words[WI_WHEEL_LEVELS];   /* bitmap of words below that are not 0 */
    uint64_t occupied[WI_WHEEL_WORDS]; /* bitmap of slots that are not empty */
    struct wi_timer *slots[WI_WHEEL_WORDS * 64];
    struct wi_timer *heap; /* the root: the earliest near timer */
    /* Level 1: the timers that were last put into a slot, and how many so far. */
    const void *recent[64 * 64][WI_WHEEL_AHEAD];
    uint8_t recent_count[64 * 64];
    size_t count;
};

/* A zeroed wheel is empty. now_ns never goes back. */
void wi_wheel_add(struct wi_wheel *wheel, struct wi_timer *timer, int64_t now_ns); /* timer->deadline_ns is set, where 0 */
/* False when the timer was not pending. */
bool wi_wheel_remove(struct wi_wheel *wheel, struct wi_timer *timer);
/* Takes the earliest timer with deadline_ns <= now_ns off the wheel; NULL when there is none. In order of deadline, first
   started first among equals is not promised. */
struct wi_timer *wi_wheel_expire(struct wi_wheel *wheel, int64_t now_ns);
/* Takes any timer off the wheel; NULL when there is none. For the end. */
struct wi_timer *wi_wheel_take_any(struct wi_wheel *wheel);
/* A time at which wi_wheel_expire may have something to do: exact for near timers, never later than the earliest timer; far
   ones give the time at which their slot must be sorted. INT64_MAX when nothing is pending. O(levels). */
int64_t wi_wheel_next_ns(const struct wi_wheel *wheel);

#endif
