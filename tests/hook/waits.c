/* poll, select, epoll_wait, sleep and the resolver, with their relatives. */
#define _GNU_SOURCE 1
#include "hook.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <threads.h>

int __poll_chk(struct pollfd *set, nfds_t n, int ms, size_t room);
int __ppoll_chk(struct pollfd *set, nfds_t n, const struct timespec *time, const sigset_t *mask, size_t room);
OTHER_NAME(int, __poll, (struct pollfd * set, nfds_t n, int ms));
OTHER_NAME(int, __nanosleep, (const struct timespec *time, struct timespec *left));
OTHER_NAME(int, __select, (int n, fd_set *read, fd_set *write, fd_set *except, struct timeval *time));

static void make_pair(int fds[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_both(int fds[2])
{
    CALL_GIVES(close(fds[0]), 0);
    CALL_GIVES(close(fds[1]), 0);
}

static const struct timespec soon = {0, 10 * WEFT_MS}, late = {60, 0};

/* ---- poll ---- */

static int by_poll(struct pollfd *set, nfds_t n, bool wait)
{
    return poll(set, n, wait ? 60000 : 10);
}

static int by_poll_alias(struct pollfd *set, nfds_t n, bool wait)
{
    return CALL_OTHER(__poll, poll)(set, n, wait ? -1 : 10);
}

static int by_poll_chk(struct pollfd *set, nfds_t n, bool wait)
{
    return __poll_chk(set, n, wait ? -1 : 10, n * sizeof *set);
}

static int by_ppoll(struct pollfd *set, nfds_t n, bool wait)
{
    return ppoll(set, n, wait ? NULL : &soon, NULL);
}

static int by_ppoll_chk(struct pollfd *set, nfds_t n, bool wait)
{
    return __ppoll_chk(set, n, wait ? &late : &soon, NULL, n * sizeof *set);
}

static int by_ppoll_mask(struct pollfd *set, nfds_t n, bool wait)
{
    sigset_t mask;
    sigfillset(&mask);
    return ppoll(set, n, wait ? &late : &soon, &mask);
}

static int (*const polls[])(struct pollfd *, nfds_t, bool) = {by_poll,  by_poll_alias, by_poll_chk,
                                                              by_ppoll, by_ppoll_chk,  by_ppoll_mask};
#define POLLS (sizeof polls / sizeof *polls)

static void poll_set(struct pollfd *set, nfds_t n, int ready, int peer, int expected)
{
    char x;
    for (size_t i = 0; i < POLLS; i++) {
        int64_t start_ns = weft_now();
        CALL_GIVES(polls[i](set, n, false), 0);
        CHECK(weft_now() - start_ns >= 10 * WEFT_MS);
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(write_later, peer, "x", 1, &wg);
        int error, gave = CALL_(polls[i](set, n, true), &error);
        CHECK(gave >= 1 && error == UNTOUCHED); /* it may come after the kernel has looked at the first of two of the same */
        CALL_GIVES(polls[i](set, n, true), expected);
        for (nfds_t j = 0; j < n; j++)
            CHECK_EQ(set[j].revents, set[j].fd == ready ? POLLIN : 0);
        CALL_GIVES(read(ready, &x, 1), 1);
        weft_wg_wait(&wg);
    }
}

EVERYWHERE(poll_of_one)
{
    int fds[2];
    make_pair(fds);
    struct pollfd set[] = {{.fd = -1, .events = POLLIN}, {.fd = fds[0], .events = POLLIN | POLLPRI}};
    poll_set(set, 2, fds[0], fds[1], 1);
    close_both(fds);
}

EVERYWHERE(poll_of_several)
{
    int fds[2], others[2];
    make_pair(fds);
    make_pair(others);
    struct pollfd set[] = {{.fd = others[0], .events = POLLIN},
                           {.fd = fds[0], .events = POLLIN},
                           {.fd = -2},
                           {.fd = others[1], .events = POLLPRI},
                           {.fd = fds[0], .events = POLLIN}}; /* twice the same */
    poll_set(set, 5, fds[0], fds[1], 2);
    close_both(fds);
    close_both(others);
}

EVERYWHERE(poll_of_none)
{
    int64_t start_ns = weft_now();
    CALL_GIVES(poll(NULL, 0, 10), 0);
    CALL_GIVES(ppoll(NULL, 0, &soon, NULL), 0);
    CHECK(weft_now() - start_ns >= 20 * WEFT_MS);
}

EVERYWHERE(poll_says_at_once)
{
    int fds[2], file = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0 || (file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)) >= 0);
    make_pair(fds);
    struct pollfd set[] = {
        {.fd = fds[0], .events = POLLIN | POLLOUT}, {.fd = file, .events = POLLIN}, {.fd = 99999, .events = POLLIN}};
    CALL_GIVES(poll(set, 3, -1), 3);
    CHECK_EQ(set[0].revents, POLLOUT);
    CHECK_EQ(set[1].revents, POLLIN);
    CHECK_EQ(set[2].revents, POLLNVAL);
    CALL_GIVES(poll(set, 3, 0), 3);
    CHECK_EQ(shutdown(fds[1], SHUT_RDWR), 0);
    set[0].events = 0;
    CALL_GIVES(poll(set, 1, -1), 1);
    CHECK_EQ(set[0].revents, POLLHUP);
    CALL_FAILS(ppoll(set, 1, &(struct timespec){0, -1}, NULL), EINVAL);
    close_both(fds);
    CALL_GIVES(close(file), 0);
}

