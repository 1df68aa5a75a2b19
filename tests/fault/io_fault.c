/* LINK: -Wl,--wrap=socket,--wrap=bind,--wrap=listen,--wrap=setsockopt,--wrap=accept4,--wrap=connect */
/* LINK: -Wl,--wrap=epoll_create1,--wrap=epoll_ctl,--wrap=epoll_wait,--wrap=eventfd */
/* LINK: -Wl,--wrap=recv,--wrap=send,--wrap=recvmsg,--wrap=sendmsg,--wrap=close,--wrap=open,--wrap=pipe2 */
/* io_fault.c — the n-th socket, accept4, connect, epoll_ctl and so on fails, once or from then on, for every n until none
   is hit. A child runs a little server and its clients each time, or files, programs and a copy. All must end well, with
   the error as a value where it was hit: never a hang, a crash, or a descriptor that is left over. Then: no descriptors at
   all, by the limit of the process; and interrupted calls, again and again. */
#include "plan.h"

#include "../descriptors.h"
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum kind { SOCKET, BIND, LISTEN, SETSOCKOPT, ACCEPT, CONNECT, EPOLL_CREATE, EPOLL_CTL, EVENTFD, OPEN, PIPE, STORM };

/* Of the calls that may be interrupted two of three are. */
static bool is_interrupted(void)
{
    if (!plan || !atomic_load(&plan->armed) || plan->kind != STORM || atomic_fetch_add(&plan->calls, 1) % 3 == 2)
        return false;
    errno = EINTR;
    return true;
}

/* ---- the wrapped functions ---- */

WRAP(must_fail(SOCKET), -1, int, socket, (int family, int type, int protocol), (family, type, protocol))
WRAP(must_fail(BIND), -1, int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(must_fail(LISTEN), -1, int, listen, (int fd, int n), (fd, n))
WRAP(must_fail(SETSOCKOPT), -1, int, setsockopt, (int fd, int level, int name, const void *value, socklen_t n),
     (fd, level, name, value, n))
WRAP(must_fail(EPOLL_CREATE), -1, int, epoll_create1, (int flags), (flags))
WRAP(must_fail(EPOLL_CTL), -1, int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event),
     (epoll, op, fd, event))
