/* io_stress.c — descriptors under everything that may happen to them at once: closes and deadlines by others, numbers that
   are reused at once, contexts that end, buffers of next to nothing, ten thousand connections.

   Every stream carries a pattern that depends on its own tag and on the position, so a byte that was lost, doubled, or that
   belongs to another stream shows. That no wait is forgotten shows in that the tests end; that no descriptor is, in a
   count. */
#include "../workload.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <weft.h>

#include "../descriptors.h"
#include "../test.h"

/* ---- streams ---- */

/* Never 0, so that it differs from what a buffer holds before. */
static uint8_t pattern(uint64_t tag, size_t at)
{
    uint64_t mixed = tag * UINT64_C(0x9e3779b97f4a7c15) + at * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint8_t)(1 + (mixed >> 40) % 255);
}

static void fill(uint8_t *bytes, size_t n, uint64_t tag, size_t from)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = pattern(tag, from + i);
}

static void check_bytes(const uint8_t *bytes, size_t n, uint64_t tag, size_t from)
{
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(bytes[i], pattern(tag, from + i));
}

static uint64_t fresh_tag(void)
{
    static _Atomic uint64_t last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

/* ---- connections, made by libc ---- */

static void unix_pair(int fds[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void shrink(int fd, int bytes)
{
    if (bytes)
        CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
}

/* buffer: bytes that the kernel takes before the peer has, 0: its own choice. Connecting to a listener on this machine does
   not block. */
static void tcp_pair(int fds[2], int buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&address, length), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fds[0] >= 0);
    shrink(fds[0], buffer);
    CHECK_EQ(connect(fds[0], (struct sockaddr *)&address, length), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK(fds[1] >= 0);
    shrink(fds[1], buffer);
    CHECK_EQ(close(listener), 0);
}

static void pair(int fds[2], int i)
{
    if (i % 2)
        tcp_pair(fds, 0);
    else
        unix_pair(fds);
}

/* Now and then a moment for others, so that what races does so at other points. */
static void dither(uint64_t *state)
{
    uint64_t random = test_random_from(state);
    if (random % 4 == 0)
        weft_sleep((int64_t)(random >> 8) % (200 * WEFT_US));
    else if (random % 4 == 1)
        weft_yield();
}

/* ---- ten thousand connections at the same time ---- */

enum { ROUNDS = 3, MESSAGE = 64 };

struct crowd {
    weft_waitgroup connected, together, ended;
    weft_sem dialing; /* no more at a time than a backlog takes */
    char address[WEFT_ADDRESS];
    int listener, connections;
    _Atomic long echoed;
};

static void echo(struct crowd *crowd, int fd)
{
    uint8_t buffer[MESSAGE];
    ssize_t n;
    while ((n = weft_read(fd, buffer, sizeof buffer)) > 0) {
        CHECK_EQ(weft_write_all(fd, buffer, (size_t)n), n);
        atomic_fetch_add_explicit(&crowd->echoed, n, memory_order_relaxed);
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(weft_close_fd(fd), 0);
}

static void accept_crowd(struct crowd *crowd)
{
    for (int i = 0; i < crowd->connections; i++) {
        int fd = weft_accept(crowd->listener);
        CHECK(fd >= 0);
        weft_wg_go(&crowd->ended, echo, crowd, fd);
    }
}

static void call(struct crowd *crowd)
{
    uint8_t sent[MESSAGE], got[MESSAGE];
    uint64_t tag = fresh_tag();
    CHECK_EQ(weft_sem_acquire(&crowd->dialing, 1), 0);
    int fd = weft_dial("tcp", crowd->address);
    CHECK(fd >= 0);
    weft_sem_release(&crowd->dialing, 1);
    weft_wg_done(&crowd->connected);
    weft_wg_wait(&crowd->together);
    for (int round = 0; round < ROUNDS; round++) {
        fill(sent, sizeof sent, tag, (size_t)round * MESSAGE);
        CHECK_EQ(weft_write_all(fd, sent, sizeof sent), sizeof sent);
        CHECK_EQ(weft_read_full(fd, got, sizeof got), sizeof got);
        check_bytes(got, sizeof got, tag, (size_t)round * MESSAGE);
    }
    CHECK_EQ(weft_close_fd(fd), 0);
}

/* How many connections of two descriptors may be had, up to wanted. */
static int connections_possible(int wanted)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t needed = 2 * (rlim_t)wanted + 100;
    if (limit.rlim_cur < needed) {
        struct rlimit raised = {needed, limit.rlim_max < needed ? needed : limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) != 0) {
            raised.rlim_cur = raised.rlim_max = limit.rlim_max;
            setrlimit(RLIMIT_NOFILE, &raised);
        }
        CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    return limit.rlim_cur >= needed ? wanted : (int)(limit.rlim_cur - 100) / 2;
}

TEST_GO(ten_thousand_connections)
{
    int wanted = at_least(50, test_scale(TEST_TSAN ? 3000 : 10000)); /* TSan needs up to a MiB for a goroutine */
    struct crowd crowd = {.connections = connections_possible(wanted), .dialing = WEFT_SEM(200)};
    if (crowd.connections < wanted)
        printf("no more than %d connections: the limit of descriptors cannot be raised\n", crowd.connections);
    int before = sockets_open();
    crowd.listener = weft_listen("tcp", "127.0.0.1:0");
    CHECK(crowd.listener >= 0);
    CHECK(weft_local_address(crowd.listener, crowd.address, sizeof crowd.address) > 0);
    weft_wg_add(&crowd.connected, crowd.connections);
    weft_wg_add(&crowd.together, 1);
    weft_wg_go(&crowd.ended, accept_crowd, &crowd);
    for (int i = 0; i < crowd.connections; i++)
        weft_wg_go(&crowd.ended, call, &crowd);
    weft_wg_wait(&crowd.connected);
    CHECK(sockets_open() >= before + crowd.connections);
    weft_wg_done(&crowd.together);
    weft_wg_wait(&crowd.ended);
    CHECK_EQ(crowd.echoed, (long)crowd.connections * ROUNDS * MESSAGE);
    CHECK_EQ(weft_close_fd(crowd.listener), 0);
    CHECK_EQ(sockets_open(), before);
}

/* ---- closed by others at random ---- */

struct victim {
    int fds[2];
    uint64_t tag;
    _Atomic bool ends[2]; /* the end of that side has been closed */
};

/* What an operation may come to when others close one end or the other. */
static bool is_close(ssize_t result)
{
    return result == -EBADF || result == -EPIPE || result == -ECONNRESET;
}

/* Several of these at a time: what each gets is in order, but not next to what it got before. So only its bounds are
   checked. */
static void read_until_closed(struct victim *v, int side)
{
    uint8_t buffer[512];
    while (!v->ends[side]) { /* once it is closed the number may be another's */
        struct iovec parts[2] = {{buffer, 100}, {buffer + 100, sizeof buffer - 100}};
        ssize_t n = weft_readv(v->fds[side], parts, 2);
        if (n <= 0) {
            CHECK(n == 0 || is_close(n));
            break;
        }
        CHECK(n <= (ssize_t)sizeof buffer);
    }
}

static void write_until_closed(struct victim *v, int side)
{
    uint8_t buffer[512];
    fill(buffer, sizeof buffer, v->tag, 0);
    while (!v->ends[side]) {
        ssize_t n = weft_write(v->fds[side], buffer, sizeof buffer);
        if (n < 0) {
            CHECK(is_close(n));
            break;
        }
        CHECK(n > 0 && n <= (ssize_t)sizeof buffer);
    }
}

static void close_at_random(struct victim *v)
{
    uint64_t state = test_random();
    for (int i = 0, first = (int)(state & 1); i < 2; i++) {
        int side = first ^ i;
        dither(&state);
        v->ends[side] = true;
        CHECK_EQ(weft_close_fd(v->fds[side]), 0);
    }
}

/* One at a time in the process: who is between two operations when it is closed would rightly meet the next one of that
   number. */
TEST_GO(closing_ends_everybody)
{
    int before = sockets_open(), rounds = test_scale(600);
    for (int round = 0; round < rounds; round++) {
        weft_waitgroup ended = {0};
        struct victim v = {.tag = fresh_tag()};
        pair(v.fds, round);
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < 2; i++)
                weft_wg_go(&ended, read_until_closed, &v, side);
            for (int i = 0; i < 1 + round % 3 / 2; i++)
                weft_wg_go(&ended, write_until_closed, &v, side);
        }
        weft_wg_go(&ended, close_at_random, &v);
        weft_wg_wait(&ended);
    }
    CHECK_EQ(sockets_open(), before);
}

