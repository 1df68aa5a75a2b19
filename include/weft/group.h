/* weft/group.h — goroutines with results: groups that fail together, and futures.

   Join is certain: neither weft_group_wait nor weft_await is ended by a context. A goroutine that panics gives its error,
   -ENOTRECOVERABLE, to its group or future instead of ending the program. */
#ifndef WEFT_GROUP_H
#define WEFT_GROUP_H

#include "ctx.h"
#include "sync.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

/* ---- group ---- */

/* Ready when zeroed: no limit. Not to be copied or moved while in use. After weft_group_wait it is as new, but for its
   limit. */
typedef struct weft_group {
    weft_waitgroup running; /* opaque, all */
    weft_ctx *ctx;
    char *panic;
    void *waiters;
    uint32_t limit, busy;
    int32_t error;
} weft_group;

/* weft_group g = WEFT_GROUP(8): at most 8 goroutines at a time; 0: any number. */
#define WEFT_GROUP(n)                                                                                                       \
    {                                                                                                                       \
        .limit = (n)                                                                                                        \
    }

/* Starts fn, which returns int, in the group's context, a child of the one that the first caller runs in (under a shield:
   with its values only). The first negative result of all cancels that context, with the result as its cause. Blocks while
   as many run as the limit says, whatever becomes of the context. 0, or -ENOMEM or -EAGAIN when it could not be started,
   which counts as a result too. */
WEFT_API int weft_group_spawn_(weft_group *g, const weft_site *site, weft_fn_ fn, const uintptr_t *words);
/* The same, but never blocks: -EBUSY when as many run as the limit says, which is no result. */
WEFT_API int weft_group_try_spawn_(weft_group *g, const weft_site *site, weft_fn_ fn, const uintptr_t *words);
/* Blocks until all have ended; only the goroutine that owns the group may wait. The first negative result, else 0. The
   group's context has ended then. */
WEFT_API int weft_group_wait(weft_group *g);
/* Cancels the group's context with a cause, a negative errno, that weft_group_wait gives unless an error came first. */
WEFT_API void weft_group_cancel(weft_group *g, int cause);
/* The group's context, without a reference: valid until weft_group_wait. It is made when it is not there. NULL: no
   memory. */
WEFT_API weft_ctx *weft_group_ctx(weft_group *g);
/* After a wait: the message and stack of the first panic; NULL when there was none. Valid until the group is used again or
   weft_group_clear. */
WEFT_API const char *weft_group_panic(const weft_group *g);
/* Frees that text, when the group is not used again. */
WEFT_API void weft_group_clear(weft_group *g);

typedef struct weft_group_scope_ {
    weft_scope_ scope;
} weft_group_scope_;
WEFT_API void weft_group_scope_leave_(weft_group_scope_ *scope);
WEFT_API void weft_scoped_group_(weft_group_scope_ *scope, weft_group *g);

/* ---- future ---- */

typedef struct weft_future_core weft_future_core;

/* Starts fn, which returns an integer or a pointer, in a goroutine; its result is for one weft_future_core_await. NULL: no
   memory. Never blocks. */
WEFT_API weft_future_core *weft_async_(void *unused, const weft_site *site, weft_fn_ fn, const uintptr_t *words);
/* Blocks until fn has returned, stores the size bytes of its result (NULL: drops it) and frees the future: to be called
   once. 0; -ENOTRECOVERABLE when fn panicked or its goroutine exited, -ENOMEM when future is NULL, both with a zeroed
   result. *panic (NULL: not wanted) is then the message and stack, to be freed by the caller, or NULL. */
WEFT_API int weft_future_core_await(weft_future_core *future, void *result, size_t size, char **panic);
/* True when await would not block. */
WEFT_API bool weft_future_core_ready(const weft_future_core *future);
/* Frees the future without its result, be that a panic; what runs goes on. NULL: nothing. Never blocks. */
WEFT_API void weft_future_core_free(weft_future_core *future);

WEFT_END_DECLS_

#ifndef __cplusplus

/* weft_group_go(&g, fn, args...) */
#define weft_group_go(...) WEFT_CALL_(weft_group_spawn_, int, __VA_ARGS__)
/* weft_group_try_go(&g, fn, args...) */
#define weft_group_try_go(...) WEFT_CALL_(weft_group_try_spawn_, int, __VA_ARGS__)
/* weft_scoped_group(&g); at the end of the enclosing block the group's context is cancelled and all its goroutines are
   joined, so that they may use what the block declared before it. To be written before the first weft_group_go. A
   weft_group_wait before is fine. */
#define weft_scoped_group(g) WEFT_SCOPED_GROUP_(WEFT_CAT_(weft_scoped_, __COUNTER__), _Generic((g), weft_group * : (g)))
#define WEFT_SCOPED_GROUP_(name, g)                                                                                         \
    weft_group_scope_ name __attribute__((cleanup(weft_group_scope_leave_), unused)),                                       \
        *WEFT_CAT_(name, _entered) __attribute__((unused)) = (weft_scoped_group_(&name, (g)), &name)

/* weft_future(T) f = weft_async(fn, args...): T is what fn returns. */
#define weft_future(T) __typeof__(__typeof__(T)(*(*)[])(weft_future_core *))
/* clang-format off */
#define WEFT_RESULT_(f) __typeof__((*(f))[0](NULL))
#define WEFT_FUTURE_CORE_(f) ((weft_future_core *)(void *)_Generic((f), weft_future(WEFT_RESULT_(f)): (f)))
#define weft_async(...) WEFT_ASYNC_(WEFT_ARGS_(__VA_ARGS__))
#define WEFT_ASYNC_(...) WEFT_ASYNC2_(__VA_ARGS__)
#define WEFT_ASYNC2_(fn, count, args, nulls, words)                                                                         \
    __extension__({                                                                                                         \
        _Static_assert(!__builtin_types_compatible_p(__typeof__((fn)args), void), #fn " must return a value");              \
        (weft_future(__typeof__((fn)args)))(void *)                                                                         \
            WEFT_CALL3_(weft_async_, WEFT_RETURNS_WORD_, , NULL, fn, count, args, nulls, words);                            \
    })
/* weft_await(f, &result) or weft_await(f, NULL) */
#define weft_await(f, p) weft_await_panic(f, p, NULL)
/* The same with a char *panic to be set, as weft_future_core_await says. */
#define weft_await_panic(f, p, panic)                                                                                       \
    __extension__({                                                                                                         \
        WEFT_STRICT_                                                                                                        \
        void *weft_into_ = _Generic((1 ? (p) : (WEFT_RESULT_(f) *)0), WEFT_RESULT_(f) *: (p));                              \
        int weft_error_ = weft_future_core_await(WEFT_FUTURE_CORE_(f), weft_into_, sizeof(WEFT_RESULT_(f)), (panic));       \
        WEFT_RELAX_                                                                                                         \
        weft_error_;                                                                                                        \
    })
/* clang-format on */
#define weft_future_ready(f) weft_future_core_ready(WEFT_FUTURE_CORE_(f))
#define weft_future_free(f) weft_future_core_free(WEFT_FUTURE_CORE_(f))

#endif /* !__cplusplus */
#endif
