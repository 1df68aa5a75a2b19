/* The ring of io_uring by itself: requests of all kinds, from many threads; more completions than its queue holds; threads
   that end. */
#define _GNU_SOURCE 1 /* pipe2 */
#include "os/os.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>

static int ring = -1;

/* False: there is none here. */
static bool begin(void)
{
    wi_os_membarrier_init();
    errno = EDOM;
    ring = wi_os_uring_open();
    CHECK_EQ(errno, EDOM);
    if (ring < 0)
        printf("skipped: no io_uring (%s)\n", strerror(-ring));
    return ring >= 0;
}

static int make_file(size_t size)
{
    FILE *file = tmpfile();
    CHECK(file != NULL);
    int fd = dup(fileno(file));
    fclose(file);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)i;
        CHECK_EQ(pwrite(fd, &byte, 1, (off_t)i), 1);
    }
    return fd;
}

static void wait_for_completions(void)
{
    struct pollfd look = {.fd = ring, .events = POLLIN};
    CHECK_EQ(poll(&look, 1, 20000), 1);
}

/* The result of the one request that is under way. */
static int wait_for(void *user)
{
    struct wi_uring_done done[2];
    unsigned n;
    while ((n = wi_os_uring_take(done, 2)) == 0)
        wait_for_completions();
    CHECK_EQ(n, 1);
    CHECK(done->user == user);
    return done->result;
}

static int run(enum wi_uring_operation operation, int fd, const struct iovec *parts, unsigned n, int64_t offset)
{
    CHECK_EQ(wi_os_uring_submit(operation, fd, parts, n, offset, &ring), 0);
    return wait_for(&ring);
}

TEST(operations)
{
    if (!begin())
        return;
    static char text[10], more[10]; /* not on the stack, which has the end of the address space near */
    int fd = make_file(100);
    struct iovec parts[2] = {{text, 10}, {more, 10}};
    CHECK_EQ(run(WI_URING_READ, fd, parts, 1, 5), 10);
    CHECK_EQ(text[0], 5);
    CHECK_EQ(run(WI_URING_READ, fd, parts, 2, 85), 15);
    CHECK_EQ(more[4], 99);
    CHECK_EQ(run(WI_URING_READ, fd, parts, 1, 100), 0);
    memset(text, 'x', sizeof text);
    CHECK_EQ(run(WI_URING_WRITE, fd, parts, 1, 200), 10);
    CHECK_EQ(run(WI_URING_WRITE, fd, parts, 2, 300), 20);
    CHECK_EQ(run(WI_URING_FSYNC, fd, NULL, 0, 0), 0);
    CHECK_EQ(run(WI_URING_FDATASYNC, fd, NULL, 0, 0), 0);
    CHECK_EQ(pread(fd, more, 10, 200), 10);
    CHECK(memcmp(text, more, 10) == 0);
    parts[0].iov_len = (size_t)1 << 33;
    CHECK_EQ(run(WI_URING_READ, fd, parts, 1, 320), 0);
    CHECK_EQ(run(WI_URING_READ, -1, parts, 1, 0), -EBADF);
    CHECK_EQ(run(WI_URING_FSYNC, -1, NULL, 0, 0), -EBADF);
    close(fd);
    wi_os_uring_close();
}

TEST(off_by_environment)
{
    setenv("WEFT_URING", "0", 1);
    CHECK_EQ(wi_os_uring_open(), -ENOSYS);
    unsetenv("WEFT_URING");
}

/* They wait inside the kernel until they are asked for. */
TEST(more_completions_than_fit)
{
    enum { N = 10000 };
    if (!begin())
        return;
    static bool seen[N];
    static char byte;
    struct iovec part = {&byte, 1};
    struct wi_uring_done done[100];
    int fd = make_file(1), taken = 0;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < N; i++) {
        int error = wi_os_uring_submit(WI_URING_READ, fd, &part, 1, 0, &seen[i]);
        CHECK_EQ(error, 0);
    }
    while (taken < N) {
        unsigned n = wi_os_uring_take(done, 100);
        for (unsigned i = 0; i < n; i++) {
            bool *which = done[i].user;
            CHECK(!*which);
            *which = true;
            CHECK_EQ(done[i].result, 1);
        }
        taken += (int)n;
        if (n == 0)
            wait_for_completions();
    }
    CHECK_EQ(wi_os_uring_take(done, 100), 0);
    close(fd);
    wi_os_uring_close();
}

static int shared_file;
static _Atomic int under_way, finished;

static void *submit_many(void *unused)
{
    (void)unused;
    static char byte;
    struct iovec part = {&byte, 1};
    for (int i = 0; i < test_scale(5000); i++) {
        int error;
        while (wi_load_relaxed(&under_way) > 1000)
            sched_yield();
        wi_add_relaxed(&under_way, 1);
        while ((error = wi_os_uring_submit(WI_URING_READ, shared_file, &part, 1, 0, &shared_file)) != 0)
            CHECK(error == -EAGAIN || error == -EBUSY);
    }
    return NULL;
}

static void *take_many(void *n)
{
    struct wi_uring_done done[16];
    while (wi_load_relaxed(&finished) < *(int *)n) {
        unsigned taken = wi_os_uring_take(done, 16);
        for (unsigned i = 0; i < taken; i++)
            CHECK(done[i].result == 1 && done[i].user == &shared_file);
        wi_add_relaxed(&finished, (int)taken);
        wi_sub_relaxed(&under_way, (int)taken);
        if (!taken)
            sched_yield();
    }
    return NULL;
}

TEST(many_threads)
{
    enum { SUBMITTERS = 4, TAKERS = 2 };
    if (!begin())
        return;
    pthread_t submitters[SUBMITTERS], takers[TAKERS];
    int n = SUBMITTERS * test_scale(5000);
    shared_file = make_file(1);
    for (int i = 0; i < TAKERS; i++)
        CHECK_EQ(pthread_create(&takers[i], NULL, take_many, &n), 0);
    for (int i = 0; i < SUBMITTERS; i++)
        CHECK_EQ(pthread_create(&submitters[i], NULL, submit_many, NULL), 0);
    for (int i = 0; i < SUBMITTERS; i++)
        pthread_join(submitters[i], NULL);
    for (int i = 0; i < TAKERS; i++)
        pthread_join(takers[i], NULL);
    CHECK_EQ(finished, n);
    CHECK_EQ(under_way, 0);
    close(shared_file);
    wi_os_uring_close();
}

static void *submit_and_end(void *fd)
{
    static char byte;
    static struct iovec part = {&byte, 1};
    CHECK_EQ(wi_os_uring_submit(WI_URING_READ, *(int *)fd, &part, 1, 0, fd), 0);
    return NULL;
}

/* What io/file.c counts on: the request of a thread that has ended comes back, done or not, and says so. */
TEST(the_submitter_ends)
{
    if (!begin())
        return;
    int ends[2];
    pthread_t thread;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQ(pthread_create(&thread, NULL, submit_and_end, &ends[0]), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    int result = wait_for(&ends[0]);
    CHECK(result == 1 || result == -ECANCELED || result == -EINTR || result == -EFAULT);
    close(ends[0]);
    close(ends[1]);
    wi_os_uring_close();
}

TEST_MAIN()
