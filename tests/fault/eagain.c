/* LINK: -Wl,--wrap=recv,--wrap=send,--wrap=recvmsg,--wrap=sendmsg,--wrap=accept4 */
/* LINK: -Wl,--wrap=preadv2,--wrap=pwritev2,--wrap=epoll_ctl */
/* eagain.c — a third of all calls find nothing to do, whatever there is: EAGAIN. As the kernel means it, there is an edge
   for each, when something comes after all: at once, before the caller has begun to wait, or later, when it waits. Data goes
   through many connections and pipes meanwhile. None of it is lost, and nobody waits for ever. */
#include "../death/death.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define DESCRIPTORS 1024

/* What the poller watches. */
static struct watched {
    bool is;
    int epoll;
    struct epoll_event event;
} watched[DESCRIPTORS];
static pthread_mutex_t watched_lock = PTHREAD_MUTEX_INITIALIZER;

static _Atomic bool late[DESCRIPTORS]; /* edges that late_edges owes */
static _Atomic int refusals;
static _Atomic bool stop;

int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    CHECK(fd < DESCRIPTORS);
    pthread_mutex_lock(&watched_lock);
    int result = __real_epoll_ctl(epoll, operation, fd, event);
    if (result == 0 && operation == EPOLL_CTL_DEL)
        watched[fd].is = false;
    else if (result == 0)
        watched[fd] = (struct watched){.is = true, .epoll = epoll, .event = *event};
    pthread_mutex_unlock(&watched_lock);
    return result;
}

/* What is there is reported once more, as new. A descriptor that is not watched yet will be when somebody waits, and then the
   kernel begins with what is there. */
static void make_edge(int fd)
{
    pthread_mutex_lock(&watched_lock);
    if (watched[fd].is)
        CHECK_EQ(__real_epoll_ctl(watched[fd].epoll, EPOLL_CTL_MOD, fd, &watched[fd].event), 0);
    pthread_mutex_unlock(&watched_lock);
}

static void *late_edges(void *unused)
{
    while (!atomic_load(&stop)) {
        for (int fd = 0; fd < DESCRIPTORS; fd++)
            if (atomic_load_explicit(&late[fd], memory_order_relaxed) && atomic_exchange(&late[fd], false))
                make_edge(fd);
        nap_ns(50000);
    }
    return unused;
}

static bool is_refused(int fd)
{
    uint64_t chance = test_random();
    if (fd >= DESCRIPTORS || chance % 3 != 0)
        return false;
    atomic_fetch_add(&refusals, 1);
    if (chance & 8)
        make_edge(fd);
    else
        atomic_store(&late[fd], true);
    errno = EAGAIN;
    return true;
}

#define WRAP(result, name, parameters, arguments)                                                                           \
    result __real_##name parameters;                                                                                        \
    result __wrap_##name parameters;                                                                                        \
    result __wrap_##name parameters                                                                                         \
    {                                                                                                                       \
        return is_refused(fd) ? -1 : __real_##name arguments;                                                               \
    }

WRAP(ssize_t, recv, (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags))
WRAP(ssize_t, send, (int fd, const void *buffer, size_t size, int flags), (fd, buffer, size, flags))
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(int, accept4, (int fd, struct sockaddr *from, socklen_t *length, int flags), (fd, from, length, flags))
WRAP(ssize_t, preadv2, (int fd, const struct iovec *parts, int n, off_t at, int flags), (fd, parts, n, at, flags))
WRAP(ssize_t, pwritev2, (int fd, const struct iovec *parts, int n, off_t at, int flags), (fd, parts, n, at, flags))

/* ---- the traffic ---- */

#define SIZE_MOST 3000

