/* uring.c — the one ring of io_uring that the process has, for reads, writes and syncs of files.

   Requests are handed over one at a time, as they come, by whatever thread: the submission queue holds a request only while
   its submitter has the lock, so one that the kernel refuses is taken back and nothing is left behind. The kernel serialises
   submissions of a ring anyway. Completions are taken in batches under a lock of their own.

   What the set-up asks for, and what it does not:
     CQSIZE               room for thousands of completions between two looks. What does not fit the kernel keeps (NODROP)
                          and hands over when asked, which costs it memory and us a system call
     max. workers         the kernel's own threads, which do what cannot be done without blocking (syncs, buffered writes),
                          would be at most four per processor; a sync waits for the disk, and many together cost it hardly
                          more than one
     no SQPOLL            a kernel thread that spins beside the workers
     no COOP_TASKRUN      completions would wait for the submitter's next system call, behind its computation
     no SINGLE_ISSUER, DEFER_TASKRUN   any thread submits, any thread takes completions

   A request belongs to the thread that submitted it: when that ends, the kernel gives it up (-ECANCELED, -EINTR, -EFAULT),
   and its owner has to see to it again. */
#define _GNU_SOURCE
#include "os/os.h"

#include "os/lock.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SUBMISSIONS 8U
#define COMPLETIONS 4096U
#define WORKERS 64U
#define REGISTER_WORKERS 19U   /* IORING_REGISTER_IOWQ_MAX_WORKERS, which headers before Linux 5.15 lack */
#define MOST_BYTES 0x7ffff000U /* in one transfer, as for read(2) */

/* NODROP: see above. NATIVE_WORKERS (Linux 5.12): earlier kernels did the work under an identity that they put together. */
#define FEATURES (IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_NATIVE_WORKERS)

static struct {
    int fd;      /* [const while open] */
    void *rings; /* [const while open] both queues, shared with the kernel */
    size_t size; /* [const while open] of rings */
    struct wi_lock submitting, taking;
    struct io_uring_sqe *entries; /* [submitting] */
    _Atomic uint32_t *submitted;  /* [stores: submitting] tail; the kernel reads it in io_uring_enter */
    _Atomic uint32_t *consumed;   /* [stores: kernel, there] head */
    uint32_t *slots;              /* [submitting] */
    uint32_t submission_mask;     /* [const while open] */
    _Atomic uint32_t *flags;      /* [stores: kernel] */
    struct io_uring_cqe *results; /* [taking] */
    _Atomic uint32_t *taken;      /* [stores: taking] head */
    _Atomic uint32_t *completed;  /* [stores: kernel] tail */
    uint32_t result_mask;         /* [const while open] */
} ring;

static int enter(unsigned submit, unsigned flags)
{
    for (;;) {
        int n = (int)syscall(SYS_io_uring_enter, ring.fd, submit, 0, flags, NULL, 0);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return -errno;
    }
}

/* ---- opening ---- */

/* Whether the kernel knows the operations. */
static int probe(int fd)
{
    static const uint8_t needed[] = {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC};
    union {
        struct io_uring_probe probe;
        char room[sizeof(struct io_uring_probe) + 256 * sizeof(struct io_uring_probe_op)];
    } u;
    memset(&u, 0, sizeof u);
    if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_PROBE, &u.probe, 256) < 0)
        return -errno;
    for (unsigned i = 0; i < sizeof needed; i++)
        if (needed[i] >= u.probe.ops_len || !(u.probe.ops[needed[i]].flags & IO_URING_OP_SUPPORTED))
            return -ENOSYS;
    return 0;
}

static int map(int fd, const struct io_uring_params *p)
{
    size_t size = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
    size_t results = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    size = size > results ? size : results;
    char *rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)IORING_OFF_SQ_RING);
    if (rings == MAP_FAILED)
        return -errno;
    void *entries = mmap(NULL, p->sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, fd, (off_t)IORING_OFF_SQES);
    if (entries == MAP_FAILED) {
        int error = -errno;
        munmap(rings, size);
        return error;
    }
    ring.fd = fd;
    ring.rings = rings;
    ring.size = size;
    ring.entries = entries;
    ring.submitted = (void *)(rings + p->sq_off.tail);
    ring.consumed = (void *)(rings + p->sq_off.head);
    ring.slots = (void *)(rings + p->sq_off.array);
    ring.submission_mask = p->sq_entries - 1;
    ring.flags = (void *)(rings + p->sq_off.flags);
    ring.results = (void *)(rings + p->cq_off.cqes);
    ring.taken = (void *)(rings + p->cq_off.head);
    ring.completed = (void *)(rings + p->cq_off.tail);
    ring.result_mask = p->cq_entries - 1;
    return 0;
}

