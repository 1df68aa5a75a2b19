/* fd.c — the record of each descriptor that weft was used with: who waits for it, and whether it is still the same one.

   Records lie in a table by number, are made when a number is first seen, and are never unmapped while the runtime runs.

   Waiting. Everything is watched edge-triggered, so an edge must never be lost. Each side has a count of edges, `events`. An
   operation notes it, attempts, and when the kernel says that it would block, waits for a count other than the noted one:

     operation                              poller
       e = events                             events++         (with the lock)
       the system call: -EAGAIN               take the waiters off, and end their waits
       with the lock: events == e? queue
   An edge that came after the note is seen; what came before it was there for the system call. `drained` remembers the e
   at which nothing was left, so that the next operation waits without asking the kernel in vain; a stream socket that
   transfers less than asked is drained as well, which saves a request-response server one of three system calls. Not so
   after an edge that says more than "data": one edge may stand for data and the end of the stream.

   Closing. An operation holds a use of the record. weft_close_fd sets CLOSING, which refuses new ones and ends the waits
   of those that wait; the last to leave closes the descriptor. So nobody ever meets another descriptor of the same
   number:

     generation << 32 | CLOSING | uses      only a compare-and-swap adds a use, and never to CLOSING

   From when the uses are gone until close(2) has returned the kernel may have given the number to somebody already: who
   begins then waits until the state is fresh, some hundred nanoseconds. Events carry the generation; late ones are
   ignored. */
#define _GNU_SOURCE 1 /* POLLRDHUP */
#include "io/fd.h"

#include "io/transfer.h"
#include "sync/queue.h"
#include "timer/timeout.h"
#include "weft/io.h"
#include "weft/time.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLOSING (UINT64_C(1) << 31)
#define USES (CLOSING - 1)
#define GENERATION_SHIFT 32
#define GENERATION_MASK UINT64_C(0x7fffffff)

#define TRANSFER_MAX ((size_t)0x7ffff000) /* more the kernel does not transfer at once */

#define REFUSALS_MOST 8 /* in a row, each after an edge */

#define CHUNK 256U /* records */
#define CHUNKS (1U << 16)

/* Whoever closes a descriptor that others still use. */
struct closer {
    struct wi_goroutine *g; /* NULL: it has not parked */
    int result;
    bool done;
};

/* What the second line of a side has, so that it need not be looked at when it has nothing. */
enum rare { HAS_DEADLINE = 1, HAS_QUEUE = 2 /* or had, until some of it gave up */ };

/* What a wait and its end touch when a side has one waiter, whose wait nothing else ends, lies in the first line: neither
   the second nor anything on the waiter's stack, which is a page that the processor has forgotten, is looked at then. */
struct wi_fd {
    _Alignas(WI_CACHE_LINE) _Atomic uint64_t state; /* [atomic] see above */
    _Atomic uint32_t events[2];                     /* [stores: lock] edges, by side */
    _Atomic uint32_t drained[2];                    /* [atomic] the edge after which nothing was left */
    _Atomic(struct wi_goroutine *) lone[2]; /* [stores: lock] by side: one in an exclusive wait, before the queue; or NULL */
    struct wi_lock lock;
    _Atomic uint32_t either; /* [atomic] waiters of the reading side that want the writing side's edges too */
    _Atomic uint8_t kind;    /* [atomic] enum wi_fd_kind */
    _Atomic bool watched;    /* [stores: lock] the poller reports its edges */
    _Atomic bool hung_up;    /* [atomic] an edge said more than "data" */
    _Atomic uint8_t rare[2]; /* [stores: lock] enum rare, by side: what the second line has */

    _Alignas(WI_CACHE_LINE) struct wi_link waiters[2]; /* [lock] queues of struct wi_queued, by side */
    _Atomic int64_t deadline_ns[2];                    /* [stores: lock] by side; 0: none */
    struct closer *closer;                             /* [lock] */
};
_Static_assert(sizeof(struct wi_fd) == 2 * (size_t)WI_CACHE_LINE, "a descriptor's record is two cache lines");

static struct {
    struct wi_lock lock;
    _Atomic(_Atomic(struct wi_fd *) *) chunks; /* [stores: lock] CHUNKS pointers, each set once */
} table;

