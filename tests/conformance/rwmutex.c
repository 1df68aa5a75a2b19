/* rwmutex.c — what Go's sync package checks of RWMutex, with foreign threads mixed in, and what is promised beyond it: who
   comes before whom, that neither side starves, and that the mutex may be unmapped by whoever a call let proceed. Scoped
   locks of all kinds too. Misuse that is fatal is in tests/death/misuse.c.

   Not here: RLocker, which C has no interface for. */
#define _GNU_SOURCE 1 /* memfd_create */
#include "../workload.h"
#include <weft.h>

#include "../test.h"

/* ---- helpers ---- */

/* How often a dump shows somebody who waits for what text says. */
static int count_waiting(const char *text)
{
    int fd = memfd_create("dump", MFD_CLOEXEC), n = 0;
    CHECK(fd >= 0);
    weft_dump(fd);
    off_t size = lseek(fd, 0, SEEK_END);
    char *dump = calloc(1, (size_t)size + 1);
    CHECK(dump && pread(fd, dump, (size_t)size, 0) == size);
    for (const char *at = dump; (at = strstr(at, text)); at++)
        n++;
    free(dump);
    close(fd);
    return n;
}

static void await_waiting(const char *text, int n)
{
    while (count_waiting(text) != n)
        weft_sleep(WEFT_MS);
}

static void check_free(weft_rwmutex *m)
{
    CHECK(weft_try_wlock(m));
    weft_wunlock(m);
}

/* ---- Go's ---- */

static void read_in_parallel(weft_rwmutex *m, weft_chan(int) locked, weft_chan(int) unlock, weft_chan(int) done)
{
    weft_rlock(m);
    CHECK_EQ(weft_send(locked, 1), 0);
    CHECK(weft_recv(unlock, NULL));
    weft_runlock(m);
    CHECK_EQ(weft_send(done, 1), 0);
}

static void check_parallel_readers(int n)
{
    weft_rwmutex m = {0};
    weft_chan(int) locked = weft_chan_make(int, 0), unlock = weft_chan_make(int, 0), done = weft_chan_make(int, 0);
    for (int i = 0; i < n; i++)
        weft_go(read_in_parallel, &m, locked, unlock, done);
    for (int i = 0; i < n; i++) /* all of them have it at once */
        CHECK(weft_recv(locked, NULL));
    CHECK(!weft_try_wlock(&m));
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_send(unlock, 1), 0);
    for (int i = 0; i < n; i++)
        CHECK(weft_recv(done, NULL));
    check_free(&m);
    weft_chan_free(locked);
    weft_chan_free(unlock);
    weft_chan_free(done);
}

TEST_BOTH(ParallelReaders)
{
    check_parallel_readers(1);
    check_parallel_readers(3);
    check_parallel_readers(4);
    check_parallel_readers(100);
}

struct hammered {
    weft_rwmutex mutex;
    _Atomic int activity; /* readers inside, or 10000 for a writer */
    int64_t plain;        /* [writer] */
    _Atomic int64_t written;
    int loops;
};

static void inside_as_reader(struct hammered *h, bool pause)
{
    int readers = atomic_fetch_add(&h->activity, 1) + 1;
    CHECK(readers >= 1 && readers < 10000);
    int64_t before = h->plain;
    if (pause)
        weft_yield();
    for (volatile int i = 0; i < 100; i++) {
    }
    CHECK_EQ(h->plain, before);
    atomic_fetch_sub(&h->activity, 1);
}

static void inside_as_writer(struct hammered *h, bool pause)
{
    CHECK_EQ(atomic_fetch_add(&h->activity, 10000), 0);
    h->plain++;
    if (pause)
        weft_yield();
    for (volatile int i = 0; i < 100; i++) {
    }
    CHECK_EQ(atomic_fetch_sub(&h->activity, 10000), 10000);
}

static void hammer_reading(struct hammered *h)
{
    for (int i = 0; i < h->loops; i++) {
        if (i % 5 != 4)
            weft_rlock(&h->mutex);
        else if (!weft_try_rlock(&h->mutex))
            continue;
        inside_as_reader(h, i % 17 == 0);
        weft_runlock(&h->mutex);
    }
}

