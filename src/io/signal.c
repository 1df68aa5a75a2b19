/* signal.c — signals as values on channels.

   The handler may interrupt anything, so it counts the signal and writes to an eventfd, no more. The poller watches that, so
   whoever looks at the poller, which somebody always does, sends what was counted: `ready` below. No goroutine and no thread
   is there for it, nothing that weft_count or a report would have to leave out. (Rejected: a goroutine that reads the
   eventfd, for that reason; the monitor, which is no thread that weft's locks expect to complete waits; signalfd, which sees
   only what every thread blocks, and the program's threads do not.)

   No signal is lost while the last channel stops. In this order, under the lock:
     1. what the program had is put back        a signal after this is no more of ours
     2. `wanted` loses the bit; a fence
     3. wait until no handler runs
     4. what was counted is sent, also on the channel that stops
   A handler counts itself in `running`, fences, and then loads `wanted`. So it is either seen in 3 and its signal sent in 4,
   or it sees that nobody wants the signal, which the kernel gave it before 1: then it does what the kernel would do now
   (forward). For the same reason `former` is stable while a handler that nobody wants the signal of reads it: it is written
   after `wanted` has the bit and no handler runs.

   A forked child has its parent's handlers and eventfd until `forget` puts back the former handlers; a vfork'ed one has the
   parent's memory. What they catch is none of the parent's: the handler compares the process id and forwards. */
#define _GNU_SOURCE 1
#include "io/signal.h"

#include "chan/chan.h"
#include "io/poller.h"
#include "mem/slab.h"
#include "weft/signal.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SIGNALS 64 /* the kernel's, from 1 */
#define BIT(signo) (UINT64_C(1) << ((signo)-1))

struct subscription {
    struct subscription *next; /* [lock] */
    weft_chan_core *chan;      /* [const] with a reference */
    uint64_t wanted;           /* [lock] */
};

static struct wi_slab subscriptions = {.name = "subscriptions", .record_size = 32, .chunk_records = 128};
_Static_assert(sizeof(struct subscription) <= 32, "a subscription fits its record");

static struct {
    struct wi_lock lock;
    struct subscription *first; /* [lock] */
    uint64_t handled, ignored;  /* [lock] signals with our handler, or ignored by us; former is what they had before */
    struct sigaction former[SIGNALS + 1]; /* [lock; handlers: see above] */
    int event;                            /* [const once made] eventfd + 1; 0: none yet */
    pid_t owner;                          /* [likewise] the process that `event` is for */
    _Atomic uint64_t wanted;              /* [stores: lock] as `handled`, for handlers */
    _Atomic uint32_t running;             /* [atomic] handlers */
    _Atomic uint64_t caught;              /* [atomic] signals whose count may not be 0 */
    _Atomic uint32_t counts[SIGNALS + 1]; /* [atomic] */
} signals;

/* ---- catching ---- */

static void handler(int signo, siginfo_t *info, void *context);

