/* claim.c — who has which worker.

   A worker changes hands in five ways, all but the first under wi_sched.lock:
     taken back   its thread enters weft while somebody asks: ASKED(T, A) -> OWNED(T)      (wi_enter_slow)
     taken        the monitor finds T blocked or hogging:     OWNED(T) -> ASKED -> OWNED(other)   (wi_take)
     swapped      an idle thread with a worker finds T busy in user code with work queued: takes T's worker and leaves its
                  own, empty, one in exchange                                              (wi_swap_workers)
     given        by its own thread, from inside                              (wi_hand_off, wi_detach, wi_release_worker)
     got          by a thread without one: OWNED from the idle list                        (wi_reattach, idle.c)
   A thread that lost its worker in user code runs on; it notices at its next call. */
#include "base/perturb.h"
#include "sched/enter.h"
#include "sched/hooks.h"

void wi_set_detached(struct wi_thread *t, enum wi_detached why)
{
    uint8_t before = wi_load_relaxed(&t->detached);
    if (before == WI_DETACHED_BLOCKED)
        wi_bump(&wi_sched.n_blocked, -1U);
    else if (before == WI_DETACHED_HOG)
        wi_bump(&wi_sched.n_hogs, -1U);
    wi_store_relaxed(&t->detached, (uint8_t)why);
    if (why == WI_DETACHED_BLOCKED)
        wi_bump(&wi_sched.n_blocked, 1);
    else if (why == WI_DETACHED_HOG)
        wi_bump(&wi_sched.n_hogs, 1);
}

/* Asks for w on behalf of number asker: true when its thread is outside weft and w's claim is now `then`. */
static bool ask(struct wi_worker *w, struct wi_thread *victim, uint32_t asker, uint64_t then)
{
    uint64_t claim = WI_CLAIM_OWNED(victim), asked = WI_CLAIM_ASKED(victim, asker);
    if (!wi_cas_acq_rel(&w->claim, &claim, asked))
        return false;
    wi_perturb();
    wi_os_barrier_heavy(); /* the victim's epoch is visible to us, or the victim sees that we asked */
    bool outside = (wi_load_acquire(&victim->epoch) & 1) == 0; /* pairs with wi_leave: we see all it did to the worker */
    wi_perturb();
    claim = asked;
    if (outside && wi_cas_acq_rel(&w->claim, &claim, then))
        return true;
    claim = asked;
    wi_cas_acq_rel(&w->claim, &claim, WI_CLAIM_OWNED(victim)); /* fails when the victim took it back itself */
    return false;
}

bool wi_take(struct wi_worker *w, struct wi_thread *victim, struct wi_thread *taker, enum wi_detached why)
{
    if (!ask(w, victim, WI_ASKER_MONITOR, WI_CLAIM_OWNED(taker)))
        return false;
    wi_lock(&wi_sched.lock);
    if (wi_load_relaxed(&victim->worker) == w) { /* else it has noticed, and looked after itself */
        wi_store_relaxed(&victim->worker, NULL);
        wi_set_detached(victim, why);
    }
    wi_unlock(&wi_sched.lock);
    wi_assign(w, taker);
    return true;
}

/* Puts w, which nobody owns any more, in the idle list. wi_sched.lock is held. */
static void make_idle(struct wi_worker *w)
{
    wi_store_release(&w->claim, WI_CLAIM_FREE);
    w->next_idle = wi_sched.idle_workers;
    wi_sched.idle_workers = w;
    wi_add_relaxed(&wi_sched.alert, WI_ALERT_IDLE);
}

bool wi_swap_workers(struct wi_thread *t, struct wi_worker *w, struct wi_thread *victim)
{
    struct wi_worker *mine = wi_load_relaxed(&t->worker);
    if (!ask(w, victim, t->number, WI_CLAIM_OWNED(t)))
        return false;
    wi_lock(&wi_sched.lock);
    wi_store_relaxed(&t->worker, w);
    if (wi_load_relaxed(&victim->worker) == w) {
        wi_store_release(&mine->claim, WI_CLAIM_OWNED(victim));    /* pairs with the acquire in wi_enter */
        wi_store_release(&victim->worker, mine);                   /* likewise */
        wi_or_relaxed(&mine->attention, (uint32_t)WI_ATTEND_HOME); /* who came home may have been announced on w */
    } else {                                                       /* it has noticed and looked after itself */
        make_idle(mine);
    }
    wi_unlock(&wi_sched.lock);
    return true;
}

void wi_assign(struct wi_worker *w, struct wi_thread *t)
{
    wi_lock(&wi_sched.lock);
    wi_store_release(&w->claim, WI_CLAIM_OWNED(t));
    wi_store_release(&t->worker, w);
    wi_unlock(&wi_sched.lock);
    wi_thread_wake(t);
}

bool wi_hand_off(struct wi_thread *t, enum wi_detached why)
{
    struct wi_thread *other = wi_spare_thread();
    if (!other)
        return false;
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    wi_lock(&wi_sched.lock);
    wi_store_relaxed(&t->worker, NULL);
    wi_set_detached(t, why);
    wi_unlock(&wi_sched.lock);
    wi_assign(w, other);
    return true;
}

