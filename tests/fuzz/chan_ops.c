/* chan_ops.c — random sequences of channel operations by one goroutine, each compared with a slow model.

   The model of a channel is a list of values, a capacity, a flag and a count of references. One goroutine alone never meets
   itself, so the model says exactly what each call must give, and which calls would wait for ever: those are made in their
   try_ form, or in a select with a timeout. A value is a number, spread over the element's bytes. */
#include <weft.h>

#include <errno.h>

#include "../test.h"

enum { CHANNELS = 5, MOST_CAPACITY = 9, MOST_SIZE = 4096, MOST_CASES = 80, TIMEOUT_CASES = 3 };

struct model {
    weft_chan_core *chan; /* NULL: the NULL channel */
    size_t size, capacity, len;
    int references;
    bool closed;
    uint64_t values[MOST_CAPACITY]; /* the oldest first */
};

static struct model models[CHANNELS];
static uint64_t last_value;

/* ---- elements ---- */

static void spread(unsigned char *bytes, size_t size, uint64_t value)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)test_random_from(&value);
}

static void check_bytes(const unsigned char *bytes, size_t size, uint64_t value)
{
    for (size_t i = 0; i < size; i++)
        CHECK_EQ(bytes[i], (unsigned char)test_random_from(&value));
}

static void check_all(const unsigned char *bytes, size_t from, size_t to, unsigned char expected)
{
    for (size_t i = from; i < to; i++)
        CHECK_EQ(bytes[i], expected);
}

enum { UNTOUCHED = 0xa5 };

/* ---- the model ---- */

static int model_send(struct model *m, uint64_t value, bool carry_out)
{
    if (!m->chan)
        return -EAGAIN;
    if (m->closed)
        return -EPIPE;
    if (m->len == m->capacity)
        return -EAGAIN;
    if (carry_out)
        m->values[m->len++] = value;
    return 0;
}

static int model_receive(struct model *m, uint64_t *value, bool carry_out)
{
    if (!m->chan)
        return -EAGAIN;
    if (m->len == 0)
        return m->closed ? -EPIPE : -EAGAIN;
    *value = m->values[0];
    if (carry_out)
        memmove(m->values, m->values + 1, --m->len * sizeof *m->values);
    return 0;
}

/* What a receive with this status must have left in a buffer that held UNTOUCHED bytes. */
static void check_received(const unsigned char *buffer, const struct model *m, int status, uint64_t value)
{
    if (status == 0)
        check_bytes(buffer, m->size, value);
    else
        check_all(buffer, 0, m->size, status == -EPIPE ? 0 : UNTOUCHED);
    check_all(buffer, m->size, m->size + 8, UNTOUCHED);
}

static void check_state(const struct model *m)
{
    CHECK_EQ(weft_chan_core_len(m->chan), m->len);
    CHECK_EQ(weft_chan_core_cap(m->chan), m->capacity);
}

/* ---- operations ---- */

static void renew(struct model *m)
{
    static const size_t sizes[] = {0, 1, 2, 3, 4, 7, 8, 12, 16, 17, 64, 100, 1000, MOST_SIZE};
    while (m->references > 0) {
        weft_chan_core_free(m->chan);
        m->references--;
    }
    memset(m, 0, sizeof *m);
    if (test_random() % 8 == 0)
        return;
    m->size = sizes[test_random() % (sizeof sizes / sizeof *sizes)];
    m->capacity = test_random() % 4 ? test_random() % (MOST_CAPACITY + 1) : 0;
    m->chan = weft_chan_core_make(m->size, m->capacity);
    m->references = 1;
    CHECK(m->chan);
}

static void one_send(struct model *m)
{
    unsigned char buffer[MOST_SIZE];
    uint64_t value = ++last_value;
    spread(buffer, m->size, value);
    int expected = model_send(m, value, true);
    if (expected != -EAGAIN && test_random() % 2)
        CHECK_EQ(weft_chan_core_send(m->chan, buffer), expected);
    else
        CHECK_EQ(weft_chan_core_try_send(m->chan, buffer), expected);
    check_bytes(buffer, m->size, value);
}

static void one_receive(struct model *m)
{
    unsigned char buffer[MOST_SIZE + 8];
    uint64_t value = 0;
    memset(buffer, UNTOUCHED, sizeof buffer);
    void *into = test_random() % 6 ? buffer : NULL;
    int expected = model_receive(m, &value, true), form = expected == -EAGAIN ? 0 : (int)(test_random() % 3);
    if (form == 0)
        CHECK_EQ(weft_chan_core_try_recv(m->chan, into), expected);
    else if (form == 1)
        CHECK_EQ(weft_chan_core_recv_status(m->chan, into), expected);
    else
        CHECK_EQ(weft_chan_core_recv(m->chan, into), expected == 0);
    if (into)
        check_received(buffer, m, expected, value);
}

static void one_close(struct model *m)
{
    if (!m->chan)
        return; /* fatal, and tested elsewhere */
    CHECK_EQ(weft_chan_core_close(m->chan), m->closed ? -EPIPE : 0);
    m->closed = true;
}

static void one_reference(struct model *m)
{
    CHECK(weft_chan_core_ref(m->chan) == m->chan);
    if (!m->chan)
        return;
    m->references++;
    while (m->references > 1 && test_random() % 2) {
        weft_chan_core_free(m->chan);
        m->references--;
    }
}

