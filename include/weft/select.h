/* weft/select.h — waiting for the first of several channel operations.

     enum { ANSWER, REQUEST, LATE };
     switch (weft_select([ANSWER]  = weft_on_recv(answers, &a, &ok),
                         [REQUEST] = weft_on_send(requests, r),
                         [LATE]    = weft_on_timeout(100 * WEFT_MS))) { ... }

   An expression: the index of the case that was carried out. Among several that are ready one is chosen at random, fairly.
   Gaps are ignored; a select of gaps only, or of NULL channels only, blocks for ever. A timeout <= 0 wins only if nothing is
   ready. A chosen send on a closed channel gives -EPIPE. When the context that the caller runs in ends and nothing was
   ready: -ECANCELED or -ETIMEDOUT. */
#ifndef WEFT_SELECT_H
#define WEFT_SELECT_H

#include "ctx.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

enum weft_case_op { WEFT_CASE_NONE, WEFT_CASE_RECV, WEFT_CASE_SEND, WEFT_CASE_TIMEOUT };

typedef struct weft_case {
    enum weft_case_op op;
    weft_chan_core *chan;
    void *value; /* where to receive into (NULL drops), or the element to send */
    bool *ok;    /* receive: set to whether an element came; may be NULL */
    int64_t timeout_ns;
} weft_case;

/* The untyped core of weft_select (block) and weft_try_select (-EAGAIN when nothing is ready; timeouts are ignored). Takes
   at most 65,535 cases (-EINVAL beyond); up to 64 need no memory, more may give -ENOMEM. Of several timeouts the earliest
   counts. */
WEFT_API int weft_select_(const weft_case *cases, unsigned n, bool block);

WEFT_END_DECLS_

#ifndef __cplusplus

struct weft_absent_; /* the type of an argument that was not given */
/* clang-format off */
/* weft_on_recv(ch, &value) or weft_on_recv(ch, &value, &ok) */
#define weft_on_recv(ch, ...) WEFT_ON_RECV_(ch, __VA_ARGS__, WEFT_ABSENT_, WEFT_ABSENT_, )
#define WEFT_ABSENT_ ((struct weft_absent_ *)0)
#define WEFT_ON_RECV_(ch, p, o, excess, ...)                                                                                \
    ((weft_case){.op = WEFT_CASE_RECV,                                                                                      \
                 .chan = WEFT_CORE_(ch),                                                                                    \
                 .value = WEFT_INTO_(ch, p),                                                                                \
                 .ok = _Generic((o), struct weft_absent_ *: (bool *)0, default: (o)),                                       \
                 .timeout_ns = _Generic((excess), struct weft_absent_ *: 0)})
/* The value lives until the end of the select; sizeof only checks it. */
#define weft_on_send(ch, ...)                                                                                               \
    ((weft_case){.op = WEFT_CASE_SEND,                                                                                      \
                 .chan = WEFT_CORE_(ch),                                                                                    \
                 .value = (WEFT_ELEM_(ch)[1]){__VA_ARGS__},                                                                 \
                 .timeout_ns = 0 * sizeof(__extension__({ WEFT_VALUE_(ch, __VA_ARGS__) (void)weft_value_; 0; }))})
/* clang-format on */
/* weft_on_done(ctx): chosen when ctx has ended. */
#define weft_on_done(ctx) ((weft_case){.op = WEFT_CASE_RECV, .chan = weft_ctx_done(ctx)})
#define weft_on_timeout(ns) ((weft_case){.op = WEFT_CASE_TIMEOUT, .timeout_ns = (ns)})
#define WEFT_SELECT_(block, ...)                                                                                            \
    __extension__({                                                                                                         \
        WEFT_STRICT_                                                                                                        \
        const weft_case weft_cases_[] = {__VA_ARGS__};                                                                      \
        WEFT_RELAX_                                                                                                         \
        weft_select_(weft_cases_, sizeof weft_cases_ / sizeof *weft_cases_, (block));                                       \
    })
#define weft_select(...) WEFT_SELECT_(true, __VA_ARGS__)
#define weft_try_select(...) WEFT_SELECT_(false, __VA_ARGS__)

#endif /* !__cplusplus */
#endif
