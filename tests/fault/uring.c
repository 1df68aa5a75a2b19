/* LINK: -Wl,--wrap=syscall,--wrap=epoll_ctl */
/* uring.c — io_uring is refused, or refuses requests: files give the same results. */
#include "../death/death.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* What fails: after the first `skip` calls every `every`-th, `in_a_row` times; 0: none. */
struct plan {
    long number;
    int error, skip, every, in_a_row;
};
static struct plan plan;
static atomic_int calls, hits, handed_over; /* requests that the kernel took */

static bool must_fail(long number)
{
    if (number != plan.number || plan.every == 0)
        return false;
    int call = atomic_fetch_add(&calls, 1) - plan.skip;
    if (call < 0 || call % plan.every >= plan.in_a_row)
        return false;
    atomic_fetch_add(&hits, 1);
    errno = plan.error;
    return true;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
/* It takes six arguments as syscall does, however many there are. */
__attribute__((no_sanitize("address"))) long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long a[6];
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (must_fail(number))
        return -1;
    long result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (number == SYS_io_uring_enter && result > 0)
        atomic_fetch_add(&handed_over, 1);
    return result;
}

/* For wi_poller_add: `number` is -1. */
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    return must_fail(-1) ? -1 : __real_epoll_ctl(epoll, operation, fd, event);
}

/* ---- the child ---- */

enum { BLOCK = 4096, BLOCKS = 200 };

static void use_block(int fd, int number)
{
    int block[BLOCK / sizeof(int)];
    CHECK_EQ(weft_pread(fd, block, sizeof block, (int64_t)number * BLOCK), BLOCK);
    for (size_t i = 0; i < sizeof block / sizeof *block; i++)
        CHECK_EQ(block[i], number);
    CHECK_EQ(weft_fsync(fd), 0);
    CHECK_EQ(weft_pread(fd, block, sizeof block, (int64_t)(BLOCKS + number) * BLOCK), 0);
    CHECK_EQ(weft_pread(fd, (void *)8, 16, (int64_t)number * BLOCK), -EFAULT);
}

static int app(void)
{
    const char *directory = getenv("TMPDIR");
    char path[256];
    snprintf(path, sizeof path, "%s/weft-uring-XXXXXX", directory && *directory ? directory : "/tmp");
    int fd = mkstemp(path), block[BLOCK / sizeof(int)];
    CHECK(fd >= 0);
    unlink(path);
    for (int i = 0; i < BLOCKS; i++) {
        for (size_t j = 0; j < sizeof block / sizeof *block; j++)
            block[j] = i;
        CHECK_EQ(weft_pwrite(fd, block, sizeof block, (int64_t)i * BLOCK), BLOCK);
    }
    CHECK_EQ(fsync(fd), 0);
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0);
    weft_waitgroup wg = {0};
    for (int i = 0; i < BLOCKS; i++)
        weft_wg_go(&wg, use_block, fd, i);
    weft_wg_wait(&wg);
    CHECK_EQ(weft_close_fd(fd), 0);
    return 7;
}

static bool expect_ring, expect_hits;

static void use_files(void)
{
    CHECK_EQ(weft_run(app), 7);
    CHECK_EQ(atomic_load(&hits) > 0, expect_hits);
    CHECK_EQ(atomic_load(&handed_over) > 0, expect_ring);
}

static void run_with(struct plan with, bool ring)
{
    plan = with;
    expect_ring = ring;
    expect_hits = with.every != 0;
    death_expect_exit(use_files, "WEFT_PROCS=2", 0);
}

/* Whether the machine has io_uring at all; without it only the refusals can be tested. */
static bool ring_works(void)
{
    static int works = -1;
    if (works < 0) {
        struct {
            uint32_t words[30];
        } parameters = {{0}};
        int fd = (int)__real_syscall(SYS_io_uring_setup, 1, &parameters, 0, 0, 0, 0);
        works = fd >= 0;
        if (fd >= 0)
            close(fd);
        else
            printf("skipped in part: no io_uring\n");
    }
    return works;
}

TEST(NoFault)
{
    run_with((struct plan){0}, ring_works());
}

TEST(SetupRefused)
{
    static const int errors[] = {ENOMEM, EPERM, ENOSYS, EMFILE, ENFILE, EACCES};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        run_with((struct plan){SYS_io_uring_setup, errors[i], 0, 1, 1}, false);
}

TEST(ProbeRefused)
{
    if (ring_works())
        run_with((struct plan){SYS_io_uring_register, EINVAL, 0, 1, 1}, false);
}

/* The number of the kernel's threads stays as it is. */
TEST(WorkersRefused)
{
    if (ring_works())
        run_with((struct plan){SYS_io_uring_register, EINVAL, 1, 1, 1}, true);
}

TEST(NotWatched)
{
    if (!ring_works())
        return;
    run_with((struct plan){-1, ENOSPC, 0, 1, 1}, false); /* there is no poller at all */
    run_with((struct plan){-1, ENOSPC, 1, 1, 1}, false); /* there is, but not for the ring */
}

TEST(EnterNowAndThen)
{
    static const int errors[] = {EAGAIN, EBUSY, EINTR, ENOMEM};
    if (!ring_works())
        return;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        run_with((struct plan){SYS_io_uring_enter, errors[i], 0, 2, 1}, true);
        run_with((struct plan){SYS_io_uring_enter, errors[i], 3, 7, 3}, true);
    }
}

TEST(EnterNever)
{
    static const int errors[] = {EAGAIN, EBUSY, ENXIO};
    if (ring_works())
        for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
            run_with((struct plan){SYS_io_uring_enter, errors[i], 0, 1, 1}, false);
}

TEST_MAIN()
