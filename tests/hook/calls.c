/* read, write and their relatives, on sockets, pipes, terminals and files. */
#define _GNU_SOURCE 1
#include "hook.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>

/* Names that a program compiled with _FORTIFY_SOURCE uses. */
ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags, struct sockaddr *from, socklen_t *length);
OTHER_NAME(ssize_t, __read, (int fd, void *buffer, size_t size));
OTHER_NAME(ssize_t, __write, (int fd, const void *buffer, size_t size));
OTHER_NAME(ssize_t, __send, (int fd, const void *buffer, size_t size, int flags));

#define BIG (300 * 1000)

static void make_pair(int fds[2], int type)
{
    CHECK_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_both(int fds[2])
{
    CALL_GIVES(close(fds[0]), 0);
    CALL_GIVES(close(fds[1]), 0);
}

/* A connection by TCP: from a listener that is gone again. */
static void make_tcp(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listener >= 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    CALL_GIVES(connect(fds[0], (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    fds[1] = accept(listener, NULL, NULL);
    CHECK(fds[1] >= 0);
    CALL_GIVES(close(listener), 0);
}

static void limit(int fd, int option, int ms)
{
    struct timeval time = {ms / 1000, ms % 1000 * 1000};
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, option, &time, sizeof time), 0);
}

/* ---- each way to receive ---- */

struct reader {
    ssize_t (*receive)(int fd, char *buffer, size_t size);
    bool sockets_only;
};

static ssize_t by_read(int fd, char *buffer, size_t size)
{
    return read(fd, buffer, size);
}

static ssize_t by_read_alias(int fd, char *buffer, size_t size)
{
    return CALL_OTHER(__read, read)(fd, buffer, size);
}

static ssize_t by_read_chk(int fd, char *buffer, size_t size)
{
    return __read_chk(fd, buffer, size, size);
}

static ssize_t by_readv(int fd, char *buffer, size_t size)
{
    struct iovec parts[] = {{buffer, 1}, {NULL, 0}, {buffer + 1, size - 1}};
    return readv(fd, parts, 3);
}

static ssize_t by_recv(int fd, char *buffer, size_t size)
{
    return recv(fd, buffer, size, 0);
}

static ssize_t by_recv_chk(int fd, char *buffer, size_t size)
{
    return __recv_chk(fd, buffer, size, size, 0);
}

static ssize_t by_recvfrom(int fd, char *buffer, size_t size)
{
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    return recvfrom(fd, buffer, size, 0, (struct sockaddr *)&from, &length);
}

static ssize_t by_recvfrom_chk(int fd, char *buffer, size_t size)
{
    return __recvfrom_chk(fd, buffer, size, size, 0, NULL, NULL);
}

static ssize_t by_recvmsg(int fd, char *buffer, size_t size)
{
    struct iovec parts[] = {{buffer, 2}, {buffer + 2, size - 2}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return recvmsg(fd, &message, 0);
}

static const struct reader readers[] = {
    {by_read, false},    {by_read_alias, false}, {by_read_chk, false}, {by_readv, false},       {by_recv, true},
    {by_recv_chk, true}, {by_recvfrom, true},    {by_recvmsg, true},   {by_recvfrom_chk, true},
};
#define READERS (sizeof readers / sizeof *readers)

static void receive_all_ways(int from, int to, bool sockets)
{
    for (size_t i = 0; i < READERS; i++) {
        if (readers[i].sockets_only && !sockets)
            continue;
        char buffer[64] = {0};
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(write_later, to, "hello", 5, &wg);
        CALL_GIVES(readers[i].receive(from, buffer, sizeof buffer), 5);
        CHECK_EQ(memcmp(buffer, "hello", 5), 0);
        weft_wg_wait(&wg);
    }
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(close_later, to, &wg);
    for (size_t i = 0; i < READERS; i++)
        if (sockets || !readers[i].sockets_only)
            CALL_GIVES(readers[i].receive(from, (char[64]){0}, 64), 0);
    weft_wg_wait(&wg);
    CALL_GIVES(close(from), 0);
}

EVERYWHERE(receives_from_a_unix_socket)
{
    int fds[2];
    make_pair(fds, SOCK_STREAM);
    receive_all_ways(fds[0], fds[1], true);
}

EVERYWHERE(receives_from_a_tcp_socket)
{
    int fds[2];
    make_tcp(fds);
    receive_all_ways(fds[0], fds[1], true);
}

EVERYWHERE(reads_from_a_pipe)
{
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    receive_all_ways(fds[0], fds[1], false);
}

EVERYWHERE(receives_datagrams_with_their_sender)
{
    int fds[2];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, own[2], from;
    for (int i = 0; i < 2; i++) {
        socklen_t length = sizeof own[i];
        CHECK((fds[i] = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
        CHECK_EQ(bind(fds[i], (struct sockaddr *)&address, sizeof address), 0);
        CHECK_EQ(getsockname(fds[i], (struct sockaddr *)&own[i], &length), 0);
    }
    CHECK_EQ(connect(fds[1], (struct sockaddr *)&own[0], sizeof own[0]), 0);
    for (int i = 0; i < 3; i++) {
        char buffer[10];
        socklen_t length = sizeof from;
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(write_later, fds[1], "to be cut", 9, &wg);
        CALL_GIVES(recvfrom(fds[0], buffer, 5, i == 0 ? MSG_TRUNC : 0, (struct sockaddr *)&from, &length), i == 0 ? 9 : 5);
        CHECK_EQ(length, sizeof from);
        CHECK_EQ(from.sin_port, own[1].sin_port);
        weft_wg_wait(&wg);
        CALL_GIVES(sendto(fds[0], "", 0, 0, (struct sockaddr *)&own[1], sizeof own[1]), 0);
        CALL_GIVES(recv(fds[1], buffer, sizeof buffer, 0), 0);
    }
    close_both(fds);
}

static void pass_descriptor(int fd, int passed, weft_waitgroup *wg)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &passed, sizeof passed);
    linger();
    CALL_GIVES(sendmsg(fd, &message, 0), 1);
    weft_wg_done(wg);
}

EVERYWHERE(passes_a_descriptor)
{
    int fds[2], ends[2];
    make_pair(fds, SOCK_STREAM);
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(pass_descriptor, fds[1], ends[1], &wg);
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char x = 0;
    struct iovec part = {&x, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    CALL_GIVES(recvmsg(fds[0], &message, 0), 1);
    CHECK_EQ(x, 'x');
    int passed;
    memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof passed);
    CALL_GIVES(write(passed, "y", 1), 1);
    CALL_GIVES(read(ends[0], &x, 1), 1);
    CHECK_EQ(x, 'y');
    weft_wg_wait(&wg);
    CHECK_EQ(close(passed), 0);
    close_both(fds);
    close_both(ends);
}

/* ---- each way to send: all of it ---- */

static ssize_t to_write(int fd, const char *data, size_t size)
{
    return write(fd, data, size);
}

static ssize_t to_write_alias(int fd, const char *data, size_t size)
{
    return CALL_OTHER(__write, write)(fd, data, size);
}

static ssize_t to_writev(int fd, const char *data, size_t size)
{
    struct iovec parts[] = {{(void *)data, 1000},
                            {NULL, 0},
                            {(void *)(data + 1000), size / 2 - 1000},
                            {(void *)(data + size / 2), size - size / 2}};
    return writev(fd, parts, 4);
}

static ssize_t to_send(int fd, const char *data, size_t size)
{
    return send(fd, data, size, 0);
}

static ssize_t to_send_alias(int fd, const char *data, size_t size)
{
    return CALL_OTHER(__send, send)(fd, data, size, MSG_NOSIGNAL);
}

static ssize_t to_sendto(int fd, const char *data, size_t size)
{
    return sendto(fd, data, size, 0, NULL, 0);
}

static ssize_t to_sendmsg(int fd, const char *data, size_t size)
{
    struct iovec parts[] = {{(void *)data, size / 3}, {(void *)(data + size / 3), size - size / 3}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void send_all_ways(int to, int from, bool sockets)
{
    static ssize_t (*const ways[])(int, const char *, size_t) = {to_write,      to_write_alias, to_writev, to_send,
                                                                 to_send_alias, to_sendto,      to_sendmsg};
    char *data = malloc(BIG);
    CHECK(data != NULL);
    fill(data, BIG);
    for (size_t i = 0; i < (sockets ? sizeof ways / sizeof *ways : 3); i++) {
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(drain_slowly, from, BIG, &wg);
        CALL_GIVES(ways[i](to, data, BIG), BIG);
        weft_wg_wait(&wg);
    }
    free(data);
    CALL_GIVES(close(to), 0);
    CALL_GIVES(close(from), 0);
}

EVERYWHERE(sends_all_to_a_unix_socket)
{
    int fds[2];
    make_pair(fds, SOCK_STREAM);
    send_all_ways(fds[0], fds[1], true);
}

EVERYWHERE(sends_all_to_a_tcp_socket)
{
    int fds[2];
    make_tcp(fds);
    send_all_ways(fds[0], fds[1], true);
}

EVERYWHERE(writes_all_to_a_pipe)
{
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    send_all_ways(fds[1], fds[0], false);
}

/* Records of up to PIPE_BUF bytes stay whole although many write to a full pipe. */
static void write_records(int fd, int mark, weft_waitgroup *wg)
{
    char record[1000];
    memset(record, mark, sizeof record);
    struct iovec parts[] = {{record, 400}, {record + 400, 600}};
    for (int i = 0; i < 50; i++) {
        if (i % 2)
            CALL_GIVES(write(fd, record, sizeof record), (ssize_t)sizeof record);
        else
            CALL_GIVES(writev(fd, parts, 2), (ssize_t)sizeof record);
    }
    weft_wg_done(wg);
}

EVERYWHERE(writes_to_a_pipe_are_atomic)
{
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 4);
    for (int i = 0; i < 4; i++)
        weft_go(write_records, fds[1], 'a' + i, &wg);
    for (int i = 0; i < 200; i++) {
        char record[1000];
        CHECK_EQ(weft_read_full(fds[0], record, sizeof record), (ssize_t)sizeof record);
        for (size_t j = 1; j < sizeof record; j++)
            CHECK_EQ(record[j], record[0]);
    }
    weft_wg_wait(&wg);
    close_both(fds);
}

/* ---- what does not wait ---- */

EVERYWHERE(what_does_not_wait_does_not)
{
    int fds[2], ends[2];
    char buffer[8];
    make_pair(fds, SOCK_STREAM);
    CALL_FAILS(recv(fds[0], buffer, 1, MSG_DONTWAIT), EAGAIN);
    CALL_GIVES(read(fds[0], buffer, 0), 0);
    CHECK_EQ(recv(fds[0], buffer, 1, MSG_OOB), -1);
    CHECK_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    CALL_FAILS(read(fds[0], buffer, 1), EAGAIN);
    CALL_FAILS(recv(fds[0], buffer, 1, 0), EAGAIN);
    CALL_FAILS(readv(fds[0], &(struct iovec){buffer, 1}, 1), EAGAIN);
    close_both(fds);
    CHECK_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    CALL_FAILS(read(ends[0], buffer, 1), EAGAIN);
    CALL_FAILS(recv(ends[0], buffer, 1, 0), ENOTSOCK);
    while (write(ends[1], (char[4096]){0}, 4096) > 0)
        ;
    CALL_FAILS(write(ends[1], (char[4096]){0}, 4096), EAGAIN);
    close_both(ends);
    CALL_FAILS(read(-1, buffer, 1), EBADF);
    CALL_FAILS(send(-1, buffer, 1, 0), EBADF);
    CALL_FAILS(recv(-1, buffer, 1, 0), EBADF);
    CALL_FAILS(close(-1), EBADF);
    volatile int negative = -1; /* so that the compiler does not see it */
    CALL_FAILS(readv(0, &(struct iovec){buffer, 1}, negative), EINVAL);
    char path[] = "/tmp/weft_hook_XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0);
    CALL_GIVES(write(file, "file", 4), 4);
    CHECK_EQ(lseek(file, 0, SEEK_SET), 0);
    CALL_GIVES(read(file, buffer, sizeof buffer), 4);
    CALL_GIVES(read(file, buffer, sizeof buffer), 0);
    CALL_FAILS(send(file, buffer, 1, 0), ENOTSOCK);
    CALL_GIVES(close(file), 0);
    unlink(path);
    int null = open("/dev/zero", O_RDWR);
    CALL_GIVES(read(null, buffer, sizeof buffer), (ssize_t)sizeof buffer);
    CALL_GIVES(write(null, buffer, sizeof buffer), (ssize_t)sizeof buffer);
    CALL_GIVES(close(null), 0);
}

/* ---- flags and limits ---- */

EVERYWHERE(waitall_waits_for_all)
{
    int fds[2];
    char data[1000], buffer[1000];
    fill(data, sizeof data);
    make_tcp(fds);
    for (int i = 0; i < 3; i++) {
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(dribble, fds[1], data, sizeof data, 300, &wg);
        if (i == 0)
            CALL_GIVES(recv(fds[0], buffer, sizeof buffer, MSG_WAITALL | MSG_PEEK), (ssize_t)sizeof buffer);
        if (i == 1) {
            struct iovec part = {buffer, sizeof buffer};
            CALL_GIVES(recvmsg(fds[0], &(struct msghdr){.msg_iov = &part, .msg_iovlen = 1}, MSG_WAITALL),
                       (ssize_t)sizeof buffer);
        } else {
            CALL_GIVES(recv(fds[0], buffer, sizeof buffer, MSG_WAITALL), (ssize_t)sizeof buffer);
        }
        CHECK_EQ(memcmp(data, buffer, sizeof data), 0);
        weft_wg_wait(&wg);
    }
    CHECK_EQ(weft_write_all(fds[1], data, 10), 10);
    CHECK_EQ(shutdown(fds[1], SHUT_WR), 0);
    CALL_GIVES(recv(fds[0], buffer, sizeof buffer, MSG_WAITALL), 10);
    CALL_GIVES(recv(fds[0], buffer, sizeof buffer, MSG_WAITALL), 0);
    close_both(fds);
}

EVERYWHERE(peek_leaves_it_there)
{
    int fds[2];
    char buffer[10];
    make_pair(fds, SOCK_STREAM);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(write_later, fds[1], "peek", 4, &wg);
    CALL_GIVES(recv(fds[0], buffer, sizeof buffer, MSG_PEEK), 4);
    CALL_GIVES(recv(fds[0], buffer, 2, MSG_PEEK), 2);
    CALL_GIVES(recv(fds[0], buffer, sizeof buffer, 0), 4);
    CHECK_EQ(memcmp(buffer, "peek", 4), 0);
    weft_wg_wait(&wg);
    close_both(fds);
}

EVERYWHERE(a_limit_for_receiving)
{
    int fds[2];
    char buffer[10];
    make_tcp(fds);
    limit(fds[0], SO_RCVTIMEO, 20);
    int64_t start_ns = weft_now();
    CALL_FAILS(recv(fds[0], buffer, 10, 0), EAGAIN);
    CHECK(weft_now() - start_ns >= 20 * WEFT_MS);
    CALL_FAILS(read(fds[0], buffer, 10), EAGAIN);
    CHECK(weft_now() - start_ns >= 40 * WEFT_MS);
    CHECK_EQ(weft_write_all(fds[1], "abc", 3), 3);
    CALL_GIVES(recv(fds[0], buffer, 10, MSG_WAITALL), 3);
    CHECK(weft_now() - start_ns >= 60 * WEFT_MS);
    limit(fds[0], SO_RCVTIMEO, 0);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(write_later, fds[1], "abc", 3, &wg);
    CALL_GIVES(read(fds[0], buffer, 10), 3);
    weft_wg_wait(&wg);
    close_both(fds);
}

EVERYWHERE(a_limit_for_sending)
{
    int fds[2], small = 1;
    make_pair(fds, SOCK_STREAM);
    CHECK_EQ(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    limit(fds[0], SO_SNDTIMEO, 20);
    char *data = calloc(1, BIG);
    int64_t start_ns = weft_now();
    int error;
    ssize_t n = CALL_(send(fds[0], data, BIG, 0), &error);
    CHECK(n > 0 && n < BIG);
    CHECK_EQ(error, UNTOUCHED);
    CHECK(weft_now() - start_ns >= 20 * WEFT_MS);
    while ((n = CALL_(write(fds[0], data, 1), &error)) > 0)
        ;
    CHECK_EQ(n, -1);
    CHECK_EQ(error, EAGAIN);
    free(data);
    close_both(fds);
}

EVERYWHERE(a_peer_that_is_gone)
{
    int fds[2];
    char buffer[10];
    make_tcp(fds);
    CHECK_EQ(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger)), 0);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(close_later, fds[1], &wg);
    CALL_FAILS(read(fds[0], buffer, 10), ECONNRESET);
    CALL_GIVES(read(fds[0], buffer, 10), 0);
    CALL_FAILS(send(fds[0], buffer, 10, MSG_NOSIGNAL), EPIPE);
    if (in_goroutine())
        CALL_FAILS(write(fds[0], buffer, 10), EPIPE); /* no signal */
    weft_wg_wait(&wg);
    CALL_GIVES(close(fds[0]), 0);
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CALL_GIVES(close(ends[0]), 0);
    if (in_goroutine())
        CALL_FAILS(write(ends[1], buffer, 10), EPIPE);
    CALL_GIVES(close(ends[1]), 0);
}

/* The receiver's queue is full: a datagram to an address waits, although poll says that the sender's socket can be written.
   */
static void drain_datagrams(int fd, int n, weft_waitgroup *wg)
{
    char buffer[100];
    for (int i = 0; i < n; i++) {
        if (i % 16 == 0)
            linger();
        CHECK_EQ(weft_read(fd, buffer, sizeof buffer), 10);
    }
    weft_wg_done(wg);
}

EVERYWHERE(datagrams_to_a_full_unix_socket)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    static _Atomic int number;
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "weft-%d-%d", (int)getpid(), ++number);
    socklen_t size = (socklen_t)(sizeof(sa_family_t) + 1 + (size_t)length);
    CHECK_EQ(bind(receiver, (struct sockaddr *)&address, size), 0);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(drain_datagrams, receiver, 100, &wg);
    struct iovec part = {(void *)"0123456789", 10};
    struct msghdr message = {.msg_name = &address, .msg_namelen = size, .msg_iov = &part, .msg_iovlen = 1};
    for (int i = 0; i < 50; i++) {
        CALL_GIVES(sendto(sender, "0123456789", 10, 0, (struct sockaddr *)&address, size), 10);
        CALL_GIVES(sendmsg(sender, &message, 0), 10);
    }
    weft_wg_wait(&wg);
    CALL_GIVES(close(sender), 0);
    CALL_GIVES(close(receiver), 0);
}

/* ---- other descriptors ---- */

EVERYWHERE(an_eventfd)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t one = 1, value = 0;
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_go(write_later, fd, &one, sizeof one, &wg);
    CALL_GIVES(read(fd, &value, sizeof value), 8);
    CHECK_EQ(value, 1);
    CALL_FAILS(read(fd, &value, 4), EINVAL);
    weft_wg_wait(&wg);
    CALL_GIVES(close(fd), 0);
}

