/* snapshot.c — reading goroutines while they run.

   Nobody is stopped. Records and stacks are type-stable, so reading one that changes gives nonsense, not a fault; the state
   word, which changes with every start and stop, tells: it is read before and after, and a snapshot during which it changed
   is thrown away and taken again. */
#include "debug/debug.h"

#include "ctx/future.h"
#include "sched/sched.h"

#include <stdio.h>
#include <string.h>

#define TRIES 20

/* The compiler and the sanitizers are told that this reads what others may be writing. */
#define RACY __attribute__((no_sanitize("address", "thread"), noinline))

RACY static void copy_words(void *to, const void *from, size_t size)
{
    volatile const uintptr_t *source = from;
    uintptr_t *target = to;
    for (size_t i = 0; i < size / sizeof(uintptr_t); i++)
        target[i] = source[i];
}

RACY static void copy_record(struct wi_goroutine *g, struct wi_snapshot *s)
{
    s->id = wi_load_relaxed(&g->id);
    s->site = *(const weft_site *volatile *)&g->site;
    uint32_t flags = *(volatile uint32_t *)&g->flags;
    s->is_thread = (flags & WI_G_THREAD) != 0;
    s->join = wi_join_object(*(void *volatile *)&g->join);
    s->name[0] = '\0';
    volatile struct wi_extra *extra = *(struct wi_extra *volatile *)&g->extra;
    for (size_t i = 0; extra && i < sizeof s->name - 1; i++) {
        s->name[i] = extra->name[i];
        s->name[i + 1] = '\0';
        if (!s->name[i])
            break;
    }
    s->kind = NULL;
    s->sp = s->top = 0;
    s->tid = 0;
    s->at_rest = false;
    struct wi_stack *stack = wi_load_acquire(&g->stack); /* pairs with the release where it is attached */
    s->stack_size = stack ? (size_t)1 << stack->size_class : 0;
    if (s->state != WI_PARKED && s->state != WI_READY)
        return;
    if (s->state == WI_PARKED) {
        s->kind = *(const struct wi_wait_kind *volatile *)&g->run.kind;
        s->object = *(const void *volatile *)&g->run.object;
        s->since_ns = *(volatile int64_t *)&g->run.since_ns;
    }
    struct wi_thread *thread = flags & (WI_G_THREAD | WI_G_PINNED) ? *(struct wi_thread *volatile *)&g->run.thread : NULL;
    s->at_rest = !thread || wi_load_acquire(&thread->wake) == WI_WAKE_ASLEEP; /* pairs with wi_thread_wake */
    if (thread)
        s->tid = wi_load_relaxed(&thread->tid);
    if (stack && !thread && stack->low) {
        s->sp = (uintptr_t) * (void *volatile *)&g->sp;
        s->top = (uintptr_t)wi_stack_top(stack);
        if (s->sp < (uintptr_t)stack->low || s->sp >= s->top)
            s->sp = s->top = 0;
    }
}

bool wi_snapshot(struct wi_goroutine *g, struct wi_snapshot *s, char *stack, size_t room, size_t *copied)
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t word = wi_load_acquire(&g->state); /* pairs with wi_goroutine_set_state */
        s->state = WI_STATE(word);
        s->turn = word >> WI_STATE_BITS;
        if (s->state == WI_FREE)
            return false;
        copy_record(g, s);
        if (wi_load_acquire(&g->state) != word)
            continue; /* before sp is believed */
        if (stack) {
            *copied = s->top - s->sp < room ? s->top - s->sp : room;
            copy_words(stack, (const void *)s->sp, *copied);
        }
        wi_fence_seq_cst(); /* the copy is complete before the state is read again */
        if (wi_load_acquire(&g->state) == word)
            return true;
    }
    return false;
}

void wi_snapshot_each(void (*fn)(struct wi_goroutine *g, void *argument), void *argument)
{
    uint32_t made = wi_load_acquire(&wi_goroutines.made); /* pairs with the release in slab.c */
    for (uint32_t number = 1; number < made; number++) {
        struct wi_goroutine *g = wi_slab_record(&wi_goroutines, number);
        if (g && wi_goroutine_state(g) != WI_FREE)
            fn(g, argument);
    }
}

const char *wi_wait_text(const struct wi_snapshot *s, char *text, size_t size)
{
    static const char *const states[] = {"ended", "not yet run", "ready", "running", "parked"};
    if (s->state != WI_PARKED || !s->kind)
        snprintf(text, size, "%s", s->state == WI_RUNNING && s->is_thread ? "outside weft" : states[s->state]);
    else if (s->kind->outside)
        snprintf(text, size, "%s %d", s->kind->text, (int)(intptr_t)s->object);
    else if (s->object)
        snprintf(text, size, "%s %p", s->kind->text, s->object);
    else
        snprintf(text, size, "%s", s->kind->text);
    return text;
}
