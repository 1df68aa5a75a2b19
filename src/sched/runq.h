/* runq.h — a worker's run queue. Only the thread that owns the worker touches it, from inside weft; others read the
   counters. So pushing and picking cost no locked instruction. How work gets to others: claim.h (taking the whole worker)
   and wi_runq_share (the owner gives half away when asked).

   Three parts:
     next    the goroutine just made ready by the running one: runs next, so that two that talk to each other stay in cache;
             while others wait, for about WI_RUNQ_SLICE_NS (the clock is read every WI_RUNQ_STREAK picks)
     woken   a ring, first in first out: goroutines that ran before
     fresh   a ring, newest first: goroutines that never ran. Depth first keeps few stacks alive; every 64th turn takes the
             oldest, so that none starves. When both rings hold something they take turns.
   What does not fit goes, the oldest half at a time, to the inject queue.

   0 <= tail - head <= WI_RUNQ_SIZE for both rings. */
#ifndef WI_RUNQ_H
#define WI_RUNQ_H

#include "sched/goroutine.h"

#define WI_RUNQ_SIZE 256U
#define WI_RUNQ_STREAK 64U
#define WI_RUNQ_SLICE_NS INT64_C(1000000)
#define WI_RUNQ_NOT_STARTED INT64_MAX
#define WI_RUNQ_LOOK 32U /* every that many picks the worker looks at timers and the inject queue */

struct wi_ring {
    _Atomic uint32_t head, tail;              /* [stores: owner; loads: all] */
    struct wi_goroutine *slots[WI_RUNQ_SIZE]; /* [owner] */
};

struct wi_runq {
    _Atomic(struct wi_goroutine *) next; /* [stores: owner; loads: all] */
    _Atomic uint32_t tick;               /* [stores: owner; loads: all] picks so far */
    _Atomic uint32_t turns;              /* [stores: owner; loads: all] picks that were not from next */
    uint32_t clock_tick;                 /* [owner] when the clock was last read, or the turn began */
    int64_t slice_start_ns;              /* [owner] CPU time when this turn's clock was first read */
    struct wi_ring woken, fresh;
};

static inline uint32_t wi_ring_length(const struct wi_ring *ring)
{
    return wi_load_relaxed(&ring->tail) - wi_load_relaxed(&ring->head);
}

/* How many are queued: exact for the owner, a guess for others. */
static inline uint32_t wi_runq_length(const struct wi_runq *q)
{
    return wi_ring_length(&q->woken) + wi_ring_length(&q->fresh) + (wi_load_relaxed(&q->next) != NULL);
}

/* Moves the oldest half of a full ring to the inject queue. */
void wi_ring_overflow(struct wi_ring *ring);

/* The ring is not full. */
static inline void wi_ring_put(struct wi_ring *ring, struct wi_goroutine *g)
{
    uint32_t tail = wi_load_relaxed(&ring->tail);
    WI_CHECK(tail - wi_load_relaxed(&ring->head) < WI_RUNQ_SIZE);
    ring->slots[tail % WI_RUNQ_SIZE] = g;
    wi_store_relaxed(&ring->tail, tail + 1);
}

/* False: it is full. */
static inline bool wi_ring_try_push(struct wi_ring *ring, struct wi_goroutine *g)
{
    WI_CHECK(wi_ring_length(ring) <= WI_RUNQ_SIZE);
    if (WI_UNLIKELY(wi_ring_length(ring) == WI_RUNQ_SIZE))
        return false;
    wi_ring_put(ring, g);
    return true;
}

static inline void wi_ring_push(struct wi_ring *ring, struct wi_goroutine *g)
{
    if (WI_LIKELY(wi_ring_try_push(ring, g)))
        return;
    wi_ring_overflow(ring);
    wi_ring_try_push(ring, g);
}

/* The same at the other end. */
static inline void wi_ring_push_oldest(struct wi_ring *ring, struct wi_goroutine *g)
{
    uint32_t head = wi_load_relaxed(&ring->head);
    if (WI_UNLIKELY(wi_load_relaxed(&ring->tail) - head == WI_RUNQ_SIZE)) {
        wi_ring_overflow(ring);
        head = wi_load_relaxed(&ring->head);
    }
    WI_CHECK(wi_load_relaxed(&ring->tail) - head < WI_RUNQ_SIZE);
    ring->slots[(head - 1) % WI_RUNQ_SIZE] = g;
    wi_store_relaxed(&ring->head, head - 1);
}

static inline struct wi_goroutine *wi_ring_oldest(struct wi_ring *ring)
{
    uint32_t head = wi_load_relaxed(&ring->head);
    if (head == wi_load_relaxed(&ring->tail))
        return NULL;
    struct wi_goroutine *g = ring->slots[head % WI_RUNQ_SIZE];
    wi_store_relaxed(&ring->head, head + 1);
    if (wi_load_relaxed(&ring->tail) - head > 3) { /* a long queue is a cold one: what comes next is fetched meanwhile */
        __builtin_prefetch(ring->slots[(head + 2) % WI_RUNQ_SIZE], 1);
        wi_prefetch_stack(ring->slots[(head + 1) % WI_RUNQ_SIZE]);
    }
    return g;
}

static inline struct wi_goroutine *wi_ring_newest(struct wi_ring *ring)
{
    uint32_t tail = wi_load_relaxed(&ring->tail);
    if (wi_load_relaxed(&ring->head) == tail)
        return NULL;
    wi_store_relaxed(&ring->tail, tail - 1);
    return ring->slots[(tail - 1) % WI_RUNQ_SIZE];
}

/* Many picks from next in a row while others may wait: whether it is the others' turn. */
bool wi_runq_slice_is_over(struct wi_runq *q, uint32_t tick);

/* The goroutine to run now, or NULL. turn_is_over: others come before next. */
static inline struct wi_goroutine *wi_runq_pick(struct wi_runq *q, uint32_t tick, bool turn_is_over)
{
    struct wi_goroutine *g = wi_load_relaxed(&q->next);
    if (g && !turn_is_over && !(WI_UNLIKELY(tick - q->clock_tick >= WI_RUNQ_STREAK) && wi_runq_slice_is_over(q, tick))) {
        wi_store_relaxed(&q->next, NULL);
        return g;
    }
    q->slice_start_ns = WI_RUNQ_NOT_STARTED; /* a new turn, however the last one ended */
    q->clock_tick = tick;
    uint32_t turn = wi_load_relaxed(&q->turns) + 1; /* not the tick: some picks come at every second one for long */
    wi_store_relaxed(&q->turns, turn);
    if (wi_ring_length(&q->fresh) != 0 && ((turn & 1) || wi_ring_length(&q->woken) == 0))
        return WI_LIKELY((turn & 63) != 63) ? wi_ring_newest(&q->fresh) : wi_ring_oldest(&q->fresh);
    struct wi_goroutine *woken = wi_ring_oldest(&q->woken);
    if (woken)
        return woken;
    if (g)
        wi_store_relaxed(&q->next, NULL);
    return g;
}

/* Moves half of both rings, the oldest, rounded up, to the inject queue; when they are empty, what is in next. Returns how
   many. */
unsigned wi_runq_share(struct wi_runq *q);

#endif
