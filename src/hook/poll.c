/* poll.c — poll, select and epoll_wait, with their relatives.

   Each is asked first with a time of 0, and again after a wait; what it then says is what the caller gets. The wait is for a
   descriptor: the only one of the set; the caller's own epoll; or, for several, an epoll made for this call, which is itself
   readable when one of the set is ready. Measured, a round trip of 2.8 us between two goroutines: 3.5 us with a poll of one
   descriptor before the read, 6.3 of two, 9 of eight; 50 to 160 with a thread for each call. Rejected: a waiter in each
   descriptor's record, a second way to wait in weft for what programs with goroutines seldom do. With a signal mask the call
   is made elsewhere: the mask is a thread's. */
#define _GNU_SOURCE 1
#include "hook/hook.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

const char hook_poll_file;

/* A wait that poll, select or epoll_wait make. */
struct looking {
    const struct pollfd *set; /* what is waited for */
    nfds_t n;
    int (*look)(void *argument); /* the call with a time of 0: 0: nothing yet; else its result, -1 with errno */
    void *argument;
};

/* ---- waiting for a set ---- */

static short wait_events(short events)
{
    if (events & (POLLRDNORM | POLLRDBAND))
        events |= POLLIN;
    if (events & (POLLWRNORM | POLLWRBAND))
        events |= POLLOUT;
    return (short)(events & (POLLIN | POLLOUT | POLLPRI | POLLRDHUP));
}

/* Adds entry i; one descriptor may be in the set several times. 0 or a negative errno. */
static int watch(int epoll, const struct pollfd *set, nfds_t i)
{
    struct epoll_event event = {.events = (uint32_t)(unsigned short)wait_events(set[i].events)};
    if (set[i].fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, set[i].fd, &event) == 0)
        return 0;
    if (errno == EPERM)
        return 0; /* it is always ready, and was not what the caller wants to know */
    if (errno != EEXIST)
        return -errno;
    for (nfds_t j = 0; j < i; j++)
        if (set[j].fd == set[i].fd)
            event.events |= (uint32_t)(unsigned short)wait_events(set[j].events);
    return epoll_ctl(epoll, EPOLL_CTL_MOD, set[i].fd, &event) == 0 ? 0 : -errno;
}

/* 1: look again; 0: until_ns came; else a negative errno: -ECANCELED, -ETIMEDOUT, or of epoll. */
static int wait_for_several(const struct pollfd *set, nfds_t n, int *epoll, int64_t until_ns)
{
    if (*epoll < 0) {
        *epoll = epoll_create1(EPOLL_CLOEXEC);
        int error = *epoll < 0 ? -errno : 0;
        for (nfds_t i = 0; !error && i < n; i++)
            error = watch(*epoll, set, i);
        if (error)
            return error;
    }
    int events = weft_wait_fd_until_(*epoll, POLLIN, until_ns);
    return events >= 0 ? 1 : events == -ETIME ? 0 : events;
}

static int wait_for_none(int64_t until_ns)
{
    int error = weft_sleep(until_ns == INT64_MAX ? INT64_MAX : until_ns - weft_now());
    return error;
}

static int wait_for_set(const struct looking *it, int *epoll, int64_t until_ns)
{
    const struct pollfd *only = NULL;
    nfds_t used = 0;
    for (nfds_t i = 0; i < it->n; i++)
        if (it->set[i].fd >= 0) {
            only = &it->set[i];
            used++;
        }
    if (used == 0)
        return wait_for_none(until_ns);
    if (used > 1)
        return wait_for_several(it->set, it->n, epoll, until_ns);
    int events = weft_wait_fd_until_(only->fd, wait_events(only->events), until_ns);
    return events >= 0 || events == -EBADF ? 1
           : events == -ETIME              ? 0
                                           : events; /* closed: the call itself says how that looks */
}

static bool is_own(int error)
{
    return error == -ECANCELED || error == -ETIMEDOUT;
}

