/* fd_wait.c — waiting for a descriptor, and what ends it: an edge or a context. A deadline that passes (fd_deadline.c) and a
   close (fd.c) make an edge too, after which the waiters find out why.

   Everything is watched edge-triggered, so an edge must never be lost. Each side has a count of edges, `events`. An
   operation notes it, attempts, and when the kernel says that it would block, waits for a count other than the noted one:

     operation                              poller
       e = events                             events++         (with the lock)
       is the deadline past?                  take the waiters off, and end their waits
       the system call: -EAGAIN
       with the lock: events == e? queue
   An edge that came after the note is seen; what came before it was there for the look at the time and the system call.
   `drained` remembers the e at which nothing was left, so that the next operation waits without asking the kernel in vain; a
   stream socket that transfers less than asked is drained as well, which saves a request-response server one of three system
   calls. Not so after an edge that says more than "data": one edge may stand for data and the end of the stream. */
#define _GNU_SOURCE 1 /* POLLRDHUP */
#include "io/fd_record.h"

#include "io/transfer.h"
#include "weft/io.h"
#include "weft/time.h"

#include <sys/epoll.h>

#define TRANSFER_MAX ((size_t)0x7ffff000) /* more the kernel does not transfer at once */

#define REFUSALS_MOST 8 /* in a row, each after an edge */

static const struct wi_wait_kind waits_to_read = {.text = "read of a descriptor", .outside = true};
static const struct wi_wait_kind waits_to_write = {.text = "write to a descriptor", .outside = true};

/* ---- waking ---- */

/* Who waited for a side: claimed, to be completed after the lock was unlocked. */
struct ended {
    struct wi_goroutine *lone;
    bool lone_is_shared;
    struct wi_queued *list;
};

/* Claims the waits that others may have ended already: of a lone waiter in a context, of the queue. */
static __attribute__((noinline)) void claim_rare(struct wi_fd *f, enum wi_side side, unsigned rare, struct ended *ended)
{
    if (rare & WI_FD_LONE_IS_SHARED) {
        ended->lone_is_shared = true;
        if (!wi_wait_claim_present(ended->lone))
            ended->lone = NULL;
    }
    if (rare & WI_FD_HAS_QUEUE)
        ended->list = wi_queue_claim(&f->waiters[side], UINT32_MAX);
    wi_store_relaxed(&f->rare[side], (uint8_t)(rare & WI_FD_HAS_DEADLINE));
}

/* Counts an edge, and takes the waiters off. The lock is held. */
static inline struct ended edge(struct wi_fd *f, enum wi_side side)
{
    struct ended ended = {.lone = wi_load_relaxed(&f->lone[side])};
    wi_store_release(&f->events[side], wi_load_relaxed(&f->events[side]) + 1); /* pairs with the acquire in do_until */
    if (ended.lone)
        wi_store_relaxed(&f->lone[side], NULL);
    unsigned rare = wi_load_relaxed(&f->rare[side]);
    if (rare & (WI_FD_LONE_IS_SHARED | WI_FD_HAS_QUEUE))
        claim_rare(f, side, rare, &ended);
    return ended;
}

/* Ends the waits of a side, inside weft. Who is about to wait looks again too. */
void wi_fd_wake_side(struct wi_thread *t, struct wi_fd *f, enum wi_side side)
{
    wi_lock(&f->lock);
    struct ended ended = edge(f, side);
    wi_unlock(&f->lock);
    if (ended.lone)
        wi_wait_complete(t, ended.lone, ended.lone_is_shared);
    wi_queue_complete(t, ended.list);
}

void wi_fd_wake(struct wi_fd *f, bool reads, bool writes)
{
    struct wi_thread *t = wi_enter();
    if (!t)
        return;
    if (reads)
        wi_fd_wake_side(t, f, WI_READS);
    if (writes)
        wi_fd_wake_side(t, f, WI_WRITES);
    wi_leave(t);
}

void wi_fd_prefetch(uint64_t key)
{
    __builtin_prefetch(wi_fd_look_up((int)(uint32_t)key), 1);
}

void wi_fd_prefetch_waiter(uint64_t key)
{
    struct wi_fd *f = wi_fd_look_up((int)(uint32_t)key);
    __builtin_prefetch(wi_load_relaxed(&f->lone[WI_READS]), 1); /* guesses, before the lock */
    if (wi_load_relaxed(&f->rare[WI_READS]) & (WI_FD_HAS_QUEUE | WI_FD_HAS_DEADLINE))
        __builtin_prefetch(&f->waiters, 1); /* the second line */
}

static void complete(struct wi_polled *polled, struct ended ended)
{
    if (WI_LIKELY(ended.lone != NULL))
        wi_poller_complete(polled, ended.lone, ended.lone_is_shared);
    for (struct wi_queued *w = ended.list, *next; w; w = next) {
        next = w->then;
        wi_poller_complete(polled, w->g, w->ticket);
    }
}