static void hammer_writing(struct hammered *h)
{
    int64_t written = 0;
    for (int i = 0; i < h->loops; i++) {
        if (i % 5 != 4)
            weft_wlock(&h->mutex);
        else if (!weft_try_wlock(&h->mutex))
            continue;
        inside_as_writer(h, i % 17 == 0);
        weft_wunlock(&h->mutex);
        written++;
    }
    atomic_fetch_add(&h->written, written);
}

static void hammer_reading_by_thread(void *h)
{
    hammer_reading(h);
}

static void hammer_writing_by_thread(void *h)
{
    hammer_writing(h);
}

static void check_hammer(int readers, int writers, int threads, int loops)
{
    struct hammered h = {.loops = loops};
    weft_waitgroup wg = {0};
    pthread_t foreign[2][4];
    weft_wg_go(&wg, hammer_writing, &h);
    for (int i = 0; i < readers || i < writers || i < threads; i++) {
        if (i < readers)
            weft_wg_go(&wg, hammer_reading, &h);
        if (i < writers)
            weft_wg_go(&wg, hammer_writing, &h);
        if (i < threads) {
            foreign[0][i] = start_thread(hammer_reading_by_thread, &h);
            foreign[1][i] = start_thread(hammer_writing_by_thread, &h);
        }
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < threads; i++) {
        CHECK_EQ(pthread_join(foreign[0][i], NULL), 0);
        CHECK_EQ(pthread_join(foreign[1][i], NULL), 0);
    }
    CHECK_EQ(h.plain, atomic_load(&h.written));
    check_free(&h.mutex);
}

TEST_BOTH(RWMutex)
{
    weft_rwmutex m = {0};
    weft_wlock(&m);
    CHECK(!weft_try_wlock(&m));
    CHECK(!weft_try_rlock(&m));
    weft_wunlock(&m);
    CHECK(weft_try_wlock(&m));
    weft_wunlock(&m);
    CHECK(weft_try_rlock(&m));
    CHECK(weft_try_rlock(&m));
    CHECK(!weft_try_wlock(&m));
    weft_runlock(&m);
    CHECK(!weft_try_wlock(&m));
    weft_runlock(&m);
    check_free(&m);
    int loops = test_scale(1000);
    check_hammer(1, 1, 0, loops);
    check_hammer(3, 1, 0, loops);
    check_hammer(10, 1, 0, loops);
    check_hammer(10, 10, 0, loops);
    check_hammer(50, 2, 0, loops / 5 + 1);
}

TEST_BOTH(RWMutexWithForeignThreads)
{
    check_hammer(2, 1, 1, test_scale(1000));
    check_hammer(4, 2, 3, test_scale(500));
}

/* ---- who comes before whom ---- */

struct order {
    weft_rwmutex mutex;
    weft_mutex log_lock;
    int n;
    char log[64];
};

static void log_one(struct order *o, char what)
{
    weft_lock(&o->log_lock);
    o->log[o->n++] = what;
    weft_unlock(&o->log_lock);
}

static void read_and_log(struct order *o)
{
    weft_rlock(&o->mutex);
    log_one(o, 'r');
    weft_yield();
    weft_runlock(&o->mutex);
}

static void write_and_log(struct order *o, int letter)
{
    weft_wlock(&o->mutex);
    log_one(o, (char)letter);
    weft_yield();
    log_one(o, (char)letter);
    weft_wunlock(&o->mutex);
}

/* A reader has it, a writer waits: readers that come now wait too, and come after the writer. */
TEST_BOTH(PendingWriterBlocksNewReaders)
{
    struct order o = {0};
    weft_waitgroup wg = {0};
    weft_rlock(&o.mutex);
    CHECK(weft_try_rlock(&o.mutex));
    weft_wg_go(&wg, write_and_log, &o, 'A');
    await_waiting("RWMutex (write)", 1);
    CHECK(!weft_try_rlock(&o.mutex));
    CHECK(!weft_try_wlock(&o.mutex));
    for (int i = 0; i < 5; i++)
        weft_wg_go(&wg, read_and_log, &o);
    await_waiting("RWMutex (read)", 5);
    weft_runlock(&o.mutex);
    CHECK_EQ(count_waiting("RWMutex (write)"), 1); /* one reader is left */
    CHECK_EQ(o.n, 0);
    weft_runlock(&o.mutex);
    weft_wg_wait(&wg);
    CHECK(strcmp(o.log, "AArrrrr") == 0);
    check_free(&o.mutex);
}

