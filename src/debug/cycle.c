/* cycle.c — deadlocks that can be proved while others run: cycles of goroutines that wait for each other.

   Who waits for whom is known where a wait names an object and the object names a goroutine:
     a Mutex                  the goroutine or thread in its state, see sync/mutex.h
     what goroutines join     (WaitGroup, group, future) every goroutine whose record has it as its join and that has not
                              ended
   Only those that are parked in such a wait can be in a cycle, and a wait for several goroutines is a wait for each of them.
   So the rest of the program may run: nobody in a cycle can. (Unless somebody else unlocks a Mutex on behalf of the one that
   locked it, which is rare enough to be looked at when it is reported.)

   Goroutines are read while they run (snapshot.c). One look may put together what was never true at the same time; so a
   cycle is looked at again after SETTLE_NS and counts when nobody in it has moved meanwhile and every Mutex in it has the
   same holder. A Mutex is the program's memory and may be gone by the time it is read; the kernel reads it for us.
   31 bits of an id stand for a goroutine; that two of the same bits, 2^31 goroutines apart, wait at the same time for each
   other's Mutex is not considered. */
#define _GNU_SOURCE 1 /* pipe2, qsort_r */
#include "ctx/future.h"
#include "debug/debug.h"
#include "sync/mutex.h"
#include "weft/debug.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SETTLE_NS 100000000
#define NONE UINT32_MAX

/* A goroutine or thread that is parked in a wait that others end. */
struct node {
    struct wi_goroutine *g;
    uint64_t id;
    uint32_t turn;
    const struct wi_wait_kind *kind;
    const void *object;
    const void *join;
    uint32_t name;   /* as the state of a Mutex names it */
    uint32_t holder; /* of the Mutex that it waits for; 0: not known, or not a Mutex */
    uint32_t edge;   /* while on the path: the place of whom to look at next, in the order that its wait asks for */
    uint32_t next;   /* in a cycle: whom it waits for */
    enum { FRESH, ON_PATH, DONE } visit;
};

/* The nodes in order by their name or by their join. */
struct order {
    const struct node *nodes;
    uint32_t *indices;
    bool by_join;
};

struct look {
    struct node *nodes;
    uint32_t n, room;
    struct order orders[2]; /* by name; by join */
    uint32_t *path;
    uint32_t *cycles; /* a node of each */
    uint32_t n_cycles;
    int pipe[2];
    bool failed; /* no memory, no descriptors */
};

/* ---- reading ---- */

/* Reads a Mutex that may be gone: the kernel refuses what is not mapped, and no sanitizer minds. */
static uint32_t read_holder(struct look *look, const struct wi_snapshot *s)
{
    uint64_t state;
    if (s->kind != &wi_waits_for_mutex || syscall(SYS_write, look->pipe[1], s->object, sizeof state) != sizeof state ||
        read(look->pipe[0], &state, sizeof state) != sizeof state || !(state & WI_MUTEX_LOCKED))
        return 0;
    return (uint32_t)(state >> WI_HOLDER_SHIFT);
}

static void add_node(struct wi_goroutine *g, void *argument)
{
    struct look *look = argument;
    struct wi_snapshot s;
    if (!wi_snapshot(g, &s, NULL, 0, NULL) || s.state != WI_PARKED || !s.kind || !s.object)
        return;
    if (s.kind != &wi_waits_for_mutex && !s.kind->joins)
        return;
    if (look->n == look->room) {
        uint32_t room = look->room ? 2 * look->room : 64;
        struct node *nodes = realloc(look->nodes, room * sizeof *nodes);
        if (!nodes) {
            look->failed = true;
            return;
        }
        look->nodes = nodes;
        look->room = room;
    }
    look->nodes[look->n++] = (struct node){.g = g,
                                           .id = s.id,
                                           .turn = s.turn,
                                           .kind = s.kind,
                                           .object = s.object,
                                           .join = wi_join_object(s.join),
                                           .name = s.is_thread ? wi_holder_thread(s.tid) : wi_holder_goroutine(s.id),
                                           .holder = read_holder(look, &s)};
}

/* What the nodes are in order by. */
static uintptr_t key_of(const struct node *node, bool by_join)
{
    return by_join ? (uintptr_t)node->join : node->name;
}

static int compare(const void *a, const void *b, void *argument)
{
    const struct order *order = argument;
    uintptr_t x = key_of(&order->nodes[*(const uint32_t *)a], order->by_join);
    uintptr_t y = key_of(&order->nodes[*(const uint32_t *)b], order->by_join);
    return (x > y) - (x < y);
}

static void sort(struct look *look)
{
    uint32_t *indices = malloc(4 * (size_t)look->n * sizeof *indices);
    if (!indices) {
        look->failed = true;
        return;
    }
    look->path = indices + 2 * (size_t)look->n;
    look->cycles = look->path + look->n;
    for (unsigned by_join = 0; by_join < 2; by_join++) {
        struct order *order = &look->orders[by_join];
        *order = (struct order){look->nodes, indices + by_join * (size_t)look->n, by_join};
        for (uint32_t i = 0; i < look->n; i++)
            order->indices[i] = i;
        qsort_r(order->indices, look->n, sizeof *indices, compare, order);
    }
}

/* ---- finding ---- */

/* What the key of those that the node waits for is. */
static uintptr_t wanted_by(const struct node *node)
{
    return node->kind->joins ? (uintptr_t)node->object : node->holder;
}

