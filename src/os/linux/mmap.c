/* mmap.c — address space, memory and guards from Linux.

   Guards: MADV_GUARD_INSTALL marks page-table entries and needs no mapping of its own, so a million guarded stacks are a
   few mappings. mprotect makes two mappings more for every guard, and a process has vm.max_map_count of them (65,530):
   guards may take half, the program keeps the rest.

   process_madvise takes many ranges and, from 6.13 on, all advice on the caller's own memory. A batch of guards costs a
   fifth less than one call each, and giving back scattered pages a third (510 against 1,640 ns): the TLB is flushed once. */
#define _GNU_SOURCE
#include "base/fatal.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef WEFT_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define PIDFD_OF_CALLER (-10000) /* PIDFD_SELF_THREAD of Linux 6.14: the memory of the calling thread */

#define HUGE_PAGE ((size_t)2 << 20)
#define BATCH 64             /* ranges a system call */
#define MAPPINGS_PER_GUARD 2 /* the guard, and the part above it that it cuts off */

/* ---- advice on many ranges ---- */

static _Atomic bool batches_refused;      /* [atomic] process_madvise does not do it: one madvise a range */
static _Atomic bool caller_pidfd_refused; /* [atomic] Linux 6.13: a descriptor of our own is needed */
static _Atomic int64_t own_pidfd;         /* [atomic] process id << 32 | descriptor + 1; a forked child needs another one */

/* A descriptor of this process, kept open; -1 when it cannot be had. Changes errno. */
static int get_own_pidfd(void)
{
    int64_t pid = getpid(), kept = wi_load_relaxed(&own_pidfd);
    if (kept >> 32 == pid)
        return (int)(kept & INT32_MAX) - 1;
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (fd < 0)
        return -1;
    /* The parent's descriptor stays open: its number may mean something else by now. */
    if (wi_cas_relaxed(&own_pidfd, &kept, pid << 32 | (int64_t)(fd + 1)))
        return fd;
    close(fd);
    return kept >> 32 == pid ? (int)(kept & INT32_MAX) - 1 : -1;
}

/* Gives one piece of advice on n <= BATCH ranges: the bytes done, in their order, or -1. Changes errno. */
static long advise(const struct iovec *ranges, unsigned n, int advice)
{
    if (!wi_load_relaxed(&caller_pidfd_refused)) {
        long done = syscall(SYS_process_madvise, PIDFD_OF_CALLER, ranges, (size_t)n, advice, 0);
        if (done >= 0 || errno != EBADF)
            return done;
        wi_store_relaxed(&caller_pidfd_refused, true);
    }
    int fd = get_own_pidfd();
    return fd < 0 ? -1 : syscall(SYS_process_madvise, fd, ranges, (size_t)n, advice, 0);
}

/* ---- memory ---- */

size_t wi_os_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t page_round_up(size_t size)
{
    size_t page = wi_os_page_size();
    return (size + page - 1) & ~(page - 1);
}