void wi_release_worker_locked(struct wi_thread *t)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    wi_store_relaxed(&t->worker, NULL);
    make_idle(w);
}

/* As a thread that goes idle (idle.c): publishes the worker, then looks whether somebody has missed it. Where no thread can
   be made what is queued waits for this one to come back; so it would if the worker were kept. */
bool wi_detach(struct wi_thread *t)
{
    wi_lock(&wi_sched.lock);
    if (wi_load_relaxed(&wi_sched.n_blocked) >= WI_DETACHED_MAX) {
        wi_unlock(&wi_sched.lock);
        return false;
    }
    wi_release_worker_locked(t);
    wi_set_detached(t, WI_DETACHED_BLOCKED);
    struct wi_thread *homesick = wi_pop_homesick();
    struct wi_worker *w = homesick ? wi_pop_idle_worker() : NULL;
    wi_unlock(&wi_sched.lock);
    if (homesick)
        wi_assign(w, homesick);
    wi_perturb();
    wi_os_barrier_heavy(); /* pairs with the light barriers of pushers and of timer inserts */
    if (wi_work_visible())
        wi_wake_one();
    wi_guard_timers();
    wi_guard_poller();
    return true;
}

bool wi_reattach(struct wi_thread *t)
{
    wi_lock(&wi_sched.lock);
    struct wi_worker *w = wi_pop_idle_worker();
    if (w) {
        wi_store_release(&w->claim, WI_CLAIM_OWNED(t));
        wi_store_release(&t->worker, w);
        wi_set_detached(t, WI_ATTACHED);
        if (t->stays)
            wi_or_relaxed(&w->attention, (uint32_t)WI_ATTEND_HOME);
    }
    wi_unlock(&wi_sched.lock);
    return w != NULL;
}

/* Finds out whether t still has its worker. */
static struct wi_worker *recover_worker(struct wi_thread *t)
{
    for (;;) {
        struct wi_worker *w = wi_load_acquire(&t->worker);
        if (!w)
            return NULL;
        uint64_t claim = wi_load_acquire(&w->claim);
        while (WI_CLAIM_IS_ASKED(claim) && WI_CLAIM_THREAD(claim) == t->number)
            if (wi_cas_acq_rel(&w->claim, &claim, WI_CLAIM_OWNED(t)))
                return w;
        if (claim == WI_CLAIM_OWNED(t))
            return w;
        wi_lock(&wi_sched.lock);
        if (wi_load_relaxed(&t->worker) == w && wi_load_relaxed(&w->claim) != WI_CLAIM_OWNED(t)) {
            wi_store_relaxed(&t->worker, NULL);
            wi_set_detached(t, WI_DETACHED_HOG);
        }
        wi_unlock(&wi_sched.lock);
    }
}

#define ATTEND_LATER (WI_ATTEND_BLOCKERS | WI_ATTEND_HOME | WI_ATTEND_LEND) /* for the next pick */

static void attend(struct wi_thread *t, struct wi_worker *w)
{
    uint32_t bits = wi_and_relaxed(&w->attention, (uint32_t)ATTEND_LATER);
    if (bits & WI_ATTEND_SHARE)
        wi_share(w);
    if (bits & WI_ATTEND_TIMER)
        wi_hooks.timers_run(t, w, wi_os_now_ns());
    bool others_wait = wi_runq_length(&w->runq) != 0 || wi_load_relaxed(&wi_inject.count) != 0;
    if (bits & WI_ATTEND_STACKS)
        wi_worker_drain(w);
    if ((bits & WI_ATTEND_SLICE) && others_wait && wi_load_relaxed(&wi_sched.n_hogs) < WI_DETACHED_MAX)
        wi_hand_off(t, WI_DETACHED_HOG); /* gives away the worker and not the stack: the call must return on this thread */
}

struct wi_thread *wi_enter_slow(struct wi_thread *t, bool may_move)
{
    wi_os_barrier_light(); /* the caller's, where it takes a fence */
    struct wi_worker *w = recover_worker(t);
    if (!w && t->pins == 0 && t->current) {
        if ((wi_load_relaxed(&wi_sched.alert) & WI_ALERT_IDLE_MASK) == 0 || !wi_reattach(t)) {
            if (may_move) {
                wi_yield(t);
                t = wi_self();
            }
            return t;
        }
        w = wi_load_relaxed(&t->worker);
    }
    if (!w)
        return t;
    uint32_t attention = wi_load_relaxed(&w->attention);
    if ((attention & WI_ATTEND_SLICE) && may_move) {
        wi_yield(t);
        return wi_self();
    }
    if (attention & ~(uint32_t)ATTEND_LATER)
        attend(t, w);
    return t;
}

struct wi_thread *wi_enter_first(struct wi_thread *t)
{
    if (t && !t->outdated)
        return NULL; /* inside already: a signal handler or an interposed function called us */
    int error = wi_thread_adopt();
    if (error)
        wi_fatal("%s: weft cannot start", error == -EAGAIN ? "no thread can be made" : "out of memory");
    return wi_enter();
}

_Noreturn void wi_enter_refused(void)
{
    wi_fatal("called from inside weft, by a signal handler or an interposed function");
}
