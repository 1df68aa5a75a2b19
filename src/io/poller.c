/* poller.c — one epoll instance for the process. It is made when the first descriptor is to be waited for; from then on
   whoever runs out of work looks at it, one idle thread sits in it, and the monitor looks when nobody does (sched/idle.c,
   monitor.c).

   Everything is watched edge-triggered and for both directions once and for all, so that a wait costs no system call;
   what that asks of waiters is in fd_wait.c. Any number of threads may look at the same time: an edge is reported to one of
   them.

   A key is a descriptor with its generation (the top bit set, see fd.c), the address of a wi_source, or 0: an interrupt,
   by which a thread that sits in the poller is woken. Nobody reads that eventfd: each write to it is an edge. Another
   thread that happens to look may be told of it; it writes again. */
#include "io/poller.h"

#include "io/fd.h"
#include "sched/hooks.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS 32 /* at a look: they shall fit into the run queue, and be seen to before the next look */

static struct {
    struct wi_lock lock;
    _Atomic int epoll; /* [stores: lock] descriptor + 1; 0: none yet */
    int interrupt;     /* [const once epoll is set] an eventfd */
} poller;

static int make_locked(void)
{
    int epoll = wi_os_epoll_create();
    if (epoll < 0)
        return epoll;
    int interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = interrupt < 0 ? -errno : wi_os_epoll_add(epoll, interrupt, EPOLLIN | EPOLLET, 0);
    if (error) {
        close(epoll);
        if (interrupt >= 0)
            close(interrupt);
        return error;
    }
    poller.interrupt = interrupt;
    wi_store_release(&poller.epoll, epoll + 1); /* pairs with the acquire in instance */
    wi_store_release(&wi_sched.polls, true);
    return 0;
}

/* The epoll descriptor, which is made when there is none. */
static int instance(void)
{
    int epoll = wi_load_acquire(&poller.epoll); /* pairs with make_locked */
    if (WI_LIKELY(epoll != 0))
        return epoll - 1;
    int saved = errno;
    wi_lock(&poller.lock);
    int error = wi_load_relaxed(&poller.epoll) ? 0 : make_locked();
    wi_unlock(&poller.lock);
    errno = saved;
    return error ? error : wi_load_relaxed(&poller.epoll) - 1;
}

int wi_poller_watch(int fd, uint64_t key)
{
    int epoll = instance();
    if (epoll < 0)
        return epoll;
    return wi_os_epoll_add(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET, key);
}

void wi_poller_unwatch(int fd)
{
    int epoll = wi_load_acquire(&poller.epoll); /* pairs with make_locked */
    if (epoll)
        wi_os_epoll_remove(epoll - 1, fd);
}

int wi_poller_add(int fd, uint32_t events, struct wi_source *source)
{
    int epoll = instance();
    if (epoll < 0)
        return epoll;
    return wi_os_epoll_add(epoll, fd, events | EPOLLET, (uint64_t)(uintptr_t)source);
}

void wi_poller_complete(struct wi_polled *polled, struct wi_goroutine *g, uint64_t ticket)
{
    wi_perturb();
    if (!wi_wait_done(g, ticket))
        return;
    *polled->end = g;
    polled->end = &g->next;
}

struct wi_goroutine *wi_poller_finish(struct wi_polled *polled)
{
    *polled->end = NULL;
    for (struct wi_goroutine *g = polled->first; g; g = g->next)
        wi_prefetch_stack(g);
    return polled->first;
}

struct wi_goroutine *wi_poller_poll(int64_t deadline_ns)
{
    struct epoll_event events[EVENTS];
    int epoll = wi_load_acquire(&poller.epoll); /* pairs with make_locked */
    int n = epoll ? wi_os_epoll_wait(epoll - 1, events, EVENTS, deadline_ns) : 0;
    if (WI_UNLIKELY(n < 0 && n != -EINTR))
        wi_fatal("the descriptor that weft polls with was closed by the program");
    struct wi_polled polled = {.end = &polled.first};
    bool misdirected = false;
    /* Memory is slow, and a stack's page is one that the processor has forgotten: each step is taken for all before the
       next (wi_poller_finish is the last), so that what it fetches for one comes while it goes on with the others. */
    for (int i = 0; i < n; i++)
        if (events[i].data.u64 & WI_FD_KEY)
            wi_fd_prefetch(events[i].data.u64);
    for (int i = 0; i < n; i++)
        if (events[i].data.u64 & WI_FD_KEY)
            wi_fd_prefetch_waiter(events[i].data.u64);
    for (int i = 0; i < n; i++) {
        uint64_t key = events[i].data.u64;
        if (key & WI_FD_KEY) {
            wi_fd_event(key, events[i].events, &polled);
        } else if (key) {
            struct wi_source *source = (struct wi_source *)(uintptr_t)key;
            source->ready(source, events[i].events, &polled);
        } else {
            misdirected = deadline_ns == 0;
        }
    }
    if (misdirected && wi_load_relaxed(&wi_sched.sitter))
        wi_poller_interrupt();
    return wi_poller_finish(&polled);
}

void wi_poller_interrupt(void)
{
    static const uint64_t one = 1;
    int saved = errno;
    ssize_t written = write(poller.interrupt, &one, sizeof one);
    (void)written; /* it fails only when the count is full after 2^64 interrupts, and cannot block */
    errno = saved;
}

static void close_all(void)
{
    if (!wi_load_relaxed(&poller.epoll))
        return;
    close(poller.interrupt);
    close(wi_load_relaxed(&poller.epoll) - 1);
    wi_store_relaxed(&poller.epoll, 0);
}

void wi_poller_stop(void)
{
    close_all();
    wi_fds_stop();
}

void wi_poller_forget(void)
{
    close_all(); /* the parent keeps its own copies */
    memset(&poller.lock, 0, sizeof poller.lock);
    wi_fds_forget();
}