static bool is_function(const struct sigaction *action)
{
    return action->sa_flags & SA_SIGINFO || (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

static bool is_ours(const struct sigaction *action)
{
    return action->sa_flags & SA_SIGINFO && action->sa_sigaction == handler;
}

/* Does what the kernel would do without us. We came here too late; or from a handler of the program that calls the one it
   replaced, which was ours; or because the program put ours back after we had left. */
static void forward(int signo, siginfo_t *info, void *context, const struct sigaction *former)
{
    struct sigaction now;
    sigaction(signo, NULL, &now);
    if (is_function(&now)) {
        if (former->sa_flags & SA_SIGINFO)
            former->sa_sigaction(signo, info, context);
        else if (is_function(former))
            former->sa_handler(signo);
        if (is_function(former) || !is_ours(&now))
            return;
        sigaction(signo, former, NULL);
        now = *former;
    }
    if (now.sa_handler == SIG_DFL && former->sa_handler == SIG_DFL)
        raise(
            signo); /* when this handler returns; what was ignored when it came does not end the program because it no longer is */
}

static void handler(int signo, siginfo_t *info, void *context)
{
    static const uint64_t one = 1;
    int saved = errno;
    struct sigaction former;
    wi_add_relaxed(&signals.running, 1);
    wi_fence_seq_cst(); /* pairs with wait_for_handlers */
    bool wanted = wi_load_acquire(&signals.wanted) & BIT(signo) && signals.owner == getpid(); /* pairs with want */
    if (wanted) {
        wi_add_relaxed(&signals.counts[signo], 1);
        wi_or_acq_rel(&signals.caught, BIT(signo)); /* pairs with the swap in send_caught */
        ssize_t written = write(signals.event - 1, &one, sizeof one);
        (void)written; /* it cannot block, and fails only after 2^64 signals */
    } else {
        former = signals.former[signo];
    }
    wi_sub_acq_rel(&signals.running, 1); /* pairs with the acquire in wait_for_handlers */
    if (!wanted)
        forward(signo, info, context, &former);
    errno = saved;
}

/* Handlers that began before the last store to `wanted` and may not have seen it have ended when this returns. */
static void wait_for_handlers(void)
{
    wi_fence_seq_cst();                       /* pairs with the fence in handler */
    while (wi_load_acquire(&signals.running)) /* pairs with the end of handler */
        sched_yield();
}

/* ---- sending ---- */

/* False: it is full, or closed. t is NULL on the poller's behalf, polled is NULL on ours. */
static bool send_one(weft_chan_core *c, int signo, struct wi_thread *t, struct wi_polled *polled)
{
    struct wi_waiter *ended;
    wi_lock(&c->lock);
    bool sent = wi_chan_send_locked(c, &signo, &ended) == WI_CHAN_DONE;
    wi_unlock(&c->lock);
    if (ended && polled)
        wi_poller_complete(polled, ended->g, ended->ticket);
    else if (ended)
        wi_wait_complete(t, ended->g, ended->ticket);
    return sent;
}

static bool send_to_all(int signo, struct wi_thread *t, struct wi_polled *polled)
{
    bool sent = false;
    for (struct subscription *s = signals.first; s; s = s->next)
        if (s->wanted & BIT(signo))
            sent |= send_one(s->chan, signo, t, polled);
    return sent;
}

/* The lock is held. */
static void send_caught(struct wi_thread *t, struct wi_polled *polled)
{
    uint64_t caught = wi_swap_acq_rel(&signals.caught, 0); /* pairs with handler, which counts first */
    for (; caught; caught &= caught - 1) {
        int signo = __builtin_ctzll(caught) + 1;
        uint32_t n = wi_swap_acq_rel(&signals.counts[signo], 0);
        while (n-- && send_to_all(signo, t, polled)) { /* until all are full */
        }
    }
}

/* The poller's edge; nobody reads the eventfd, every write to it is one. */
static void ready(struct wi_source *source, uint32_t events, struct wi_polled *polled)
{
    (void)source, (void)events;
    wi_perturb();
    wi_lock(&signals.lock);
    send_caught(NULL, polled);
    wi_unlock(&signals.lock);
}

static struct wi_source source = {.ready = ready};

/* ---- what the program had; all with the lock ---- */

/* From now on handlers count these signals, and none reads what the program had. */
static void want(uint64_t which)
{
    wi_store_release(&signals.wanted, wi_load_relaxed(&signals.wanted) | which); /* pairs with handler */
    wait_for_handlers();
}

/* No handler counts them any more, and what was counted is sent. */
static void unwant(uint64_t which, struct wi_thread *t)
{
    wi_store_release(&signals.wanted, wi_load_relaxed(&signals.wanted) & ~which);
    wait_for_handlers();
    if (t)
        send_caught(t, NULL);
}

static void note_former(int signo)
{
    struct sigaction now;
    if ((signals.handled | signals.ignored) & BIT(signo) || sigaction(signo, NULL, &now) != 0 || is_ours(&now))
        return;
    signals.former[signo] = now;
}

static void install(int signo)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    note_former(signo);
    signals.ignored &= ~BIT(signo);
    signals.handled |= BIT(signo);
    sigaction(signo, &action, NULL);
}

static void ignore(int signo)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigemptyset(&action.sa_mask);
    note_former(signo);
    signals.handled &= ~BIT(signo);
    signals.ignored |= BIT(signo);
    sigaction(signo, &action, NULL);
}

/* Unless the program has installed something else meanwhile. */
static void put_back(int signo)
{
    struct sigaction now;
    bool handled = signals.handled & BIT(signo);
    signals.handled &= ~BIT(signo);
    signals.ignored &= ~BIT(signo);
    if (sigaction(signo, NULL, &now) == 0 && (handled ? is_ours(&now) : !is_function(&now) && now.sa_handler == SIG_IGN))
        sigaction(signo, &signals.former[signo], NULL);
}

static void each(uint64_t which, void (*fn)(int signo))
{
    for (; which; which &= which - 1)
        fn(__builtin_ctzll(which) + 1);
}

/* ---- subscriptions ---- */

