/* panic.h — undoing a goroutine's chain, and the boundary at which a panic becomes an error. */
#ifndef WI_PANIC_H
#define WI_PANIC_H

#include "sched/scope.h"

#include <stdlib.h>

/* A record at the bottom of a chain: whoever pushed it takes the goroutine's end for its own. */
struct wi_boundary {
    weft_scope_ scope; /* object: the panic's message and stack, or NULL */
    /* Called as the last of the chain when the goroutine exits (panic NULL) or panics: the message and stack, which the
       callee frees, or wi_panic_unknown, which it must not. Not called when the goroutine's function returns. */
    void (*ended)(struct wi_boundary *boundary, char *panic);
    void *object;
};

extern WI_HIDDEN char wi_panic_unknown[];
static inline void wi_panic_text_free(char *panic)
{
    if (panic != wi_panic_unknown)
        free(panic);
}

/* Makes the calling goroutine's end this boundary's; outside weft. */
void wi_boundary_enter(struct wi_boundary *boundary, void (*ended)(struct wi_boundary *, char *panic), void *object);
/* The goroutine's function has returned. What is left of the chain is undone and local values are destroyed; then there is
   no boundary any more. The panic of something that was undone, as for `ended`, or NULL. */
char *wi_boundary_leave(struct wi_boundary *boundary);

/* Calls fn with one word, for something that is undone: should it exit or panic, that ends here. */
void wi_call_guarded(weft_fn_ fn, uintptr_t word);

/* local.c: destroys g's local values; outside weft, by g itself. */
void wi_locals_destroy(struct wi_goroutine *g);
/* Frees only what holds them; by whoever stops the runtime. */
void wi_locals_forget(struct wi_goroutine *g);
/* For hooks.h. */
void wi_scopes_ending(struct wi_goroutine *g);
/* g exits or panics, and a cleanup of a frame that it leaves is about to undo scope: what is newer comes first. */
void wi_scopes_undo_newer(struct wi_goroutine *g, weft_scope_ *scope);

#endif