static const struct wi_wait_kind waits_to_read = {.text = "read of a descriptor", .outside = true};
static const struct wi_wait_kind waits_to_write = {.text = "write to a descriptor", .outside = true};
static const struct wi_wait_kind waits_to_close = {.text = "close of a descriptor", .outside = true};

/* ---- the table ---- */

static struct wi_fd *add_chunk(unsigned index)
{
    struct wi_fd *chunk = NULL;
    wi_lock(&table.lock);
    _Atomic(struct wi_fd *) *chunks = wi_load_relaxed(&table.chunks);
    if (!chunks && (chunks = wi_os_map(CHUNKS * sizeof *chunks)))
        wi_store_release(&table.chunks, chunks); /* pairs with the acquire in record_of */
    if (chunks && !(chunk = wi_load_relaxed(&chunks[index])) && (chunk = wi_os_map(CHUNK * sizeof *chunk)))
        wi_store_release(&chunks[index], chunk); /* likewise */
    wi_unlock(&table.lock);
    return chunk;
}

static struct wi_fd *record_of(int fd, int *error)
{
    *error = -EBADF;
    unsigned index = (unsigned)fd / CHUNK;
    if (WI_UNLIKELY(fd < 0 || index >= CHUNKS))
        return NULL;
    _Atomic(struct wi_fd *) *chunks = wi_load_acquire(&table.chunks); /* pairs with add_chunk */
    struct wi_fd *chunk = chunks ? wi_load_acquire(&chunks[index]) : NULL;
    if (WI_UNLIKELY(!chunk)) {
        if (wi_load_acquire(&wi_sched.started) != WI_STARTED && wi_thread_adopt() != 0)
            chunk = NULL; /* the lock has a light side, which the start of the runtime prepares */
        else
            chunk = add_chunk(index);
        *error = -ENOMEM;
    }
    return chunk ? &chunk[(unsigned)fd % CHUNK] : NULL;
}

void wi_fds_forget(void)
{
    memset(&table, 0, sizeof table); /* not unmapped: another thread may have been about to look */
}

void wi_fds_stop(void)
{
    _Atomic(struct wi_fd *) *chunks = wi_load_relaxed(&table.chunks);
    if (!chunks)
        return;
    for (unsigned i = 0; i < CHUNKS; i++)
        if (wi_load_relaxed(&chunks[i]))
            wi_os_unmap(wi_load_relaxed(&chunks[i]), CHUNK * sizeof(struct wi_fd));
    wi_os_unmap(chunks, CHUNKS * sizeof *chunks);
    wi_store_relaxed(&table.chunks, NULL);
}

/* ---- uses ---- */

/* Adds `more` to the state of a record that is not closing; false: it is. */
static bool enter_state(struct wi_fd *f, uint64_t more)
{
    uint64_t state = wi_load_relaxed(&f->state);
    unsigned looks = 0;
    for (;;) {
        if (WI_UNLIKELY(state & CLOSING)) {
            if (state & USES)
                return false;
            struct timespec pause = {.tv_nsec = 20000};
            if (++looks < 10)
                sched_yield(); /* close(2) is about to return, see above; unless the socket lingers */
            else
                nanosleep(&pause, NULL);
            state = wi_load_relaxed(&f->state);
        } else if (wi_cas_acq_rel(&f->state, &state, state + more)) { /* pairs with the release in finish_close */
            return true;
        }
    }
}

struct wi_fd *wi_fd_begin(int fd, int *error)
{
    struct wi_fd *f = record_of(fd, error);
    if (WI_UNLIKELY(!f))
        return NULL;
    *error = -EBADF;
    return WI_LIKELY(enter_state(f, 1)) ? f : NULL;
}

uint64_t wi_fd_generation(struct wi_fd *f)
{
    return wi_load_relaxed(&f->state) >> GENERATION_SHIFT;
}

struct wi_fd *wi_fd_begin_again(int fd, uint64_t generation, int *error)
{
    struct wi_fd *f = wi_fd_begin(fd, error);
    if (!f || wi_fd_generation(f) == generation)
        return f;
    wi_fd_end(f, fd);
    *error = -EBADF;
    return NULL;
}

