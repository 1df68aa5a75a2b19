/* Descriptors: reading, writing, waiting, closing, deadlines, copies, lines. Sockets by name are in net_*.c. */
#define _GNU_SOURCE 1 /* pipe2 */
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <weft.h>

static void make_pair(int fds[2], int type)
{
    CHECK_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
}

static void make_pipe(int fds[2], int flags)
{
    CHECK_EQ(pipe2(fds, O_CLOEXEC | flags), 0);
}

static void close_both(int fds[2])
{
    CHECK_EQ(weft_close_fd(fds[0]), 0);
    CHECK_EQ(weft_close_fd(fds[1]), 0);
}

/* ---- reading and writing ---- */

static void echo(int fd, weft_waitgroup *wg)
{
    char buffer[256];
    ssize_t n;
    while ((n = weft_read(fd, buffer, sizeof buffer)) > 0)
        CHECK_EQ(weft_write_all(fd, buffer, (size_t)n), n);
    CHECK_EQ(n, 0);
    weft_wg_done(wg);
}

TEST_BOTH(round_trips_over_a_blocking_socket)
{
    int fds[2];
    weft_waitgroup wg = {0};
    make_pair(fds, SOCK_STREAM);
    weft_wg_add(&wg, 1);
    weft_go(echo, fds[1], &wg);
    for (int i = 0; i < test_scale(2000); i++) {
        int got = -1;
        CHECK_EQ(weft_write_all(fds[0], &i, sizeof i), (ssize_t)sizeof i);
        CHECK_EQ(weft_read_full(fds[0], &got, sizeof got), (ssize_t)sizeof got);
        CHECK_EQ(got, i);
    }
    CHECK_EQ(weft_shutdown_fd(fds[0], SHUT_WR), 0);
    weft_wg_wait(&wg);
    close_both(fds);
}

static void write_numbers(int fd, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_write_all(fd, &i, sizeof i), (ssize_t)sizeof i);
    CHECK_EQ(weft_close_fd(fd), 0);
}

static void pipe_in_order(int flags)
{
    int fds[2], n = test_scale(50000), got;
    make_pipe(fds, flags);
    weft_go(write_numbers, fds[1], n);
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_read_full(fds[0], &got, sizeof got), (ssize_t)sizeof got);
        CHECK_EQ(got, i);
    }
    CHECK_EQ(weft_read(fds[0], &got, sizeof got), 0);
    CHECK_EQ(weft_close_fd(fds[0]), 0);
}

TEST_BOTH(a_blocking_pipe_keeps_order_and_ends)
{
    pipe_in_order(0);
}

TEST_BOTH(a_non_blocking_pipe_keeps_order_and_ends)
{
    pipe_in_order(O_NONBLOCK);
}

TEST_BOTH(parts_are_scattered_and_gathered)
{
    int fds[2];
    char a[3], b[4];
    make_pair(fds, SOCK_STREAM);
    CHECK_EQ(weft_writev(fds[0], (struct iovec[]){{"abc", 3}, {"defg", 4}}, 2), 7);
    CHECK_EQ(weft_readv(fds[1], (struct iovec[]){{a, 3}, {b, 4}}, 2), 7);
    CHECK(memcmp(a, "abc", 3) == 0 && memcmp(b, "defg", 4) == 0);
    close_both(fds);
}

TEST_BOTH(a_pipe_or_socket_without_a_reader_gives_EPIPE)
{
    int fds[2];
    make_pipe(fds, 0);
    CHECK_EQ(weft_close_fd(fds[0]), 0);
    CHECK_EQ(weft_write(fds[1], "x", 1), -EPIPE);
    CHECK_EQ(weft_close_fd(fds[1]), 0);
    make_pair(fds, SOCK_STREAM);
    CHECK_EQ(weft_close_fd(fds[0]), 0);
    CHECK_EQ(weft_write(fds[1], "x", 1), -EPIPE);
    CHECK_EQ(weft_close_fd(fds[1]), 0);
}