/* Looks until there is something or until_ns comes: the call's result, or a negative errno; *failed: it could not wait. */
static ssize_t look_until(const struct looking *it, int64_t until_ns, bool *failed)
{
    int epoll = -1, result;
    int64_t pause_ns = 0;
    for (bool first = true;; first = false) {
        if ((result = it->look(it->argument)) != 0) {
            result = result < 0 ? -errno : result;
            break;
        }
        if (until_ns != INT64_MAX && until_ns <= weft_now())
            break;
        if (!first && (result = hook_pause(&pause_ns, until_ns)) != 0)
            break;
        if ((result = wait_for_set(it, &epoll, until_ns)) < 0) {
            *failed = !is_own(result);
            break;
        }
    }
    if (epoll >= 0)
        weft_close_fd(epoll);
    return result;
}

/* ---- elsewhere: with a signal mask, or when there is no descriptor left for an epoll ---- */

struct elsewhere {
    void (*make)(struct elsewhere *it);
    struct pollfd *set;
    nfds_t n;
    fd_set *sets[3];
    struct epoll_event *events;
    int epoll, size;
    int64_t until_ns;
    const struct timespec *time; /* the caller's, or what is left of until_ns */
    struct timespec left;
    const sigset_t *mask;
    int result;
};

static void make_elsewhere(void *argument)
{
    struct elsewhere *it = argument;
    if (!it->time && it->until_ns != INT64_MAX) {
        int64_t left_ns = it->until_ns - weft_now();
        left_ns = left_ns > 0 ? left_ns : 0;
        it->left = (struct timespec){left_ns / WEFT_SECOND, left_ns % WEFT_SECOND};
        it->time = &it->left;
    }
    it->make(it);
}

static void make_ppoll(struct elsewhere *it)
{
    it->result = hook_next()->ppoll(it->set, it->n, it->time, it->mask);
}

static void make_pselect(struct elsewhere *it)
{
    it->result = hook_next()->pselect((int)it->n, it->sets[0], it->sets[1], it->sets[2], it->time, it->mask);
}

static void make_epoll_pwait2(struct elsewhere *it)
{
    if (hook_next()->epoll_pwait2) {
        it->result = hook_next()->epoll_pwait2(it->epoll, it->events, it->size, it->time, it->mask);
        if (it->result >= 0 || errno != ENOSYS)
            return;
    }
    int64_t ms = it->time ? it->time->tv_sec * 1000 + (it->time->tv_nsec + 999999) / 1000000 : -1;
    it->result = hook_next()->epoll_pwait(it->epoll, it->events, it->size, ms > INT_MAX ? INT_MAX : (int)ms, it->mask);
}

/* ---- poll ---- */

static int look_poll(void *argument)
{
    const struct elsewhere *it = argument;
    return hook_next()->poll(it->set, it->n, 0);
}

static int poll_until(struct pollfd *set, nfds_t n, int64_t until_ns)
{
    struct elsewhere it = {.make = make_ppoll, .set = set, .n = n, .until_ns = until_ns};
    struct looking looking = {.set = set, .n = n, .look = look_poll, .argument = &it};
    bool failed = false;
    struct hook_call call = hook_begin();
    ssize_t result = hook_end(&call, look_until(&looking, until_ns, &failed));
    if (!failed)
        return (int)result;
    errno = call.error;
    hook_elsewhere(make_elsewhere, &it);
    return it.result;
}

HOOK int poll(struct pollfd *set, nfds_t n, int ms)
{
    return ms == 0 || !weft_hooked_() ? hook_next()->poll(set, n, ms) : poll_until(set, n, hook_until_ms(ms));
}

HOOK_ALIAS("poll") int __poll(struct pollfd *set, nfds_t n, int ms);

HOOK int __poll_chk(struct pollfd *set, nfds_t n, int ms, size_t room)
{
    return room / sizeof *set < n ? hook_next()->__poll_chk(set, n, ms, room) : poll(set, n, ms);
}

/* Whether a time that the caller gave is one; no time is for ever. */
static bool is_time(const struct timespec *time)
{
    return !time || (time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < 1000000000);
}

