/* connect, accept and close; and what is peculiar to goroutines: contexts, pins, threads, forks. */
#define _GNU_SOURCE 1
#include "hook.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

OTHER_NAME(int, __connect, (int fd, const struct sockaddr *address, socklen_t length));
OTHER_NAME(int, __close, (int fd));

/* connect's address is a union of pointers in C. */
static int plain_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return connect(fd, address, length);
}

static void make_pair(int fds[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_both(int fds[2])
{
    CALL_GIVES(close(fds[0]), 0);
    CALL_GIVES(CALL_OTHER(__close, close)(fds[1]), 0);
}

static int listen_tcp(struct sockaddr_in *address, int backlog)
{
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    CHECK_EQ(listen(fd, backlog), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)address, &length), 0);
    return fd;
}

static int listen_unix(struct sockaddr_un *address, socklen_t *length, int backlog)
{
    static _Atomic int number;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "weft-ends-%d-%d", (int)getpid(), ++number);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    CHECK_EQ(bind(fd, (struct sockaddr *)address, *length), 0);
    CHECK_EQ(listen(fd, backlog), 0);
    return fd;
}

/* ---- connect, accept ---- */

static void connect_later(struct sockaddr_in *address, weft_waitgroup *wg)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char x;
    linger();
    CALL_GIVES(CALL_OTHER(__connect, plain_connect)(fd, (struct sockaddr *)address, sizeof *address), 0);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    CALL_GIVES(read(fd, &x, 1), 1);
    CALL_GIVES(close(fd), 0);
    weft_wg_done(wg);
}

