/* pthread.c — the rows of the comparison with plain threads, where a thread for each task makes sense at all: what the
   kernel itself gives, with glibc's own synchronisation. The sum is split into as many parts as there are threads, as one
   does with threads. */
#define _GNU_SOURCE
#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

/* The others' stacks are small too. */
static pthread_t start(void *(*function)(void *argument), void *argument)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    must(pthread_create(&thread, &attributes, function, argument) == 0, "no thread");
    pthread_attr_destroy(&attributes);
    return thread;
}

static void join_all(const pthread_t *all, int n)
{
    for (int i = 0; i < n; i++)
        pthread_join(all[i], NULL);
}

/* n threads that each get their share of the work. */
static void together(int count, void *(*function)(void *share), long n)
{
    pthread_t all[CONTENDERS];
    for (int i = 0; i < count; i++)
        all[i] = start(function, (void *)((n + i) / count));
    join_all(all, count);
}

/* ---- tasks ---- */

static void *yielder(void *share)
{
    for (long i = 0; i < (long)share; i++)
        sched_yield();
    return NULL;
}

static void yields(long n)
{
    together(2, yielder, n);
}

static void *nothing(void *argument)
{
    return argument;
}

static void spawns(long n)
{
    for (long i = 0; i < n; i++)
        pthread_join(start(nothing, NULL), NULL);
}

static void joins(long n)
{
    for (long i = 0; i < n; i += CONTENDERS)
        together(CONTENDERS, nothing, 0);
}

static const long sum_n = 10 * (long)MILLION;
static uint32_t *numbers;
static _Atomic uint64_t sum_so_far;

static void *add_part(void *part)
{
    long first = sum_n * (long)part / threads, end = sum_n * ((long)part + 1) / threads;
    sum_so_far += sum_of(numbers + first, end - first);
    return NULL;
}

static void sum_once(void)
{
    pthread_t all[CONTENDERS];
    sum_so_far = 0;
    int started = 0;
    while (started < threads - 1) {
        long part = started + 1;
        all[started++] = start(add_part, (void *)part);
    }
    add_part(NULL);
    join_all(all, started);
    must(sum_so_far == (uint64_t)sum_n * (uint64_t)(sum_n - 1) / 2, "wrong sum");
}

static void sum(const char *name)
{
    numbers = numbers_up_to(sum_n);
    whole(name, sum_once);
    free(numbers);
}

/* ---- a bounded queue ---- */

struct queue {
    pthread_mutex_t mutex; /* guards the fields below */
    pthread_cond_t not_empty, not_full;
    long head, count, capacity, *items;
};

static void queue_init(struct queue *q, long capacity)
{
    *q = (struct queue){.mutex = PTHREAD_MUTEX_INITIALIZER,
                        .not_empty = PTHREAD_COND_INITIALIZER,
                        .not_full = PTHREAD_COND_INITIALIZER,
                        .capacity = capacity,
                        .items = malloc((size_t)capacity * sizeof *q->items)};
    must(q->items != NULL, "no memory");
}

static void queue_put(struct queue *q, long item)
{
    pthread_mutex_lock(&q->mutex);
    while (q->count == q->capacity)
        pthread_cond_wait(&q->not_full, &q->mutex);
    q->items[(q->head + q->count++) % q->capacity] = item;
    pthread_mutex_unlock(&q->mutex);
    pthread_cond_signal(&q->not_empty);
}

static long queue_take(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    while (q->count == 0)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    long item = q->items[q->head];
    q->head = (q->head + 1) % q->capacity;
    q->count--;
    pthread_mutex_unlock(&q->mutex);
    pthread_cond_signal(&q->not_full);
    return item;
}

static struct queue there, back, ring_links[RING];

static void *partner(void *unused)
{
    for (long value; (value = queue_take(&there)) >= 0;)
        queue_put(&back, value);
    return unused;
}

static void round_trips(long n)
{
    for (long i = 0; i < n; i++) {
        queue_put(&there, i);
        queue_take(&back);
    }
}

static void pingpong(const char *name)
{
    queue_init(&there, 1);
    queue_init(&back, 1);
    pthread_t thread = start(partner, NULL);
    each(name, round_trips);
    queue_put(&there, -1);
    pthread_join(thread, NULL);
}

static void *producer(void *share)
{
    for (long i = 0; i < (long)share; i++)
        queue_put(&there, i);
    return NULL;
}

static void *consumer(void *share)
{
    for (long i = 0; i < (long)share; i++)
        queue_take(&there);
    return NULL;
}

static int sides;

static void items(long n)
{
    pthread_t all[2 * SIDES];
    int started = 0;
    for (int i = 0; i < sides; i++) {
        all[started++] = start(producer, (void *)((n + i) / sides));
        all[started++] = start(consumer, (void *)((n + i) / sides));
    }
    join_all(all, started);
}

