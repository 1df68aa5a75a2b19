/* after_func.c — weft_after_func: timers that start a goroutine. They have no channel, and so a lock of their own;
   everything else they share with timer.c.

   The goroutine runs in the context that the timer was made in: the record has a reference to it as long as it lives, for a
   reset may make the function run again. A handle may be freed while the timer is pending: the pending alarm's reference
   keeps the record. */
#include "chan/timer.h"

#include "mem/slab.h"
#include "sched/enter.h"

#include <string.h>

struct after_func {
    struct weft_timer timer;
    struct wi_lock lock;
    bool shielded;              /* [const] made under a shield */
    struct wi_context *context; /* [const] with a reference, or NULL: background */
    const weft_site *site;      /* [const] */
    weft_fn_ fn;                /* [const] */
    uintptr_t words[6];         /* [const] */
};

static struct wi_slab after_funcs = {.name = "after-funcs", .record_size = 256, .chunk_records = 1024};
_Static_assert(sizeof(struct after_func) <= 256, "an after-func fits its record");

void wi_after_funcs_forget(void)
{
    wi_slab_forget(&after_funcs);
}

void wi_after_func_free(struct weft_timer *timer)
{
    struct after_func *after = (struct after_func *)(void *)timer;
    if (after->context)
        wi_context_unref(after->context);
    wi_slab_give_one(&after_funcs, after);
}

/* The goroutine's site is that of weft_after_func. */
static void call(struct wi_thread *t, struct wi_alarm *alarm, int64_t now_ns)
{
    struct after_func *after = (struct after_func *)(void *)((char *)alarm - offsetof(struct after_func, timer.alarm));
    wi_perturb();
    wi_lock(&after->lock);
    bool fires = after->timer.armed && after->timer.deadline_ns <= now_ns;
    if (fires)
        after->timer.armed = false;
    wi_unlock(&after->lock);
    if (fires) {
        int error = wi_spawn_inside(t, after->context, after->shielded, after->site, after->fn, after->words);
        if (error)
            wi_spawn_failed(error);
    }
    wi_timer_unref(&after->timer);
}

weft_timer *weft_after_func_(int64_t ns, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    struct wi_thread *t = wi_enter_or_die();
    void *record;
    if (wi_slab_take(&after_funcs, 1, &record) == 0) {
        wi_leave(t);
        return NULL;
    }
    struct after_func *after = record;
    struct weft_timer *timer = &after->timer;
    struct wi_member *member = wi_member_of(wi_waiting(t));
    after->context = member ? member->context : NULL;
    after->shielded = member && member->shielded;
    if (after->context)
        wi_context_ref(after->context);
    after->site = site;
    after->fn = fn;
    memcpy(after->words, words, sizeof after->words);
    timer->alarm = (struct wi_alarm){.fn = call};
    timer->lock = &after->lock;
    timer->chan = NULL;
    timer->armed = false;
    wi_store_relaxed(&timer->references, 1);
    wi_lock(&after->lock);
    wi_timer_arm_locked(t, timer, ns);
    wi_unlock(&after->lock);
    wi_leave(t);
    return timer;
}

void wi_after_funcs_stop(void)
{
    uint32_t made = wi_load_acquire(&after_funcs.made); /* nobody makes more */
    for (uint32_t number = 1; number < made; number++) {
        struct after_func *after = wi_slab_record(&after_funcs, number);
        if (!after || !after->timer.alarm.never)
            continue;
        after->timer.armed = false;
        wi_alarm_stop(&after->timer.alarm);
        wi_timer_unref(&after->timer);
    }
}
