/* chan_foreign.c — sixteen threads that weft did not start do with channels all that goroutines do, together with
   goroutines. Every message arrives exactly once, and in order between any two of them on one channel. */
#include <weft.h>

#include <errno.h>
#include <pthread.h>

#include "../test.h"

enum { THREADS = 16, CHANNELS = 4, PRODUCERS = 16, CONSUMERS = 16 };

struct message {
    int producer, number;
    uint64_t check;
};

typedef weft_chan(struct message) message_chan;
typedef weft_chan(int) int_chan;

static void start_threads(pthread_t *threads, void *(*body)(void *), void **arguments, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, body, arguments[i]), 0);
}

static void join_threads(pthread_t *threads, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* ---- conservation ---- */

struct exchange {
    message_chan channels[CHANNELS];
    unsigned char *seen; /* [atomic] one for every message of every producer */
    int messages;        /* [const] per producer */
    int next;            /* [atomic] numbers producers, then consumers */
    long received;       /* [atomic] */
};

static void produce(struct exchange *x, int producer)
{
    uint64_t random = test_random();
    message_chan *c = x->channels;
    for (int i = 0; i < x->messages;) {
        struct message m = {producer, i, (uint64_t)producer * 7919 + (uint64_t)i};
        uint64_t r = test_random_from(&random);
        unsigned a = r % CHANNELS, b = (r >> 8) % CHANNELS;
        int status;
        switch ((r >> 16) % 5) {
        case 0:
            status = weft_send(c[a], m);
            break;
        case 1:
            status = weft_try_send(c[a], m);
            break;
        case 2:
            status = weft_try_select([0] = weft_on_send(c[a], m), [1] = weft_on_send(c[b], m));
            break;
        case 3:
            status = weft_select([0] = weft_on_send(c[a], m), [1] = weft_on_send(c[b], m),
                                 [2] = weft_on_timeout((int64_t)(r >> 32) % (20 * WEFT_US)));
            break;
        default:
            status = weft_select([0] = weft_on_send(c[b], m), [1] = weft_on_send(c[a], m));
            break;
        }
        CHECK((status >= 0 && status <= 2) || status == -EAGAIN);
        i += status == 0 || status == 1;
        if (status == -EAGAIN)
            weft_yield();
    }
}

static void accept(struct exchange *x, int last[CHANNELS][PRODUCERS], unsigned channel, const struct message *m)
{
    CHECK(m->producer >= 0 && m->producer < PRODUCERS && m->number >= 0 && m->number < x->messages);
    CHECK_EQ(m->check, (uint64_t)m->producer * 7919 + (uint64_t)m->number);
    CHECK(m->number > last[channel][m->producer]);
    last[channel][m->producer] = m->number;
    CHECK_EQ(
        __atomic_exchange_n(&x->seen[(size_t)m->producer * (size_t)x->messages + (size_t)m->number], 1, __ATOMIC_RELAXED),
        0);
    __atomic_add_fetch(&x->received, 1, __ATOMIC_RELAXED);
}

static void consume(struct exchange *x)
{
    uint64_t random = test_random();
    message_chan c[CHANNELS];
    int last[CHANNELS][PRODUCERS], open = CHANNELS;
    memset(last, -1, sizeof last);
    memcpy(c, x->channels, sizeof c);
    while (open > 0) {
        uint64_t r = test_random_from(&random);
        unsigned a = r % CHANNELS;
        struct message m[CHANNELS];
        bool ok = false;
        int status;
        switch ((r >> 16) % 4) {
        case 0: /* waits on all that are still open */
            status = weft_select([0] = weft_on_recv(c[0], &m[0], &ok), [1] = weft_on_recv(c[1], &m[1], &ok),
                                 [2] = weft_on_recv(c[2], &m[2], &ok), [3] = weft_on_recv(c[3], &m[3], &ok));
            break;
        case 1:
            status = weft_select([0] = weft_on_recv(c[0], &m[0], &ok), [3] = weft_on_recv(c[3], &m[3], &ok),
                                 [4] = weft_on_timeout((int64_t)(r >> 32) % (20 * WEFT_US)));
            break;
        case 2:
            status = weft_try_recv(c[a], &m[a]);
            ok = status == 0;
            status = status == -EAGAIN ? CHANNELS : (int)a;
            break;
        default:
            ok = c[a] && weft_recv(c[a], &m[a]);
            status = c[a] ? (int)a : CHANNELS;
            break;
        }
        CHECK(status >= 0 && status <= CHANNELS);
        if (status == CHANNELS)
            weft_yield();
        else if (ok)
            accept(x, last, (unsigned)status, &m[status]);
        else
            c[status] = NULL, open--; /* closed and drained */
    }
}

static void produce_as_goroutine(struct exchange *x, weft_waitgroup *producing)
{
    produce(x, __atomic_fetch_add(&x->next, 1, __ATOMIC_RELAXED));
    weft_wg_done(producing);
}

static void *produce_as_thread(void *x)
{
    produce(x, __atomic_fetch_add(&((struct exchange *)x)->next, 1, __ATOMIC_RELAXED));
    return NULL;
}

static void *consume_as_thread(void *x)
{
    consume(x);
    return NULL;
}

TEST_BOTH(every_message_arrives_once)
{
    static const size_t capacities[CHANNELS] = {0, 1, 5, 64};
    struct exchange x = {.messages = test_scale(3000)};
    pthread_t producers[THREADS / 2], consumers[THREADS / 2];
    void *arguments[THREADS / 2];
    weft_waitgroup producing = {0}, consuming = {0};
    x.seen = calloc(PRODUCERS, (size_t)x.messages);
    for (int k = 0; k < CHANNELS; k++)
        x.channels[k] = weft_chan_make(struct message, capacities[k]);
    for (int i = 0; i < THREADS / 2; i++)
        arguments[i] = &x;
    weft_wg_add(&producing, PRODUCERS - THREADS / 2);
    start_threads(producers, produce_as_thread, arguments, THREADS / 2);
    for (int i = THREADS / 2; i < PRODUCERS; i++)
        weft_go(produce_as_goroutine, &x, &producing);
    for (int i = THREADS / 2; i < CONSUMERS; i++)
        weft_wg_go(&consuming, consume, &x);
    start_threads(consumers, consume_as_thread, arguments, THREADS / 2);
    weft_wg_wait(&producing);
    join_threads(producers, THREADS / 2);
    for (int k = 0; k < CHANNELS; k++)
        CHECK_EQ(weft_close(x.channels[k]), 0);
    weft_wg_wait(&consuming);
    join_threads(consumers, THREADS / 2);
    CHECK_EQ(x.received, (long)PRODUCERS * x.messages);
    for (int k = 0; k < CHANNELS; k++) {
        CHECK_EQ(weft_chan_len(x.channels[k]), 0);
        weft_chan_free(x.channels[k]);
    }
    free(x.seen);
}

/* ---- a ring of threads and goroutines in turn, around which a token runs ---- */

struct link {
    int_chan in, out;
    int rounds;
};

static void hand_on(struct link *link)
{
    for (int i = 0; i < link->rounds; i++) {
        int token = 0;
        if (i % 2)
            CHECK(weft_recv(link->in, &token));
        else
            CHECK_EQ(weft_select([0] = weft_on_recv(link->in, &token), [1] = weft_on_timeout(WEFT_MINUTE)), 0);
        CHECK_EQ(weft_send(link->out, token + 1), 0);
    }
}

static void *hand_on_as_thread(void *link)
{
    hand_on(link);
    return NULL;
}

TEST_BOTH(token_around_threads_and_goroutines)
{
    enum { LINKS = 2 * THREADS };
    int_chan c[LINKS + 1];
    struct link links[LINKS];
    pthread_t threads[THREADS];
    void *arguments[THREADS];
    weft_waitgroup wg = {0};
    int rounds = test_scale(300), token = 0;
    for (int i = 0; i <= LINKS; i++)
        c[i] = weft_chan_make(int, i % 3 == 0);
    for (int i = 0; i < LINKS; i++) {
        links[i] = (struct link){c[i], c[i + 1], rounds};
        if (i % 2)
            weft_wg_go(&wg, hand_on, &links[i]);
        else
            arguments[i / 2] = &links[i];
    }
    start_threads(threads, hand_on_as_thread, arguments, THREADS);
    for (int i = 0; i < rounds; i++) {
        CHECK_EQ(weft_send(c[0], token), 0);
        CHECK(weft_recv(c[LINKS], &token));
    }
    CHECK_EQ(token, rounds * LINKS);
    weft_wg_wait(&wg);
    join_threads(threads, THREADS);
    for (int i = 0; i <= LINKS; i++)
        weft_chan_free(c[i]);
}

/* ---- a close wakes threads and goroutines alike, and frees nothing that they still look at ---- */

static void wait_for_close(int_chan c)
{
    int value = 5;
    CHECK(!weft_recv(c, &value));
    CHECK_EQ(value, 0);
    weft_chan_free(c);
}

static void *wait_for_close_as_thread(void *c)
{
    wait_for_close((int_chan)c);
    return NULL;
}

TEST_BOTH(close_wakes_threads)
{
    for (int i = test_scale(20); i > 0; i--) {
        int_chan c = weft_chan_make(int, i % 2);
        pthread_t threads[THREADS];
        void *arguments[THREADS];
        weft_waitgroup wg = {0};
        for (int k = 0; k < THREADS; k++) {
            arguments[k] = weft_chan_ref(c);
            weft_wg_go(&wg, wait_for_close, weft_chan_ref(c));
        }
        start_threads(threads, wait_for_close_as_thread, arguments, THREADS);
        if (i % 2)
            weft_sleep(WEFT_MS);
        CHECK_EQ(weft_close(c), 0);
        weft_chan_free(c);
        weft_wg_wait(&wg);
        join_threads(threads, THREADS);
    }
}

/* ---- each thread starts goroutines, waits for them, and frees what they send on before their sends return ---- */

static void reply(int_chan c, int value)
{
    CHECK_EQ(weft_send(c, value), 0);
}

static void *ask_many(void *result)
{
    int n = test_scale(1000);
    long sum = 0;
    for (int i = 0; i < n; i++) {
        int_chan c = weft_chan_make(int, (size_t)i % 2);
        int value = -1;
        weft_go(reply, c, i);
        CHECK(weft_recv(c, &value));
        weft_chan_free(c);
        sum += value;
    }
    CHECK_EQ(sum, (long)n * (n - 1) / 2);
    *(int *)result = 1;
    return NULL;
}

TEST_BOTH(threads_start_goroutines)
{
    pthread_t threads[THREADS];
    int results[THREADS] = {0};
    void *arguments[THREADS];
    for (int i = 0; i < THREADS; i++)
        arguments[i] = &results[i];
    start_threads(threads, ask_many, arguments, THREADS);
    join_threads(threads, THREADS);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(results[i], 1);
}

TEST_MAIN()
