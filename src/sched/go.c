/* go.c — starting goroutines: records, ids, stacks and their caches; the public calls of weft/go.h. */
#include "sched/caches.h"
#include "sched/cancel.h"
#include "sched/enter.h"
#include "sched/hooks.h"
#include "sched/waiter.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_BATCH 64U /* what a worker gets from the slab, and gives back, at a time */
#define RECORDS_AHEAD 4U  /* how far ahead one that may be cold is fetched */
#define STACKS_BATCH 16U
#define IDS_BATCH 256U

struct wi_slab wi_goroutines = {
    .name = "goroutines", .record_size = sizeof(struct wi_goroutine), .chunk_records = WI_GOROUTINES_CHUNK};

/* ---- records ---- */

static inline struct wi_goroutine *obtain_record(struct wi_worker *w)
{
    void *record;
    if (!w)
        return wi_slab_take(&wi_goroutines, 1, &record) ? record : NULL;
    uint32_t held = w->records_held;
    if (WI_UNLIKELY(held == 0)) {
        held = wi_slab_take(&wi_goroutines, RECORDS_BATCH, w->records);
        if (held == 0)
            return NULL;
    }
    if (held >= RECORDS_AHEAD)
        wi_prefetch_record(w->records[held - RECORDS_AHEAD]);
    w->records_held = held - 1;
    return w->records[held - 1];
}

/* Gives the oldest n back. */
static void give_records(struct wi_worker *w, unsigned n)
{
    wi_slab_give(&wi_goroutines, n, w->records);
    w->records_held -= n;
    memmove(w->records, w->records + n, w->records_held * sizeof w->records[0]);
}

static inline void count_started(struct wi_worker *w)
{
    if (WI_LIKELY(w != NULL))
        wi_bump(&w->started, 1);
    else
        wi_add_relaxed(&wi_sched.started_elsewhere, 1);
}

static inline void count_ended(struct wi_worker *w)
{
    if (WI_LIKELY(w != NULL))
        wi_count_ended(w);
    else
        wi_add_acq_rel(&wi_sched.ended_elsewhere, 1); /* likewise */
}

void wi_goroutine_free(struct wi_thread *t, struct wi_goroutine *g)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    if (WI_UNLIKELY(g->extra != NULL))
        wi_extra_free(g);
    wi_goroutine_set_state(g, WI_FREE);
    count_ended(w);
    if (WI_UNLIKELY(!w)) {
        wi_slab_give_one(&wi_goroutines, g);
        return;
    }
    w->records[w->records_held++] = g;
    if (WI_UNLIKELY(w->records_held == WI_RECORDS_CACHED))
        give_records(w, RECORDS_BATCH);
}

static inline uint64_t next_id(struct wi_worker *w)
{
    if (WI_UNLIKELY(!w))
        return wi_add_relaxed(&wi_sched.next_id, 1) + 1;
    if (WI_UNLIKELY(w->next_id == w->last_id)) {
        w->next_id = wi_add_relaxed(&wi_sched.next_id, IDS_BATCH);
        w->last_id = w->next_id + IDS_BATCH;
    }
    return ++w->next_id;
}

/* ---- stacks ---- */

struct wi_stack *wi_stack_obtain(struct wi_thread *t, struct wi_goroutine *g, int *error)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    size_t size = wi_has_default_size(g) ? 0 : (size_t)1 << ((g->flags & WI_G_SIZE_MASK) >> WI_G_SIZE_SHIFT);
    struct wi_stack *stack = wi_stack_take(size, w && wi_has_default_size(g) ? STACKS_BATCH : 1, error);
    if (!stack)
        return NULL;
    if (w && wi_has_default_size(g)) {
        w->stacks = stack->next;
        for (struct wi_stack *s = stack->next; s; s = s->next)
            w->stacks_held++;
    }
    return stack;
}

static void give_stacks(struct wi_worker *w, unsigned n)
{
    struct wi_stack *first = w->stacks, *last = first;
    for (unsigned i = 1; i < n; i++)
        last = last->next;
    w->stacks = last->next;
    w->stacks_held -= n;
    last->next = NULL;
    if (wi_stack_give(first))
        wi_monitor_trim();
}

