/* panic.c — exit and panic: undoing the chain from wherever the goroutine is.

   The chain is complete without any help of the compiler, which a forced unwind is not: through frames without -fexceptions
   it runs no cleanup. But C++ destructors and cleanups of frames that have them must run too, and before what older frames
   have on the chain. So both at once: the unwinder visits frame by frame, and before it runs the cleanups of one, all
   records below that frame's stack pointer are undone: those of frames that are done with. (Later would be too late: a
   cleanup runs on its frame's stack pointer and overwrites what is below.) Where unwinding ends — at the goroutine's first
   frame, or at one without unwind information — the rest of the chain is undone and the goroutine ends from where it is;
   nothing returns.

   Deferred calls are in no frame. They come in the chain's order, but as late as that allows: before the next older record
   of a frame, be it undone here or by the frame's own cleanup (wi_scopes_undo_newer). Earlier they could free what a
   destructor that has yet to run still uses.

   What must outlive the frames — a cleanup overwrites the one that called the unwinder, too — is in the goroutine's extra
   record: struct unwinding. Without memory for that the frames stay as they are, and only the chain is undone.

   An exit or panic within something that is being undone ends that, and undoing goes on: it unwinds no further than to
   wi_call_guarded, which returns. (Rejected: to let it pass over the unwinder that is at work. Compilers make it fatal that
   a cleanup is left so, and each would take more of the stack.) */
#include "ctx/panic.h"

#include "arch/context.h"
#include "sched/cancel.h"
#include "sched/enter.h"
#include "sched/hooks.h"
#include "weft/scope.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

#define MESSAGE_MAX 1000

/* [goroutine] */
struct unwinding {
    struct _Unwind_Exception exception;
    struct wi_member shield;
    uintptr_t sp; /* of the frame that is being visited: what is below is done with, or works for the unwinder */
};
_Static_assert(sizeof(struct unwinding) <= sizeof((struct wi_extra *)0)->unwinding, "it fits the extra record");

char wi_panic_unknown[] = "a panic, for whose message there was no memory";

/* For a goroutine that has an extra record. */
static struct unwinding *unwinding_of(struct wi_goroutine *g)
{
    return (struct unwinding *)(void *)g->extra->unwinding;
}

/* ---- undoing ---- */

/* Undoing runs shielded. */
static void shield(struct wi_member *member)
{
    struct wi_thread *t = wi_enter_or_die();
    struct wi_member *outer = wi_member_of(wi_waiting(t));
    wi_cancel_enter(t, member, outer ? outer->context : &wi_background, true);
    wi_leave(t);
}

static void unshield(struct wi_member *member)
{
    struct wi_thread *t = wi_enter_or_die();
    wi_cancel_leave(t, member);
    wi_leave(t);
}

static bool is_leaving(struct wi_goroutine *g)
{
    return g->extra && g->extra->leaving;
}

void wi_call_guarded(weft_fn_ fn, uintptr_t word)
{
    struct wi_thread *t = wi_self();
    struct wi_goroutine *g = t ? t->current : NULL;
    const uintptr_t words[6] = {word};
    if (!g) { /* a foreign thread's destructors */
        wi_invoke_guarded(fn, words);
        return;
    }
    struct unwinding *outer = is_leaving(g) ? unwinding_of(g) : NULL;
    uintptr_t sp = outer ? outer->sp : 0;
    wi_invoke_guarded(fn, words);
    if (outer) {
        outer->sp = sp;
    } else if (is_leaving(g)) { /* fn exited or panicked, but we do not */
        unshield(&unwinding_of(g)->shield);
        g->extra->leaving = false;
    }
}

/* Undoes the newest record. */
static void undo_first(struct wi_goroutine *g)
{
    wi_call_guarded((weft_fn_)weft_scope_leave_, (uintptr_t)g->run.scopes);
}

/* Undoes everything newer than `until` (NULL: everything), then destroys the local values, until neither leaves more to
   do. */
static void undo_to(struct wi_goroutine *g, weft_scope_ *until)
{
    do {
        while (g->run.scopes != until)
            undo_first(g);
        wi_locals_destroy(g);
    } while (g->run.scopes != until);
}

static bool is_on_stack(struct wi_goroutine *g, const weft_scope_ *scope)
{
    struct wi_stack *stack = wi_load_relaxed(&g->stack);
    return (const char *)scope >= stack->low && (const char *)scope < wi_stack_top(stack);
}

/* Undoes the records of frames below sp, and what is newer. */
static void undo_below(struct wi_goroutine *g, uintptr_t sp)
{
    for (;;) {
        weft_scope_ *scope = g->run.scopes;
        while (scope && !is_on_stack(g, scope))
            scope = scope->next;
        if (!scope || (uintptr_t)scope >= sp) /* those of frames are in the order of the frames */
            return;
        while (scope->undo)
            undo_first(g);
    }
}

void wi_scopes_undo_newer(struct wi_goroutine *g, weft_scope_ *scope)
{
    if (!is_on_stack(g, scope) || (uintptr_t)scope < unwinding_of(g)->sp)
        return; /* of a call that is part of the undoing, whose blocks end as all do */
    while (scope->undo && g->run.scopes != scope)
        undo_first(g);
}

void wi_scopes_ending(struct wi_goroutine *g)
{
    struct wi_member member;
    shield(&member);
    undo_to(g, NULL);
    unshield(&member);
}

/* ---- the boundary ---- */

static void undo_boundary(weft_scope_ *scope)
{
    struct wi_boundary *boundary = (struct wi_boundary *)(void *)scope;
    boundary->ended(boundary, scope->object);
}

