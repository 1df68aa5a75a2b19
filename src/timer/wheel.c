/* wheel.c — the timing wheel and the heap of near timers.

   Time is cut into ticks of 2^14 ns, 16 us. Each level cuts it into its own units, as many ticks as the level below is long,
   and is a ring of slots, one a unit: level 0 has 64 of a tick, 1 ms long in all; level 1 has 4,096, four seconds; the others
   have 64. A timer lies in the lowest level that reaches so far: in the slot of its unit there, which is 1 to (slots - 1)
   units from now_tick's. A slot is sorted into the levels below when its unit begins. What is further away than the last
   level is long (two years) stays in its slot for another turn when that is sorted.

   Invariants: a timer in the wheel has a tick > now_tick, one in the heap a tick <= now_tick, so all of the heap is due
   before all of the wheel; the slot of now_tick's own unit is empty in every level; so within a level the slots come in the
   order of the ring. Between levels there is no order: what was put into a high one long ago may be due before what a low
   one has got since. occupied has exactly the bits of the slots that are not empty, words those of its words. */
#include "timer/wheel.h"

#include "base/fatal.h"

#define TICK_SHIFT 14
#define LAST (WI_WHEEL_LEVELS - 1)
#define SCAN 8 /* a slot with up to this many timers tells its earliest deadline exactly */

/* In slots, shift: ticks of a slot, log2. */
static const struct {
    uint8_t shift;
    uint16_t first, slots;
} levels[WI_WHEEL_LEVELS] = {
    {0, 0, 64}, {6, 64, 64 * 64}, {18, 65 * 64, 64}, {24, 66 * 64, 64}, {30, 67 * 64, 64}, {36, 68 * 64, 64},
};

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

static void set_occupied(struct wi_wheel *wheel, unsigned level, unsigned slot)
{
    wheel->occupied[slot / 64] |= UINT64_C(1) << slot % 64;
    wheel->words[level] |= UINT64_C(1) << (slot - levels[level].first) / 64;
}

static void set_empty(struct wi_wheel *wheel, unsigned level, unsigned slot)
{
    wheel->occupied[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    if (wheel->occupied[slot / 64] == 0)
        wheel->words[level] &= ~(UINT64_C(1) << (slot - levels[level].first) / 64);
}

/* A timer that is put into a slot of level 1 knows the one that was put there WI_WHEEL_AHEAD before it, which will most likely
   come as many after it when the slot is sorted: going from one to the next alone would wait for a miss of caches and TLB at
   each. It may be gone by then, so that is only a place to fetch. */
static void note_ahead(struct wi_wheel *wheel, struct wi_timer *timer, unsigned slot)
{
    const void **recent = &wheel->recent[slot][wheel->recent_count[slot]++ % WI_WHEEL_AHEAD];
    timer->ahead = *recent;
    *recent = timer;
}

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
    unsigned level = 0;
    while (level < LAST && (tick >> levels[level].shift) - (now >> levels[level].shift) >= levels[level].slots)
        level++;
    uint64_t unit = tick >> levels[level].shift, now_unit = now >> levels[level].shift;
    if (unit - now_unit >= levels[level].slots)
        unit = now_unit + levels[level].slots - 1; /* as far as the last level reaches: it stays for another turn */
    unsigned slot = levels[level].first + (unsigned)(unit % levels[level].slots);
    WI_CHECK(unit > now_unit);
    WI_CHECK((wheel->slots[slot] != NULL) == (wheel->occupied[slot / 64] >> slot % 64 & 1));
    timer->where = IN_WHEEL;
    timer->level = (uint8_t)level;
    timer->slot = (uint16_t)slot;
    timer->ahead = NULL;
    if (level == 1)
        note_ahead(wheel, timer, slot - levels[1].first);
    push(&wheel->slots[slot], timer);
    set_occupied(wheel, level, slot);
}

/* The first occupied slot of a level: its number, and the tick at which it begins, which is > now_tick. */
struct first_slot {
    unsigned level, slot;
    uint64_t tick;
};

static uint64_t rotate_right(uint64_t word, unsigned by)
{
    return word >> by | word << (64 - by) % 64;
}

static bool find_in_level(const struct wi_wheel *wheel, unsigned level, struct first_slot *first)
{
    uint64_t words = wheel->words[level];
    if (!words)
        return false;
    unsigned slots = levels[level].slots;
    const uint64_t *occupied = &wheel->occupied[levels[level].first / 64];
    uint64_t now = wheel->now_tick >> levels[level].shift;
    unsigned after = (unsigned)((now + 1) % slots), word = after / 64;
    uint64_t here = occupied[word] >> after % 64 << after % 64; /* the rest of that word comes last, after a turn */
    if (!here) {
        unsigned turn = (word + 1) % 64;
        word = (turn + (unsigned)__builtin_ctzll(rotate_right(words, turn))) % 64;
        here = occupied[word];
    }
    unsigned at = word * 64 + (unsigned)__builtin_ctzll(here);
    uint64_t unit = now + 1 + (at - after) % slots;
    *first = (struct first_slot){level, levels[level].first + at, unit << levels[level].shift};
    return true;
}