/* ---- numbers that are reused at once ----
   Many pairs are made and closed at the same time, so that a number that is closed belongs to another pair before those who
   used it have noticed. A reader in weft_read_full and a writer in weft_write_all must then fail, and neither get nor give a
   byte of that pair. The closer closes when it has seen that the call has begun: what was sent first has been read. */

enum { FIRST = 16, WHOLE = 4096, LARGE = 1 << 20 };

struct reuse {
    int fds[2];
    uint64_t tag;
    uint8_t *buffer;
    ssize_t result;
};

static int unread(int fd)
{
    int n = 0;
    CHECK_EQ(ioctl(fd, FIONREAD, &n), 0);
    return n;
}

static void read_whole(struct reuse *it)
{
    it->result = weft_read_full(it->fds[0], it->buffer, WHOLE);
}

static void write_large(struct reuse *it)
{
    it->result = weft_write_all(it->fds[0], it->buffer, LARGE);
}

static void reuse_reading(int i, uint64_t *state)
{
    uint8_t sent[WHOLE], got[WHOLE] = {0};
    struct reuse it = {.tag = fresh_tag(), .buffer = got};
    weft_waitgroup reading = {0};
    pair(it.fds, i);
    fill(sent, sizeof sent, it.tag, 0);
    CHECK_EQ(weft_write_all(it.fds[1], sent, FIRST), FIRST);
    weft_wg_go(&reading, read_whole, &it);
    while (unread(it.fds[0]) > 0)
        weft_yield();
    size_t more = test_random_from(state) % (WHOLE - FIRST); /* not all of it: the reader goes on waiting */
    CHECK_EQ(weft_write_all(it.fds[1], sent + FIRST, more), more);
    dither(state);
    CHECK_EQ(weft_close_fd(it.fds[0]), 0);
    int next[2];
    pair(next, i);                                         /* as a rule one of them has the number */
    CHECK_EQ(weft_write_all(next[1], sent, FIRST), FIRST); /* would be wrong bytes at that position */
    weft_wg_wait(&reading);
    CHECK_EQ(it.result, -EBADF);
    size_t n = 0;
    while (n < WHOLE && got[n])
        n++;
    CHECK(n >= FIRST && n <= FIRST + more);
    check_bytes(got, n, it.tag, 0);
    CHECK_EQ(unread(next[0]), FIRST);
    for (int side = 0; side < 2; side++)
        CHECK_EQ(weft_close_fd(next[side]), 0);
    CHECK_EQ(weft_close_fd(it.fds[1]), 0);
}

