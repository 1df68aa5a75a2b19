/* stack.c — the arena that goroutine stacks come from.

   Chunks of 64 MiB to 1 GiB of address space are reserved as needed, each for slots of one class. A slot is
     unopened   it has no guard yet; slots are opened in order, up to 64 at a time, and become cold
     cold       guarded; no page of it is touched, so it has no descriptor; a bit in the chunk's head stands for it
     hot        has its descriptor and pages; in the pool's free list
     in use     taken; maybe in a worker's cache
   Equations, under the pool's lock: opened slots = cold + hot + in use (+ those that a call is moving);
   chunk->cold_count = bits set in chunk->cold; a chunk is in pool->with_cold exactly when it has a cold slot.

   A chunk's head, at its lowest page, takes a bit a slot and is the only thing that opening writes: an opened slot costs its
   share of page tables and not a page.

   Two locks a pool: opening holds open_lock through its system calls, so that who comes meanwhile waits for what is being
   opened instead of reserving more; lock is held for moments. Order: open_lock, lock, chunks_lock.

   Pages go back when more stacks are hot than both keep_hot and the number in use: half of what a program held can come and
   go without page faults, and one that had a big moment keeps some 1,000 stacks. They go back later, by wi_stack_trim, which
   the monitor calls: those that were hot all the time between two looks WI_STACK_TRIM_NS apart. In the call that gives a
   stack back the system call cost goroutines that end by the ten thousand a third of their time, and took pages from
   programs that start as many again. */
#define _GNU_SOURCE
#include "mem/stack.h"

#include "base/fatal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MIN_CLASS 16
#define MAX_CLASS 30
#define CHUNKS 8192                    /* of 1 GiB: 8 TiB of stacks */
#define CHUNK_FIRST ((size_t)64 << 20) /* the size of a pool's first chunk; each further one is twice as large ... */
#define CHUNK_LAST ((size_t)1 << 30)   /* ... up to this */
#define OPEN_FIRST 8                   /* a small program shall not pay for 64 guards */
#define BATCH 64                       /* slots opened at once; stacks of a list that are given back under one lock */
#define RELEASED 128U                  /* stacks whose pages go back in one go */
#define RELEASE_LEAST 32               /* fewer are not worth a look for neighbours */
#define TRIM_MOST 512                  /* stacks that one call of wi_stack_trim releases: some 500 us */
#define TRIM_PAUSE_NS INT64_C(2000000)
/* Descriptors lie at this many different distances from their slot's end, in cache lines. Going round 1,000 stacks, nine
   lines of each, took 42 ns a stack with 1, 33 with 4, 17 with 16; more would leave too little of the page for frames. */
#define COLOURS 16
_Static_assert(sizeof(struct wi_stack) % WI_CACHE_LINE == 0, "a frame that starts at the descriptor is aligned as it is");

struct chunk {
    char *slots;                  /* [const] the first slot */
    size_t size;                  /* [const] of the whole reservation, this head included */
    uint32_t slot_count;          /* [const] */
    uint32_t guard;               /* [const] bytes at each slot's low end */
    uint32_t size_class;          /* [const] */
    uint32_t index;               /* [const] in chunks */
    size_t slot_size;             /* [const] */
    _Atomic uint32_t opened;      /* [atomic; stores: open_lock and lock] slots below this are opened */
    uint32_t cold_count;          /* [lock] */
    uint32_t lowest;              /* [lock] no word of cold below this one has a bit set */
    struct chunk *next_with_cold; /* [lock] */
    _Atomic uint64_t cold[];      /* [atomic; stores: lock] a bit a slot */
};

