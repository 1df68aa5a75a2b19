/* redis.c — 1,000 clients of a real Redis by hiredis, unmodified and synchronous: connect, n commands, one after another,
   each waiting for its reply, disconnect. As goroutines on 2 workers, whose calls libweft_hook makes wait without a thread;
   by pools of threads that take client after client; and by one thread. The server has a processor of its own and the
   clients have the others, as between machines: on the same one a single client and the server hand it to each other, and
   nobody ever waits. Beside the commands a second the memory beyond the start of the process, of which each measurement has
   its own: the most that was resident (a thread's stack in the kernel, 16 KiB, is not in it) and the address space. */
#define _GNU_SOURCE 1
#include "bench.h"
#include "../tests/hook/server.h"
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define CLIENTS 1000
#define ONE_THREAD 1 /* kinds of measurement: this many threads, or goroutines */
#define GOROUTINES 0

static int clients;
static long kind; /* of the measurement under way */
static _Atomic int next_client;

static void client(int number)
{
    redisContext *c = redisConnect("127.0.0.1", server.port);
    if (!c || c->err)
        bench_die("client %d: %s", number, c ? c->errstr : "no memory");
    for (long i = 0; i < bench.n; i++) {
        redisReply *reply = i % 2 ? redisCommand(c, "GET key:%d", number) : redisCommand(c, "SET key:%d %ld", number, i);
        if (!reply || reply->type == REDIS_REPLY_ERROR || (i % 2 && atol(reply->str) != i - 1))
            bench_die("client %d: %s", number, c->err ? c->errstr : "a wrong reply");
        freeReplyObject(reply);
    }
    redisFree(c);
}

static void *take_clients(void *unused)
{
    for (int i; (i = next_client++) < clients;)
        client(i);
    return unused;
}

static void by_threads(int n)
{
    pthread_t *threads = calloc((size_t)n, sizeof *threads);
    if (!threads)
        bench_die("no memory");
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, take_clients, NULL) != 0)
            bench_die("thread %d of %d cannot be made", i, n);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

static int by_goroutines(void)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < clients; i++)
        weft_wg_go(&wg, client, i);
    weft_wg_wait(&wg);
    return 0;
}

enum { SPEED, RESIDENT, SPACE, NUMBERS };

static void measure(double *out)
{
    long resident = bench_status("VmRSS:"), space = bench_status("VmSize:");
    int64_t start_ns = bench_now_ns();
    if (kind == GOROUTINES)
        weft_run(by_goroutines);
    else if (kind == ONE_THREAD)
        take_clients(NULL);
    else
        by_threads((int)kind);
    out[SPEED] = (double)(clients * bench.n) / ((double)(bench_now_ns() - start_ns) / 1e9);
    out[RESIDENT] = (double)(bench_status("VmHWM:") - resident);
    out[SPACE] = (double)(bench_status("VmPeak:") - space) / 1024;
}

/* Leaves the first processor to the server, or all others to the clients; where there is only one, both have it. */
static void take_processors(bool for_server)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 2)
        return;
    int first = 0;
    while (!CPU_ISSET(first, &set))
        first++;
    if (for_server)
        CPU_ZERO(&set);
    CPU_CLR(first, &set);
    if (for_server)
        CPU_SET(first, &set);
    sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv)
{
    static const long kinds[] = {GOROUTINES, ONE_THREAD, 8, 32, 128, 1000};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    static struct bench_series series[KINDS][NUMBERS];
    char port[16];
    bench_begin(argc, argv, 100, 4);
    bench_procs("2");
    clients = bench.smoke ? 20 : CLIENTS;
    server_prepare("redis");
    snprintf(port, sizeof port, "%d", server.port);
    char *const arguments[] = {"redis-server", "--port", port,           "--bind", "127.0.0.1",     "--save", "",
                               "--appendonly", "no",     "--maxclients", "4000",   "--tcp-backlog", "2000",   NULL};
    cpu_set_t all;
    bool known = sched_getaffinity(0, sizeof all, &all) == 0;
    take_processors(true);
    server_start("redis", SIGTERM, arguments, server_listens);
    if (known)
        sched_setaffinity(0, sizeof all, &all);
    take_processors(false);
    for (int round = 0; round < bench.rounds; round++)
        for (int i = 0; i < KINDS; i++) {
            double out[NUMBERS];
            kind = kinds[i];
            bench_in_child(measure, out, NUMBERS);
            for (int j = 0; j < NUMBERS; j++)
                bench_add(&series[i][j], out[j]);
        }
    double medians[KINDS][NUMBERS];
    int best = 2;
    for (int i = 0; i < KINDS; i++) {
        for (int j = 0; j < NUMBERS; j++)
            medians[i][j] = bench_median(series[i][j].values, series[i][j].n);
        if (i >= best && medians[i][SPEED] > medians[best][SPEED])
            best = i;
    }
    for (int i = 0; i < KINDS; i++) {
        static const char *const what[NUMBERS] = {"redis", "redis.resident", "redis.space"}, *const units[NUMBERS] = {
                                                                                                 "/s", "KiB", "MiB"};
        for (int j = 0; j < NUMBERS; j++) {
            char name[48], note[64] = "";
            snprintf(name, sizeof name, "%s.%s%.0ld", what[j], kinds[i] == GOROUTINES ? "goroutines" : "threads", kinds[i]);
            if (kinds[i] != GOROUTINES && medians[i][j] > 0)
                snprintf(note, sizeof note, "goroutines: %.2f x", medians[0][j] / medians[i][j]);
            bench_print(name, units[j], &series[i][j], note);
        }
    }
    bench_print_value("redis.sequential", "x", medians[0][SPEED] / medians[1][SPEED], "goroutines against one thread");
    bench_print_value("redis.pool", "x", medians[0][SPEED] / medians[best][SPEED], "goroutines against the best pool");
    return 0;
}
