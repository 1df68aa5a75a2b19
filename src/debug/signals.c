/* signals.c — the environment, the dump signal, faults in guards, and what is said when the program ends. */
#define _GNU_SOURCE 1 /* memfd_create */
#include "debug/debug.h"
#include "debug/unwind.h"
#include "sched/hooks.h"
#include "weft/debug.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- dumps by signal ---- */

static void dump_handler(int signal)
{
    (void)signal;
    wi_monitor_request(WI_REQUEST_DUMP);
}

static bool handled_by(int signal, void (*handler)(int))
{
    struct sigaction now;
    return sigaction(signal, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == handler;
}

/* Unless the program handles or ignores the signal already. */
static void install_dump_handler(int signal)
{
    struct sigaction action = {.sa_handler = dump_handler, .sa_flags = SA_RESTART | SA_ONSTACK};
    if (handled_by(signal, SIG_DFL))
        sigaction(signal, &action, NULL);
}

/* There will be nobody to ask, and perhaps no code: in a plugin. */
static void remove_dump_handlers(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++)
        if (handled_by(signal, dump_handler))
            sigaction(signal, &action, NULL);
}

static const struct {
    const char *name;
    int number;
} signal_names[] = {{"HUP", SIGHUP},   {"INT", SIGINT},     {"QUIT", SIGQUIT},     {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
                    {"TERM", SIGTERM}, {"WINCH", SIGWINCH}, {"VTALRM", SIGVTALRM}, {"PWR", SIGPWR},   {"URG", SIGURG}};

/* A name with or without SIG, or a number; 0 when it is neither. */
static int signal_by_name(const char *text)
{
    char *rest;
    long number = strtol(text, &rest, 10);
    if (rest != text && !*rest)
        return number > 0 && number < NSIG ? (int)number : 0;
    if (strncmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < sizeof signal_names / sizeof *signal_names; i++)
        if (strcmp(text, signal_names[i].name) == 0)
            return signal_names[i].number;
    return 0;
}

static void read_dump_signal(void)
{
    const char *text = getenv("WEFT_DUMP_SIGNAL");
    if (!text || !*text)
        return;
    int number = signal_by_name(text);
    if (number)
        install_dump_handler(number);
    else
        wi_report("WEFT_DUMP_SIGNAL=%s: no such signal", text);
}

void wi_debug_main_started(void)
{
    const char *text = getenv("WEFT_DUMP_SIGNAL");
    if (!text || !*text)
        install_dump_handler(SIGQUIT);
}

/* ---- faults ---- */

static struct sigaction old_segv, old_bus; /* who handled faults before us */

/* What the faulting thread asks the monitor to print: it has a stack and locks of its own; the fault may have hit
   anything. */
static struct {
    _Atomic uint32_t claimed; /* by the first thread that faults */
    _Atomic uint32_t printed; /* futex */
    struct wi_registers registers;
} fault;

static void describe_overflow(struct wi_stack *stack)
{
    struct wi_thread *t = wi_self();
    struct wi_goroutine *g = t ? t->current : NULL;
    struct wi_snapshot s;
    char who[256];
    if (g && wi_load_relaxed(&g->stack) == stack && wi_snapshot(g, &s, NULL, 0, NULL))
        wi_who(&s, who, sizeof who);
    else
        snprintf(who, sizeof who, "somebody who is not its goroutine");
    wi_report("fatal: %s overflowed its %zu KiB stack", who, ((size_t)1 << stack->size_class) >> 10);
}

static void print_fault(void)
{
    uintptr_t pcs[WI_UNWIND_MAX];
    int n = wi_unwind_here(&fault.registers, pcs, WI_UNWIND_MAX);
    wi_unwind_print(STDERR_FILENO, pcs, n, "    ", false);
    wi_store_release(&fault.printed, 1); /* pairs with the acquire in die_of_overflow */
    wi_os_futex_wake(&fault.printed, 1);
}

static _Noreturn void die_of_overflow(struct wi_stack *stack, const void *ucontext)
{
    if (wi_swap_acq_rel(&fault.claimed, 1) == 0) {
        describe_overflow(stack);
        wi_registers_of_signal(&fault.registers, ucontext);
        wi_monitor_request(WI_REQUEST_FAULT);
    }
    int64_t deadline_ns = wi_os_now_ns() + INT64_C(5000000000); /* the fault may have hit a holder of malloc's lock */
    while (!wi_load_acquire(&fault.printed) && wi_os_now_ns() < deadline_ns) /* pairs with print_fault */
        wi_os_futex_wait(&fault.printed, 0, deadline_ns);
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void fault_handler(int signal, siginfo_t *info, void *ucontext)
{
    int saved_errno = errno;
    bool in_guard = false;
    struct wi_stack *stack = info->si_code > 0 ? wi_stack_find(info->si_addr, &in_guard) : NULL;
    if (stack && in_guard)
        die_of_overflow(stack, ucontext);
    struct sigaction *old = signal == SIGSEGV ? &old_segv : &old_bus;
    errno = saved_errno;
    if (old->sa_flags & SA_SIGINFO) {
        old->sa_sigaction(signal, info, ucontext);
    } else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        old->sa_handler(signal);
    } else if (old->sa_handler == SIG_DFL || info->si_code > 0) { /* a fault is final: again, by default */
        struct sigaction action = {.sa_handler = SIG_DFL};
        sigaction(signal, &action, NULL);
        if (info->si_code <= 0)
            raise(signal); /* sent by somebody, it would not come again by itself */
    }
}

static void install_fault_handler(int signal, struct sigaction *old)
{
    struct sigaction action = {.sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, old);
}

static void remove_fault_handler(int signal, const struct sigaction *old)
{
    struct sigaction now;
    if (sigaction(signal, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == fault_handler)
        sigaction(signal, old, NULL);
}

/* ---- the monitor's part ---- */

void wi_debug_requested(uint32_t requests)
{
    if (requests & WI_REQUEST_FAULT)
        print_fault();
    if (requests & WI_REQUEST_DUMP)
        weft_dump(STDERR_FILENO);
}

/* ---- fatal misuse ---- */

static void describe_caller(int fd)
{
    struct wi_thread *t = wi_self();
    struct wi_snapshot s;
    char who[256];
    if (t && t->current && wi_snapshot(t->current, &s, NULL, 0, NULL))
        dprintf(fd, "%s\n", wi_who(&s, who, sizeof who));
    else
        dprintf(fd, "thread %d\n", (int)wi_os_tid());
    uintptr_t pcs[WI_UNWIND_MAX];
    int n = wi_unwind_here(NULL, pcs, WI_UNWIND_MAX);
    wi_unwind_print(fd, pcs, n, "    ", true);
}

char *wi_debug_stack_text(void)
{
    int fd = memfd_create("weft-stack", MFD_CLOEXEC);
    if (fd < 0)
        return NULL;
    uintptr_t pcs[WI_UNWIND_MAX];
    int n = wi_unwind_here(NULL, pcs, WI_UNWIND_MAX);
    wi_unwind_print(fd, pcs, n, "    ", true);
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size < 0 ? NULL : malloc((size_t)size + 1);
    if (text)
        text[pread(fd, text, (size_t)size, 0) == size ? size : 0] = '\0';
    close(fd);
    return text;
}

void wi_debug_dump(void)
{
    weft_dump(STDERR_FILENO);
}

/* ---- the end of the program ---- */

static bool leaks_wanted;

#ifdef WI_SANITIZER_ASAN
static void show_stack_to_leak_sanitizer(struct wi_goroutine *g, void *unused)
{
    (void)unused;
    struct wi_snapshot s;
    if (wi_snapshot(g, &s, NULL, 0, NULL) && s.sp)
        wi_sanitizer_leak_root((const void *)s.sp, (const void *)s.top);
}
#endif

/* As atexit, but always bound to the library or plugin that weft is in: TSan's own atexit forgets which one that is. */
extern int __cxa_atexit(void (*fn)(void *), void *argument, void *dso);
extern void *__dso_handle __attribute__((visibility("hidden")));

static void at_exit(void *unused)
{
    (void)unused;
    if (wi_load_acquire(&wi_sched.started) != WI_STARTED)
        return;
    if (leaks_wanted)
        weft_leaks(STDERR_FILENO);
    wi_threads_exiting();
#ifdef WI_SANITIZER_ASAN
    wi_snapshot_each(show_stack_to_leak_sanitizer, NULL);
#endif
}

static void install_at_exit(void)
{
    __cxa_atexit(at_exit, NULL, &__dso_handle);
}

void wi_debug_started(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_at_exit);
    const char *text = getenv("WEFT_LEAKS");
    leaks_wanted = text && *text && strcmp(text, "0") != 0;
    wi_fatal_describe = describe_caller;
    install_fault_handler(SIGSEGV, &old_segv);
    install_fault_handler(SIGBUS, &old_bus);
    read_dump_signal();
    wi_deadlock_started();
}

void wi_debug_stopped(void)
{
    remove_dump_handlers();
    remove_fault_handler(SIGSEGV, &old_segv);
    remove_fault_handler(SIGBUS, &old_bus);
    wi_fatal_describe = NULL;
}

void wi_debug_forget(void)
{
    wi_unwind_forked();
    wi_debug_stopped(); /* a fresh runtime installs them again */
    wi_store_relaxed(&fault.claimed, 0);
}