static void reuse_writing(uint64_t *state)
{
    uint8_t got[WHOLE];
    struct reuse it = {.tag = fresh_tag(), .buffer = malloc(LARGE)};
    weft_waitgroup writing = {0};
    CHECK(it.buffer);
    tcp_pair(it.fds, 4096);
    fill(it.buffer, LARGE, it.tag, 0);
    weft_wg_go(&writing, write_large, &it);
    size_t at = 0, enough = FIRST + test_random_from(state) % WHOLE;
    for (ssize_t n; at < enough; at += (size_t)n) {
        n = weft_read(it.fds[1], got, sizeof got);
        CHECK(n > 0);
        check_bytes(got, (size_t)n, it.tag, at);
    }
    CHECK_EQ(weft_close_fd(it.fds[0]), 0);
    int next[2];
    tcp_pair(next, 0); /* as a rule one of them has the number: there would be room for the rest */
    weft_wg_wait(&writing);
    CHECK_EQ(it.result, -EBADF);
    CHECK_EQ(unread(next[0]), 0);
    CHECK_EQ(unread(next[1]), 0);
    for (ssize_t n; (n = weft_read(it.fds[1], got, sizeof got)) > 0; at += (size_t)n)
        check_bytes(got, (size_t)n, it.tag, at);
    for (int side = 0; side < 2; side++)
        CHECK_EQ(weft_close_fd(next[side]), 0);
    CHECK_EQ(weft_close_fd(it.fds[1]), 0);
    free(it.buffer);
}

