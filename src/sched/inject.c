/* inject.c — the queues that belong to no worker. */
#include "sched/inject.h"

struct wi_inject wi_inject, wi_blockers;

void wi_inject_push_list(struct wi_inject *queue, struct wi_goroutine *first, struct wi_goroutine **end, unsigned n)
{
    struct wi_goroutine *last = (struct wi_goroutine *)(void *)end; /* next is the first field */
    last->next = NULL;
    wi_lock(&queue->lock);
    if (queue->first)
        queue->last->next = first;
    else
        queue->first = first;
    queue->last = last;
    wi_bump(&queue->count, n);
    wi_unlock(&queue->lock);
    wi_fence_seq_cst(); /* pairs with the heavy barrier of a thread going idle: it sees the push or we see it idle */
}

void wi_inject_push(struct wi_inject *queue, struct wi_goroutine *g)
{
    wi_inject_push_list(queue, g, &g->next, 1);
}

struct wi_goroutine *wi_inject_take(struct wi_inject *queue, unsigned n)
{
    if (wi_load_relaxed(&queue->count) == 0)
        return NULL;
    wi_lock(&queue->lock);
    struct wi_goroutine *first = queue->first, *last = NULL;
    unsigned taken = 0;
    for (struct wi_goroutine *g = first; g && taken < n; g = g->next, taken++)
        last = g;
    if (last) {
        queue->first = last->next;
        last->next = NULL;
        wi_bump(&queue->count, -taken);
    }
    wi_unlock(&queue->lock);
    return last ? first : NULL;
}
