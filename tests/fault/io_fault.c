/* LINK: -Wl,--wrap=socket,--wrap=bind,--wrap=listen,--wrap=setsockopt,--wrap=accept4,--wrap=connect */
/* LINK: -Wl,--wrap=epoll_create1,--wrap=epoll_ctl,--wrap=epoll_wait,--wrap=eventfd */
/* LINK: -Wl,--wrap=recv,--wrap=send,--wrap=recvmsg,--wrap=sendmsg,--wrap=close */
/* io_fault.c — the n-th socket, accept4, connect, epoll_ctl and so on fails, once or from then on, for every n until none
   is hit. A child runs a little server and its clients each time. All must end well, with the error as a value where it
   was hit: never a hang, a crash, or a descriptor that is left over. Then: no descriptors at all, by the limit of the
   process; and interrupted calls, again and again. */
#include "../death/death.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum kind { SOCKET, BIND, LISTEN, SETSOCKOPT, ACCEPT, CONNECT, EPOLL_CREATE, EPOLL_CTL, EVENTFD, KINDS, STORM };

/* Shared with the child. */
static struct plan {
    enum kind kind;
    int nth, error;
    bool sticky; /* all later calls fail too */
    _Atomic bool armed;
    _Atomic int calls; /* of the kind, since armed */
    _Atomic bool hit;
} * plan;

static bool must_fail(enum kind kind)
{
    if (!plan || !atomic_load(&plan->armed) || plan->kind != kind)
        return false;
    int call = atomic_fetch_add(&plan->calls, 1) + 1;
    if (plan->sticky ? call < plan->nth : call != plan->nth)
        return false;
    atomic_store(&plan->hit, true);
    errno = plan->error;
    return true;
}

/* Of the calls that may be interrupted two of three are. */
static bool is_interrupted(void)
{
    if (!plan || !atomic_load(&plan->armed) || plan->kind != STORM || atomic_fetch_add(&plan->calls, 1) % 3 == 2)
        return false;
    errno = EINTR;
    return true;
}

/* ---- the wrapped functions ---- */

#define WRAP(kind, result, name, parameters, arguments)                                                                     \
    result __real_##name parameters;                                                                                        \
    result __wrap_##name parameters;                                                                                        \
    result __wrap_##name parameters                                                                                         \
    {                                                                                                                       \
        return must_fail(kind) ? -1 : __real_##name arguments;                                                              \
    }
#define WRAP_INTERRUPTED(result, name, parameters, arguments)                                                               \
    result __real_##name parameters;                                                                                        \
    result __wrap_##name parameters;                                                                                        \
    result __wrap_##name parameters                                                                                         \
    {                                                                                                                       \
        return is_interrupted() ? -1 : __real_##name arguments;                                                             \
    }

WRAP(SOCKET, int, socket, (int family, int type, int protocol), (family, type, protocol))
WRAP(BIND, int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(LISTEN, int, listen, (int fd, int n), (fd, n))
WRAP(SETSOCKOPT, int, setsockopt, (int fd, int level, int name, const void *value, socklen_t n), (fd, level, name, value, n))
WRAP(EPOLL_CREATE, int, epoll_create1, (int flags), (flags))
WRAP(EPOLL_CTL, int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event), (epoll, op, fd, event))
WRAP(EVENTFD, int, eventfd, (unsigned value, int flags), (value, flags))
WRAP_INTERRUPTED(int, epoll_wait, (int epoll, struct epoll_event *events, int n, int ms), (epoll, events, n, ms))
WRAP_INTERRUPTED(ssize_t, recv, (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags))
WRAP_INTERRUPTED(ssize_t, send, (int fd, const void *buffer, size_t size, int flags), (fd, buffer, size, flags))
WRAP_INTERRUPTED(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP_INTERRUPTED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))

int __real_accept4(int fd, struct sockaddr *from, socklen_t *length, int flags);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *length, int flags);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *length, int flags)
{
    return must_fail(ACCEPT) || is_interrupted() ? -1 : __real_accept4(fd, from, length, flags);
}

