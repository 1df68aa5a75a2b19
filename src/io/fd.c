/* fd.c — the record of each descriptor that weft was used with: what it is, who uses it, and whether it is still the same
   one. Who waits for it: fd_wait.c; until when: fd_deadline.c.

   Records lie in a table by number, are made when a number is first seen, and are never unmapped while the runtime runs.

   Closing. An operation holds a use of the record. weft_close_fd sets CLOSING, which refuses new ones and ends the waits
   of those that wait; the last to leave closes the descriptor. So nobody ever meets another descriptor of the same
   number:

     generation << 32 | CLOSING | uses      only a compare-and-swap adds a use, and never to CLOSING

   From when the uses are gone until close(2) has returned the kernel may have given the number to somebody already: who
   begins then waits until the state is fresh, some hundred nanoseconds. Events carry the generation; late ones are
   ignored. */
#include "io/fd_record.h"

#include "io/transfer.h"
#include "weft/io.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct wi_fd_table wi_fd_table;

static const struct wi_wait_kind waits_to_close = {.text = "close of a descriptor", .outside = true};

/* ---- the table ---- */

static struct wi_fd_chunk *add_chunk(unsigned index)
{
    struct wi_fd_chunk *chunk = NULL;
    wi_lock(&wi_fd_table.lock);
    _Atomic(struct wi_fd_chunk *) *chunks = wi_load_relaxed(&wi_fd_table.chunks);
    if (!chunks && (chunks = wi_os_map(WI_FD_CHUNKS * sizeof *chunks)))
        wi_store_release(&wi_fd_table.chunks, chunks); /* pairs with the acquire in wi_fd_look_up */
    if (chunks && !(chunk = wi_load_relaxed(&chunks[index])) && (chunk = wi_os_map(sizeof *chunk)))
        wi_store_release(&chunks[index], chunk); /* likewise */
    wi_unlock(&wi_fd_table.lock);
    return chunk;
}

static struct wi_fd *record_of(int fd, int *error)
{
    *error = -EBADF;
    struct wi_fd *f = wi_fd_look_up(fd);
    unsigned index = (unsigned)fd / WI_FD_CHUNK;
    if (WI_LIKELY(f != NULL) || fd < 0 || index >= WI_FD_CHUNKS)
        return f;
    *error = -ENOMEM;
    if (wi_load_acquire(&wi_sched.started) != WI_STARTED && wi_thread_adopt() != 0)
        return NULL; /* the lock has a light side, which the start of the runtime prepares */
    struct wi_fd_chunk *chunk = add_chunk(index);
    return chunk ? &chunk->records[(unsigned)fd % WI_FD_CHUNK] : NULL;
}

void wi_fds_forget(void)
{
    memset(&wi_fd_table, 0, sizeof wi_fd_table); /* not unmapped: another thread may have been about to look */
}

void wi_fds_stop(void)
{
    _Atomic(struct wi_fd_chunk *) *chunks = wi_load_relaxed(&wi_fd_table.chunks);
    if (!chunks)
        return;
    for (unsigned i = 0; i < WI_FD_CHUNKS; i++)
        if (wi_load_relaxed(&chunks[i]))
            wi_os_unmap(wi_load_relaxed(&chunks[i]), sizeof(struct wi_fd_chunk));
    wi_os_unmap(chunks, WI_FD_CHUNKS * sizeof *chunks);
    wi_store_relaxed(&wi_fd_table.chunks, NULL);
}

/* ---- uses ---- */

/* Adds `more` to the state of a record that is not closing; false: it is. */
static bool enter_state(struct wi_fd *f, uint64_t more)
{
    uint64_t state = wi_load_relaxed(&f->state);
    unsigned looks = 0;
    for (;;) {
        if (WI_UNLIKELY(state & WI_FD_CLOSING)) {
            if (state & WI_FD_USES)
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
    return wi_load_relaxed(&f->state) >> WI_FD_GENERATION_SHIFT;
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

/* ---- generations ---- */

/* What the number's next descriptor begins with. The lock is held, or nobody else is about. */
static void make_fresh(struct wi_fd *f, enum wi_fd_kind kind)
{
    wi_store_relaxed(&f->kind, (uint8_t)kind);
    wi_store_relaxed(&f->watched, false);
    wi_store_relaxed(&f->hung_up, false);
    wi_fd_forget_deadlines(f);
}

/* The record is for the number's next descriptor. The lock is held. */
static void next_generation(struct wi_fd *f, enum wi_fd_kind kind)
{
    make_fresh(f, kind);
    uint64_t generation = (wi_load_relaxed(&f->state) >> WI_FD_GENERATION_SHIFT) + 1;
    wi_store_release(&f->state, generation << WI_FD_GENERATION_SHIFT); /* pairs with enter_state */
}

/* The last use of a closing record is gone. While close(2) runs, which may take long, the kernel may give the number away
   already; whoever makes descriptors for weft (wi_fd_new) then makes the record fresh before we can. */
static void finish_close(struct wi_fd *f, int fd)
{
    wi_lock(&f->lock);
    struct wi_fd_closer *closer = f->closer;
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
    if (WI_UNLIKELY((before & (WI_FD_CLOSING | WI_FD_USES)) == (WI_FD_CLOSING | 1))) {
        int saved = errno;
        finish_close(f, fd);
        errno = saved;
    }
}

/* ---- what it is ---- */

enum wi_fd_kind wi_fd_probe(int fd)
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
        kind = wi_fd_probe(fd);
        wi_store_relaxed(&f->kind, (uint8_t)kind);
        errno = saved;
    }
    return kind;
}

/* ---- new, closed ---- */

int wi_fd_new(int fd, enum wi_fd_kind kind)
{
    int error;
    struct wi_fd *f = record_of(fd, &error);
    if (!f)
        return error;
    wi_lock(&f->lock);
    uint64_t state = wi_load_relaxed(&f->state);
    if ((state & WI_FD_CLOSING) && !(state & WI_FD_USES)) { /* see finish_close */
        next_generation(f, kind);
    } else {
        make_fresh(f, kind);
        wi_add_acq_rel(&f->state, UINT64_C(1) << WI_FD_GENERATION_SHIFT);
    }
    wi_unlock(&f->lock);
    if (WI_UNLIKELY(state & WI_FD_USES)) /* of a descriptor that was closed behind weft's back: its waits fail */
        wi_fd_wake(f, true, true);
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
    if (!enter_state(f, WI_FD_CLOSING | 1)) /* outside, for it may wait */
        return -EBADF;
    t = wi_enter_blocking_or_die();
    struct wi_fd_closer closer = {0};
    wi_lock(&f->lock);
    f->closer = &closer;
    wi_unlock(&f->lock);
    wi_fd_wake_side(t, f, WI_READS);
    wi_fd_wake_side(t, f, WI_WRITES);
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

bool wi_fd_known(int fd)
{
    struct wi_fd *f = wi_fd_look_up(fd);
    if (!f)
        return false;
    uint64_t state = wi_load_acquire(&f->state);
    if (state & WI_FD_CLOSING)
        return (state & WI_FD_USES) != 0; /* else it is weft that closes it now */
    return (state & WI_FD_USES) != 0 || wi_load_relaxed(&f->kind) != WI_FD_UNKNOWN || wi_load_relaxed(&f->watched);
}