static void reuse(int i, int rounds)
{
    uint64_t state = test_random();
    for (int round = 0; round < rounds; round++) {
        if ((i + round) % 4 == 0)
            reuse_writing(&state);
        else
            reuse_reading(i + round, &state);
    }
}

TEST_GO(numbers_reused_at_once)
{
    int before = sockets_open();
    weft_waitgroup ended = {0};
    for (int i = 0; i < 16; i++)
        weft_wg_go(&ended, reuse, i, test_scale(150));
    weft_wg_wait(&ended);
    CHECK_EQ(sockets_open(), before);
}

/* ---- accepting and closing ---- */

struct gate {
    int listener;
    char address[WEFT_ADDRESS];
    _Atomic bool closed;
    _Atomic int accepted, dialed;
};

static void accept_until_closed(struct gate *gate)
{
    int fd;
    while ((fd = weft_accept(gate->listener)) >= 0) {
        uint8_t hello = 42;
        gate->accepted++;
        ssize_t n = weft_write(fd, &hello, 1);
        CHECK(n == 1 || is_close(n));
        CHECK_EQ(weft_close_fd(fd), 0);
        if (gate->closed)
            return;
    }
    CHECK_EQ(fd, -EBADF);
}

/* A listener that is closed at the wrong moment leaves a client of Linux connected to nobody, without a word. Such a one is
   told from one that weft does not wake by what poll(2) says. */
static ssize_t read_answer(int fd, uint8_t *byte)
{
    for (;;) {
        struct pollfd look = {.fd = fd, .events = POLLIN};
        CHECK_EQ(weft_fd_set_deadline(fd, POLLIN, weft_now() + 200 * WEFT_MS), 0);
        ssize_t n = weft_read(fd, byte, 1);
        if (n != -ETIMEDOUT)
            return n;
        if (poll(&look, 1, 0) == 0)
            return 0;
    }
}

static void dial_until_closed(struct gate *gate)
{
    while (!gate->closed) {
        uint8_t hello = 0;
        int fd = weft_dial("tcp", gate->address);
        if (fd < 0) {
            CHECK(fd == -ECONNREFUSED || fd == -ECONNRESET);
            return;
        }
        ssize_t n = read_answer(fd, &hello);
        CHECK((n == 1 && hello == 42) || n == 0 || n == -ECONNRESET); /* reset: it was in the backlog */
        gate->dialed += n == 1;
        CHECK_EQ(weft_close_fd(fd), 0);
    }
}

TEST_GO(accepting_and_closing)
{
    int before = sockets_open(), rounds = test_scale(100), dialed = 0;
    uint64_t state = test_random();
    for (int round = 0; round < rounds; round++) {
        weft_waitgroup accepting = {0}, dialing = {0};
        struct gate gate = {.listener = lift(weft_listen("tcp", "127.0.0.1:0"))}; /* it may be closed between two accepts */
        CHECK(weft_local_address(gate.listener, gate.address, sizeof gate.address) > 0);
        for (int i = 0; i < 3; i++)
            weft_wg_go(&accepting, accept_until_closed, &gate);
        for (int i = 0; i < 4; i++)
            weft_wg_go(&dialing, dial_until_closed, &gate);
        while (round % 2 && gate.dialed < 8)
            weft_yield();
        dither(&state);
        gate.closed = true;
        CHECK_EQ(weft_close_fd(gate.listener), 0);
        weft_wg_wait(&accepting);
        weft_wg_wait(&dialing);
        CHECK(gate.dialed <= gate.accepted);
        dialed += gate.dialed;
    }
    CHECK(rounds < 2 || dialed >= 8);
    CHECK_EQ(sockets_open(), before);
}

/* ---- streams that are disturbed ---- */

struct stream {
    int from, to;
    uint64_t tag;
    size_t length;
    bool contexts; /* what disturbs the reader: its contexts end, or the descriptor's deadlines pass */
    _Atomic bool done;
    _Atomic int ended; /* reads that were */
};