HOOK int ppoll(struct pollfd *set, nfds_t n, const struct timespec *time, const sigset_t *mask)
{
    if (!weft_hooked_() || !is_time(time))
        return hook_next()->ppoll(set, n, time, mask);
    if (!mask)
        return poll_until(set, n, hook_until(time));
    struct elsewhere it = {.make = make_ppoll, .set = set, .n = n, .time = time, .until_ns = INT64_MAX, .mask = mask};
    hook_elsewhere(make_elsewhere, &it);
    return it.result;
}

HOOK int __ppoll_chk(struct pollfd *set, nfds_t n, const struct timespec *time, const sigset_t *mask, size_t room)
{
    return room / sizeof *set < n ? hook_next()->__ppoll_chk(set, n, time, mask, room) : ppoll(set, n, time, mask);
}

/* ---- select ---- */

#define WORD_BITS (8 * (int)sizeof(long))

static size_t set_bytes(nfds_t n)
{
    return (n + (nfds_t)WORD_BITS - 1) / (nfds_t)WORD_BITS * sizeof(long);
}

struct selection {
    struct elsewhere *it; /* its sets are the caller's */
    long *copies;         /* of the caller's sets, one behind the other: what is asked */
};

static bool is_in(const struct selection *s, int set, nfds_t fd)
{
    if (!s->it->sets[set])
        return false;
    const long *words = s->copies + (size_t)set * set_bytes(s->it->n) / sizeof(long);
    return words[fd / (nfds_t)WORD_BITS] >> (fd % (nfds_t)WORD_BITS) & 1;
}

static void restore_sets(const struct selection *s)
{
    size_t bytes = set_bytes(s->it->n);
    for (int i = 0; i < 3; i++)
        if (s->it->sets[i])
            memcpy(s->it->sets[i], (char *)s->copies + (size_t)i * bytes, bytes);
}

static int look_select(void *argument)
{
    const struct selection *s = argument;
    static const struct timespec now;
    restore_sets(s);
    return hook_next()->pselect((int)s->it->n, s->it->sets[0], s->it->sets[1], s->it->sets[2], &now, NULL);
}

static nfds_t list_selected(const struct selection *s, struct pollfd *set)
{
    static const short events[] = {POLLIN, POLLOUT, POLLPRI};
    nfds_t used = 0;
    for (nfds_t fd = 0; fd < s->it->n; fd++) {
        int wanted = 0;
        for (int i = 0; i < 3; i++)
            if (is_in(s, i, fd))
                wanted |= events[i];
        if (wanted)
            set[used++] = (struct pollfd){.fd = (int)fd, .events = (short)wanted};
    }
    return used;
}

static int select_until(int n, fd_set *const sets[3], int64_t until_ns)
{
    struct elsewhere it = {.make = make_pselect, .n = (nfds_t)n, .sets = {sets[0], sets[1], sets[2]}, .until_ns = until_ns};
    size_t bytes = set_bytes(it.n);
    struct hook_call call = hook_begin();
    long *copies = calloc(3, bytes + 1);
    struct pollfd *set = malloc((it.n + 1) * sizeof *set);
    ssize_t result = -ENOMEM;
    bool failed = false;
    if (copies && set) {
        for (int i = 0; i < 3; i++)
            if (sets[i])
                memcpy((char *)copies + (size_t)i * bytes, sets[i], bytes);
        struct selection s = {&it, copies};
        struct looking looking = {.set = set, .n = list_selected(&s, set), .look = look_select, .argument = &s};
        result = look_until(&looking, until_ns, &failed);
        if (failed || (result < 0 && is_own((int)result)))
            restore_sets(&s);
    }
    free(copies);
    free(set);
    result = hook_end(&call, result);
    if (!failed)
        return (int)result;
    errno = call.error;
    hook_elsewhere(make_elsewhere, &it);
    return it.result;
}

