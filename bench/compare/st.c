/* st.c — the rows of the comparison with State Threads. Fair: its own threads, condition variables and mutexes, and
   where others have channels the smallest queue that one writes with them. It knows one thread of the system only, so
   nothing in it needs an atomic instruction, and the mutex never meets anybody. It has no yield, no select, no
   semaphore. Stacks are mappings of their own with their guards, of which the system allows some 20,000: rows with
   more are left out. */
#include "harness.h"

#include <st.h>
#include <stdbool.h>

static st_thread_t start(void *(*function)(void *argument), void *argument)
{
    st_thread_t thread = st_thread_create(function, argument, 1, 0);
    must(thread != NULL, "no thread");
    return thread;
}

static void join_all(const st_thread_t *all, int n)
{
    for (int i = 0; i < n; i++)
        st_thread_join(all[i], NULL);
}

/* n threads that each get their share of the work. */
static void together(int count, void *(*function)(void *share), long n)
{
    st_thread_t all[CONTENDERS];
    for (int i = 0; i < count; i++)
        all[i] = start(function, (void *)((n + i) / count));
    join_all(all, count);
}

/* ---- tasks ---- */

static void *nothing(void *argument)
{
    return argument;
}

static void spawns(long n)
{
    for (long i = 0; i < n; i++)
        st_thread_join(start(nothing, NULL), NULL);
}

static void joins(long n)
{
    for (long i = 0; i < n; i += CONTENDERS)
        together(CONTENDERS, nothing, 0);
}

struct part {
    const uint32_t *numbers;
    long n;
    uint64_t sum;
};

static void *add_up(void *argument)
{
    struct part *part = argument;
    if (part->n <= 100) {
        part->sum = sum_of(part->numbers, part->n);
        return NULL;
    }
    struct part left = {part->numbers, part->n / 2, 0}, right = {part->numbers + part->n / 2, part->n - part->n / 2, 0};
    st_thread_t thread = start(add_up, &left);
    add_up(&right);
    st_thread_join(thread, NULL);
    part->sum = left.sum + right.sum;
    return NULL;
}

static struct part all_numbers;

static void sum_once(void)
{
    add_up(&all_numbers);
    must(all_numbers.sum == (uint64_t)all_numbers.n * (uint64_t)(all_numbers.n - 1) / 2, "wrong sum");
}

/* ---- a bounded queue ---- */

struct queue {
    st_cond_t not_empty, not_full;
    long head, count, capacity, *items;
};

static struct queue *queue_make(long capacity)
{
    struct queue *q = malloc(sizeof *q);
    must(q != NULL, "no memory");
    *q = (struct queue){st_cond_new(), st_cond_new(), 0, 0, capacity, malloc((size_t)capacity * sizeof *q->items)};
    must(q->items != NULL, "no memory");
    return q;
}

static void queue_put(struct queue *q, long item)
{
    while (q->count == q->capacity)
        st_cond_wait(q->not_full);
    long tail = q->head + q->count++;
    q->items[tail < q->capacity ? tail : tail - q->capacity] = item;
    st_cond_signal(q->not_empty);
}

static long queue_take(struct queue *q)
{
    while (q->count == 0)
        st_cond_wait(q->not_empty);
    long item = q->items[q->head];
    q->head = q->head + 1 < q->capacity ? q->head + 1 : 0;
    q->count--;
    st_cond_signal(q->not_full);
    return item;
}

static struct queue *there, *back, *links[RING];

static void *partner(void *unused)
{
    for (;;)
        queue_put(back, queue_take(there));
    return unused;
}

static void round_trips(long n)
{
    for (long i = 0; i < n; i++) {
        queue_put(there, i);
        queue_take(back);
    }
}

static void *producer(void *share)
{
    for (long i = 0; i < (long)share; i++)
        queue_put(there, i);
    return NULL;
}

static void *consumer(void *share)
{
    for (long i = 0; i < (long)share; i++)
        queue_take(there);
    return NULL;
}

static int sides;

static void items(long n)
{
    st_thread_t all[2 * SIDES];
    int started = 0;
    for (int i = 0; i < sides; i++) {
        all[started++] = start(producer, (void *)((n + i) / sides));
        all[started++] = start(consumer, (void *)((n + i) / sides));
    }
    join_all(all, started);
}

