/* weft/file.h — files, and calls that block in the kernel.

   Files are never "not ready", so these calls hand the work to the kernel (io_uring) or to a thread that holds no worker,
   with the same results. What the page cache has or takes is done at once. All block, may be made from any thread, and
   return negative errnos. A context that ends does not end them: a transfer cannot be taken back. */
#ifndef WEFT_FILE_H
#define WEFT_FILE_H

#include "io.h"
#pragma GCC system_header /* see macros.h */

struct stat;

WEFT_BEGIN_DECLS_

/* As open(2), with O_CLOEXEC: flags that create are followed by a mode_t. The descriptor. Opening a FIFO or a terminal may
   wait for long. */
WEFT_API int weft_open(const char *path, int flags, ...);
/* As pread(2), pwrite(2): the number of bytes, which may be fewer than asked. */
WEFT_API ssize_t weft_pread(int fd, void *buffer, size_t size, int64_t offset);
WEFT_API ssize_t weft_pwrite(int fd, const void *buffer, size_t size, int64_t offset);
/* As fsync(2), fdatasync(2). */
WEFT_API int weft_fsync(int fd);
WEFT_API int weft_fdatasync(int fd);
/* As stat(2), lstat(2). */
WEFT_API int weft_stat(const char *path, struct stat *into);
WEFT_API int weft_lstat(const char *path, struct stat *into);

/* ---- walking a directory tree ---- */

typedef struct weft_walk weft_walk;
/* What weft_walk_next found. */
typedef struct weft_entry {
    const char *path; /* root "/" ... name; valid until the next call */
    const char *name; /* the last part of it */
    int depth;        /* 0: the root itself */
    int type;         /* DT_DIR, DT_REG, DT_LNK ... of dirent.h */
    int error;        /* 0; or why it could not be looked at: a negative errno. An unreadable directory comes twice */
} weft_entry;
/* A walk over root and everything below: directories before what is in them, names in byte order, symbolic links not
   followed. NULL: no memory. Never blocks. */
WEFT_API weft_walk *weft_walk_open(const char *root);
/* True: the next entry, which may be one with an error; false: there are no more. */
WEFT_API bool weft_walk_next(weft_walk *walk, weft_entry *entry);
/* Does not go into the directory that weft_walk_next gave last. */
WEFT_API void weft_walk_skip(weft_walk *walk);
/* NULL: nothing. */
WEFT_API void weft_walk_close(weft_walk *walk);

/* ---- any other call that blocks ---- */

/* Calls fn on the calling thread, which gives its worker away first. What fn returns, as a word. */
WEFT_API uintptr_t weft_blocking_(void *unused, const weft_site *site, weft_fn_ fn, const uintptr_t *words);

WEFT_END_DECLS_

#ifndef __cplusplus

/* weft_blocking(fn, args...): what fn(args...) returns. For a call that is known to block for long: others have the CPU at
   once. (Without it the call is noticed after a millisecond or so.) fn returns nothing, an integer or a pointer and takes
   0 to 6 arguments; it may use weft like any thread. errno afterwards, by weft_errno(), is what fn left. Blocks; may move
   the goroutine. */
#define weft_blocking(...) WEFT_BLOCKING_(WEFT_ARGS_(__VA_ARGS__))
/* clang-format off */
#define WEFT_BLOCKING_(...) WEFT_BLOCKING2_(__VA_ARGS__)
#define WEFT_BLOCKING2_(fn, count, args, nulls, words)                                                                      \
    ((__typeof__((fn)args))(WEFT_CALL3_(weft_blocking_, WEFT_RETURNS_WORD_, , NULL, fn, count, args, nulls, words) &        \
                            __builtin_choose_expr(__builtin_types_compatible_p(__typeof__((fn)args), _Bool),                \
                                                  (uintptr_t)0xff /* the rest is not defined */, UINTPTR_MAX)))
/* clang-format on */

#endif /* !__cplusplus */
#endif
