/* weft/io.h — reading, writing and waiting for plain file descriptors, so that only the goroutine blocks.

   Descriptors are the kernel's: they mix with existing code, in both directions. Whatever kind they are of (socket, pipe,
   terminal, eventfd, file), blocking or not, the calls here do the same; a descriptor's own flags are not changed, but for
   listening sockets, which weft_accept makes non-blocking. Any number of goroutines may use one at the same time. All calls
   may be made from any thread. Those that say "blocks" may move the goroutine to another thread.

   Errors of all calls: a negative errno of the system call behind it, and
     -EBADF       no descriptor, or it was closed by weft_close_fd meanwhile
     -ETIMEDOUT   the descriptor's deadline passed, or that of the context that the caller runs in
     -ECANCELED   the context that the caller runs in ended
     -ENOMEM      no memory for weft's record of the descriptor
   never -EINTR or -EAGAIN; writing to a pipe or connection without a reader gives -EPIPE and no SIGPIPE. The calls that
   transfer all do not tell how much was transferred before an error.

   A descriptor that one of these calls was made with shall be closed by weft_close_fd (or, with libweft_hook, by close):
   weft would otherwise take the next one with its number for the same.

   A pipe whose O_NONBLOCK is clear, and that several write to or several read from, is best made non-blocking where the
   kernel has no RWF_NOWAIT for it: Linux has none for FIFOs and terminals, and had none for pipes until 2023. weft looks
   first there, but somebody else may be faster. The call then blocks its thread until there is room or data, no deadline or
   context ends it, and weft_close_fd waits for it. */
#ifndef WEFT_IO_H
#define WEFT_IO_H

#include "time.h"
#pragma GCC system_header /* see macros.h */

#include <poll.h>
#include <sys/types.h>

struct iovec;
struct msghdr;
struct sockaddr;

WEFT_BEGIN_DECLS_

/* ---- once ---- */

/* As read(2), readv(2): waits until there is something. The number of bytes; 0 at the end (or for size 0). Blocks. */
WEFT_API ssize_t weft_read(int fd, void *buffer, size_t size);
WEFT_API ssize_t weft_readv(int fd, const struct iovec *parts, int n);
/* As write(2), writev(2): waits until something can be written, and writes at least one byte, perhaps not all. Blocks. */
WEFT_API ssize_t weft_write(int fd, const void *buffer, size_t size);
WEFT_API ssize_t weft_writev(int fd, const struct iovec *parts, int n);
/* As recvfrom(2), sendto(2), recvmsg(2), sendmsg(2), on sockets. length is a socklen_t *. Blocks, unless flags have
   MSG_DONTWAIT, which makes -EAGAIN possible. */
WEFT_API ssize_t weft_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from, unsigned *length);
WEFT_API ssize_t weft_sendto(int fd, const void *buffer, size_t size, int flags, const struct sockaddr *to, unsigned length);
WEFT_API ssize_t weft_recvmsg(int fd, struct msghdr *message, int flags);
WEFT_API ssize_t weft_sendmsg(int fd, const struct msghdr *message, int flags);

/* ---- all ---- */

/* Reads size bytes; fewer only when the end comes first. The number of bytes. Blocks. */
WEFT_API ssize_t weft_read_full(int fd, void *buffer, size_t size);
/* Writes all of it. size. What others write at the same time may come in between. Blocks. */
WEFT_API ssize_t weft_write_all(int fd, const void *buffer, size_t size);
/* Copies from src to dst until src ends, inside the kernel where it can (splice, sendfile, copy_file_range), without reading
   ahead of what dst takes. The number of bytes; an error of either side. Blocks. */
WEFT_API int64_t weft_copy(int dst, int src);
/* The same, up to n bytes. */
WEFT_API int64_t weft_copy_n(int dst, int src, int64_t n);

/* ---- lines ---- */

typedef struct weft_reader weft_reader;
/* A buffer of capacity bytes in front of a descriptor. To be used by one goroutine at a time. It does not own the
   descriptor. NULL: no memory. */
WEFT_API weft_reader *weft_reader_make(int fd, size_t capacity);
/* The next line: its length with the newline, which only the last line may lack; 0 at the end. *line points into the buffer
   until the next call; there is no terminating zero. -EMSGSIZE: the line is longer than the buffer; what is in the buffer
   can then be had by weft_reader_read. Blocks. */
WEFT_API ssize_t weft_reader_line(weft_reader *reader, char **line);
/* As weft_read, what is buffered first. */
WEFT_API ssize_t weft_reader_read(weft_reader *reader, void *buffer, size_t size);
/* NULL: nothing. */
WEFT_API void weft_reader_free(weft_reader *reader);

/* ---- waiting, closing ---- */

/* Waits until one of events (POLLIN, POLLOUT, POLLPRI, POLLRDHUP) is there; returns those that are, as poll(2) does, with
   POLLERR and POLLHUP. Returns at once when one is there already. For descriptors that another library reads and writes.
   A regular file is always ready. The deadline for reading counts, unless only writing is waited for. Blocks. */
WEFT_API int weft_wait_fd(int fd, int events);
/* Reading (events has POLLIN) or writing (POLLOUT) fails with -ETIMEDOUT from deadline_ns on, a time of weft_now(), whether
   it would have to wait or not; INT64_MAX: never, as at first. Calls that wait already are concerned too. Transfers of
   files have no deadline. Never blocks. */
WEFT_API int weft_fd_set_deadline(int fd, int events, int64_t deadline_ns);
/* As shutdown(2). Never blocks. */
WEFT_API int weft_shutdown_fd(int fd, int how);
/* Closes the descriptor. Calls that wait for it end with -EBADF, others that are under way are let finish; when
   weft_close_fd returns the descriptor is closed, and none of them can meet another one of its number. -EBADF: no
   descriptor, or somebody is closing it already. Blocks, but for no longer than those calls need to return; no context
   ends it. */
WEFT_API int weft_close_fd(int fd);

/* ---- for libweft_hook, which turns libc's blocking calls into waits of the goroutine ---- */

/* Whether the caller is a goroutine that could wait now: neither pinned, nor inside weft or a hooked call already, nor on
   a stack of somebody else's. Never blocks. */
WEFT_API bool weft_hooked_(void);
/* As weft_wait_fd; -ETIME at until_ns, a time of weft_now(); INT64_MAX: never. Blocks. */
WEFT_API int weft_wait_fd_until_(int fd, int events, int64_t until_ns);
/* After a part of what MSG_WAITALL wants of a stream socket: whether to go on, once there is something, up to until_ns. The
   socket's error is told once, and the next call shall get it. Blocks. */
WEFT_API bool weft_has_more_(int fd, int64_t until_ns);
/* One try of what may have to wait, without blocking: 0 or more, or a negative errno; -EAGAIN: it has to wait. */
typedef ssize_t (*weft_attempt_)(int fd, void *argument);
/* Attempts until the result is not -EAGAIN, and waits for events, POLLIN or POLLOUT, in between; -ETIME at until_ns.
   whole: how much a transfer that leaves nothing more to do might transfer; 0: unknown. Blocks. */
WEFT_API ssize_t weft_attempt_fd_(int fd, int events, weft_attempt_ attempt, void *argument, size_t whole, int64_t until_ns);
/* Whether weft knows of the descriptor, so that only weft_close_fd may close it. Never blocks. */
WEFT_API bool weft_knows_fd_(int fd);
/* It is about to be closed by somebody else. Never blocks. */
WEFT_API void weft_forget_fd_(int fd);

WEFT_END_DECLS_

#endif