/* ---- select ---- */

struct selection {
    weft_case cases[MOST_CASES];
    struct model *of[MOST_CASES]; /* NULL for gaps and timeouts */
    uint64_t values[MOST_CASES];  /* to send, or that a receive would give */
    int status[MOST_CASES];       /* of the operation by itself */
    unsigned char *room[MOST_CASES];
    bool ok[MOST_CASES];
    unsigned n;
    int n_ready, timeout; /* timeout: the case that would win if nothing is ready, or -1 */
};

static void random_case(struct selection *s, unsigned i)
{
    struct model *m = &models[test_random() % CHANNELS];
    if (test_random() % 4 == 0)
        return; /* a gap */
    s->of[i] = m;
    s->room[i] = malloc(m->size + 8);
    memset(s->room[i], UNTOUCHED, m->size + 8);
    s->cases[i] = (weft_case){.chan = m->chan, .value = s->room[i]};
    s->ok[i] = test_random() % 2;
    if (test_random() % 2) {
        s->cases[i].op = WEFT_CASE_SEND;
        s->values[i] = ++last_value;
        spread(s->room[i], m->size, s->values[i]);
        s->status[i] = model_send(m, 0, false);
    } else {
        s->cases[i].op = WEFT_CASE_RECV;
        if (test_random() % 4)
            s->cases[i].ok = &s->ok[i];
        if (test_random() % 6 == 0)
            s->cases[i].value = NULL;
        s->status[i] = model_receive(m, &s->values[i], false);
    }
    s->n_ready += s->status[i] != -EAGAIN;
}

/* Puts a few timeouts into gaps: the first of the shortest is to win. */
static void random_timeouts(struct selection *s)
{
    for (int k = 0; k < TIMEOUT_CASES; k++) {
        unsigned i = (unsigned)(test_random() % s->n);
        if (s->cases[i].op != WEFT_CASE_NONE || test_random() % 3 == 0)
            continue;
        int64_t timeout_ns = k == 0 ? 0 : k == 1 ? 1 + (int64_t)(test_random() % 2000) : WEFT_MINUTE;
        s->cases[i] = (weft_case){.op = WEFT_CASE_TIMEOUT, .timeout_ns = timeout_ns};
        if (s->timeout < 0)
            s->timeout = (int)i; /* k grows, and with it the time */
    }
}

static void check_selected(struct selection *s, int chosen, const bool *ok_before)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct model *m = s->of[i];
        bool mine = (int)i == chosen;
        if (!m)
            continue;
        if (s->cases[i].op == WEFT_CASE_SEND)
            check_bytes(s->room[i], m->size, s->values[i]);
        else if (s->cases[i].value)
            check_received(s->room[i], m, mine ? s->status[i] : -EAGAIN, s->values[i]);
        CHECK_EQ(s->ok[i], mine && s->cases[i].ok ? s->status[i] == 0 : ok_before[i]);
        check_state(m);
        free(s->room[i]);
    }
}

static void one_select(void)
{
    struct selection s = {.timeout = -1};
    bool ok_before[MOST_CASES];
    s.n = 1 + (unsigned)(test_random() % (test_random() % 16 ? 6 : MOST_CASES));
    for (unsigned i = 0; i < s.n; i++)
        random_case(&s, i);
    random_timeouts(&s);
    memcpy(ok_before, s.ok, sizeof ok_before);
    bool block = (s.n_ready > 0 || (s.timeout >= 0 && s.cases[s.timeout].timeout_ns < WEFT_SECOND)) && test_random() % 2;
    int chosen = weft_select_(s.cases, s.n, block);
    if (s.n_ready == 0) {
        CHECK_EQ(chosen, block ? s.timeout : -EAGAIN);
    } else if (chosen == -EPIPE) {
        bool possible = false;
        for (unsigned i = 0; i < s.n; i++)
            possible = possible || (s.of[i] && s.cases[i].op == WEFT_CASE_SEND && s.status[i] == -EPIPE);
        CHECK(possible);
    } else {
        CHECK(chosen >= 0 && (unsigned)chosen < s.n && s.of[chosen]);
        if (s.cases[chosen].op == WEFT_CASE_SEND) {
            CHECK_EQ(model_send(s.of[chosen], s.values[chosen], true), 0);
        } else {
            uint64_t value;
            CHECK(model_receive(s.of[chosen], &value, true) != -EAGAIN);
        }
    }
    check_selected(&s, chosen, ok_before);
}

TEST_BOTH(random_operations)
{
    for (int i = 0; i < CHANNELS; i++)
        renew(&models[i]);
    for (int i = test_scale(120000); i > 0; i--) {
        struct model *m = &models[test_random() % CHANNELS];
        switch (test_random() % 32) {
        case 0:
            renew(m);
            break;
        case 1:
            one_close(m);
            break;
        case 2:
            one_reference(m);
            break;
        case 3 ... 12:
            one_receive(m);
            break;
        case 13 ... 22:
            one_send(m);
            break;
        default:
            one_select();
            break;
        }
        check_state(m);
    }
    for (int i = 0; i < CHANNELS; i++) {
        while (models[i].references-- > 0)
            weft_chan_core_free(models[i].chan);
        models[i] = (struct model){0};
    }
}

TEST_MAIN()
