/* copy.c — from one descriptor to another, inside the kernel where it can:

     file to file           copy_file_range, off the worker
     file to anything else  sendfile
     else                   a buffer; once SPLICE_AFTER bytes have gone that way, a pipe and splice, which costs two
     descriptors and is
                            worth it for bulk only

   sendfile and splice know no MSG_DONTWAIT, so they are used with descriptors that do not block by themselves. Whoever
   refuses (-EINVAL and the like) is served by the buffer.

   A copy holds no descriptor while it waits for the other one: each can be closed at any time, which ends the copy at its
   next step. Its steps know the descriptors by their generations, so that none goes on with the number's next. */
#define _GNU_SOURCE 1 /* splice, copy_file_range */
#include "io/fd.h"
#include "io/sigpipe.h"
#include "io/transfer.h"
#include "weft/file.h"
#include "weft/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#define BUFFER ((size_t)16 << 10)
#define AT_ONCE ((int64_t)1 << 20) /* of a call into the kernel, so that it returns now and then */
#define SPLICE_AFTER ((int64_t)128 << 10)

struct end {
    int fd;
    uint64_t generation;
    enum wi_fd_kind kind;
    bool blocks;
};

/* One copy; done counts what has arrived. */
struct copy {
    struct end dst, src;
    int64_t left, done;
    bool ended; /* the source has */
};

static bool refused(ssize_t result)
{
    return result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP || result == -EXDEV || result == -EPERM ||
           result == -ETXTBSY || result == -EOVERFLOW;
}

static size_t at_most(int64_t n, int64_t most)
{
    return (size_t)(n < most ? n : most);
}

static void arrived(struct copy *copy, ssize_t n)
{
    copy->done += n;
    copy->left -= n;
}

static int look_at(int fd, struct end *end)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    int flags = fcntl(fd, F_GETFL);
    *end = (struct end){fd, wi_fd_generation(f), wi_fd_kind(f, fd), !(flags & O_NONBLOCK)};
    wi_fd_end(f, fd);
    return flags < 0 ? -EBADF : 0;
}

/* ---- a buffer ---- */

static ssize_t transfer(const struct end *end, enum wi_side side, char *buffer, size_t size)
{
    int error;
    struct wi_fd *f = wi_fd_begin_again(end->fd, end->generation, &error);
    if (!f)
        return error;
    ssize_t result = side == WI_READS ? wi_fd_transfer(f, end->fd, side, &(struct iovec){buffer, size}, 1)
                                      : wi_fd_transfer_all(f, end->fd, side, buffer, size);
    wi_fd_end(f, end->fd);
    return result;
}

static int copy_buffered(struct copy *copy, int64_t most)
{
    char *buffer = malloc(BUFFER);
    if (!buffer)
        return -ENOMEM;
    ssize_t result = 1;
    int64_t end = most < copy->left ? copy->left - most : 0;
    while (copy->left > end && (result = transfer(&copy->src, WI_READS, buffer, at_most(copy->left - end, BUFFER))) > 0) {
        result = transfer(&copy->dst, WI_WRITES, buffer, (size_t)result);
        if (result < 0)
            break;
        arrived(copy, result);
    }
    copy->ended = result == 0;
    free(buffer);
    return result < 0 ? (int)result : 0;
}

/* ---- file to file ---- */

struct range {
    struct wi_fd *dst, *src;
    int to, from;
    size_t n;
};

static ssize_t copy_range(struct range *range)
{
    return wi_result(copy_file_range(range->from, NULL, range->to, NULL, range->n, 0));
}

/* One step, during which both stay open. */
static ssize_t copy_some(const struct copy *copy)
{
    int error;
    struct range range = {.to = copy->dst.fd, .from = copy->src.fd, .n = at_most(copy->left, 16 * AT_ONCE)};
    ssize_t result;
    if (!(range.dst = wi_fd_begin_again(range.to, copy->dst.generation, &error)))
        return error;
    range.src = wi_fd_begin_again(range.from, copy->src.generation, &error);
    if (range.src) {
        result = weft_blocking(copy_range, &range);
        wi_fd_end(range.src, range.from);
        if (result == -EBADF)
            result = -EINVAL; /* of O_APPEND, say */
    } else {
        result = error;
    }
    wi_fd_end(range.dst, range.to);
    return result;
}

static int copy_files(struct copy *copy)
{
    while (copy->left > 0) {
        ssize_t result = copy_some(copy);
        if (result == -EINTR)
            continue;
        if (result <= 0)
            return (int)result; /* 0 may also be a file like those of /proc: the buffer will find out */
        arrived(copy, result);
    }
    return 0;
}

/* ---- sendfile ---- */

