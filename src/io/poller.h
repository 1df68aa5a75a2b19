/* poller.h — one epoll instance, looked at by whichever thread has nothing better to do (sched/idle.c), and the
   completions that come of a look. */
#ifndef WI_POLLER_H
#define WI_POLLER_H

#include "sched/waiter.h"

/* What a look has completed so far: goroutines at rest, to be queued by who looked. Begins as {.end = &polled.first}. */
struct wi_polled {
    struct wi_goroutine *first, **end;
};

/* Something to be watched that is not a descriptor of the program, such as a ring of io_uring. Lives while it is watched. */
struct wi_source {
    /* Called with the poll(2) events that came (edge-triggered), by any thread, perhaps by several at once, inside weft
       or on the monitor's thread; so there may be no wi_self(). Must not block. */
    void (*ready)(struct wi_source *source, uint32_t events, struct wi_polled *polled);
};
/* Watches fd for events, edge-triggered. 0, -ENOMEM, -ENOSPC, -EMFILE, -ENFILE. Callable anywhere. */
int wi_poller_add(int fd, uint32_t events, struct wi_source *source);
/* For wi_source.ready: the caller has claimed the wait `ticket` of g (wi_wait_claim; 0: an exclusive one): ends it.
   Nothing of the waiter may be touched after. */
void wi_poller_complete(struct wi_polled *polled, struct wi_goroutine *g, uint64_t ticket);
/* Who is ready, linked by next. */
struct wi_goroutine *wi_poller_finish(struct wi_polled *polled);

/* For descriptors, see fd_wait.c: events come to wi_fd_event with this key, which has WI_FD_KEY. Errors as above; -EPERM:
   always ready. */
#define WI_FD_KEY (UINT64_C(1) << 63)
int wi_poller_watch(int fd, uint64_t key);
void wi_poller_unwatch(int fd);

/* For hooks.h: looks, or waits until deadline_ns (0: looks only); the goroutines that are ready now, linked by next. */
struct wi_goroutine *wi_poller_poll(int64_t deadline_ns);
void wi_poller_interrupt(void);
void wi_poller_stop(void);
void wi_poller_forget(void);

#endif
