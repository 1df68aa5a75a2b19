/* hooked.c — what libweft_hook asks of weft: the calls of io.h for it, with what the public ones lack: a time up to which to
   wait, which is the call's and not the descriptor's or a context's. */
#include "io/fd.h"
#include "sched/enter.h"
#include "weft/io.h"

#include <sys/ioctl.h>

/* The caller's frame lies on its goroutine's stack: not on one for signals, nor on that of a coroutine of somebody
   else's. */
static bool on_own_stack(struct wi_goroutine *g)
{
    const char *here = __builtin_frame_address(0);
    struct wi_stack *stack = wi_load_relaxed(&g->stack);
    return here >= stack->low && here < wi_stack_top(stack);
}

bool weft_hooked_(void)
{
    struct wi_thread *t = wi_self();
    if (!t || t->outdated || !t->current || (wi_load_relaxed(&t->epoch) & 1) || t->pins != 0)
        return false;
    struct wi_goroutine *g = t->current;
    /* Who stays is in a hooked call already, and weft makes this one for it. Who is in weft_blocking has a thread to block. */
    return !(g->flags & (WI_G_STAYS | WI_G_UNHOOKED)) && on_own_stack(g);
}

int weft_wait_fd_until_(int fd, int events, int64_t until_ns)
{
    return wi_fd_wait_until(fd, events, until_ns == INT64_MAX ? 0 : until_ns <= 0 ? 1 : until_ns);
}

bool weft_has_more_(int fd, int64_t until_ns)
{
    int left = 0, events = weft_wait_fd_until_(fd, POLLIN, until_ns);
    return events >= 0 && (!(events & POLLERR) || (ioctl(fd, FIONREAD, &left) == 0 && left > 0));
}

struct attempt {
    weft_attempt_ attempt;
    void *argument;
};

static ssize_t make_attempt(enum wi_fd_kind kind, int fd, void *argument)
{
    struct attempt *it = argument;
    (void)kind;
    return it->attempt(fd, it->argument);
}

ssize_t weft_attempt_fd_(int fd, int events, weft_attempt_ attempt, void *argument, size_t whole, int64_t until_ns)
{
    struct attempt it = {attempt, argument};
    return wi_fd_do_until(fd, events & POLLOUT ? WI_WRITES : WI_READS, make_attempt, &it, whole,
                          until_ns == INT64_MAX ? 0
                          : until_ns <= 0       ? 1
                                                : until_ns);
}

bool weft_knows_fd_(int fd)
{
    return wi_fd_known(fd);
}

void weft_forget_fd_(int fd)
{
    if (wi_fd_known(fd))
        wi_fd_new(fd, WI_FD_UNKNOWN);
}
