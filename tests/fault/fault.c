/* LINK: -Wl,--wrap=mmap,--wrap=madvise,--wrap=mprotect,--wrap=malloc,--wrap=calloc,--wrap=realloc */
/* LINK: -Wl,--wrap=strdup,--wrap=posix_memalign,--wrap=pthread_create,--wrap=open */
/* fault.c — the n-th call of mmap, malloc, pthread_create and so on fails, once or from then on, for every n until none is
   hit. A child runs a scenario each time. Allowed ends: all went well, with the error values that the calls document; or an
   abort with a message that says what ran out. Never a fault, a hang, or a goroutine that was accepted and did not run. */
#include "plan.h"

#include <pthread.h>

enum kind { MMAP, MADVISE, MPROTECT, MALLOC, CALLOC, REALLOC, STRDUP, MEMALIGN, THREAD, OPEN };

typedef void *thread_function(void *argument);

WRAP(must_fail(MMAP), MAP_FAILED, void *, mmap, (void *start, size_t size, int protection, int flags, int fd, off_t offset),
     (start, size, protection, flags, fd, offset))
WRAP(must_fail(MADVISE), -1, int, madvise, (void *start, size_t size, int advice), (start, size, advice))
WRAP(must_fail(MPROTECT), -1, int, mprotect, (void *start, size_t size, int protection), (start, size, protection))
WRAP(must_fail(MALLOC), NULL, void *, malloc, (size_t size), (size))
WRAP(must_fail(CALLOC), NULL, void *, calloc, (size_t n, size_t size), (n, size))
WRAP(must_fail(REALLOC), NULL, void *, realloc, (void *old, size_t size), (old, size))
WRAP(must_fail(STRDUP), NULL, char *, strdup, (const char *text), (text))
WRAP(must_fail(MEMALIGN), plan->error, int, posix_memalign, (void **result, size_t align, size_t size),
     (result, align, size))
WRAP(must_fail(THREAD), plan->error, int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, thread_function *fn, void *argument),
     (thread, attributes, fn, argument))
WRAP_OPEN

/* ---- what the child does ---- */

static _Atomic int started, finished;

static void expect_status(int status)
{
    CHECK(status == 0 || status == -ENOMEM || status == -EAGAIN);
    if (status == 0)
        atomic_fetch_add(&started, 1);
}

/* Everybody who was accepted runs; the limit of the child's life bounds the wait. */
static void wait_for_all(void)
{
    while (atomic_load(&finished) < atomic_load(&started))
        nap_ns(200000);
    CHECK_EQ(atomic_load(&finished), atomic_load(&started));
}

struct many_bytes {
    char bytes[1000];
};

/* More cases than fit the stack's room. */
static void select_many(weft_chan(int) c)
{
    enum { CASES = 100 };
    weft_case cases[CASES];
    int got = 0;
    for (int i = 0; i < CASES - 1; i++)
        cases[i] = weft_on_recv(c, &got);
    cases[CASES - 1] = weft_on_timeout(200 * WEFT_US);
    int chosen = weft_select_(cases, CASES, true);
    CHECK(chosen == -ENOMEM || (chosen >= 0 && chosen < CASES));
    chosen = weft_select_(cases, CASES, false);
    CHECK(chosen == -ENOMEM || chosen == -EAGAIN || (chosen >= 0 && chosen < CASES - 1));
}

static void end(void)
{
    atomic_fetch_add(&finished, 1);
}

static void do_little(int i)
{
    weft_yield();
    if (i % 4 == 0)
        nap_ns(500000); /* so that more threads are wanted than there are workers */
    end();
}

static void do_much(weft_chan(int) c, int i)
{
    weft_yield();
    int status = weft_name("a name that is too long for any small buffer to keep: a copy of it needs memory of its own");
    CHECK(status == 0 || status == -ENOMEM);
    if (c) {
        select_many(c);
        weft_try_send(c, i);
    }
    CHECK_EQ(weft_sleep(100 * WEFT_US), 0);
    do_little(i);
}

static void take_copy(struct many_bytes *copy)
{
    CHECK_EQ(copy->bytes[999], 9);
    end();
}

/* Calls that report what failed, and nothing that may be fatal but for stacks, of which none could be had. */
static void use_values_only(void)
{
    atomic_store(&plan->armed, true);
    weft_chan(struct many_bytes) c = weft_chan_make(struct many_bytes, 100);
    for (int i = 0; i < 40; i++)
        expect_status(weft_try_go(do_little, i));
    wait_for_all();
    for (int i = 0; i < 40; i++)
        expect_status(weft_try_go(do_little, i));
    wait_for_all();
    weft_chan_free(c);
}

static void use_everything(void)
{
    int fd = open("/dev/null", O_WRONLY);
    CHECK(fd >= 0);
    atomic_store(&plan->armed, true);
    weft_chan(int) c = weft_chan_make(int, 8);
    for (int i = 0; i < 20; i++)
        expect_status(weft_try_go(do_much, c, i));
    if (c)
        select_many(c);
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    atomic_fetch_add(&started, 2);
    weft_go_with(take_copy, (struct many_bytes){.bytes = {[999] = 9}});
    weft_go_opt(WEFT_OPTIONS(.name = "named", .stack_size = 1 << 20), end);
    weft_dump(fd);
    wait_for_all();
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    for (int i = 0; i < 5; i++)
        expect_status(weft_try_go(do_little, i));
    wait_for_all();
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    weft_chan_free(c);
}

