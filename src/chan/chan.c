/* chan.c — channels: a lock, a buffer, a queue of waiting receivers and one of waiting senders.

   A value goes straight from the sender's stack to the receiver's when the other side waits. The one that completes a waiter
   has copied, unlinked and unlocked before it lets the waiter go; after that nothing of waiter or channel is touched, so
   that a receiver may free the channel before the sender's call has returned. */
#include "chan/chan.h"

#include "mem/slab.h"
#include "sched/stop.h"
#include "timer/timeout.h"

#include <stdlib.h>

static struct wi_slab chans = {.name = "channels", .record_size = 128, .chunk_records = 2048};
_Static_assert(sizeof(struct weft_chan_core) <= 128, "a channel fits its record");

const struct wi_wait_kind wi_waits_for_send = {.text = "send on channel"};
const struct wi_wait_kind wi_waits_for_recv = {.text = "receive on channel"};
const struct wi_wait_kind wi_waits_for_ever = {.text = "NULL channel or empty select"};

void wi_chans_forget(void)
{
    wi_slab_forget(&chans);
}

/* ---- life ---- */

void wi_chan_init(weft_chan_core *c, size_t size, size_t capacity, char *buffer)
{
    wi_store_relaxed(&c->closed, false);
    c->element_size = size;
    c->capacity = capacity;
    c->head = c->tail = 0;
    c->buffer = buffer;
    wi_store_relaxed(&c->receivers.first, NULL);
    wi_store_relaxed(&c->senders.first, NULL);
    c->receivers.last = c->senders.last = NULL;
    wi_store_relaxed(&c->count, 0);
    wi_store_release(&c->references, 1);
}

static weft_chan_core *make(size_t size, size_t capacity, char *buffer)
{
    void *record;
    if (wi_slab_take(&chans, 1, &record) == 0)
        return NULL;
    weft_chan_core *c = record;
    wi_chan_init(c, size, capacity, buffer);
    return c;
}

