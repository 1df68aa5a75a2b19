/* goroutine.h — the record of a goroutine, and of a foreign thread that waits.

   Records are type-stable (mem/slab.h): whoever holds a pointer or a number may look at a record after its goroutine
   ended; the id tells one goroutine from the next in the same record. 128 bytes, two cache lines: a program may queue a
   million.

   A record has no stack until its first run. Until then `start` holds what to call; from then on `run` shares its place. */
#ifndef WI_GOROUTINE_H
#define WI_GOROUTINE_H

#include "base/atomic.h"
#include "base/fatal.h"
#include "mem/slab.h"
#include "mem/stack.h"
#include "weft/go.h"

struct wi_thread;
struct wi_context;
struct wi_member;

/* Who may leave each state, and who owns the stack in it:
     FREE     spawn                                      no stack
     FRESH    the worker that takes it off a queue       no stack
     READY    the worker that takes it off a queue       nobody touches it
     RUNNING  the goroutine itself, on its thread        the goroutine
     PARKED   the completer that readies it              nobody touches it (a dump may copy it, and looks at `turn` after)
   A record of a foreign thread is RUNNING while the thread is outside weft or passing through, PARKED while it waits. */
enum wi_state { WI_FREE, WI_FRESH, WI_READY, WI_RUNNING, WI_PARKED };
#define WI_STATE_BITS 3
#define WI_STATE(word) ((enum wi_state)((word) & ((1U << WI_STATE_BITS) - 1)))

enum wi_goroutine_flags {
    WI_G_THREAD = 1,     /* the record of a foreign thread */
    WI_G_PINNED = 2,     /* stays on run.thread, waits as a thread does */
    WI_G_BLOCKER = 4,    /* was last seen blocked in the kernel: queued where busy workers do not look */
    WI_G_COPY = 8,       /* start.words hold an object to copy to the stack */
    WI_G_HEAP = 16,      /* start.words[0] is an object to free */
    WI_G_SHIELDED = 32,  /* started under a shield: its context does not end its waits */
    WI_G_MEMBER = 64,    /* run.member is not NULL: here, because a wait looks at this line anyway */
    WI_G_STAYS = 128,    /* goes on on run.thread, where others may run meanwhile, see home.c */
    WI_G_SIZE_SHIFT = 8, /* log2 of the stack size, 0 for the default */
    WI_G_SIZE_MASK = 0xff00,
    WI_G_UNHOOKED = 0x10000, /* in weft_blocking: libweft_hook leaves its calls to libc */
};

/* What a parked goroutine waits for: shown by dumps, used by the deadlock report. */
struct wi_wait_kind {
    const char *text; /* "receive on channel" */
    bool timed;       /* time ends it */
    bool outside;     /* what is outside the program may end it; the object is a number */
    bool joins;       /* it lasts until all goroutines have ended whose join its object is */
};

/* Type-stable, because a dump may read the name while its goroutine ends. */
struct wi_extra {
    void *locals;                             /* [owner] goroutine-local values, see ctx/local.c */
    char name[56];                            /* [owner] "": none */
    bool leaving;                             /* [owner] it exits or panics: unwinding is in use */
    _Alignas(16) unsigned char unwinding[96]; /* [owner] see ctx/panic.c */
};