static void write_stream(struct stream *s)
{
    uint8_t buffer[3000];
    uint64_t state = test_random();
    for (size_t at = 0; at < s->length;) {
        size_t n = 1 + test_random_from(&state) % sizeof buffer;
        n = n < s->length - at ? n : s->length - at;
        fill(buffer, n, s->tag, at);
        ssize_t result = test_random_from(&state) % 2 ? weft_write_all(s->from, buffer, n) : weft_write(s->from, buffer, n);
        CHECK(result > 0 && (size_t)result <= n);
        at += (size_t)result;
        if (s->length < 1 << 16)
            dither(&state);
    }
    CHECK_EQ(weft_shutdown_fd(s->from, SHUT_WR), 0);
}

static ssize_t read_some(struct stream *s, uint8_t *buffer, size_t size, uint64_t *state)
{
    if (!s->contexts)
        return weft_read(s->to, buffer, size);
    int64_t ns = (int64_t)(test_random_from(state) % 4) * 100 * WEFT_US;
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_current(), ns);
    CHECK(ctx);
    weft_scoped_ctx(ctx);
    weft_scoped_use(ctx);
    return weft_read(s->to, buffer, size);
}

/* Reads ended early lose nothing: what they would have got is there for the next. */
static void read_stream(struct stream *s)
{
    uint8_t buffer[2000];
    uint64_t state = test_random();
    size_t at = 0;
    for (;;) {
        ssize_t n = read_some(s, buffer, 1 + test_random_from(&state) % sizeof buffer, &state);
        if (n == -ETIMEDOUT) {
            s->ended++;
            if (!s->contexts)
                CHECK_EQ(weft_fd_set_deadline(s->to, POLLIN, INT64_MAX), 0);
            continue;
        }
        CHECK(n >= 0);
        if (n == 0)
            break;
        check_bytes(buffer, (size_t)n, s->tag, at);
        at += (size_t)n;
    }
    CHECK_EQ(at, s->length);
    s->done = true;
}

static void set_deadlines(struct stream *s)
{
    uint64_t state = test_random();
    while (!s->done) {
        int64_t ns = (int64_t)(test_random_from(&state) % 4 - 1) * 50 * WEFT_US;
        CHECK_EQ(weft_fd_set_deadline(s->to, POLLIN, weft_now() + ns), 0);
        weft_sleep((int64_t)(test_random_from(&state) % 100) * WEFT_US);
    }
}

static void run_streams(int count, size_t length, int buffer, bool deadlines, bool contexts)
{
    int before = sockets_open(), ended = 0;
    weft_waitgroup running = {0};
    struct stream *streams = calloc((size_t)count * 2, sizeof *streams);
    CHECK(streams);
    for (int i = 0; i < count; i++) {
        int fds[2];
        if (buffer)
            tcp_pair(fds, buffer);
        else
            pair(fds, i);
        for (int way = 0; way < 2; way++) { /* both at a time: one descriptor is read and written */
            struct stream *s = &streams[2 * i + way];
            *s = (struct stream){
                .from = fds[way], .to = fds[!way], .tag = fresh_tag(), .length = length, .contexts = contexts};
            weft_wg_go(&running, write_stream, s);
            weft_wg_go(&running, read_stream, s);
            if (deadlines)
                weft_wg_go(&running, set_deadlines, s);
        }
    }
    weft_wg_wait(&running);
    for (int i = 0; i < 2 * count; i++) {
        ended += streams[i].ended;
        CHECK_EQ(weft_close_fd(streams[i].from), 0);
    }
    CHECK(ended > 0 || !(contexts || deadlines));
    free(streams);
    CHECK_EQ(sockets_open(), before);
}

TEST_GO(deadlines_at_random)
{
    run_streams(8, (size_t)test_scale(400) * 100, 0, true, false);
}

TEST_GO(contexts_end_in_the_middle)
{
    run_streams(16, (size_t)test_scale(400) * 100, 0, false, true);
}

TEST_GO(buffers_of_next_to_nothing)
{
    run_streams(8, (size_t)test_scale(400) * 1000, 1, false, false);
}

TEST_MAIN()
