/* rest.c — an idle thread's sleep: on its futex or in the poller, until it is given a worker, or to a time.

   A core that sleeps needs a while to wake when a time has come, often longer than everything else that a sleep costs. A
   thread that sleeps to a time has itself woken earlier by most of what that took lately, and spends what is left of the
   time awake. That is at most a sixteenth of the time that it sleeps; as a rule it is a few microseconds.

   To see to a timer when nobody else is up costs much more than what it lets run: a sleep, two barriers in all threads, and
   waking the monitor for as long as goroutines run that may compute. So the more timers come, the fewer are seen to alone.
   From OFTEN a millisecond on the monitor stays awake, and looks each millisecond instead of whenever one is due. From DENSE
   on, a worker's timers are looked at WI_SLACK_NS apart (timer/timeout.c), an idle thread sleeps as long at least, and
   whoever finds some due runs them itself, unless they are so late that it cannot keep up. */
#include "sched/enter.h"
#include "sched/hooks.h"

#define LATENCY_MOST_NS INT64_C(100000) /* more says that the processor was busy with something else */
#define COUNT_NS INT64_C(1000000)
#define OFTEN 2  /* timers that come in COUNT_NS: a program's tickers alone are fewer */
#define DENSE 20 /* to sleep to each takes a core a third of its time */

/* ---- how often timers come ---- */

/* [atomic] how many had come when that was last counted, and when it was. */
static _Atomic int64_t counted, counted_ns;

/* Two who count at once may both be wrong, until the next time. */
enum wi_timers_come wi_count_timers(int64_t now_ns)
{
    int64_t span_ns = now_ns - wi_load_relaxed(&counted_ns), came = 0;
    if (span_ns < COUNT_NS)
        return wi_timers_come();
    for (unsigned i = 0; i < wi_sched.procs; i++)
        came += wi_load_relaxed(&wi_sched.workers[i].timers_came);
    int64_t lately = (came - wi_load_relaxed(&counted)) * COUNT_NS / span_ns;
    enum wi_timers_come come = lately >= DENSE ? WI_TIMERS_DENSE : lately >= OFTEN ? WI_TIMERS_OFTEN : WI_TIMERS_SELDOM;
    wi_store_relaxed(&counted, came);
    wi_store_relaxed(&counted_ns, now_ns);
    wi_store_relaxed(&wi_sched.timers_come, come);
    return come;
}

/* ---- the sleep ---- */

/* [atomic] from when a time came until its sleeper ran: a mean that forgets. Two who note at once lose one of the two. */
static _Atomic int64_t latency_ns;

/* Whether t takes the sitter's place. Not while every worker has a thread: these look when they have time for it, and
   by then there is more; a sitter would be woken for each event, take the processor from one of them where there are
   no others, and could only leave it to them. Whoever leaves the place for that looks whether the monitor sleeps, as
   all do who leave it. */
static bool sit_down(struct wi_thread *t)
{
    struct wi_thread *nobody = NULL;
    if (!wi_load_acquire(&wi_sched.polls)) /* pairs with the poller's making */
        return false;
    if ((wi_load_relaxed(&wi_sched.alert) & WI_ALERT_IDLE_MASK) && wi_cas_acquire(&wi_sched.sitter, &nobody, t))
        return true;
    wi_guard_poller();
    return false;
}

static bool sleep_to(struct wi_thread *t, int64_t deadline_ns, bool sits, struct wi_goroutine **ready)
{
    return sits ? wi_thread_poll(t, deadline_ns, ready) : wi_thread_sleep(t, deadline_ns);
}

/* The rest of the time, awake; a sitter keeps its place and looks. Who gives t a worker between two looks finds the
   wake word at NONE and interrupts nobody; the next look sees SENT, or, when the time has come, t's next sleep does. */
static bool wait_awake(struct wi_thread *t, int64_t deadline_ns, bool sits, struct wi_goroutine **ready)
{
    int64_t now_ns;
    while ((now_ns = wi_os_now_ns()) < deadline_ns) {
        wi_pause();
        if ((sits || wi_load_relaxed(&t->wake) == WI_WAKE_SENT) && sleep_to(t, now_ns, sits, ready))
            return true;
        if (*ready)
            return false;
    }
    return false;
}

/* deadline_ns is a time, not INT64_MAX. */
static bool sleep_precisely(struct wi_thread *t, int64_t deadline_ns, bool sits, struct wi_goroutine **ready)
{
    int64_t now_ns = wi_os_now_ns();
    if (deadline_ns - now_ns < WI_SLACK_NS && wi_count_timers(now_ns) == WI_TIMERS_DENSE)
        return sleep_to(t, now_ns + WI_SLACK_NS, sits, ready);
    int64_t latency = wi_load_relaxed(&latency_ns), most = (deadline_ns - now_ns) / 16;
    if (most <= 0)
        return sleep_to(t, deadline_ns, sits, ready);
    int64_t lead = latency * 3 / 4 < most ? latency * 3 / 4 : most;
    if (sleep_to(t, deadline_ns - lead, sits, ready))
        return true;
    int64_t late = wi_os_now_ns() - (deadline_ns - lead);
    if (*ready || late < 0)
        return false;
    late = late < LATENCY_MOST_NS ? late : LATENCY_MOST_NS;
    wi_store_relaxed(&latency_ns, latency + (late - latency) / 8);
    return wait_awake(t, deadline_ns, sits, ready);
}

/* There is one sitter at a time, from before it polls until after: the edge that interrupts it would otherwise reach another
   one. */
bool wi_rest(struct wi_thread *t, int64_t deadline_ns, struct wi_goroutine **ready)
{
    bool sits = sit_down(t);
    bool assigned =
        deadline_ns == INT64_MAX ? sleep_to(t, deadline_ns, sits, ready) : sleep_precisely(t, deadline_ns, sits, ready);
    if (!sits)
        return assigned;
    wi_store_release(&wi_sched.sitter, NULL); /* pairs with the next one's acquire */
    int64_t now_ns = wi_os_now_ns();
    wi_store_relaxed(&wi_sched.polled_ns, now_ns);
    if (*ready)
        wi_store_relaxed(&wi_sched.came_ns, now_ns);
    return assigned;
}
