/* stack.h — goroutine stacks: address space from arena chunks, guarded, cached, given back when unused.

   A stack is a slot of 2^class bytes and a page: [guard | ........ usable, grows down | struct wi_stack | up to 1 KiB of nothing].
   The descriptor lies in the slot's top page, which every used stack touches anyway, so a parked goroutine costs one page.
   How far below the slot's end it lies differs from slot to slot: else the hot words of all stacks would compete for the
   same few sets of the CPU's caches.
   Chunks are never unmapped while the runtime lives: a dump may copy a stack that is being reused. */
#ifndef WI_STACK_H
#define WI_STACK_H

#include "arch/sanitizer.h"
#include "os/lock.h"

#define WI_STACK_DEFAULT_SIZE ((size_t)256 << 10)
#define WI_STACK_MIN_SIZE ((size_t)64 << 10)
#define WI_STACK_MAX_SIZE ((size_t)1 << 30)

struct wi_stack {                       /* [owner]: the goroutine that has the stack, else the cache it is in */
    _Alignas(64) struct wi_stack *next; /* in a list or cache */
    char *low;                          /* [const] lowest usable address, just above the guard */
    void *exceptions[2];                /* C++'s exceptions in flight while suspended: see sched/park.c */
    struct wi_sanitizer_side side;      /* kept while the stack is cached; discarded with its pages */
    uint32_t chunk;                     /* [const] for stack.c */
    uint8_t size_class;                 /* [const] the slot has 1 << size_class bytes and a page */
};

/* A stack whose slot has at least size bytes, guard included (rounded up to a power of two of which the guard is at most
   half; 0 for the default). NULL when none can be had, and *error says why: -ENOMEM (address space), -EAGAIN (mprotect
   guards: the limit of mappings), -EINVAL (more than WI_STACK_MAX_SIZE). Takes n = 1..64 at once, linked by next, or as many
   as it can; returns the first. */
struct wi_stack *wi_stack_take(size_t size, unsigned n, int *error);
/* Gives back a list of stacks of any classes. True: more are unused now than are worth keeping, and nobody knows yet: the
   caller must have wi_stack_trim called, in some 100 ms. */
bool wi_stack_give(struct wi_stack *list);
/* Gives the pages of stacks that have stayed unused since the last call to the kernel, beyond what is worth keeping; for
   some 500 us. Returns when it is to be called again; INT64_MAX: when wi_stack_give says so. One caller at a time. */
int64_t wi_stack_trim(int64_t now_ns);
#define WI_STACK_TRIM_NS INT64_C(1000000000) /* how long stacks stay unused before that */
/* The top of the usable part: where a new frame starts; 64-byte aligned. */
static inline char *wi_stack_top(const struct wi_stack *stack)
{
    return (char *)stack;
}
/* The stack in whose slot address lies, guard included, or NULL: async-signal-safe, for the overflow report. *in_guard is
   set. Slots without a descriptor (never used, or given back to the kernel) are nobody's. */
struct wi_stack *wi_stack_find(const void *address, bool *in_guard);
/* The guard's size: WEFT_GUARD_SIZE (bytes, a multiple of the page), else 16 KiB, 64 KiB on aarch64. */
size_t wi_stack_guard_size(void);
/* Calls fn for every stack that has a descriptor, in use or cached. Not safe against concurrent take and give. */
void wi_stack_each(void (*fn)(struct wi_stack *stack, void *argument), void *argument);
/* Unmaps everything: only when the runtime ends and all stacks are unused. */
void wi_stack_destroy(void);
/* In a forked child: starts anew and leaves the parent's stacks where they are. The child may run on one of them, and what
   it uses may lie on others. */
void wi_stack_forget(void);

#endif