int __real_connect(int fd, const struct sockaddr *to, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t length)
{
    return must_fail(CONNECT) || is_interrupted() ? -1 : __real_connect(fd, to, length);
}

/* An interrupted close has closed. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    int result = __real_close(fd);
    return result == 0 && is_interrupted() ? -1 : result;
}

/* ---- the server and its clients ---- */

static int sockets_open(void)
{
    int n = 0;
    DIR *all = opendir("/proc/self/fd");
    CHECK(all != NULL);
    for (struct dirent *one; (one = readdir(all));) {
        char target[64] = "";
        if (readlinkat(dirfd(all), one->d_name, target, sizeof target - 1) > 0)
            n += strncmp(target, "socket:", 7) == 0;
    }
    closedir(all);
    return n;
}

static void shut(int fd)
{
    CHECK_EQ(weft_close_fd(fd), 0);
}

/* True: the call succeeded. */
static bool went_well(int64_t result, bool may_time_out)
{
    if (result >= 0)
        return true;
    bool late = result == -ETIMEDOUT && may_time_out && plan->sticky;
    if (result != -plan->error && !late)
        fprintf(stderr, "an error that was not given: %s\n", strerror((int)-result));
    CHECK(result == -plan->error || late);
    CHECK(late || atomic_load(&plan->hit)); /* a busy machine may be late by itself */
    return false;
}

static void answer(int fd)
{
    char byte;
    ssize_t n;
    while ((n = weft_read(fd, &byte, 1)) == 1)
        if ((n = weft_write(fd, &byte, 1)) != 1)
            break;
    CHECK(n == 0 || n == -plan->error || n == -ECONNRESET || n == -EPIPE);
    shut(fd);
}

static void serve(int listener, weft_waitgroup *wg)
{
    for (;;) {
        int fd = weft_accept(listener);
        if (fd == -ETIMEDOUT)
            break;
        if (went_well(fd, false))
            weft_wg_go(wg, answer, fd);
        else
            CHECK_EQ(weft_sleep(WEFT_MS), 0);
    }
}

static void ask(const char *network, const char *address)
{
    int fd = weft_dial(network, address);
    if (!went_well(fd, false))
        return;
    char byte = 'x';
    CHECK_EQ(weft_fd_set_deadline(fd, POLLIN, weft_now() + (plan->sticky ? 50 * WEFT_MS : 20 * WEFT_SECOND)), 0);
    for (int i = 0; i < 2; i++) {
        ssize_t n = weft_write(fd, &byte, 1);
        if (n == -ECONNRESET || n == -EPIPE || !went_well(n, false))
            break;
        n = weft_read(fd, &byte, 1);
        if (n == 0 || n == -ECONNRESET || !went_well(n, true)) /* the server gave up */
            break;
    }
    shut(fd);
}

static void exchange(const char *network, const char *own)
{
    char address[WEFT_ADDRESS];
    int listener = weft_listen(network, own);
    if (!went_well(listener, false))
        return;
    CHECK(weft_local_address(listener, address, sizeof address) > 0);
    weft_waitgroup servers = {0}, clients = {0};
    weft_wg_go(&servers, serve, listener, &servers);
    for (int i = 0; i < 3; i++)
        weft_wg_go(&clients, ask, network, address);
    weft_wg_wait(&clients);
    CHECK_EQ(weft_fd_set_deadline(listener, POLLIN, weft_now()), 0);
    weft_wg_wait(&servers); /* before the number may become another's */
    shut(listener);
}

static void send_datagrams(void)
{
    char address[WEFT_ADDRESS], byte;
    int server = weft_listen("udp4", "127.0.0.1:0");
    if (!went_well(server, false))
        return;
    CHECK(weft_local_address(server, address, sizeof address) > 0);
    int client = weft_dial("udp4", address);
    if (went_well(client, false)) {
        if (went_well(weft_write(client, "x", 1), false))
            went_well(weft_recvfrom(server, &byte, 1, 0, NULL, NULL), false);
        CHECK_EQ(weft_fd_set_deadline(server, POLLIN, weft_now() + WEFT_MS), 0);
        ssize_t n = weft_recvfrom(server, &byte, 1, 0, NULL, NULL); /* waits */
        CHECK(n == -ETIMEDOUT || n == -plan->error);
        shut(client);
    }
    shut(server);
}

