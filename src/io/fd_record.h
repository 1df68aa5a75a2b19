/* fd_record.h — the record of a descriptor, which three files share: fd.c has its life, who uses it and which descriptor of
   its number it is for; fd_wait.c who waits for it; fd_deadline.c until when. */
#ifndef WI_FD_RECORD_H
#define WI_FD_RECORD_H

#include "io/fd.h"
#include "sync/queue.h"
#include "timer/timeout.h"

/* state: generation << 32 | CLOSING | uses, see fd.c. */
#define WI_FD_CLOSING (UINT64_C(1) << 31)
#define WI_FD_USES (WI_FD_CLOSING - 1)
#define WI_FD_GENERATION_SHIFT 32
#define WI_FD_GENERATION_MASK UINT64_C(0x7fffffff)

/* Whoever closes a descriptor that others still use. */
struct wi_fd_closer {
    struct wi_goroutine *g; /* NULL: it has not parked */
    int result;
    bool done;
};

/* What is seldom so of a side. The first two have the second line looked at. */
enum wi_fd_rare {
    WI_FD_HAS_DEADLINE = 1,
    WI_FD_HAS_QUEUE = 2,     /* or had, until some of it gave up */
    WI_FD_LONE_IS_SHARED = 4 /* there is a lone waiter, and a context may end its wait */
};

/* The alarm of a side's deadline. */
struct wi_fd_alarm {
    struct wi_alarm alarm; /* [record's lock]; first */
    struct wi_fd *f;       /* [const once it was started] as side */
    enum wi_side side;
};

/* What a wait and its end touch when a side has one waiter lies in the first line: neither the second nor anything on the
   waiter's stack, which is a page that the processor has forgotten, is looked at then. */
struct wi_fd {
    _Alignas(WI_CACHE_LINE) _Atomic uint64_t state; /* [atomic] see above */
    _Atomic uint32_t events[2];                     /* [stores: lock] edges, by side */
    _Atomic uint32_t drained[2];                    /* [atomic] the edge after which nothing was left */
    _Atomic(struct wi_goroutine *) lone[2];         /* [stores: lock] by side: one who waits, before the queue; or NULL */
    struct wi_lock lock;
    _Atomic uint32_t either; /* [atomic] waiters of the reading side that want the writing side's edges too */
    _Atomic uint8_t kind;    /* [atomic] enum wi_fd_kind */
    _Atomic bool watched;    /* [stores: lock] the poller reports its edges */
    _Atomic bool hung_up;    /* [atomic] an edge said more than "data" */
    _Atomic uint8_t rare[2]; /* [stores: lock] enum wi_fd_rare, by side */

    _Alignas(WI_CACHE_LINE) struct wi_link waiters[2]; /* [lock] queues of struct wi_queued, by side */
    _Atomic int64_t deadline_ns[2];                    /* [stores: lock] by side; 0: none */
    struct wi_fd_closer *closer;                       /* [lock] */
    struct wi_fd_alarm *alarms;                        /* [lock] by side; NULL until there is a deadline */
};
_Static_assert(sizeof(struct wi_fd) == 2 * (size_t)WI_CACHE_LINE, "a descriptor's record is two cache lines");

/* ---- the table ---- */

#define WI_FD_CHUNK 256U /* records */
#define WI_FD_CHUNKS (1U << 16)

struct wi_fd_chunk {
    struct wi_fd records[WI_FD_CHUNK];         /* first */
    struct wi_fd_alarm alarms[WI_FD_CHUNK][2]; /* memory that is not touched where there are no deadlines */
};

struct wi_fd_table {
    struct wi_lock lock;
    _Atomic(_Atomic(struct wi_fd_chunk *) *) chunks; /* [stores: lock] WI_FD_CHUNKS pointers, each set once */
};
extern WI_HIDDEN struct wi_fd_table wi_fd_table;

/* The record, if the number has one. */
static inline struct wi_fd *wi_fd_look_up(int fd)
{
    unsigned index = (unsigned)fd / WI_FD_CHUNK;
    if (WI_UNLIKELY(fd < 0 || index >= WI_FD_CHUNKS))
        return NULL;
    _Atomic(struct wi_fd_chunk *) *chunks = wi_load_acquire(&wi_fd_table.chunks); /* pairs with add_chunk */
    struct wi_fd_chunk *chunk = chunks ? wi_load_acquire(&chunks[index]) : NULL;  /* likewise */
    return WI_LIKELY(chunk != NULL) ? &chunk->records[(unsigned)fd % WI_FD_CHUNK] : NULL;
}

/* ---- what is seldom there ---- */

static inline void wi_fd_note_rare(struct wi_fd *f, enum wi_side side, enum wi_fd_rare what, bool has)
{
    unsigned rare = wi_load_relaxed(&f->rare[side]);
    wi_store_relaxed(&f->rare[side], (uint8_t)(has ? rare | what : rare & ~(unsigned)what));
}

/* Without the lock: what it was a moment ago. */
static inline int64_t wi_fd_deadline(struct wi_fd *f, enum wi_side side)
{
    return WI_LIKELY(!(wi_load_relaxed(&f->rare[side]) & WI_FD_HAS_DEADLINE)) ? 0 : wi_load_relaxed(&f->deadline_ns[side]);
}

static inline bool wi_fd_is_waited_for(struct wi_fd *f, enum wi_side side)
{
    return wi_load_relaxed(&f->lone[side]) || (wi_load_relaxed(&f->rare[side]) & WI_FD_HAS_QUEUE);
}

/* ---- what the files ask of each other ---- */

/* What kind of descriptor the kernel says that it is (fd.c). */
enum wi_fd_kind wi_fd_probe(int fd);
/* Ends the waits of a side, inside weft. Who is about to wait looks again too (fd_wait.c). */
void wi_fd_wake_side(struct wi_thread *t, struct wi_fd *f, enum wi_side side);
/* The deadlines are none, and no alarm is pending any more; a call may be about to come. The lock is held (fd_deadline.c). */
void wi_fd_forget_deadlines(struct wi_fd *f);

#endif