/* ---- the second line ---- */

static inline void note_rare(struct wi_fd *f, enum wi_side side, enum rare what, bool has)
{
    unsigned rare = wi_load_relaxed(&f->rare[side]);
    wi_store_relaxed(&f->rare[side], (uint8_t)(has ? rare | what : rare & ~(unsigned)what));
}

static void set_deadline(struct wi_fd *f, enum wi_side side, int64_t deadline_ns)
{
    wi_store_relaxed(&f->deadline_ns[side], deadline_ns);
    note_rare(f, side, HAS_DEADLINE, deadline_ns != 0);
}

/* Without the lock: what it was a moment ago. */
static inline int64_t deadline_of(struct wi_fd *f, enum wi_side side)
{
    return WI_LIKELY(!(wi_load_relaxed(&f->rare[side]) & HAS_DEADLINE)) ? 0 : wi_load_relaxed(&f->deadline_ns[side]);
}

/* ---- generations ---- */

/* What the number's next descriptor begins with. The lock is held, or nobody else is about. */
static void make_fresh(struct wi_fd *f, enum wi_fd_kind kind)
{
    wi_store_relaxed(&f->kind, (uint8_t)kind);
    wi_store_relaxed(&f->watched, false);
    wi_store_relaxed(&f->hung_up, false);
    set_deadline(f, WI_READS, 0);
    set_deadline(f, WI_WRITES, 0);
}

/* The record is for the number's next descriptor. The lock is held. */
static void next_generation(struct wi_fd *f, enum wi_fd_kind kind)
{
    make_fresh(f, kind);
    uint64_t generation = (wi_load_relaxed(&f->state) >> GENERATION_SHIFT) + 1;
    wi_store_release(&f->state, generation << GENERATION_SHIFT); /* pairs with enter_state */
}

/* The last use of a closing record is gone. While close(2) runs, which may take long, the kernel may give the number away
   already; whoever makes descriptors for weft (wi_fd_new) then makes the record fresh before we can. */
static void finish_close(struct wi_fd *f, int fd)
{
    wi_lock(&f->lock);
    struct closer *closer = f->closer;
    f->closer = NULL;
    uint64_t state = wi_load_relaxed(&f->state);
    wi_unlock(&f->lock);
    wi_perturb();
    if (wi_load_relaxed(&f->watched))
        wi_poller_unwatch(fd); /* or its edges would come for as long as another process has the same open */
    int result = wi_close(fd);
    if (result == -EINTR)
        result = 0; /* on Linux it is closed whatever close says */
    wi_lock(&f->lock);
    if (wi_load_relaxed(&f->state) == state)
        next_generation(f, WI_FD_UNKNOWN);
    closer->result = result;
    closer->done = true;
    struct wi_goroutine *g = closer->g;
    wi_unlock(&f->lock);
    if (g) {
        struct wi_thread *t = wi_enter_or_die();
        wi_ready(t, g);
        wi_leave(t);
    }
}

void wi_fd_end(struct wi_fd *f, int fd)
{
    uint64_t before = wi_sub_acq_rel(&f->state, 1); /* all that we did with the descriptor comes before its close */
    if (WI_UNLIKELY((before & (CLOSING | USES)) == (CLOSING | 1))) {
        int saved = errno;
        finish_close(f, fd);
        errno = saved;
    }
}

/* ---- what it is ---- */

static enum wi_fd_kind probe(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return WI_FD_UNKNOWN;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
        return WI_FD_FILE;
    if (!S_ISSOCK(st.st_mode)) {
        int flags = fcntl(fd, F_GETFL);
        return flags >= 0 && (flags & O_NONBLOCK) ? WI_FD_OPEN : WI_FD_BLOCKING;
    }
    int protocol = 0;
    socklen_t length = sizeof protocol;
    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length);
    return protocol == IPPROTO_TCP ? WI_FD_STREAM : WI_FD_SOCKET;
}

__attribute__((noinline)) /* errno is asked for on the thread that the caller is on now */
enum wi_fd_kind
wi_fd_kind(struct wi_fd *f, int fd)
{
    enum wi_fd_kind kind = wi_load_relaxed(&f->kind);
    if (WI_UNLIKELY(kind == WI_FD_UNKNOWN)) {
        int saved = errno;
        kind = probe(fd);
        wi_store_relaxed(&f->kind, (uint8_t)kind);
        errno = saved;
    }
    return kind;
}