/* The first slot of all levels. */
static bool find_first(const struct wi_wheel *wheel, struct first_slot *first)
{
    bool found = false;
    for (unsigned level = 0; level < WI_WHEEL_LEVELS; level++) {
        struct first_slot other = {0};
        if (find_in_level(wheel, level, &other) && (!found || other.tick < first->tick)) {
            *first = other;
            found = true;
        }
    }
    return found;
}

/* Sorts the slot of a level whose unit begins at now_tick. */
static void sort(struct wi_wheel *wheel, unsigned level)
{
    unsigned slot = levels[level].first + (unsigned)((wheel->now_tick >> levels[level].shift) % levels[level].slots);
    struct wi_timer *list = wheel->slots[slot];
    if (!list)
        return;
    WI_CHECK(list->link == &wheel->slots[slot]);
    wheel->slots[slot] = NULL;
    set_empty(wheel, level, slot);
    while (list) {
        struct wi_timer *timer = list;
        list = timer->next;
        __builtin_prefetch(timer->ahead, 1);
        WI_CHECK(timer->where == IN_WHEEL && timer->level == level && timer->slot == slot);
        place(wheel, timer);
    }
}

/* Moves now_tick to the first slot that begins by tick, and sorts all slots that begin there, since none may be left behind.
   False: there is none, and now_tick is tick. */
static bool advance(struct wi_wheel *wheel, uint64_t tick)
{
    struct first_slot first = {0};
    if (wheel->now_tick >= tick)
        return false;
    if (!find_first(wheel, &first) || first.tick > tick) {
        wheel->now_tick = tick;
        return false;
    }
    WI_CHECK(first.tick > wheel->now_tick);
    wheel->now_tick = first.tick;
    for (unsigned level = WI_WHEEL_LEVELS; level-- > 0;)
        if (first.tick % (UINT64_C(1) << levels[level].shift) == 0)
            sort(wheel, level);
    return true;
}

/* ---- what others call ---- */

void wi_wheel_add(struct wi_wheel *wheel, struct wi_timer *timer, int64_t now_ns)
{
    uint64_t now = tick_of(now_ns);
    struct first_slot first = {0};
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
        WI_CHECK(timer->where == IN_WHEEL && (wheel->occupied[timer->slot / 64] >> timer->slot % 64 & 1));
        unlink_timer(timer);
        if (!wheel->slots[timer->slot])
            set_empty(wheel, timer->level, timer->slot);
    }
    timer->where = IDLE;
    wheel->count--;
    return true;
}

/* Slot by slot, so that the heap holds what comes within a tick and not all that is due when it is late. */
struct wi_timer *wi_wheel_expire(struct wi_wheel *wheel, int64_t now_ns)
{
    uint64_t now = tick_of(now_ns);
    while (!wheel->heap && advance(wheel, now))
        ;
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
    struct first_slot first = {0};
    if (!timer && find_first(wheel, &first))
        timer = wheel->slots[first.slot];
    if (timer)
        wi_wheel_remove(wheel, timer);
    return timer;
}

/* The earliest deadline in a slot that comes first in its level; when that is not soon told the time at which it begins. */
static int64_t earliest_ns(const struct wi_wheel *wheel, const struct first_slot *first)
{
    int64_t begin_ns = (int64_t)(first->tick << TICK_SHIFT), earliest = INT64_MAX;
    unsigned shift = levels[first->level].shift;
    const struct wi_timer *timer = wheel->slots[first->slot];
    for (int seen = 0; timer; seen++, timer = timer->next) {
        bool parked = tick_of(timer->deadline_ns) >> shift != first->tick >> shift;
        if (parked || seen == SCAN)
            return begin_ns; /* parked for a later turn of the ring: other slots may hold earlier ones */
        if (timer->deadline_ns < earliest)
            earliest = timer->deadline_ns;
    }
    return earliest;
}

int64_t wi_wheel_next_ns(const struct wi_wheel *wheel)
{
    if (wheel->heap)
        return wheel->heap->deadline_ns;
    int64_t next_ns = INT64_MAX;
    for (unsigned level = 0; level < WI_WHEEL_LEVELS; level++) {
        struct first_slot first;
        if (!find_in_level(wheel, level, &first) || (int64_t)(first.tick << TICK_SHIFT) >= next_ns)
            continue;
        int64_t earliest = earliest_ns(wheel, &first);
        if (earliest < next_ns)
            next_ns = earliest;
    }
    return next_ns;
}