/* At a writer's unlock all readers that wait come before the next writer, however long that one has waited; writers come in
   turn. */
TEST_BOTH(ReadersBetweenWriters)
{
    struct order o = {0};
    weft_waitgroup wg = {0};
    weft_wlock(&o.mutex);
    for (int i = 0; i < 3; i++) {
        weft_wg_go(&wg, write_and_log, &o, 'A' + i);
        await_waiting("RWMutex (write)", i + 1);
    }
    for (int i = 0; i < 5; i++)
        weft_wg_go(&wg, read_and_log, &o);
    await_waiting("RWMutex (read)", 5);
    weft_wunlock(&o.mutex);
    weft_wg_wait(&wg);
    CHECK(strcmp(o.log, "rrrrrAABBCC") == 0);
    check_free(&o.mutex);
}

/* What one writer wrote is what the readers see that it lets in, and what they did is over when the next writer comes: plain
   memory is enough, and TSan agrees (RWMutex above checks the same under contention). */
static void write_then_unlock(weft_rwmutex *m, int *plain, int value)
{
    weft_wlock(m);
    *plain = value;
    weft_wunlock(m);
}

static void check_reading(weft_rwmutex *m, const int *plain, int at_least)
{
    weft_rlock(m);
    CHECK(*plain >= at_least);
    weft_runlock(m);
}

TEST_BOTH(UnlockOrdersWhatCameBefore)
{
    weft_rwmutex m = {0};
    int plain = 0;
    for (int i = 1; i <= test_scale(2000); i++) {
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, check_reading, &m, &plain, i - 1);
        weft_wg_go(&wg, write_then_unlock, &m, &plain, i);
        weft_wg_go(&wg, check_reading, &m, &plain, i - 1);
        weft_wg_wait(&wg);
        check_reading(&m, &plain, i);
    }
}

/* ---- nobody starves ---- */

static void read_greedily(weft_rwmutex *m, _Atomic bool *stop)
{
    while (!atomic_load(stop)) {
        weft_rlock(m);
        burn_ns(100000);
        weft_runlock(m);
    }
}

static void write_greedily(weft_rwmutex *m, _Atomic bool *stop)
{
    while (!atomic_load(stop)) {
        weft_wlock(m);
        burn_ns(100000);
        weft_wunlock(m);
    }
}

static void write_modestly(weft_rwmutex *m, int64_t *longest_ns)
{
    for (int i = 0; i < 10; i++) {
        weft_sleep(100 * WEFT_US);
        int64_t start_ns = clock_ns();
        weft_wlock(m);
        weft_wunlock(m);
        int64_t waited_ns = clock_ns() - start_ns;
        *longest_ns = waited_ns > *longest_ns ? waited_ns : *longest_ns;
    }
}

static void read_modestly(weft_rwmutex *m, int64_t *longest_ns)
{
    for (int i = 0; i < 10; i++) {
        weft_sleep(100 * WEFT_US);
        int64_t start_ns = clock_ns();
        weft_rlock(m);
        weft_runlock(m);
        int64_t waited_ns = clock_ns() - start_ns;
        *longest_ns = waited_ns > *longest_ns ? waited_ns : *longest_ns;
    }
}

/* Readers overlap without a gap: a writer gets in all the same. */
TEST_BOTH(WritersDoNotStarve)
{
    weft_rwmutex m = {0};
    _Atomic bool stop = false;
    int64_t longest_ns = 0;
    weft_waitgroup greedy = {0}, modest = {0};
    for (int i = 0; i < 4; i++)
        weft_wg_go(&greedy, read_greedily, &m, &stop);
    weft_wg_go(&modest, write_modestly, &m, &longest_ns);
    weft_wg_wait(&modest);
    CHECK(longest_ns < 2 * WEFT_SECOND);
    atomic_store(&stop, true);
    weft_wg_wait(&greedy);
}

