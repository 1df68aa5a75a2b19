/* transfer.c — read, write, readv, writev.

   Sockets: see message.c. Pipes and the like are asked with RWF_NOWAIT. Where the kernel does not know that for them they
   are looked at first; then a read may still meet another reader that was faster, and its thread blocks until the next data,
   which the monitor sees. A write is cut into pieces of PIPE_BUF then, for which there is room when poll(2) says so.

   A terminal in canonical mode has a line when poll says so. With timers, or to write to one, which may be stopped by ^S at
   any byte, the call is made elsewhere. */
#define _GNU_SOURCE 1
#include "hook/hook.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <termios.h>

const char hook_transfer_file;

struct transfer {
    struct hook_parts left;
    size_t size;
    bool writes;
};

static bool no_wait_is_unknown(ssize_t result)
{
    return result == -EOPNOTSUPP || result == -ENOSYS;
}

static ssize_t try_transfer(int fd, void *argument)
{
    const struct transfer *it = argument;
    const struct iovec *parts;
    struct iovec one;
    int n = hook_parts_left(&it->left, &parts, &one);
    ssize_t result =
        hook_result(it->writes ? pwritev2(fd, parts, n, -1, RWF_NOWAIT) : preadv2(fd, parts, n, -1, RWF_NOWAIT));
    if (!no_wait_is_unknown(result))
        return result;
    struct pollfd look = {.fd = fd, .events = it->writes ? POLLOUT : POLLIN};
    int ready = hook_next()->poll(&look, 1, 0);
    if (ready <= 0)
        return ready == 0 ? -EAGAIN : -errno;
    if (!it->writes)
        return hook_result(hook_next()->readv(fd, parts, n));
    if (it->size <= PIPE_BUF) /* all at once, so that nothing of others comes in between */
        return hook_result(hook_next()->writev(fd, parts, n));
    for (; parts->iov_len == 0; parts++)
        ;
    return hook_result(hook_next()->write(fd, parts->iov_base, parts->iov_len < PIPE_BUF ? parts->iov_len : PIPE_BUF));
}

static ssize_t write_all(int fd, struct transfer *it)
{
    size_t done = 0;
    for (;;) {
        ssize_t n = weft_attempt_fd_(fd, POLLOUT, try_transfer, it, 0, INT64_MAX);
        if (n < 0)
            return done ? (ssize_t)done : n;
        done += (size_t)n;
        if (done >= it->size)
            return (ssize_t)done;
        hook_parts_advance(&it->left, (size_t)n);
    }
}

/* ---- what is no socket ---- */

static ssize_t straight(int fd, const struct transfer *it)
{
    const struct iovec *parts = it->left.parts;
    if (it->left.n == 1)
        return it->writes ? hook_next()->write(fd, parts->iov_base, parts->iov_len)
                          : hook_next()->read(fd, parts->iov_base, parts->iov_len);
    return it->writes ? hook_next()->writev(fd, parts, it->left.n) : hook_next()->readv(fd, parts, it->left.n);
}

struct elsewhere {
    int fd;
    const struct transfer *transfer;
    ssize_t result;
};

static void transfer_elsewhere(void *argument)
{
    struct elsewhere *it = argument;
    it->result = straight(it->fd, it->transfer);
}

enum way { STRAIGHT, ATTEMPTS, ELSEWHERE };

static enum way way_of(int fd, const struct transfer *it)
{
    struct stat st;
    struct termios terminal;
    if (fstat(fd, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
        return STRAIGHT;
    if (!S_ISCHR(st.st_mode) || tcgetattr(fd, &terminal) != 0)
        return ATTEMPTS;
    if (it->writes)
        return ELSEWHERE;
    if (terminal.c_lflag & ICANON || (terminal.c_cc[VTIME] == 0 && terminal.c_cc[VMIN] > 0))
        return ATTEMPTS;
    return terminal.c_cc[VTIME] == 0 ? STRAIGHT : ELSEWHERE;
}

static ssize_t transfer_other(int fd, struct transfer *it)
{
    int error = errno;
    enum way way = way_of(fd, it);
    errno = error;
    if (way == STRAIGHT)
        return straight(fd, it);
    if (way == ELSEWHERE) {
        struct elsewhere other = {.fd = fd, .transfer = it};
        hook_elsewhere(transfer_elsewhere, &other);
        return other.result;
    }
    struct hook_call call = hook_begin();
    ssize_t result = it->writes ? write_all(fd, it) : weft_attempt_fd_(fd, POLLIN, try_transfer, it, 0, INT64_MAX);
    return hook_end(&call, result);
}

/* ---- the calls ---- */

static ssize_t transfer_in_goroutine(int fd, struct transfer *it)
{
    int64_t until_ns;
    if (it->writes) {
        int error = errno;
        ssize_t result = hook_send_parts(fd, &it->left);
        if (result >= 0 || errno != ENOTSOCK)
            return result;
        errno = error;
    }
    if (!hook_is_blocking(fd))
        return straight(fd, it);
    if (it->writes || hook_socket(fd, SO_RCVTIMEO, &until_ns) == HOOK_NO_SOCKET)
        return transfer_other(fd, it);
    struct hook_call call = hook_begin();
    return hook_end(&call, hook_receive_parts(fd, &it->left, until_ns));
}

static ssize_t transfer(int fd, bool writes, const struct iovec *parts, int n)
{
    struct transfer it = {.left = {.parts = parts, .n = n}, .writes = writes};
    if (!weft_hooked_() || n < 0 || n > IOV_MAX || (it.size = hook_parts_size(&it.left)) == 0)
        return straight(fd, &it);
    return transfer_in_goroutine(fd, &it);
}

HOOK ssize_t read(int fd, void *buffer, size_t size)
{
    return transfer(fd, false, &(struct iovec){buffer, size}, 1);
}

HOOK ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room)
{
    return size > room ? hook_next()->__read_chk(fd, buffer, size, room) : read(fd, buffer, size);
}

HOOK ssize_t write(int fd, const void *buffer, size_t size)
{
    return transfer(fd, true, &(struct iovec){(void *)buffer, size}, 1);
}

HOOK ssize_t readv(int fd, const struct iovec *parts, int n)
{
    return transfer(fd, false, parts, n);
}

HOOK ssize_t writev(int fd, const struct iovec *parts, int n)
{
    return transfer(fd, true, parts, n);
}

HOOK_ALIAS("read") ssize_t __read(int fd, void *buffer, size_t size);
HOOK_ALIAS("write") ssize_t __write(int fd, const void *buffer, size_t size);
