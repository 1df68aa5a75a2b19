/* runq.c — the rare operations on a run queue: overflow and sharing. */
#include "sched/runq.h"

#include "sched/inject.h"

#include <time.h>

/* Takes the n oldest off the ring as a list. */
static unsigned detach_oldest(struct wi_ring *ring, unsigned n, struct wi_goroutine ***end)
{
    unsigned taken = 0;
    for (struct wi_goroutine *g; taken < n && (g = wi_ring_oldest(ring)); taken++) {
        **end = g;
        *end = &g->next;
    }
    return taken;
}

void wi_ring_overflow(struct wi_ring *ring)
{
    struct wi_goroutine *first = NULL, **end = &first;
    unsigned n = detach_oldest(ring, WI_RUNQ_SIZE / 2, &end);
    *end = NULL;
    wi_inject_push_list(&wi_inject, first, end, n);
}

unsigned wi_runq_share(struct wi_runq *q)
{
    struct wi_goroutine *first = NULL, **end = &first;
    unsigned n = detach_oldest(&q->woken, (wi_ring_length(&q->woken) + 1) / 2, &end);
    n += detach_oldest(&q->fresh, (wi_ring_length(&q->fresh) + 1) / 2, &end);
    if (n == 0 && (*end = wi_load_relaxed(&q->next))) {
        end = &(*end)->next;
        wi_store_relaxed(&q->next, NULL);
        n = 1;
    }
    *end = NULL;
    if (n)
        wi_inject_push_list(&wi_inject, first, end, n);
    return n;
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
