/* cond.c — what Go's sync package checks of Cond, by its names, with foreign threads mixed in; then a Cond that vanishes
   once its last waiter may go. Waits that time or a context ends are in cond_ends.c.

   Not here: CondCopy, which checks that Go notices a copy; a weft_cond that nobody waits on may be copied. */
#include "../workload.h"
#include <weft.h>

#include "../test.h"

/* What the tests share with the goroutines that they start. */
struct place {
    weft_mutex m;
    weft_cond c;
    weft_chan(int) running, awake; /* one element for each that is about to wait; for each that was woken */
    bool done;                     /* [m] */
    int waiting;                   /* [m] */
};

static void place_open(struct place *p, size_t n)
{
    *p = (struct place){.running = weft_chan_make(int, n), .awake = weft_chan_make(int, n)};
    CHECK(p->running && p->awake);
}

static void place_close(struct place *p)
{
    weft_chan_free(p->running);
    weft_chan_free(p->awake);
}

static void receive(weft_chan(int) c)
{
    CHECK(weft_recv(c, NULL));
}

/* Whoever announced itself under the mutex waits now, as it can be locked. */
static void lock_and_signal(struct place *p)
{
    weft_lock(&p->m);
    weft_cond_signal(&p->c);
    weft_unlock(&p->m);
}

/* ---- Go's ---- */

static void wait_once(struct place *p, int number)
{
    weft_lock(&p->m);
    CHECK_EQ(weft_send(p->running, number), 0);
    CHECK_EQ(weft_cond_wait(&p->c, &p->m), 0);
    CHECK_EQ(weft_send(p->awake, number), 0);
    weft_unlock(&p->m);
}

static void *wait_once_by_thread(void *p)
{
    wait_once(p, -1);
    return NULL;
}

TEST_BOTH(CondSignal)
{
    enum { N = 4, THREADS = 2 };
    struct place p;
    pthread_t threads[THREADS];
    weft_waitgroup wg = {0};
    place_open(&p, N + THREADS);
    for (int i = 0; i < N; i++)
        weft_wg_go(&wg, wait_once, &p, i);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, wait_once_by_thread, &p), 0);
    for (int i = 0; i < N + THREADS; i++)
        receive(p.running);
    for (int i = 0; i < N + THREADS; i++) {
        CHECK_EQ(weft_try_recv(p.awake, NULL), -EAGAIN);
        lock_and_signal(&p);
        receive(p.awake);
    }
    weft_cond_signal(&p.c); /* nobody waits */
    weft_wg_wait(&wg);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    place_close(&p);
}

/* Each signal wakes the one that has waited longest. */
TEST_BOTH(CondSignalGenerations)
{
    int n = at_least(10, test_scale(200));
    struct place p;
    weft_waitgroup wg = {0};
    place_open(&p, (size_t)n);
    for (int i = 0; i < n; i++) {
        weft_wg_go(&wg, wait_once, &p, i);
        if (i > 0) {
            int who = -1;
            CHECK(weft_recv(p.awake, &who));
            CHECK_EQ(who, i - 1);
        }
        receive(p.running);
        lock_and_signal(&p);
    }
    receive(p.awake);
    weft_wg_wait(&wg);
    place_close(&p);
}

static void wait_until_done(struct place *p, int number)
{
    weft_lock(&p->m);
    while (!p->done) {
        CHECK_EQ(weft_send(p->running, number), 0);
        CHECK_EQ(weft_cond_wait(&p->c, &p->m), 0);
        CHECK_EQ(weft_send(p->awake, number), 0);
    }
    weft_unlock(&p->m);
}

