/* httpd: options, signals, the beginning and the end. */
#include "httpd.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static void usage(FILE *out)
{
    const struct options *d = &default_options;
    fprintf(out,
            "usage: httpd [OPTION]...\n"
            "Serves files and a few computed pages by HTTP/1.1. Prints the address that it listens on.\n"
            "\n"
            "  --listen=HOST:PORT      default %s; port 0: any free one; \":PORT\": all interfaces\n"
            "  --root=DIRECTORY        serve the files beneath it; none when left out\n"
            "  --no-symlinks           follow no symbolic links; else those that stay beneath the root\n"
            "  --log                   print a line per request: peer, request, status, bytes of the body\n"
            "Seconds, also fractions:\n"
            "  --header-timeout=S      for a request's head, from its first byte on (%g)\n"
            "  --body-timeout=S        for its body (%g)\n"
            "  --idle-timeout=S        between requests; up to half as much more may pass (%g)\n"
            "  --write-timeout=S       for the client to take an answer, or 256 KiB of it (%g)\n"
            "  --stop-timeout=S        for what is being answered when httpd is to stop (%g)\n"
            "Limits:\n"
            "  --max-header=BYTES      head of a request (%lld, which is the most)\n"
            "  --max-body=BYTES        body of a request (%lld)\n"
            "  --max-requests=N        requests of a connection (%lld)\n"
            "  --max-connections=N     at the same time (%lld); others wait\n"
            "  --help\n"
            "\n"
            "SIGTERM and SIGINT end it: it accepts no more connections, answers what it has been asked, and ends with "
            "status 0.\n"
            "The second one ends it at once.\n",
            d->listen, (double)d->header_ns / 1e9, (double)d->body_ns / 1e9, (double)d->idle_ns / 1e9,
            (double)d->write_ns / 1e9, (double)d->stop_ns / 1e9, (long long)d->max_header, (long long)d->max_body,
            (long long)d->max_requests, (long long)d->max_connections);
}

static int64_t parse_number(const char *option, const char *text, int64_t least, int64_t most)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && n >= least && n <= most)
        return n;
    fprintf(stderr, "httpd: --%s takes a number from %lld to %lld, not '%s'\n", option, (long long)least, (long long)most,
            text);
    exit(2);
}

static int64_t parse_seconds(const char *option, const char *text)
{
    char *end;
    double s = strtod(text, &end);
    if (end != text && *end == '\0' && s >= 0.001 && s <= 1e6)
        return (int64_t)(s * 1e9);
    fprintf(stderr, "httpd: --%s takes seconds from 0.001 to 1000000, not '%s'\n", option, text);
    exit(2);
}

static void parse_options(int argc, char **argv, struct options *options)
{
    enum {
        LISTEN = 256,
        ROOT,
        NO_SYMLINKS,
        LOG,
        HEADER,
        BODY,
        IDLE,
        WRITE,
        STOP,
        MAX_HEADER,
        MAX_BODY,
        MAX_REQUESTS,
        MAX_OPEN,
        HELP
    };
    static const struct option known[] = {
        {"listen", required_argument, NULL, LISTEN},
        {"root", required_argument, NULL, ROOT},
        {"no-symlinks", no_argument, NULL, NO_SYMLINKS},
        {"log", no_argument, NULL, LOG},
        {"header-timeout", required_argument, NULL, HEADER},
        {"body-timeout", required_argument, NULL, BODY},
        {"idle-timeout", required_argument, NULL, IDLE},
        {"write-timeout", required_argument, NULL, WRITE},
        {"stop-timeout", required_argument, NULL, STOP},
        {"max-header", required_argument, NULL, MAX_HEADER},
        {"max-body", required_argument, NULL, MAX_BODY},
        {"max-requests", required_argument, NULL, MAX_REQUESTS},
        {"max-connections", required_argument, NULL, MAX_OPEN},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    int64_t *const seconds[] = {&options->header_ns, &options->body_ns, &options->idle_ns, &options->write_ns,
                                &options->stop_ns};
    int index = 0;
    for (int option; (option = getopt_long(argc, argv, "", known, &index)) != -1;) {
        switch (option) {
        case LISTEN:
            options->listen = optarg;
            break;
        case ROOT:
            options->root = optarg;
            break;
        case NO_SYMLINKS:
            options->symlinks = false;
            break;
        case LOG:
            options->log = true;
            break;
        case HEADER:
        case BODY:
        case IDLE:
        case WRITE:
        case STOP:
            *seconds[option - HEADER] = parse_seconds(known[index].name, optarg);
            break;
        case MAX_HEADER:
            options->max_header = parse_number(known[index].name, optarg, 64, default_options.max_header);
            break;
        case MAX_BODY:
            options->max_body = parse_number(known[index].name, optarg, 0, INT64_MAX / 16);
            break;
        case MAX_REQUESTS:
            options->max_requests = parse_number(known[index].name, optarg, 1, INT64_MAX);
            break;
        case MAX_OPEN:
            options->max_connections = parse_number(known[index].name, optarg, 1, 1000000);
            break;
        case HELP:
            usage(stdout);
            exit(fflush(stdout) == 0 ? 0 : 1);
        default: /* getopt_long has said what is wrong */
            fputs("httpd --help says more\n", stderr);
            exit(2);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "httpd: '%s': it takes options only; httpd --help says which\n", argv[optind]);
        exit(2);
    }
}

/* A connection is a descriptor: allow as many as the system does. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int fails(const char *what, int error)
{
    fprintf(stderr, "httpd: %s: %s\n", what, strerror(-error));
    return 1;
}

static int accept_all(struct server *server, int listener, weft_chan(int) stop)
{
    int error = server_accept(server, listener);
    weft_try_send(stop, 0); /* nobody accepts any more, so it is time to stop, whatever the reason */
    return error;
}

static int run(const struct options *options)
{
    static struct server server;
    char address[WEFT_ADDRESS];
    int number, error = server_start(&server, options);
    if (error != 0)
        return fails(options->root != NULL ? options->root : "start", error);
    int listener = weft_listen("tcp", options->listen);
    weft_chan(int) stop = weft_chan_make(int, 1);
    error = listener < 0 ? listener : stop == NULL ? -ENOMEM : weft_signal_notify(stop, SIGTERM, SIGINT);
    if (error != 0) {
        weft_chan_free(stop);
        weft_close_fd(listener);
        server_free(&server);
        return fails(options->listen, error);
    }
    weft_local_address(listener, address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);

    weft_group accepting = {0};
    weft_group_go(&accepting, accept_all, &server, listener, stop);
    weft_recv(stop, &number);
    weft_signal_stop(stop); /* the next one ends the program */
    weft_group_cancel(&accepting, -ECANCELED);
    error = weft_group_wait(&accepting);
    weft_close_fd(listener);
    uint64_t cut = server_stop(&server);
    if (cut > 0)
        fprintf(stderr, "httpd: %llu connections were cut off\n", (unsigned long long)cut);
    weft_chan_free(stop);
    server_free(&server);
    return error == -ECANCELED ? 0 : fails("accept", error);
}

int main(int argc, char **argv)
{
    struct options options = default_options;
    parse_options(argc, argv, &options);
    raise_file_limit();
    tzset(); /* reads a file, which is better done now */
    return weft_run(run, &options);
}