/* ---- waking ---- */

/* Who waited for a side: claimed, to be completed after the lock was unlocked. */
struct ended {
    struct wi_goroutine *lone;
    struct wi_queued *list;
};

static inline bool is_waited_for(struct wi_fd *f, enum wi_side side)
{
    return wi_load_relaxed(&f->lone[side]) || (wi_load_relaxed(&f->rare[side]) & HAS_QUEUE);
}

/* Counts an edge, and takes the waiters off. The lock is held. */
static inline struct ended edge(struct wi_fd *f, enum wi_side side)
{
    struct ended ended = {.lone = wi_load_relaxed(&f->lone[side])};
    wi_store_release(&f->events[side], wi_load_relaxed(&f->events[side]) + 1); /* pairs with the acquire in do_until */
    if (ended.lone)
        wi_store_relaxed(&f->lone[side], NULL);
    if (WI_UNLIKELY(wi_load_relaxed(&f->rare[side]) & HAS_QUEUE)) {
        ended.list = wi_queue_claim(&f->waiters[side], UINT32_MAX);
        note_rare(f, side, HAS_QUEUE, false);
    }
    return ended;
}

/* Ends the waits of a side, inside weft. Who is about to wait looks again too. */
static void wake_side(struct wi_thread *t, struct wi_fd *f, enum wi_side side)
{
    wi_lock(&f->lock);
    struct ended ended = edge(f, side);
    wi_unlock(&f->lock);
    if (ended.lone)
        wi_ready(t, ended.lone);
    wi_queue_complete(t, ended.list);
}

void wi_fd_wake(struct wi_fd *f, bool reads, bool writes)
{
    struct wi_thread *t = wi_enter();
    if (!t)
        return;
    if (reads)
        wake_side(t, f, WI_READS);
    if (writes)
        wake_side(t, f, WI_WRITES);
    wi_leave(t);
}

void wi_fd_prefetch(uint64_t key)
{
    int error;
    __builtin_prefetch(record_of((int)(uint32_t)key, &error), 1);
}

void wi_fd_prefetch_waiter(uint64_t key)
{
    int error;
    struct wi_fd *f = record_of((int)(uint32_t)key, &error);
    __builtin_prefetch(wi_load_relaxed(&f->lone[WI_READS]), 1); /* a guess, before the lock */
}

static void complete(struct wi_polled *polled, struct ended ended)
{
    if (WI_LIKELY(ended.lone != NULL))
        wi_poller_complete(polled, ended.lone, 0);
    for (struct wi_queued *w = ended.list, *next; w; w = next) {
        next = w->then;
        wi_poller_complete(polled, w->g, w->ticket);
    }
}

void wi_fd_event(uint64_t key, uint32_t events, struct wi_polled *polled)
{
    int error;
    struct wi_fd *f = record_of((int)(uint32_t)key, &error);
    struct ended reads = {0}, writes = {0};
    wi_lock(&f->lock);
    if (((wi_load_relaxed(&f->state) ^ key) >> GENERATION_SHIFT & GENERATION_MASK) == 0) {
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
            wi_store_relaxed(&f->hung_up, true);
        if ((events & ~(uint32_t)EPOLLOUT) || wi_load_relaxed(&f->either))
            reads = edge(f, WI_READS);
        if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
            writes = edge(f, WI_WRITES);
    }
    wi_unlock(&f->lock);
    complete(polled, reads);
    complete(polled, writes);
}

/* ---- waiting ---- */

/* Has the poller report the edges of both sides. The one of `side` is known to be blocked; the kernel reports as the
   first edge what is there already. 0 or a negative errno. */
static int watch(struct wi_fd *f, int fd, enum wi_side side)
{
    int error = 0;
    wi_lock(&f->lock);
    if (!wi_load_relaxed(&f->watched)) {
        uint64_t generation = wi_load_relaxed(&f->state) >> GENERATION_SHIFT & GENERATION_MASK;
        error = wi_poller_watch(fd, WI_FD_KEY | generation << GENERATION_SHIFT | (uint32_t)fd);
        if (!error) {
            wi_bump(&f->events[!side], 1); /* nothing is known of that one */
            wi_store_release(&f->watched, true);
        }
    }
    wi_unlock(&f->lock);
    return error;
}