static void *node(void *place)
{
    struct queue *from = links[(long)place], *to = links[((long)place + 1) % RING];
    for (;;) {
        long hops = queue_take(from);
        queue_put(hops > 1 ? to : back, hops - 1);
    }
    return NULL;
}

static void pass(long n)
{
    queue_put(links[0], n);
    queue_take(back);
}

struct stage {
    struct queue *from, *to;
    long prime;
};

static void *count_from_2(void *to)
{
    for (long i = 2;; i++)
        queue_put(to, i);
    return NULL;
}

static void *filter(void *argument)
{
    struct stage *stage = argument;
    for (;;) {
        long i = queue_take(stage->from);
        if (i % stage->prime != 0)
            queue_put(stage->to, i);
    }
    return NULL;
}

/* The first 2,000 primes; the filters stay blocked. */
static void sieve_once(void)
{
    struct queue *from = queue_make(1);
    struct stage *stages = malloc(PRIMES * sizeof *stages);
    must(stages != NULL, "no memory");
    start(count_from_2, from);
    for (int i = 0; i < PRIMES; i++) {
        stages[i] = (struct stage){from, queue_make(1), queue_take(from)};
        start(filter, &stages[i]);
        from = stages[i].to;
    }
    must(stages[PRIMES - 1].prime == 17389, "wrong prime");
}

/* ---- contention ---- */

static st_mutex_t mutex;
static long counter;

static void *locker(void *share)
{
    for (long i = 0; i < (long)share; i++) {
        st_mutex_lock(mutex);
        counter++;
        st_mutex_unlock(mutex);
    }
    return NULL;
}

static void locks(long n)
{
    counter = 0;
    together(CONTENDERS, locker, n);
    must(counter == n, "wrong count");
}

/* ---- time ---- */

static void sleep_1ms(void)
{
    st_usleep(1000);
}

static bool slept;

static void *sleeper(void *unused)
{
    sleep_1ms();
    slept = true;
    return unused;
}

/* A sleeper of a millisecond beside a second of computing. */
static void hog(const char *name)
{
    start(sleeper, NULL);
    st_usleep(0); /* it has begun */
    for (int64_t begin = now_ns(); now_ns() - begin < 1000000000;)
        ;
    must(!slept, "it ran beside the hog");
    report_never(name, "ms");
}

/* ---- rows ---- */

static void pingpong(const char *name)
{
    there = queue_make(1);
    back = queue_make(1);
    start(partner, NULL);
    each(name, round_trips);
}

/* spsc128: one of each side, capacity 128. */
static void buffered(const char *name)
{
    sides = name[0] == 's' ? 1 : SIDES;
    there = queue_make(strtol(name + 4, NULL, 10));
    each(name, items);
}

static void ring(const char *name)
{
    back = queue_make(1);
    for (long i = 0; i < RING; i++)
        links[i] = queue_make(1);
    for (long i = 0; i < RING; i++)
        start(node, (void *)i);
    each(name, pass);
}

static void sum(const char *name)
{
    all_numbers = (struct part){numbers_up_to(10 * (long)MILLION), 10 * (long)MILLION, 0};
    whole(name, sum_once);
}

static void mutexes(const char *name)
{
    mutex = st_mutex_new();
    each(name, locks);
}

static void spawn(const char *name)
{
    each(name, spawns);
}

static void join8(const char *name)
{
    each(name, joins);
}

static void sieve(const char *name)
{
    whole(name, sieve_once);
}

static void overshoot(const char *name)
{
    report_overshoot(name, sleep_1ms);
}

int main(int argc, char **argv)
{
    static const struct row rows[] = {
        {"spawn", spawn},      {"join8", join8},       {"sum", sum},        {"pingpong", pingpong},   {"spsc1", buffered},
        {"spsc128", buffered}, {"spsc4096", buffered}, {"mpmc1", buffered}, {"mpmc128", buffered},    {"mpmc4096", buffered},
        {"ring", ring},        {"sieve", sieve},       {"mutex", mutexes},  {"overshoot", overshoot}, {"hog", hog},
    };
    const struct row *row = row_of(argc, argv, rows, sizeof rows / sizeof *rows);
    st_set_eventsys(ST_EVENTSYS_ALT); /* epoll */
    must(st_init() == 0, "no State Threads");
    row->measure(row->name);
    return 0;
}