static void use_everything(void)
{
    int before = sockets_open();
    atomic_store(&plan->armed, true);
    exchange("tcp", "127.0.0.1:0");
    exchange("unix", "@");
    exchange("tcp", ":0"); /* dialed by two addresses */
    send_datagrams();
    CHECK_EQ(sockets_open(), before);
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    exchange("tcp4", "127.0.0.1:0"); /* with a poller of its own */
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    CHECK_EQ(sockets_open(), before);
}

static int use_everything_as_main(void)
{
    exchange("tcp", "127.0.0.1:0");
    exchange("unix", "@");
    send_datagrams();
    return 5;
}

static void run_everything(void)
{
    int before = sockets_open();
    atomic_store(&plan->armed, true);
    CHECK_EQ(weft_run(use_everything_as_main), 5);
    CHECK_EQ(sockets_open(), before);
}

/* ---- every n ---- */

static void share_plan(void)
{
    if (plan)
        return;
    plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(plan != MAP_FAILED);
}

/* Which call is to fail after the n-th: the next, or by strides when the scale is small. */
static int next_call(int n)
{
    int stride = test_stride();
    return n == 1 ? 2 + (int)(test_random() % (unsigned)stride) : n + stride;
}

/* True when the failure was hit. */
static bool run_plan(void (*scenario)(void), enum kind kind, int error, bool sticky, int nth)
{
    plan->kind = kind;
    plan->error = error;
    plan->sticky = sticky;
    plan->nth = nth;
    atomic_store(&plan->armed, false);
    atomic_store(&plan->calls, 0);
    atomic_store(&plan->hit, false);
    death_run(scenario, NULL);
    if (!WIFEXITED(death.status) || WEXITSTATUS(death.status) != 0) {
        fprintf(stderr, "kind %d, call %d%s, errno %d\n", (int)kind, nth, sticky ? " and later" : "", error);
        death_unexpected("an exit with status 0");
    }
    return atomic_load(&plan->hit);
}

static void fail_every(enum kind kind, int error)
{
    static void (*const scenarios[])(void) = {use_everything, run_everything};
    share_plan();
    for (int s = 0; s < 2; s++)
        for (int sticky = 0; sticky < 2; sticky++) {
            int hits = 0, misses = 0;
            for (int n = 1; misses < 2; n = next_call(n)) { /* how many calls there are differs a little from run to run */
                CHECK(n < 1000);
                bool hit = run_plan(scenarios[s], kind, error, sticky, n);
                hits += hit;
                misses = hit ? 0 : misses + 1;
            }
            printf("scenario %d%s: %d failures\n", s, sticky ? ", from then on" : "", hits);
            CHECK(hits > 0);
        }
}

TEST(Socket)
{
    fail_every(SOCKET, EMFILE);
    fail_every(SOCKET, ENOBUFS);
}

TEST(BindAndListen)
{
    fail_every(BIND, EACCES);
    fail_every(LISTEN, EADDRINUSE);
}

TEST(Setsockopt)
{
    fail_every(SETSOCKOPT, ENOMEM);
}

TEST(Accept)
{
    fail_every(ACCEPT, EMFILE);
    fail_every(ACCEPT, ENOBUFS);
}

/* Connections that came to nothing before they were accepted: accept goes on. From then on there would be no end of them. */
TEST(AcceptOfAborted)
{
    static const int errors[] = {ECONNABORTED, EPROTO,       ENOPROTOOPT, ENETDOWN,  ENETUNREACH,
                                 EHOSTDOWN,    EHOSTUNREACH, ENONET,      EOPNOTSUPP};
    share_plan();
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        int n = 1;
        while (run_plan(use_everything, ACCEPT, errors[i], false, n))
            CHECK(++n < 100);
        CHECK(n > 10);
    }
}

