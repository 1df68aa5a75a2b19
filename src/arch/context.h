/* context.h — the switch between stacks: the contract of the assembly in x86_64/ and aarch64/.

   A suspended context is one pointer: its stack pointer, below which its callee-saved registers, floating-point control
   words and the address to go on at are stored (struct wi_saved). The switch leaves by an indirect jump and not by a return:
   a return onto another stack always mispredicts. */
#ifndef WI_CONTEXT_H
#define WI_CONTEXT_H

#include <stdint.h>

/* What lies at a suspended context's stack pointer. Debuggers and the unwinder read it. */
struct wi_saved {
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t x87_control, unused;
    uint64_t rbp, rip; /* the caller's frame follows; it has saved its other registers itself */
#elif defined(__aarch64__)
    uint64_t d8, d9, d10, d11, d12, d13, d14, d15;
    uint64_t x19, x20, x21, x22, x23, x24, x25, x26, x27, x28, x29, x30; /* x30: where to go on */
    uint64_t fpcr, unused;
#else
#error "weft knows x86-64 and aarch64"
#endif
};

/* Saves the running context, stores its stack pointer in *save, and continues the context whose stack pointer is load. */
#if defined(__x86_64__)
#include "arch/x86_64/switch.h"
#else
void wi_switch(void **save, void *load);
#endif

/* Makes a context on the stack that ends at top (aligned to 16) which, when first switched to, calls entry(argument) with a
   call frame that unwinders recognise as the outermost. entry must not return. Floating-point control is that of the thread
   that called wi_context_init. */
void wi_context_init(void);
void *wi_context_make(char *top, void (*entry)(void *argument), void *argument);
/* Sets floating-point control as in a new context. */
void wi_context_reset_float(void);
/* Calls fn with up to six words as its integer arguments and returns its (integer) result. Its frame's personality stops
   exceptions and forced unwinding (pthread_exit, pthread_cancel): wi_invoke_unwound is called, and does not return. */
uint64_t wi_invoke(void (*fn)(void), const uintptr_t words[6]);
_Noreturn void wi_invoke_unwound(int forced);
/* The same, but unwinding by exceptions of WI_UNWIND_CLASS ends here: it returns, then without a result. */
uint64_t wi_invoke_guarded(void (*fn)(void), const uintptr_t words[6]);
#define WI_UNWIND_CLASS UINT64_C(0x5745465400000000)

/* The plain call: nothing that unwinds ends here. Of the result as many low bytes are valid as its type has. */
static inline uint64_t wi_call_words(void (*fn)(void), const uintptr_t words[6])
{
    return ((uint64_t(*)(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t))fn)(words[0], words[1], words[2],
                                                                                               words[3], words[4], words[5]);
}

#endif
