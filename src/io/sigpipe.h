/* sigpipe.h — writing without SIGPIPE where the call has no flag for it. weft's own threads block the signal. On any
   other it is blocked during the call, and one that came meanwhile is taken back, unless one was pending before. */
#ifndef WI_SIGPIPE_H
#define WI_SIGPIPE_H

#include "sched/enter.h"
#include <signal.h>

struct wi_sigpipe {
    bool guards, was_pending;
    sigset_t before;
};

static inline void wi_sigpipe_block(struct wi_sigpipe *s)
{
    struct wi_thread *t = wi_self();
    s->guards = !t || t->kind != WI_THREAD_RUNTIME;
    if (WI_LIKELY(!s->guards))
        return;
    sigset_t pipe_only, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &s->before);
    s->was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE);
}

/* To be called on the same thread. Keeps errno. */
static inline void wi_sigpipe_restore(const struct wi_sigpipe *s)
{
    if (WI_LIKELY(!s->guards))
        return;
    int saved = errno;
    sigset_t pipe_only, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!s->was_pending && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE)) {
        static const struct timespec now;
        while (sigtimedwait(&pipe_only, NULL, &now) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
    errno = saved;
}

#endif