weft_chan_core *weft_chan_core_make(size_t size, size_t capacity)
{
    size_t bytes;
    if (__builtin_mul_overflow(size, capacity, &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    char *buffer = NULL;
    if (bytes && !(buffer = malloc(bytes)))
        return NULL;
    weft_chan_core *c = make(size, capacity, buffer);
    if (!c)
        free(buffer);
    return c;
}

weft_chan_core *wi_chan_make_owned(size_t size, size_t capacity, void *buffer, struct wi_chan_owner *owner)
{
    weft_chan_core *c = make(size, capacity, buffer);
    if (!c)
        return NULL;
    wi_lock(&c->lock); /* a timer of the channel that was in this record may still look whether it is its own */
    c->owner = owner;
    wi_unlock(&c->lock);
    return c;
}

weft_chan_core *weft_chan_core_ref(weft_chan_core *c)
{
    if (c)
        wi_add_relaxed(&c->references, 1);
    return c;
}

void weft_chan_core_free(weft_chan_core *c)
{
    if (!c || wi_sub_acq_rel(&c->references, 1) != 1) /* the last one sees what the others did */
        return;
    wi_lock(&c->lock); /* what somebody completed may still be on its way out of the lock */
    bool waited_on = wi_waitq_first(&c->receivers) || wi_waitq_first(&c->senders);
    char *buffer = c->buffer;
    struct wi_chan_owner *owner = c->owner;
    c->owner = NULL;
    wi_unlock(&c->lock);
    if (waited_on)
        wi_fatal("free of a channel that goroutines wait on");
    if (owner)
        owner->freed(owner);
    else
        free(buffer);
    wi_slab_give_one(&chans, c);
}

size_t weft_chan_core_len(const weft_chan_core *c)
{
    return c ? wi_load_relaxed(&((weft_chan_core *)(uintptr_t)c)->count) : 0;
}

size_t weft_chan_core_cap(const weft_chan_core *c)
{
    return c ? c->capacity : 0;
}

/* ---- operations under the lock ---- */

static inline char *slot(weft_chan_core *c, size_t index)
{
    return c->buffer + index * c->element_size;
}

static inline void advance(weft_chan_core *c, size_t *index)
{
    *index = *index + 1 == c->capacity ? 0 : *index + 1;
}

/* One more is in the buffer. */
static inline void count_put(weft_chan_core *c)
{
    advance(c, &c->tail);
    wi_bump(&c->count, 1);
}

/* The oldest has been taken out of the buffer. */
static inline void count_got(weft_chan_core *c)
{
    advance(c, &c->head);
    wi_bump(&c->count, (size_t)-1);
}

/* Appends to the buffer, which has room. */
static inline void put(weft_chan_core *c, const void *value)
{
    if (c->element_size)
        wi_chan_copy(slot(c, c->tail), value, c->element_size);
    count_put(c);
}

/* Takes the oldest out of the buffer, which is not empty. */
static inline void get(weft_chan_core *c, void *value)
{
    if (value && c->element_size)
        wi_chan_copy(value, slot(c, c->head), c->element_size);
    count_got(c);
}

static inline void win(struct wi_waiter *w, bool ok)
{
    w->ok = ok;
    if (WI_UNLIKELY(w->winner != NULL))
        *w->winner = w;
}

inline __attribute__((always_inline)) enum wi_chan_result wi_chan_send_locked(weft_chan_core *c, const void *value,
                                                                              struct wi_waiter **ended)
{
    *ended = NULL;
    if (WI_UNLIKELY(wi_load_relaxed(&c->closed)))
        return WI_CHAN_CLOSED;
    struct wi_waiter *receiver = wi_waitq_claim(&c->receivers);
    if (receiver) {
        if (receiver->value && c->element_size)
            wi_chan_copy(receiver->value, value, c->element_size);
        win(receiver, true);
        *ended = receiver;
        return WI_CHAN_DONE;
    }
    if (wi_load_relaxed(&c->count) == c->capacity)
        return WI_CHAN_WAIT;
    put(c, value);
    return WI_CHAN_DONE;
}

inline __attribute__((always_inline)) enum wi_chan_result wi_chan_recv_locked(weft_chan_core *c, void *value,
                                                                              struct wi_waiter **ended)
{
    *ended = NULL;
    bool buffered = wi_load_relaxed(&c->count) != 0;
    if (buffered)
        get(c, value);
    struct wi_waiter *sender = wi_waitq_claim(&c->senders);
    if (sender) { /* first in, first out: the buffer's oldest goes to us, the sender's to the buffer */
        if (buffered)
            put(c, sender->value);
        else if (value && c->element_size)
            wi_chan_copy(value, sender->value, c->element_size);
        win(sender, true);
        *ended = sender;
        return WI_CHAN_DONE;
    }
    if (buffered)
        return WI_CHAN_DONE;
    if (!wi_load_relaxed(&c->closed))
        return WI_CHAN_WAIT;
    if (value && c->element_size)
        memset(value, 0, c->element_size);
    return WI_CHAN_CLOSED;
}

/* ---- waiting ---- */

/* Only the caller's context can end that. */
static int block_for_ever(void)
{
    struct wi_thread *t = wi_enter_blocking();
    if (!t)
        return -EDEADLK;
    int reason = wi_sleep_for_ever(t, &wi_waits_for_ever);
    wi_leave(wi_self());
    return reason;
}

/* As wait_in, where the caller's context may end the wait. */
static __attribute__((noinline)) int wait_cancellably(struct wi_thread *t, weft_chan_core *c, struct wi_waitq *q,
                                                      const struct wi_wait_kind *kind, void *value)
{
    struct wi_waiter w = {.g = wi_waiting(t), .value = value};
    if (!wi_wait_begin(w.g, &w.ticket)) {
        wi_unlock(&c->lock);
        return wi_wait_refused(t, w.g, w.ticket);
    }
    wi_waitq_push(q, &w);
    wi_wait_on(t, w.g, kind, c);
    wi_unlock(&c->lock);
    if (wi_wait_shared(t, w.g, w.ticket, INT64_MAX) != WI_WAIT_BY_CONTEXT)
        return w.ok ? 0 : -EPIPE;
    wi_lock(&c->lock);
    wi_waitq_remove(&w);
    wi_unlock(&c->lock);
    return wi_cancel_reason(w.g);
}

/* As wait_in, for threads, pinned goroutines and whatever else is not as usual. */
static __attribute__((noinline)) int wait_slowly(struct wi_thread *t, weft_chan_core *c, struct wi_waitq *q,
                                                 const struct wi_wait_kind *kind, void *value)
{
    struct wi_waiter w = {.g = wi_waiting(t), .value = value};
    if (wi_cancel_of(w.g))
        return wait_cancellably(t, c, q, kind, value);
    wi_waitq_push(q, &w);
    wi_wait_on(t, w.g, kind, c);
    wi_park(t, wi_wait_commit_unlock, &c->lock);
    return w.ok ? 0 : -EPIPE;
}

/* Waits in q; the lock is held and given up. Leaves weft. The operation's result. */
static inline __attribute__((always_inline)) int wait_inline(struct wi_thread *t, weft_chan_core *c, struct wi_waitq *q,
                                                             const struct wi_wait_kind *kind, void *value)
{
    struct wi_goroutine *g = t->current;
    struct wi_worker *worker = wi_load_relaxed(&t->worker);
    if (WI_UNLIKELY(!g || !worker || (g->flags & WI_G_STOPS_SLOWLY))) {
        int result = wait_slowly(t, c, q, kind, value);
        wi_leave(wi_self());
        return result;
    }
    struct wi_waiter w; /* what nobody looks at in an exclusive wait is not set */
    w.g = g;
    w.ticket = 0;
    w.value = value;
    w.winner = NULL;
    w.ok = false;
    wi_waitq_push(q, &w);
    wi_wait_on_since(g, kind, c, wi_load_relaxed(&worker->now_ns));
    wi_stop(t, worker, g, wi_wait_commit_unlock, &c->lock);
    wi_leave(wi_self());
    return w.ok ? 0 : -EPIPE;
}

/* One frame with the switch in it, and callers end by calling it, so that theirs are gone: less to save, and less of the
   stack to fetch when the goroutine goes on. */
static __attribute__((noinline)) int wait_in(struct wi_thread *t, weft_chan_core *c, struct wi_waitq *q,
                                             const struct wi_wait_kind *kind, void *value)
{
    return wait_inline(t, c, q, kind, value);
}

static __attribute__((noinline)) bool wait_for_value(struct wi_thread *t, weft_chan_core *c, void *value)
{
    return wait_inline(t, c, &c->receivers, &wi_waits_for_recv, value) == 0;
}

/* ---- send and receive ----
   Most operations on a buffer find nobody waiting and nobody else at the lock. They take a path without calls, which so needs
   no frame and few registers; at the first thing that is not so it continues in a function of its own, where it is. */

/* For a call that is outside weft. NULL: *result is the result of the call. */
static struct wi_thread *enter_and_lock(weft_chan_core *c, int *result)
{
    if (!c) {
        *result = block_for_ever();
        return NULL;
    }
    struct wi_thread *t = wi_enter_blocking();
    if (t)
        wi_lock(&c->lock);
    else
        *result = -EDEADLK;
    return t;
}

/* With the lock held, which is given up. Leaves weft. */
static __attribute__((noinline)) int send_locked(struct wi_thread *t, weft_chan_core *c, const void *value)
{
    struct wi_waiter *ended;
    enum wi_chan_result result = wi_chan_send_locked(c, value, &ended);
    if (result == WI_CHAN_WAIT)
        return wait_in(t, c, &c->senders, &wi_waits_for_send, (void *)(uintptr_t)value);
    wi_unlock(&c->lock);
    wi_waiter_complete(t, ended);
    wi_leave(t);
    return result == WI_CHAN_DONE ? 0 : -EPIPE;
}

static __attribute__((noinline)) int send_contended(struct wi_thread *t, weft_chan_core *c, const void *value)
{
    wi_lock_slow(&c->lock);
    return send_locked(t, c, value);
}

static __attribute__((noinline)) int send_unusually(weft_chan_core *c, const void *value)
{
    int result;
    struct wi_thread *t = enter_and_lock(c, &result);
    return t ? send_locked(t, c, value) : result;
}

/* Somebody sleeps on the lock, which is free. */
static __attribute__((noinline)) int end_unlocked(struct wi_thread *t, weft_chan_core *c, int result)
{
    wi_unlock_slow(&c->lock);
    wi_leave(t);
    return result;
}

static __attribute__((noinline)) int end_unlocked_ready(struct wi_thread *t, weft_chan_core *c, struct wi_goroutine *g,
                                                        int result)
{
    wi_unlock_slow(&c->lock);
    return wi_ready_and_leave(t, g, result);
}

/* The end of a call that found room or something in the buffer: its result. */
static inline int end_on_buffer(struct wi_thread *t, weft_chan_core *c, int result)
{
    if (!wi_unlock_now(&c->lock))
        return end_unlocked(t, c, result);
    wi_leave(t);
    return result;
}

/* The same when w, the first in q, waited, whose value has been copied. */
static inline int end_with_waiter(struct wi_thread *t, weft_chan_core *c, struct wi_waitq *q, struct wi_waiter *w,
                                  int result)
{
    struct wi_goroutine *g = w->g;
    wi_waitq_take_first(q, w);
    w->ok = true;
    return wi_unlock_now(&c->lock) ? wi_ready_and_leave(t, g, result) : end_unlocked_ready(t, c, g, result);
}

int weft_chan_core_send(weft_chan_core *c, const void *value)
{
    struct wi_thread *t;
    if (WI_UNLIKELY(!c || !(t = wi_enter_quickly())))
        return send_unusually(c, value);
    if (!wi_lock_now(&c->lock))
        return send_contended(t, c, value);
    struct wi_waiter *receiver = wi_waitq_first(&c->receivers);
    size_t size = c->element_size;
    if (wi_load_relaxed(&c->closed) || !wi_chan_is_word(size) || (receiver && (receiver->ticket != 0 || !receiver->value)))
        return send_locked(t, c, value);
    if (receiver) {
        wi_chan_copy_word(receiver->value, value, size);
        return end_with_waiter(t, c, &c->receivers, receiver, 0);
    }
    if (wi_load_relaxed(&c->count) == c->capacity)
        return wait_in(t, c, &c->senders, &wi_waits_for_send, (void *)(uintptr_t)value);
    wi_chan_copy_word(slot(c, c->tail), value, size);
    count_put(c);
    return end_on_buffer(t, c, 0);
}

/* The same for receiving. status: the result is 0 or a negative errno; else true or false. */
static inline __attribute__((always_inline)) int receive_locked(struct wi_thread *t, weft_chan_core *c, void *value,
                                                                bool status)
{
    struct wi_waiter *ended;
    enum wi_chan_result result = wi_chan_recv_locked(c, value, &ended);
    if (result == WI_CHAN_WAIT) {
        if (status)
            return wait_in(t, c, &c->receivers, &wi_waits_for_recv, value);
        return wait_for_value(t, c, value);
    }
    wi_unlock(&c->lock);
    wi_waiter_complete(t, ended);
    wi_leave(t);
    if (!status)
        return result == WI_CHAN_DONE;
    return result == WI_CHAN_DONE ? 0 : -EPIPE;
}

static __attribute__((noinline)) bool recv_locked(struct wi_thread *t, weft_chan_core *c, void *value)
{
    return receive_locked(t, c, value, false);
}

static __attribute__((noinline)) int recv_status_locked(struct wi_thread *t, weft_chan_core *c, void *value)
{
    return receive_locked(t, c, value, true);
}

static __attribute__((noinline)) int recv_contended(struct wi_thread *t, weft_chan_core *c, void *value)
{
    wi_lock_slow(&c->lock);
    return recv_status_locked(t, c, value);
}

static __attribute__((noinline)) int recv_unusually(weft_chan_core *c, void *value)
{
    int result;
    struct wi_thread *t = enter_and_lock(c, &result);
    return t ? recv_status_locked(t, c, value) : result;
}

static inline __attribute__((always_inline)) int receive(weft_chan_core *c, void *value, bool status)
{
    const int received = status ? 0 : true;
    struct wi_thread *t;
    if (WI_UNLIKELY(!c || !(t = wi_enter_quickly()))) {
        int result = recv_unusually(c, value);
        return status ? result : result == 0;
    }
    if (!wi_lock_now(&c->lock)) {
        int result = recv_contended(t, c, value);
        return status ? result : result == 0;
    }
    struct wi_waiter *sender = wi_waitq_first(&c->senders);
    size_t size = c->element_size;
    if (wi_load_relaxed(&c->count) != 0) {
        if (WI_UNLIKELY(!value || !wi_chan_is_word(size) || (sender && sender->ticket != 0)))
            return status ? recv_status_locked(t, c, value) : recv_locked(t, c, value);
        wi_chan_copy_word(value, slot(c, c->head), size);
        count_got(c);
        if (!sender)
            return end_on_buffer(t, c, received);
        wi_chan_copy_word(slot(c, c->tail), sender->value, size);
        count_put(c);
        return end_with_waiter(t, c, &c->senders, sender, received);
    }
    if (sender && sender->ticket == 0 && value && wi_chan_is_word(size)) {
        wi_chan_copy_word(value, sender->value, size);
        return end_with_waiter(t, c, &c->senders, sender, received);
    }
    if (sender || wi_load_relaxed(&c->closed))
        return status ? recv_status_locked(t, c, value) : recv_locked(t, c, value);
    return status ? wait_in(t, c, &c->receivers, &wi_waits_for_recv, value) : wait_for_value(t, c, value);
}

int weft_chan_core_recv_status(weft_chan_core *c, void *value)
{
    return receive(c, value, true);
}

bool weft_chan_core_recv(weft_chan_core *c, void *value)
{
    return receive(c, value, false) != 0;
}

/* ---- without waiting ---- */

int weft_chan_core_try_send(weft_chan_core *c, const void *value)
{
    if (!c)
        return -EAGAIN;
    struct wi_thread *t = wi_enter();
    if (WI_UNLIKELY(!t))
        return -EDEADLK;
    enum wi_chan_result result = WI_CHAN_WAIT;
    if (wi_chan_may_send(c)) {
        struct wi_waiter *ended;
        wi_lock(&c->lock);
        result = wi_chan_send_locked(c, value, &ended);
        wi_unlock(&c->lock);
        wi_waiter_complete(t, ended);
    }
    wi_leave(t);
    return result == WI_CHAN_DONE ? 0 : result == WI_CHAN_CLOSED ? -EPIPE : -EAGAIN;
}

int weft_chan_core_try_recv(weft_chan_core *c, void *value)
{
    if (!c)
        return -EAGAIN;
    struct wi_thread *t = wi_enter();
    if (WI_UNLIKELY(!t))
        return -EDEADLK;
    enum wi_chan_result result = WI_CHAN_WAIT;
    if (wi_chan_may_receive(c)) {
        struct wi_waiter *ended;
        wi_lock(&c->lock);
        result = wi_chan_recv_locked(c, value, &ended);
        wi_unlock(&c->lock);
        wi_waiter_complete(t, ended);
    }
    wi_leave(t);
    return result == WI_CHAN_DONE ? 0 : result == WI_CHAN_CLOSED ? -EPIPE : -EAGAIN;
}

/* ---- close ---- */

#define CLOSE_BATCH 64 /* waiters that are taken under one lock: then others have it, and their stacks are still at hand */

/* Takes up to *room waiters off q, whose operations have failed, and appends them to a list. Returns its new end. */
static struct wi_waiter **take_waiters(weft_chan_core *c, struct wi_waitq *q, struct wi_waiter **end, unsigned *room)
{
    for (struct wi_waiter *w; *room > 0 && (w = wi_waitq_claim(q)); end = &w->next, --*room) {
        if (q == &c->receivers && w->value && c->element_size)
            memset(w->value, 0, c->element_size);
        win(w, false);
        *end = w;
    }
    *end = NULL;
    return end;
}

/* Once all that waited have gone on, one of them may free the channel. So the last of a batch is held back until the next
   batch has been taken; after the last of all nothing of the channel is looked at. What would break it without:

     closer: ends the last of 64, of 64     the last of them: frees the channel; another is made in the same record
     closer: locks, and ends the waiters of the other one */
bool wi_chan_close_inside(struct wi_thread *t, weft_chan_core *c)
{
    wi_lock(&c->lock);
    if (wi_load_relaxed(&c->closed)) {
        wi_unlock(&c->lock);
        return false;
    }
    wi_store_relaxed(&c->closed, true);
    struct wi_waiter *list = NULL, **end = &list;
    for (;;) {
        unsigned room = CLOSE_BATCH;
        end = take_waiters(c, &c->receivers, end, &room);
        take_waiters(c, &c->senders, end, &room);
        wi_unlock(&c->lock);
        for (struct wi_waiter *next; list && (room > 0 || list->next); list = next) {
            next = list->next;
            wi_waiter_complete(t, list);
        }
        if (!list)
            return true;
        end = &list->next;
        wi_perturb();
        wi_lock(&c->lock);
    }
}

int weft_chan_core_close(weft_chan_core *c)
{
    if (!c)
        wi_fatal("close of a NULL channel");
    struct wi_thread *t = wi_enter();
    if (!t)
        return -EDEADLK;
    bool closed = wi_chan_close_inside(t, c);
    wi_leave(t);
    return closed ? 0 : -EPIPE;
}
