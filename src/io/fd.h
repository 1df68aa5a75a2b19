/* fd.h — what weft knows of a file descriptor, and operations on it that wait. */
#ifndef WI_FD_H
#define WI_FD_H

#include "io/poller.h"

enum wi_side { WI_READS, WI_WRITES };

/* What a descriptor is; found out at its first use, or said by who makes it. */
enum wi_fd_kind {
    WI_FD_UNKNOWN,
    WI_FD_FILE,     /* the poller does not take it: regular files, directories, block devices */
    WI_FD_STREAM,   /* an Internet stream socket: a transfer of less than asked leaves nothing more to do now */
    WI_FD_SOCKET,   /* any other socket */
    WI_FD_OPEN,     /* pollable, O_NONBLOCK is set */
    WI_FD_BLOCKING, /* pollable, O_NONBLOCK is not set */
};

struct wi_fd;

/* Begins an operation: until wi_fd_end the descriptor stays open and the same, whoever closes it by weft_close_fd. NULL:
   *error is -EBADF or -ENOMEM. Callable outside weft. */
struct wi_fd *wi_fd_begin(int fd, int *error);
void wi_fd_end(struct wi_fd *f, int fd);
enum wi_fd_kind wi_fd_kind(struct wi_fd *f, int fd);
/* Begins another operation on the descriptor that one was begun on before, when it had this generation: NULL and -EBADF
   when it has been closed since. For calls that wait for one descriptor while another may be closed. */
uint64_t wi_fd_generation(struct wi_fd *f);
struct wi_fd *wi_fd_begin_again(int fd, uint64_t generation, int *error);

/* One attempt that does not block, outside weft: 0 or more, or a negative errno; -EAGAIN: it has to wait. */
typedef ssize_t (*wi_fd_attempt)(enum wi_fd_kind kind, int fd, void *argument);
#define WI_FD_APART SIZE_MAX /* as whole: that nothing is there for it says nothing of other transfers */
/* Attempts until the result is none of -EAGAIN and -EINTR, waiting for the side in between. whole: a stream's result that
   is less than this means that there is nothing more to do now. Outside weft; blocks. */
ssize_t wi_fd_do_begun(struct wi_fd *f, int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, size_t whole);
/* The same for an operation that it begins and ends. */
ssize_t wi_fd_do(int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, size_t whole);

/* The same up to until_ns (0: for ever): -ETIME when that came first. */
ssize_t wi_fd_do_until(int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, size_t whole, int64_t until_ns);
/* weft_wait_fd up to until_ns (0: for ever): -ETIME when that came first. */
int wi_fd_wait_until(int fd, int events, int64_t until_ns);
/* Whether anything is known of the descriptor, so that weft has to know of its end. Not so while weft itself closes it.
   Callable anywhere. */
bool wi_fd_known(int fd);

/* Transfers of an operation that was begun: of some bytes, as readv(2) and writev(2); of all, unless the end comes first
   (rw.c). */
struct iovec;
ssize_t wi_fd_transfer(struct wi_fd *f, int fd, enum wi_side side, const struct iovec *parts, int n);
ssize_t wi_fd_transfer_all(struct wi_fd *f, int fd, enum wi_side side, char *buffer, size_t size);

/* fd is new, made by weft for the program: what was known of its number is forgotten. 0 or -ENOMEM. Callable outside
   weft. */
int wi_fd_new(int fd, enum wi_fd_kind kind);

/* Has who waits for the sides look again. */
void wi_fd_wake(struct wi_fd *f, bool reads, bool writes);

/* For the poller (fd_wait.c, fd.c). */
void wi_fd_event(uint64_t key, uint32_t events, struct wi_polled *polled);
void wi_fd_prefetch(uint64_t key);
void wi_fd_prefetch_waiter(uint64_t key);
void wi_fds_stop(void);
void wi_fds_forget(void);

#endif