TEST_BOTH(bad_descriptors_give_EBADF)
{
    char byte;
    CHECK_EQ(weft_read(-1, &byte, 1), -EBADF);
    CHECK_EQ(weft_write(1 << 23, &byte, 1), -EBADF);
    CHECK_EQ(weft_close_fd(-5), -EBADF);
    CHECK_EQ(weft_wait_fd(1 << 23, POLLIN), -EBADF);
    int fds[2];
    make_pipe(fds, 0);
    fds[0] = test_lift(fds[0]);
    close_both(fds);
    CHECK_EQ(weft_read(fds[0], &byte, 1), -EBADF);
    CHECK_EQ(weft_close_fd(fds[0]), -EBADF);
}

TEST_BOTH(datagrams_keep_their_bounds)
{
    int fds[2];
    char buffer[16];
    make_pair(fds, SOCK_DGRAM);
    CHECK_EQ(weft_write(fds[0], "one", 3), 3);
    CHECK_EQ(weft_sendto(fds[0], "", 0, 0, NULL, 0), 0);
    CHECK_EQ(weft_write(fds[0], "three", 5), 5);
    CHECK_EQ(weft_read(fds[1], buffer, sizeof buffer), 3);
    CHECK_EQ(weft_recvfrom(fds[1], buffer, sizeof buffer, 0, NULL, NULL), 0);
    CHECK_EQ(weft_read(fds[1], buffer, sizeof buffer), 5);
    CHECK_EQ(weft_recvfrom(fds[1], buffer, sizeof buffer, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
    close_both(fds);
}

/* ---- several on one descriptor ---- */

static void read_some(int fd, int *sum, weft_mutex *m, weft_waitgroup *wg)
{
    unsigned char byte;
    while (weft_read(fd, &byte, 1) == 1) {
        weft_lock(m);
        *sum += byte;
        weft_unlock(m);
    }
    weft_wg_done(wg);
}

TEST_BOTH(several_readers_share_a_descriptor)
{
    int fds[2], sum = 0, n = test_scale(5000);
    weft_mutex m = {0};
    weft_waitgroup wg = {0};
    make_pipe(fds, O_NONBLOCK);
    weft_wg_add(&wg, 8);
    for (int i = 0; i < 8; i++)
        weft_go(read_some, fds[0], &sum, &m, &wg);
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_write(fds[1], "\1", 1), 1);
        if (i % 64 == 0)
            weft_yield();
    }
    CHECK_EQ(weft_close_fd(fds[1]), 0);
    weft_wg_wait(&wg);
    CHECK_EQ(sum, n);
    CHECK_EQ(weft_close_fd(fds[0]), 0);
}

static void write_slowly(int fd)
{
    weft_sleep(20 * WEFT_MS);
    CHECK_EQ(weft_write(fd, "late", 4), 4);
}

TEST_BOTH(reading_and_writing_wait_apart)
{
    int fds[2];
    char buffer[4];
    static char much[1 << 16];
    make_pair(fds, SOCK_STREAM);
    int flags = fcntl(fds[0], F_GETFL);
    while (send(fds[0], much, sizeof much, MSG_DONTWAIT) > 0)
        ;
    weft_go(write_slowly, fds[1]);
    CHECK_EQ(weft_read_full(fds[0], buffer, 4), 4); /* though nothing can be written */
    CHECK_EQ(fcntl(fds[0], F_GETFL), flags);
    close_both(fds);
}

/* ---- closing ---- */

static void expect(int fd, ssize_t result, weft_waitgroup *wg)
{
    char byte;
    CHECK_EQ(weft_read(fd, &byte, 1), result);
    weft_wg_done(wg);
}

