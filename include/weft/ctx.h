/* weft/ctx.h — contexts: deadlines and cancellation that reach every wait.

   A context is the root (background, which never ends) or the child of another. It ends when it is cancelled, when its
   deadline comes, or when its parent ends, and then for good; all its descendants end with it, in linear time.

   A goroutine runs in a context, the *current* one, which it inherits at weft_go; weft_scoped_use changes it for a block.
   When the current context ends, a wait that would block — receive, send, select, sleep, semaphore, condition, descriptors,
   weft_resolve, child processes — ends with -ECANCELED or -ETIMEDOUT, also one that has begun. An operation that can
   complete at once completes. Lock, once, WaitGroup, group and future waits are never ended: what follows them relies on
   them. Foreign threads have a current context too, background at first.

   Contexts are counted: whoever makes one has a reference and drops it by weft_ctx_free; children and the goroutines that
   run in it have their own. All functions may be called from any goroutine or thread; none blocks. What the canceller did
   before weft_ctx_cancel happens before what a goroutine does after it has seen the end. */
#ifndef WEFT_CTX_H
#define WEFT_CTX_H

#include "chan.h"
#include "go.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

/* The root: never ends, needs no free. */
WEFT_API weft_ctx *weft_ctx_background(void);
/* The context that the caller runs in; valid while it runs in it, without a reference. */
WEFT_API weft_ctx *weft_ctx_current(void);

/* Children, each with one reference; NULL when out of memory, or when parent is NULL. A child of an ended parent has
   ended. */
WEFT_API weft_ctx *weft_ctx_with_cancel(weft_ctx *parent);
/* Ends with -ETIMEDOUT after ns nanoseconds, at once when ns <= 0; or earlier, as its parent. */
WEFT_API weft_ctx *weft_ctx_with_timeout(weft_ctx *parent, int64_t ns);
/* The same at a time of weft_now; INT64_MAX never. */
WEFT_API weft_ctx *weft_ctx_with_deadline(weft_ctx *parent, int64_t deadline_ns);
/* Ends as its parent; weft_ctx_value gives value for key, which is compared as a pointer. Neither is touched or freed. */
WEFT_API weft_ctx *weft_ctx_with_value(weft_ctx *parent, const void *key, void *value);
/* Has the parent's values, but never ends. */
WEFT_API weft_ctx *weft_ctx_without_cancel(weft_ctx *parent);

/* Ends the context with -ECANCELED, unless it has ended; one made by _with_value or _without_cancel ends nothing (a child of
   background with a value cannot be cancelled): fatal. NULL does nothing. */
WEFT_API void weft_ctx_cancel(weft_ctx *ctx);
/* (Two that cancel at the same time: the call that comes second may return before the first has ended all waits.) */
/* The same with a cause, a negative errno that weft_ctx_cause gives for the context and all that end with it. */
WEFT_API void weft_ctx_cancel_cause(weft_ctx *ctx, int cause);
/* 0 while it goes on; -ECANCELED or -ETIMEDOUT once it ended. */
WEFT_API int weft_ctx_err(const weft_ctx *ctx);
/* The cause it was cancelled with, else the same as weft_ctx_err. */
WEFT_API int weft_ctx_cause(const weft_ctx *ctx);
/* The value of the nearest context, this one included, that has one for key; else NULL. */
WEFT_API void *weft_ctx_value(const weft_ctx *ctx, const void *key);
/* When it ends at the latest, by weft_now; INT64_MAX: no deadline. */
WEFT_API int64_t weft_ctx_deadline(const weft_ctx *ctx);
/* One reference more; returns ctx. */
WEFT_API weft_ctx *weft_ctx_ref(weft_ctx *ctx);
/* One reference less. Cancels nothing: what runs in the context goes on. The last one frees it. NULL and background:
   nothing. */
WEFT_API void weft_ctx_free(weft_ctx *ctx);
/* For weft_on_done: closed when ctx ends; NULL for a context that never ends. Lives as long as ctx. */
WEFT_API weft_chan_core *weft_ctx_done(weft_ctx *ctx);

/* The registration of a call for the end of a context. */
typedef struct weft_ctx_watch weft_ctx_watch;
/* When ctx ends, fn is called with its words in a goroutine of its own, which runs in background; at once when it has ended.
   NULL when out of memory. The registration, which lasts until it has run or was stopped, is given back by
   weft_ctx_unwatch. */
WEFT_API weft_ctx_watch *weft_ctx_after_func_(weft_ctx *ctx, const weft_site *site, weft_fn_ fn, const uintptr_t *words);
/* Frees the registration. True: fn will not be called. False: it was, or will be any moment; it is not waited for. */
WEFT_API bool weft_ctx_unwatch(weft_ctx_watch *watch);

/* Behind weft_scoped_ctx, weft_scoped_use and weft_scoped_shield. */
typedef struct weft_ctx_scope_ {
    weft_scope_ scope;
    void *member[8];
} weft_ctx_scope_;
WEFT_API void weft_ctx_scope_leave_(weft_ctx_scope_ *scope);
WEFT_API weft_ctx *weft_scoped_ctx_(weft_ctx_scope_ *scope, weft_ctx *ctx);
WEFT_API weft_ctx *weft_scoped_use_(weft_ctx_scope_ *scope, weft_ctx *ctx);
WEFT_API weft_ctx *weft_scoped_shield_(weft_ctx_scope_ *scope);

WEFT_END_DECLS_

#ifndef __cplusplus

#define WEFT_SCOPED_CTX_(call, ...) WEFT_SCOPED_CTX2_(call, WEFT_CAT_(weft_scoped_, __COUNTER__), __VA_ARGS__)
#define WEFT_SCOPED_CTX2_(call, name, ...)                                                                                  \
    weft_ctx_scope_ name __attribute__((cleanup(weft_ctx_scope_leave_), unused)),                                           \
        *WEFT_CAT_(name, _entered) __attribute__((unused)) = (call(&name __VA_OPT__(, ) __VA_ARGS__), &name)
/* weft_scoped_ctx(ctx); cancels and frees ctx at the end of the enclosing block. NULL: nothing. */
#define weft_scoped_ctx(ctx) WEFT_SCOPED_CTX_(weft_scoped_ctx_, ctx)
/* weft_scoped_use(ctx); the caller runs in ctx until the end of the enclosing block. NULL is fatal. */
#define weft_scoped_use(ctx) WEFT_SCOPED_CTX_(weft_scoped_use_, ctx)
/* weft_scoped_shield(); until the end of the enclosing block the current context ends no waits, neither of the caller nor of
   goroutines that it starts; weft_ctx_current still gives it. For clean-up work. */
#define weft_scoped_shield() WEFT_SCOPED_CTX_(weft_scoped_shield_)
/* weft_ctx_after_func(ctx, fn, args...) */
#define weft_ctx_after_func(...) WEFT_CALL_(weft_ctx_after_func_, void, __VA_ARGS__)

#endif /* !__cplusplus */
#endif
