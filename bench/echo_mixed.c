/* echo_mixed.c — latency of an echo server beside everything that stops an event loop: for each worker a goroutine that
   computes and never calls weft, and goroutines in a blocking read(2) of a FIFO, by libc.

   1,000 connections, each with a 64-byte message every 100 ms, from a process of its own: first the server alone, then
   beside the others. In the end all of these must finish. */
#include "echo/load.h"

#include "bench.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum { FIFO_READERS = 16 };

static atomic_bool stop;
static atomic_int hogs_ended, readers_ended;

static void serve(int connection)
{
    char buffer[1024];
    ssize_t n;
    while ((n = weft_read(connection, buffer, sizeof buffer)) > 0)
        if (weft_write_all(connection, buffer, (size_t)n) < 0)
            break;
    weft_close_fd(connection);
}

static void accept_all(int listener)
{
    for (int connection; (connection = weft_accept(listener)) >= 0;)
        weft_go(serve, connection);
}

static void compute(void)
{
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        for (volatile int i = 0; i < 1000; i++) {
        }
    hogs_ended++;
}

static void read_fifo(int fifo)
{
    char byte;
    readers_ended += read(fifo, &byte, 1) == 1;
}

/* The other process: for each number that it is told, a port, a run. */
static void run_clients(int orders, int results)
{
    struct load_options options = {.connections = (int)bench.n, .size = 64, .pause_ns = 100 * WEFT_MS, .sleeps = true};
    struct sockaddr_in *address = (struct sockaddr_in *)&options.address;
    options.address_length = sizeof *address;
    options.seconds = bench.smoke ? 0.2 : 5;
    options.warmup = bench.smoke ? 0.1 : 1;
    for (int port; read(orders, &port, sizeof port) == sizeof port;) {
        *address = (struct sockaddr_in){
            .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct load_result result = load_run(&options);
        if (write(results, &result, sizeof result) != sizeof result)
            return;
    }
}

static void measure_load(const char *name, int orders, int results, int port)
{
    struct load_result result;
    char text[64], note[128];
    if (write(orders, &port, sizeof port) != sizeof port || read(results, &result, sizeof result) != sizeof result)
        bench_die("the clients are gone");
    snprintf(text, sizeof text, "echo_mixed.%s", name);
    snprintf(note, sizeof note, "99th percentile of %ld; median %.2f ms, 99.9th %.2f ms, longest %.2f ms", result.requests,
             result.p50_us / 1e3, result.p999_us / 1e3, result.max_us / 1e3);
    bench_print_value(text, "ms", result.p99_us / 1e3, note);
}

static int open_fifo(void)
{
    char directory[] = "/tmp/echo_mixed-XXXXXX", path[64];
    if (!mkdtemp(directory))
        bench_die("no directory");
    snprintf(path, sizeof path, "%s/fifo", directory);
    int fifo = mkfifo(path, 0600) == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
    unlink(path);
    rmdir(directory);
    if (fifo < 0)
        bench_die("no FIFO");
    return fifo;
}

static int measure(int orders, int results)
{
    char address[WEFT_ADDRESS], bytes[FIFO_READERS] = {0};
    int listener = weft_listen("tcp", "127.0.0.1:0");
    if (listener < 0 || weft_local_address(listener, address, sizeof address) < 0)
        bench_die("cannot listen");
    int port = atoi(strrchr(address, ':') + 1), hogs = weft_procs(), fifo = open_fifo();
    weft_go(accept_all, listener);
    measure_load("alone", orders, results, port);

    weft_waitgroup others = {0};
    for (int i = 0; i < hogs; i++)
        weft_wg_go(&others, compute);
    for (int i = 0; i < FIFO_READERS; i++)
        weft_wg_go(&others, read_fifo, fifo);
    measure_load("p99", orders, results, port);
    stop = true;
    if (write(fifo, bytes, sizeof bytes) != sizeof bytes)
        bench_die("the FIFO takes nothing");
    weft_wg_wait(&others);
    if (hogs_ended != hogs || readers_ended != FIFO_READERS)
        bench_die("%d of %d hogs and %d of %d readers ended", hogs_ended, hogs, readers_ended, FIFO_READERS);
    return 0;
}

int main(int argc, char **argv)
{
    int orders[2], results[2];
    bench_begin(argc, argv, 1000, 50);
    if (pipe(orders) != 0 || pipe(results) != 0)
        bench_die("no pipe");
    pid_t clients = fork();
    if (clients < 0)
        bench_die("no process");
    if (clients == 0) {
        close(orders[1]);
        run_clients(orders[0], results[1]);
        _exit(0);
    }
    close(orders[0]);
    close(results[1]);
    return weft_run(measure, orders[1], results[0]);
}
