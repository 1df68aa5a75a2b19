/* wheel.c — the timing wheel and the heap of near timers.

   Time is cut into ticks of 2^20 ns, about a millisecond. Seen as digits to the base 64, a timer's tick first differs from
   now_tick in some digit: that is its level, and its own digit there is its slot. So within a level the slots come in order,
   everything in a level is due before everything in the next, and what now_tick passes on its way to the first occupied slot
   changes nobody's place. The last level is a ring: it holds all that differs in its digit or above, and what is further
   away than the ring is long (two years) stays in its slot for another turn when the slot is sorted.

   Invariants: a timer in the wheel has a tick > now_tick, one in the heap a tick <= now_tick, so all of the heap is due
   before all of the wheel. occupied has exactly the bits of the slots that are not empty. */
#include "timer/wheel.h"

#include "base/fatal.h"

#define TICK_SHIFT 20
#define DIGIT 6 /* bits */
#define LAST (WI_WHEEL_LEVELS - 1)
#define SCAN 8 /* a slot with up to this many timers tells its earliest deadline exactly */

_Static_assert(1 << DIGIT == WI_WHEEL_SLOTS && WI_WHEEL_SLOTS == 64, "a level's bitmap is one word");

enum { IDLE, IN_WHEEL, IN_HEAP };

static uint64_t tick_of(int64_t ns)
{
    return ns < 0 ? 0 : (uint64_t)ns >> TICK_SHIFT;
}

/* ---- intrusive lists: slots, and the children of a heap node ---- */

static void push(struct wi_timer **list, struct wi_timer *timer)
{
    WI_CHECK(*list == NULL || (*list)->link == list);
    timer->next = *list;
    timer->link = list;
    if (timer->next)
        timer->next->link = &timer->next;
    *list = timer;
}

static void unlink_timer(struct wi_timer *timer)
{
    WI_CHECK(*timer->link == timer && (!timer->next || timer->next->link == &timer->next));
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
}

/* ---- the heap ---- */

/* Joins two trees, either NULL; the result's next and link are the caller's to set. */
static struct wi_timer *meld(struct wi_timer *a, struct wi_timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->deadline_ns < a->deadline_ns) {
        struct wi_timer *swap = a;
        a = b;
        b = swap;
    }
    WI_CHECK(a->where == IN_HEAP && b->where == IN_HEAP);
    push(&a->child, b);
    return a;
}

