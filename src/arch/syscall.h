/* syscall.h — system calls without libc's wrappers: no cancellation points, which cost two locked instructions a call in
   a program with threads, no errno, and nobody who interposes libc's functions is asked. The result is negative for an
   error, as the kernel gives it. Sanitizers want to see their own wrappers; there libc is called. */
#ifndef WI_SYSCALL_H
#define WI_SYSCALL_H

#include "arch/sanitizer.h"
#include <sys/syscall.h>

#if !defined(WI_SANITIZER_ASAN) && !defined(WI_SANITIZER_TSAN)
#define WI_SYSCALLS_RAW 1

static inline long wi_syscall6(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
    return x0;
#endif
}
#endif

#endif
