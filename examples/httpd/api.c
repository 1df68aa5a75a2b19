/* What is computed: the routes under /api/.

     /api/hello                 a greeting, for benchmarks
     /api/echo                  POST or PUT: the body comes back while it is still arriving
     /api/time?n=5&ms=1000      a line with the time every ms milliseconds, n times
     /api/stats                 what the server has done, as JSON */
#include "httpd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char text_plain[] = "text/plain; charset=utf-8";

static void hello(struct connection *c, struct span query)
{
    static const char body[] = "Hello from a goroutine.\n";
    (void)query;
    response_text(c, 200, text_plain, body, sizeof body - 1);
}

/* Reads and writes in turn: a client that does not read its answer is not read from, and cut off when write_ns is over. */
static void echo(struct connection *c, struct span query)
{
    const char *data;
    char type[128] = "application/octet-stream";
    (void)query;
    struct span given = request_field(c, CONTENT_TYPE);
    if (given.length > 0 && given.length < sizeof type) {
        memcpy(type, given.at, given.length);
        type[given.length] = '\0';
    }
    ssize_t n = request_body(c, &data);
    if (n < 0) {
        if (c->b->request.refused > 0)
            response_status(c, c->b->request.refused);
        return;
    }
    response_begin(c, 200, type, STREAMED);
    response_end_head(c);
    for (; n > 0; n = request_body(c, &data))
        response_stream(c, data, (size_t)n);
    if (n == 0)
        response_end_stream(c); /* else the answer has no end, so that it cannot be taken for complete */
}

/* The number that the query gives for a name, in the bounds given, or what it is otherwise. */
static long number(struct span query, const char *name, long otherwise, long most)
{
    char text[256];
    size_t length = strlen(name);
    if (query.length >= sizeof text)
        return otherwise;
    memcpy(text, query.at, query.length);
    text[query.length] = '\0';
    for (char *rest, *item = strtok_r(text, "&", &rest); item != NULL; item = strtok_r(NULL, "&", &rest)) {
        if (strncmp(item, name, length) != 0 || item[length] != '=')
            continue;
        char *end;
        long n = strtol(item + length + 1, &end, 10);
        if (end != item + length + 1 && *end == '\0')
            return n < 0 ? 0 : n > most ? most : n;
    }
    return otherwise;
}

static void ticks(struct connection *c, struct span query)
{
    long n = number(query, "n", 5, 1000), ms = number(query, "ms", 1000, 10000);
    response_begin(c, 200, text_plain, STREAMED);
    response_end_head(c);
    if (response_is_head_only(c))
        return;
    for (long i = 0; i < n && !c->broken; i++) {
        char line[64];
        if (i > 0 && weft_sleep(ms * WEFT_MS) != 0) { /* httpd stops, and cannot wait */
            c->broken = true;
            break;
        }
        c->now_ns = weft_now();
        date_write(line, time(NULL));
        line[DATE] = '\n';
        response_stream(c, line, DATE + 1);
        connection_flush(c);
    }
    if (!c->broken)
        response_end_stream(c);
}

static void stats(struct connection *c, struct span query)
{
    char body[512];
    struct server *server = c->server;
    struct counts counts = server_counts(server);
    struct rusage usage;
    (void)query;
    getrusage(RUSAGE_SELF, &usage);
    int length = snprintf(body, sizeof body,
                          "{\"uptime_s\": %.3f, \"goroutines\": %zu, \"procs\": %d, \"connections\": %llu, "
                          "\"connections_accepted\": %llu, \"requests\": %llu, \"max_rss_kib\": %ld}\n",
                          (double)(weft_now() - server->started_ns) / 1e9, weft_count(), weft_procs(),
                          (unsigned long long)counts.open, (unsigned long long)counts.accepted,
                          (unsigned long long)counts.served, usage.ru_maxrss);
    response_text(c, 200, "application/json", body, (size_t)length);
}

void api_answer(struct connection *c, const char *path, struct span query)
{
    static const struct {
        const char *path;
        bool takes_body; /* POST and PUT; else GET and HEAD */
        void (*answer)(struct connection *c, struct span query);
    } routes[] = {{"hello", false, hello}, {"echo", true, echo}, {"time", false, ticks}, {"stats", false, stats}};
    uint8_t method = c->b->parser.method;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(path, routes[i].path) != 0)
            continue;
        bool reads = method == HTTP_GET || method == HTTP_HEAD, sends = method == HTTP_POST || method == HTTP_PUT;
        if (routes[i].takes_body ? sends : reads)
            routes[i].answer(c, query);
        else
            response_not_allowed(c, routes[i].takes_body ? "POST, PUT, OPTIONS" : "GET, HEAD, OPTIONS");
        return;
    }
    response_status(c, 404);
}