static ssize_t try_sendfile(enum wi_fd_kind kind, int dst, void *argument)
{
    const struct copy *copy = argument;
    int error;
    struct wi_fd *src = wi_fd_begin_again(copy->src.fd, copy->src.generation, &error);
    (void)kind;
    if (!src)
        return error;
    struct wi_sigpipe sigpipe;
    wi_sigpipe_block(&sigpipe);
    ssize_t result = wi_result(sendfile(dst, copy->src.fd, NULL, at_most(copy->left, AT_ONCE)));
    wi_sigpipe_restore(&sigpipe);
    wi_fd_end(src, copy->src.fd);
    return result;
}

/* The operation on an end, which waits for it. */
static ssize_t do_on(const struct end *end, enum wi_side side, wi_fd_attempt attempt, void *argument)
{
    int error;
    struct wi_fd *f = wi_fd_begin_again(end->fd, end->generation, &error);
    if (!f)
        return error;
    ssize_t result = wi_fd_do_begun(f, end->fd, side, attempt, argument, 0);
    wi_fd_end(f, end->fd);
    return result;
}

static int send_file(struct copy *copy)
{
    while (copy->left > 0) {
        ssize_t result = do_on(&copy->dst, WI_WRITES, try_sendfile, copy);
        if (result <= 0)
            return (int)result;
        arrived(copy, result);
    }
    return 0;
}

/* ---- splice ---- */

struct splicing {
    int pipe; /* its end */
    size_t n;
};

static ssize_t try_splice_in(enum wi_fd_kind kind, int src, void *argument)
{
    struct splicing *it = argument;
    (void)kind;
    return wi_result(splice(src, NULL, it->pipe, NULL, it->n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

static ssize_t try_splice_out(enum wi_fd_kind kind, int dst, void *argument)
{
    struct splicing *it = argument;
    (void)kind;
    struct wi_sigpipe sigpipe;
    wi_sigpipe_block(&sigpipe);
    ssize_t result = wi_result(splice(it->pipe, NULL, dst, NULL, it->n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
    wi_sigpipe_restore(&sigpipe);
    return result;
}

/* What is in the pipe to dst, by hand where splice is refused. */
static ssize_t empty_pipe(const struct end *dst, int out, size_t n)
{
    while (n > 0) {
        ssize_t result = do_on(dst, WI_WRITES, try_splice_out, &(struct splicing){out, n});
        if (refused(result)) {
            char some[1024];
            ssize_t got = read(out, some, n < sizeof some ? n : sizeof some); /* it is there: does not block */
            result = got > 0 ? transfer(dst, WI_WRITES, some, (size_t)got) : -EIO;
        }
        if (result <= 0)
            return result ? result : -EIO;
        n -= (size_t)result;
    }
    return 0;
}

/* Until splice says 0, which may be the end or an urgent byte: the buffer finds out. */
static int copy_spliced(struct copy *copy)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return 0; /* no descriptors to spare: the buffer needs none */
    ssize_t result = 1;
    while (copy->left > 0) {
        result = do_on(&copy->src, WI_READS, try_splice_in, &(struct splicing){ends[1], at_most(copy->left, AT_ONCE)});
        if (result <= 0)
            break;
        ssize_t error = empty_pipe(&copy->dst, ends[0], (size_t)result);
        if (error) {
            result = refused(error) ? -EIO : error; /* what is in the pipe is lost: no other way can go on */
            break;
        }
        arrived(copy, result);
    }
    close(ends[0]);
    close(ends[1]);
    return result < 0 ? (int)result : 0;
}

/* ---- the calls ---- */

int64_t weft_copy_n(int dst, int src, int64_t n)
{
    struct copy copy = {.left = n};
    int error = look_at(src, &copy.src);
    if (!error)
        error = look_at(dst, &copy.dst);
    if (error)
        return error;
    bool from_file = copy.src.kind == WI_FD_FILE, to_file = copy.dst.kind == WI_FD_FILE;
    if (from_file && to_file) {
        error = copy_files(&copy);
    } else if (from_file && !copy.dst.blocks) {
        error = send_file(&copy);
    } else if (!from_file && !to_file && !copy.src.blocks && !copy.dst.blocks) {
        error = copy_buffered(&copy, SPLICE_AFTER);
        if (error)
            return error; /* whatever it is: a part may be lost */
        if (!copy.ended && copy.left > 0)
            error = copy_spliced(&copy);
    }
    if (refused(error))
        error = 0;
    if (!error && !copy.ended && copy.left > 0)
        error = copy_buffered(&copy, INT64_MAX);
    return error ? error : copy.done;
}

int64_t weft_copy(int dst, int src)
{
    return weft_copy_n(dst, src, INT64_MAX);
}