struct pool { /* the stacks of one class */
    struct wi_lock lock;
    struct wi_stack *hot;    /* [lock] last in, first out */
    size_t hot_count;        /* [lock] */
    size_t hot_least;        /* [lock] the least it was since the last look of wi_stack_trim */
    size_t to_release;       /* [trim's caller] what the last look found */
    size_t in_use;           /* [lock] */
    struct chunk *with_cold; /* [lock] */
    _Alignas(WI_CACHE_LINE) struct wi_lock open_lock;
    struct chunk *opening; /* [open_lock] the chunk that may have unopened slots */
    size_t next_size;      /* [open_lock] what the next chunk shall have; 0: CHUNK_FIRST */
    size_t opened;         /* [open_lock] slots in all chunks */
};

static struct pool pools[MAX_CLASS + 1 - MIN_CLASS];
static struct wi_lock chunks_lock;
static _Atomic(struct chunk *) chunks[CHUNKS]; /* [atomic; stores: chunks_lock] never changed once set, until destroy */
static _Atomic uint32_t chunk_count;           /* [atomic; stores: chunks_lock] */

/* ---- geometry ---- */

size_t wi_stack_guard_size(void)
{
    static _Atomic size_t known; /* [atomic] 0 until the first call */
    size_t size = wi_load_relaxed(&known);
    if (WI_LIKELY(size != 0))
        return size;
#if defined(__aarch64__)
    size = (size_t)64 << 10;
#else
    size = (size_t)16 << 10;
#endif
    size_t page = wi_os_page_size(), none = 0;
    if (size < page)
        size = page;
    const char *wish = secure_getenv("WEFT_GUARD_SIZE");
    bool bad = false;
    if (wish && *wish) {
        char *end;
        unsigned long bytes = strtoul(wish, &end, 10);
        bad = *end || *wish < '0' || *wish > '9' || bytes == 0 || bytes % page || bytes > WI_STACK_MAX_SIZE / 2;
        size = bad ? size : bytes;
    }
    if (!wi_cas_relaxed(&known, &none, size))
        return none;
    if (bad)
        wi_report("WEFT_GUARD_SIZE=%s is ignored: it may be a multiple of %zu up to %zu", wish, page, WI_STACK_MAX_SIZE / 2);
    return size;
}

/* The class whose slots have size bytes; 0 when there is none. */
static unsigned class_of(size_t size)
{
    size_t least = 2 * wi_stack_guard_size();
    if (size == 0)
        size = WI_STACK_DEFAULT_SIZE;
    if (size < least)
        size = least;
    if (size > WI_STACK_MAX_SIZE)
        return 0;
    return size <= WI_STACK_MIN_SIZE ? MIN_CLASS : (unsigned)(64 - __builtin_clzl(size - 1));
}

/* One page more than the class says. An even number of pages would put the top pages of all stacks into a few sets of the TLB,
   and their entries into a few lines of the page tables: three lines each of 1,000 stacks took 7.2 ns a stack with 64 pages
   a slot, 3.7 with 65. */
static size_t slot_size(unsigned size_class)
{
    return ((size_t)1 << size_class) + wi_os_page_size();
}

/* A slot of a chunk. */
struct place {
    struct chunk *chunk;
    uint32_t slot;
};

static char *slot_start(struct place place)
{
    return place.chunk->slots + place.slot * place.chunk->slot_size;
}

/* Where the slot's descriptor lies. */
static struct wi_stack *stack_at(struct place place)
{
    char *end = slot_start(place) + place.chunk->slot_size;
    return (struct wi_stack *)(end - sizeof(struct wi_stack) - (size_t)(place.slot % COLOURS) * WI_CACHE_LINE);
}

static struct place place_of(const struct wi_stack *stack)
{
    struct chunk *chunk = wi_load_relaxed(&chunks[stack->chunk]);
    return (struct place){chunk, (uint32_t)((size_t)((const char *)stack - chunk->slots) / chunk->slot_size)};
}

/* ---- cold slots ---- */

static bool is_cold(struct place place)
{
    return wi_load_relaxed(&place.chunk->cold[place.slot / 64]) >> place.slot % 64 & 1;
}

