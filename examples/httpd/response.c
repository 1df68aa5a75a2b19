/* Answers. Heads are put together by memcpy in the output; no formatting functions, no allocation. */
#include "httpd.h"

#include <string.h>
#include <time.h>

enum { HEAD = 1024 }; /* room for a head; longer values (a redirect's) ask for their own */

/* The status and its name, as text. */
static struct span reason_of(int status)
{
    static const char *const known[] = {
        [200] = "200 OK",
        [204] = "204 No Content",
        [206] = "206 Partial Content",
        [301] = "301 Moved Permanently",
        [304] = "304 Not Modified",
        [400] = "400 Bad Request",
        [403] = "403 Forbidden",
        [404] = "404 Not Found",
        [405] = "405 Method Not Allowed",
        [408] = "408 Request Timeout",
        [412] = "412 Precondition Failed",
        [413] = "413 Content Too Large",
        [414] = "414 URI Too Long",
        [416] = "416 Range Not Satisfiable",
        [417] = "417 Expectation Failed",
        [431] = "431 Request Header Fields Too Large",
        [500] = "500 Internal Server Error",
        [501] = "501 Not Implemented",
        [503] = "503 Service Unavailable",
        [505] = "505 HTTP Version Not Supported",
    };
    const char *text = known[status];
    return (struct span){text, strlen(text)};
}

static inline __attribute__((always_inline)) void put(struct connection *c, const char *data, size_t length)
{
    memcpy(connection_room(c, length), data, length);
    c->b->filled += length;
}

#define PUT(c, literal) put(c, literal, sizeof(literal) - 1)

static void put_number(struct connection *c, uint64_t n, unsigned base)
{
    char digits[24], *p = digits + sizeof digits;
    do
        *--p = "0123456789abcdef"[n % base];
    while ((n /= base) > 0);
    put(c, p, (size_t)(digits + sizeof digits - p));
}

static void put_date(struct connection *c)
{
    struct buffers *b = c->b;
    time_t now = time(NULL);
    if (b->date_second != now) {
        date_write(b->date, now);
        b->date_second = now;
    }
    put(c, b->date, DATE);
}

bool response_is_head_only(const struct connection *c)
{
    return c->b->request.has_head && c->b->parser.method == HTTP_HEAD;
}

static bool can_chunk(const struct connection *c)
{
    return c->b->parser.http_minor > 0;
}

void response_begin(struct connection *c, int status, const char *type, int64_t length)
{
    struct request *r = &c->b->request;
    r->status = status;
    if (!r->keep_alive || r->continue_asked /* nobody knows whether the body will come */ ||
        atomic_load_explicit(&c->server->stopping, memory_order_relaxed) ||
        (length == STREAMED && !can_chunk(c))) /* the end of such a body is the end of the connection */
        c->closing = true;
    connection_room(c, HEAD);
    PUT(c, "HTTP/1.1 ");
    response_put(c, reason_of(status));
    PUT(c, "\r\nServer: weft\r\nDate: ");
    put_date(c);
    if (type != NULL) {
        PUT(c, "\r\nContent-Type: ");
        put(c, type, strlen(type));
    }
    if (length >= 0) {
        PUT(c, "\r\nContent-Length: ");
        put_number(c, (uint64_t)length, 10);
    } else if (length == STREAMED && can_chunk(c)) {
        PUT(c, "\r\nTransfer-Encoding: chunked");
    }
    if (c->closing)
        PUT(c, "\r\nConnection: close");
    else if (c->b->parser.http_minor == 0)
        PUT(c, "\r\nConnection: keep-alive");
    PUT(c, "\r\n");
}

void response_field(struct connection *c, const char *name, const char *value)
{
    size_t name_length = strlen(name), value_length = strlen(value);
    put(c, name, name_length);
    PUT(c, ": ");
    put(c, value, value_length);
    PUT(c, "\r\n");
}

void response_put(struct connection *c, struct span text)
{
    put(c, text.at, text.length);
}

void response_end_head(struct connection *c)
{
    PUT(c, "\r\n");
}

void response_text(struct connection *c, int status, const char *type, const char *body, size_t length)
{
    response_begin(c, status, type, (int64_t)length);
    response_end_head(c);
    if (response_is_head_only(c))
        return;
    put(c, body, length);
    c->b->request.sent += (int64_t)length;
}

/* The status, and a line that says it to people. */
static void say(struct connection *c, int status, const char *allow)
{
    struct span reason = reason_of(status);
    response_begin(c, status, "text/plain; charset=utf-8", (int64_t)reason.length + 1);
    if (allow != NULL)
        response_field(c, "Allow", allow);
    response_end_head(c);
    if (response_is_head_only(c))
        return;
    response_put(c, reason);
    PUT(c, "\n");
    c->b->request.sent += (int64_t)reason.length + 1;
}

void response_status(struct connection *c, int status)
{
    say(c, status, NULL);
}

void response_not_allowed(struct connection *c, const char *allow)
{
    say(c, 405, allow);
}

void response_continue(struct connection *c)
{
    PUT(c, "HTTP/1.1 100 Continue\r\n\r\n");
}

void response_stream(struct connection *c, const char *data, size_t length)
{
    enum { FRAME = 24, LEAST = 512 }; /* of a chunk: its size and two line ends; what is worth a chunk */
    c->b->request.sent += (int64_t)length;
    while (length > 0 && !c->broken) {
        connection_room(c, FRAME + (length < LEAST ? length : LEAST));
        size_t room = OUTPUT - c->b->filled - FRAME, piece = length < room ? length : room;
        if (can_chunk(c)) {
            put_number(c, piece, 16);
            PUT(c, "\r\n");
        }
        put(c, data, piece);
        if (can_chunk(c))
            PUT(c, "\r\n");
        data += piece;
        length -= piece;
    }
}

void response_end_stream(struct connection *c)
{
    if (can_chunk(c))
        PUT(c, "0\r\n\r\n");
}
