/* fd_deadline.c — until when a descriptor may be read and written.

   A side's deadline has one alarm, so that a wait needs no timer. When it passes there is an edge, after which waiters look
   at the deadline again (fd_wait.c). A deadline that is put off leaves the alarm where it is; when that comes too early it is
   started again. So a server that grants each request a minute touches timers once a minute.

   Invariant: while there is a deadline, it is past and an edge has come since; or the alarm is pending for then or sooner; or
   its call is about to come, and will look at the deadline under the lock. What would break it: a call that was about to
   come when the deadline was set, and that looked before. It cannot have: it looks under the lock, under which the deadline
   is set and the alarm found not to be pending. tests/model/edge.pml has all of it. */
#include "io/fd_record.h"

#include "weft/io.h"

static void keep(struct wi_fd *f, enum wi_side side, int64_t deadline_ns)
{
    wi_store_relaxed(&f->deadline_ns[side], deadline_ns);
    wi_fd_note_rare(f, side, WI_FD_HAS_DEADLINE, deadline_ns != 0);
}

/* Has the alarm come by deadline_ns. The lock is held. */
static void arm(struct wi_thread *t, struct wi_fd_alarm *a, int64_t deadline_ns)
{
    if (wi_alarm_comes_by(&a->alarm, deadline_ns))
        return;
    wi_alarm_stop(&a->alarm);
    wi_alarm_start(t, &a->alarm, deadline_ns);
}

static void passed(struct wi_thread *t, struct wi_alarm *alarm, int64_t now_ns)
{
    struct wi_fd_alarm *a = (struct wi_fd_alarm *)alarm;
    struct wi_fd *f = a->f;
    wi_perturb();
    wi_lock(&f->lock);
    int64_t deadline_ns = wi_fd_deadline(f, a->side); /* perhaps of the number's next descriptor */
    if (deadline_ns > now_ns)
        arm(t, a, deadline_ns);
    wi_unlock(&f->lock);
    if (deadline_ns && deadline_ns <= now_ns)
        wi_fd_wake_side(t, f, a->side);
}

static struct wi_fd_alarm *alarm_of(struct wi_fd *f, int fd, enum wi_side side)
{
    if (WI_UNLIKELY(!f->alarms)) {
        unsigned i = (unsigned)fd % WI_FD_CHUNK;
        f->alarms = ((struct wi_fd_chunk *)(void *)(f - i))->alarms[i];
        f->alarms[WI_READS] = (struct wi_fd_alarm){.alarm.fn = passed, .f = f, .side = WI_READS};
        f->alarms[WI_WRITES] = (struct wi_fd_alarm){.alarm.fn = passed, .f = f, .side = WI_WRITES};
    }
    return &f->alarms[side];
}

/* An alarm that is pending for nothing would hide a deadlock. The lock is held. */
static void disarm(struct wi_fd *f, enum wi_side side)
{
    if (f->alarms)
        wi_alarm_stop(&f->alarms[side].alarm);
}

void wi_fd_forget_deadlines(struct wi_fd *f)
{
    for (int side = 0; side < 2; side++) {
        keep(f, (enum wi_side)side, 0);
        disarm(f, (enum wi_side)side);
    }
}

static void set(struct wi_thread *t, struct wi_fd *f, int fd, enum wi_side side, int64_t deadline_ns, bool is_past)
{
    bool none = deadline_ns == INT64_MAX;
    wi_lock(&f->lock);
    keep(f, side, none ? 0 : deadline_ns > 0 ? deadline_ns : 1);
    if (none || is_past)
        disarm(f, side);
    else
        arm(t, alarm_of(f, fd, side), deadline_ns);
    wi_unlock(&f->lock);
    if (is_past)
        wi_fd_wake_side(t, f, side);
}

int weft_fd_set_deadline(int fd, int events, int64_t deadline_ns)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    if (wi_fd_kind(f, fd) == WI_FD_UNKNOWN) { /* else the next descriptor with the number would have it */
        wi_fd_end(f, fd);
        return -EBADF;
    }
    struct wi_thread *t = wi_enter();
    if (!t) {
        wi_fd_end(f, fd);
        return -EDEADLK;
    }
    bool is_past = deadline_ns <= wi_os_now_ns();
    if (events & POLLIN)
        set(t, f, fd, WI_READS, deadline_ns, is_past);
    if (events & POLLOUT)
        set(t, f, fd, WI_WRITES, deadline_ns, is_past);
    wi_leave(t);
    wi_fd_end(f, fd);
    return 0;
}
