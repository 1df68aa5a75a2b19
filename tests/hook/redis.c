/* hiredis, unmodified and synchronous, against a real Redis: 1,000 goroutines on 2 workers. */
#define _GNU_SOURCE 1
#include "hook.h"
#include "server.h"

#include <hiredis/hiredis.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifdef BY_DLOPEN /* the library is loaded when the program runs already, for itself */
#include <dlfcn.h>
/* clang-format off */
#define LIBRARY_FUNCTIONS(X) \
    X(redisConnect) \
    X(redisConnectUnix) \
    X(redisConnectWithTimeout) \
    X(redisSetTimeout) \
    X(redisCommand) \
    X(redisAppendCommand) \
    X(redisGetReply) \
    X(redisFree) \
    X(freeReplyObject)
/* clang-format on */
#define POINTER(name) static __typeof__(name) *name##_;
LIBRARY_FUNCTIONS(POINTER)
#define redisConnect redisConnect_
#define redisConnectUnix redisConnectUnix_
#define redisConnectWithTimeout redisConnectWithTimeout_
#define redisSetTimeout redisSetTimeout_
#define redisCommand redisCommand_
#define redisAppendCommand redisAppendCommand_
#define redisGetReply redisGetReply_
#define redisFree redisFree_
#define freeReplyObject freeReplyObject_

static void load_library(void)
{
    void *library = dlopen(BY_DLOPEN, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        server_skip(dlerror());
#define LOAD(name) CHECK((*(void **)&name##_ = dlsym(library, #name)) != NULL);
    LIBRARY_FUNCTIONS(LOAD)
}
#else
static void load_library(void)
{
}
#endif

static char socket_path[128];

static redisContext *connect_to_redis(int number)
{
    struct timeval limit = {60, 0};
    redisContext *c = number % 3 == 0   ? redisConnect("127.0.0.1", server.port)
                      : number % 3 == 1 ? redisConnectUnix(socket_path)
                                        : redisConnectWithTimeout("127.0.0.1", server.port, limit);
    CHECK(c != NULL);
    if (c->err)
        fprintf(stderr, "connection %d: %s (errno %d)\n", number, c->errstr, errno);
    CHECK_EQ(c->err, 0);
    return c;
}

static redisReply *reply_of(redisContext *c, void *reply)
{
    if (!reply)
        fprintf(stderr, "no reply: %s\n", c->errstr);
    CHECK(reply != NULL);
    return reply;
}

/* Commands, pipelined ones, and a value of 100 KB. */
static void use_redis(int number, int rounds, weft_waitgroup *wg)
{
    redisContext *c = connect_to_redis(number);
    for (int i = 0; i < rounds; i++) {
        int *before = thread_mark();
        redisReply *r = reply_of(c, redisCommand(c, "SET key:%d value:%d:%d", number, number, i));
        CHECK_EQ(thread_mark(), before);
        CHECK_EQ(r->type, REDIS_REPLY_STATUS);
        freeReplyObject(r);
        r = reply_of(c, redisCommand(c, "GET key:%d", number));
        char expected[64];
        snprintf(expected, sizeof expected, "value:%d:%d", number, i);
        CHECK(r->type == REDIS_REPLY_STRING && strcmp(r->str, expected) == 0);
        freeReplyObject(r);
        freeReplyObject(reply_of(c, redisCommand(c, "INCR counter")));
    }
    for (int i = 0; i < 10; i++)
        CHECK_EQ(redisAppendCommand(c, "INCR own:%d", number), REDIS_OK);
    for (int i = 1; i <= 10; i++) {
        void *r;
        CHECK_EQ(redisGetReply(c, &r), REDIS_OK);
        CHECK_EQ(((redisReply *)r)->integer, i);
        freeReplyObject(r);
    }
    if (number % 20 == 0) {
        size_t size = 100000;
        char *big = malloc(size);
        fill(big, size);
        freeReplyObject(reply_of(c, redisCommand(c, "SET big:%d %b", number, big, size)));
        redisReply *r = reply_of(c, redisCommand(c, "GET big:%d", number));
        CHECK_EQ(r->len, size);
        CHECK_EQ(memcmp(r->str, big, size), 0);
        freeReplyObject(r);
        free(big);
    }
    redisReply *r = reply_of(c, redisCommand(c, "NONSENSE"));
    CHECK_EQ(r->type, REDIS_REPLY_ERROR);
    freeReplyObject(r);
    redisFree(c);
    weft_wg_done(wg);
}

TEST(a_thousand_goroutines)
{
    int n = test_scale(1000), rounds = 10;
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, n);
    for (int i = 0; i < n; i++)
        weft_go(use_redis, i, rounds, &wg);
    weft_wg_wait(&wg);
    redisContext *c = connect_to_redis(0); /* of a plain thread */
    redisReply *r = reply_of(c, redisCommand(c, "GET counter"));
    CHECK_EQ(atoi(r->str), n * rounds);
    freeReplyObject(r);
    redisFree(c);
}