WRAP(must_fail(EVENTFD), -1, int, eventfd, (unsigned value, int flags), (value, flags))
WRAP(must_fail(PIPE), -1, int, pipe2, (int ends[2], int flags), (ends, flags))
WRAP(is_interrupted(), -1, int, epoll_wait, (int epoll, struct epoll_event *events, int n, int ms), (epoll, events, n, ms))
WRAP(is_interrupted(), -1, ssize_t, recv, (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags))
WRAP(is_interrupted(), -1, ssize_t, send, (int fd, const void *buffer, size_t size, int flags), (fd, buffer, size, flags))
WRAP(is_interrupted(), -1, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP(is_interrupted(), -1, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(must_fail(ACCEPT) || is_interrupted(), -1, int, accept4, (int fd, struct sockaddr *from, socklen_t *length, int flags),
     (fd, from, length, flags))
WRAP(must_fail(CONNECT) || is_interrupted(), -1, int, connect, (int fd, const struct sockaddr *to, socklen_t length),
     (fd, to, length))
WRAP_OPEN

/* An interrupted close has closed. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    int result = __real_close(fd);
    return result == 0 && is_interrupted() ? -1 : result;
}

/* ---- the server and its clients ---- */

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
    int before = count_open("socket:");
    atomic_store(&plan->armed, true);
    exchange("tcp", "127.0.0.1:0");
    exchange("unix", "@");
    exchange("tcp", ":0"); /* dialed by two addresses */
    send_datagrams();
    CHECK_EQ(count_open("socket:"), before);
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    exchange("tcp4", "127.0.0.1:0"); /* with a poller of its own */
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    CHECK_EQ(count_open("socket:"), before);
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
    int before = count_open("socket:");
    atomic_store(&plan->armed, true);
    CHECK_EQ(weft_run(use_everything_as_main), 5);
    CHECK_EQ(count_open("socket:"), before);
}

/* ---- files, programs, a copy ---- */

static char file_path[] = "/tmp/weft_io_fault_XXXXXX";

static void use_file(void)
{
    char four[4];
    int fd = weft_open(file_path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    if (!went_well(fd, false))
        return;
    CHECK_EQ(weft_write(fd, "weft", 4), 4);
    shut(fd);
    fd = weft_open(file_path, O_RDONLY);
    if (!went_well(fd, false))
        return;
    CHECK_EQ(weft_read_full(fd, four, 4), 4);
    CHECK(memcmp(four, "weft", 4) == 0);
    shut(fd);
}

static void use_program(void)
{
    weft_outcome outcome;
    char *const cat[] = {"cat", NULL};
    int result = weft_exec(WEFT_COMMAND(.argv = cat, .output = WEFT_PIPE), "weft", 4, &outcome);
    if (went_well(result, false)) {
        CHECK_EQ(outcome.status, 0);
        CHECK_EQ(outcome.output_size, 4);
    }
    weft_outcome_free(&outcome);
}

#define MUCH (1 << 20) /* more than is copied without a pipe */

static void fill(int fd)
{
    static const char zeros[MUCH];
    CHECK_EQ(weft_write_all(fd, zeros, MUCH), MUCH);
    shut(fd);
}

static void copy(int dst, int src)
{
    CHECK_EQ(weft_copy(dst, src), MUCH); /* a copy can do without a pipe */
    shut(dst);
    shut(src);
}

static void copy_much(void)
{
    static char bytes[MUCH];
    int from[2], to[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, from), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, to), 0);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, fill, from[0]);
    weft_wg_go(&wg, copy, to[0], from[1]);
    ssize_t n = weft_read_full(to[1], bytes, MUCH);
    CHECK(n == MUCH || n == -plan->error); /* nothing to wait with: then the others cannot either */
    weft_wg_wait(&wg);
    shut(to[1]);
}

static void use_files(void)
{
    int made = mkstemp(file_path);
    CHECK(made >= 0);
    close(made);
    int before = count_open("");
    atomic_store(&plan->armed, true);
    use_file();
    use_program();
    copy_much();
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    CHECK_EQ(count_open(""), before);
    unlink(file_path);
}

/* ---- every n ---- */

/* True when the failure was hit. */
static bool run_plan(void (*scenario)(void), enum kind kind, int error, bool sticky, int nth)
{
    make_plan((int)kind, error, sticky, nth);
    death_run(scenario, NULL);
    if (!WIFEXITED(death.status) || WEXITSTATUS(death.status) != 0)
        plan_failed("an exit with status 0");
    return atomic_load(&plan->hit);
}

static void fail_every_in(void (*scenario)(void), const char *name, enum kind kind, int error)
{
    share_plan();
    for (int sticky = 0; sticky < 2; sticky++) {
        int hits = 0, misses = 0;
        for (int n = 1; misses < 2; n = next_call(n)) { /* how many calls there are differs a little from run to run */
            CHECK(n < 1000);
            bool hit = run_plan(scenario, kind, error, sticky, n);
            hits += hit;
            misses = hit ? 0 : misses + 1;
        }
        printf("%s%s: %d failures\n", name, sticky ? ", from then on" : "", hits);
        CHECK(hits > 0);
    }
}

static void fail_every(enum kind kind, int error)
{
    fail_every_in(use_everything, "called by threads", kind, error);
    fail_every_in(run_everything, "in goroutines", kind, error);
}

TEST(Socket)
{
    fail_every(SOCKET, EMFILE);
    fail_every(SOCKET, ENFILE);
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
    fail_every(ACCEPT, ENFILE);
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
    fail_every(EPOLL_CREATE, ENFILE);
    fail_every(EVENTFD, ENFILE);
    fail_every(EPOLL_CTL, ENOSPC);
    fail_every(EPOLL_CTL, ENOMEM);
}

TEST(FilesAndPrograms)
{
    fail_every_in(use_files, "files", OPEN, ENFILE);
    fail_every_in(use_files, "files", PIPE, ENFILE);
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