#if defined(WEFT_CHECKED) || defined(__clang_analyzer__)
/* A descriptor where one belongs, with what never changes of it intact. */
static bool is_hot(const struct wi_stack *stack)
{
    struct place place = place_of(stack);
    return stack_at(place) == stack && stack->low == slot_start(place) + place.chunk->guard &&
           stack->size_class == place.chunk->size_class && !is_cold(place);
}
#endif

/* pool->lock is held. */
static void set_cold(struct pool *pool, struct place place)
{
    struct chunk *chunk = place.chunk;
    uint32_t word = place.slot / 64;
    WI_CHECK(!is_cold(place) && place.slot < chunk->slot_count);
    wi_bump(&chunk->cold[word], UINT64_C(1) << place.slot % 64);
    if (word < chunk->lowest)
        chunk->lowest = word;
    if (chunk->cold_count++ == 0) {
        chunk->next_with_cold = pool->with_cold;
        pool->with_cold = chunk;
    }
}

/* Takes a slot that is cold; it has no descriptor yet. False when there is none. pool->lock is held. */
static bool take_cold(struct pool *pool, struct place *place)
{
    struct chunk *chunk = pool->with_cold;
    if (!chunk)
        return false;
    uint64_t word;
    WI_CHECK(chunk->cold_count > 0);
    while ((word = wi_load_relaxed(&chunk->cold[chunk->lowest])) == 0) {
        chunk->lowest++;
        WI_CHECK(chunk->lowest * 64 < chunk->slot_count);
    }
    wi_store_relaxed(&chunk->cold[chunk->lowest], word & (word - 1));
    if (--chunk->cold_count == 0)
        pool->with_cold = chunk->next_with_cold;
    *place = (struct place){chunk, chunk->lowest * 64 + (uint32_t)__builtin_ctzl(word)};
    return true;
}

/* ---- chunks; the pool's open_lock is held ---- */

static bool publish(struct chunk *chunk)
{
    wi_lock(&chunks_lock);
    uint32_t count = wi_load_relaxed(&chunk_count);
    if (count < CHUNKS) {
        chunk->index = count;
        wi_store_relaxed(&chunks[count], chunk);
        wi_store_release(&chunk_count, count + 1); /* pairs with the acquire in wi_stack_find */
    }
    wi_unlock(&chunks_lock);
    return count < CHUNKS;
}

/* Reserves a chunk: of the size that is due, else as large as can be had, down to one slot. */
static bool add_chunk(struct pool *pool, unsigned size_class)
{
    size_t slot = slot_size(size_class), page = wi_os_page_size();
    size_t due = pool->next_size ? pool->next_size : CHUNK_FIRST;
    if (due < slot)
        due = slot;
    for (size_t size = due; size >= slot; size /= 2) {
        size_t words = (size / slot + 63) / 64;
        size_t head = (sizeof(struct chunk) + words * sizeof(uint64_t) + page - 1) & ~(page - 1);
        struct chunk *chunk = wi_os_reserve(head + size, 0);
        if (!chunk)
            continue;
        chunk->slots = (char *)chunk + head;
        chunk->size = head + size;
        chunk->slot_count = (uint32_t)(size / slot);
        chunk->guard = (uint32_t)wi_stack_guard_size();
        chunk->size_class = size_class;
        chunk->slot_size = slot;
        if (!publish(chunk)) {
            wi_os_unmap(chunk, chunk->size);
            return false;
        }
        pool->opening = chunk;
        pool->next_size = due < CHUNK_LAST ? 2 * due : CHUNK_LAST;
        return true;
    }
    return false;
}