void wi_stack_recycle(struct wi_thread *t, struct wi_stack *stack)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    if (WI_LIKELY(w && (size_t)1 << stack->size_class == WI_STACK_DEFAULT_SIZE)) {
        stack->next = w->stacks;
        w->stacks = stack;
        if (WI_UNLIKELY(++w->stacks_held > WI_STACKS_CACHED))
            give_stacks(w, WI_STACKS_CACHED / 2);
    } else {
        stack->next = NULL;
        if (wi_stack_give(stack))
            wi_monitor_trim();
    }
    if (WI_UNLIKELY(wi_load_relaxed(&wi_sched.n_starved) != 0)) {
        if (w && w->stacks_held)
            give_stacks(w, w->stacks_held);
        wi_feed_starved();
    }
}

void wi_feed_starved(void)
{
    wi_lock(&wi_sched.starved_lock);
    struct wi_goroutine *list = wi_sched.starved;
    wi_sched.starved = NULL;
    wi_store_relaxed(&wi_sched.n_starved, 0);
    wi_unlock(&wi_sched.starved_lock);
    for (struct wi_goroutine *next; list; list = next) {
        next = list->next;
        wi_inject_push(&wi_inject, list);
    }
    wi_alert(NULL);
}

bool wi_stacks_are_out(void)
{
    uint32_t made = wi_load_acquire(&wi_goroutines.made);
    for (uint32_t i = 1; i < made; i++) {
        struct wi_goroutine *g = wi_slab_record(&wi_goroutines, i);
        if (g && wi_goroutine_state(g) != WI_FREE && wi_load_acquire(&g->stack))
            return true;
    }
    return false;
}

void wi_starve(struct wi_thread *t, struct wi_goroutine *g)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    wi_lock(&wi_sched.starved_lock);
    g->next = wi_sched.starved;
    wi_sched.starved = g;
    wi_bump(&wi_sched.n_starved, 1);
    wi_unlock(&wi_sched.starved_lock);
    if (w && w->stacks_held)
        give_stacks(w, w->stacks_held);
    wi_monitor_wake(); /* it lets them try again, now and then, and finds out when there is no hope */
    static _Atomic bool reported;
    if (!atomic_exchange(&reported, true))
        wi_report("no memory for more stacks: goroutines wait until others end");
}

void wi_worker_drain(struct wi_worker *w)
{
    if (w->stacks_held)
        give_stacks(w, w->stacks_held);
    if (w->records_held)
        give_records(w, w->records_held);
}

/* ---- extras ---- */

static struct wi_slab extras = {.name = "extras", .record_size = sizeof(struct wi_extra), .chunk_records = 1024};

struct wi_extra *wi_extra_of(struct wi_goroutine *g)
{
    void *record;
    if (!g->extra && wi_slab_take(&extras, 1, &record) != 0) {
        struct wi_extra *extra = record;
        extra->locals = NULL;
        extra->leaving = false;
        extra->name[0] = '\0';
        g->extra = extra;
    }
    return g->extra;
}

static int set_name(struct wi_goroutine *g, const char *text)
{
    struct wi_extra *extra = wi_extra_of(g);
    if (!extra)
        return -ENOMEM;
    size_t length = strnlen(text, sizeof extra->name - 1);
    memcpy(extra->name, text, length);
    extra->name[length] = '\0';
    return 0;
}

void wi_extra_free(struct wi_goroutine *g)
{
    struct wi_extra *extra = g->extra;
    g->extra = NULL;
    wi_slab_give_one(&extras, extra);
}

void wi_extras_destroy(void)
{
    wi_slab_destroy(&extras);
}

void wi_extras_forget(void)
{
    wi_slab_forget(&extras);
}

/* ---- spawn ---- */

/* Sets everything but start and join. */
static inline void fill(struct wi_goroutine *g, const weft_site *site, uint32_t flags, uint64_t id)
{
    g->flags = flags;
    wi_store_relaxed(&g->id, id);
    g->site = site;
    g->extra = NULL;
    g->join = NULL;
    g->context = NULL;
}

