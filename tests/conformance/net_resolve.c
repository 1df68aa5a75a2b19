/* LINK: -Wl,--wrap=getaddrinfo,--wrap=freeaddrinfo */
/* net_resolve.c — weft_resolve: numbers at once, names off the workers, callers that give up, and a limit. Names are
   resolved here, as slowly as the test wants; what getaddrinfo gave must be freed exactly once. */
#include "sockets.h"

#include <netdb.h>
#include <pthread.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held;              /* names wait */
    int inside, most, done; /* calls for names: now, at most at a time, ended */
} names = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0, 0};

static int lists; /* [atomic] results that were not freed */

static void hold_names(bool held)
{
    pthread_mutex_lock(&names.lock);
    names.held = held;
    if (held)
        names.most = names.done = 0;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.lock);
}

static int names_inside(void)
{
    pthread_mutex_lock(&names.lock);
    int inside = names.inside;
    pthread_mutex_unlock(&names.lock);
    return inside;
}

/* "error-N" is the error N; "wait" waits while names are held; both are then 127.0.0.1. Others as they are. */
int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    bool numeric = hints && (hints->ai_flags & AI_NUMERICHOST);
    int result, error;
    if (host && !numeric && sscanf(host, "error%d", &error) == 1) {
        errno = EMFILE;
        return error;
    }
    if (host && !numeric && strcmp(host, "wait") == 0) {
        pthread_mutex_lock(&names.lock);
        if (++names.inside > names.most)
            names.most = names.inside;
        while (names.held)
            pthread_cond_wait(&names.changed, &names.lock);
        names.inside--;
        names.done++;
        pthread_mutex_unlock(&names.lock);
        host = "127.0.0.1";
    }
    result = __real_getaddrinfo(host, service, hints, list);
    if (result == 0)
        __atomic_fetch_add(&lists, 1, __ATOMIC_RELAXED);
    return result;
}

void __real_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list)
{
    __atomic_fetch_sub(&lists, 1, __ATOMIC_RELAXED);
    __real_freeaddrinfo(list);
}

/* Until every result has been freed: what a caller left behind is freed when its call ends. */
static void wait_for_lists(void)
{
    while (names_inside() || __atomic_load_n(&lists, __ATOMIC_ACQUIRE))
        CHECK_EQ(weft_sleep(100 * WEFT_US), 0);
}

static const struct addrinfo streams = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};

static void check_is_loopback(const struct addrinfo *list, int port)
{
    const struct sockaddr_in *address = (const void *)list->ai_addr;
    CHECK_EQ(list->ai_family, AF_INET);
    CHECK_EQ(list->ai_socktype, SOCK_STREAM);
    CHECK_EQ(address->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK_EQ(ntohs(address->sin_port), port);
}

/* ---- results ---- */

TEST_BOTH(Numbers)
{
    struct addrinfo *list, hints = streams;
    hold_names(true); /* they do not wait for names */
    for (int i = test_scale(200); i > 0; i--) {
        CHECK_EQ(weft_resolve("127.0.0.1", "80", &hints, &list), 0);
        check_is_loopback(list, 80);
        CHECK(list->ai_next == NULL);
        freeaddrinfo(list);
    }
    CHECK_EQ(weft_resolve(NULL, "80", &hints, &list), 0);
    check_is_loopback(list, 80);
    freeaddrinfo(list);
    CHECK_EQ(weft_resolve("127.0.0.1", NULL, &hints, &list), 0);
    check_is_loopback(list, 0);
    freeaddrinfo(list);
    hints.ai_flags = AI_PASSIVE;
    CHECK_EQ(weft_resolve(NULL, "80", &hints, &list), 0);
    CHECK_EQ(((struct sockaddr_in *)(void *)list->ai_addr)->sin_addr.s_addr, htonl(INADDR_ANY));
    freeaddrinfo(list);
    hints.ai_flags = AI_NUMERICHOST;
    CHECK_EQ(weft_resolve("wait", "80", &hints, &list), -ENOENT);
    CHECK(list == NULL);
    hints = (struct addrinfo){.ai_family = AF_INET6, .ai_socktype = SOCK_STREAM};
    CHECK_EQ(weft_resolve("::1", "80", &hints, &list), 0);
    CHECK_EQ(list->ai_family, AF_INET6);
    freeaddrinfo(list);
    CHECK_EQ(weft_resolve("127.0.0.1", "80", NULL, &list), 0); /* of every type */
    freeaddrinfo(list);
    hold_names(false);
    CHECK_EQ(lists, 0);
}

TEST_BOTH(Names)
{
    struct addrinfo *list;
    for (int i = test_scale(100); i > 0; i--) {
        CHECK_EQ(weft_resolve("localhost", "80", &streams, &list), 0);
        CHECK_EQ(list->ai_family, AF_INET);
        freeaddrinfo(list);
        CHECK_EQ(weft_resolve("wait", "80", &streams, &list), 0);
        check_is_loopback(list, 80);
        freeaddrinfo(list);
    }
    wait_for_lists();
}

TEST_BOTH(Errors)
{
    static const struct {
        int error, expected;
    } cases[] = {{EAI_NONAME, -ENOENT},   {EAI_AGAIN, -EAGAIN},    {EAI_FAIL, -EIO},
                 {EAI_MEMORY, -ENOMEM},   {EAI_BADFLAGS, -EINVAL}, {EAI_FAMILY, -EINVAL},
                 {EAI_SOCKTYPE, -EINVAL}, {EAI_SERVICE, -ENOENT},  {EAI_SYSTEM, -EMFILE}};
    struct addrinfo *list;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char host[20];
        snprintf(host, sizeof host, "error%d", cases[i].error);
        list = (void *)host;
        CHECK_EQ(weft_resolve(host, "80", &streams, &list), cases[i].expected);
        CHECK(list == NULL);
        snprintf(host + strlen(host), 5, ":80");
        CHECK_EQ(weft_dial("tcp", host), cases[i].expected);
        CHECK_EQ(weft_listen("tcp", host), cases[i].expected);
    }
    CHECK_EQ(weft_resolve(NULL, NULL, &streams, &list), -EINVAL);
    CHECK_EQ(weft_resolve("127.0.0.1", "80", &(struct addrinfo){.ai_flags = 1 << 30}, &list), -EINVAL);
    CHECK_EQ(weft_resolve("127.0.0.1", "80", &(struct addrinfo){.ai_family = 9999}, &list), -EINVAL);
    CHECK_EQ(weft_resolve("::1", "80", &streams, &list), -ENOENT); /* not of this family */
    CHECK_EQ(lists, 0);
}