static inline bool is_past(int64_t deadline_ns)
{
    return WI_UNLIKELY(deadline_ns != 0) && deadline_ns <= wi_os_now_ns();
}

/* The lock is held. */
static void enqueue(struct wi_fd *f, enum wi_side side, struct wi_queued *w, struct wi_goroutine *g, uint64_t ticket)
{
    *w = (struct wi_queued){.g = g, .ticket = ticket};
    wi_queue_push(&f->waiters[side], w);
    note_rare(f, side, HAS_QUEUE, true);
}

/* Parks until there is an edge after number e, or something else to look at, until_ns among them (0: never): 0. Else why
   there is no point in waiting. */
static int wait_for_edge(struct wi_fd *f, int fd, enum wi_side side, uint32_t e, int64_t until_ns)
{
    struct wi_thread *t = wi_enter_blocking();
    if (!t)
        return -EDEADLK;
    struct wi_goroutine *g = wi_waiting(t);
    struct wi_queued w;
    int result = 0;
    if (wi_waits_as_thread(t))
        wi_guard_poller();
    wi_lock(&f->lock);
    int64_t deadline_ns = deadline_of(f, side);
    if (wi_load_relaxed(&f->state) & CLOSING)
        result = -EBADF;
    else if (is_past(deadline_ns))
        result = -ETIMEDOUT;
    if (until_ns && (!deadline_ns || until_ns < deadline_ns))
        deadline_ns = until_ns;
    if (result || wi_load_relaxed(&f->events[side]) != e) {
        wi_unlock(&f->lock);
        wi_leave(t);
        return result;
    }
    const struct wi_wait_kind *kind = side == WI_READS ? &waits_to_read : &waits_to_write;
    const void *object = (const void *)(intptr_t)fd;
    if (WI_LIKELY(!deadline_ns && !wi_cancel_of(g))) {
        if (WI_LIKELY(!is_waited_for(f, side)))
            wi_store_relaxed(&f->lone[side], g);
        else
            enqueue(f, side, &w, g, 0);
        wi_wait_on(t, g, kind, object);
        wi_park(t, wi_wait_commit_unlock, &f->lock);
        wi_leave(wi_self());
        return 0;
    }
    uint64_t ticket;
    if (!wi_wait_begin(g, &ticket)) {
        wi_unlock(&f->lock);
        result = wi_wait_refused(t, g, ticket);
        wi_leave(wi_self());
        return result;
    }
    enqueue(f, side, &w, g, ticket);
    wi_wait_on(t, g, kind, object);
    wi_unlock(&f->lock);
    uint64_t by = wi_wait_shared(t, g, ticket, deadline_ns ? deadline_ns : INT64_MAX);
    if (by) {
        wi_lock(&f->lock);
        if (wi_queue_has(&w))
            wi_queue_remove(&w);
        wi_unlock(&f->lock);
        if (by == WI_WAIT_BY_CONTEXT) /* a time that came is looked at again: it may have been moved */
            result = wi_cancel_reason(g);
    }
    wi_leave(wi_self());
    return result;
}

static int wait_side(struct wi_fd *f, int fd, enum wi_side side, uint32_t e, int64_t until_ns)
{
    if (WI_UNLIKELY(!wi_load_acquire(&f->watched))) { /* pairs with the release in watch */
        int error = watch(f, fd, side);
        if (error)
            return error;
    }
    return wait_for_edge(f, fd, side, e, until_ns);
}

/* One attempt after edge number e, and what is learned of it. */
static inline ssize_t attempt_once(struct wi_fd *f, enum wi_fd_kind kind, int fd, enum wi_side side, uint32_t e,
                                   wi_fd_attempt attempt, void *argument, size_t whole)
{
    ssize_t result;
    do
        result = attempt(kind, fd, argument);
    while (WI_UNLIKELY(result == -EINTR));
    bool all = result == -EAGAIN && whole != WI_FD_APART;
    if (kind == WI_FD_STREAM && result > 0 && (size_t)result < whole && whole <= TRANSFER_MAX &&
        !wi_load_relaxed(&f->hung_up))
        all = true;
    if (all)
        wi_store_relaxed(&f->drained[side], e);
    return result;
}