/* No descriptor is left for an epoll. */
static int without[4];

static void poll_without(void)
{
    struct pollfd set[] = {{.fd = without[0], .events = POLLIN}, {.fd = without[2], .events = POLLIN}};
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(write_later, without[3], "x", 1, &wg);
    CALL_GIVES(poll(set, 2, -1), 1);
    CHECK_EQ(set[1].revents, POLLIN);
    CALL_GIVES(poll(set, 1, 10), 0);
    CALL_GIVES(poll(&set[0], 2, 1000), 1);
    weft_wg_wait(&wg);
}

TEST(poll_of_several_without_descriptors)
{
    struct rlimit before, none;
    make_pair(without);
    make_pair(without + 2);
    everywhere(check_poll_of_several); /* the poller has its own */
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(run_in_goroutine, poll_without, &wg);
    weft_wg_wait(&wg);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    close_both(without);
    close_both(without + 2);
}

/* ---- select ---- */

static int by_select(int n, fd_set *read, fd_set *write, fd_set *except, bool wait)
{
    return select(n, read, write, except, wait ? NULL : &(struct timeval){0, 10000});
}

static int by_select_alias(int n, fd_set *read, fd_set *write, fd_set *except, bool wait)
{
    struct timeval time = {wait ? 60 : 0, 10000}, before = time;
    int result = CALL_OTHER(__select, select)(n, read, write, except, &time);
    CHECK(time.tv_sec < before.tv_sec || (time.tv_sec == before.tv_sec && time.tv_usec < before.tv_usec)); /* what is left */
    return result;
}

static int by_pselect(int n, fd_set *read, fd_set *write, fd_set *except, bool wait)
{
    return pselect(n, read, write, except, wait ? &late : &soon, NULL);
}

static int by_pselect_mask(int n, fd_set *read, fd_set *write, fd_set *except, bool wait)
{
    sigset_t mask;
    sigfillset(&mask);
    return pselect(n, read, write, except, wait ? NULL : &soon, &mask);
}

EVERYWHERE(select_of_some)
{
    static int (*const selects[])(int, fd_set *, fd_set *, fd_set *, bool) = {by_select, by_select_alias, by_pselect,
                                                                              by_pselect_mask};
    int fds[2], ends[2];
    char x;
    make_pair(fds);
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    while (fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0 && write(ends[1], (char[4096]){0}, 4096) > 0)
        ; /* so that it cannot be written */
    int n = (fds[0] > ends[1] ? fds[0] : ends[1]) + 1;
    for (size_t i = 0; i < sizeof selects / sizeof *selects; i++) {
        fd_set read_set, write_set, except_set;
        for (int wait = 0; wait < 2; wait++) {
            FD_ZERO(&read_set);
            FD_ZERO(&write_set);
            FD_ZERO(&except_set);
            FD_SET(fds[0], &read_set);
            FD_SET(fds[0], &except_set);
            FD_SET(ends[1], &write_set);
            weft_waitgroup wg = {0};
            if (wait) {
                weft_wg_add(&wg, 1);
                weft_go(write_later, fds[1], "x", 1, &wg);
            }
            CALL_GIVES(selects[i](n, &read_set, &write_set, i % 2 ? &except_set : NULL, wait), wait);
            CHECK_EQ(FD_ISSET(fds[0], &read_set) != 0, wait);
            CHECK_EQ(FD_ISSET(ends[1], &write_set), 0);
            CHECK_EQ(i % 2 && FD_ISSET(fds[0], &except_set), 0);
            if (wait)
                CALL_GIVES(read(fds[0], &x, 1), 1);
            weft_wg_wait(&wg);
        }
    }
    CALL_FAILS(select(-1, NULL, NULL, NULL, NULL), EINVAL);
    CALL_GIVES(select(0, NULL, NULL, NULL, &(struct timeval){0, 10000}), 0);
    CALL_GIVES(select(0, NULL, NULL, NULL, &(struct timeval){0, 0}), 0);
    /* Hung up is nothing exceptional: it must neither end the wait nor make it run hot. */
    CHECK_EQ(shutdown(fds[1], SHUT_RDWR), 0);
    fd_set hung_up;
    FD_ZERO(&hung_up);
    FD_SET(fds[0], &hung_up);
    CALL_GIVES(select(fds[0] + 1, NULL, NULL, &hung_up, &(struct timeval){0, 50000}), 0);
    close_both(fds);
    close_both(ends);
}

