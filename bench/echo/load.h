/* load.h — the other end of an echo server: one thread with epoll, no weft. Every connection has one message on its way at a
   time and waits for its echo, which is compared.

   pause_ns 0: the next message goes out when the echo has come (a closed loop). Else each connection has a message to send
   every pause_ns, the connections evenly spread, and a message that the echo before it has held up counts from when it was
   due: otherwise a server that stalls would be asked less and look better.

   sleeps: the thread sleeps when nothing has come. In a closed loop on one machine it is the server that pays for waking it,
   1 to 2 us in its send, the more often the slower the server is, which makes a small difference of servers a large one of
   figures. So the alternative is to look at once again. */
#ifndef ECHO_LOAD_H
#define ECHO_LOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LOAD_EVENTS = 512, LOAD_SUB_BITS = 6, LOAD_BUCKETS = 48 << LOAD_SUB_BITS };

struct load_options {
    struct sockaddr_storage address;
    socklen_t address_length;
    int connections, size; /* size: bytes of a message, 16 or more */
    double warmup, seconds;
    int64_t pause_ns;
    bool sleeps;  /* see above */
    pid_t server; /* whose CPU time is read; 0: nobody's */
};

struct load_result {
    long requests;
    double seconds, p50_us, p99_us, p999_us, max_us;
    double server_cpu; /* seconds; user and system, all threads */
};

struct load_connection {
    int fd;
    uint32_t got; /* bytes of the echo so far */
    bool waiting;
    uint64_t sequence;
    int64_t began_ns; /* when the message was sent, or was due */
    int64_t due_ns;   /* when the next one is, with a pause */
};

struct load {
    const struct load_options *options;
    struct load_connection *connections;
    char *echoes; /* connections * size */
    int poll_fd;
    bool counting;
    int64_t next_due_ns; /* of connection `next`, with a pause */
    int next;
    long requests;
    int64_t max_ns;
    long histogram[LOAD_BUCKETS];
};

static void load_die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static inline int64_t load_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- the histogram: 64 buckets to every power of two, so 1.6 % at most of error ---- */

static inline int load_bucket(int64_t ns)
{
    if (ns < 1 << LOAD_SUB_BITS)
        return ns < 0 ? 0 : (int)ns;
    int shift = 63 - __builtin_clzll((unsigned long long)ns) - LOAD_SUB_BITS;
    int bucket = (shift << LOAD_SUB_BITS) + (int)(ns >> shift);
    return bucket < LOAD_BUCKETS ? bucket : LOAD_BUCKETS - 1;
}

static inline double load_quantile_us(const struct load *load, double q)
{
    long rank = (long)(q * (double)load->requests), seen = 0;
    for (int i = 0; i < LOAD_BUCKETS; i++) {
        seen += load->histogram[i];
        if (seen > rank) {
            int shift = i >> LOAD_SUB_BITS ? (i >> LOAD_SUB_BITS) - 1 : 0;
            return (double)((int64_t)(i - (shift << LOAD_SUB_BITS)) << shift) / 1e3;
        }
    }
    return (double)load->max_ns / 1e3;
}

/* ---- messages ---- */

static inline void load_send(struct load *load, int i, int64_t now_ns)
{
    struct load_connection *c = &load->connections[i];
    char message[4096];
    uint64_t head[2] = {++c->sequence, (uint64_t)i};
    memset(message, (int)(c->sequence & 0x7f), (size_t)load->options->size);
    memcpy(message, head, sizeof head);
    c->began_ns = now_ns;
    c->waiting = true;
    c->got = 0;
    if (send(c->fd, message, (size_t)load->options->size, MSG_NOSIGNAL) != load->options->size)
        load_die("send");
}

static inline void load_compare(const struct load *load, int i)
{
    const struct load_connection *c = &load->connections[i];
    const char *echo = load->echoes + (size_t)i * (size_t)load->options->size;
    uint64_t head[2] = {c->sequence, (uint64_t)i};
    bool good = memcmp(echo, head, sizeof head) == 0;
    for (int at = sizeof head; good && at < load->options->size; at++)
        good = echo[at] == (char)(c->sequence & 0x7f);
    if (!good) {
        fprintf(stderr, "load: connection %d: the echo is not what was sent\n", i);
        exit(1);
    }
}