/* All of it, in two parts: as single ones stream sockets are asked past libc. False: the end came first. */
static bool move_all(ssize_t (*call)(int, const struct iovec *, int), int fd, unsigned char *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        size_t half = (size - done) / 2;
        ssize_t n = call(fd, (struct iovec[]){{bytes + done, half}, {bytes + done + half, size - done - half}}, 2);
        CHECK(n >= 0);
        if (n == 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* Numbered from `next` on, so that a byte that is lost, or comes twice, is seen. */
static void number(unsigned char *bytes, size_t size, unsigned *next)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((*next)++ % 251);
}

static void check_numbers(const unsigned char *bytes, size_t size, unsigned *next)
{
    for (size_t i = 0; i < size; i++)
        CHECK_EQ(bytes[i], (*next)++ % 251);
}

static void send_back(int fd)
{
    unsigned char bytes[SIZE_MOST];
    ssize_t n;
    while ((n = weft_readv(fd, (struct iovec[]){{bytes, 10}, {bytes + 10, sizeof bytes - 10}}, 2)) > 0)
        CHECK(move_all(weft_writev, fd, bytes, (size_t)n));
    CHECK_EQ(n, 0);
    CHECK_EQ(weft_close_fd(fd), 0);
}

static void serve(int listener, int connections, weft_waitgroup *wg)
{
    for (int i = 0; i < connections; i++) {
        int fd = weft_accept(listener);
        CHECK(fd >= 0);
        weft_wg_go(wg, send_back, fd);
    }
}

static void ask(const char *network, const char *address)
{
    int fd = weft_dial(network, address);
    CHECK(fd >= 0);
    unsigned char bytes[SIZE_MOST];
    unsigned sent = 0, got = 0;
    for (int i = 0; i < test_scale(100); i++) {
        size_t size = 2 + test_random() % (SIZE_MOST - 2);
        number(bytes, size, &sent);
        CHECK(move_all(weft_writev, fd, bytes, size));
        CHECK(move_all(weft_readv, fd, bytes, size));
        check_numbers(bytes, size, &got);
    }
    CHECK_EQ(weft_close_fd(fd), 0);
}

static void use_connections(const char *network, const char *own)
{
    enum { CONNECTIONS = 30 };
    char address[WEFT_ADDRESS];
    int listener = weft_listen(network, own);
    CHECK(listener >= 0);
    CHECK(weft_local_address(listener, address, sizeof address) > 0);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, serve, listener, CONNECTIONS, &wg);
    for (int i = 0; i < CONNECTIONS; i++)
        weft_wg_go(&wg, ask, network, address);
    weft_wg_wait(&wg);
    CHECK_EQ(weft_close_fd(listener), 0);
}

#define PIPED 200000

static void fill_pipe(int fd)
{
    unsigned char bytes[SIZE_MOST];
    unsigned sent = 0;
    while (sent < PIPED) {
        size_t size = 2 + test_random() % (SIZE_MOST - 2);
        size = size < PIPED - sent ? size : PIPED - sent;
        number(bytes, size, &sent);
        CHECK(move_all(weft_writev, fd, bytes, size));
    }
    CHECK_EQ(weft_close_fd(fd), 0);
}

static void drain_pipe(int fd)
{
    unsigned char bytes[SIZE_MOST];
    unsigned got = 0;
    ssize_t n;
    while ((n = weft_read(fd, bytes, sizeof bytes)) > 0)
        check_numbers(bytes, (size_t)n, &got);
    CHECK_EQ(n, 0);
    CHECK_EQ(got, PIPED);
    CHECK_EQ(weft_close_fd(fd), 0);
}

static void use_pipes(void)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 10; i++) {
        int ends[2];
        CHECK_EQ(pipe(ends), 0);
        weft_wg_go(&wg, fill_pipe, ends[1]);
        weft_wg_go(&wg, drain_pipe, ends[0]);
    }
    weft_wg_wait(&wg);
}

static int use_all(void)
{
    use_connections("tcp", "127.0.0.1:0");
    use_connections("unix", "@");
    use_pipes();
    return 0;
}

static void run_all(void)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, late_edges, NULL), 0);
    CHECK_EQ(weft_run(use_all), 0);
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    atomic_store(&stop, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    printf("%d refusals\n", atomic_load(&refusals));
    fflush(stdout);
    CHECK(atomic_load(&refusals) > 100);
}

TEST(NothingIsLost)
{
    death_expect_exit(run_all, NULL, 0);
}

TEST_MAIN()