HOOK int select(int n, fd_set *read, fd_set *write, fd_set *except, struct timeval *time)
{
    bool waits = !time || (time->tv_sec >= 0 && time->tv_usec >= 0 && time->tv_sec + time->tv_usec > 0);
    if (!waits || n < 0 || !weft_hooked_())
        return hook_next()->select(n, read, write, except, time);
    int64_t until_ns = INT64_MAX;
    if (time)
        until_ns = hook_until(&(struct timespec){time->tv_sec + time->tv_usec / 1000000, time->tv_usec % 1000000 * 1000});
    int result = select_until(n, (fd_set *const[3]){read, write, except}, until_ns);
    if (time && until_ns != INT64_MAX) { /* on Linux it says what is left */
        int64_t left_ns = until_ns - weft_now();
        left_ns = left_ns > 0 ? left_ns : 0;
        *time = (struct timeval){left_ns / WEFT_SECOND, left_ns % WEFT_SECOND / 1000};
    }
    return result;
}

HOOK_ALIAS("select") int __select(int n, fd_set *read, fd_set *write, fd_set *except, struct timeval *time);

HOOK int pselect(int n, fd_set *read, fd_set *write, fd_set *except, const struct timespec *time, const sigset_t *mask)
{
    if (!weft_hooked_() || n < 0 || !is_time(time))
        return hook_next()->pselect(n, read, write, except, time, mask);
    if (!mask)
        return select_until(n, (fd_set *const[3]){read, write, except}, hook_until(time));
    struct elsewhere it = {.make = make_pselect,
                           .n = (nfds_t)n,
                           .sets = {read, write, except},
                           .time = time,
                           .until_ns = INT64_MAX,
                           .mask = mask};
    hook_elsewhere(make_elsewhere, &it);
    return it.result;
}

/* ---- epoll ---- */

static int look_epoll(void *argument)
{
    const struct elsewhere *it = argument;
    return hook_next()->epoll_wait(it->epoll, it->events, it->size, 0);
}

static int epoll_until(int epoll, struct epoll_event *events, int size, int64_t until_ns)
{
    struct elsewhere it = {.make = make_epoll_pwait2, .epoll = epoll, .events = events, .size = size, .until_ns = until_ns};
    struct pollfd set = {.fd = epoll, .events = POLLIN};
    struct looking looking = {.set = &set, .n = 1, .look = look_epoll, .argument = &it};
    bool failed = false;
    struct hook_call call = hook_begin();
    ssize_t result = hook_end(&call, look_until(&looking, until_ns, &failed));
    if (!failed)
        return (int)result;
    errno = call.error;
    hook_elsewhere(make_elsewhere, &it);
    return it.result;
}

HOOK int epoll_wait(int epoll, struct epoll_event *events, int size, int ms)
{
    if (ms == 0 || !weft_hooked_())
        return hook_next()->epoll_wait(epoll, events, size, ms);
    return epoll_until(epoll, events, size, hook_until_ms(ms));
}

HOOK int epoll_pwait(int epoll, struct epoll_event *events, int size, int ms, const sigset_t *mask)
{
    if (ms == 0 || !weft_hooked_())
        return hook_next()->epoll_pwait(epoll, events, size, ms, mask);
    if (!mask)
        return epoll_until(epoll, events, size, hook_until_ms(ms));
    struct elsewhere it = {.make = make_epoll_pwait2, .epoll = epoll, .events = events, .size = size, .mask = mask};
    it.until_ns = hook_until_ms(ms);
    hook_elsewhere(make_elsewhere, &it);
    return it.result;
}

HOOK int epoll_pwait2(int epoll, struct epoll_event *events, int size, const struct timespec *time, const sigset_t *mask)
{
    if (!hook_next()->epoll_pwait2) {
        errno = ENOSYS;
        return -1;
    }
    if (!weft_hooked_() || !is_time(time))
        return hook_next()->epoll_pwait2(epoll, events, size, time, mask);
    if (!mask)
        return epoll_until(epoll, events, size, hook_until(time));
    struct elsewhere it = {.make = make_epoll_pwait2,
                           .epoll = epoll,
                           .events = events,
                           .size = size,
                           .time = time,
                           .until_ns = INT64_MAX,
                           .mask = mask};
    hook_elsewhere(make_elsewhere, &it);
    return it.result;
}