/* spsc128: one of each side, capacity 128. */
static void buffered(const char *name)
{
    sides = name[0] == 's' ? 1 : SIDES;
    queue_init(&there, strtol(name + 4, NULL, 10));
    each(name, items);
}

static void *node(void *link)
{
    struct queue *from = link, *to = from + 1 == ring_links + RING ? ring_links : from + 1;
    for (;;) {
        long hops = queue_take(from);
        queue_put(hops > 1 ? to : &back, hops - 1);
    }
    return NULL;
}

static void pass(long n)
{
    queue_put(&ring_links[0], n);
    queue_take(&back);
}

static void ring(const char *name)
{
    queue_init(&back, 1);
    for (int i = 0; i < RING; i++)
        queue_init(&ring_links[i], 1);
    for (int i = 0; i < RING; i++)
        start(node, &ring_links[i]);
    each(name, pass);
}

/* ---- contention ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t units;
static long counter;
static _Atomic long seen;

static void *locker(void *share)
{
    for (long i = 0; i < (long)share; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void locks(long n)
{
    counter = 0;
    together(CONTENDERS, locker, n);
    must(counter == n, "wrong count");
}

/* Nine reads to one write. */
static void *reader(void *share)
{
    long read = 0;
    for (long i = 1; i <= (long)share; i++) {
        if (i % 10 == 0) {
            pthread_rwlock_wrlock(&rwlock);
            counter++;
        } else {
            pthread_rwlock_rdlock(&rwlock);
            read += counter;
        }
        pthread_rwlock_unlock(&rwlock);
    }
    seen += read;
    return NULL;
}

static void rwlocks(long n)
{
    together(CONTENDERS, reader, n);
}

static void *taker(void *share)
{
    for (long i = 0; i < (long)share; i++) {
        sem_wait(&units);
        sem_post(&units);
    }
    return NULL;
}

static void takes(long n)
{
    together(CONTENDERS, taker, n);
}

static void sem(const char *name)
{
    sem_init(&units, 0, 4);
    each(name, takes);
}

/* ---- time ---- */

static void sleep_1ms(void)
{
    block_ns(1000000);
}

static void overshoot(const char *name)
{
    report_overshoot(name, sleep_1ms);
}

static _Atomic int stop;

static void *compute(void *unused)
{
    while (!stop)
        ;
    return unused;
}

static void hog(const char *name)
{
    int64_t worst = 0, start_ns = now_ns();
    pthread_t thread = start(compute, NULL);
    while (now_ns() - start_ns < 1000000000) {
        int64_t before = now_ns();
        block_ns(1000000);
        int64_t late = now_ns() - before - 1000000;
        worst = late > worst ? late : worst;
    }
    stop = 1;
    pthread_join(thread, NULL);
    report(name, (double)worst / 1e6, "ms");
}

static _Atomic long count;

static void *count_up(void *unused)
{
    while (!stop) {
        count++;
        sched_yield();
    }
    return unused;
}

static void *blocker(void *unused)
{
    while (!stop)
        block_ns(50000000);
    return unused;
}

static double pace(void)
{
    block_ns(50000000);
    long before = count;
    int64_t start_ns = now_ns();
    block_ns(400000000);
    return (double)(count - before) / (double)(now_ns() - start_ns);
}

static void blocked(const char *name)
{
    pthread_t counting = start(count_up, NULL), all[CONTENDERS];
    double alone = pace();
    for (int i = 0; i < CONTENDERS; i++)
        all[i] = start(blocker, NULL);
    report(name, pace() / alone * 100, "%");
    stop = 1;
    pthread_join(counting, NULL);
    join_all(all, CONTENDERS);
}

static void yield(const char *name)
{
    each(name, yields);
}

static void spawn(const char *name)
{
    each(name, spawns);
}

static void join8(const char *name)
{
    each(name, joins);
}

static void mutexes(const char *name)
{
    each(name, locks);
}

static void rwmutex(const char *name)
{
    each(name, rwlocks);
}

int main(int argc, char **argv)
{
    static const struct row rows[] = {
        {"yield", yield},       {"spawn", spawn},      {"join8", join8},       {"sum", sum},
        {"pingpong", pingpong}, {"spsc1", buffered},   {"spsc128", buffered},  {"spsc4096", buffered},
        {"mpmc1", buffered},    {"mpmc128", buffered}, {"mpmc4096", buffered}, {"ring", ring},
        {"mutex", mutexes},     {"rwmutex", rwmutex},  {"sem", sem},           {"overshoot", overshoot},
        {"hog", hog},           {"blocked", blocked},
    };
    const struct row *row = row_of(argc, argv, rows, sizeof rows / sizeof *rows);
    row->measure(row->name);
    exit(0); /* whatever threads still do */
}
