/* weft/go.h — starting goroutines, and what a goroutine can ask about itself. */
#ifndef WEFT_GO_H
#define WEFT_GO_H

#include "macros.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

typedef struct weft_ctx weft_ctx;

/* Options of weft_go_opt, versioned by size: write WEFT_OPTIONS(.name = "reader", .stack_size = 1 << 20). */
typedef struct weft_options {
    size_t size;       /* sizeof(weft_options), as the caller was compiled */
    const char *name;  /* shown by reports; the first 55 bytes are copied; NULL for none */
    size_t stack_size; /* bytes, rounded up to a power of two; 0 for the default, 256 KiB */
    weft_ctx *ctx;     /* what it runs in; NULL for what the caller runs in */
} weft_options;

/* ---- the untyped core: for C++, other languages and debuggers ---- */

/* Starts a goroutine that calls fn with site->arguments words. May be called from any thread; never blocks. options may be
   NULL. Fatal, with a message, when memory or threads are exhausted. What happened before the call happens before fn.
   site must live as long as the program (static storage). */
WEFT_API void weft_spawn_(const weft_options *options, const weft_site *site, weft_fn_ fn, const uintptr_t *words);
/* The same, but 0, -ENOMEM (no memory), -EAGAIN (no thread could be made, or the runtime is shutting down) or -EINVAL
   (bad options). */
WEFT_API int weft_try_spawn_(const weft_options *options, const weft_site *site, weft_fn_ fn, const uintptr_t *words);
/* Starts a goroutine that calls fn with a pointer to its own copy of the object, valid until fn returns. */
WEFT_API void weft_spawn_copy_(const weft_site *site, weft_fn_ fn, const void *object, size_t size, size_t align);
/* Runs fn, which returns int, as the main goroutine and blocks the calling thread until it returned. Fatal inside a
   goroutine. Goroutines that still run then go on. */
WEFT_API int weft_run_(const weft_options *options, const weft_site *site, weft_fn_ fn, const uintptr_t *words);

/* ---- the calls ---- */

/* Gives the CPU to other goroutines that are ready; returns when it is this one's turn again. Blocks; may move the
   goroutine to another thread. On a foreign thread: sched_yield. */
WEFT_API void weft_yield(void);
/* How many goroutines may run at once: WEFT_PROCS, else the affinity mask limited by the cgroup's CPU quota. Never
   blocks. */
WEFT_API int weft_procs(void);
/* The id of the calling goroutine, 1 or more, never reused; 0 on a foreign thread. Never blocks. */
WEFT_API uint64_t weft_id(void);
/* Names the calling goroutine for reports; the first 55 bytes are copied; NULL removes the name. Returns 0, -ENOMEM, or
   -EINVAL on a foreign thread. Never blocks. */
WEFT_API int weft_name(const char *name);
/* The number of goroutines that have started and not ended, parked and not yet run ones included. Never blocks. */
WEFT_API size_t weft_count(void);
/* Keeps the calling goroutine on its thread, and every other goroutine off it, until weft_unpin was called as often. For
   libraries with thread-local state. On a foreign thread they do nothing. Unbalanced weft_unpin is fatal. */
WEFT_API void weft_pin(void);
WEFT_API void weft_unpin(void);
/* For libweft_hook, and whatever else makes waits of calls that their callers take for blocking ones: while set, every
   wait of the calling goroutine ends on the thread where it began; other goroutines run there meanwhile, and while one of
   them computes or blocks in code that is not weft's, the wait lasts. Returns what it was. On a foreign thread it does
   nothing. Never blocks. */
WEFT_API bool weft_stay_(bool stay);
/* errno of the thread the goroutine is on now: compilers cache errno's address across calls that can move a goroutine. */
WEFT_API int weft_errno(void);
/* Waits up to deadline_ns nanoseconds until every goroutine has ended, then joins weft's threads and frees its memory; the
   next call starts a fresh runtime. No other thread may use weft meanwhile, except that goroutines may still start others.
   A thread that is inside weft_scoped_use or weft_scoped_shield then is in the background context until it has left them.
   Returns 0, -ETIMEDOUT (goroutines remain; everything goes on as before), -EDEADLK inside a goroutine. Blocks. */
WEFT_API int weft_shutdown(int64_t deadline_ns);

WEFT_END_DECLS_

#ifndef __cplusplus

/* A pointer to options that are valid until the end of the enclosing block. */
#define WEFT_OPTIONS(...) (&(const weft_options){.size = sizeof(weft_options) __VA_OPT__(, ) __VA_ARGS__})
/* weft_go(fn, args...): starts a goroutine. fn is a function that returns void and takes 0 to 6 integer or pointer
   arguments, type-checked like a call and evaluated now. Fatal when out of memory. */
#define weft_go(...) WEFT_CALL_(weft_spawn_, void, NULL, __VA_ARGS__)
/* weft_try_go(fn, args...): the same; 0, -ENOMEM or -EAGAIN. */
#define weft_try_go(...) WEFT_CALL_(weft_try_spawn_, void, NULL, __VA_ARGS__)
/* weft_go_opt(WEFT_OPTIONS(.name = "reader"), fn, args...): with a name, a stack size. */
#define weft_go_opt(...) WEFT_CALL_(weft_spawn_, void, __VA_ARGS__)
/* weft_run(fn, args...): fn returns int and runs as the main goroutine; gives its result. */
#define weft_run(...) WEFT_CALL_(weft_run_, int, NULL, __VA_ARGS__)
/* weft_go_with(fn, (struct job){...}): copies the object for the goroutine and calls fn(struct job *). */
/* clang-format off */
#define weft_go_with(fn, ...)                                                                                               \
    __extension__({                                                                                                         \
        __typeof__(__VA_ARGS__) weft_object_ = (__VA_ARGS__);                                                               \
        WEFT_STRICT_                                                                                                        \
        if (0) (void)(fn)(&weft_object_);                                                                                   \
        WEFT_RELAX_                                                                                                         \
        _Static_assert(__builtin_types_compatible_p(__typeof__((fn)(&weft_object_)), void), #fn " must return void");       \
        static const weft_site weft_site_ = {__FILE__, #fn, __LINE__, 1};                                                   \
        weft_spawn_copy_(&weft_site_, (weft_fn_)(fn), &weft_object_, sizeof weft_object_,                                   \
                         _Alignof(__typeof__(weft_object_)));                                                               \
    })
/* clang-format on */

#endif /* !__cplusplus */
#endif