/* NULL when there is none. Changes errno. */
static void *map(size_t size)
{
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

/* Maps at a multiple of align. Newer kernels align large mappings by themselves, and a mapping is often placed right below
   the last one: the plain way is tried first, also because the other one needs more address space for a moment. */
static void *map_aligned(size_t size, size_t align)
{
    size = page_round_up(size);
    char *start = map(size);
    if (!start || align <= wi_os_page_size() || ((uintptr_t)start & (align - 1)) == 0)
        return start;
    munmap(start, size);
    size_t more = align - wi_os_page_size();
    if (size > SIZE_MAX - more || !(start = map(size + more)))
        return NULL;
    size_t before = -(uintptr_t)start & (align - 1);
    if (before)
        munmap(start, before);
    if (more > before)
        munmap(start + before + size, more - before);
    return start + before;
}

void *wi_os_reserve(size_t size, size_t align)
{
    int saved = errno;
    char *start = map_aligned(size, align);
    if (start)
        madvise(start, page_round_up(size), MADV_NOHUGEPAGE);
    errno = saved;
    return start;
}

void *wi_os_map(size_t size)
{
    int saved = errno;
    size_t align = 1;
    while (size >= HUGE_PAGE && align < size)
        align <<= 1;
    char *start = map_aligned(size, align);
    if (start && size >= HUGE_PAGE)
        madvise(start, size, MADV_HUGEPAGE);
    errno = saved;
    return start;
}

void wi_os_unmap(void *start, size_t size)
{
    int saved = errno;
    if (munmap(start, page_round_up(size)) != 0)
        wi_report("cannot unmap %zu bytes: %s", size, strerror(errno)); /* at the limit of mappings: the memory is lost */
    errno = saved;
}

int wi_os_release(void *start, size_t size)
{
    int saved = errno, error = 0;
    if (madvise(start, size, MADV_DONTNEED) != 0 && madvise(start, size, MADV_DONTNEED_LOCKED) != 0)
        error = -errno;
    errno = saved;
    return error;
}

void wi_os_release_ranges(const struct iovec *ranges, unsigned n)
{
    int saved = errno;
    for (unsigned done = 0, batch; done < n; done += batch) {
        batch = n - done < BATCH ? n - done : BATCH;
        long bytes = -1, all = 0;
        for (unsigned i = 0; i < batch; i++)
            all += (long)ranges[done + i].iov_len;
        if (batch > 1 && !wi_load_relaxed(&batches_refused))
            bytes = advise(ranges + done, batch, MADV_DONTNEED);
        for (unsigned i = 0; bytes < all && i < batch; i++) {
            const struct iovec *range = &ranges[done + i];
            if (madvise(range->iov_base, range->iov_len, MADV_DONTNEED) != 0)
                madvise(range->iov_base, range->iov_len, MADV_DONTNEED_LOCKED);
            else if (bytes < 0 && batch > 1)
                wi_store_relaxed(&batches_refused, true); /* the range was good, so it is the call that was not */
        }
    }
    errno = saved;
}

size_t wi_os_max_mappings(void)
{
    int saved = errno;
    char text[32] = "";
    int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) < 0)
            text[0] = '\0';
        close(fd);
    }
    size_t count = strtoul(text, NULL, 10);
    errno = saved;
    return count ? count : 65530;
}

/* ---- the choice of a guard method ---- */

#define METHOD_UNKNOWN (-1)
static _Atomic int guard_method = METHOD_UNKNOWN; /* [atomic] enum wi_guard_method; leaves UNKNOWN once, then only MADVISE */

/* Whether madvise makes a guard that the kernel itself respects. Changes errno. */
static bool probe_madvise(void)
{
    size_t page = wi_os_page_size();
    char *pages = map(2 * page);
    if (!pages)
        return false;
    int ends[2] = {-1, -1};
    bool works = madvise(pages, page, MADV_GUARD_INSTALL) == 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0 &&
                 write(ends[1], pages, 1) == -1 && errno == EFAULT && write(ends[1], pages + page, 1) == 1;
    if (ends[0] >= 0) {
        close(ends[0]);
        close(ends[1]);
    }
    munmap(pages, 2 * page);
    return works;
}

/* Changes errno. */
static bool memory_is_locked(void *page)
{
    return madvise(page, wi_os_page_size(), MADV_DONTNEED) != 0 && errno == EINVAL;
}

static void report_locked(void)
{
    wi_report("the program's memory is locked (mlockall): stacks are resident to their full size, and guarded by mprotect");
}

/* Takes the choice, unless another thread was first, and says what is to be said about it. Changes errno. */
static enum wi_guard_method choose_method(void)
{
    static const char *const names[] = {"madvise", "mprotect", "none"}; /* in the order of the enum */
    const char *wish = secure_getenv("WEFT_GUARD");
    int method = METHOD_UNKNOWN;
    for (int i = 0; wish && i < 3; i++)
        if (strcmp(wish, names[i]) == 0)
            method = i;
    bool misspelt = wish && *wish && method == METHOD_UNKNOWN, locked = false;
    if (method == METHOD_UNKNOWN)
        method = probe_madvise() ? WI_GUARD_MADVISE : WI_GUARD_MPROTECT;
    void *page = method == WI_GUARD_MPROTECT ? map(wi_os_page_size()) : NULL;
    if (page) {
        locked = memory_is_locked(page);
        munmap(page, wi_os_page_size());
    }
#ifdef WEFT_HAVE_VALGRIND
    if (RUNNING_ON_VALGRIND)
        wi_store_relaxed(&batches_refused, true); /* it does not know process_madvise, and warns of it each time */
#endif
    int found = METHOD_UNKNOWN;
    if (!wi_cas_relaxed(&guard_method, &found, method))
        return (enum wi_guard_method)found;
    if (misspelt)
        wi_report("WEFT_GUARD=%s is ignored: it may be madvise, mprotect or none", wish);
    if (locked)
        report_locked();
    return (enum wi_guard_method)method;
}

