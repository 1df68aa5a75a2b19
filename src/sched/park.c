/* park.c — stopping and starting goroutines: the switch, the commit step, ready, yield, the end.

   The order of a stop, and why nobody ever runs on a stack that is still in use:
     1. the goroutine picks its successor and notes its commit step in the thread (t->left, t->commit)
     2. it switches: its registers are saved, its stack is at rest
     3. the successor, on its own stack, carries out the commit step: only this publishes the wait (unlocks the channel whose
        queue holds the waiter, sets PARKED in the wait word, queues a yielding goroutine, frees an ended one)
   So a completer that finds the waiter finds it at rest. No one spins for somebody else's switch.
   A lock that is held from before 1 to 3 covers a pick from the local queue and a switch, some 10 ns; step 1 therefore takes
   no lock and makes no system call. What needs either is done on the scheduler's own stack, after its commit. */
#include "base/perturb.h"
#include "sched/caches.h"
#include "sched/cancel.h"
#include "sched/enter.h"
#include "sched/hooks.h"
#include "sched/scope.h"
#include "sched/stop.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ---- the commit step ---- */

bool wi_wait_commit_unlock(struct wi_thread *t, struct wi_goroutine *g, void *lock)
{
    (void)t, (void)g;
    wi_unlock(lock);
    return true;
}

/* g, which is ready, goes behind the others of its worker. */
static __attribute__((noinline)) void push_woken(struct wi_worker *w, struct wi_goroutine *g)
{
    wi_ring_push(&w->runq.woken, g);
    wi_alert(w);
}

static __attribute__((noinline)) void inject(struct wi_goroutine *g, struct wi_inject *queue)
{
    wi_inject_push(queue, g);
    wi_alert(NULL);
}

/* Functions that are called often end by calling those above, so that they need no frame themselves. */
static inline __attribute__((always_inline)) void queue_again(struct wi_thread *t, struct wi_goroutine *g)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    if (WI_UNLIKELY(g->flags & WI_G_STAYS)) {
        wi_home_push(g);
        return;
    }
    wi_goroutine_set_state(g, WI_READY);
    if (WI_UNLIKELY(!w))
        inject(g, g->flags & WI_G_BLOCKER ? &wi_blockers : &wi_inject);
    else if (WI_UNLIKELY(!wi_ring_try_push(&w->runq.woken, g)))
        push_woken(w, g);
    else
        wi_alert(w);
}

static bool commit_yield(struct wi_thread *t, struct wi_goroutine *g, void *argument)
{
    (void)argument;
    queue_again(t, g);
    return true;
}

static bool commit_end(struct wi_thread *t, struct wi_goroutine *g, void *argument)
{
    (void)argument;
    struct wi_stack *stack = wi_load_relaxed(&g->stack);
    wi_store_relaxed(&g->stack, NULL);
    wi_stack_recycle(t, stack);
    wi_goroutine_free(t, g);
    return true;
}

/* Only a wait makes the goroutine PARKED: reports must not see one that yields or ends as one that waits. */
void wi_commit(struct wi_thread *t)
{
    struct wi_goroutine *g = t->left;
    if (!g)
        return;
    t->left = NULL;
    wi_perturb();
    if (t->commit == commit_yield) {
        commit_yield(t, g, NULL);
    } else if (t->commit == commit_end) {
        commit_end(t, g, NULL);
    } else {
        wi_goroutine_set_state(g, WI_PARKED);
        if (!t->commit(t, g, t->commit_argument))
            wi_ready(t, g);
    }
}

/* ---- the switch ---- */

void *wi_context_of_fresh(struct wi_thread *t, struct wi_goroutine *g, bool may_call_system)
{
    int error;
    struct wi_stack *stack = wi_stack_cached(wi_load_relaxed(&t->worker), g);
    if (WI_UNLIKELY(!stack) && (!may_call_system || !(stack = wi_stack_obtain(t, g, &error))))
        return NULL;
    stack->exceptions[0] = stack->exceptions[1] = NULL;
    wi_store_release(&g->stack, stack); /* pairs with the dump's acquire */
    return wi_context_make(wi_stack_top(stack), wi_goroutine_main, NULL);
}

void wi_swap_exceptions(struct wi_thread *t, struct wi_goroutine *from, struct wi_goroutine *to)
{
    if (from)
        memcpy(wi_load_relaxed(&from->stack)->exceptions, t->exceptions, sizeof(struct wi_exceptions));
    if (to)
        memcpy(t->exceptions, wi_load_relaxed(&to->stack)->exceptions, sizeof(struct wi_exceptions));
}