/* Opens some slots: 0, or a negative errno and there are none to be had. */
static int open_slots(struct pool *pool, unsigned size_class)
{
    struct chunk *chunk = pool->opening;
    if (!chunk || wi_load_relaxed(&chunk->opened) == chunk->slot_count) {
        if (!add_chunk(pool, size_class))
            return -ENOMEM;
        chunk = pool->opening;
    }
    uint32_t opened = wi_load_relaxed(&chunk->opened), left = chunk->slot_count - opened;
    uint32_t n = pool->opened < OPEN_FIRST ? OPEN_FIRST : pool->opened < BATCH ? (uint32_t)pool->opened : BATCH;
    n = n < left ? n : left;
    size_t slot = chunk->slot_size;
    int error;
    while ((error = wi_os_guard(chunk->slots + opened * slot, chunk->guard, slot, n)) < 0 && n > 1)
        n /= 2; /* near the limit of mappings */
    if (error < 0)
        return error;
    wi_lock(&pool->lock);
    for (uint32_t i = 0; i < n; i++)
        set_cold(pool, (struct place){chunk, opened + i});
    wi_store_release(&chunk->opened, opened + n); /* pairs with the acquire in wi_stack_find */
    wi_unlock(&pool->lock);
    pool->opened += n;
    return 0;
}

/* ---- taking ---- */

struct haul {
    struct wi_stack *hot; /* a list */
    unsigned count;       /* of both kinds */
    unsigned cold_count;
    struct place cold[BATCH];
};

/* Brings the haul to n stacks, as far as that can be done without a system call. */
static void take_ready(struct pool *pool, unsigned n, struct haul *haul)
{
    unsigned before = haul->count;
    wi_lock(&pool->lock);
    for (struct wi_stack *stack; haul->count < n && (stack = pool->hot); haul->count++) {
        WI_CHECK(pool->hot_count > 0 && is_hot(stack));
        pool->hot = stack->next;
        pool->hot_count--;
        stack->next = haul->hot;
        haul->hot = stack;
    }
    if (pool->hot_least > pool->hot_count)
        pool->hot_least = pool->hot_count;
    for (; haul->count < n && take_cold(pool, &haul->cold[haul->cold_count]); haul->count++)
        haul->cold_count++;
    pool->in_use += haul->count - before;
    wi_unlock(&pool->lock);
}

/* Touches the slot's top page for the first time: outside all locks. */
static struct wi_stack *make_descriptor(struct place place)
{
    struct wi_stack *stack = stack_at(place);
    *stack = (struct wi_stack){.low = slot_start(place) + place.chunk->guard,
                               .size_class = (uint8_t)place.chunk->size_class,
                               .chunk = place.chunk->index};
    wi_sanitizer_stack_first_use(&stack->side, stack->low, wi_stack_top(stack));
    return stack;
}

struct wi_stack *wi_stack_take(size_t size, unsigned n, int *error)
{
    unsigned size_class = class_of(size);
    if (size_class == 0) {
        *error = -EINVAL;
        return NULL;
    }
    struct pool *pool = &pools[size_class - MIN_CLASS];
    struct haul haul;
    haul.hot = NULL;
    haul.count = haul.cold_count = 0;
    n = n < BATCH ? n : BATCH;
    take_ready(pool, n, &haul);
    int failure = 0;
    if (haul.count < n) {
        wi_lock(&pool->open_lock);
        for (;;) {
            take_ready(pool, n, &haul); /* first of all what was opened while this thread waited */
            if (haul.count == n || (failure = open_slots(pool, size_class)) < 0)
                break;
        }
        wi_unlock(&pool->open_lock);
    }
    for (unsigned i = 0; i < haul.cold_count; i++) {
        struct wi_stack *stack = make_descriptor(haul.cold[i]);
        stack->next = haul.hot;
        haul.hot = stack;
    }
    if (!haul.hot)
        *error = failure;
    return haul.hot;
}

/* ---- giving back ---- */

/* How many hot stacks may stay however few are in use: fewer above the default size, as each may be dirty all over. */
static size_t keep_hot(unsigned size_class)
{
    unsigned above = size_class > 18 ? size_class - 18 : 0;
    return above < 7 ? (size_t)1024 >> above : 8;
}