TEST_BOTH(close_ends_all_readers)
{
    int fds[2];
    weft_waitgroup wg = {0};
    make_pair(fds, SOCK_STREAM);
    fds[0] = test_lift(fds[0]);
    weft_wg_add(&wg, 5);
    for (int i = 0; i < 5; i++)
        weft_go(expect, fds[0], (ssize_t)-EBADF, &wg);
    weft_sleep(5 * WEFT_MS);
    CHECK_EQ(weft_close_fd(fds[0]), 0);
    CHECK_EQ(fcntl(fds[0], F_GETFD), -1); /* closed when it returns */
    weft_wg_wait(&wg);
    CHECK_EQ(weft_close_fd(fds[1]), 0);
}

static void close_it(int fd, weft_waitgroup *wg)
{
    CHECK_EQ(weft_close_fd(fd), 0);
    weft_wg_done(wg);
}

/* Until a goroutine waits to read from fd: only then does a close concern it, and not the next descriptor of the number. */
static void wait_for_reader(int fd)
{
    char wanted[64];
    static char dump[1 << 16];
    snprintf(wanted, sizeof wanted, "read of a descriptor %d", fd);
    for (bool seen = false; !seen; weft_yield()) {
        FILE *file = tmpfile();
        CHECK(file != NULL);
        weft_dump(fileno(file));
        rewind(file);
        size_t n = fread(dump, 1, sizeof dump - 1, file);
        dump[n] = '\0';
        fclose(file);
        seen = strstr(dump, wanted) != NULL;
    }
}

TEST_GO(a_number_that_is_used_again_is_another_descriptor)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < test_scale(100); i++) {
        int fds[2], more[2];
        make_pair(fds, SOCK_STREAM);
        weft_wg_add(&wg, 2);
        weft_go(expect, fds[0], (ssize_t)-EBADF, &wg);
        wait_for_reader(fds[0]);
        weft_go(close_it, fds[0], &wg);
        make_pair(more, SOCK_STREAM); /* perhaps with the number, by now */
        CHECK_EQ(weft_write(more[1], "x", 1), 1);
        weft_wg_wait(&wg);
        char byte = 0;
        CHECK_EQ(weft_read(more[0], &byte, 1), 1);
        CHECK_EQ(byte, 'x');
        close_both(more);
        CHECK_EQ(weft_close_fd(fds[1]), 0);
    }
}

/* ---- deadlines, contexts ---- */

TEST_BOTH(a_deadline_ends_reads_until_it_is_moved)
{
    int fds[2];
    char byte;
    make_pair(fds, SOCK_STREAM);
    int64_t begin_ns = weft_now();
    CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN, begin_ns + 10 * WEFT_MS), 0);
    CHECK_EQ(weft_read(fds[0], &byte, 1), -ETIMEDOUT);
    CHECK(weft_now() - begin_ns >= 10 * WEFT_MS);
    CHECK_EQ(weft_read(fds[0], &byte, 1), -ETIMEDOUT);
    CHECK_EQ(weft_write(fds[0], "x", 1), 1);
    CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN, INT64_MAX), 0);
    CHECK_EQ(weft_write(fds[1], "x", 1), 1);
    CHECK_EQ(weft_read(fds[0], &byte, 1), 1);
    close_both(fds);
}

static void move_deadline(int fd, int64_t deadline_ns)
{
    weft_sleep(5 * WEFT_MS);
    CHECK_EQ(weft_fd_set_deadline(fd, POLLIN | POLLOUT, deadline_ns), 0);
}

TEST_BOTH(a_deadline_that_moves_concerns_who_waits)
{
    int fds[2];
    char byte;
    make_pair(fds, SOCK_STREAM);
    weft_go(move_deadline, fds[0], (int64_t)1);
    CHECK_EQ(weft_read(fds[0], &byte, 1), -ETIMEDOUT);
    close_both(fds);
}