void wi_fd_event(uint64_t key, uint32_t events, struct wi_polled *polled)
{
    struct wi_fd *f = wi_fd_look_up((int)(uint32_t)key);
    struct ended reads = {0}, writes = {0};
    wi_lock(&f->lock);
    if (((wi_load_relaxed(&f->state) ^ key) >> WI_FD_GENERATION_SHIFT & WI_FD_GENERATION_MASK) == 0) {
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
        uint64_t generation = wi_load_relaxed(&f->state) >> WI_FD_GENERATION_SHIFT & WI_FD_GENERATION_MASK;
        error = wi_poller_watch(fd, WI_FD_KEY | generation << WI_FD_GENERATION_SHIFT | (uint32_t)fd);
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

/* Takes a place among the waiters, a queue's only when there are others. The lock is held. */
static inline void enqueue(struct wi_fd *f, enum wi_side side, struct wi_queued *w, struct wi_goroutine *g, uint64_t ticket)
{
    if (WI_LIKELY(!wi_fd_is_waited_for(f, side))) {
        wi_store_relaxed(&f->lone[side], g);
        if (ticket)
            wi_fd_note_rare(f, side, WI_FD_LONE_IS_SHARED, true);
        return;
    }
    *w = (struct wi_queued){.g = g, .ticket = ticket};
    wi_queue_push(&f->waiters[side], w);
    wi_fd_note_rare(f, side, WI_FD_HAS_QUEUE, true);
}

/* Gives it up, if no edge has. */
static void dequeue(struct wi_fd *f, enum wi_side side, struct wi_queued *w, struct wi_goroutine *g)
{
    wi_lock(&f->lock);
    if (wi_load_relaxed(&f->lone[side]) == g) {
        wi_store_relaxed(&f->lone[side], NULL);
        wi_fd_note_rare(f, side, WI_FD_LONE_IS_SHARED, false);
    } else if (wi_queue_has(w)) {
        wi_queue_remove(w);
    }
    wi_unlock(&f->lock);
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
    if (wi_load_relaxed(&f->state) & WI_FD_CLOSING)
        result = -EBADF;
    if (result || wi_load_relaxed(&f->events[side]) != e) {
        wi_unlock(&f->lock);
        wi_leave(t);
        return result;
    }
    const struct wi_wait_kind *kind = side == WI_READS ? &waits_to_read : &waits_to_write;
    const void *object = (const void *)(intptr_t)fd;
    if (WI_LIKELY(!until_ns && !wi_cancel_of(g))) {
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
    wi_store_relaxed(&w.link.next, NULL); /* it may not come into the queue */
    enqueue(f, side, &w, g, ticket);
    wi_wait_on(t, g, kind, object);
    wi_unlock(&f->lock);
    uint64_t by = wi_wait_shared(t, g, ticket, until_ns ? until_ns : INT64_MAX);
    if (by)
        dequeue(f, side, &w, g);
    if (by == WI_WAIT_BY_CONTEXT)
        result = wi_cancel_reason(g);
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

/* The descriptor is being closed, or its number is another one's, since the state was `begun`. */
static inline bool is_over(struct wi_fd *f, uint64_t begun)
{
    uint64_t state = wi_load_relaxed(&f->state);
    return (state & WI_FD_CLOSING) || (state ^ begun) >> WI_FD_GENERATION_SHIFT != 0;
}

static inline __attribute__((always_inline)) ssize_t
do_until(struct wi_fd *f, int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, size_t whole, int64_t until_ns)
{
    enum wi_fd_kind kind = wi_fd_kind(f, fd);
    unsigned refusals = 0;
    uint64_t begun = wi_load_relaxed(&f->state);
    for (bool waited = false;; waited = true) {
        if (WI_UNLIKELY(is_over(f, begun))) /* also for operations of several attempts, that may never wait */
            return -EBADF;
        uint32_t e = wi_load_acquire(&f->events[side]); /* pairs with edge */
        if (is_past(wi_fd_deadline(f, side))) {
            if (!waited)
                wi_attend();
            return -ETIMEDOUT;
        }
        bool attempts = whole == WI_FD_APART || !wi_load_relaxed(&f->watched) || e != wi_load_relaxed(&f->drained[side]);
        if (attempts) {
            ssize_t result = attempt_once(f, kind, fd, side, e, attempt, argument, whole);
            if (WI_UNLIKELY(result == -ENOTSOCK) && (kind == WI_FD_STREAM || kind == WI_FD_SOCKET) &&
                wi_fd_probe(fd) != kind) {
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

/* ---- waiting without a transfer ---- */

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
    uint64_t begun = wi_load_relaxed(&f->state);
    for (bool waited = false;; waited = true) {
        uint32_t e = wi_load_acquire(&f->events[side]); /* pairs with edge */
        if (WI_UNLIKELY(is_over(f, begun))) {
            result = -EBADF;
            break;
        }
        if ((result = wi_look(fd, events)) == -EINTR)
            continue;
        if (result > 0 && (result & POLLNVAL))
            result = -EBADF;
        if (result == 0)
            result = is_past(wi_fd_deadline(f, side)) ? -ETIMEDOUT : is_past(until_ns) ? -ETIME : 0;
        if (result != 0) {
            if (!waited)
                wi_attend();
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
