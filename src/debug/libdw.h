/* libdw.h — what unwind.c asks of elfutils' libdw. Everything is called with unwind.c's lock held. Where libdw's header
   was missing at build time, wi_libdw_run says no and the rest is never called. */
#ifndef WI_LIBDW_H
#define WI_LIBDW_H

#include "debug/unwind.h"

/* One stack to unwind. */
struct wi_unwind_request {
    const struct wi_registers *registers;
    const char *copy; /* NULL: the calling thread's own stack */
    uintptr_t base;   /* of the copy */
    size_t size;
    uintptr_t *pcs;
    int n, max;
};

/* In unwind.c. Reads a word of the stack or of a loaded image, or says that it must not. */
bool wi_unwind_read(const struct wi_unwind_request *request, uintptr_t address, uintptr_t *value);
/* In unwind.c. Describes a pc without libdw: one line, with its newline. */
void wi_unwind_describe_plain(uintptr_t pc, char *text, size_t size);
/* In unwind.c. What follows the last slash. */
const char *wi_unwind_file_name(const char *path);

#ifdef WEFT_HAVE_LIBDW
/* Calls work, in which the functions below may be called, on a stack of its own: libdw needs 160 KiB. Returns what work
   returns; false without calling it where libdw cannot be used. */
bool wi_libdw_run(bool (*work)(void *argument), void *argument);
void wi_libdw_unwind(struct wi_unwind_request *request);
/* The lines that describe a pc, each with its newline; NULL when out of memory. Valid until wi_libdw_trim. */
const char *wi_libdw_lines(uintptr_t pc);
/* Makes room for the lines of so many pcs. */
void wi_libdw_trim(int wanted);
/* Gives up everything, because it may be half changed. */
void wi_libdw_abandon(void);
#else
static inline bool wi_libdw_run(bool (*work)(void *argument), void *argument)
{
    (void)work, (void)argument;
    return false;
}
static inline void wi_libdw_unwind(struct wi_unwind_request *request)
{
    (void)request;
}
static inline const char *wi_libdw_lines(uintptr_t pc)
{
    (void)pc;
    return NULL;
}
static inline void wi_libdw_trim(int wanted)
{
    (void)wanted;
}
static inline void wi_libdw_abandon(void)
{
}
#endif

#endif