static size_t keep(const struct pool *pool, unsigned size_class)
{
    size_t least = keep_hot(size_class);
    return pool->in_use > least ? pool->in_use : least;
}

/* The pool's lock is held. */
static bool has_surplus(const struct pool *pool, unsigned size_class)
{
    return pool->hot_count >= keep(pool, size_class) + RELEASE_LEAST;
}

/* Gives the pages of n stacks that nobody has to the kernel. The slots are cold then. */
static void release(struct pool *pool, struct wi_stack **stacks, unsigned n)
{
    struct place places[RELEASED];
    struct iovec ranges[RELEASED]; /* neighbours are one range */
    unsigned count = 0;
    for (unsigned i = 1; i < n; i++) { /* sort by address: insertion will do for so few */
        struct wi_stack *stack = stacks[i];
        unsigned j = i;
        for (; j > 0 && stacks[j - 1] > stack; j--)
            stacks[j] = stacks[j - 1];
        stacks[j] = stack;
    }
    for (unsigned i = 0; i < n; i++) {
        places[i] = place_of(stacks[i]);
        wi_sanitizer_stack_discard(&stacks[i]->side);
    }
    for (unsigned i = 0, end; i < n; i = end) {
        struct chunk *chunk = places[i].chunk;
        for (end = i + 1; end < n && places[end].chunk == chunk && places[end].slot == places[end - 1].slot + 1; end++)
            ;
        char *low = slot_start(places[i]) + chunk->guard;
        char *high = slot_start(places[end - 1]) + chunk->slot_size;
        ranges[count++] = (struct iovec){low, (size_t)(high - low)};
    }
    wi_os_release_ranges(ranges, count); /* locked memory may stay resident: nothing else changes then */
    wi_lock(&pool->lock);
    for (unsigned i = 0; i < n; i++)
        set_cold(pool, places[i]);
    wi_unlock(&pool->lock);
}

/* There is a surplus, and wi_stack_trim will see to it. Who gives stacks changes hot_count under the lock and then looks
   here; who trims clears this and then looks at all pools again: one sees the other. */
static _Atomic bool trimming;

bool wi_stack_give(struct wi_stack *list)
{
    bool began = false;
    while (list) {
        unsigned size_class = list->size_class, k = 1;
        struct pool *pool = &pools[size_class - MIN_CLASS];
        struct wi_stack *first = list, *last = list;
        for (; k < BATCH && last->next && last->next->size_class == size_class; k++)
            last = last->next;
        list = last->next;
        WI_CHECK(is_hot(first) && is_hot(last));
        wi_lock(&pool->lock);
        WI_CHECK(pool->in_use >= k && pool->hot != first);
        last->next = pool->hot;
        pool->hot = first;
        pool->hot_count += k;
        pool->in_use -= k;
        bool surplus = has_surplus(pool, size_class);
        wi_unlock(&pool->lock);
        if (surplus && !wi_load_relaxed(&trimming) && !wi_swap_acq_rel(&trimming, true))
            began = true;
    }
    return began;
}

static void release_some(struct pool *pool, unsigned size_class, unsigned most)
{
    struct wi_stack *released[RELEASED];
    unsigned n = 0;
    wi_lock(&pool->lock);
    size_t least = keep(pool, size_class);
    while (n < most && pool->hot_count > least) {
        WI_CHECK(pool->hot && is_hot(pool->hot));
        released[n++] = pool->hot;
        pool->hot = pool->hot->next;
        pool->hot_count--;
    }
    if (pool->hot_least > pool->hot_count)
        pool->hot_least = pool->hot_count;
    wi_unlock(&pool->lock);
    pool->to_release = n == 0 ? 0 : pool->to_release - n;
    if (n > 0)
        release(pool, released, n);
}

