/* inject.c — the queues that belong to no worker. */
#include "sched/inject.h"

#include <string.h>

#define SEGMENT 126U

struct wi_segment {
    struct wi_segment *next;             /* [queue's lock] towards the newest */
    uint32_t begin, end;                 /* [queue's lock] what is used of slots */
    struct wi_goroutine *slots[SEGMENT]; /* [queue's lock] */
};

static struct wi_slab segments = {.name = "queues", .record_size = sizeof(struct wi_segment), .chunk_records = 256};
_Static_assert(sizeof(struct wi_segment) == 1024, "segments fill their slab");

struct wi_inject wi_inject, wi_blockers;

/* A tail with room; false when there is no memory. The lock is held. */
static bool extend(struct wi_inject *queue)
{
    void *record;
    if (wi_slab_take(&segments, 1, &record) == 0)
        return false;
    struct wi_segment *segment = record;
    segment->next = NULL;
    segment->begin = segment->end = 0;
    if (queue->tail)
        queue->tail->next = segment;
    else
        queue->head = segment;
    queue->tail = segment;
    return true;
}

static void link_one(struct wi_inject *queue, struct wi_goroutine *g)
{
    g->next = NULL;
    if (queue->linked)
        queue->linked_to->next = g;
    else
        queue->linked = g;
    queue->linked_to = g;
}

void wi_inject_push_all(struct wi_inject *queue, struct wi_goroutine *const *all, unsigned n)
{
    unsigned pushed = 0;
    wi_lock(&queue->lock);
    while (pushed < n && !queue->linked) {
        struct wi_segment *tail = queue->tail;
        if (!tail || tail->end == SEGMENT) {
            if (!extend(queue))
                break;
            tail = queue->tail;
        }
        unsigned some = SEGMENT - tail->end < n - pushed ? SEGMENT - tail->end : n - pushed;
        memcpy(&tail->slots[tail->end], &all[pushed], some * sizeof all[0]);
        tail->end += some;
        pushed += some;
    }
    for (; pushed < n; pushed++)
        link_one(queue, all[pushed]);
    wi_bump(&queue->count, n);
    wi_unlock(&queue->lock);
    wi_fence_seq_cst(); /* pairs with the heavy barrier of a thread going idle: it sees the push or we see it idle */
}

void wi_inject_push(struct wi_inject *queue, struct wi_goroutine *g)
{
    wi_inject_push_all(queue, &g, 1);
}

/* The oldest segment is used up. The lock is held. */
static void drop_head(struct wi_inject *queue)
{
    struct wi_segment *head = queue->head;
    if (head == queue->tail) {
        head->begin = head->end = 0;
        return;
    }
    queue->head = head->next;
    wi_slab_give_one(&segments, head);
}

unsigned wi_inject_take(struct wi_inject *queue, struct wi_goroutine **taken, unsigned n)
{
    if (wi_load_relaxed(&queue->count) == 0)
        return 0;
    unsigned got = 0;
    wi_lock(&queue->lock);
    for (struct wi_segment *head; got < n && (head = queue->head) && head->begin < head->end;) {
        unsigned some = head->end - head->begin < n - got ? head->end - head->begin : n - got;
        memcpy(&taken[got], &head->slots[head->begin], some * sizeof taken[0]);
        head->begin += some;
        got += some;
        if (head->begin == head->end)
            drop_head(queue);
    }
    for (struct wi_goroutine *g; got < n && (g = queue->linked); got++) {
        queue->linked = g->next;
        taken[got] = g;
    }
    wi_bump(&queue->count, -got);
    wi_unlock(&queue->lock);
    return got;
}

void wi_inject_close(struct wi_inject *queue)
{
    WI_CHECK(wi_load_relaxed(&queue->count) == 0 && queue->head == queue->tail);
    if (queue->head)
        wi_slab_give_one(&segments, queue->head);
    queue->head = queue->tail = NULL;
}

void wi_injects_destroy(void)
{
    wi_slab_destroy(&segments);
    wi_injects_forget();
}

void wi_injects_forget(void)
{
    memset(&wi_inject, 0, sizeof wi_inject);
    memset(&wi_blockers, 0, sizeof wi_blockers);
    wi_slab_forget(&segments);
}