/* A queue of writers that is never empty: a reader gets in all the same. */
TEST_BOTH(ReadersDoNotStarve)
{
    weft_rwmutex m = {0};
    _Atomic bool stop = false;
    int64_t longest_ns = 0;
    weft_waitgroup greedy = {0}, modest = {0};
    for (int i = 0; i < 4; i++)
        weft_wg_go(&greedy, write_greedily, &m, &stop);
    weft_wg_go(&modest, read_modestly, &m, &longest_ns);
    weft_wg_wait(&modest);
    CHECK(longest_ns < 2 * WEFT_SECOND);
    atomic_store(&stop, true);
    weft_wg_wait(&greedy);
}

/* ---- beyond Go ---- */

/* An error that nobody looks at would be worse than a wait: the end of a context ends none of these. */
static void lock_all_in(weft_ctx *ctx, weft_mutex *m, weft_rwmutex *rw, _Atomic int *locked)
{
    weft_scoped_use(ctx);
    CHECK_EQ(weft_sleep(WEFT_MINUTE), -ECANCELED); /* as this one is */
    weft_rlock(rw);
    weft_runlock(rw);
    atomic_fetch_add(locked, 1);
    weft_lock(m);
    weft_unlock(m);
    atomic_fetch_add(locked, 1);
    weft_wlock(rw);
    weft_wunlock(rw);
    atomic_fetch_add(locked, 1);
}

TEST_BOTH(ContextsDoNotEndLocks)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_mutex m = {0};
    weft_rwmutex rw = {0};
    _Atomic int locked = 0;
    weft_waitgroup wg = {0};
    weft_lock(&m);
    weft_wlock(&rw);
    weft_wg_go(&wg, lock_all_in, ctx, &m, &rw, &locked);
    weft_ctx_cancel(ctx);
    await_waiting("RWMutex (read)", 1);
    weft_wunlock(&rw);
    await_waiting("[Mutex", 1);
    CHECK_EQ(atomic_load(&locked), 1);
    weft_rlock(&rw);
    weft_unlock(&m);
    await_waiting("RWMutex (write)", 1);
    CHECK_EQ(atomic_load(&locked), 2);
    weft_runlock(&rw);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&locked), 3);
    weft_ctx_free(ctx);
}

static void runlock_by_thread(void *m)
{
    weft_runlock(m);
}

static void wunlock_by_thread(void *m)
{
    weft_wunlock(m);
}

