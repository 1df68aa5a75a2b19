/* weft/local.h — values that belong to a goroutine, as thread-local ones belong to a thread.

     static weft_local buffer = WEFT_LOCAL(free);

   A key lives as long as the program. Every goroutine has a value of its own for it, NULL at first; foreign threads have one
   too. */
#ifndef WEFT_LOCAL_H
#define WEFT_LOCAL_H

#include "macros.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

typedef struct weft_local {
    void (*destructor)(void *value); /* [const] called at the goroutine's end with its value unless that is NULL; or NULL */
    uint32_t number;                 /* opaque */
} weft_local;

#define WEFT_LOCAL(fn)                                                                                                      \
    {                                                                                                                       \
        .destructor = (fn)                                                                                                  \
    }

/* The caller's value. Never blocks. */
WEFT_API void *weft_local_get(weft_local *key);
/* Sets it; the value that it replaces is not destroyed. 0 or -ENOMEM. Never blocks. */
WEFT_API int weft_local_set(weft_local *key, void *value);
/* Destructors run when the goroutine's function has returned and its deferred calls have run, in no promised order, as the
   goroutine and outside weft; one that sets values again has them destroyed in another round, four rounds at most. A foreign
   thread's run when it ends; after weft_shutdown it has no values, and those that it had are the program's to destroy. */

WEFT_END_DECLS_
#endif
