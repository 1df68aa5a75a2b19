/* context.c — the first context of a stack; the switch itself is assembly. */
#include "arch/context.h"

#include <stddef.h>
#include <string.h>

/* Where a new context begins, in switch.S: calls the function in one register with the argument in the next. */
void wi_context_start(void) __attribute__((visibility("hidden")));

/* The assembly knows these offsets. */
#if defined(__x86_64__)
_Static_assert(sizeof(struct wi_saved) == 24 && offsetof(struct wi_saved, x87_control) == 4 &&
                   offsetof(struct wi_saved, rbp) == 8 && offsetof(struct wi_saved, rip) == 16,
               "switch.h lays out struct wi_saved");
#else
_Static_assert(sizeof(struct wi_saved) == 176 && offsetof(struct wi_saved, x19) == 64 &&
                   offsetof(struct wi_saved, x29) == 144 && offsetof(struct wi_saved, fpcr) == 160,
               "switch.S lays out struct wi_saved");
#endif

/* Floating-point control of new contexts: [const] after wi_context_init, and until then what every program begins with. */
#if defined(__x86_64__)
static struct wi_saved initial = {.mxcsr = 0x1f80, .x87_control = 0x037f};
#else
static struct wi_saved initial;
#endif

void wi_context_init(void)
{
#if defined(__x86_64__)
    __asm__ volatile("stmxcsr %0" : "=m"(initial.mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(initial.x87_control));
    initial.mxcsr &= ~0x3fU; /* the sticky flags are no control */
#else
    __asm__ volatile("mrs %0, fpcr" : "=r"(initial.fpcr));
#endif
}

void wi_context_reset_float(void)
{
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t control;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(control));
    if ((mxcsr & ~0x3fU) != initial.mxcsr) /* writing costs ten times as much as reading */
        __asm__ volatile("ldmxcsr %0" : : "m"(initial.mxcsr));
    if (control != initial.x87_control)
        __asm__ volatile("fldcw %0" : : "m"(initial.x87_control));
#else
    __asm__ volatile("msr fpcr, %0" : : "r"(initial.fpcr));
#endif
}

void *wi_context_make(char *top, void (*entry)(void *argument), void *argument)
{
#if defined(__x86_64__)
    struct start {
        struct wi_saved saved;
        void (*entry)(void *argument); /* wi_context_start pops these two ... */
        void *argument;
        uint64_t padding; /* ... and its call finds the stack aligned */
    } *start = (struct start *)(void *)(top - sizeof *start - sizeof(uint64_t));
    start->saved = initial; /* a zero frame pointer ends the chain of frames */
    start->entry = entry;
    start->argument = argument;
    start->saved.rip = (uint64_t)(uintptr_t)wi_context_start;
    return start;
#else
    struct wi_saved *saved = (struct wi_saved *)(void *)(top - sizeof *saved);
    *saved = initial;
    saved->x19 = (uint64_t)(uintptr_t)entry;
    saved->x20 = (uint64_t)(uintptr_t)argument;
    saved->x30 = (uint64_t)(uintptr_t)wi_context_start;
    return saved;
#endif
}