static void select_a_closed_one(void)
{
    int fds[2];
    fd_set closed;
    make_pair(fds);
    close_both(fds);
    FD_ZERO(&closed);
    FD_SET(fds[0], &closed);
    CALL_FAILS(select(fds[0] + 1, &closed, NULL, NULL, NULL), EBADF);
}

TEST(select_of_a_closed_one)
{
    once_each(select_a_closed_one);
}

/* ---- epoll ---- */

static int by_epoll_wait(int epoll, struct epoll_event *events, bool wait)
{
    return epoll_wait(epoll, events, 4, wait ? -1 : 10);
}

static int by_epoll_pwait(int epoll, struct epoll_event *events, bool wait)
{
    return epoll_pwait(epoll, events, 4, wait ? 60000 : 10, NULL);
}

static int by_epoll_pwait_mask(int epoll, struct epoll_event *events, bool wait)
{
    sigset_t mask;
    sigfillset(&mask);
    return epoll_pwait(epoll, events, 4, wait ? -1 : 10, &mask);
}

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
static int by_epoll_pwait2(int epoll, struct epoll_event *events, bool wait)
{
    return epoll_pwait2(epoll, events, 4, wait ? NULL : &soon, NULL);
}
#endif

EVERYWHERE(epoll_of_two)
{
    static int (*const waits[])(int, struct epoll_event *, bool) = {
        by_epoll_wait,
        by_epoll_pwait,
        by_epoll_pwait_mask,
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
        by_epoll_pwait2,
#endif
    };
    int fds[2], others[2], epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[4];
    char x;
    make_pair(fds);
    make_pair(others);
    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &(struct epoll_event){.events = EPOLLIN, .data.u32 = 5}), 0);
    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, others[0], &(struct epoll_event){.events = EPOLLIN | EPOLLET, .data.u32 = 6}),
             0);
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        CALL_GIVES(waits[i](epoll, events, false), 0);
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(write_later, fds[1], "x", 1, &wg);
        CALL_GIVES(waits[i](epoll, events, true), 1);
        CHECK_EQ(events[0].data.u32, 5);
        CALL_GIVES(waits[i](epoll, events, true), 1);
        CALL_GIVES(read(fds[0], &x, 1), 1);
        weft_wg_wait(&wg);
        weft_wg_add(&wg, 1);
        weft_go(write_later, others[1], "x", 1, &wg);
        CALL_GIVES(waits[i](epoll, events, true), 1);
        CHECK_EQ(events[0].data.u32, 6);
        CALL_GIVES(waits[i](epoll, events, false), 0); /* the edge was reported */
        CALL_GIVES(read(others[0], &x, 1), 1);
        weft_wg_wait(&wg);
    }
    CALL_GIVES(epoll_wait(epoll, events, 4, 0), 0);
    CALL_FAILS(epoll_wait(epoll, events, 0, -1), EINVAL);
    CALL_FAILS(epoll_wait(fds[0], events, 4, -1), EINVAL);
    CALL_FAILS(epoll_wait(-1, events, 4, -1), EBADF);
    close_both(fds);
    close_both(others);
    CALL_GIVES(close(epoll), 0);
}

/* ---- sleeping ---- */