TEST(Connect)
{
    fail_every(CONNECT, ENETUNREACH);
    fail_every(CONNECT, EADDRNOTAVAIL);
}

TEST(Epoll)
{
    fail_every(EPOLL_CREATE, EMFILE);
    fail_every(EVENTFD, ENFILE);
    fail_every(EPOLL_CTL, ENOSPC);
    fail_every(EPOLL_CTL, ENOMEM);
}

/* ---- interrupted calls ---- */

static void be_interrupted(void)
{
    for (int i = 0; i < 20; i++) {
        exchange("tcp", "127.0.0.1:0");
        exchange("unix", "@");
        send_datagrams();
    }
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
}

static void start_storm(void)
{
    atomic_store(&plan->armed, true);
    plan->error = ETIMEDOUT; /* none but that of send_datagrams */
    be_interrupted();
}

TEST(InterruptedCalls)
{
    share_plan();
    run_plan(start_storm, STORM, 0, false, 0);
    CHECK(atomic_load(&plan->calls) > 1000);
}

/* ---- no descriptors ---- */

static void limit_descriptors(int n)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)n;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* The lowest number that is free. */
static int next_descriptor(void)
{
    int fd = fcntl(0, F_DUPFD, 0);
    CHECK(fd >= 0);
    close(fd);
    return fd;
}

static int start_listening(char address[WEFT_ADDRESS])
{
    int listener = weft_listen("tcp", "127.0.0.1:0");
    CHECK(listener >= 0);
    CHECK(weft_local_address(listener, address, WEFT_ADDRESS) > 0);
    return listener;
}

static int check_timeout(int listener)
{
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 5 * WEFT_MS);
    weft_scoped_use(ctx);
    int result = weft_accept(listener);
    weft_ctx_free(ctx);
    return result;
}

static void accept_at_the_limit(void)
{
    enum { QUEUED = 3 };
    char address[WEFT_ADDRESS];
    int listener = start_listening(address), fds[QUEUED];
    for (int i = 0; i < QUEUED; i++) {
        CHECK_EQ(check_timeout(listener), -ETIMEDOUT); /* the poller is made */
        fds[i] = weft_dial("tcp", address);
        CHECK(fds[i] >= 0);
        if (i + 1 < QUEUED)
            shut(weft_accept(listener));
    }
    limit_descriptors(next_descriptor());
    for (int i = 0; i < 10; i++)
        CHECK_EQ(weft_accept(listener), -EMFILE);
    shut(fds[0]);
    int other = weft_accept(listener); /* it stayed in the queue */
    CHECK(other >= 0);
    CHECK_EQ(check_timeout(listener), -ETIMEDOUT); /* nobody is there: nothing has failed */
    shut(other);
    shut(listener);
}

TEST(EmfileAtAccept)
{
    death_expect_exit(accept_at_the_limit, NULL, 0);
}

static void dial_at_the_limit(void)
{
    char address[WEFT_ADDRESS], any[WEFT_ADDRESS];
    int listener = start_listening(address), before = next_descriptor();
    snprintf(any, sizeof any, "%s", strrchr(address, ':'));
    limit_descriptors(next_descriptor());
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(weft_dial("tcp", address), -EMFILE);
        CHECK_EQ(weft_dial("tcp", any), -EMFILE);
        CHECK_EQ(weft_dial("unix", "@nobody"), -EMFILE);
        CHECK_EQ(weft_listen("tcp", "127.0.0.1:0"), -EMFILE);
    }
    /* a socket, but nothing to wait for it with */
    limit_descriptors(before + 1);
    int fd = weft_dial("tcp", address);
    CHECK(fd == -EMFILE || fd >= 0); /* the loopback may need no wait */
    if (fd >= 0)
        shut(fd);
    CHECK_EQ(next_descriptor(), before);
    limit_descriptors(before + 20);
    fd = weft_dial("tcp", any);
    CHECK(fd >= 0);
    shut(fd);
    shut(listener);
}

TEST(EmfileAtDial)
{
    death_expect_exit(dial_at_the_limit, NULL, 0);
}

TEST_MAIN()
