/* echo_idle.c — what idle connections cost an echo server: memory of the process (resident, and the page tables for it) for
   each of 10,000, which have echoed one message each, and the CPU time of the process while nothing happens for 10 s.

   The clients are in a process of their own. What the kernel keeps for a socket is in neither number. */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>

static atomic_int served; /* connections that have echoed a message */

/* As in examples/echo.c. */
static void serve(int connection)
{
    char buffer[1024];
    ssize_t n;
    bool first = true;
    while ((n = weft_read(connection, buffer, sizeof buffer)) > 0) {
        if (weft_write_all(connection, buffer, (size_t)n) < 0)
            break;
        served += first;
        first = false;
    }
    weft_close_fd(connection);
}

static void accept_all(int listener)
{
    for (int connection; (connection = weft_accept(listener)) >= 0;)
        weft_go(serve, connection);
}

/* The other process: connects, has one message echoed by each, says so, and waits until the server has measured. */
static void run_clients(int ready, int done)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int port;
    char byte = 1;
    if (read(done, &port, sizeof port) != sizeof port)
        return;
    address.sin_port = htons((uint16_t)port);
    for (long i = 0; i < bench.n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 || send(fd, "x", 1, 0) != 1 ||
            recv(fd, &byte, 1, 0) != 1)
            bench_die("connection %ld: %s", i, strerror(errno));
    }
    if (write(ready, &byte, 1) == 1)
        while (read(done, &byte, 1) > 0) {
        }
}

static int measure(int ready, int done)
{
    char address[WEFT_ADDRESS], byte;
    int listener = weft_listen("tcp", "127.0.0.1:0");
    if (listener < 0 || weft_local_address(listener, address, sizeof address) < 0)
        bench_die("cannot listen");
    int port = atoi(strrchr(address, ':') + 1);
    weft_go(accept_all, listener);
    weft_sleep(10 * WEFT_MS);

    double before = bench_memory_bytes();
    if (write(done, &port, sizeof port) != sizeof port || read(ready, &byte, 1) != 1)
        bench_die("the clients are gone");
    while (served != bench.n) /* the client may be quicker than the count */
        weft_sleep(WEFT_MS);
    weft_sleep(bench.smoke ? 10 * WEFT_MS : WEFT_SECOND); /* what was started has come to rest */
    bench_print_value("echo_idle.bytes", "B", (bench_memory_bytes() - before) / (double)bench.n, "for a connection");

    double cpu = bench_cpu_ms(), seconds = bench.smoke ? 0.1 : 10;
    weft_sleep((int64_t)(seconds * 1e9));
    bench_print_value("echo_idle.cpu", "ms", bench_cpu_ms() - cpu, bench.smoke ? "of CPU in 0.1 s" : "of CPU in 10 s");
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 10000, 100);
    struct rlimit limit = {(rlim_t)bench.n + 100, (rlim_t)bench.n + 100}, now;
    if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur < limit.rlim_cur) {
        if (now.rlim_max > limit.rlim_max)
            limit.rlim_max = now.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            bench_die("%ld connections need more descriptors than are allowed (ulimit -n)", bench.n);
    }
    int ready[2], done[2];
    if (pipe(ready) != 0 || pipe(done) != 0)
        bench_die("no pipe");
    pid_t clients = fork();
    if (clients < 0)
        bench_die("no process");
    if (clients == 0) {
        close(done[1]);
        run_clients(ready[1], done[0]);
        _exit(0);
    }
    close(ready[1]);
    close(done[0]);
    return weft_run(measure, ready[0], done[1]); /* the clients end when this process does */
}
