/* unwind.h — stacks as people read them: unwinding, and names, files and lines from the debug information.

   elfutils' libdw does both when it was there at build time (WEFT_HAVE_LIBDW) and "libdw.so.1" can be loaded at the first
   use; libweft does not depend on it. Otherwise the chain of frame pointers is followed and dladdr names what it can.

   A pc in these lists lies inside the instruction that is executing: for a call that is the return address minus 1. So it
   can be looked up as it is, also where a call is the last instruction of its function. */
#ifndef WI_UNWIND_H
#define WI_UNWIND_H

#include "arch/context.h"
#include <stdbool.h>
#include <stddef.h>

#if defined(__x86_64__)
enum { WI_UNWIND_REGISTERS = 16, WI_UNWIND_FP = 6, WI_UNWIND_SP = 7 };
#else
enum { WI_UNWIND_REGISTERS = 32, WI_UNWIND_FP = 29, WI_UNWIND_SP = 31 };
#endif
/* As many frames as reports show at most. */
#define WI_UNWIND_MAX 64

/* What is known of a context's registers. */
struct wi_registers {
    uintptr_t pc, sp, fp;
    uintptr_t general[WI_UNWIND_REGISTERS]; /* by DWARF number; sp and fp are taken from above */
    uint32_t known;                         /* which of general are valid: a bit each */
};

/* The registers of a context that is suspended at the stack pointer sp; saved is what lies there, or a copy of it. */
void wi_registers_of_suspended(struct wi_registers *registers, const struct wi_saved *saved, uintptr_t sp);
/* The registers that a signal interrupted: the third argument of its handler. */
void wi_registers_of_signal(struct wi_registers *registers, const void *ucontext);

/* Unwinds a context that does not run, from a copy of its stack: copy holds the memory [base, base + size). Other memory is
   read only inside loaded ELF images. Returns the number of pcs, innermost first, at least 1. */
int wi_unwind_stack(const struct wi_registers *registers, const char *copy, uintptr_t base, size_t size, uintptr_t *pcs,
                    int max);
/* Unwinds the calling thread from the registers of its signal handler's ucontext, or with NULL from here. Unreadable memory
   ends the stack and does not fault. */
int wi_unwind_here(const struct wi_registers *registers, uintptr_t *pcs, int max);
/* Writes a line each, inlined functions too: "function at file.c:12", or "function+0x12 (library.so)" without line
   information. The frames by which weft started the goroutine are left out. inside: the stack is known to end in a call of
   weft; what is above the public function is left out too. Returns the number of lines or a negative errno of write. */
int wi_unwind_print(int fd, const uintptr_t *pcs, int n, const char *indent, bool inside);

/* Whether libdw is in use; loads it if need be. */
bool wi_unwind_has_libdw(void);
/* Makes all of this do without libdw, its lock and malloc from now on: for tests, and for the report of a crash inside
   malloc (with libdw, nothing here is async-signal-safe). */
void wi_unwind_force_plain(bool plain);
/* In a forked child, before other threads exist: another thread of the parent may have been at work. */
void wi_unwind_forked(void);

#endif
