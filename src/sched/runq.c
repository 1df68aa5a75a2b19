/* runq.c — the rare operations on a run queue: overflow and sharing. */
#include "sched/runq.h"

#include "sched/inject.h"

#include <time.h>

/* Moves the n oldest of the ring, which has so many, to the inject queue: in two pieces where they go round its end. */
static void move_oldest(struct wi_ring *ring, unsigned n)
{
    while (n > 0) {
        uint32_t head = wi_load_relaxed(&ring->head), first = head % WI_RUNQ_SIZE;
        unsigned some = n < WI_RUNQ_SIZE - first ? n : WI_RUNQ_SIZE - first;
        wi_store_relaxed(&ring->head, head + some);
        wi_inject_push_all(&wi_inject, &ring->slots[first], some);
        n -= some;
    }
}

void wi_ring_overflow(struct wi_ring *ring)
{
    move_oldest(ring, WI_RUNQ_SIZE / 2);
}

unsigned wi_runq_share(struct wi_runq *q)
{
    unsigned woken = (wi_ring_length(&q->woken) + 1) / 2, fresh = (wi_ring_length(&q->fresh) + 1) / 2;
    move_oldest(&q->woken, woken);
    move_oldest(&q->fresh, fresh);
    struct wi_goroutine *next = wi_load_relaxed(&q->next);
    if (woken + fresh > 0 || !next)
        return woken + fresh;
    wi_store_relaxed(&q->next, NULL);
    wi_inject_push(&wi_inject, next);
    return 1;
}

bool wi_runq_slice_is_over(struct wi_runq *q, uint32_t tick)
{
    q->clock_tick = tick;
    if (wi_ring_length(&q->woken) + wi_ring_length(&q->fresh) == 0)
        return false;
    /* CPU time: while the kernel runs somebody else the turn is not used up. Another thread's clock, should the worker have
       moved, only shortens or lengthens one turn. */
    int64_t now_ns = wi_os_thread_cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    if (q->slice_start_ns == WI_RUNQ_NOT_STARTED)
        q->slice_start_ns = now_ns;
    return now_ns < q->slice_start_ns || now_ns - q->slice_start_ns >= WI_RUNQ_SLICE_NS;
}