static int open_ring(void)
{
    const char *text = getenv("WEFT_URING");
    if (text && strcmp(text, "0") == 0)
        return -ENOSYS;
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, .cq_entries = COMPLETIONS};
    int fd = (int)syscall(SYS_io_uring_setup, SUBMISSIONS, &params);
    if (fd < 0)
        return -errno;
    int error = (params.features & FEATURES) == FEATURES ? probe(fd) : -ENOSYS;
    if (!error)
        error = map(fd, &params);
    if (error) {
        close(fd);
        return error;
    }
    uint32_t workers[2] = {WORKERS, 0 /* as it is */};
    syscall(SYS_io_uring_register, fd, REGISTER_WORKERS, workers, 2); /* where it fails there are fewer */
    return fd;
}

int wi_os_uring_open(void)
{
    int saved = errno, result = open_ring();
    errno = saved;
    return result;
}

void wi_os_uring_close(void)
{
    int saved = errno;
    munmap(ring.entries, (ring.submission_mask + 1) * sizeof *ring.entries);
    munmap(ring.rings, ring.size);
    close(ring.fd);
    memset(&ring, 0, sizeof ring);
    errno = saved;
}

/* ---- requests ---- */

static void describe(struct io_uring_sqe *e, enum wi_uring_operation operation, const struct iovec *parts, unsigned n)
{
    bool writes = operation == WI_URING_WRITE;
    switch (operation) {
    case WI_URING_READ:
    case WI_URING_WRITE:
        if (n == 1) {
            e->opcode = writes ? IORING_OP_WRITE : IORING_OP_READ;
            e->addr = (uintptr_t)parts->iov_base;
            e->len = parts->iov_len < MOST_BYTES ? (uint32_t)parts->iov_len : MOST_BYTES;
        } else {
            e->opcode = writes ? IORING_OP_WRITEV : IORING_OP_READV;
            e->addr = (uintptr_t)parts;
            e->len = n;
        }
        return;
    case WI_URING_FDATASYNC:
        e->fsync_flags = IORING_FSYNC_DATASYNC;
        __attribute__((fallthrough));
    case WI_URING_FSYNC:
        e->opcode = IORING_OP_FSYNC;
        return;
    }
}

int wi_os_uring_submit(enum wi_uring_operation operation, int fd, const struct iovec *parts, unsigned n, int64_t offset,
                       void *user)
{
    int saved = errno;
    wi_lock(&ring.submitting);
    uint32_t tail = wi_load_relaxed(ring.submitted), slot = tail & ring.submission_mask;
    struct io_uring_sqe *e = &ring.entries[slot];
    memset(e, 0, sizeof *e);
    describe(e, operation, parts, n);
    e->fd = fd;
    e->off = (uint64_t)offset;
    e->user_data = (uintptr_t)user;
    ring.slots[slot] = slot;
    wi_store_release(ring.submitted, tail + 1); /* pairs with the kernel's acquire */
    int result = enter(1, 0);
    bool consumed = wi_load_acquire(ring.consumed) != tail; /* pairs with the kernel's release */
    if (!consumed)
        wi_store_release(ring.submitted, tail); /* the kernel looks at the queue only while we are in the call above */
    wi_unlock(&ring.submitting);
    errno = saved;
    return consumed ? 0 : result < 0 ? result : -EAGAIN;
}

/* ---- completions ---- */

static unsigned take(struct wi_uring_done *done, unsigned most)
{
    uint32_t head = wi_load_relaxed(ring.taken);
    uint32_t there =
        wi_load_acquire(ring.completed) - head; /* pairs with the kernel's release: it has written the results */
    unsigned n = there < most ? there : most;
    for (unsigned i = 0; i < n; i++) {
        const struct io_uring_cqe *result = &ring.results[(head + i) & ring.result_mask];
        done[i] = (struct wi_uring_done){.user = (void *)(uintptr_t)result->user_data, .result = result->res};
    }
    if (n)
        wi_store_release(ring.taken, head + n); /* pairs with the kernel's acquire: we have read them */
    return n;
}

unsigned wi_os_uring_take(struct wi_uring_done *done, unsigned most)
{
    if (wi_load_acquire(ring.completed) == wi_load_relaxed(ring.taken) &&
        !(wi_load_relaxed(ring.flags) & IORING_SQ_CQ_OVERFLOW))
        return 0;
    int saved = errno;
    wi_lock(&ring.taking);
    unsigned n = take(done, most);
    if (n == 0 && (wi_load_relaxed(ring.flags) & IORING_SQ_CQ_OVERFLOW)) {
        enter(0, IORING_ENTER_GETEVENTS); /* the queue is empty: what the kernel keeps comes in */
        n = take(done, most);
    }
    wi_unlock(&ring.taking);
    errno = saved;
    return n;
}