/* ---- commands that wait ---- */

static void pop(int number, weft_waitgroup *wg)
{
    redisContext *c = connect_to_redis(number);
    redisReply *r = reply_of(c, redisCommand(c, "BLPOP queue:%d 0", number));
    CHECK(r->type == REDIS_REPLY_ARRAY && r->elements == 2 && atoi(r->element[1]->str) == number);
    freeReplyObject(r);
    redisFree(c);
    weft_wg_done(wg);
}

static void push(int number, weft_waitgroup *wg)
{
    redisContext *c = connect_to_redis(number);
    linger();
    freeReplyObject(reply_of(c, redisCommand(c, "LPUSH queue:%d %d", number, number)));
    redisFree(c);
    weft_wg_done(wg);
}

TEST(commands_that_wait)
{
    int n = test_scale(300);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 2 * n);
    for (int i = 0; i < n; i++)
        weft_go(pop, i, &wg);
    for (int i = 0; i < n; i++)
        weft_go(push, i, &wg);
    weft_wg_wait(&wg);
}

/* The library's own limit, which it sets by SO_RCVTIMEO, ends a command; so does a context. */
static void wait_in_vain(int number, weft_waitgroup *wg)
{
    redisContext *c = connect_to_redis(number);
    CHECK_EQ(redisSetTimeout(c, (struct timeval){0, 20000}), REDIS_OK);
    int64_t start_ns = weft_now();
    CHECK(redisCommand(c, "BLPOP nothing:%d 0", number) == NULL);
    CHECK_EQ(*thread_errno(), EAGAIN);
    CHECK_EQ(c->err, REDIS_ERR_IO);
    CHECK(weft_now() - start_ns >= 20 * WEFT_MS);
    redisFree(c);
    c = connect_to_redis(number);
    {
        weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_current(), 20 * WEFT_MS);
        weft_scoped_ctx(ctx);
        weft_scoped_use(ctx);
        CHECK(redisCommand(c, "BLPOP nothing:%d 0", number) == NULL);
        CHECK_EQ(*thread_errno(), ETIMEDOUT);
    }
    redisFree(c);
    weft_wg_done(wg);
}

TEST(limits_end_commands)
{
    int n = test_scale(100);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, n);
    for (int i = 0; i < n; i++)
        weft_go(wait_in_vain, i, &wg);
    weft_wg_wait(&wg);
}

/* Both of its sockets: it opens one after the other. */
static int is_up(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int up = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return up && server_listens();
}

int main(int argc, char **argv)
{
    setenv("WEFT_PROCS", "2", 0);
    load_library();
    server_prepare("redis");
    char port[16];
    snprintf(port, sizeof port, "%d", server.port);
    snprintf(socket_path, sizeof socket_path, "%s/socket", server.directory);
    char *const arguments[] = {"redis-server", "--port",           port,   "--bind",        "127.0.0.1", "--unixsocket",
                               socket_path,    "--unixsocketperm", "777",  "--save",        "",          "--appendonly",
                               "no",           "--maxclients",     "4000", "--tcp-backlog", "511",       NULL};
    server_start("redis", SIGTERM, arguments, is_up);
    return test_main_(argc, argv);
}