/* The caller has seen that nobody asks for w's attention. */
static inline __attribute__((always_inline)) struct wi_goroutine *pick_anywhere(struct wi_thread *t, struct wi_worker *w,
                                                                                uint32_t tick)
{
    if (WI_UNLIKELY(tick % WI_RUNQ_LOOK == 0)) {
        int64_t timer_ns = wi_load_relaxed(&w->timer_next_ns);
        if (wi_load_relaxed(&wi_inject.count) || (timer_ns != INT64_MAX && timer_ns <= wi_os_now_ns()) || wi_poll_is_due()) {
            w->look = true;
            return NULL;
        }
    }
    if (wi_home_is_next(t, w))
        return wi_home_take(t);
    struct wi_goroutine *g = wi_runq_pick(&w->runq, tick, false);
    return WI_LIKELY(g != NULL) ? g : wi_home_take(t);
}

struct wi_goroutine *wi_pick_slow(struct wi_worker *w, uint32_t tick)
{
    if (WI_UNLIKELY(wi_load_relaxed(&w->attention) != 0))
        return NULL;
    return pick_anywhere(wi_self(), w, tick);
}

static inline void stop(struct wi_thread *t, struct wi_goroutine *g, wi_commit_fn publish, void *argument)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    struct wi_goroutine *next = WI_LIKELY(w != NULL) ? wi_pick(w) : NULL;
    t->commit = publish;
    t->commit_argument = argument;
    wi_leave_for(t, g, next);
    wi_commit_left(wi_self());
}

bool wi_run(struct wi_thread *t, struct wi_goroutine *g)
{
    void *sp = wi_load_relaxed(&g->stack) ? g->sp : wi_context_of_fresh(t, g, true);
    if (!sp)
        return false;
    t->current = g;
    if (WI_UNLIKELY(t->exceptions != NULL))
        wi_swap_exceptions(t, NULL, g);
    wi_goroutine_set_state(g, WI_RUNNING);
    wi_sanitizer_before_switch(&t->side, wi_side_of(g), false);
    wi_switch(&t->sched_sp, sp);
    wi_arrived(&t->side);
    return true;
}

/* ---- parking ---- */

void wi_park(struct wi_thread *t, wi_commit_fn publish, void *argument)
{
    if (wi_waits_as_thread(t)) {
        wi_park_thread(t, publish, argument, INT64_MAX);
        return;
    }
    struct wi_goroutine *g = t->current;
    if (WI_UNLIKELY(g->flags & WI_G_BLOCKER) && wi_load_relaxed(&t->worker))
        g->flags &= ~(uint32_t)WI_G_BLOCKER; /* it came this far without being rescued */
    wi_check_mutexes(t);
    stop(t, g, publish, argument);
}

bool wi_park_thread(struct wi_thread *t, wi_commit_fn publish, void *argument, int64_t deadline_ns)
{
    struct wi_goroutine *g = wi_waiting(t);
    bool woken = true;
    wi_goroutine_set_state(g, WI_PARKED);
    wi_guard_quiet();
    if (publish(t, g, argument))
        woken = wi_thread_sleep(t, deadline_ns);
    if (woken)
        wi_goroutine_set_state(g, WI_RUNNING);
    return woken;
}

static __attribute__((noinline)) void ready_on_thread(struct wi_goroutine *g)
{
    if ((g->flags & (WI_G_STAYS | WI_G_PINNED)) == WI_G_STAYS) {
        wi_home_push(g);
        return;
    }
    struct wi_thread *thread = g->run.thread;
    wi_goroutine_set_state(g, WI_READY); /* before the wake, after which the record is the thread's */
    wi_thread_wake(thread);
}

/* g, which is ready now, becomes w's next; who was that queues behind the others. False: there is no room for him. */
static inline __attribute__((always_inline)) bool put_next(struct wi_worker *w, struct wi_goroutine *g)
{
    struct wi_goroutine *kicked = wi_load_relaxed(&w->runq.next);
    if (kicked && !wi_ring_try_push(&w->runq.woken, kicked))
        return false;
    wi_goroutine_set_state(g, WI_READY);
    wi_prefetch_stack(g); /* it will most likely run in some nanoseconds */
    wi_store_relaxed(&w->runq.next, g);
    return true;
}

static __attribute__((noinline)) void put_next_in_full(struct wi_worker *w, struct wi_goroutine *g)
{
    wi_ring_overflow(&w->runq.woken);
    put_next(w, g);
    wi_alert(w);
}

#define ON_THREAD (WI_G_THREAD | WI_G_PINNED | WI_G_STAYS)

void wi_ready(struct wi_thread *t, struct wi_goroutine *g)
{
    if (WI_UNLIKELY(g->flags & ON_THREAD)) {
        ready_on_thread(g);
        return;
    }
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    if (WI_UNLIKELY(!w) || wi_perturb_chance(1024)) {
        wi_goroutine_set_state(g, WI_READY);
        inject(g, &wi_inject);
    } else if (WI_UNLIKELY(!put_next(w, g))) {
        put_next_in_full(w, g);
    } else {
        wi_alert(w);
    }
}

