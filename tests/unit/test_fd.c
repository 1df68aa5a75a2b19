/* The record of a descriptor: uses hold its number, whoever closes it. */
#include "test.h"

#include "io/fd.h"
#include "sched/sched.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <weft.h>

static void close_it(int fd, int *result, weft_waitgroup *wg)
{
    *result = weft_close_fd(fd);
    weft_wg_done(wg);
}

TEST_GO(a_use_keeps_the_number_taken)
{
    for (int i = 0; i < test_scale(500); i++) {
        int fds[2], error, result = 1;
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        fds[0] = test_lift(fds[0]);
        struct wi_fd *f = wi_fd_begin(fds[0], &error);
        CHECK(f != NULL);
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(close_it, fds[0], &result, &wg);
        while (wi_fd_begin(fds[0], &error) != NULL) { /* until it is closing */
            wi_fd_end(f, fds[0]);
            weft_yield();
        }
        CHECK_EQ(error, -EBADF);
        CHECK_EQ(weft_close_fd(fds[0]), -EBADF);
        CHECK(fcntl(fds[0], F_GETFD) >= 0);
        wi_fd_end(f, fds[0]);
        weft_wg_wait(&wg);
        CHECK_EQ(result, 0);
        CHECK_EQ(fcntl(fds[0], F_GETFD), -1);
        CHECK_EQ(weft_close_fd(fds[1]), 0);
    }
}

TEST_GO(events_of_an_earlier_generation_are_ignored)
{
    int fds[2], error;
    char byte;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_EQ(wi_fd_new(fds[0], WI_FD_SOCKET), 0);
    CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN, weft_now() + WEFT_MS), 0);
    CHECK_EQ(weft_read(fds[0], &byte, 1), -ETIMEDOUT); /* watched from now on */
    CHECK_EQ(wi_fd_new(fds[0], WI_FD_SOCKET), 0);      /* another one */
    struct wi_polled polled = {.end = &polled.first};
    wi_fd_event(WI_FD_KEY | (uint32_t)fds[0], POLLIN, &polled);
    CHECK(polled.end == &polled.first);
    CHECK(wi_fd_begin(-1, &error) == NULL && error == -EBADF);
    CHECK_EQ(weft_close_fd(fds[0]), 0);
    CHECK_EQ(weft_close_fd(fds[1]), 0);
}

TEST_GO(a_deadline_that_is_over_leaves_no_timer)
{
    int fds[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_EQ(wi_timers_next_ns(), INT64_MAX);
    CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN | POLLOUT, weft_now() + WEFT_MINUTE), 0);
    CHECK(wi_timers_next_ns() < INT64_MAX);
    CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN, INT64_MAX), 0);
    CHECK(wi_timers_next_ns() < INT64_MAX); /* that for writing */
    CHECK_EQ(weft_fd_set_deadline(fds[0], POLLOUT, INT64_MAX), 0);
    CHECK_EQ(wi_timers_next_ns(), INT64_MAX);
    CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN, weft_now() + WEFT_MINUTE), 0);
    CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN, weft_now()), 0);
    CHECK_EQ(wi_timers_next_ns(), INT64_MAX);
    CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN, weft_now() + WEFT_MINUTE), 0);
    CHECK_EQ(weft_close_fd(fds[0]), 0);
    CHECK_EQ(wi_timers_next_ns(), INT64_MAX);
    CHECK_EQ(weft_close_fd(fds[1]), 0);
}

TEST_MAIN()