TEST_BOTH(CondBroadcast)
{
    enum { N = 200 };
    int rounds = at_least(2, test_scale(N) / 4);
    struct place p;
    place_open(&p, N);
    weft_waitgroup wg = {0};
    for (int i = 0; i < N; i++)
        weft_wg_go(&wg, wait_until_done, &p, i);
    for (int round = 0; round <= rounds; round++) {
        for (int i = 0; i < N; i++)
            receive(p.running);
        CHECK_EQ(weft_try_recv(p.awake, NULL), -EAGAIN);
        weft_lock(&p.m);
        p.done = round == rounds;
        weft_cond_broadcast(&p.c);
        weft_unlock(&p.m);
        bool seen[N] = {false};
        for (int i = 0; i < N; i++) {
            int who = -1;
            CHECK(weft_recv(p.awake, &who));
            CHECK(who >= 0 && who < N && !seen[who]);
            seen[who] = true;
        }
    }
    CHECK_EQ(weft_try_recv(p.running, NULL), -EAGAIN);
    weft_cond_broadcast(&p.c); /* nobody waits */
    weft_wg_wait(&wg);
    place_close(&p);
}

struct steps {
    weft_mutex m;
    weft_cond c;
    int x; /* [m] */
};

static void first_step(struct steps *s)
{
    weft_lock(&s->m);
    s->x = 1;
    CHECK_EQ(weft_cond_wait(&s->c, &s->m), 0);
    CHECK_EQ(s->x, 2);
    s->x = 3;
    weft_cond_signal(&s->c);
    weft_unlock(&s->m);
}

static void second_step(struct steps *s)
{
    weft_lock(&s->m);
    while (s->x != 1) {
        weft_unlock(&s->m);
        weft_yield();
        weft_lock(&s->m);
    }
    s->x = 2;
    weft_cond_signal(&s->c);
    weft_unlock(&s->m);
}

static void third_step(struct steps *s)
{
    weft_lock(&s->m);
    while (s->x < 2) {
        weft_unlock(&s->m);
        weft_yield();
        weft_lock(&s->m);
    }
    if (s->x == 2) {
        CHECK_EQ(weft_cond_wait(&s->c, &s->m), 0);
        CHECK_EQ(s->x, 3);
    }
    weft_unlock(&s->m);
}

TEST_BOTH(Race)
{
    for (int round = 0; round < test_scale(200); round++) {
        struct steps s = {0};
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, first_step, &s);
        weft_wg_go(&wg, second_step, &s);
        weft_wg_go(&wg, third_step, &s);
        weft_wg_wait(&wg);
    }
}

static void wait_for_done(struct place *p)
{
    weft_lock(&p->m);
    while (!p->done)
        CHECK_EQ(weft_cond_wait(&p->c, &p->m), 0);
    weft_unlock(&p->m);
}

static void broadcast(struct place *p)
{
    weft_cond_broadcast(&p->c);
}

/* A broadcast and a new waiter at once: the new one may miss it, the one that waits already may not. */
TEST_BOTH(CondSignalStealing)
{
    for (int round = 0; round < test_scale(1000); round++) {
        struct place p;
        place_open(&p, 1);
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, wait_once, &p, 0);
        receive(p.running);
        weft_lock(&p.m);
        weft_unlock(&p.m);
        weft_wg_go(&wg, broadcast, &p);
        weft_wg_go(&wg, wait_for_done, &p);
        receive(p.awake);
        weft_lock(&p.m);
        p.done = true;
        weft_unlock(&p.m);
        weft_cond_broadcast(&p.c);
        weft_wg_wait(&wg);
        place_close(&p);
    }
}

/* ---- goroutines and threads, a queue between them ---- */

enum { ROOM = 4 };
struct queue {
    weft_mutex m;
    weft_cond not_full, not_empty;
    int items[ROOM], first, count; /* [m] */
    int64_t sum;                   /* [m] of what was taken out */
    int per_producer;
};

static void produce(struct queue *q)
{
    for (int i = 1; i <= q->per_producer; i++) {
        weft_lock(&q->m);
        while (q->count == ROOM)
            CHECK_EQ(weft_cond_wait(&q->not_full, &q->m), 0);
        q->items[(q->first + q->count++) % ROOM] = i;
        weft_cond_signal(&q->not_empty);
        weft_unlock(&q->m);
    }
}