static inline void load_receive(struct load *load, int i)
{
    const struct load_options *options = load->options;
    struct load_connection *c = &load->connections[i];
    ssize_t n = recv(c->fd, load->echoes + (size_t)i * (size_t)options->size + c->got, (size_t)options->size - c->got, 0);
    if (n == 0)
        errno = ECONNRESET;
    if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        load_die("recv");
    }
    c->got += (uint32_t)n;
    if (c->got < (uint32_t)options->size)
        return;
    load_compare(load, i);
    int64_t now_ns = load_now_ns(), took_ns = now_ns - c->began_ns;
    c->waiting = false;
    if (load->counting) {
        load->requests++;
        load->histogram[load_bucket(took_ns)]++;
        load->max_ns = took_ns > load->max_ns ? took_ns : load->max_ns;
    }
    if (options->pause_ns == 0) {
        load_send(load, i, now_ns);
    } else if (c->due_ns <= now_ns) {
        load_send(load, i, c->due_ns);
        c->due_ns += options->pause_ns;
    }
}

/* With a pause: sends what is due by now. */
static inline void load_send_due(struct load *load)
{
    const struct load_options *options = load->options;
    for (int64_t now_ns = load_now_ns(); load->next_due_ns <= now_ns;) {
        struct load_connection *c = &load->connections[load->next];
        if (!c->waiting) { /* else load_receive does it */
            load_send(load, load->next, c->due_ns);
            c->due_ns += options->pause_ns;
        }
        load->next = (load->next + 1) % options->connections;
        load->next_due_ns += options->pause_ns / options->connections;
    }
}

/* ---- the run ---- */

static inline void load_until(struct load *load, int64_t end_ns)
{
    struct epoll_event events[LOAD_EVENTS];
    for (int64_t now_ns; (now_ns = load_now_ns()) < end_ns;) {
        int64_t wake_ns = end_ns;
        if (load->options->pause_ns > 0 && load->next_due_ns < wake_ns)
            wake_ns = load->next_due_ns;
        int64_t left_ns = wake_ns > now_ns && load->options->sleeps ? wake_ns - now_ns : 0;
        struct timespec left = {left_ns / 1000000000, left_ns % 1000000000};
        int n = epoll_pwait2(load->poll_fd, events, LOAD_EVENTS, &left, NULL);
        for (int i = 0; i < n; i++)
            load_receive(load, (int)events[i].data.u32);
        if (load->options->pause_ns > 0)
            load_send_due(load);
    }
}

static inline void load_connect(struct load *load)
{
    const struct load_options *options = load->options;
    load->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < options->connections; i++) {
        int one = 1, fd = socket(options->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *)&options->address, options->address_length) != 0)
            load_die("connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(load->poll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            load_die("epoll_ctl");
        load->connections[i] = (struct load_connection){.fd = fd};
    }
}

/* User and system seconds of a process so far. */
static inline double load_cpu_of(pid_t pid)
{
    char path[64], text[1024];
    if (pid == 0)
        return 0;
    double seconds = 0;
    FILE *file;
    /* utime and stime are counted in ticks; schedstat has nanoseconds, for a thread. */
    snprintf(path, sizeof path, "cat /proc/%d/task/*/schedstat 2>/dev/null", (int)pid);
    if ((file = popen(path, "re"))) {
        while (fgets(text, sizeof text, file))
            seconds += strtod(text, NULL) / 1e9;
        pclose(file);
    }
    return seconds;
}

static inline struct load_result load_run(const struct load_options *options)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    struct load load = {.options = options};
    load.connections = calloc((size_t)options->connections, sizeof *load.connections);
    load.echoes = calloc((size_t)options->connections, (size_t)options->size);
    if (!load.connections || !load.echoes)
        load_die("calloc");
    load_connect(&load);

    int64_t start_ns = load_now_ns();
    load.next_due_ns = start_ns;
    for (int i = 0; i < options->connections; i++) {
        load.connections[i].due_ns = start_ns + options->pause_ns / options->connections * i;
        if (options->pause_ns == 0)
            load_send(&load, i, load_now_ns());
    }
    load_until(&load, start_ns + (int64_t)(options->warmup * 1e9));
    double cpu = load_cpu_of(options->server);
    load.counting = true;
    int64_t from_ns = load_now_ns();
    load_until(&load, from_ns + (int64_t)(options->seconds * 1e9));
    int64_t to_ns = load_now_ns();
    cpu = load_cpu_of(options->server) - cpu;

    for (int i = 0; i < options->connections; i++) {
        if (load.connections[i].waiting && to_ns - load.connections[i].began_ns > load.max_ns)
            load.max_ns = to_ns - load.connections[i].began_ns; /* has waited so long already */
        close(load.connections[i].fd);
    }
    close(load.poll_fd);
    free(load.connections);
    free(load.echoes);
    return (struct load_result){
        .requests = load.requests,
        .seconds = (double)(to_ns - from_ns) / 1e9,
        .p50_us = load_quantile_us(&load, 0.5),
        .p99_us = load_quantile_us(&load, 0.99),
        .p999_us = load_quantile_us(&load, 0.999),
        .max_us = (double)load.max_ns / 1e3,
        .server_cpu = cpu,
    };
}

#endif