/* ---- waits ---- */

static void resolve_once(int expected, weft_waitgroup *wg)
{
    struct addrinfo *list;
    CHECK_EQ(weft_resolve("wait", "80", &streams, &list), expected);
    if (expected == 0) {
        check_is_loopback(list, 80);
        freeaddrinfo(list);
    }
    weft_wg_done(wg);
}

/* Others run meanwhile, with one worker too. */
TEST_BOTH(ResolveHoldsNobodyUp)
{
    enum { CALLERS = 10 };
    weft_waitgroup wg = {0};
    hold_names(true);
    weft_wg_add(&wg, CALLERS);
    for (int i = 0; i < CALLERS; i++)
        weft_go(resolve_once, 0, &wg);
    while (names_inside() < CALLERS)
        weft_sleep(100 * WEFT_US);
    for (int i = 0; i < 100; i++)
        weft_yield();
    hold_names(false);
    weft_wg_wait(&wg);
    wait_for_lists();
}

TEST_BOTH(ResolveCancelled)
{
    struct addrinfo *list;
    for (int i = test_scale(20); i > 0; i--) {
        weft_ctx *ctx = i % 2 ? weft_ctx_with_timeout(weft_ctx_background(), i % 4 == 1 ? 0 : WEFT_MS)
                              : weft_ctx_with_cancel(weft_ctx_background());
        hold_names(true);
        if (i % 2 == 0)
            weft_go(cancel_later, weft_ctx_ref(ctx), WEFT_MS);
        {
            weft_scoped_use(ctx);
            int expected = i % 2 ? -ETIMEDOUT : -ECANCELED;
            CHECK_EQ(weft_resolve("wait", "80", &streams, &list), expected);
            CHECK_EQ(weft_dial("tcp", "wait:80"), expected);
            CHECK_EQ(weft_listen("tcp", "wait:0"), expected);
            CHECK_EQ(weft_resolve("127.0.0.1", "80", &streams, &list), 0); /* needs no wait */
            freeaddrinfo(list);
            weft_scoped_shield();
            CHECK_EQ(weft_resolve("localhost", "80", &streams, &list), 0);
            freeaddrinfo(list);
        }
        hold_names(false);
        weft_ctx_free(ctx);
        wait_for_lists();
    }
}

/* Its end and the result come at about the same time. */
TEST_BOTH(ResolveCancelledInTime)
{
    uint64_t random = test_random();
    int given = 0;
    for (int i = test_scale(300); i > 0; i--) {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_go(cancel_later, weft_ctx_ref(ctx), (int64_t)(test_random_from(&random) % 200) * WEFT_US);
        weft_scoped_use(ctx);
        struct addrinfo *list;
        int error = weft_resolve("wait", "80", &streams, &list);
        CHECK(error == 0 || error == -ECANCELED);
        CHECK_EQ(error == 0, list != NULL);
        if (list) {
            freeaddrinfo(list);
            given++;
        }
        weft_ctx_free(ctx);
    }
    wait_for_lists();
}

/* The calls under way are limited, also when the callers of those have given up. */
TEST_BOTH(ResolveLimit)
{
    enum { CALLERS = 500 };
    weft_waitgroup wg = {0}, late = {0};
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    hold_names(true);
    {
        weft_scoped_use(ctx);
        weft_wg_add(&wg, CALLERS);
        for (int i = 0; i < CALLERS; i++)
            weft_go(resolve_once, -ECANCELED, &wg);
    }
    while (names_inside() < 2)
        weft_sleep(100 * WEFT_US);
    weft_sleep(5 * WEFT_MS);
    weft_ctx_cancel(ctx);
    weft_wg_wait(&wg); /* those that waited for a place too */
    weft_ctx_free(ctx);
    weft_wg_add(&late, CALLERS);
    for (int i = 0; i < CALLERS; i++)
        weft_go(resolve_once, 0, &late);
    weft_sleep(5 * WEFT_MS);
    hold_names(false);
    weft_wg_wait(&late);
    wait_for_lists();
    CHECK(names.most < CALLERS);
    CHECK(names.done >= CALLERS && names.done < 2 * CALLERS); /* nobody asked for those that gave up in the queue */
}

TEST_MAIN()