static void consume(struct queue *q)
{
    for (int i = 0; i < q->per_producer; i++) {
        weft_lock(&q->m);
        while (q->count == 0)
            CHECK_EQ(weft_cond_wait(&q->not_empty, &q->m), 0);
        q->sum += q->items[q->first];
        q->first = (q->first + 1) % ROOM;
        q->count--;
        weft_unlock(&q->m);
        weft_cond_signal(&q->not_full); /* without the mutex, as one may */
    }
}

static void *produce_by_thread(void *q)
{
    produce(q);
    return NULL;
}

static void *consume_by_thread(void *q)
{
    consume(q);
    return NULL;
}

TEST_BOTH(QueueBetweenGoroutinesAndThreads)
{
    enum { PAIRS = 3 };
    struct queue q = {.per_producer = test_scale(2000)};
    pthread_t threads[2 * PAIRS];
    weft_waitgroup wg = {0};
    for (int i = 0; i < PAIRS; i++) {
        CHECK_EQ(pthread_create(&threads[2 * i], NULL, produce_by_thread, &q), 0);
        CHECK_EQ(pthread_create(&threads[2 * i + 1], NULL, consume_by_thread, &q), 0);
        weft_wg_go(&wg, produce, &q);
        weft_wg_go(&wg, consume, &q);
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < 2 * PAIRS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(q.count, 0);
    CHECK(q.sum == (int64_t)2 * PAIRS * q.per_producer * (q.per_producer + 1) / 2);
}

/* ---- the object vanishes ---- */

static void wait_and_vanish(weft_mutex *m, weft_cond *page, bool *ready, weft_waitgroup *left)
{
    weft_lock(m);
    *ready = true;
    CHECK_EQ(weft_cond_wait(page, m), 0);
    weft_unlock(m);
    page_give(page);
    weft_wg_done(left);
}

static void wait_for_ready(weft_mutex *m, const bool *ready)
{
    for (;;) {
        weft_lock(m);
        bool is = *ready;
        weft_unlock(m);
        if (is)
            return;
        weft_yield();
    }
}

/* The woken one unmaps the Cond, while the signal or broadcast may not have returned. */
TEST_BOTH(CondVanishesAfterItsLastWaiter)
{
    for (int i = 0; i < test_scale(5000); i++) {
        weft_mutex m = {0};
        bool ready = false;
        weft_waitgroup left = {0};
        weft_cond *c = page_take();
        weft_wg_add(&left, 1);
        weft_go(wait_and_vanish, &m, c, &ready, &left);
        wait_for_ready(&m, &ready);
        if (i % 2)
            weft_cond_signal(c);
        else
            weft_cond_broadcast(c);
        weft_wg_wait(&left);
    }
}

static void wait_the_last_vanishes(struct place *p)
{
    weft_lock(&p->m);
    p->waiting++;
    CHECK_EQ(weft_cond_wait(&p->c, &p->m), 0);
    bool last = --p->waiting == 0;
    weft_unlock(&p->m);
    if (last)
        page_give(p);
}

/* More than are woken between two looks at the outside. */
TEST_BOTH(CondVanishesUnderABroadcast)
{
    enum { N = 200 };
    for (int i = 0; i < test_scale(100); i++) {
        struct place *p = page_take();
        weft_waitgroup wg = {0};
        for (int k = 0; k < N; k++)
            weft_wg_go(&wg, wait_the_last_vanishes, p);
        for (int waiting = 0; waiting < N; weft_yield()) {
            weft_lock(&p->m);
            waiting = p->waiting;
            weft_unlock(&p->m);
        }
        weft_cond_broadcast(&p->c);
        weft_wg_wait(&wg);
    }
}

TEST_MAIN()