EVERYWHERE(sleeps)
{
    struct timespec left = {-1, -1}, now;
    int64_t start_ns = weft_now();
    CALL_GIVES(usleep(10000), 0);
    CALL_GIVES(nanosleep(&soon, &left), 0);
    CALL_GIVES(CALL_OTHER(__nanosleep, nanosleep)(&soon, NULL), 0);
    CALL_GIVES(thrd_sleep(&soon, &left), 0);
    CALL_GIVES(clock_nanosleep(CLOCK_MONOTONIC, 0, &soon, &left), 0);
    CALL_GIVES(clock_nanosleep(CLOCK_REALTIME, 0, &soon, &left), 0);
    CALL_GIVES(clock_nanosleep(CLOCK_BOOTTIME, 0, &soon, NULL), 0);
    CHECK(weft_now() - start_ns >= 70 * WEFT_MS);
    CHECK_EQ(left.tv_sec, -1);
    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME};
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(clock_gettime(clocks[i], &now), 0);
        now.tv_nsec += 10000000;
        if (now.tv_nsec >= 1000000000) {
            now.tv_nsec -= 1000000000;
            now.tv_sec++;
        }
        CALL_GIVES(clock_nanosleep(clocks[i], TIMER_ABSTIME, &now, NULL), 0);
        struct timespec then;
        CHECK_EQ(clock_gettime(clocks[i], &then), 0);
        CHECK(then.tv_sec > now.tv_sec || (then.tv_sec == now.tv_sec && then.tv_nsec >= now.tv_nsec));
    }
    CALL_GIVES(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &(struct timespec){0, 0}, NULL), 0);
    CALL_GIVES(sleep(0), 0);
    CALL_GIVES(usleep(0), 0);
    CALL_FAILS(nanosleep(&(struct timespec){0, -1}, NULL), EINVAL);
    CALL_GIVES(clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, 1000000000}, NULL), EINVAL);
    CALL_GIVES(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &soon, NULL), EINVAL);
}

EVERYWHERE(sleeps_a_second)
{
    int64_t start_ns = weft_now();
    CALL_GIVES(sleep(1), 0);
    CHECK(weft_now() - start_ns >= WEFT_SECOND);
}

/* ---- names ---- */

EVERYWHERE(resolves)
{
    struct addrinfo *list = NULL, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    int error;
    CHECK_EQ(CALL_(getaddrinfo("127.0.0.1", "80", &hints, &list), &error), 0);
    CHECK_EQ(((struct sockaddr_in *)list->ai_addr)->sin_port, htons(80));
    char host[64], service[16];
    CHECK_EQ(CALL_(getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof host, service, sizeof service,
                               NI_NUMERICHOST | NI_NUMERICSERV),
                   &error),
             0);
    CHECK_EQ(strcmp(host, "127.0.0.1"), 0);
    CHECK_EQ(strcmp(service, "80"), 0);
    freeaddrinfo(list);
    hints.ai_flags = 0;
    CHECK_EQ(CALL_(getaddrinfo("localhost", NULL, &hints, &list), &error), 0);
    CHECK_EQ(((struct sockaddr_in *)list->ai_addr)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    freeaddrinfo(list);
    CHECK_EQ(CALL_(getaddrinfo(NULL, "80", NULL, &list), &error), 0);
    freeaddrinfo(list);
    hints.ai_flags = AI_NUMERICHOST;
    CHECK_EQ(CALL_(getaddrinfo("no number", NULL, &hints, &list), &error), EAI_NONAME);
    CHECK_EQ(CALL_(getaddrinfo(NULL, NULL, NULL, &list), &error), EAI_NONAME);
}

/* Once each: two at the same time are a data race for TSan, which does not know the locks inside of libc. */
static void old_way(void)
{
    struct hostent host, *found;
    struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
    char buffer[8192];
    int error, h_error;
    CHECK_EQ(CALL_(gethostbyname_r("localhost", &host, buffer, sizeof buffer, &found, &h_error), &error), 0);
    CHECK(found == &host && memcmp(host.h_addr_list[0], &loopback, 4) == 0);
    CHECK_EQ(CALL_(gethostbyname2_r("127.0.0.1", AF_INET, &host, buffer, sizeof buffer, &found, &h_error), &error), 0);
    CHECK(found == &host && memcmp(host.h_addr_list[0], &loopback, 4) == 0);
    CHECK_EQ(CALL_(gethostbyaddr_r(&loopback, 4, AF_INET, &host, buffer, sizeof buffer, &found, &h_error), &error), 0);
    CHECK_EQ(CALL_(gethostbyname_r("localhost", &host, buffer, 1, &found, &h_error), &error), ERANGE);
}

/* These answer in memory that all share. */
static void old_way_shared(void)
{
    struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
    int error;
    struct hostent *host = CALL_(gethostbyname("localhost"), &error);
    CHECK(host && memcmp(host->h_addr_list[0], &loopback, 4) == 0);
    host = CALL_(gethostbyname2("127.0.0.1", AF_INET), &error);
    CHECK(host && memcmp(host->h_addr_list[0], &loopback, 4) == 0);
    host = CALL_(gethostbyaddr(&loopback, 4, AF_INET), &error);
    CHECK(host != NULL);
    h_errno = 0;
    CHECK(CALL_(gethostbyname2("::1", AF_INET), &error) == NULL);
    CHECK(h_errno == HOST_NOT_FOUND || h_errno == NO_DATA || h_errno == NO_ADDRESS || h_errno == TRY_AGAIN);
}

TEST(resolves_the_old_way)
{
    once_each(old_way);
    once_each(old_way_shared);
}

TEST_MAIN()
