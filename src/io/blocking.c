/* blocking.c — weft_blocking: calls a function that is known to block for long.

   The goroutine stays on its thread, which gives its worker away first, so that others have the CPU at once and not when the
   monitor has noticed. Afterwards the thread takes an idle worker again, or queues the goroutine with all others that are
   ready. (One that was rescued by the monitor is queued where busy workers seldom look, because it is likely to block one
   again; not so this one, which costs nobody a worker.)

   Whoever has no worker just calls: foreign threads, pinned goroutines, those that are in here already. So does everybody
   when 10,000 threads block: the worker then waits with its thread. */
#include "sched/enter.h"
#include "weft/file.h"

static uintptr_t call(weft_fn_ fn, const uintptr_t *words)
{
    typedef uintptr_t six(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t);
    return ((six *)fn)(words[0], words[1], words[2], words[3], words[4], words[5]);
}

/* In it g is not to wait as a goroutine, behind the back of code that holds a lock of its library: its thread would run others
   meanwhile, and one that wants that lock would block the thread to which g has to come back. */
static uintptr_t call_unhooked(struct wi_goroutine *g, weft_fn_ fn, const uintptr_t *words)
{
    uint32_t before = g->flags & WI_G_UNHOOKED;
    g->flags |= WI_G_UNHOOKED;
    uintptr_t result = call(fn, words);
    g->flags = (g->flags & ~(uint32_t)WI_G_UNHOOKED) | before;
    return result;
}

/* noinline, as weft_errno: the address of errno is the calling thread's now, and a compiler must not know it from before. */
static __attribute__((noinline)) void set_errno(int value)
{
    wi_barrier_compiler();
    errno = value;
}

/* The goroutine on t goes on where it finds a worker. Inside weft. */
static void queue(struct wi_thread *t)
{
    wi_lock(&wi_sched.lock);
    wi_set_detached(t, WI_ATTACHED); /* from here on it does not block */
    wi_unlock(&wi_sched.lock);
    wi_yield(t);
}

uintptr_t weft_blocking_(void *unused, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    (void)unused, (void)site;
    struct wi_thread *t = wi_self();
    struct wi_goroutine *g = t ? t->current : NULL;
    if (!g)
        return call(fn, words);
    if (!wi_load_relaxed(&t->worker) || !(t = wi_enter()))
        return call_unhooked(g, fn, words);
    bool detached = wi_load_relaxed(&t->worker) && wi_detach(t);
    wi_leave(t);
    uintptr_t result = call_unhooked(g, fn, words);
    if (!detached)
        return result;
    int error = weft_errno();
    t = wi_enter_or_die(); /* takes an idle worker, if there is one */
    if (t->current && t->pins == 0 && !wi_load_relaxed(&t->worker))
        queue(t);
    wi_leave(wi_self());
    set_errno(error);
    return result;
}