/* Whether any pool has a surplus; notes in each how much of it has been unused since the last look. */
static bool look_for_surplus(void)
{
    bool any = false;
    for (unsigned size_class = MIN_CLASS; size_class <= MAX_CLASS; size_class++) {
        struct pool *pool = &pools[size_class - MIN_CLASS];
        wi_lock(&pool->lock);
        size_t least = keep(pool, size_class);
        pool->to_release = pool->hot_least > least ? pool->hot_least - least : 0;
        pool->hot_least = pool->hot_count;
        any |= has_surplus(pool, size_class);
        wi_unlock(&pool->lock);
    }
    return any;
}

int64_t wi_stack_trim(int64_t now_ns)
{
    unsigned left = TRIM_MOST;
    for (unsigned size_class = MIN_CLASS; size_class <= MAX_CLASS; size_class++) {
        struct pool *pool = &pools[size_class - MIN_CLASS];
        while (pool->to_release > 0 && left > 0) {
            unsigned most = pool->to_release < RELEASED ? (unsigned)pool->to_release : RELEASED;
            release_some(pool, size_class, most);
            left -= left < most ? left : most;
        }
        if (pool->to_release > 0)
            return now_ns + TRIM_PAUSE_NS;
    }
    if (look_for_surplus())
        return now_ns + WI_STACK_TRIM_NS;
    wi_swap_acq_rel(&trimming, false); /* see there */
    if (look_for_surplus() && !wi_swap_acq_rel(&trimming, true))
        return now_ns + WI_STACK_TRIM_NS;
    return INT64_MAX;
}

/* ---- looking ---- */

struct wi_stack *wi_stack_find(const void *address, bool *in_guard)
{
    *in_guard = false;
    uint32_t count = wi_load_acquire(&chunk_count); /* pairs with the release in publish */
    for (uint32_t i = 0; i < count; i++) {
        struct chunk *chunk = wi_load_relaxed(&chunks[i]);
        size_t slot = (size_t)((uintptr_t)address - (uintptr_t)chunk->slots) / chunk->slot_size;
        if (slot >= chunk->slot_count)
            continue;
        struct place place = {chunk, (uint32_t)slot};
        if (place.slot >= wi_load_acquire(&chunk->opened) || is_cold(place)) /* pairs with the release in open_slots */
            return NULL;
        *in_guard = (const char *)address - slot_start(place) < (ptrdiff_t)chunk->guard;
        return stack_at(place);
    }
    return NULL;
}

void wi_stack_each(void (*fn)(struct wi_stack *stack, void *argument), void *argument)
{
    uint32_t count = wi_load_acquire(&chunk_count); /* pairs with the release in publish */
    for (uint32_t i = 0; i < count; i++) {
        struct chunk *chunk = wi_load_relaxed(&chunks[i]);
        uint32_t opened = wi_load_acquire(&chunk->opened); /* pairs with the release in open_slots */
        for (struct place place = {chunk, 0}; place.slot < opened; place.slot++)
            if (!is_cold(place))
                fn(stack_at(place), argument);
    }
}

/* ---- the end ---- */

static void discard(struct wi_stack *stack, void *argument)
{
    (void)argument;
    wi_sanitizer_stack_discard(&stack->side);
}

void wi_stack_destroy(void)
{
    wi_stack_each(discard, NULL);
    for (uint32_t i = 0; i < wi_load_relaxed(&chunk_count); i++) {
        struct chunk *chunk = wi_load_relaxed(&chunks[i]);
        wi_os_unguarded(wi_load_relaxed(&chunk->opened));
        wi_os_unmap(chunk, chunk->size);
    }
    wi_stack_forget();
}

void wi_stack_forget(void)
{
    memset(pools, 0, sizeof pools);
    wi_store_relaxed(&trimming, false);
    wi_store_relaxed(&chunk_count, 0);
    chunks_lock = (struct wi_lock){0};
}
