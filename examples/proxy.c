/* proxy: takes TCP connections and passes each on to another server, both ways.

     proxy --listen 127.0.0.1:7000 --to example.org:80

   A connection is three goroutines: two copy, one for each direction, and the third watches that the connection does not
   idle. What makes it a good proxy comes from waiting in the right place:

     backpressure    weft_copy reads no more than the other side takes: a slow reader holds a fast sender back, and the
                     proxy's memory does not grow
     half-close      where one side has ended, the other is told so, and what comes from there still goes through
     too many        beyond --connections, nobody is accepted until a connection has ended: a semaphore before the accept
     the end         contexts: one for each dial, with a timeout; one for each connection, which idling or an error ends;
                     one above them all, for the shutdown: SIGTERM lets the connections finish for --grace seconds, then
                     ends them

   For each connection that ended there is a line on standard output. */
#include <errno.h>
#include <getopt.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <weft.h>

enum { UP, DOWN }; /* from the client to the server; the way back */

static struct {
    const char *listen, *to;
    int64_t connections, idle_ns, connect_ns, grace_ns;
} options = {
    .connections = 10000, .idle_ns = 300 * WEFT_SECOND, .connect_ns = 10 * WEFT_SECOND, .grace_ns = 30 * WEFT_SECOND};

static weft_sem slots; /* one unit for each connection that there may be */

struct link {
    int client, server;
    weft_ctx *ctx; /* ends when both copies have ended, or one has failed, or it idles */
    weft_waitgroup copying;
    atomic_int left;  /* copies that go on */
    atomic_int error; /* the first one */
    int64_t bytes[2]; /* by direction */
};

/* ---- what the kernel knows of a connection ---- */

static struct tcp_info info_of(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    return info;
}

/* For how long nothing has come from or gone to the peer. */
static int64_t quiet_ns(int fd)
{
    struct tcp_info info = info_of(fd);
    uint32_t ms = info.tcpi_last_data_recv < info.tcpi_last_data_sent ? info.tcpi_last_data_recv : info.tcpi_last_data_sent;
    return ms * WEFT_MS;
}

/* What fd's peer got may be less than the whole, and it shall not take it for that: the close will be a reset. */
static void reset_on_close(int fd)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

/* ---- one connection ---- */

static void fail(struct link *link, int error)
{
    int none = 0;
    atomic_compare_exchange_strong(&link->error, &none, error);
    weft_ctx_cancel(link->ctx);
}

static void copy(struct link *link, int direction)
{
    int from = direction == UP ? link->client : link->server, to = direction == UP ? link->server : link->client;
    int64_t n = weft_copy(to, from);
    if (n >= 0) {
        link->bytes[direction] = n;
        weft_shutdown_fd(to, SHUT_WR); /* tells `to` that no more comes; the other copy goes on */
    } else {
        link->bytes[direction] = (int64_t)info_of(from).tcpi_bytes_received; /* weft_copy does not say */
        fail(link, (int)n);
    }
    if (atomic_fetch_sub(&link->left, 1) == 1)
        weft_ctx_cancel(link->ctx);
}

/* Until the connection's context ends, or it has idled for too long, which ends it. */
static void watch(struct link *link)
{
    for (int64_t left_ns = options.idle_ns; left_ns > 0;) {
        if (weft_sleep(left_ns) != 0)
            return;
        int64_t client_ns = quiet_ns(link->client), server_ns = quiet_ns(link->server);
        left_ns = options.idle_ns - (client_ns < server_ns ? client_ns : server_ns);
    }
    fail(link, -ETIMEDOUT);
}

static int dial(void)
{
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_current(), options.connect_ns);
    if (ctx == NULL)
        return -ENOMEM;
    weft_scoped_ctx(ctx);
    weft_scoped_use(ctx);
    return weft_dial("tcp", options.to);
}

static int relay(struct link *link)
{
    weft_ctx *ctx = link->ctx = weft_ctx_with_cancel(weft_ctx_current());
    if (ctx == NULL)
        return -ENOMEM;
    weft_scoped_ctx(ctx);
    weft_scoped_use(ctx); /* the copies inherit it */
    atomic_store(&link->left, 2);
    weft_wg_go(&link->copying, copy, link, UP);
    weft_wg_go(&link->copying, copy, link, DOWN);
    watch(link);
    weft_wg_wait(&link->copying);
    int error = atomic_load(&link->error);
    if (error != 0) {
        reset_on_close(link->client);
        reset_on_close(link->server);
    }
    return error;
}

static void serve(int client)
{
    char name[WEFT_ADDRESS] = "?";
    struct link link = {.client = client};
    int64_t start_ns = weft_now();
    weft_peer_address(client, name, sizeof name);
    int error = link.server = dial();
    if (link.server >= 0) {
        error = relay(&link);
        weft_close_fd(link.server);
    }
    weft_close_fd(client);
    printf("%s: %lld bytes up, %lld down, %.3f s, %s%s\n", name, (long long)link.bytes[UP], (long long)link.bytes[DOWN],
           (double)(weft_now() - start_ns) / 1e9, link.server < 0 ? "no server: " : "", error < 0 ? strerror(-error) : "ok");
    fflush(stdout);
    weft_sem_release(&slots, 1);
}