TEST_BOTH(a_context_ends_a_read)
{
    int fds[2];
    char byte;
    make_pair(fds, SOCK_STREAM);
    {
        weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_current(), 10 * WEFT_MS);
        weft_scoped_ctx(ctx);
        weft_scoped_use(ctx);
        CHECK_EQ(weft_read(fds[0], &byte, 1), -ETIMEDOUT);
        CHECK_EQ(weft_wait_fd(fds[0], POLLIN), -ETIMEDOUT);
    }
    CHECK_EQ(weft_write(fds[1], "x", 1), 1);
    CHECK_EQ(weft_read(fds[0], &byte, 1), 1);
    close_both(fds);
}

/* ---- weft_wait_fd ---- */

static void add_one(int fd)
{
    static const uint64_t one = 1;
    weft_sleep(5 * WEFT_MS);
    CHECK_EQ(weft_write(fd, &one, sizeof one), (ssize_t)sizeof one);
}

TEST_BOTH(waiting_sees_what_is_there_and_what_comes)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t count;
    CHECK_EQ(weft_wait_fd(fd, POLLIN | POLLOUT), POLLOUT);
    for (int i = 0; i < 3; i++) {
        weft_go(add_one, fd);
        CHECK_EQ(weft_wait_fd(fd, POLLIN), POLLIN);
        CHECK_EQ(weft_wait_fd(fd, POLLIN), POLLIN); /* still */
        CHECK_EQ(read(fd, &count, sizeof count), (ssize_t)sizeof count);
    }
    CHECK_EQ(weft_close_fd(fd), 0);
}

static void drain(int fd, weft_waitgroup *wg)
{
    static char much[1 << 16];
    weft_sleep(5 * WEFT_MS);
    while (recv(fd, much, sizeof much, MSG_DONTWAIT) > 0)
        ;
    weft_wg_done(wg); /* it goes on after the waiter was woken */
}

TEST_BOTH(waiting_for_either_side_ends_by_the_writing_side)
{
    int fds[2];
    static char much[1 << 16];
    make_pair(fds, SOCK_STREAM);
    while (send(fds[0], much, sizeof much, MSG_DONTWAIT) > 0)
        ;
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(drain, fds[1], &wg);
    CHECK_EQ(weft_wait_fd(fds[0], POLLIN | POLLOUT), POLLOUT);
    weft_wg_wait(&wg);
    close_both(fds);
}

/* ---- copies and lines ---- */

static char pattern(int64_t at)
{
    return (char)(at * 7 + at / 251);
}

static void feed(int fd, int64_t n)
{
    char block[5000];
    for (int64_t at = 0; at < n;) {
        size_t size = n - at < (int64_t)sizeof block ? (size_t)(n - at) : sizeof block;
        for (size_t i = 0; i < size; i++)
            block[i] = pattern(at + (int64_t)i);
        CHECK_EQ(weft_write_all(fd, block, size), (ssize_t)size);
        at += (int64_t)size;
    }
    CHECK_EQ(weft_shutdown_fd(fd, SHUT_WR), 0);
}

static void expect_pattern(int fd, int64_t n, weft_waitgroup *wg)
{
    char block[3000];
    int64_t at = 0;
    ssize_t got;
    while ((got = weft_read(fd, block, sizeof block)) > 0)
        for (ssize_t i = 0; i < got; i++, at++)
            CHECK(block[i] == pattern(at));
    CHECK_EQ(got, 0);
    CHECK_EQ(at, n);
    weft_wg_done(wg);
}

TEST_BOTH(copies_from_socket_to_socket)
{
    for (int round = 0; round < 2; round++) {
        int from[2], to[2];
        int64_t n = test_scale(4 << 20);
        weft_waitgroup wg = {0};
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (round ? SOCK_NONBLOCK : 0), 0, from), 0);
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (round ? SOCK_NONBLOCK : 0), 0, to), 0);
        weft_wg_add(&wg, 1);
        weft_go(feed, from[0], n);
        weft_go(expect_pattern, to[1], n, &wg);
        CHECK_EQ(weft_copy(to[0], from[1]), n);
        CHECK_EQ(weft_shutdown_fd(to[0], SHUT_WR), 0);
        weft_wg_wait(&wg);
        close_both(from);
        close_both(to);
    }
}

