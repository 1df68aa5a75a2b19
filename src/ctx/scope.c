/* scope.c — scoped records and deferred calls: see sched/scope.h. */
#include "arch/context.h"
#include "ctx/panic.h"
#include "sched/enter.h"
#include "sched/scope.h"
#include "weft/scope.h"
#include "weft/sync.h"

#include <stdlib.h>
#include <string.h>

void weft_scope_leave_(weft_scope_ *scope)
{
    void (*undo)(weft_scope_ *) = scope->undo;
    if (!undo)
        return; /* an exit or a panic has run it, and cleanups run too */
    struct wi_thread *t = scope->link ? wi_self() : NULL;
    if (WI_UNLIKELY(t && t->current && t->current->extra && t->current->extra->leaving)) {
        wi_scopes_undo_newer(t->current, scope);
        if (!scope->undo)
            return;
    }
    wi_scope_unlink(scope);
    scope->undo = NULL;
    undo(scope);
}

/* ---- locks ---- */

static void undo_lock(weft_scope_ *scope)
{
    weft_unlock(scope->object);
}

void weft_scoped_lock_(weft_scope_ *scope, weft_mutex *m)
{
    weft_lock(m);
    wi_scope_enter(scope, undo_lock, m);
}

static void undo_rlock(weft_scope_ *scope)
{
    weft_runlock(scope->object);
}

void weft_scoped_rlock_(weft_scope_ *scope, weft_rwmutex *m)
{
    weft_rlock(m);
    wi_scope_enter(scope, undo_rlock, m);
}

static void undo_wlock(weft_scope_ *scope)
{
    weft_wunlock(scope->object);
}

void weft_scoped_wlock_(weft_scope_ *scope, weft_rwmutex *m)
{
    weft_wlock(m);
    wi_scope_enter(scope, undo_wlock, m);
}

/* ---- deferred calls ---- */

struct deferred {
    weft_scope_ scope;
    weft_fn_ fn;
    uintptr_t words[6];
};

static void undo_deferred(weft_scope_ *scope)
{
    struct deferred d = *(struct deferred *)(void *)scope;
    free(scope);
    wi_call_words(d.fn, d.words);
}

void weft_defer_(void *unused, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    (void)unused, (void)site;
    struct wi_thread *t = wi_self();
    if (!t || !t->current)
        wi_fatal("weft_defer outside a goroutine");
    struct deferred *d = malloc(sizeof *d);
    if (!d)
        wi_fatal("weft_defer: out of memory");
    d->fn = fn;
    memcpy(d->words, words, sizeof d->words);
    wi_scope_enter(&d->scope, undo_deferred, NULL);
}