static int do_as_main(void)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 10; i++)
        weft_wg_go(&wg, do_little, i);
    weft_wg_wait(&wg);
    return 10;
}

static void use_run(void)
{
    atomic_store(&plan->armed, true);
    CHECK_EQ(weft_run(do_as_main), 10);
    CHECK_EQ(atomic_load(&finished), 10);
}

static weft_mutex lock;
static weft_local local = WEFT_LOCAL(free);

static int do_six(int a, int b, int c, int d, int e, _Atomic int *ran)
{
    CHECK_EQ(a + b + c + d + e, 15);
    atomic_fetch_add(ran, 1);
    void *value = malloc(1);
    if (weft_local_set(&local, value) != 0)
        free(value);
    return 0;
}

/* Without memory for the unwinder the chain is undone all the same. */
static int do_leave(int how)
{
    weft_scoped_lock(&lock);
    if (how == 1)
        weft_exit_goroutine();
    if (how == 2)
        weft_panic("how %d", how);
    return 7;
}

static void use_groups(void)
{
    atomic_store(&plan->armed, true);
    weft_group g = WEFT_GROUP(3);
    _Atomic int ran = 0;
    for (int i = 0; i < 10; i++)
        expect_status(weft_group_go(&g, do_six, 1, 2, 3, 4, 5, &ran));
    int result = weft_group_wait(&g);
    CHECK_EQ(atomic_load(&ran), atomic_load(&started));
    CHECK(atomic_load(&ran) == 10 ? result == 0 : result == -ENOMEM || result == -EAGAIN);
    for (int how = 0; how < 3; how++) {
        char *panic = NULL;
        int value = -1;
        result = weft_await_panic(weft_async(do_leave, how), &value, &panic);
        CHECK(result == -ENOMEM || result == (how ? -ENOTRECOVERABLE : 0));
        CHECK_EQ(value, result ? 0 : 7);
        CHECK(!panic || how == 2);
        free(panic);
        CHECK(weft_try_lock(&lock));
        weft_unlock(&lock);
    }
}

/* ---- every n ---- */

static bool says_what_ran_out(const char *text)
{
    const char *message = strstr(text, "weft: fatal: ");
    return message && (strstr(message, "memory") || strstr(message, "no thread"));
}

/* One run; true when the failure was hit. */
static bool run_plan(void (*scenario)(void), char *environment, bool may_die, const char *only_message)
{
    death_run(scenario, environment);
    bool good = WIFEXITED(death.status) && WEXITSTATUS(death.status) == 0;
    if (!good && may_die && WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGABRT)
        good = says_what_ran_out(death.text) && (!only_message || strstr(death.text, only_message));
    if (!good)
        plan_failed("an allowed end");
    return atomic_load(&plan->hit);
}

/* How many failures were hit in all. */
static int fail_every(enum kind kind, int error, char *environment, bool may_die)
{
    static const struct {
        void (*scenario)(void);
        const char *only_message;
    } scenarios[] = {{use_values_only, "no stack"}, {use_everything, NULL}, {use_run, NULL}, {use_groups, NULL}};
    share_plan();
    int all_hits = 0;
    for (int s = 0; s < 4; s++)
        for (int sticky = 0; sticky < 2; sticky++) {
            int hits = 0, misses = 0;
            for (int n = 1; misses < 2; n = next_call(n)) { /* how many calls there are differs a little from run to run */
                CHECK(n < 5000);
                make_plan((int)kind, error, sticky, n);
                bool hit = run_plan(scenarios[s].scenario, environment, may_die, scenarios[s].only_message);
                hits += hit;
                misses = hit ? 0 : misses + 1;
            }
            printf("scenario %d%s: %d failures\n", s, sticky ? ", from then on" : "", hits);
            all_hits += hits;
        }
    return all_hits;
}

TEST(Mmap)
{
    CHECK(fail_every(MMAP, ENOMEM, NULL, true) > 0);
}

/* A kernel that does not know some advice: everything works with what is left. */
TEST(MadviseUnknown)
{
    fail_every(MADVISE, EINVAL, NULL, false);
}

TEST(MadviseNoMemory)
{
    fail_every(MADVISE, ENOMEM, NULL, true);
}

TEST(Mprotect)
{
    CHECK(fail_every(MPROTECT, ENOMEM, "WEFT_GUARD=mprotect", true) > 0);
}

TEST(Malloc)
{
    CHECK(fail_every(MALLOC, ENOMEM, NULL, true) > 0);
}

TEST(Calloc)
{
    fail_every(CALLOC, ENOMEM, NULL, true);
}

TEST(PosixMemalign)
{
    fail_every(MEMALIGN, ENOMEM, NULL, true);
}

TEST(PthreadCreate)
{
    CHECK(fail_every(THREAD, EAGAIN, NULL, true) > 0);
}

/* Reports do with less. */
TEST(ReallocAndStrdup)
{
    fail_every(REALLOC, ENOMEM, NULL, false);
    fail_every(STRDUP, ENOMEM, NULL, false);
}

/* No descriptor for anything under /proc: slower in places, never wrong. */
TEST(Open)
{
    CHECK(fail_every(OPEN, EMFILE, NULL, false) > 0);
}

TEST_MAIN()