static __attribute__((noinline)) int ready_slowly_and_leave(struct wi_thread *t, struct wi_goroutine *g, int result)
{
    wi_ready(t, g);
    wi_leave(t);
    return result;
}

int wi_ready_and_leave(struct wi_thread *t, struct wi_goroutine *g, int result)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    WI_CHECK(w != NULL);
    if (WI_UNLIKELY(g->flags & ON_THREAD) || wi_perturb_chance(64) || WI_UNLIKELY(!put_next(w, g)))
        return ready_slowly_and_leave(t, g, result);
    return wi_alert_and_leave(t, result);
}

__attribute__((noinline)) int wi_alert_slow_and_leave(struct wi_thread *t, int result)
{
    wi_alert_slow(wi_load_relaxed(&t->worker), wi_load_relaxed(&wi_sched.alert));
    wi_leave(t);
    return result;
}

static void queue_list(struct wi_worker *w, struct wi_goroutine *list)
{
    for (struct wi_goroutine *g = list, *next; g; g = next) {
        next = g->next;
        if (g->flags & ON_THREAD) {
            ready_on_thread(g);
            continue;
        }
        wi_goroutine_set_state(g, WI_READY);
        if (w)
            wi_ring_push(&w->runq.woken, g);
        else
            wi_inject_push(&wi_inject, g);
    }
}

void wi_ready_list(struct wi_thread *t, struct wi_goroutine *list)
{
    struct wi_worker *w = t ? wi_load_relaxed(&t->worker) : NULL;
    queue_list(w, list);
    wi_alert(w);
}

void wi_ready_list_here(struct wi_thread *t, struct wi_goroutine *list)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    WI_CHECK(w != NULL);
    queue_list(w, list);
    wi_guard_queue();
}

static inline __attribute__((always_inline)) void yield(struct wi_thread *t)
{
    struct wi_goroutine *g = t->current;
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    if (WI_UNLIKELY(!w)) {
        wi_lock(&wi_sched.lock);
        if (wi_load_relaxed(&t->detached) == WI_DETACHED_BLOCKED)
            g->flags |= WI_G_BLOCKER;
        wi_unlock(&wi_sched.lock);
        stop(t, g, commit_yield, NULL);
        return;
    }
    if (WI_UNLIKELY(g->flags & WI_G_BLOCKER))
        g->flags &= ~(uint32_t)WI_G_BLOCKER;
    uint32_t tick = wi_load_relaxed(&w->runq.tick) + 1;
    wi_store_relaxed(&w->runq.tick, tick);
    struct wi_goroutine *next = NULL;
    if (WI_LIKELY(wi_load_relaxed(&w->attention) == 0)) {
        next = pick_anywhere(t, w, tick);
        if (!next && !w->look)
            return; /* nobody else */
    }
    t->commit = commit_yield;
    wi_leave_for(t, g, next);
    t = wi_self();
    if (WI_LIKELY(t->left && t->commit == commit_yield)) {
        g = t->left;
        t->left = NULL;
        wi_perturb();
        queue_again(t, g);
    } else {
        wi_commit_left(t);
    }
}

void wi_yield(struct wi_thread *t)
{
    yield(t);
}

void weft_yield(void)
{
    struct wi_thread *t = wi_enter_blocking_or_die();
    if (wi_waits_as_thread(t)) {
        wi_leave(t);
        sched_yield();
        return;
    }
    yield(t);
    wi_leave(wi_self());
}

/* ---- a goroutine's life ---- */

#if defined(WI_SANITIZER_TSAN)
#define CONTINUE_ON_STACK false /* a goroutine, a fiber: reports are exact */
#else
#define CONTINUE_ON_STACK true
#endif
#if defined(WI_SANITIZER_TSAN) || defined(WI_SANITIZER_ASAN)
#define FREE_RUNNING false /* they are told of stacks that nobody is on */
#else
#define FREE_RUNNING true
#endif

static void undo_heap(weft_scope_ *scope)
{
    free(scope->object);
}

/* What comes after the function, outside weft; returns inside. */
static inline void finish(struct wi_goroutine *g)
{
    struct wi_thread *t = wi_self();
    if (WI_UNLIKELY(!t || t->current != g))
        exit(0); /* a forked child, in which this was the only thread; nobody is there to return to */
    if (WI_UNLIKELY(g->run.scopes || g->extra))
        wi_hooks.ending(g);
    t = wi_enter_or_die();
    if (WI_UNLIKELY(g->flags & WI_G_MEMBER))
        wi_cancel_leave_all(t, g);
}