struct wi_goroutine {
    struct wi_goroutine *next;        /* [holder of the list it is in] */
    _Atomic uint32_t state;           /* [stores: who may leave the state; loads: all] turn << 3 | enum wi_state */
    uint32_t flags;                   /* [owner of the state] */
    _Atomic uint64_t wait;            /* [atomic] the wait word, see waiter.h; never reset */
    _Atomic(struct wi_stack *) stack; /* [owner] NULL until the first run */
    union {
        void *sp;                   /* [owner] suspended: the stack pointer, see arch/context.h */
        struct wi_context *context; /* [owner] FRESH: the context that it will run in, with a reference; or NULL */
    };
    union {
        struct {
            weft_fn_ fn;
            uintptr_t words[6];
        } start;
        struct {                             /* the first three share the cache line above with all that a wait touches */
            const struct wi_wait_kind *kind; /* parked: what it waits for ... */
            const void *object;              /* ... which one ... */
            int64_t since_ns;                /* ... and since about when */
            struct wi_thread *thread;        /* of one that is pinned or stays; a foreign thread's */
            void *waiter;                    /* parked: its struct on the stack, for who finds the record by number */
            _Atomic(struct wi_member *)
                member;          /* [stores: owner] the context it runs in, see cancel.h; NULL: none ends it */
            weft_scope_ *scopes; /* [owner] what is to be undone, newest first, see scope.h */
        } run;
    };
    _Atomic uint64_t id;    /* [const while not FREE] never reused; 0 in the record of a foreign thread */
    const weft_site *site;  /* [const while not FREE] */
    struct wi_extra *extra; /* [owner] what few goroutines have, or NULL */
    void *join;             /* [const] the WaitGroup or future that its end counts down, see ctx/future.h; or NULL */
};
_Static_assert(sizeof(struct wi_goroutine) == 128, "a goroutine's record is two cache lines");

#define WI_GOROUTINES_CHUNK 16384U
extern WI_HIDDEN struct wi_slab wi_goroutines;

/* Whether a state may follow another. */
static inline bool wi_state_follows(enum wi_state state, enum wi_state before)
{
    static const uint8_t next[] = {
        [WI_FREE] = 1 << WI_FRESH | 1 << WI_RUNNING, /* a goroutine; a foreign thread */
        [WI_FRESH] = 1 << WI_RUNNING,
        [WI_READY] = 1 << WI_RUNNING,
        [WI_RUNNING] = 1 << WI_PARKED | 1 << WI_READY | 1 << WI_FREE, /* waits, yields, ends */
        [WI_PARKED] = 1 << WI_READY | 1 << WI_RUNNING,                /* the last: a thread whose time came first */
    };
    return next[before] >> state & 1;
}

static inline __attribute__((always_inline)) void wi_goroutine_set_state(struct wi_goroutine *g, enum wi_state state)
{
    uint32_t word = wi_load_relaxed(&g->state);
    WI_CHECK(wi_state_follows(state, WI_STATE(word)));
    word |= (1U << WI_STATE_BITS) - 1;                       /* the next turn begins one further */
    wi_store_release(&g->state, word + 1 + (uint32_t)state); /* pairs with the dump's acquire */
}

static inline enum wi_state wi_goroutine_state(struct wi_goroutine *g)
{
    return WI_STATE(wi_load_acquire(&g->state));
}

/* Fetches a record that is about to be filled, or whose goroutine is about to begin: both lines. */
static inline __attribute__((always_inline)) void wi_prefetch_record(const struct wi_goroutine *g)
{
    __builtin_prefetch(g, 1);
    __builtin_prefetch((const char *)g + WI_CACHE_LINE, 1);
}

/* Fetches what a parked goroutine needs first when it runs again: the saved registers and the frames above. */
static inline __attribute__((always_inline)) void wi_prefetch_stack(const struct wi_goroutine *g)
{
    uintptr_t sp = (uintptr_t)g->sp; /* 0 when it never ran: fetching from nowhere does no harm */
#pragma GCC unroll 8
    for (size_t line = 0; line < 4; line++)
        __builtin_prefetch((const void *)(sp + line * WI_CACHE_LINE));
}

/* number: of a record, not one of those that wi_slab_record skips. */
static inline struct wi_goroutine *wi_goroutine_by_number(uint32_t number)
{
    return wi_slab_record_of(&wi_goroutines, number, sizeof(struct wi_goroutine), WI_GOROUTINES_CHUNK);
}

static inline uint32_t wi_goroutine_number(struct wi_goroutine *g)
{
    return wi_slab_number_of(g, sizeof *g, WI_GOROUTINES_CHUNK);
}

#endif