/* Any goroutine or thread may unlock. */
TEST_BOTH(RWMutexUnlockedBySomebodyElse)
{
    weft_rwmutex m = {0};
    for (int i = 0; i < test_scale(100); i++) {
        weft_rlock(&m);
        pthread_t thread = start_thread(runlock_by_thread, &m);
        weft_wlock(&m);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        thread = start_thread(wunlock_by_thread, &m);
        weft_rlock(&m);
        weft_runlock(&m);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
}

struct counted {
    weft_rwmutex mutex;
    _Atomic int references;
};

static void drop(struct counted *c, bool writing)
{
    if (writing)
        weft_wlock(&c->mutex);
    else
        weft_rlock(&c->mutex);
    atomic_fetch_sub(&c->references, 1);
    if (writing)
        weft_wunlock(&c->mutex);
    else
        weft_runlock(&c->mutex);
}

static void drop_reading(struct counted *c)
{
    drop(c, false);
}

static void drop_writing(struct counted *c)
{
    drop(c, true);
}

static void drop_reading_by_thread(void *c)
{
    drop(c, false);
}

static void drop_writing_by_thread(void *c)
{
    drop(c, true);
}

/* Who has the mutex alone when everybody else has had it unmaps it: they are perhaps not yet out of their unlocks. */
static void free_when_last(struct counted *c)
{
    for (;;) {
        weft_wlock(&c->mutex);
        bool last = atomic_load(&c->references) == 0;
        weft_wunlock(&c->mutex);
        if (last)
            break;
        weft_yield();
    }
    page_give(c);
}

TEST_BOTH(RWMutexVanishesAfterTheLastUnlock)
{
    for (int i = 0; i < test_scale(5000); i++) {
        struct counted *c = page_take();
        weft_waitgroup wg = {0};
        int n = 2 + i % 3;
        c->references = n;
        if (i % 2)
            weft_wlock(&c->mutex); /* so that they queue up first */
        for (int k = 0; k < n; k++)
            if (k % 2 && k < n - 1)
                weft_wg_go(&wg, drop_writing, c);
            else
                weft_wg_go(&wg, drop_reading, c);
        if (i % 2) {
            weft_yield();
            weft_wunlock(&c->mutex);
        }
        free_when_last(c);
        weft_wg_wait(&wg);
    }
    for (int i = 0; i < test_scale(200); i++) {
        struct counted *c = page_take();
        weft_waitgroup wg = {0};
        c->references = 3;
        weft_rlock(&c->mutex);
        pthread_t reader = start_thread(drop_reading_by_thread, c), writer = start_thread(drop_writing_by_thread, c);
        weft_wg_go(&wg, drop_reading, c);
        weft_runlock(&c->mutex);
        free_when_last(c);
        CHECK_EQ(pthread_join(reader, NULL), 0);
        CHECK_EQ(pthread_join(writer, NULL), 0);
        weft_wg_wait(&wg);
    }
}

/* ---- scoped locks ---- */

static int return_from_scopes(weft_rwmutex *m, weft_mutex *other, int value)
{
    weft_scoped_lock(other);
    weft_scoped_rlock(m);
    CHECK(!weft_try_wlock(m));
    CHECK(!weft_try_lock(other));
    if (value > 5)
        return -value;
    return value;
}

static int leave_by_goto(weft_rwmutex *m, int times)
{
    int passes = 0;
again:
    passes++;
    {
        weft_scoped_wlock(m);
        CHECK(!weft_try_rlock(m));
        if (passes < times)
            goto again;
        goto out;
    }
out:
    check_free(m);
    return passes;
}

TEST_BOTH(ScopedLocksOfAllKinds)
{
    weft_rwmutex m = {0};
    weft_mutex other = {0};
    for (int i = 0; i < 10; i++) {
        weft_scoped_rlock(&m);
        CHECK(!weft_try_wlock(&m));
        if (i % 3 == 0)
            continue;
        weft_scoped_rlock(&m);
        if (i == 8)
            break;
    }
    check_free(&m);
    CHECK_EQ(return_from_scopes(&m, &other, 1), 1);
    CHECK_EQ(return_from_scopes(&m, &other, 9), -9);
    check_free(&m);
    CHECK(weft_try_lock(&other));
    weft_unlock(&other);
    CHECK_EQ(leave_by_goto(&m, 5), 5);
}

/* Each of the three is tried when the one inside it has been given back, and before those outside: newest first. */
struct nested {
    weft_rwmutex outer;
    weft_mutex middle;
    weft_rwmutex inner;
    int looked;
};

static void look_between_outer_and_middle(struct nested *n)
{
    check_free(&n->inner);
    CHECK(weft_try_lock(&n->middle));
    weft_unlock(&n->middle);
    CHECK(!weft_try_rlock(&n->outer));
    CHECK_EQ(++n->looked, 2);
}

static void look_between_middle_and_inner(struct nested *n)
{
    check_free(&n->inner);
    CHECK(!weft_try_lock(&n->middle));
    CHECK_EQ(++n->looked, 1);
}

static __attribute__((noinline)) void exit_three_deep(struct nested *n)
{
    weft_scoped_rlock(&n->inner);
    weft_scoped_rlock(&n->inner);
    CHECK(!weft_try_wlock(&n->inner));
    weft_exit_goroutine();
}

static void exit_under_locks(struct nested *n)
{
    weft_scoped_wlock(&n->outer);
    weft_defer(look_between_outer_and_middle, n);
    weft_scoped_lock(&n->middle);
    weft_defer(look_between_middle_and_inner, n);
    exit_three_deep(n);
    CHECK(!"reached");
}

TEST_BOTH(ExitReleasesScopedLocksInOrder)
{
    for (int i = 0; i < test_scale(200); i++) {
        struct nested n = {0};
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, exit_under_locks, &n);
        weft_wg_wait(&wg);
        CHECK_EQ(n.looked, 2);
        check_free(&n.outer);
        check_free(&n.inner);
        CHECK(weft_try_lock(&n.middle));
    }
}

TEST_MAIN()