/* A record with everything but start and join set; *t is inside weft. */
static inline struct wi_goroutine *make(struct wi_thread *t, const weft_site *site, uint32_t flags)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    struct wi_goroutine *g = obtain_record(w);
    if (WI_LIKELY(g != NULL))
        fill(g, site, flags, next_id(w));
    return g;
}

/* g, which is new, will run in the context; NULL: in the background. */
static inline void give_context(struct wi_goroutine *g, struct wi_context *context)
{
    if (!context || context == &wi_background)
        return;
    wi_context_ref(context);
    g->context = context;
}

/* The goroutine that t starts runs in the given context, or in the one that the caller runs in. */
static inline void inherit(struct wi_thread *t, struct wi_goroutine *g, struct wi_context *context)
{
    struct wi_goroutine *self = wi_waiting(t);
    struct wi_member *member = self ? wi_member_of(self) : NULL;
    if (WI_LIKELY(!member && !context))
        return;
    if (!context) {
        context = member->context;
        if (member->shielded)
            g->flags |= WI_G_SHIELDED;
    }
    give_context(g, context);
}

static inline void launch(struct wi_thread *t, struct wi_goroutine *g)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    wi_goroutine_set_state(g, WI_FRESH);
    count_started(w);
    if (WI_LIKELY(w != NULL))
        wi_ring_push(&w->runq.fresh, g);
    else
        wi_inject_push(&wi_inject, g);
    wi_alert(w);
}

/* Word by word: the caller has just stored them so, and a wider load would have to wait until they are in the cache. */
static inline void set_call(struct wi_goroutine *g, weft_fn_ fn, const uintptr_t *words)
{
    g->start.fn = fn;
#pragma GCC unroll 6
    for (size_t i = 0; i < sizeof g->start.words / sizeof *words; i++) {
        uintptr_t word = words[i];
        __asm__("" : "+r"(word)); /* the compiler would put two into one */
        g->start.words[i] = word;
    }
}

static inline void start(struct wi_thread *t, struct wi_goroutine *g, weft_fn_ fn, const uintptr_t *words)
{
    set_call(g, fn, words);
    launch(t, g);
}

/* Reads options into the rest. 0 or -EINVAL. */
static int read_options(const weft_options *options, uint32_t *flags, const char **name, struct wi_context **context)
{
    if (options->size < offsetof(weft_options, stack_size) + sizeof options->stack_size)
        return -EINVAL;
    if (options->size >= sizeof *options)
        *context = (struct wi_context *)(void *)options->ctx;
    *name = options->name;
    size_t size = options->stack_size;
    if (size > WI_STACK_MAX_SIZE)
        return -EINVAL;
    if (size) {
        unsigned log2 = 0;
        while (((size_t)1 << log2) < size || ((size_t)1 << log2) < WI_STACK_MIN_SIZE)
            log2++;
        if ((size_t)1 << log2 != WI_STACK_DEFAULT_SIZE)
            *flags |= log2 << WI_G_SIZE_SHIFT;
    }
    return 0;
}

/* The first call of a thread, with an error instead of an end when weft cannot start. */
static int make_known(void)
{
    struct wi_thread *t = wi_self();
    return WI_LIKELY(t && !t->outdated) ? 0 : wi_thread_adopt();
}

static __attribute__((noinline)) int spawn_slowly(const weft_options *options, const weft_site *site, weft_fn_ fn,
                                                  const uintptr_t *words, void *join)
{
    uint32_t flags = 0;
    const char *name = NULL;
    struct wi_context *context = NULL;
    if (WI_UNLIKELY(options != NULL)) {
        int error = read_options(options, &flags, &name, &context);
        if (error)
            return error;
    }
    int error = make_known();
    if (WI_UNLIKELY(error))
        return error;
    struct wi_thread *t = wi_enter();
    if (WI_UNLIKELY(!t))
        return -EDEADLK;
    struct wi_goroutine *g = make(t, site, flags);
    if (WI_UNLIKELY(!g || (name && set_name(g, name) != 0))) {
        if (g)
            wi_slab_give_one(&wi_goroutines, g);
        wi_leave(t);
        return -ENOMEM;
    }
    inherit(t, g, context);
    g->join = join;
    start(t, g, fn, words);
    wi_leave(t);
    return 0;
}

