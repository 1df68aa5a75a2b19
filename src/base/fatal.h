/* fatal.h — the one way weft stops a program, and the checks of the checked build. */
#ifndef WI_FATAL_H
#define WI_FATAL_H

/* Prints "weft: fatal: <message>", then what the installed describer adds (goroutine, site, stack), then aborts.
   Uses a buffer on the stack and write(2) only, so that it works out of memory. */
_Noreturn void wi_fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints "weft: <message>" to standard error; a program may go on. */
void wi_report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Called by wi_fatal between the message and abort; set once by the debug layer. */
extern void (*wi_fatal_describe)(int fd);

/* Invariants, asserted in the checked build only; clang's analyzer may rely on them in every build. */
#if defined(WEFT_CHECKED) || defined(__clang_analyzer__)
#define WI_CHECK(condition)                                                                                                 \
    ((condition) ? (void)0 : wi_fatal("broken invariant: %s (%s:%d)", #condition, __FILE__, __LINE__))
#else
#define WI_CHECK(condition) ((void)0)
#endif

#endif