enum wi_guard_method wi_os_guard_method(void)
{
    int method = wi_load_relaxed(&guard_method);
    if (WI_LIKELY(method != METHOD_UNKNOWN))
        return (enum wi_guard_method)method;
    int saved = errno;
    method = (int)choose_method();
    errno = saved;
    return (enum wi_guard_method)method;
}

/* ---- guards ---- */

/* 0 or a negative errno. Changes errno. */
static int guard_by_madvise(char *first, size_t size, size_t stride, unsigned n)
{
    for (unsigned done = 0; done < n;) {
        unsigned batch = n - done < BATCH ? n - done : BATCH, did = 0;
        if (batch > 1 && !wi_load_relaxed(&batches_refused)) {
            struct iovec ranges[BATCH];
            for (unsigned i = 0; i < batch; i++)
                ranges[i] = (struct iovec){first + (done + i) * stride, size};
            long bytes = advise(ranges, batch, MADV_GUARD_INSTALL);
            did = bytes < 0 ? 0 : (unsigned)((size_t)bytes / size);
        }
        if (did == 0) {
            if (madvise(first + done * stride, size, MADV_GUARD_INSTALL) != 0)
                return -errno;
            if (batch > 1)
                wi_store_relaxed(&batches_refused, true); /* the range was good, so it is the call that was not */
            did = 1;
        }
        done += did;
    }
    return 0;
}

static _Atomic size_t mapping_guards; /* [atomic] guards made by mprotect */

/* 0 or a negative errno. Changes errno. */
static int guard_by_mprotect(char *first, size_t size, size_t stride, unsigned n)
{
    static _Atomic size_t most_guards; /* [atomic] 0 until known */
    size_t most = wi_load_relaxed(&most_guards);
    if (most == 0) {
        most = wi_os_max_mappings() / 2 / MAPPINGS_PER_GUARD;
        wi_store_relaxed(&most_guards, most);
    }
    if (wi_add_relaxed(&mapping_guards, n) + n > most) {
        wi_sub_relaxed(&mapping_guards, n);
        return -EAGAIN;
    }
    for (unsigned i = 0; i < n; i++) {
        if (mprotect(first + i * stride, size, PROT_NONE) == 0)
            continue;
        while (i-- > 0)
            mprotect(first + i * stride, size, PROT_READ | PROT_WRITE);
        wi_sub_relaxed(&mapping_guards, n);
        return -EAGAIN; /* ENOMEM: the program itself has many mappings */
    }
    return 0;
}

int wi_os_guard(void *first, size_t size, size_t stride, unsigned n)
{
    int saved = errno, error = 0;
    int method = (int)wi_os_guard_method();
    if (method == WI_GUARD_MADVISE) {
        error = guard_by_madvise(first, size, stride, n);
        if (error == -EINVAL) { /* locked memory, or WEFT_GUARD=madvise on a kernel that cannot */
            bool locked = memory_is_locked(first);
            if (wi_cas_relaxed(&guard_method, &method, WI_GUARD_MPROTECT)) {
                if (locked)
                    report_locked();
                else
                    wi_report("this kernel cannot guard stacks by madvise: they are guarded by mprotect");
            }
            method = WI_GUARD_MPROTECT;
        }
    }
    if (method == WI_GUARD_MPROTECT)
        error = guard_by_mprotect(first, size, stride, n);
    errno = saved;
    return error;
}

void wi_os_unguarded(size_t n)
{
    size_t made = wi_load_relaxed(&mapping_guards); /* 0 with madvise; fewer than n when the method changed midway */
    while (!wi_cas_relaxed(&mapping_guards, &made, made > n ? made - n : 0))
        ;
}