/* Which order has them together. */
static const struct order *order_for(const struct look *look, const struct node *node)
{
    return &look->orders[node->kind->joins];
}

/* The first place in the order whose key is at least key. */
static uint32_t find(const struct look *look, const struct order *order, uintptr_t key)
{
    uint32_t low = 0, high = look->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (key_of(&look->nodes[order->indices[middle]], order->by_join) < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void enter_path(struct look *look, uint32_t *length, uint32_t index)
{
    struct node *node = &look->nodes[index];
    node->visit = ON_PATH;
    node->edge = find(look, order_for(look, node), wanted_by(node));
    look->path[(*length)++] = index;
}

/* Whom the node waits for, one after the other; NONE: there is nobody else. */
static uint32_t next_edge(struct look *look, struct node *node)
{
    const struct order *order = order_for(look, node);
    uint32_t place = node->edge++;
    if (place >= look->n || !wanted_by(node))
        return NONE;
    uint32_t index = order->indices[place];
    if (key_of(&look->nodes[index], order->by_join) != wanted_by(node))
        return NONE;
    if (!order->by_join)
        node->edge = NONE; /* a Mutex has one holder */
    return index;
}

/* The path's end waits for target, which is on the path: takes the cycle off the path. */
static void note_cycle(struct look *look, uint32_t *length, uint32_t target)
{
    uint32_t next = target, index;
    do {
        index = look->path[--*length];
        look->nodes[index].next = next;
        look->nodes[index].visit = DONE;
        next = index;
    } while (index != target);
    look->cycles[look->n_cycles++] = target;
}

/* Depth first, along a path that is no recursion. A cycle's nodes are done with: the cycles found have none in common. */
static void find_cycles(struct look *look)
{
    for (uint32_t start = 0; start < look->n; start++) {
        uint32_t length = 0;
        if (look->nodes[start].visit == FRESH)
            enter_path(look, &length, start);
        while (length) {
            struct node *end = &look->nodes[look->path[length - 1]];
            uint32_t target = next_edge(look, end);
            if (target == NONE) {
                end->visit = DONE;
                length--;
            } else if (look->nodes[target].visit == FRESH) {
                enter_path(look, &length, target);
            } else if (look->nodes[target].visit == ON_PATH) {
                note_cycle(look, &length, target);
            }
        }
    }
}

/* ---- looking again ---- */

static bool node_stands(struct look *look, const struct node *node)
{
    struct wi_snapshot s;
    return wi_snapshot(node->g, &s, NULL, 0, NULL) && s.state == WI_PARKED && s.id == node->id && s.turn == node->turn &&
           read_holder(look, &s) == node->holder;
}

static bool cycle_stands(struct look *look, uint32_t first)
{
    uint32_t index = first;
    do {
        if (!node_stands(look, &look->nodes[index]))
            return false;
        index = look->nodes[index].next;
    } while (index != first);
    return true;
}

static void settle(void)
{
    struct timespec left = {.tv_nsec = SETTLE_NS};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

/* ---- printing ---- */

static const char *who_is(const struct node *node, char *text, size_t size)
{
    struct wi_snapshot s;
    if (wi_snapshot(node->g, &s, NULL, 0, NULL) && s.id == node->id)
        return wi_who(&s, text, size);
    snprintf(text, size, "goroutine %llu", (unsigned long long)node->id);
    return text;
}

static void print_node(int fd, const struct node *node, const struct node *before, const struct node *next)
{
    char who[256], whom[256];
    dprintf(fd, "    %s ", who_is(node, who, sizeof who));
    if (before->holder)
        dprintf(fd, "holds %s %p, ", before->kind->text, before->object);
    dprintf(fd, "waits for %s %p %s %s\n", node->kind->text, node->object, node->holder ? "held by" : "until the end of",
            who_is(next, whom, sizeof whom));
}

static void print_cycle(int fd, const struct look *look, uint32_t first)
{
    uint32_t last = first, members = 1;
    for (; look->nodes[last].next != first; last = look->nodes[last].next)
        members++;
    if (members == 1)
        dprintf(fd, "weft: deadlock: a goroutine waits for itself:\n");
    else
        dprintf(fd, "weft: deadlock: %u goroutines wait for each other:\n", members);
    for (uint32_t i = 0, before = last, index = first; i < members; i++, before = index, index = look->nodes[index].next)
        print_node(fd, &look->nodes[index], &look->nodes[before], &look->nodes[look->nodes[index].next]);
}

int wi_cycles_print(int fd, bool sure)
{
    struct look look = {0};
    int printed = 0;
    if (pipe2(look.pipe, O_CLOEXEC) != 0)
        return 0;
    wi_snapshot_each(add_node, &look);
    if (look.n && !look.failed)
        sort(&look);
    if (look.n && !look.failed)
        find_cycles(&look);
    if (look.n_cycles && !sure)
        settle();
    for (uint32_t i = 0; i < look.n_cycles; i++)
        if (cycle_stands(&look, look.cycles[i])) {
            print_cycle(fd, &look, look.cycles[i]);
            printed++;
        }
    free(look.orders[0].indices);
    free(look.nodes);
    close(look.pipe[0]);
    close(look.pipe[1]);
    return printed;
}

int weft_deadlocks(int fd)
{
    if (wi_load_acquire(&wi_sched.started) != WI_STARTED)
        return 0;
    int saved_errno = errno;
    int printed = wi_cycles_print(fd, false);
    errno = saved_errno;
    return printed;
}
