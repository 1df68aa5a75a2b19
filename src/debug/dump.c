/* dump.c — every goroutine, for people: who it is, what it does, where it stands. */
#include "debug/debug.h"
#include "debug/unwind.h"
#include "sched/sched.h"
#include "weft/debug.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_COPIED ((size_t)64 << 10) /* of a stack that is deeper the innermost part is shown */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *wi_who(const struct wi_snapshot *s, char *text, size_t size)
{
    if (s->is_thread)
        snprintf(text, size, "thread %d", (int)s->tid);
    else
        snprintf(text, size, "goroutine %llu%s%s%s (%s, %s:%u)", (unsigned long long)s->id, s->name[0] ? " \"" : "", s->name,
                 s->name[0] ? "\"" : "", s->site->function, base_name(s->site->file), s->site->line);
    return text;
}

struct dump {
    int fd, goroutines;
    int64_t now_ns;
    char *stack; /* room for a copy, or NULL when there is no memory for it */
};

static void print_stack(struct dump *dump, const struct wi_snapshot *s, size_t copied)
{
    if (!dump->stack || !s->sp || copied < sizeof(struct wi_saved))
        return;
    struct wi_registers registers;
    wi_registers_of_suspended(&registers, (const struct wi_saved *)(const void *)dump->stack, s->sp);
    uintptr_t pcs[WI_UNWIND_MAX];
    int n = wi_unwind_stack(&registers, dump->stack, s->sp, copied, pcs, WI_UNWIND_MAX);
    wi_unwind_print(dump->fd, pcs, n, "    ", true);
}

static void print_one(struct wi_goroutine *g, void *argument)
{
    struct dump *dump = argument;
    struct wi_snapshot s;
    size_t copied = 0;
    if (!wi_snapshot(g, &s, dump->stack, STACK_COPIED, &copied))
        return;
    if (s.is_thread && s.state != WI_PARKED)
        return; /* outside weft: the debugger's business */
    char who[256], wait[128];
    dprintf(dump->fd, "%s [%s", wi_who(&s, who, sizeof who), wi_wait_text(&s, wait, sizeof wait));
    if (s.state == WI_PARKED && s.since_ns && dump->now_ns > s.since_ns)
        dprintf(dump->fd, ", %.1f s", (double)(dump->now_ns - s.since_ns) / 1e9);
    dprintf(dump->fd, "]\n");
    if (!s.is_thread)
        dump->goroutines++;
    if (s.state == WI_PARKED)
        print_stack(dump, &s, copied);
}

int weft_dump(int fd)
{
    if (wi_load_acquire(&wi_sched.started) != WI_STARTED)
        return 0;
    int saved_errno = errno;
    struct dump dump = {.fd = fd, .now_ns = wi_os_now_ns(), .stack = malloc(STACK_COPIED)};
    wi_snapshot_each(print_one, &dump);
    free(dump.stack);
    errno = saved_errno;
    return dump.goroutines;
}