/* What is usual, without a call but at the end, and so without a frame: a goroutine without options or a context is started
   on a worker that has a record, an id and room for it at hand. */
int wi_spawn(const weft_options *options, const weft_site *site, weft_fn_ fn, const uintptr_t *words, void *join)
{
    struct wi_thread *t;
    if (WI_UNLIKELY(options || !(t = wi_enter_quickly())))
        return spawn_slowly(options, site, fn, words, join);
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    uint32_t held = w->records_held;
    uint64_t id = w->next_id;
    WI_CHECK(t->current != NULL);
    if (WI_UNLIKELY(held < RECORDS_AHEAD || id == w->last_id || (t->current->flags & WI_G_MEMBER) ||
                    wi_ring_length(&w->runq.fresh) == WI_RUNQ_SIZE)) {
        wi_leave(t);
        return spawn_slowly(options, site, fn, words, join);
    }
    struct wi_goroutine *g = w->records[held - 1];
    wi_prefetch_record(w->records[held - RECORDS_AHEAD]);
    w->records_held = held - 1;
    w->next_id = id + 1;
    fill(g, site, 0, id + 1);
    g->join = join;
    set_call(g, fn, words);
    wi_goroutine_set_state(g, WI_FRESH);
    wi_bump(&w->started, 1);
    wi_ring_put(&w->runq.fresh, g);
    return wi_alert_and_leave(t, 0);
}

int wi_spawn_inside(struct wi_thread *t, struct wi_context *context, bool shielded, const weft_site *site, weft_fn_ fn,
                    const uintptr_t *words)
{
    struct wi_goroutine *g = make(t, site, shielded ? WI_G_SHIELDED : 0);
    if (!g)
        return -ENOMEM;
    give_context(g, context);
    start(t, g, fn, words);
    return 0;
}

_Noreturn void wi_spawn_failed(int error)
{
    if (error == -EINVAL)
        wi_fatal("weft_go_opt: bad options (size, or a stack of more than 1 GiB)");
    if (error == -EDEADLK)
        wi_enter_refused();
    wi_fatal("weft_go: %s", error == -ENOMEM ? "out of memory" : "no thread can be made");
}

void weft_spawn_(const weft_options *options, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    int error = wi_spawn(options, site, fn, words, NULL);
    if (WI_UNLIKELY(error))
        wi_spawn_failed(error);
}

int weft_try_spawn_(const weft_options *options, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    if (wi_load_relaxed(&wi_sched.shutting))
        return -EAGAIN;
    return wi_spawn(options, site, fn, words, NULL);
}

void weft_spawn_copy_(const weft_site *site, weft_fn_ fn, const void *object, size_t size, size_t align)
{
    void *heap = NULL;
    bool small = size <= sizeof((struct wi_goroutine *)0)->start.words && align <= 16;
    if (!small) {
        align = align < sizeof(void *) ? sizeof(void *) : align;
        if (posix_memalign(&heap, align, size) != 0)
            wi_spawn_failed(-ENOMEM);
        memcpy(heap, object, size);
    }
    struct wi_thread *t = wi_enter_or_die();
    struct wi_goroutine *g = make(t, site, small ? WI_G_COPY : WI_G_HEAP);
    if (WI_UNLIKELY(!g))
        wi_spawn_failed(-ENOMEM);
    inherit(t, g, NULL);
    g->start.fn = fn;
    memset(g->start.words, 0, sizeof g->start.words);
    if (small)
        memcpy(g->start.words, object, size);
    else
        g->start.words[0] = (uintptr_t)heap;
    launch(t, g);
    wi_leave(t);
}

/* ---- weft_run ---- */

struct main_call {
    weft_fn_ fn;
    const uintptr_t *words;
    int result;
    struct wi_goroutine *waiter; /* the record of the thread in weft_run ... */
    uint64_t ticket;             /* ... and of its wait, which may end before it has begun */
};

