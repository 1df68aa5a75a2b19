/* os.h — what weft asks of the operating system: the port contract. Every function is thread-safe, keeps errno, returns
   0 or more or a negative errno, and never allocates with malloc. linux/ implements it. */
#ifndef WI_OS_H
#define WI_OS_H

#include "base/atomic.h"
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* ---- memory (linux/mmap.c) ---- */
/* Anonymous private memory, not reserved against swap, no huge pages; NULL when there is none. align is a power of two, 0
   for a page. */
void *wi_os_reserve(size_t size, size_t align);
/* Zeroed memory for records; NULL when there is none. From 2 MiB on it is aligned to size rounded up to a power of two and
   the kernel is asked for huge pages. */
void *wi_os_map(size_t size);
void wi_os_unmap(void *start, size_t size);
/* Gives the pages back; they read as zero afterwards. Guards stay. On failure they keep what they hold. */
int wi_os_release(void *start, size_t size);
/* The same for n ranges, in as few system calls as possible; what fails keeps what it holds. */
void wi_os_release_ranges(const struct iovec *ranges, unsigned n);
size_t wi_os_page_size(void);

/* How guards are made; probed once (a write(2) from a guarded page must give EFAULT: user-mode emulators return success
   from madvise and install nothing). WI_GUARD_MADVISE needs Linux 6.13. The environment variable WEFT_GUARD = madvise,
   mprotect, none overrides the probe. A refusal later on (mlockall) changes MADVISE to MPROTECT. */
enum wi_guard_method { WI_GUARD_MADVISE, WI_GUARD_MPROTECT, WI_GUARD_NONE };
enum wi_guard_method wi_os_guard_method(void);
/* Guards n ranges of size bytes: first, first + stride, ...; as few system calls as possible. 0, or a negative errno, and
   then none of them need be guarded: -EAGAIN when mprotect guards would take more than their share of the mappings. */
int wi_os_guard(void *first, size_t size, size_t stride, unsigned n);
/* n guarded ranges were unmapped: their mappings may be used again. */
void wi_os_unguarded(size_t n);
/* How many memory mappings a process may have: vm.max_map_count. */
size_t wi_os_max_mappings(void);

/* ---- clock (linux/clock.c) ---- */
int64_t wi_os_now_ns(void);                          /* CLOCK_MONOTONIC */
int64_t wi_os_thread_cpu_ns(clockid_t thread_clock); /* CPU time of a thread by its clock; negative errno */
void wi_os_precise_timers(void);                     /* 1 ns timer slack for the calling thread */
/* now_ns, a time of that clock, + ns without overflow. */
static inline int64_t wi_os_after_ns(int64_t now_ns, int64_t ns)
{
    return ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + ns;
}

/* ---- futex (linux/futex.c) ---- */
/* Waits while *word == expected, until deadline_ns of CLOCK_MONOTONIC (INT64_MAX: for ever). 0, -EAGAIN, -EINTR,
   -ETIMEDOUT. */
int wi_os_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns);
void wi_os_futex_wake(_Atomic uint32_t *word, int n);

/* ---- watching descriptors (linux/epoll.c) ---- */
struct epoll_event;
int wi_os_epoll_create(void); /* close-on-exec; a descriptor, or a negative errno */
/* Watches fd, or changes what it is watched for. 0, or a negative errno: -EPERM when it is of a kind that is always
   ready. */
int wi_os_epoll_add(int epoll, int fd, uint32_t events, uint64_t key);
void wi_os_epoll_remove(int epoll, int fd);
/* Waits until there are events, at most to deadline_ns of CLOCK_MONOTONIC; 0: looks only, INT64_MAX: for ever. The number
   of events, at most n; 0: none came; -EINTR. */
int wi_os_epoll_wait(int epoll, struct epoll_event *events, int n, int64_t deadline_ns);

/* ---- io_uring (linux/uring.c) ---- */
/* One ring for the process: transfers and syncs of files that the kernel does while the caller goes on. */
enum wi_uring_operation { WI_URING_READ, WI_URING_WRITE, WI_URING_FSYNC, WI_URING_FDATASYNC };
struct wi_uring_done {
    void *user;
    int result; /* as of the system call; -ECANCELED, -EINTR, -EFAULT also when the thread that submitted it ended first */
};
/* Makes the ring; one thread at a time. Its descriptor, which is readable when there are completions; or a negative
   errno: there is no ring, or the environment variable WEFT_URING is 0. */
int wi_os_uring_open(void);
/* Hands a request over. The parts (of a transfer; their array, too, unless n is 1) stay valid until it is done. 0; or a
   negative errno, and then the kernel does not have it: -EAGAIN and -EBUSY pass. */
int wi_os_uring_submit(enum wi_uring_operation operation, int fd, const struct iovec *parts, unsigned n, int64_t offset,
                       void *user);
/* Takes at most so many completions; 0: there are none. */
unsigned wi_os_uring_take(struct wi_uring_done *done, unsigned most);
/* At the end, or in a forked child: nobody uses it any more. */
void wi_os_uring_close(void);

/* ---- memory barrier in all threads (linux/membarrier.c) ---- */
/* Registers the process; false where the kernel refuses, and then the light side must be a real fence. To be called before
   a second thread uses anything that has a light side. */
bool wi_os_membarrier_init(void);
extern WI_HIDDEN bool wi_os_membarrier_works; /* set by wi_os_membarrier_init, constant afterwards */
/* The heavy side: when it returns, every other thread of the process has executed a full barrier since the call began. */
void wi_os_barrier_heavy(void);
/* The light side: orders earlier stores before later loads against wi_os_barrier_heavy. */
static inline void wi_os_barrier_light(void)
{
    if (WI_LIKELY(wi_os_membarrier_works))
        wi_barrier_compiler();
    else
        wi_fence_seq_cst();
}

/* ---- the process and the machine (linux/proc.c) ---- */
pid_t wi_os_tid(void);
/* Whether the process has a thread with this number. */
bool wi_os_thread_exists(pid_t tid);
/* CPUs that the process may use: the affinity mask, limited by the cgroup's CPU quota (v2 and v1), rounded up, 1 at
   least. */
int wi_os_cpus(void);
/* The quota's part of that, read from files like /proc/self/cgroup and /proc/self/mountinfo; INT_MAX when there is none. */
int wi_os_cgroup_cpus(const char *cgroups, const char *mounts);
/* Opens what wi_os_thread_blocked needs for a thread of this process; a descriptor, to be closed, or a negative errno. */
int wi_os_thread_watch(pid_t tid);
/* 1: the thread, which is not the calling one, is blocked in the kernel; 0: running or ready to run; negative errno: cannot
   be told. */
int wi_os_thread_blocked(int watch);
/* The number of threads of the process; negative errno when it cannot be told. */
int wi_os_thread_count(void);
/* Has the kernel make its table of the process's descriptors large enough for some thousands. Later the table would grow by
   doubling, and in a process with several threads each time costs 10 ms and more, in which every thread waits that wants a
   descriptor. Does nothing when there are several threads already. */
void wi_os_reserve_descriptors(void);

#endif