EVERYWHERE(accepts)
{
    struct sockaddr_in address, from;
    int listener = listen_tcp(&address, 10);
    for (int i = 0; i < 3; i++) {
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(connect_later, &address, &wg);
        socklen_t length = sizeof from;
        int error, fd;
        if (i == 0)
            fd = CALL_(accept(listener, NULL, NULL), &error);
        else if (i == 1)
            fd = CALL_(accept(listener, (struct sockaddr *)&from, &length), &error);
        else
            fd = CALL_(accept4(listener, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC), &error);
        CHECK(fd >= 0);
        CHECK_EQ(error, UNTOUCHED);
        CHECK_EQ(length, sizeof from);
        CHECK(i == 0 || from.sin_family == AF_INET);
        CHECK_EQ((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, i == 2);
        CHECK_EQ(fcntl(listener, F_GETFL) & O_NONBLOCK, 0);
        CALL_GIVES(write(fd, "x", 1), 1);
        weft_wg_wait(&wg);
        CALL_GIVES(close(fd), 0);
    }
    struct timeval time = {0, 20000};
    CHECK_EQ(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
    CALL_FAILS(accept(listener, NULL, NULL), EAGAIN);
    CHECK_EQ(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    CALL_FAILS(accept(listener, NULL, NULL), EAGAIN);
    CALL_GIVES(close(listener), 0);
    CALL_FAILS(accept(-1, NULL, NULL), EBADF);
}

/* Many accept on one socket, goroutines and plain threads. */
static struct {
    int listener;
    _Atomic int left;
} many;

static void accept_many(void)
{
    while (many.left-- > 0) {
        int fd = accept(many.listener, NULL, NULL);
        if (fd < 0)
            fprintf(stderr, "accept: errno %d in %s\n", errno, in_goroutine() ? "a goroutine" : "a thread");
        CHECK(fd >= 0);
        CHECK_EQ(write(fd, "x", 1), 1);
        CHECK_EQ(close(fd), 0);
    }
}

static void connect_many(struct sockaddr_in *address, int n, weft_waitgroup *wg)
{
    for (int i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char x;
        CHECK_EQ(connect(fd, (struct sockaddr *)address, sizeof *address), 0);
        CHECK_EQ(read(fd, &x, 1), 1);
        CHECK_EQ(close(fd), 0);
    }
    weft_wg_done(wg);
}

TEST(many_accept_on_one_socket)
{
    struct sockaddr_in address;
    pthread_t threads[3];
    weft_waitgroup wg = {0};
    int each = test_scale(100);
    many.listener = listen_tcp(&address, 100);
    many.left = 8 * each;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, run_on_thread, (void *)accept_many), 0);
    for (int i = 0; i < 8; i++) {
        weft_wg_add(&wg, 2);
        weft_go(run_in_goroutine, accept_many, &wg);
        weft_go(connect_many, &address, each, &wg);
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(close(many.listener), 0);
}

EVERYWHERE(connects_to_nobody)
{
    struct sockaddr_in address;
    CALL_GIVES(close(listen_tcp(&address, 1)), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CALL_FAILS(connect(fd, (struct sockaddr *)&address, sizeof address), ECONNREFUSED);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    CALL_FAILS(connect(fd, (struct sockaddr *)&address, 1), EINVAL);
    CALL_GIVES(close(fd), 0);
    CALL_FAILS(connect(-1, (struct sockaddr *)&address, sizeof address), EBADF);
    CALL_FAILS(connect(0, (struct sockaddr *)&address, sizeof address), ENOTSOCK);
}

static void accept_later(int listener, int n, weft_waitgroup *wg)
{
    for (int i = 0; i < n; i++) {
        linger();
        int fd = accept(listener, NULL, NULL);
        CHECK(fd >= 0);
        CHECK_EQ(close(fd), 0);
    }
    weft_wg_done(wg);
}

static void connect_unix(const struct sockaddr_un *address, socklen_t length, weft_waitgroup *wg)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CALL_GIVES(connect(fd, (const struct sockaddr *)address, length), 0);
    CALL_GIVES(close(fd), 0);
    weft_wg_done(wg);
}

/* More than its backlog holds. */
EVERYWHERE(connects_to_a_full_unix_socket)
{
    struct sockaddr_un address;
    socklen_t length;
    int listener = listen_unix(&address, &length, 1);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 7);
    for (int i = 0; i < 6; i++)
        weft_go(connect_unix, &address, length, &wg);
    weft_go(accept_later, listener, 6, &wg);
    weft_wg_wait(&wg);
    CALL_GIVES(close(listener), 0);
}

/* ---- closing ---- */

static void read_until_closed(int fd, _Atomic int *reading, weft_waitgroup *wg)
{
    char x;
    (*reading)++;
    CALL_FAILS(read(fd, &x, 1), EBADF);
    weft_wg_done(wg);
}

TEST(close_ends_hooked_readers)
{
    for (int i = 0; i < test_scale(200); i++) {
        int fds[2];
        _Atomic int reading = 0;
        weft_waitgroup wg = {0};
        make_pair(fds);
        fds[0] = test_lift(fds[0]);
        weft_wg_add(&wg, 3);
        for (int j = 0; j < 3; j++)
            weft_go(read_until_closed, fds[0], &reading, &wg);
        while (reading < 3)
            weft_yield();
        if (i % 2)
            linger();
        CALL_GIVES(close(fds[0]), 0);
        weft_wg_wait(&wg);
        CALL_FAILS(close(fds[0]), EBADF);
        CALL_GIVES(close(fds[1]), 0);
    }
}

/* Numbers are used again at once, however the one before was closed. */
static void round_trip(int fds[2])
{
    char x;
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(write_later, fds[1], "x", 1, &wg);
    CALL_GIVES(read(fds[0], &x, 1), 1);
    weft_wg_wait(&wg);
}

static void reuse_numbers(void)
{
    for (int i = 0; i < test_scale(100); i++) {
        int fds[2], others[2];
        make_pair(fds);
        round_trip(fds);
        if (i % 3 == 0) {
            FILE *file = fdopen(fds[0], "r+");
            CHECK(file != NULL);
            CALL_GIVES(fclose(file), 0);
        } else if (i % 3 == 1) {
            make_pair(others);
            CALL_GIVES(dup2(others[0], fds[0]), fds[0]);
            CALL_GIVES(dup3(others[1], fds[1], O_CLOEXEC), fds[1]);
            CALL_GIVES(close(others[0]), 0);
            CALL_GIVES(close(others[1]), 0);
            round_trip(fds);
            CALL_GIVES(dup2(fds[0], fds[0]), fds[0]);
            round_trip(fds);
            CALL_GIVES(close(fds[0]), 0);
        } else {
            CALL_GIVES(close(fds[0]), 0);
        }
        CALL_GIVES(close(fds[1]), 0);
    }
}

TEST(numbers_are_used_again)
{
    once_each(reuse_numbers);
}

static void read_what_is_no_more(int fd, _Atomic int *reading, weft_waitgroup *wg)
{
    char x;
    atomic_fetch_add(reading, 1);
    CALL_FAILS(read(fd, &x, 1), EBADF);
    weft_wg_done(wg);
}

/* Who waited for the number's descriptor of old gets nothing of the next one. */
static void replace_what_is_read(void)
{
    for (int i = 0; i < test_scale(60); i++) {
        int fds[2], others[2];
        char x = 0;
        _Atomic int reading = 0;
        weft_waitgroup wg = {0};
        make_pair(fds);
        make_pair(others);
        weft_wg_add(&wg, 2);
        for (int j = 0; j < 2; j++)
            weft_go(read_what_is_no_more, fds[0], &reading, &wg);
        while (reading < 2)
            weft_yield();
        linger();
        if (i % 2)
            CALL_GIVES(dup2(others[0], fds[0]), fds[0]);
        else
            CALL_GIVES(fclose(fdopen(fds[0], "r+")), 0);
        weft_wg_wait(&wg);
        CHECK_EQ(write(others[1], "x", 1), 1);
        CALL_GIVES(read(i % 2 ? fds[0] : others[0], &x, 1), 1);
        CHECK_EQ(x, 'x');
        if (i % 2)
            CALL_GIVES(close(fds[0]), 0);
        CALL_GIVES(close(fds[1]), 0);
        close_both(others);
    }
}

TEST(waits_end_with_their_descriptor)
{
    once_each(replace_what_is_read);
}

/* ---- weft_blocking ---- */

struct library {
    pthread_mutex_t lock;
    int fds[2];
    _Atomic int inside;
};

static int read_locked(struct library *library)
{
    char x = 0;
    pthread_mutex_lock(&library->lock);
    atomic_fetch_add(&library->inside, 1);
    CHECK_EQ(read(library->fds[0], &x, 1), 1);
    pthread_mutex_unlock(&library->lock);
    return x;
}

static void call_library(struct library *library, weft_waitgroup *wg)
{
    CHECK_EQ(weft_blocking(read_locked, library), 'x');
    weft_wg_done(wg);
}

static int use_library(void)
{
    struct library library = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weft_waitgroup wg = {0};
    make_pair(library.fds);
    weft_wg_add(&wg, 4);
    for (int i = 0; i < 4; i++) {
        weft_go(call_library, &library, &wg);
        while (atomic_load(&library.inside) == 0)
            weft_sleep(WEFT_MS);
    }
    weft_sleep(10 * WEFT_MS);
    CHECK_EQ(write(library.fds[1], "xxxx", 4), 4);
    weft_wg_wait(&wg);
    close_both(library.fds);
    return 0;
}

/* A library that holds a lock while it reads. */
TEST(nothing_is_hooked_in_weft_blocking)
{
    for (int i = 0; i < test_shorten(2, 10); i++)
        CHECK_EQ(weft_run(use_library), 0);
}

/* ---- contexts ---- */

static void in_an_ended_context(weft_ctx *ctx, int error)
{
    int fds[2];
    char x;
    make_pair(fds);
    struct pollfd set = {.fd = fds[0], .events = POLLIN};
    struct timespec minute = {60, 0}, left = {0, 0};
    {
        weft_scoped_use(ctx);
        CALL_FAILS(read(fds[0], &x, 1), error);
        CALL_FAILS(recv(fds[0], &x, 1, 0), error);
        CALL_FAILS(poll(&set, 1, -1), error);
        CALL_FAILS(poll(NULL, 0, 60000), error);
        CALL_FAILS(nanosleep(&minute, &left), error);
        CHECK(left.tv_sec > 0);
        CALL_FAILS(usleep(60000000), error);
        CALL_GIVES(clock_nanosleep(CLOCK_MONOTONIC, 0, &minute, NULL), error);
        CALL_GIVES(sleep(1), 0);
        CHECK_EQ(write(fds[1], "x", 1), 1);
        CALL_GIVES(read(fds[0], &x, 1), 1); /* what is there can be had */
        weft_scoped_shield();
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(write_later, fds[1], "x", 1, &wg);
        CALL_GIVES(poll(&set, 1, 60000), 1);
        CALL_GIVES(read(fds[0], &x, 1), 1);
        weft_wg_wait(&wg);
    }
    close_both(fds);
}

static void ends_by_context(void)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx_cancel(ctx);
    in_an_ended_context(ctx, ECANCELED);
    weft_ctx_free(ctx);
    ctx = weft_ctx_with_timeout(weft_ctx_background(), 10 * WEFT_MS);
    in_an_ended_context(ctx, ETIMEDOUT);
    weft_ctx_free(ctx);
}

