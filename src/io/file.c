/* file.c — reading, writing, syncing, opening and looking at files, so that only the goroutine waits.

   A file is never "not ready"; a call on it blocks when it has to wait for the disk. What need not wait is done at once, by
   the worker:
     read     RWF_NOWAIT: what the page cache has
     write    as is, when it is small and such writes have been quick: the page cache takes them, and if one does block after
              all, the monitor rescues the worker and the next ones are not tried for a while. Else RWF_NOWAIT, which few
              file systems know for writes
     open, stat   RESOLVE_CACHED: a path whose parts the kernel has in memory
   The rest of reads, writes and syncs goes to the ring (os/linux/uring.c), and the goroutine parks. Where there is no ring,
   or it does not take the request, and for open and stat, whose slow part the ring does on threads of the kernel's anyway,
   it is a blocking call (blocking.c), by at most CREW threads at a time where the time is bounded. Whoever has no worker,
   such as a foreign thread, just calls.

   The descriptor's own position (offset -1) never goes to the ring, which does not lock it: two readers of one descriptor
   would get the same bytes. Nor do files that are neither on a disk nor like it: they may block for ever, and the kernel's
   threads for the ring are few.

   A request is a struct on the waiter's stack, and its wait is open before the kernel has the request: completions are taken
   by whoever looks, also before the waiter has parked. Contexts do not end these waits. */
#define _GNU_SOURCE 1 /* preadv2, O_DIRECT, O_PATH */
#include "io/file.h"

#include "io/fd.h"
#include "sync/queue.h"
#include "timer/timeout.h"
#include "weft/file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CREW 32U                       /* threads that block in files at a time */
#define QUICK_BYTES ((size_t)64 << 10) /* a write of no more is tried as is ... */
#define SLOW_NS INT64_C(500000)        /* ... unless one took longer than that ... */
#define CAREFUL_NS INT64_C(100000000)  /* ... since less than this */
#define DIRECT_ALIGN 512U              /* the least that O_DIRECT asks for */

struct request {
    enum wi_uring_operation operation;
    int fd;
    const struct iovec *parts;
    int n;
    int64_t offset;
    struct wi_goroutine *g;  /* [const while in the ring] */
    _Atomic uint64_t ticket; /* [const while in the ring] of g's wait */
    int result;              /* [who completes it] */
};

static const struct wi_wait_kind waits_for_file = {.text = "file", .outside = true};
static const struct wi_wait_kind waits_for_crew = {.text = "a thread for a file"};

/* ---- the ring ---- */

enum ring_state { RING_UNKNOWN, RING_THERE, RING_NONE };

static struct {
    struct wi_lock lock;
    _Atomic uint32_t state; /* [stores: lock] enum ring_state */
} ring;

/* Completes what is done. Anywhere. */
static void take(struct wi_polled *polled)
{
    enum { BATCH = 64 };
    struct wi_uring_done done[BATCH];
    unsigned n;
    do {
        n = wi_os_uring_take(done, BATCH);
        for (unsigned i = 0; i < n; i++) {
            struct request *r = done[i].user;
            uint64_t ticket = wi_load_acquire(&r->ticket); /* pairs with do_in_ring: between them is the kernel */
            wi_wait_claim(r->g, ticket);                   /* nobody else ends this wait */
            r->result = done[i].result;
            wi_poller_complete(polled, r->g, ticket);
        }
    } while (n != 0); /* to the last: there is no edge for what was there */
}

static void ring_ready(struct wi_source *source, uint32_t events, struct wi_polled *polled)
{
    (void)source, (void)events;
    take(polled);
}

static struct wi_source source = {.ready = ring_ready};

static enum ring_state open_ring(void)
{
    int fd = wi_os_uring_open();
    if (fd < 0)
        return RING_NONE;
    if (wi_poller_add(fd, POLLIN, &source) == 0)
        return RING_THERE;
    wi_os_uring_close();
    return RING_NONE;
}

static bool ring_is_there(void)
{
    enum ring_state state = wi_load_acquire(&ring.state); /* pairs with the release below */
    if (WI_UNLIKELY(state == RING_UNKNOWN)) {
        wi_lock(&ring.lock);
        state = wi_load_relaxed(&ring.state);
        if (state == RING_UNKNOWN)
            wi_store_release(&ring.state, state = open_ring());
        wi_unlock(&ring.lock);
    }
    return state == RING_THERE;
}