static void run_main(struct main_call *call)
{
    call->result = (int)wi_invoke(call->fn, call->words);
    struct wi_thread *t = wi_enter_or_die();
    struct wi_goroutine *waiter = call->waiter;
    uint64_t ticket = call->ticket;
    wi_wait_claim(waiter, ticket);
    wi_wait_complete(t, waiter, ticket);
    wi_leave(t);
}

static const struct wi_wait_kind waits_for_main = {.text = "weft_run: its main goroutine"};

int weft_run_(const weft_options *options, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    if (weft_id() != 0)
        wi_fatal("weft_run inside a goroutine");
    int error = make_known();
    if (error)
        wi_spawn_failed(error);
    struct wi_goroutine *self = wi_self()->self;
    struct main_call call = {.fn = fn, .words = words, .waiter = self, .ticket = wi_wait_open(self, 0)};
    uintptr_t argument[6] = {(uintptr_t)&call};
    wi_hooks.main_started();
    if ((error = wi_spawn(options, site, (weft_fn_)run_main, argument, NULL)) != 0)
        wi_spawn_failed(error);
    struct wi_thread *t = wi_enter_blocking_or_die();
    wi_wait_on(t, t->self, &waits_for_main, NULL);
    wi_park(t, wi_wait_commit, NULL);
    wi_leave(t);
    return call.result;
}

/* ---- small public calls ---- */

int weft_procs(void)
{
    return wi_sched_procs();
}

uint64_t weft_id(void)
{
    struct wi_thread *t = wi_self();
    return t && t->current ? wi_load_relaxed(&t->current->id) : 0;
}

int weft_name(const char *name)
{
    if (!weft_id())
        return -EINVAL;
    struct wi_thread *t = wi_enter();
    if (!t)
        return -EDEADLK;
    int result = 0;
    if (name)
        result = set_name(t->current, name);
    else if (t->current->extra)
        t->current->extra->name[0] = '\0';
    wi_leave(t);
    return result;
}

size_t weft_count(void)
{
    if (wi_load_acquire(&wi_sched.started) != WI_STARTED)
        return 0;
    /* First all that ended, then all that started: whoever was seen to end is seen to have started, and so are those that it
       started. 0 means that there was a moment without any. */
    uint64_t ended = wi_load_acquire(&wi_sched.ended_elsewhere); /* pairs with count_ended */
    for (unsigned i = 0; i < wi_sched.procs; i++)
        ended += wi_load_acquire(&wi_sched.workers[i].ended); /* likewise */
    uint64_t started = wi_load_relaxed(&wi_sched.started_elsewhere);
    for (unsigned i = 0; i < wi_sched.procs; i++)
        started += wi_load_relaxed(&wi_sched.workers[i].started);
    return (size_t)(started - ended);
}

void weft_pin(void)
{
    struct wi_thread *t = wi_enter_or_die();
    if (t->current && t->pins++ == 0) {
        t->current->flags |= WI_G_PINNED;
        t->current->run.thread = t;
        if (!wi_load_relaxed(&t->worker) || !wi_hand_off(t, WI_ATTACHED)) {
            wi_lock(&wi_sched.lock);
            if (wi_load_relaxed(&t->worker))
                wi_release_worker_locked(t); /* somebody will have to find it there */
            wi_set_detached(t, WI_ATTACHED); /* from now on as a foreign thread, that is not counted */
            wi_unlock(&wi_sched.lock);
        }
    }
    wi_leave(t);
}

void weft_unpin(void)
{
    struct wi_thread *t = wi_enter_or_die();
    if (t->current) {
        if (t->pins == 0)
            wi_fatal("weft_unpin without weft_pin");
        if (--t->pins == 0) {
            t->current->flags &= ~(uint32_t)WI_G_PINNED;
            if (!(t->current->flags & WI_G_STAYS))
                t->current->run.thread = NULL;
        }
    }
    wi_leave(t);
}

__attribute__((noinline)) int weft_errno(void)
{
    wi_barrier_compiler();
    return errno;
}