TEST(contexts_end_calls)
{
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(run_in_goroutine, ends_by_context, &wg);
    weft_wg_wait(&wg);
}

/* ---- threads ---- */

static void wait_in_a_call(int fd, int how, _Atomic int *waiting, weft_waitgroup *wg)
{
    char x = 0;
    struct pollfd set[] = {{.fd = fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    (*waiting)++;
    if (how == 1)
        CALL_GIVES(poll(set, 1, -1), 1);
    if (how == 2)
        CALL_GIVES(poll(set, 2, 600000), 2);
    if (how == 3)
        CALL_GIVES(usleep(300000), 0);
    struct iovec part = {&x, 1};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    if (how == 4)
        CALL_GIVES(recvmmsg(fd, &message, 1, 0, NULL), 1);
    else
        CALL_GIVES(read(fd, &x, 1), 1);
    CHECK_EQ(x, 'x');
    weft_wg_done(wg);
}

/* The point of it all: who waits in a hooked call has no thread. */
TEST(waiting_takes_no_threads)
{
    enum { N = 200 };
    static int fds[N][2];
    _Atomic int waiting = 0;
    weft_waitgroup wg = {0};
    int before = threads_now();
    weft_wg_add(&wg, N);
    for (int i = 0; i < N; i++) {
        make_pair(fds[i]);
        weft_go(wait_in_a_call, fds[i][0], i % 5, &waiting, &wg);
    }
    while (waiting < N)
        weft_yield();
    weft_sleep(100 * WEFT_MS);
    int then = threads_now();
    printf("%d threads with %d goroutines that wait, %d before\n", then, N, before);
    CHECK(then < before + 40);
    for (int i = 0; i < N; i++)
        CHECK_EQ(write(fds[i][1], "x", 1), 1);
    weft_wg_wait(&wg);
    for (int i = 0; i < N; i++)
        close_both(fds[i]);
}

static void pinned(void)
{
    int fds[2];
    make_pair(fds);
    weft_pin();
    round_trip(fds);
    weft_unpin();
    round_trip(fds);
    close_both(fds);
}

TEST(pinned_goroutines_block_their_thread)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 4; i++) {
        weft_wg_add(&wg, 1);
        weft_go(run_in_goroutine, pinned, &wg);
    }
    weft_wg_wait(&wg);
}