/* ---- all of them ---- */

/* Until the context ends: 0. Or an error. The connections run in a context of their own. */
static int accept_all(int listener, weft_ctx *connections)
{
    for (;;) {
        if (weft_sem_acquire(&slots, 1) != 0)
            return 0;
        int client = weft_accept(listener);
        if (client >= 0) {
            weft_go_opt(WEFT_OPTIONS(.ctx = connections), serve, client);
            continue;
        }
        weft_sem_release(&slots, 1);
        if (client == -ECANCELED)
            return 0;
        if (client != -EMFILE && client != -ENFILE && client != -ENOMEM && client != -ENOBUFS)
            return client;
        weft_sleep(10 * WEFT_MS); /* it stays in the backlog until there is room */
    }
}

/* The first signal ends the accepting, the second the connections too. */
static void wait_for_signals(weft_chan(int) signals, weft_ctx *accepting, weft_ctx *connections)
{
    weft_recv(signals, NULL);
    weft_ctx_cancel(accepting);
    weft_recv(signals, NULL);
    weft_ctx_cancel(connections);
}

static int listen_and_say(void)
{
    char name[WEFT_ADDRESS];
    int listener = weft_listen("tcp", options.listen);
    int error = listener < 0 ? listener : weft_local_address(listener, name, sizeof name);
    if (error < 0) {
        fprintf(stderr, "proxy: %s: %s\n", options.listen, strerror(-error));
        return error;
    }
    printf("proxy: listening on %s\n", name);
    fflush(stdout);
    return listener;
}

static int run(void)
{
    weft_chan(int) signals = weft_chan_make(int, 2);
    weft_ctx *connections = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx *accepting = weft_ctx_with_cancel(connections);
    if (signals == NULL || accepting == NULL)
        return 1;
    int listener = listen_and_say();
    if (listener < 0)
        return 1;
    weft_signal_notify(signals, SIGTERM, SIGINT);
    weft_go(wait_for_signals, signals, accepting, connections);

    int error;
    {
        weft_scoped_use(accepting);
        error = accept_all(listener, connections);
    }
    weft_close_fd(listener);
    if (error < 0)
        fprintf(stderr, "proxy: accept: %s\n", strerror(-error));

    /* Who has all units of the semaphore knows that there are no connections. */
    if (weft_sem_acquire_timeout(&slots, options.connections, options.grace_ns) != 0) {
        weft_ctx_cancel(connections);
        weft_sem_acquire(&slots, options.connections);
    }
    return error < 0;
}

/* ---- options ---- */

static void usage(FILE *out)
{
    fputs("usage: proxy --listen ADDRESS --to ADDRESS [OPTION...]\n"
          "Passes TCP connections on. ADDRESS is host:port; to listen also :port for all interfaces, port 0 for any free "
          "one.\n"
          "\n"
          "  --connections=N      no more than N at a time; the next ones wait to be accepted (10000)\n"
          "  --idle=SECONDS       ends a connection on which nothing has moved for so long (300)\n"
          "  --connect=SECONDS    how long to try to reach the other server (10)\n"
          "  --grace=SECONDS      after SIGTERM or Ctrl-C, how long connections may take to end (30); a second signal ends "
          "them\n",
          out);
}

/* A number from 1 to limit; ends the program when it is none. */
static int64_t parse_number(const char *name, const char *text, long limit)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && number >= 1 && number <= limit)
        return number;
    fprintf(stderr, "proxy: --%s takes a number from 1 to %ld, not '%s'\n", name, limit, text);
    exit(2);
}

static void parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"listen", required_argument, NULL, 'l'},
        {"to", required_argument, NULL, 't'},
        {"connections", required_argument, NULL, 'n'},
        {"idle", required_argument, NULL, 'i'},
        {"connect", required_argument, NULL, 'c'},
        {"grace", required_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'l':
            options.listen = optarg;
            break;
        case 't':
            options.to = optarg;
            break;
        case 'n':
            options.connections = parse_number("connections", optarg, 1000000);
            break;
        case 'i':
            options.idle_ns = parse_number("idle", optarg, 1000000) * WEFT_SECOND;
            break;
        case 'c':
            options.connect_ns = parse_number("connect", optarg, 1000000) * WEFT_SECOND;
            break;
        case 'g':
            options.grace_ns = parse_number("grace", optarg, 1000000) * WEFT_SECOND;
            break;
        case 'h':
            usage(stdout);
            exit(fflush(stdout) == 0 ? 0 : 1);
        default: /* getopt_long has said what is wrong */
            usage(stderr);
            exit(2);
        }
    }
    if (optind < argc || options.listen == NULL || options.to == NULL) {
        usage(stderr);
        exit(2);
    }
}

/* A connection has two descriptors, and two more while weft_copy splices. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    raise_file_limit();
    slots = (weft_sem)WEFT_SEM(options.connections);
    return weft_run(run);
}