/* A datagram for a Unix socket whose queue is full: the kernel refuses it, and says at the same time that the sender's own
   socket has room, so that there is an edge for each refusal and none when the queue gets room. Waits a while instead. */
static int nap(unsigned refusals)
{
    unsigned doublings = refusals - REFUSALS_MOST;
    return weft_sleep((50 * WEFT_US) << (doublings < 8 ? doublings : 8));
}

static inline __attribute__((always_inline)) ssize_t
do_until(struct wi_fd *f, int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, size_t whole, int64_t until_ns)
{
    enum wi_fd_kind kind = wi_fd_kind(f, fd);
    unsigned refusals = 0;
    for (bool waited = false;; waited = true) {
        if (WI_UNLIKELY(wi_load_relaxed(&f->state) & CLOSING)) /* for operations of several attempts, that may never wait */
            return -EBADF;
        if (is_past(deadline_of(f, side)))
            return -ETIMEDOUT;
        uint32_t e = wi_load_acquire(&f->events[side]); /* pairs with edge */
        bool attempts = whole == WI_FD_APART || !wi_load_relaxed(&f->watched) || e != wi_load_relaxed(&f->drained[side]);
        if (attempts) {
            ssize_t result = attempt_once(f, kind, fd, side, e, attempt, argument, whole);
            if (WI_UNLIKELY(result == -ENOTSOCK) && (kind == WI_FD_STREAM || kind == WI_FD_SOCKET) && probe(fd) != kind) {
                wi_store_relaxed(&f->kind, WI_FD_UNKNOWN); /* closed without our knowledge, and this is another one */
                kind = wi_fd_kind(f, fd);
                continue;
            }
            if (WI_LIKELY(result != -EAGAIN)) {
                if (!waited)
                    wi_attend();
                return result;
            }
        }
        int error = is_past(until_ns) ? -ETIME : wait_side(f, fd, side, e, until_ns);
        if (WI_UNLIKELY(attempts && ++refusals > REFUSALS_MOST) && kind == WI_FD_SOCKET && side == WI_WRITES && !error)
            error = nap(refusals);
        if (WI_UNLIKELY(error)) {
            if (attempts || error == -EBADF)
                return error;
            ssize_t result = attempt(kind, fd, argument); /* what came may not have been polled yet */
            return result == -EAGAIN || result == -EINTR ? error : result;
        }
    }
}

ssize_t wi_fd_do_begun(struct wi_fd *f, int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, size_t whole)
{
    return do_until(f, fd, side, attempt, argument, whole, 0);
}

ssize_t wi_fd_do_until(int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, size_t whole, int64_t until_ns)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    ssize_t result = do_until(f, fd, side, attempt, argument, whole, until_ns);
    wi_fd_end(f, fd);
    return result;
}

ssize_t wi_fd_do(int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, size_t whole)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (WI_UNLIKELY(!f))
        return error;
    ssize_t result = wi_fd_do_begun(f, fd, side, attempt, argument, whole);
    wi_fd_end(f, fd);
    return result;
}

/* ---- new, closed, deadlines ---- */

int wi_fd_new(int fd, enum wi_fd_kind kind)
{
    int error;
    struct wi_fd *f = record_of(fd, &error);
    if (!f)
        return error;
    wi_lock(&f->lock);
    uint64_t state = wi_load_relaxed(&f->state);
    if ((state & CLOSING) && !(state & USES)) { /* see finish_close */
        next_generation(f, kind);
    } else {
        make_fresh(f, kind);
        /* Who still uses a descriptor that was closed behind weft's back goes on with this one. */
        wi_add_acq_rel(&f->state, UINT64_C(1) << GENERATION_SHIFT);
    }
    wi_unlock(&f->lock);
    return 0;
}