void wi_files_stop(void)
{
    if (wi_load_relaxed(&ring.state) == RING_THERE)
        wi_os_uring_close();
    memset(&ring, 0, sizeof ring);
}

/* Inside weft: completes what is done and queues whom that makes ready. */
static void take_inside(struct wi_thread *t)
{
    struct wi_polled polled = {.end = &polled.first};
    take(&polled);
    struct wi_goroutine *ready = wi_poller_finish(&polled);
    if (ready)
        wi_ready_list(t, ready);
}

static int submit(const struct request *r)
{
    for (bool again = false;; again = true) {
        int error = wi_os_uring_submit(r->operation, r->fd, r->parts, (unsigned)r->n, r->offset, (void *)r);
        if (again || (error != -EAGAIN && error != -EBUSY))
            return error;
        struct wi_thread *t = wi_enter_or_die();
        take_inside(t); /* perhaps the kernel has too many completions to keep */
        wi_leave(t);
    }
}

/* By the ring; -EAGAIN: it does not take it, or is not sure. */
static ssize_t do_in_ring(struct request *r)
{
    do {
        struct wi_thread *t = wi_enter_blocking();
        if (!t)
            return -EDEADLK;
        r->g = wi_waiting(t);
        uint64_t ticket = wi_wait_open(r->g, 0);
        wi_store_release(&r->ticket, ticket); /* pairs with take */
        wi_leave(t);
        if (submit(r) != 0) /* outside weft: to begin a transfer may take its time */
            return -EAGAIN; /* nobody knows of the wait: the next one takes its place */
        t = wi_enter_or_die();
        take_inside(t);
        bool done =
            wi_load_acquire(&r->g->wait) & WI_WAIT_DONE; /* pairs with wi_poller_complete, which is through with us then */
        if (!done) {
            wi_wait_on(t, r->g, &waits_for_file, (const void *)(intptr_t)r->fd);
            wi_wait_shared(t, r->g, ticket, INT64_MAX);
        }
        wi_leave(wi_self());
    } while (r->result == -ECANCELED || r->result == -EINTR); /* the thread that submitted it has ended */
    /* -EFAULT is also what the kernel says of a request that it was about to go on with when its thread ended. */
    return r->result == -EFAULT ? -EAGAIN : r->result;
}

/* ---- blocking calls ---- */

static struct {
    struct wi_lock lock;
    unsigned busy;          /* [lock] threads, at most CREW */
    struct wi_link waiting; /* [lock] queue of struct wi_queued, not empty only when busy == CREW */
} crew;

static void join_crew(void)
{
    struct wi_thread *t = wi_enter_blocking_or_die();
    wi_lock(&crew.lock);
    if (crew.busy < CREW) {
        crew.busy++;
        wi_unlock(&crew.lock);
    } else {
        struct wi_queued w = {.g = wi_waiting(t)};
        wi_queue_push(&crew.waiting, &w);
        wi_wait_on(t, w.g, &waits_for_crew, NULL);
        wi_park(t, wi_wait_commit_unlock, &crew.lock); /* who leaves leaves its place to us */
    }
    wi_leave(wi_self());
}

static void leave_crew(void)
{
    struct wi_thread *t = wi_enter_or_die();
    wi_lock(&crew.lock);
    struct wi_queued *next = wi_queue_claim(&crew.waiting, 1);
    if (!next)
        crew.busy--;
    wi_unlock(&crew.lock);
    wi_queue_complete(t, next);
    wi_leave(t);
}

void wi_files_forget(void)
{
    wi_files_stop();
    memset(&crew, 0, sizeof crew);
}

/* noinline: see open_now. */
static __attribute__((noinline)) ssize_t call_now(const struct request *r)
{
    ssize_t result;
    do
        switch (r->operation) {
        case WI_URING_READ:
            result = preadv2(r->fd, r->parts, r->n, r->offset, 0);
            break;
        case WI_URING_WRITE:
            result = pwritev2(r->fd, r->parts, r->n, r->offset, 0);
            break;
        case WI_URING_FSYNC:
            result = fsync(r->fd);
            break;
        default:
            result = fdatasync(r->fd);
        }
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

static ssize_t call_off_worker(const struct request *r, bool bounded)
{
    if (!bounded)
        return weft_blocking(call_now, r);
    join_crew();
    ssize_t result = weft_blocking(call_now, r);
    leave_crew();
    return result;
}

/* ---- which way ---- */

/* The caller blocks nobody but itself. It may be wrong about a worker that was taken from it; then it costs a little more.
   */
static bool has_no_worker(void)
{
    struct wi_thread *t = wi_self();
    return !t || t->outdated || !t->current || t->pins || !wi_load_relaxed(&t->worker);
}

/* What waits for a disk, and not for somebody who may never come. */
static bool is_on_disk(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || S_ISDIR(st.st_mode));
}