static int open_terminal(int *other, struct termios *mode)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(master >= 0);
    CHECK_EQ(grantpt(master), 0);
    CHECK_EQ(unlockpt(master), 0);
    char name[64];
    CHECK_EQ(ptsname_r(master, name, sizeof name), 0);
    *other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(*other >= 0);
    CHECK_EQ(tcgetattr(*other, mode), 0);
    return master;
}

EVERYWHERE(a_terminal)
{
    struct termios mode;
    int fd, master = open_terminal(&fd, &mode);
    char buffer[100];
    weft_waitgroup wg = {0};
    mode.c_lflag &= ~(tcflag_t)ECHO;
    CHECK_EQ(tcsetattr(fd, TCSANOW, &mode), 0);
    weft_wg_add(&wg, 1);
    weft_go(dribble, master, "a line\n", 7, 3, &wg);
    CALL_GIVES(read(fd, buffer, sizeof buffer), 7);
    CHECK_EQ(memcmp(buffer, "a line\n", 7), 0);
    weft_wg_wait(&wg);
    mode.c_lflag &= ~(tcflag_t)ICANON;
    mode.c_cc[VMIN] = 0;
    mode.c_cc[VTIME] = 0;
    CHECK_EQ(tcsetattr(fd, TCSAFLUSH, &mode), 0);
    CALL_GIVES(read(fd, buffer, sizeof buffer), 0);
    mode.c_cc[VTIME] = 1;
    CHECK_EQ(tcsetattr(fd, TCSAFLUSH, &mode), 0);
    CALL_GIVES(read(fd, buffer, sizeof buffer), 0);
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    CHECK_EQ(tcsetattr(fd, TCSAFLUSH, &mode), 0);
    weft_wg_add(&wg, 1);
    weft_go(write_later, master, "x", 1, &wg);
    CALL_GIVES(read(fd, buffer, sizeof buffer), 1);
    weft_wg_wait(&wg);
    CALL_GIVES(write(fd, "out", 3), 3);
    CHECK_EQ(weft_read_full(master, buffer, 3), 3);
    CHECK_EQ(memcmp(buffer, "out", 3), 0);
    CALL_GIVES(close(fd), 0);
    CALL_GIVES(close(master), 0);
}

TEST_MAIN()