int weft_close_fd(int fd)
{
    int error;
    struct wi_fd *f = record_of(fd, &error);
    if (!f)
        return error;
    struct wi_thread *t = wi_enter_blocking();
    if (!t)
        return -EDEADLK;
    wi_leave(t);
    if (!enter_state(f, CLOSING | 1)) /* outside, for it may wait */
        return -EBADF;
    t = wi_enter_blocking_or_die();
    struct closer closer = {0};
    wi_lock(&f->lock);
    f->closer = &closer;
    wi_unlock(&f->lock);
    wake_side(t, f, WI_READS);
    wake_side(t, f, WI_WRITES);
    wi_leave(t);
    wi_fd_end(f, fd);
    t = wi_enter_blocking_or_die();
    wi_lock(&f->lock);
    if (closer.done) {
        wi_unlock(&f->lock);
    } else {
        closer.g = wi_waiting(t);
        wi_wait_on(t, closer.g, &waits_to_close, (const void *)(intptr_t)fd);
        wi_park(t, wi_wait_commit_unlock, &f->lock);
    }
    wi_leave(wi_self());
    return closer.result;
}

int weft_fd_set_deadline(int fd, int events, int64_t deadline_ns)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    if (wi_fd_kind(f, fd) == WI_FD_UNKNOWN) { /* else the next descriptor with the number would have it */
        wi_fd_end(f, fd);
        return -EBADF;
    }
    struct wi_thread *t = wi_enter();
    if (!t) {
        wi_fd_end(f, fd);
        return -EDEADLK;
    }
    int64_t kept_ns = deadline_ns == INT64_MAX ? 0 : deadline_ns <= 0 ? 1 : deadline_ns;
    for (int side = 0; side < 2; side++) {
        if (!(events & (side == WI_READS ? POLLIN : POLLOUT)))
            continue;
        wi_lock(&f->lock);
        bool waited_for = is_waited_for(f, (enum wi_side)side);
        set_deadline(f, (enum wi_side)side, kept_ns);
        wi_unlock(&f->lock);
        if (waited_for)
            wake_side(t, f, (enum wi_side)side);
    }
    wi_leave(t);
    wi_fd_end(f, fd);
    return 0;
}

bool wi_fd_known(int fd)
{
    unsigned index = (unsigned)fd / CHUNK;
    _Atomic(struct wi_fd *) *chunks = wi_load_acquire(&table.chunks); /* pairs with add_chunk */
    struct wi_fd *chunk = chunks && fd >= 0 && index < CHUNKS ? wi_load_acquire(&chunks[index]) : NULL;
    if (!chunk)
        return false;
    struct wi_fd *f = &chunk[(unsigned)fd % CHUNK];
    uint64_t state = wi_load_acquire(&f->state);
    if (state & CLOSING)
        return (state & USES) != 0; /* else it is weft that closes it now */
    return (state & USES) != 0 || wi_load_relaxed(&f->kind) != WI_FD_UNKNOWN || wi_load_relaxed(&f->watched);
}

int wi_fd_wait_until(int fd, int events, int64_t until_ns)
{
    int error, result;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    bool reads = events & (POLLIN | POLLPRI | POLLRDHUP), either = reads && (events & POLLOUT);
    enum wi_side side = reads || !(events & POLLOUT) ? WI_READS : WI_WRITES;
    if (either)
        wi_add_acq_rel(&f->either, 1); /* before the look: an edge after it must count */
    for (bool waited = false;; waited = true) {
        uint32_t e = wi_load_acquire(&f->events[side]); /* pairs with edge */
        if ((result = wi_look(fd, events)) == -EINTR)
            continue;
        if (result > 0 && (result & POLLNVAL))
            result = -EBADF;
        if (result != 0) {
            if (!waited)
                wi_attend();
            break;
        }
        if (is_past(deadline_of(f, side))) {
            result = -ETIMEDOUT;
            break;
        }
        if (is_past(until_ns)) {
            result = -ETIME;
            break;
        }
        if ((result = wait_side(f, fd, side, e, until_ns)) != 0)
            break;
    }
    if (either)
        wi_sub_relaxed(&f->either, 1);
    wi_fd_end(f, fd);
    return result;
}

int weft_wait_fd(int fd, int events)
{
    return wi_fd_wait_until(fd, events, 0);
}