/* What could not be done at once. */
static ssize_t wait_for(struct request *r)
{
    if (has_no_worker())
        return call_now(r);
    bool bounded = is_on_disk(r->fd);
    if (bounded && r->offset != -1 && ring_is_there()) {
        ssize_t result = do_in_ring(r);
        if (result != -EAGAIN) /* also from the kernel, for files with O_NONBLOCK */
            return result;
    }
    return call_off_worker(r, bounded);
}

/* ---- transfers ---- */

/* Linux 5.9 and 5.10 may say that a file ends where its pages are merely not in memory. */
static bool end_is_doubtful(void)
{
    static _Atomic uint32_t known; /* 1: no, 2: yes */
    uint32_t answer = wi_load_relaxed(&known);
    if (WI_UNLIKELY(answer == 0)) {
        struct utsname name;
        int minor = uname(&name) == 0 && strncmp(name.release, "5.", 2) == 0 ? atoi(name.release + 2) : 0;
        wi_store_relaxed(&known, answer = minor == 9 || minor == 10 ? 2 : 1);
    }
    return answer == 2;
}

/* All bits that must be 0 for O_DIRECT, and the size. */
static uintptr_t bits_of(const struct iovec *parts, int n, int64_t offset, size_t *total)
{
    uintptr_t bits = offset == -1 ? 0 : (uintptr_t)offset;
    *total = 0;
    for (int i = 0; i < n; i++) {
        bits |= (uintptr_t)parts[i].iov_base | parts[i].iov_len;
        *total = parts[i].iov_len > SIZE_MAX - *total ? SIZE_MAX : *total + parts[i].iov_len;
    }
    return bits;
}

/* From RWF_NOWAIT. */
static bool is_refusal(ssize_t result)
{
    return result == -EAGAIN || result == -EOPNOTSUPP || result == -ENOSYS;
}

/* A read that got less than it wanted did so because the rest is not in memory: then it is done again, as a whole. (One that
   moved the descriptor's position cannot be.) */
static bool has_more(int fd, int64_t offset)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > offset;
}

/* At once, as far as possible: true, with the result. */
static __attribute__((noinline)) bool try_to_read(const struct request *r, ssize_t *result)
{
    size_t total;
    if (bits_of(r->parts, r->n, r->offset, &total) % DIRECT_ALIGN == 0) {
        int flags = fcntl(r->fd, F_GETFL);
        if (flags >= 0 && (flags & O_DIRECT))
            return false; /* RWF_NOWAIT waits for the disk then */
    }
    do
        *result = preadv2(r->fd, r->parts, r->n, r->offset, RWF_NOWAIT);
    while (*result < 0 && errno == EINTR);
    if (*result < 0)
        return !is_refusal(*result = -errno);
    if (*result == 0 && total)
        return !end_is_doubtful();
    return (size_t)*result >= total || r->offset == -1 || !has_more(r->fd, r->offset + *result);
}

static _Atomic int64_t careful_until_ns; /* [atomic] */

static __attribute__((noinline)) bool try_to_write(const struct request *r, ssize_t *result)
{
    size_t total;
    bits_of(r->parts, r->n, r->offset, &total);
    int flags = fcntl(r->fd, F_GETFL);
    if (flags >= 0 && (flags & (O_DIRECT | O_DSYNC)))
        return false; /* as above; O_SYNC has the bit of O_DSYNC */
    int64_t begun_ns = wi_os_now_ns();
    if (total <= QUICK_BYTES && begun_ns >= wi_load_relaxed(&careful_until_ns)) {
        *result = call_now(r);
        int64_t now_ns = wi_os_now_ns();
        if (now_ns - begun_ns > SLOW_NS)
            wi_store_relaxed(&careful_until_ns, now_ns + CAREFUL_NS);
        return *result != -EAGAIN;
    }
    do
        *result = pwritev2(r->fd, r->parts, r->n, r->offset, RWF_NOWAIT);
    while (*result < 0 && errno == EINTR);
    return *result >= 0 || !is_refusal(*result = -errno);
}

