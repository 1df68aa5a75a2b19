/* scope.h — the chain of what a goroutine has to undo: locks to unlock, groups to join, deferred calls, newest first.
   Normally the end of a block takes its record off the chain (weft_scope_leave_); a goroutine that exits or panics has them
   run by ctx/panic.c, and its end those that are left. A record's undo is set to NULL before it is run: each runs once.

   The chain belongs to its goroutine alone. Records of foreign threads are in no chain: nothing ends a thread but the
   thread. */
#ifndef WI_SCOPE_H
#define WI_SCOPE_H

#include "sched/thread.h"

static inline void wi_scope_push(struct wi_goroutine *g, weft_scope_ *scope)
{
    scope->next = g->run.scopes;
    scope->link = &g->run.scopes;
    if (scope->next)
        scope->next->link = &scope->next;
    g->run.scopes = scope;
}

static inline void wi_scope_unlink(weft_scope_ *scope)
{
    if (!scope->link)
        return;
    *scope->link = scope->next;
    if (scope->next)
        scope->next->link = scope->link;
    scope->link = NULL;
}

/* Enters a scope of the caller, outside weft. */
static inline void wi_scope_enter(weft_scope_ *scope, void (*undo)(weft_scope_ *scope), void *object)
{
    struct wi_thread *t = wi_self();
    scope->undo = undo;
    scope->object = object;
    scope->link = NULL;
    if (t && t->current)
        wi_scope_push(t->current, scope);
}

#endif
