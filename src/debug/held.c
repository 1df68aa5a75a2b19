/* held.c — checked builds: a goroutine that waits while its thread holds a pthread mutex.

   It may go on on another thread, where unlocking that mutex is undefined, and until then whoever wants the mutex blocks a
   whole thread, perhaps the one that was to wake the goroutine. The wait goes on; every line that starts such goroutines is
   reported once.

   The program's calls of pthread_mutex_lock, trylock and unlock come here first: a definition in the program, where a static
   weft is, is found before libc's. They are counted for the goroutine that runs on the thread. What libc locks and unlocks
   inside pthread_cond_wait does not pass here, and the count is right again when it returns. A timed lock is not counted; a
   mutex that another thread unlocks leaves the count too high until its goroutine was reported or has ended. Nothing is ever
   refused or changed.

   libc's functions are looked up before main or, when somebody is earlier, at the first call; dlsym does not lock by way of
   here. In a program that is static as a whole their other names are linked. Without effect with the shared library, whose
   symbols are its own, and left out with the sanitizers, which have these functions themselves. */
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#include "debug/debug.h"
#include "debug/unwind.h"
#include "sched/sched.h"

#if defined(WEFT_CHECKED) && !defined(WI_SANITIZER_ASAN) && !defined(WI_SANITIZER_TSAN)
#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>

#define SITES_MAX 64U /* further ones are not reported */

typedef int (*mutex_fn)(pthread_mutex_t *mutex);

/* ---- libc's ---- */

/* Exported by name from a static libc alone. */
extern int __pthread_mutex_lock(pthread_mutex_t *mutex) __attribute__((weak));
extern int __pthread_mutex_trylock(pthread_mutex_t *mutex) __attribute__((weak));
extern int __pthread_mutex_unlock(pthread_mutex_t *mutex) __attribute__((weak));

enum { LOCK, TRYLOCK, UNLOCK, FUNCTIONS };
static const char *const names[FUNCTIONS] = {"pthread_mutex_lock", "pthread_mutex_trylock", "pthread_mutex_unlock"};
static _Atomic(mutex_fn) found[FUNCTIONS];

static __attribute__((noinline)) mutex_fn look_up(int which)
{
    static const mutex_fn linked[FUNCTIONS] = {__pthread_mutex_lock, __pthread_mutex_trylock, __pthread_mutex_unlock};
    mutex_fn fn = linked[which];
    if (!fn)
        *(void **)&fn = dlsym(RTLD_NEXT, names[which]);
    wi_store_relaxed(&found[which], fn);
    return fn;
}

static inline mutex_fn real(int which)
{
    mutex_fn fn = wi_load_relaxed(&found[which]);
    return WI_LIKELY(fn != NULL) ? fn : look_up(which);
}

static __attribute__((constructor)) void look_up_all(void)
{
    for (int i = 0; i < FUNCTIONS; i++)
        real(i);
}

/* ---- counting ---- */

static void count(int by)
{
    struct wi_thread *t = wi_self();
    struct wi_goroutine *g = t ? t->current : NULL;
    if (!g)
        return;
    uint64_t id = wi_load_relaxed(&g->id);
    if (t->holder_id != id) { /* of one that ran here before, and has ended or moved */
        t->holder_id = id;
        t->mutexes_held = 0;
    }
    if (by > 0 || t->mutexes_held > 0)
        t->mutexes_held += by;
}

__attribute__((weak, visibility("default"))) int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    int result = real(LOCK)(mutex);
    if (result == 0 || result == EOWNERDEAD)
        count(1);
    return result;
}

__attribute__((weak, visibility("default"))) int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    int result = real(TRYLOCK)(mutex);
    if (result == 0 || result == EOWNERDEAD)
        count(1);
    return result;
}

__attribute__((weak, visibility("default"))) int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int result = real(UNLOCK)(mutex);
    if (result == 0)
        count(-1);
    return result;
}

/* ---- reporting ---- */

/* True the first time. */
static bool is_new(const weft_site *site)
{
    static _Atomic(const weft_site *) sites[SITES_MAX];
    for (unsigned i = 0; i < SITES_MAX; i++) {
        const weft_site *known = NULL;
        if (atomic_compare_exchange_strong(&sites[i], &known, site))
            return true;
        if (known == site)
            return false;
    }
    return false;
}

void wi_held_parks(struct wi_thread *t)
{
    struct wi_goroutine *g = t->current;
    struct wi_snapshot s;
    char who[256];
    bool holds = t->holder_id == wi_load_relaxed(&g->id);
    t->mutexes_held = 0; /* it may unlock elsewhere */
    if (!holds || !is_new(g->site) || !wi_snapshot(g, &s, NULL, 0, NULL))
        return;
    wi_report("%s waits in %s while its thread holds a pthread mutex", wi_who(&s, who, sizeof who), g->run.kind->text);
    uintptr_t pcs[WI_UNWIND_MAX];
    int n = wi_unwind_here(NULL, pcs, WI_UNWIND_MAX);
    wi_unwind_print(STDERR_FILENO, pcs, n, "    ", true);
}
#else
void wi_held_parks(struct wi_thread *t)
{
    (void)t;
}
#endif