ssize_t wi_file_transfer(int fd, bool writes, const struct iovec *parts, int n, int64_t offset)
{
    struct request r = {
        .operation = writes ? WI_URING_WRITE : WI_URING_READ, .fd = fd, .parts = parts, .n = n, .offset = offset};
    ssize_t result;
    if (has_no_worker())
        return call_now(&r);
    if (writes ? try_to_write(&r, &result) : try_to_read(&r, &result))
        return result;
    return wait_for(&r);
}

static ssize_t transfer(int fd, bool writes, const void *buffer, size_t size, int64_t offset)
{
    if (offset < 0)
        return -EINVAL;
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    struct iovec part = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = size};
    ssize_t result = wi_file_transfer(fd, writes, &part, 1, offset);
    wi_fd_end(f, fd);
    wi_attend();
    return result;
}

ssize_t weft_pread(int fd, void *buffer, size_t size, int64_t offset)
{
    return transfer(fd, false, buffer, size, offset);
}

ssize_t weft_pwrite(int fd, const void *buffer, size_t size, int64_t offset)
{
    return transfer(fd, true, buffer, size, offset);
}

/* ---- sync ---- */

static int sync_file(int fd, enum wi_uring_operation operation)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    struct request r = {.operation = operation, .fd = fd};
    int result = (int)wait_for(&r);
    wi_fd_end(f, fd);
    return result;
}

int weft_fsync(int fd)
{
    return sync_file(fd, WI_URING_FSYNC);
}

int weft_fdatasync(int fd)
{
    return sync_file(fd, WI_URING_FDATASYNC);
}

/* ---- open and stat ---- */

/* noinline, as all that reads errno here: the address of errno must not be known from before a wait. */
static __attribute__((noinline)) int open_now(const char *path, int flags, unsigned mode)
{
    int fd;
    do
        fd = open(path, flags, mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static __attribute__((noinline)) int stat_now(const char *path, int flags, struct stat *into)
{
    return fstatat(AT_FDCWD, path, into, flags) == 0 ? 0 : -errno;
}

/* Opens what can be found without waiting for a disk; -EAGAIN: it must be done otherwise. */
static __attribute__((noinline)) int open_cached(const char *path, int flags)
{
    struct open_how how = {.flags = (unsigned)flags, .resolve = RESOLVE_CACHED};
    long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    if (fd >= 0)
        return (int)fd;
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case ELOOP:
    case ENAMETOOLONG:
        return -errno;
    default: /* among them ENOSYS before Linux 5.6, EINVAL before 5.12 and for flags that open ignores, EMFILE */
        return -EAGAIN;
    }
}

static int stat_cached(const char *path, int flags, struct stat *into)
{
    int fd = open_cached(path, O_PATH | O_CLOEXEC | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0));
    if (fd < 0)
        return fd;
    int result = fstat(fd, into) == 0 ? 0 : -EAGAIN;
    close(fd);
    return result;
}

/* Opening it cannot wait for somebody else, as that of a FIFO or a terminal. */
static bool opens_at_once(const char *path, int flags)
{
    if (flags & (O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY)))
        return false; /* never without a disk */
    if (flags & (O_NONBLOCK | O_PATH | O_DIRECTORY))
        return true;
    struct stat st;
    int result = stat_cached(path, flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0, &st);
    return result == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
}

int weft_open(const char *path, int flags, ...)
{
    unsigned mode = 0;
    if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, unsigned);
        va_end(arguments);
    }
    flags |= O_CLOEXEC;
    int fd = -EAGAIN;
    if (!has_no_worker() && opens_at_once(path, flags))
        fd = open_cached(path, flags);
    if (fd == -EAGAIN)
        fd = weft_blocking(open_now, path, flags, mode);
    int error = fd >= 0 ? wi_fd_new(fd, WI_FD_UNKNOWN) : 0;
    if (error) {
        close(fd);
        fd = error;
    }
    wi_attend();
    return fd;
}

static int stat_path(const char *path, int flags, struct stat *into)
{
    if (has_no_worker())
        return stat_now(path, flags, into);
    int result = stat_cached(path, flags, into);
    if (result == -EAGAIN) {
        join_crew();
        result = weft_blocking(stat_now, path, flags, into);
        leave_crew();
    }
    wi_attend();
    return result;
}

int weft_stat(const char *path, struct stat *into)
{
    return stat_path(path, 0, into);
}

int weft_lstat(const char *path, struct stat *into)
{
    return stat_path(path, AT_SYMLINK_NOFOLLOW, into);
}