/* An eventfd takes eight bytes and no fewer. */
TEST_BOTH(a_copy_to_what_refuses_it_fails)
{
    int from[2], to = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK_EQ(pipe2(from, O_CLOEXEC | O_NONBLOCK), 0);
    CHECK_EQ(weft_write(from[1], "five.", 5), 5);
    CHECK_EQ(weft_close_fd(from[1]), 0);
    CHECK_EQ(weft_copy(to, from[0]), -EINVAL);
    CHECK_EQ(weft_close_fd(to), 0);
    CHECK_EQ(weft_close_fd(from[0]), 0);
}

static int temporary_file(int64_t n)
{
    char path[] = "/tmp/weft-io-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    char *all = malloc((size_t)n);
    for (int64_t i = 0; i < n; i++)
        all[i] = pattern(i);
    CHECK_EQ(weft_write_all(fd, all, (size_t)n), (ssize_t)n);
    free(all);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

TEST_BOTH(copies_from_a_file)
{
    int64_t n = test_scale(3 << 20);
    int file = temporary_file(n), other = temporary_file(1), to[2];
    weft_waitgroup wg = {0};
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, to), 0);
    weft_wg_add(&wg, 1);
    weft_go(expect_pattern, to[1], n, &wg);
    CHECK_EQ(weft_copy_n(to[0], file, n / 2), n / 2);
    CHECK_EQ(weft_copy(to[0], file), n - n / 2);
    CHECK_EQ(weft_copy(to[0], file), 0);
    CHECK_EQ(weft_shutdown_fd(to[0], SHUT_WR), 0);
    weft_wg_wait(&wg);
    CHECK_EQ(lseek(file, 0, SEEK_SET), 0);
    CHECK_EQ(lseek(other, 0, SEEK_SET), 0);
    CHECK_EQ(weft_copy(other, file), n);
    CHECK_EQ(lseek(other, 0, SEEK_SET), 0);
    char block[4096];
    ssize_t got = 0;
    for (int64_t at = 0; (got = weft_read(other, block, sizeof block)) > 0;)
        for (ssize_t i = 0; i < got; i++, at++)
            CHECK(block[i] == pattern(at));
    CHECK_EQ(weft_close_fd(file), 0);
    CHECK_EQ(weft_close_fd(other), 0);
    close_both(to);
}

static void write_pieces(int fd)
{
    static const char *const pieces[] = {"one\ntw", "o\n", "\nlonger than the buf", "fer\nlast"};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        CHECK(weft_write_all(fd, pieces[i], strlen(pieces[i])) > 0);
        weft_sleep(WEFT_MS);
    }
    CHECK_EQ(weft_close_fd(fd), 0);
}

TEST_BOTH(lines)
{
    int fds[2];
    char *line = NULL, rest[32];
    make_pipe(fds, 0);
    weft_go(write_pieces, fds[1]);
    weft_reader *r = weft_reader_make(fds[0], 16);
    CHECK(weft_reader_line(r, &line) == 4 && memcmp(line, "one\n", 4) == 0);
    CHECK(weft_reader_line(r, &line) == 4 && memcmp(line, "two\n", 4) == 0);
    CHECK(weft_reader_line(r, &line) == 1 && *line == '\n');
    CHECK_EQ(weft_reader_line(r, &line), -EMSGSIZE);
    CHECK_EQ(weft_reader_read(r, rest, sizeof rest), 16);
    CHECK(memcmp(rest, "longer than the ", 16) == 0);
    CHECK(weft_reader_line(r, &line) == 7 && memcmp(line, "buffer\n", 7) == 0);
    CHECK(weft_reader_line(r, &line) == 4 && memcmp(line, "last", 4) == 0);
    CHECK_EQ(weft_reader_line(r, &line), 0);
    weft_reader_free(r);
    CHECK_EQ(weft_close_fd(fds[0]), 0);
}

TEST_MAIN()
