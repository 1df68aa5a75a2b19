/* plan.h — what fault.c and io_fault.c share: the n-th call of a kind fails in a child, once or from then on. Kinds are the
   program's. */
#ifndef FAULT_PLAN_H
#define FAULT_PLAN_H

#include "../death/death.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>

/* Shared with the child. */
static struct plan {
    int kind, nth, error;
    bool sticky; /* all later calls fail too */
    _Atomic bool armed;
    _Atomic int calls; /* of the kind, since armed */
    _Atomic bool hit;
} * plan;

/* Sets errno when it says yes. */
static bool must_fail(int kind)
{
    if (!plan || !atomic_load(&plan->armed) || plan->kind != kind)
        return false;
    int call = atomic_fetch_add(&plan->calls, 1) + 1;
    if (plan->sticky ? call < plan->nth : call != plan->nth)
        return false;
    atomic_store(&plan->hit, true);
    errno = plan->error;
    return true;
}

/* A function of libc, linked with --wrap: `failure`, where that is said, instead of the call. */
#define WRAP(failed, failure, result, name, parameters, arguments)                                                          \
    result __real_##name parameters;                                                                                        \
    result __wrap_##name parameters;                                                                                        \
    result __wrap_##name parameters                                                                                         \
    {                                                                                                                       \
        return (failed) ? (failure) : __real_##name arguments;                                                              \
    }

/* The same for open, whose kind is OPEN. */
#define WRAP_OPEN                                                                                                           \
    int __real_open(const char *path, int flags, ...);                                                                      \
    int __wrap_open(const char *path, int flags, ...);                                                                      \
    int __wrap_open(const char *path, int flags, ...)                                                                       \
    {                                                                                                                       \
        va_list more;                                                                                                       \
        va_start(more, flags);                                                                                              \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;                                                           \
        va_end(more);                                                                                                       \
        return must_fail(OPEN) ? -1 : __real_open(path, flags, mode);                                                       \
    }

/* Before the plan is looked at or changed. */
static void share_plan(void)
{
    if (plan)
        return;
    plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(plan != MAP_FAILED);
}

/* What the next child is to meet. */
static void make_plan(int kind, int error, bool sticky, int nth)
{
    *plan = (struct plan){.kind = kind, .error = error, .sticky = sticky, .nth = nth};
}

/* The child did not end as it may. */
static TEST_UNUSED_ void plan_failed(const char *allowed)
{
    fprintf(stderr, "kind %d, call %d%s, errno %d\n", plan->kind, plan->nth, plan->sticky ? " and later" : "", plan->error);
    death_unexpected(allowed);
}

/* Which call is to fail after the n-th: the next, or by strides when the scale is small. */
static int next_call(int n)
{
    int stride = test_stride();
    return n == 1 ? 2 + (int)(test_random() % (unsigned)stride) : n + stride;
}

#endif
