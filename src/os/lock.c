/* lock.c — the contended side of lock.h: look again for a while, sleep, and take turns with whom one fights.

   A lock's line, and those of what it guards, travel between the cores whenever another thread locks: 100 ns and more, beside
   some 10 ns that a channel's operation takes. Two threads that do little else than lock the same lock would wait for lines
   in every operation, and both together do less than one of them alone. So threads that fight take turns: who finds the lock
   held leaves it alone for TURN_NS, without so much as a look, and the other has some hundred operations to itself. Then it
   takes the lock, and the other one finds it held.

   That pays for who does less than about 80 ns of other work between two locks; with more, both cores bring more than a
   quiet line does. So a thread fights when, FIGHT_SIGNS times in a row, the lock that it had to wait for is held by somebody
   else again when it comes back within FIGHT_NS. After FIGHT_TURNS it looks anew, since with turns it cannot tell: it comes
   back late because nobody disturbs it. A lock that is fought over is free again after a turn at most, and taken or waited
   for as any other then, so nobody waits longer than TURN_NS more than without turns. */
#include "os/lock.h"

/* Below what sleeping and being woken cost. 100,000 goroutines that left queues at once took 67 ms; with a fifth of the
   looks 91 ms, with twice as many no less. */
#define SPIN_NS INT64_C(4000)
/* With what it costs to fetch the lines that the lock guards. With 200 many fights were not recognized (mpmc4096 82 ns instead
   of 25); the larger, the more threads take turns that had better not. */
#define FIGHT_NS INT64_C(300)
#define FIGHT_SIGNS 4U
#define FIGHT_TURNS 32U
#define TURN_NS INT64_C(4000)

/* What the thread remembers of the last lock that it had to wait for. Thread-local, which is safe only because wi_lock_slow
   neither is inlined nor switches stacks: it begins and ends on one thread. */
struct fight {
    struct wi_lock *lock;
    int64_t got_ns; /* when the thread got it */
    unsigned signs; /* of a fight, in a row */
    unsigned turns; /* to take before it looks anew; 0: no fight is known */
};
static __attribute__((tls_model("initial-exec"))) _Thread_local struct fight last_fight;

static bool fights(struct fight *f, struct wi_lock *lock, int64_t now_ns)
{
    int64_t away_ns = now_ns - f->got_ns;
    if (f->lock != lock) {
        f->lock = lock;
        f->signs = f->turns = 0;
    } else if (f->turns) {
        f->turns = away_ns > 4 * TURN_NS ? 0 : f->turns - 1;
    } else {
        f->signs = away_ns < FIGHT_NS ? f->signs + 1 : 0;
        if (f->signs == FIGHT_SIGNS) {
            f->signs = 0;
            f->turns = FIGHT_TURNS;
        }
    }
    return f->turns != 0;
}

/* Leaves the lock alone; the time afterwards. */
static int64_t sit_out(int64_t now_ns)
{
    int64_t end_ns = now_ns + TURN_NS;
    do {
        for (int i = 0; i < 8; i++)
            wi_pause();
        now_ns = wi_os_now_ns();
    } while (now_ns < end_ns);
    return now_ns;
}

static bool spin(struct fight *f, struct wi_lock *lock, int64_t now_ns)
{
    int64_t end_ns = now_ns + SPIN_NS;
    do {
        wi_pause();
        now_ns = wi_os_now_ns(); /* not when it has the lock: others wait for that */
        if (wi_lock_try(lock)) {
            f->got_ns = now_ns;
            return true;
        }
    } while (now_ns < end_ns);
    return false;
}

__attribute__((noinline)) void wi_lock_slow(struct wi_lock *lock)
{
    struct fight *f = &last_fight;
    int64_t now_ns = wi_os_now_ns();
    if (fights(f, lock, now_ns)) {
        now_ns = sit_out(now_ns);
        f->got_ns = now_ns;
        /* Without a look, which would fetch the line once more. Pairs with unlock's release. */
        if (wi_swap_acquire(&lock->locked, 1) == 0)
            return;
    }
    if (spin(f, lock, now_ns))
        return;
    wi_add_relaxed(&lock->sleepers, 1);
    /* Pairs with the light barrier in wi_unlock: whoever unlocks from here on sees the sleeper, and who did not see it has
       unlocked visibly. Once is enough, as sleepers stays above 0 until this thread has the lock. */
    wi_os_barrier_heavy();
    while (wi_swap_acquire(&lock->locked, 1) != 0) /* pairs with unlock's release */
        wi_os_futex_wait(&lock->locked, 1, INT64_MAX);
    wi_sub_relaxed(&lock->sleepers, 1);
    f->got_ns = wi_os_now_ns();
}

void wi_unlock_slow(struct wi_lock *lock)
{
    /* One at a time: the woken thread gets the lock sooner or later, and its unlock wakes the next. */
    wi_os_futex_wake(&lock->locked, 1);
}
