/* recvmmsg and sendmmsg: several messages in a call. */
#define _GNU_SOURCE 1
#include "hook.h"
#include <sys/socket.h>
#include <sys/uio.h>

enum { MESSAGES = 4, SIZE = 16 };

struct messages {
    struct mmsghdr headers[MESSAGES];
    struct iovec parts[MESSAGES];
    char data[MESSAGES][SIZE];
};

static void make_messages(struct messages *it, size_t size)
{
    memset(it, 0, sizeof *it);
    for (size_t i = 0; i < MESSAGES; i++) {
        it->parts[i] = (struct iovec){it->data[i], size ? size : i + 1};
        it->headers[i].msg_hdr.msg_iov = &it->parts[i];
        it->headers[i].msg_hdr.msg_iovlen = 1;
    }
}

static void make_pair(int fds[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_both(int fds[2])
{
    CALL_GIVES(close(fds[0]), 0);
    CALL_GIVES(close(fds[1]), 0);
}

/* Sends messages of 1, 2, ... bytes, each a little later than the one before. */
static void send_later(int fd, int n, weft_waitgroup *wg)
{
    for (int i = 0; i < n; i++) {
        linger();
        CHECK_EQ(weft_write(fd, "abcdefgh", (size_t)i + 1), i + 1);
    }
    weft_wg_done(wg);
}

static void check_received(const struct messages *it, int n)
{
    for (int i = 0; i < n; i++) {
        CHECK_EQ(it->headers[i].msg_len, (unsigned)i + 1);
        CHECK_EQ(memcmp(it->data[i], "abcdefgh", (size_t)i + 1), 0);
    }
}

EVERYWHERE(waits_for_all_messages)
{
    int fds[2];
    struct messages it;
    weft_waitgroup wg = {0};
    make_pair(fds);
    make_messages(&it, SIZE);
    weft_wg_add(&wg, 1);
    weft_go(send_later, fds[1], MESSAGES, &wg);
    CALL_GIVES(recvmmsg(fds[0], it.headers, MESSAGES, 0, NULL), MESSAGES);
    check_received(&it, MESSAGES);
    weft_wg_wait(&wg);
    close_both(fds);
}

EVERYWHERE(waits_for_one_message)
{
    int fds[2];
    struct messages it;
    weft_waitgroup wg = {0};
    make_pair(fds);
    make_messages(&it, SIZE);
    weft_wg_add(&wg, 1);
    weft_go(send_later, fds[1], 1, &wg);
    CALL_GIVES(recvmmsg(fds[0], it.headers, MESSAGES, MSG_WAITFORONE, NULL), 1);
    check_received(&it, 1);
    weft_wg_wait(&wg);
    CALL_FAILS(recvmmsg(fds[0], it.headers, MESSAGES, MSG_DONTWAIT, NULL), EAGAIN);
    close_both(fds);
}

/* The time ends the call after the message that came next, not before; and is then used up. */
EVERYWHERE(looks_at_the_time_after_a_message)
{
    int fds[2];
    struct messages it;
    struct timespec time = {.tv_nsec = 1}, minute = {.tv_sec = 60};
    weft_waitgroup wg = {0};
    make_pair(fds);
    make_messages(&it, SIZE);
    weft_wg_add(&wg, 1);
    weft_go(send_later, fds[1], 2, &wg);
    CALL_GIVES(recvmmsg(fds[0], it.headers, MESSAGES, 0, &time), 1);
    CHECK(time.tv_sec == 0 && time.tv_nsec == 0);
    CALL_GIVES(recvmmsg(fds[0], it.headers, 1, 0, &minute), 1);
    CHECK(minute.tv_sec >= 50 && minute.tv_sec < 60);
    CHECK_EQ(it.headers[0].msg_len, 2);
    weft_wg_wait(&wg);
    close_both(fds);
}

static void receive_later(int fd, int n, weft_waitgroup *wg)
{
    char data[SIZE];
    for (int i = 0; i < n; i++) {
        if (test_random() % 16 == 0)
            linger();
        CHECK_EQ(weft_read(fd, data, sizeof data), i % MESSAGES + 1);
    }
    weft_wg_done(wg);
}

/* More than the peer's queue takes: the sender has to wait. */
EVERYWHERE(sends_several_messages)
{
    enum { TIMES = 25 };
    int fds[2];
    struct messages it;
    weft_waitgroup wg = {0};
    make_pair(fds);
    make_messages(&it, 0);
    weft_wg_add(&wg, 1);
    weft_go(receive_later, fds[1], TIMES * MESSAGES, &wg);
    for (int i = 0; i < TIMES; i++) {
        CALL_GIVES(sendmmsg(fds[0], it.headers, MESSAGES, 0), MESSAGES);
        for (unsigned k = 0; k < MESSAGES; k++)
            CHECK_EQ(it.headers[k].msg_len, k + 1);
    }
    weft_wg_wait(&wg);
    close_both(fds);
}

EVERYWHERE(errors_of_messages)
{
    int fds[2];
    struct messages it;
    make_pair(fds);
    make_messages(&it, SIZE);
    CALL_GIVES(recvmmsg(fds[0], it.headers, 0, 0, NULL), 0);
    CALL_GIVES(sendmmsg(fds[0], it.headers, 0, 0), 0);
    it.parts[2].iov_base = (void *)1; /* what comes before is sent */
    CALL_GIVES(sendmmsg(fds[0], it.headers, MESSAGES, 0), 2);
    CALL_FAILS(sendmmsg(fds[0], it.headers + 2, 2, 0), EFAULT);
    CALL_FAILS(recvmmsg(-1, it.headers, MESSAGES, 0, NULL), EBADF);
    CALL_FAILS(sendmmsg(-1, it.headers, MESSAGES, 0), EBADF);
    close_both(fds);
}

TEST_MAIN()
