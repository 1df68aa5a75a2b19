/* weft/chan.h — typed channels over one untyped core.

   weft_chan(T) is a pointer type that only the macros look into. Values are copied. A channel of capacity 0 is a
   rendezvous: a send completes when a receiver has the value. Waiting senders and receivers are served first come, first
   served. A NULL channel blocks for ever, as in Go. Order: a send happens before its receive completes; a close before a
   receive that returns because of it; the k-th receive on a channel of capacity C before the (k+C)-th send completes.
   Everything may be called from goroutines and from foreign threads. */
#ifndef WEFT_CHAN_H
#define WEFT_CHAN_H

#include "macros.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

typedef struct weft_chan_core weft_chan_core;

/* ---- the untyped core ---- */

/* A channel of elements of size bytes (0 is fine) with one reference; NULL when out of memory or when size * capacity
   overflows. Never blocks. */
WEFT_API weft_chan_core *weft_chan_core_make(size_t size, size_t capacity);
/* Sends the element that value points to. Blocks until a receiver or the buffer took it. 0, or -EPIPE when the channel is
   closed, also while waiting. */
WEFT_API int weft_chan_core_send(weft_chan_core *chan, const void *value);
/* Receives into value (NULL drops the element). Blocks. True with an element; false, with value zeroed, once the channel is
   closed and drained. */
WEFT_API bool weft_chan_core_recv(weft_chan_core *chan, void *value);
/* The same as a status: 0 with an element, -EPIPE once closed and drained. */
WEFT_API int weft_chan_core_recv_status(weft_chan_core *chan, void *value);
/* Never block: 0, -EAGAIN (would block, or chan is NULL), -EPIPE. */
WEFT_API int weft_chan_core_try_send(weft_chan_core *chan, const void *value);
WEFT_API int weft_chan_core_try_recv(weft_chan_core *chan, void *value);
/* Closes: waiting receivers get false, waiting senders -EPIPE; what is buffered can still be received. 0, or -EPIPE when it
   was closed already. NULL is fatal. Never blocks. */
WEFT_API int weft_chan_core_close(weft_chan_core *chan);
/* Elements buffered now, and the capacity; 0 for NULL. Never block. */
WEFT_API size_t weft_chan_core_len(const weft_chan_core *chan);
WEFT_API size_t weft_chan_core_cap(const weft_chan_core *chan);
/* One reference more, one less; the last frees the channel. Freeing a channel on which somebody waits is fatal. A receiver
   may free a channel as soon as its receive returned, even if the send has not. NULL does nothing. Never block. */
WEFT_API weft_chan_core *weft_chan_core_ref(weft_chan_core *chan);
WEFT_API void weft_chan_core_free(weft_chan_core *chan);

WEFT_END_DECLS_

#ifndef __cplusplus

#define weft_chan(T) __typeof__(__typeof__(T)(*)[])
#define WEFT_ELEM_(ch) __typeof__((*(ch))[0])
/* clang-format off */
/* The channel behind a weft_chan; any other pointer is refused. */
#define WEFT_CORE_(ch) ((weft_chan_core *)(void *)_Generic((ch), __typeof__(WEFT_ELEM_(ch)(*)[]): (ch)))
/* A pointer to the element's type, or NULL to drop the element; a void * variable is refused. */
#define WEFT_INTO_(ch, p) _Generic((1 ? (p) : (WEFT_ELEM_(ch) *)0), WEFT_ELEM_(ch) *: (p))
/* clang-format on */
/* Declares a variable of the element's type; its value is checked as in any initialisation, but strictly. */
#define WEFT_VALUE_(ch, ...)                                                                                                \
    WEFT_STRICT_                                                                                                            \
    const WEFT_ELEM_(ch) weft_value_ = __VA_ARGS__;                                                                         \
    WEFT_RELAX_
#define WEFT_SEND_(entry, ch, ...)                                                                                          \
    __extension__({                                                                                                         \
        WEFT_VALUE_(ch, __VA_ARGS__)                                                                                        \
        entry(WEFT_CORE_(ch), &weft_value_);                                                                                \
    })
#define WEFT_RECV_(entry, ch, p)                                                                                            \
    __extension__({                                                                                                         \
        WEFT_STRICT_                                                                                                        \
        void *weft_into_ = WEFT_INTO_(ch, p);                                                                               \
        WEFT_RELAX_                                                                                                         \
        entry(WEFT_CORE_(ch), weft_into_);                                                                                  \
    })

/* weft_chan_make(int, 16): NULL when out of memory. */
#define weft_chan_make(T, capacity) ((weft_chan(T))(void *)weft_chan_core_make(sizeof(T), (capacity)))
#define weft_send(ch, ...) WEFT_SEND_(weft_chan_core_send, ch, __VA_ARGS__)
#define weft_recv(ch, p) WEFT_RECV_(weft_chan_core_recv, ch, p)
#define weft_recv_status(ch, p) WEFT_RECV_(weft_chan_core_recv_status, ch, p)
#define weft_try_send(ch, ...) WEFT_SEND_(weft_chan_core_try_send, ch, __VA_ARGS__)
#define weft_try_recv(ch, p) WEFT_RECV_(weft_chan_core_try_recv, ch, p)
#define weft_close(ch) weft_chan_core_close(WEFT_CORE_(ch))
#define weft_chan_len(ch) weft_chan_core_len(WEFT_CORE_(ch))
#define weft_chan_cap(ch) weft_chan_core_cap(WEFT_CORE_(ch))
#define weft_chan_ref(ch) ((__typeof__(ch))(void *)weft_chan_core_ref(WEFT_CORE_(ch)))
#define weft_chan_free(ch) weft_chan_core_free(WEFT_CORE_(ch))

#endif /* !__cplusplus */
#endif
