/* load: loads an echo server, see load.h.   load [--sleep] HOST:PORT CONNECTIONS SECONDS [SERVER_PID [MESSAGES_PER_SECOND]]

   Prints requests per second, the latencies' 50th, 99th and 99.9th percentile and maximum in microseconds, and, with the
   server's process id, its CPU time per request in microseconds and the share of the time that it was busy. */
#include "load.h"

#include <arpa/inet.h>

static void usage(void)
{
    fputs("usage: load [--sleep] HOST:PORT CONNECTIONS SECONDS [SERVER_PID [MESSAGES_PER_SECOND]], HOST an IPv4 address\n",
          stderr);
    exit(2);
}

static void parse_address(const char *text, struct load_options *options)
{
    struct sockaddr_in *address = (struct sockaddr_in *)&options->address;
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host)
        usage();
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)atoi(colon + 1));
    options->address_length = sizeof *address;
    if (inet_pton(AF_INET, host, &address->sin_addr) != 1)
        usage();
}

int main(int argc, char **argv)
{
    bool sleeps = argc > 1 && strcmp(argv[1], "--sleep") == 0;
    argc -= sleeps;
    argv += sleeps;
    if (argc < 4 || argc > 6)
        usage();
    struct load_options options = {.connections = atoi(argv[2]), .size = 64, .seconds = atof(argv[3])};
    parse_address(argv[1], &options);
    options.server = argc > 4 ? (pid_t)atoi(argv[4]) : 0;
    double rate = argc > 5 ? atof(argv[5]) : 0;
    if (options.connections < 1 || options.seconds <= 0 || options.server < 0 || rate < 0)
        usage();
    options.pause_ns = rate > 0 ? (int64_t)((double)options.connections / rate * 1e9) : 0;
    options.sleeps = sleeps || options.pause_ns > 0;
    options.warmup = options.seconds < 2 ? options.seconds / 4 : 0.5;

    struct load_result result = load_run(&options);
    double requests = result.requests > 0 ? (double)result.requests : 1;
    printf("rate %.0f p50 %.1f p99 %.1f p999 %.1f max %.1f cpu %.3f busy %.3f\n", (double)result.requests / result.seconds,
           result.p50_us, result.p99_us, result.p999_us, result.max_us, result.server_cpu * 1e6 / requests,
           result.server_cpu / result.seconds);
    return 0;
}
