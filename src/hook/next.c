/* next.c — finds the next symbol of every name: libc's, or that of a sanitizer or another such library.

   All are looked up at once, by a constructor or by the first call, whichever comes first. dlsym may itself allocate, and
   somebody's malloc may read a file: such a call, from within the look-up, is made as a system call. Two threads may look up
   at the same time; they find the same. */
#define _GNU_SOURCE 1
#include "hook/hook.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static struct hook_next next;    /* [whoever looks up, always the same values] */
static _Atomic bool found;       /* [atomic] next is filled */
static _Atomic pid_t looking_up; /* [atomic] the last thread that began to */

#define HOOK_ADDRESS(type, name, parameters) (const void *)(name),
HOOK const void *const weft_hook_[] = {
    HOOK_FUNCTIONS(HOOK_ADDRESS) & hook_connect_file,
    &hook_message_file,
    &hook_poll_file,
    &hook_resolve_file,
    &hook_sleep_file,
    &hook_transfer_file,
};
#undef HOOK_ADDRESS

static pid_t my_tid(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* ---- what a malloc may need ---- */

static ssize_t raw_read(int fd, void *buffer, size_t size)
{
    return syscall(SYS_read, fd, buffer, size);
}

static ssize_t raw_write(int fd, const void *buffer, size_t size)
{
    return syscall(SYS_write, fd, buffer, size);
}

static int raw_close(int fd)
{
    return (int)syscall(SYS_close, fd);
}

static const struct hook_next raw = {.read = raw_read, .write = raw_write, .close = raw_close};

/* ---- the look-up ---- */

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_CLANG_SANITIZER 1
#endif
#endif

static void *find(const char *name)
{
#ifdef UNDER_CLANG_SANITIZER
    /* Its runtime is part of the program, in which a static libweft_hook has taken the place of its symbols. */
    char interceptor[64];
    snprintf(interceptor, sizeof interceptor, "__interceptor_%s", name);
    void *symbol = dlsym(RTLD_DEFAULT, interceptor);
    if (symbol)
        return symbol;
#endif
    return dlsym(RTLD_NEXT, name);
}

static void look_up(void)
{
    int error = errno;
    atomic_store_explicit(&looking_up, my_tid(), memory_order_relaxed);
#define HOOK_FIND(type, name, parameters) __atomic_store_n((void **)(void *)&next.name, find(#name), __ATOMIC_RELAXED);
    HOOK_FUNCTIONS(HOOK_FIND)
#undef HOOK_FIND
    atomic_store_explicit(&found, true, memory_order_release); /* pairs with the acquire in hook_next */
    errno = error;
}

const struct hook_next *hook_next(void)
{
    if (HOOK_LIKELY(atomic_load_explicit(&found, memory_order_acquire))) /* pairs with look_up */
        return &next;
    if (atomic_load_explicit(&looking_up, memory_order_relaxed) == my_tid())
        return &raw;
    look_up();
    return &next;
}

__attribute__((constructor(101))) static void begin(void)
{
    hook_next();
}