void wi_boundary_enter(struct wi_boundary *boundary, void (*ended)(struct wi_boundary *, char *panic), void *object)
{
    boundary->ended = ended;
    boundary->object = object;
    wi_scope_enter(&boundary->scope, undo_boundary, NULL);
}

char *wi_boundary_leave(struct wi_boundary *boundary)
{
    struct wi_goroutine *g = wi_self()->current;
    struct wi_member member;
    if (WI_UNLIKELY(g->run.scopes != &boundary->scope || g->extra)) {
        shield(&member);
        undo_to(g, &boundary->scope);
        unshield(&member);
    }
    wi_scope_unlink(&boundary->scope);
    return boundary->scope.object;
}

static struct wi_boundary *find_boundary(struct wi_goroutine *g)
{
    weft_scope_ *scope = g->run.scopes;
    while (scope && scope->undo != undo_boundary)
        scope = scope->next;
    return (struct wi_boundary *)(void *)scope;
}

/* ---- leaving ---- */

/* All frames are done with. */
static _Noreturn void end(struct wi_goroutine *g)
{
    if (g->extra)
        unwinding_of(g)->sp = UINTPTR_MAX;
    struct wi_boundary *boundary = find_boundary(g);
    undo_to(g, boundary ? &boundary->scope : NULL); /* the boundary is told when nothing of the goroutine can run any more */
    wi_goroutine_exit();
}

/* Called for every frame before the unwinder looks at its cleanups. The CFA is that of the frame that it called, which is
   its stack pointer. A frame of wi_invoke_guarded is where the unwinder goes on. */
static _Unwind_Reason_Code visit(int version, _Unwind_Action actions, _Unwind_Exception_Class exception_class,
                                 struct _Unwind_Exception *exception, struct _Unwind_Context *context, void *argument)
{
    (void)version, (void)exception_class, (void)exception;
    struct wi_goroutine *g = argument;
    if ((actions & _UA_END_OF_STACK) || _Unwind_GetRegionStart(context) == (uintptr_t)wi_invoke)
        end(g);
    uintptr_t sp = _Unwind_GetCFA(context);
    unwinding_of(g)->sp = sp;
    undo_below(g, sp);
    wi_sanitizer_frames_left((const void *)sp);
    return _URC_NO_REASON;
}

/* The unwinder was asked to forget the exception. */
static void caught(_Unwind_Reason_Code reason, struct _Unwind_Exception *exception)
{
    (void)reason, (void)exception;
    wi_fatal("a goroutine that exits or panics was stopped by a C++ catch (...), which must rethrow");
}

static _Noreturn void leave(struct wi_goroutine *g)
{
    struct wi_member member;
    struct wi_thread *t = wi_enter_or_die();
    struct wi_extra *extra = wi_extra_of(g);
    wi_leave(t);
    wi_sanitizer_stack_abandoned(&wi_load_relaxed(&g->stack)->side);
    if (!extra) {
        shield(&member);
        end(g);
    }
    struct unwinding *unwinding = unwinding_of(g);
    if (extra->leaving) /* again: the shield becomes the innermost */
        unshield(&unwinding->shield);
    extra->leaving = true;
    g->flags &= ~(uint32_t)WI_G_UNHOOKED;
    unwinding->sp = 0;
    shield(&unwinding->shield);
    unwinding->exception = (struct _Unwind_Exception){.exception_class = WI_UNWIND_CLASS, .exception_cleanup = caught};
    _Unwind_ForcedUnwind(&unwinding->exception, visit, g);
    end(g); /* unwinding failed */
}

void weft_exit_goroutine(void)
{
    struct wi_thread *t = wi_self();
    if (!t || !t->current)
        wi_fatal("weft_exit_goroutine outside a goroutine");
    leave(t->current);
}

/* ---- panic ---- */

/* The message and the caller's stack, on the heap. */
static __attribute__((noinline)) char *describe(const char *format, va_list arguments)
{
    char message[MESSAGE_MAX];
    vsnprintf(message, sizeof message, format, arguments);
    char *stack = wi_hooks.stack_text();
    size_t room = strlen(message) + (stack ? strlen(stack) : 0) + 2;
    char *text = malloc(room);
    if (text)
        snprintf(text, room, "%s\n%s", message, stack ? stack : "");
    free(stack);
    return text ? text : wi_panic_unknown;
}

/* Nothing stands between the panic and the program: undoes the chain, but leaves the frames for the report and the core
   dump. */
static _Noreturn void die(struct wi_goroutine *g, const char *format, va_list arguments)
{
    char message[MESSAGE_MAX];
    struct wi_member member;
    vsnprintf(message, sizeof message, format, arguments);
    if (g && g->run.scopes) {
        wi_report("panic: %s", message); /* undoing may take its time, or fail */
        shield(&member);
        while (g->run.scopes)
            undo_first(g);
    }
    wi_hooks.dump();
    wi_fatal("panic: %s", message);
}

void weft_panic(const char *format, ...)
{
    struct wi_thread *t = wi_self();
    struct wi_goroutine *g = t ? t->current : NULL;
    struct wi_boundary *boundary = g ? find_boundary(g) : NULL;
    va_list arguments;
    va_start(arguments, format);
    if (!boundary)
        die(g, format, arguments);
    char *text = describe(format, arguments);
    va_end(arguments);
    if (boundary->scope.object)
        wi_panic_text_free(boundary->scope.object); /* of the panic that this one replaces */
    boundary->scope.object = text;
    leave(g);
}