/* Makes one tree of a list of trees: joins them in pairs from left to right, then the pairs from right to left. */
static struct wi_timer *meld_list(struct wi_timer *list)
{
    struct wi_timer *pairs = NULL; /* linked through next, last first */
    while (list) {
        struct wi_timer *a = list, *b = a->next;
        list = b ? b->next : NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    struct wi_timer *tree = NULL;
    while (pairs) {
        struct wi_timer *pair = pairs;
        pairs = pair->next;
        tree = meld(tree, pair);
    }
    return tree;
}

static void set_root(struct wi_wheel *wheel, struct wi_timer *root)
{
    wheel->heap = root;
    if (root) {
        root->next = NULL;
        root->link = &wheel->heap;
    }
}

static void heap_remove(struct wi_wheel *wheel, struct wi_timer *timer)
{
    unlink_timer(timer); /* a root leaves NULL behind */
    struct wi_timer *children = meld_list(timer->child);
    timer->child = NULL;
    set_root(wheel, meld(wheel->heap, children));
}

/* ---- the wheel ---- */

/* Puts the timer where it belongs as seen from now_tick. */
static void place(struct wi_wheel *wheel, struct wi_timer *timer)
{
    uint64_t tick = tick_of(timer->deadline_ns), now = wheel->now_tick;
    if (tick <= now) {
        timer->where = IN_HEAP;
        timer->child = NULL;
        set_root(wheel, meld(wheel->heap, timer));
        return;
    }
    unsigned level = (63u - (unsigned)__builtin_clzll(tick ^ now)) / DIGIT;
    if (level > LAST)
        level = LAST;
    unsigned slot = (tick >> level * DIGIT) % WI_WHEEL_SLOTS;
    WI_CHECK(level == LAST || slot > (now >> level * DIGIT) % WI_WHEEL_SLOTS);
    WI_CHECK((wheel->slots[level][slot] != NULL) == (wheel->occupied[level] >> slot & 1));
    timer->where = IN_WHEEL;
    timer->level = (uint8_t)level;
    timer->slot = (uint8_t)slot;
    push(&wheel->slots[level][slot], timer);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

/* The first occupied slot: its level, its number, and the tick at which it begins, which is > now_tick. */
struct first_slot {
    unsigned level, slot;
    uint64_t tick;
};

static bool find_first(const struct wi_wheel *wheel, struct first_slot *first)
{
    for (unsigned level = 0; level < WI_WHEEL_LEVELS; level++) {
        uint64_t occupied = wheel->occupied[level];
        if (!occupied)
            continue;
        uint64_t now = wheel->now_tick >> level * DIGIT;
        unsigned after = (unsigned)(now + 1) % WI_WHEEL_SLOTS; /* in the last level the ring goes on at 0 */
        uint64_t turned = occupied >> after | occupied << (WI_WHEEL_SLOTS - after) % WI_WHEEL_SLOTS;
        uint64_t begin = now + 1 + (unsigned)__builtin_ctzll(turned);
        *first = (struct first_slot){level, (unsigned)(begin % WI_WHEEL_SLOTS), begin << level * DIGIT};
        return true;
    }
    return false;
}

/* Moves now_tick to tick and sorts the slots that begin by then. */
static void advance(struct wi_wheel *wheel, uint64_t tick)
{
    struct first_slot first;
    while (find_first(wheel, &first) && first.tick <= tick) {
        struct wi_timer *list = wheel->slots[first.level][first.slot];
        WI_CHECK(list && list->link == &wheel->slots[first.level][first.slot] && first.tick > wheel->now_tick);
        wheel->slots[first.level][first.slot] = NULL;
        wheel->occupied[first.level] &= ~(UINT64_C(1) << first.slot);
        wheel->now_tick = first.tick;
        while (list) {
            struct wi_timer *timer = list;
            list = timer->next;
            WI_CHECK(timer->where == IN_WHEEL && timer->level == first.level && timer->slot == first.slot);
            place(wheel, timer);
        }
    }
    wheel->now_tick = tick;
}

/* ---- what others call ---- */

void wi_wheel_add(struct wi_wheel *wheel, struct wi_timer *timer, int64_t now_ns)
{
    uint64_t now = tick_of(now_ns);
    struct first_slot first;
    WI_CHECK(timer->where == IDLE);
    /* Keep up with the time where that sorts nothing: a far timer placed from long ago lies in too high a level. */
    if (now > wheel->now_tick && (!find_first(wheel, &first) || first.tick > now))
        wheel->now_tick = now;
    place(wheel, timer);
    wheel->count++;
}

bool wi_wheel_remove(struct wi_wheel *wheel, struct wi_timer *timer)
{
    if (timer->where == IDLE)
        return false;
    WI_CHECK(wheel->count > 0);
    if (timer->where == IN_HEAP) {
        heap_remove(wheel, timer);
    } else {
        WI_CHECK(timer->where == IN_WHEEL && (wheel->occupied[timer->level] >> timer->slot & 1));
        unlink_timer(timer);
        if (!wheel->slots[timer->level][timer->slot])
            wheel->occupied[timer->level] &= ~(UINT64_C(1) << timer->slot);
    }
    timer->where = IDLE;
    wheel->count--;
    return true;
}

struct wi_timer *wi_wheel_expire(struct wi_wheel *wheel, int64_t now_ns)
{
    uint64_t now = tick_of(now_ns);
    if (now > wheel->now_tick)
        advance(wheel, now);
    struct wi_timer *timer = wheel->heap;
    WI_CHECK(!timer ||
             (timer->where == IN_HEAP && timer->link == &wheel->heap && tick_of(timer->deadline_ns) <= wheel->now_tick));
    if (!timer || timer->deadline_ns > now_ns || timer->deadline_ns == INT64_MAX)
        return NULL;
    wi_wheel_remove(wheel, timer);
    return timer;
}

struct wi_timer *wi_wheel_take_any(struct wi_wheel *wheel)
{
    struct wi_timer *timer = wheel->heap;
    struct first_slot first;
    if (!timer && find_first(wheel, &first))
        timer = wheel->slots[first.level][first.slot];
    if (timer)
        wi_wheel_remove(wheel, timer);
    return timer;
}

int64_t wi_wheel_next_ns(const struct wi_wheel *wheel)
{
    if (wheel->heap)
        return wheel->heap->deadline_ns;
    struct first_slot first;
    if (!find_first(wheel, &first))
        return INT64_MAX;
    int64_t begin_ns = (int64_t)(first.tick << TICK_SHIFT), earliest_ns = INT64_MAX;
    const struct wi_timer *timer = wheel->slots[first.level][first.slot];
    for (int seen = 0; timer; seen++, timer = timer->next) {
        bool parked = tick_of(timer->deadline_ns) >> first.level * DIGIT != first.tick >> first.level * DIGIT;
        if (parked || seen == SCAN)
            return begin_ns; /* parked for a later turn of the ring: other slots may hold earlier ones */
        if (timer->deadline_ns < earliest_ns)
            earliest_ns = timer->deadline_ns;
    }
    return earliest_ns;
}