/* ---- children ---- */

static void fork_and_talk(void)
{
    int fds[2];
    char text[3] = {0};
    make_pair(fds);
    round_trip(fds);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ssize_t n = read(fds[1], text, 2);
        n = n == 2 ? write(fds[1], "ok", 2) : 0;
        close(fds[0]);
        close(fds[1]);
        _exit(n == 2 ? 0 : 1);
    }
    CALL_GIVES(write(fds[0], "go", 2), 2);
    CALL_GIVES(recv(fds[0], text, 2, MSG_WAITALL), 2);
    CHECK_EQ(strcmp(text, "ok"), 0);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    close_both(fds);
}

/* A child of vfork closes its own descriptor: the parent's goroutine goes on waiting for its. */
static void vfork_and_close(void)
{
    int fds[2];
    make_pair(fds);
    round_trip(fds);
    pid_t child = vfork();
    if (child == 0) {
        close(fds[0]);
        _exit(0);
    }
    CHECK(child > 0);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    round_trip(fds);
    close_both(fds);
}

TEST(children)
{
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(run_in_goroutine, fork_and_talk, &wg);
    weft_wg_wait(&wg);
    if (TEST_TSAN) /* it makes a fork of it */
        return;
    weft_wg_add(&wg, 1);
    weft_go(run_in_goroutine, vfork_and_close, &wg);
    weft_wg_wait(&wg);
}

TEST_MAIN()