/* Takes what to call out of the record, whose place `run` has from now on. */
static inline weft_fn_ take_start(struct wi_goroutine *g, uintptr_t words[6])
{
    weft_fn_ fn = g->start.fn;
    memcpy(words, g->start.words, sizeof g->start.words);
    g->run.thread = NULL;
    g->run.waiter = NULL;
    g->run.kind = NULL;
    g->run.scopes = NULL;
    wi_store_relaxed(&g->run.member, NULL);
    return fn;
}

/* Calls the goroutine's function; returns inside weft. For most goroutines: what a frame has more is fetched whenever the
   goroutine goes on. */
static __attribute__((noinline)) void call_simply(struct wi_thread *t, struct wi_goroutine *g)
{
    uintptr_t words[6];
    weft_fn_ fn = take_start(g, words);
    wi_leave(t);
    wi_invoke(fn, words);
    finish(g);
}

/* The same with a context, or an object that is passed. */
static __attribute__((noinline)) void call_function(struct wi_thread *t, struct wi_goroutine *g)
{
    _Alignas(16) unsigned char object[sizeof g->start.words];
    uintptr_t words[6];
    struct wi_member member;
    weft_scope_ heap;
    weft_fn_ fn = take_start(g, words);
    if (g->context)
        wi_cancel_enter(t, &member, g->context, (g->flags & WI_G_SHIELDED) != 0);
    if (g->flags & WI_G_COPY) {
        memcpy(object, words, sizeof object);
        words[0] = (uintptr_t)object;
    } else if (g->flags & WI_G_HEAP) {
        heap.undo = undo_heap;
        heap.object = (void *)words[0];
        wi_scope_push(g, &heap);
    }
    wi_leave(t);
    wi_invoke(fn, words);
    finish(g);
}

_Noreturn void wi_invoke_unwound(int forced)
{
    wi_fatal(forced
                 ? "pthread_exit or pthread_cancel on a goroutine's thread: end a goroutine by returning from its function"
                 : "a C++ exception would leave its goroutine");
}

/* Ends g. With may_continue returns when the next goroutine is a fresh one, which then continues on the same stack. */
static inline __attribute__((always_inline)) void end(struct wi_thread *t, struct wi_goroutine *g, bool may_continue)
{
    if (g->join)
        wi_hooks.joined(t, g->join);
    if (WI_UNLIKELY(t->pins != 0)) {
        t->pins = 0;
        g->flags &= ~(uint32_t)WI_G_PINNED;
    }
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    struct wi_goroutine *next = w ? wi_pick(w) : NULL;
    struct wi_stack *stack = wi_load_relaxed(&g->stack);
    if (may_continue && next && !wi_load_relaxed(&next->stack) && ((next->flags ^ g->flags) & WI_G_SIZE_MASK) == 0) {
        wi_store_relaxed(&g->stack, NULL);
        wi_goroutine_free(t, g);
        wi_store_release(&next->stack, stack); /* pairs with the dump's acquire */
        t->current = next;
        wi_goroutine_set_state(next, WI_RUNNING);
        wi_context_reset_float();
        return;
    }
    void *sp = NULL;
    if (next && !(sp = wi_load_relaxed(&next->stack) ? next->sp : wi_context_of_fresh(t, next, false))) {
        t->stackless = next;
        next = NULL;
    }
    if (FREE_RUNNING && next && wi_free_running(w, g, stack)) {
        t->left = NULL;
    } else {
        t->left = g;
        t->commit = commit_end;
    }
    t->current = next;
    if (WI_UNLIKELY(t->exceptions != NULL))
        wi_swap_exceptions(t, NULL, next);
    if (next)
        wi_goroutine_set_state(next, WI_RUNNING);
    wi_sanitizer_before_switch(&stack->side, next ? wi_side_of(next) : &t->side, true);
    void *unused;
    wi_switch(&unused, next ? sp : t->sched_sp);
    __builtin_unreachable();
}

void wi_goroutine_main(void *unused)
{
    (void)unused;
    struct wi_thread *t = wi_self();
    wi_arrived(wi_side_of(t->current));
    wi_commit_left(t);
    for (;;) {
        t = wi_self();
        struct wi_goroutine *g = t->current;
        if (WI_UNLIKELY(g->context || (g->flags & (WI_G_COPY | WI_G_HEAP))))
            call_function(t, g);
        else
            call_simply(t, g);
        end(wi_self(), g, CONTINUE_ON_STACK);
    }
}

void wi_goroutine_exit(void)
{
    struct wi_goroutine *g = wi_self()->current;
    finish(g);
    end(wi_self(), g, false);
    __builtin_unreachable();
}
