/* copy.c — from one descriptor to another, inside the kernel where it can:

     file to file           copy_file_range, off the worker
     file to anything else  sendfile
     else                   a buffer; once SPLICE_AFTER bytes have gone that way, a pipe and splice, which costs two descriptors and is worth it
                            for bulk only

   sendfile and splice know no MSG_DONTWAIT, so they are used with descriptors that do not block by themselves. Whoever refuses
   (-EINVAL and the like) is served by the buffer. */
#define _GNU_SOURCE 1 /* splice, copy_file_range */
#include "io/fd.h"
#include "weft/file.h"
#include "weft/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <unistd.h>

#define BUFFER ((size_t)16 << 10)
#define AT_ONCE ((int64_t)1 << 20) /* of a call into the kernel, so that it returns now and then */
#define SPLICE_AFTER ((int64_t)128 << 10)

static ssize_t result_of(ssize_t result)
{
    return result >= 0 ? result : -errno;
}

static bool refused(ssize_t result)
{
    return result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP || result == -EXDEV || result == -EBADF ||
           result == -EPERM || result == -ETXTBSY || result == -EOVERFLOW;
}

static size_t at_most(int64_t n, int64_t most)
{
    return (size_t)(n < most ? n : most);
}

/* Of a descriptor that is in use: what it is, and whether it blocks. */
struct side {
    enum wi_fd_kind kind;
    bool blocks;
};

static int look_at(int fd, struct side *side)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    side->kind = wi_fd_kind(f, fd);
    int flags = fcntl(fd, F_GETFL);
    side->blocks = flags >= 0 && !(flags & O_NONBLOCK);
    wi_fd_end(f, fd);
    return flags < 0 ? -EBADF : 0;
}

/* ---- a buffer ---- */

/* Up to n bytes, ending early when the source does. *done counts what has arrived, whatever the result, 0 or an error, is. */
static int copy_buffered(int dst, int src, int64_t n, int64_t *done, bool *ended)
{
    char *buffer = malloc(BUFFER);
    if (!buffer)
        return -ENOMEM;
    ssize_t result = 1;
    while (n > 0 && (result = weft_read(src, buffer, at_most(n, BUFFER))) > 0) {
        n -= result;
        result = weft_write_all(dst, buffer, (size_t)result);
        if (result < 0)
            break;
        *done += result;
    }
    *ended = result == 0;
    free(buffer);
    return result < 0 ? (int)result : 0;
}

/* ---- file to file ---- */

struct range {
    int dst, src;
    size_t n;
};

static ssize_t copy_range(struct range *range)
{
    return result_of(copy_file_range(range->src, NULL, range->dst, NULL, range->n, 0));
}

static int copy_files(int dst, int src, int64_t n, int64_t *done)
{
    while (n > 0) {
        struct range range = {dst, src, at_most(n, 16 * AT_ONCE)};
        ssize_t result = weft_blocking(copy_range, &range);
        if (result == -EINTR)
            continue;
        if (result <= 0)
            return (int)result; /* 0 may also be a file like those of /proc: the buffer will find out */
        *done += result;
        n -= result;
    }
    return 0;
}

/* ---- sendfile ---- */

struct sending {
    int src;
    int64_t left;
};

static ssize_t try_sendfile(enum wi_fd_kind kind, int dst, void *argument)
{
    struct sending *it = argument;
    (void)kind;
    return result_of(sendfile(dst, it->src, NULL, at_most(it->left, AT_ONCE)));
}

static int send_file(int dst, int src, int64_t n, int64_t *done)
{
    struct sending it = {src, n};
    while (it.left > 0) {
        ssize_t result = wi_fd_do(dst, WI_WRITES, try_sendfile, &it, 0);
        if (result <= 0)
            return (int)result;
        *done += result;
        it.left -= result;
    }
    return 0;
}

/* ---- splice ---- */

struct splicing {
    int other; /* the pipe's end */
    size_t n;
};

static ssize_t try_splice_in(enum wi_fd_kind kind, int src, void *argument)
{
    struct splicing *it = argument;
    (void)kind;
    return result_of(splice(src, NULL, it->other, NULL, it->n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

static ssize_t try_splice_out(enum wi_fd_kind kind, int dst, void *argument)
{
    struct splicing *it = argument;
    (void)kind;
    return result_of(splice(it->other, NULL, dst, NULL, it->n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

/* What is in the pipe to dst, by hand where splice is refused. */
static ssize_t empty_pipe(int dst, int out, size_t n)
{
    while (n > 0) {
        ssize_t result = wi_fd_do(dst, WI_WRITES, try_splice_out, &(struct splicing){out, n}, 0);
        if (refused(result)) {
            char some[1024];
            ssize_t got = read(out, some, n < sizeof some ? n : sizeof some); /* it is there: does not block */
            result = got > 0 ? weft_write_all(dst, some, (size_t)got) : -EIO;
        }
        if (result <= 0)
            return result ? result : -EIO;
        n -= (size_t)result;
    }
    return 0;
}

static int copy_spliced(int dst, int src, int64_t n, int64_t *done, bool *ended)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return -EINVAL; /* no descriptors to spare: the buffer needs none */
    ssize_t result = 1;
    while (n > 0 && result > 0) {
        result = wi_fd_do(src, WI_READS, try_splice_in, &(struct splicing){ends[1], at_most(n, AT_ONCE)}, 0);
        if (result <= 0)
            break;
        ssize_t error = empty_pipe(dst, ends[0], (size_t)result);
        if (error) {
            result = error == -EINVAL ? -EIO : error;
            break;
        }
        *done += result;
        n -= result;
    }
    *ended = result == 0;
    close(ends[0]);
    close(ends[1]);
    return result < 0 ? (int)result : 0;
}

/* ---- the calls ---- */

int64_t weft_copy_n(int dst, int src, int64_t n)
{
    struct side from = {0}, to = {0};
    int error = look_at(src, &from);
    if (!error)
        error = look_at(dst, &to);
    if (error)
        return error;
    int64_t done = 0;
    bool ended = false, files = from.kind == WI_FD_FILE;
    if (files && to.kind == WI_FD_FILE)
        error = copy_files(dst, src, n, &done);
    else if (files && !to.blocks)
        error = send_file(dst, src, n, &done);
    else if (!files && to.kind != WI_FD_FILE && !from.blocks && !to.blocks &&
             !(error = copy_buffered(dst, src, n < SPLICE_AFTER ? n : SPLICE_AFTER, &done, &ended)) && !ended && done < n)
        error = copy_spliced(dst, src, n - done, &done, &ended);
    if (error && !refused(error))
        return error;
    if (!ended && done < n)
        error = copy_buffered(dst, src, n - done, &done, &ended);
    return error ? error : done;
}

int64_t weft_copy(int dst, int src)
{
    return weft_copy_n(dst, src, INT64_MAX);
}