/* Signals that cannot be handled, or must not be, because the fault would come again for ever. */
static bool is_valid(int signo)
{
    static const int refused[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (signo == refused[i])
            return false;
    return signo > 0 && signo <= SIGNALS && (signo < 32 || signo >= SIGRTMIN); /* between are libc's own */
}

/* 0: one of them is not valid. */
static uint64_t set_of(const int *numbers, unsigned n)
{
    uint64_t set = 0;
    for (int signo = 1; n == 0 && signo <= SIGNALS; signo++)
        if (is_valid(signo))
            set |= BIT(signo);
    for (unsigned i = 0; i < n; i++) {
        if (!is_valid(numbers[i]))
            return 0;
        set |= BIT(numbers[i]);
    }
    return set;
}

static int make_event(void)
{
    if (signals.event)
        return 0;
    int saved = errno, event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = event < 0 ? -errno : wi_poller_add(event, EPOLLIN, &source);
    if (!error) {
        signals.event = event + 1;
        signals.owner = getpid();
        wi_guard_poller(); /* who idles already may not know that there is one */
    } else if (event >= 0) {
        close(event);
    }
    errno = saved;
    return error;
}

/* Where the channel's subscription is linked, or would be. */
static struct subscription **find(weft_chan_core *c)
{
    struct subscription **s = &signals.first;
    while (*s && (*s)->chan != c)
        s = &(*s)->next;
    return s;
}

/* Takes the signals from all subscriptions; *ended are those that have none left. */
static void unsubscribe(uint64_t which, struct subscription **ended)
{
    *ended = NULL;
    for (struct subscription **link = &signals.first, *s; (s = *link);) {
        s->wanted &= ~which;
        if (s->wanted) {
            link = &s->next;
            continue;
        }
        *link = s->next;
        s->next = *ended;
        *ended = s;
    }
}

/* Without the lock, outside weft. */
static void free_subscriptions(struct subscription *list)
{
    for (struct subscription *next; list; list = next) {
        next = list->next;
        weft_chan_core_free(list->chan);
        wi_slab_give_one(&subscriptions, list);
    }
}

/* spare becomes NULL when it is used. */
static int subscribe(weft_chan_core *c, uint64_t set, struct subscription **spare)
{
    int error = make_event();
    if (error)
        return error;
    struct subscription **link = find(c);
    if (!*link) {
        **spare = (struct subscription){.chan = weft_chan_core_ref(c)};
        *link = *spare;
        *spare = NULL;
    }
    uint64_t fresh = set & ~signals.handled;
    want(fresh);
    each(fresh, install);
    (*link)->wanted |= set;
    return 0;
}

int weft_signal_notify_(weft_chan_core *c, const int *numbers, unsigned n)
{
    if (!c)
        wi_fatal("weft_signal_notify with a NULL channel");
    uint64_t set = set_of(numbers, n);
    if (!set)
        return -EINVAL;
    struct wi_thread *t = wi_enter();
    if (!t)
        return -EDEADLK;
    void *record;
    int error = -ENOMEM;
    if (wi_slab_take(&subscriptions, 1, &record) != 0) {
        struct subscription *spare = record;
        wi_lock(&signals.lock);
        error = subscribe(c, set, &spare);
        wi_unlock(&signals.lock);
        if (spare)
            wi_slab_give_one(&subscriptions, spare);
    }
    wi_leave(t);
    return error;
}

void weft_signal_stop_(weft_chan_core *c)
{
    if (!wi_signals_wanted())
        return;
    struct wi_thread *t = wi_enter_or_die();
    wi_lock(&signals.lock);
    struct subscription **link = find(c), *s = *link;
    if (s) {
        uint64_t last = s->wanted;
        for (struct subscription *other = signals.first; other; other = other->next)
            if (other != s)
                last &= ~other->wanted;
        each(last, put_back);
        unwant(last, t);
        *link = s->next;
        s->next = NULL;
    }
    wi_unlock(&signals.lock);
    wi_leave(t);
    free_subscriptions(s);
}

int weft_signal_ignore_(const int *numbers, unsigned n)
{
    uint64_t set = set_of(numbers, n);
    if (!set)
        return -EINVAL;
    struct wi_thread *t = wi_enter();
    if (!t)
        return -EDEADLK;
    struct subscription *ended;
    wi_lock(&signals.lock);
    want(set);
    each(set, ignore);
    unwant(set, t);
    unsubscribe(set, &ended);
    wi_unlock(&signals.lock);
    wi_leave(t);
    free_subscriptions(ended);
    return 0;
}

int weft_signal_reset_(const int *numbers, unsigned n)
{
    uint64_t set = set_of(numbers, n);
    if (!set)
        return -EINVAL;
    struct wi_thread *t = wi_enter();
    if (!t)
        return -EDEADLK;
    struct subscription *ended;
    wi_lock(&signals.lock);
    each(set & (signals.handled | signals.ignored), put_back);
    unwant(set, t);
    unsubscribe(set, &ended);
    wi_unlock(&signals.lock);
    wi_leave(t);
    free_subscriptions(ended);
    return 0;
}

/* ---- the runtime ---- */

bool wi_signals_wanted(void)
{
    return wi_load_relaxed(&signals.wanted) != 0;
}

void wi_signals_stop(void)
{
    struct subscription *ended;
    wi_lock(&signals.lock);
    each(signals.handled | signals.ignored, put_back);
    unwant(UINT64_MAX, NULL);
    unsubscribe(UINT64_MAX, &ended);
    if (signals.event)
        close(signals.event - 1);
    signals.event = 0;
    wi_unlock(&signals.lock);
    free_subscriptions(ended);
}

/* What is ignored stays so. */
void wi_signals_forget(void)
{
    memset(&signals.lock, 0, sizeof signals.lock);
    each(signals.handled, put_back);
    wi_store_relaxed(&signals.wanted, 0);
    wi_store_relaxed(&signals.running, 0);
    wi_store_relaxed(&signals.caught, 0);
    for (int signo = 1; signo <= SIGNALS; signo++)
        wi_store_relaxed(&signals.counts[signo], 0);
    signals.first = NULL;
    if (signals.event)
        close(signals.event - 1);
    signals.event = 0;
    wi_slab_forget(&subscriptions);
}
