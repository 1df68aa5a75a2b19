/* What a client sends. llhttp parses it; what is looked at beyond that is here, in one place, because whatever two
   servers understand differently can be used to smuggle a request past the first:

   - The head may have no bare CR or LF, no control characters and no folded lines (scan_head). llhttp 8, compiled as
     strict as it can be, still takes a bare LF at the end of the first line and of the head, and a folded line.
   - Exactly one space on either side of the target, and HTTP/1.0 or 1.1. llhttp takes several, and other protocols' names.
   - Content-Length and Transfer-Encoding never together, neither twice; no coding but chunked; none in HTTP/1.0.
   - One Host in HTTP/1.1, of the characters that a host has. No other field that httpd reads may come twice either; and
     every field has a name (llhttp takes ": value").
   - A chunked body's last line must end with CRLF, and what is not data in it is limited.

   Each is answered with a status and the end of the connection: what follows cannot be told apart from a body. */
#include "httpd.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    size_t length;
} names[FIELD_COUNT] = {
#define NAME(text)                                                                                                          \
    {                                                                                                                       \
        text, sizeof(text) - 1                                                                                              \
    }
    [CONTENT_LENGTH] = NAME("content-length"),
    [CONTENT_TYPE] = NAME("content-type"),
    [EXPECT] = NAME("expect"),
    [HOST] = NAME("host"),
    [IF_MATCH] = NAME("if-match"),
    [IF_MODIFIED_SINCE] = NAME("if-modified-since"),
    [IF_NONE_MATCH] = NAME("if-none-match"),
    [IF_RANGE] = NAME("if-range"),
    [IF_UNMODIFIED_SINCE] = NAME("if-unmodified-since"),
    [RANGE] = NAME("range"),
    [TRANSFER_ENCODING] = NAME("transfer-encoding"),
#undef NAME
};

/* ---- what was found ---- */

bool request_has(const struct connection *c, enum field field)
{
    return (c->b->request.seen & 1u << field) != 0;
}

struct span request_target(const struct connection *c)
{
    const struct buffers *b = c->b;
    return (struct span){b->input + b->start + b->request.target.at, b->request.target.length};
}

struct span request_field(const struct connection *c, enum field field)
{
    const struct buffers *b = c->b;
    struct span s = {b->input + b->start + b->request.value[field].at, b->request.value[field].length};
    while (s.length > 0 && (s.at[0] == ' ' || s.at[0] == '\t')) {
        s.at++;
        s.length--;
    }
    while (s.length > 0 && (s.at[s.length - 1] == ' ' || s.at[s.length - 1] == '\t'))
        s.length--;
    return s;
}

bool span_is(struct span span, const char *text)
{
    return strlen(text) == span.length && strncasecmp(span.at, text, span.length) == 0;
}

/* ---- llhttp's calls ---- */

static struct connection *connection_of(llhttp_t *parser)
{
    return parser->data;
}

/* A piece of something in the head; pieces of one thing follow each other in the input. */
#define EXTEND(c, thing, piece, n)                                                                                          \
    do {                                                                                                                    \
        if ((thing).length == 0)                                                                                            \
            (thing).at = (uint32_t)((piece) - ((c)->b->input + (c)->b->start));                                             \
        (thing).length += (uint32_t)(n);                                                                                    \
    } while (0)

static int on_url(llhttp_t *parser, const char *at, size_t length)
{
    struct connection *c = connection_of(parser);
    EXTEND(c, c->b->request.target, at, length);
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t length)
{
    struct connection *c = connection_of(parser);
    if (!c->b->request.has_head) /* fields behind a chunked body are not read */
        EXTEND(c, c->b->request.name, at, length);
    return 0;
}

static enum field field_named(struct span name)
{
    for (enum field f = 0; f < FIELD_COUNT; f++)
        if (name.length == names[f].length && strncasecmp(name.at, names[f].name, name.length) == 0)
            return f;
    return OTHER;
}

static int on_header_field_complete(llhttp_t *parser)
{
    struct connection *c = connection_of(parser);
    struct request *r = &c->b->request;
    if (r->has_head)
        return 0;
    uint32_t name_length = r->name.length;
    enum field field = field_named((struct span){c->b->input + c->b->start + r->name.at, name_length});
    r->name.length = 0;
    r->field = field;
    if (++r->fields > FIELDS)
        r->refused = 431;
    else if (name_length == 0)
        r->refused = 400;
    else if (field != OTHER && (r->seen & 1u << field) != 0)
        r->refused = 400;
    r->seen |= 1u << field;
    return r->refused == 0 ? 0 : -1;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t length)
{
    struct connection *c = connection_of(parser);
    struct request *r = &c->b->request;
    if (!r->has_head && r->field != OTHER)
        EXTEND(c, r->value[r->field], at, length);
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct connection *c = connection_of(parser);
    struct request *r = &c->b->request;
    r->has_head = true;
    r->keep_alive = llhttp_should_keep_alive(parser);
    parser->upgrade = 0; /* httpd has nothing to upgrade to */
    /* Without a body llhttp goes on to the end of the message at once. */
    return (parser->flags & F_CHUNKED) != 0 || parser->content_length > 0 ? HPE_PAUSED : 0;
}

static int on_chunk_header(llhttp_t *parser)
{
    struct connection *c = connection_of(parser);
    struct request *r = &c->b->request;
    if (parser->content_length <= (uint64_t)(c->server->options.max_body - r->decoded))
        return 0;
    r->refused = 413;
    return -1;
}

/* Moves the data together, to where the piece of input that is parsed began: the framing between it is done with. */
static int on_body(llhttp_t *parser, const char *at, size_t length)
{
    struct connection *c = connection_of(parser);
    struct request *r = &c->b->request;
    r->decoded += (int64_t)length; /* within max_body: check_head and on_chunk_header have seen to it */
    memmove(c->b->input + r->data + r->data_length, at, length);
    r->data_length += length;
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    connection_of(parser)->b->request.complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* Has llhttp parse what it has not seen, up to `to`. */
static llhttp_errno_t parse(struct buffers *b, size_t to)
{
    llhttp_errno_t error = llhttp_execute(&b->parser, b->input + b->parsed, to - b->parsed);
    if (error == HPE_OK) {
        b->parsed = to;
        return HPE_OK;
    }
    b->parsed = (size_t)(llhttp_get_error_pos(&b->parser) - b->input);
    if (error != HPE_PAUSED)
        return error;
    llhttp_resume(&b->parser);
    return HPE_OK;
}

/* ---- the head ---- */

/* Looks at the bytes of the head that llhttp has seen by now. 0 or 400. */
static int scan_head(struct buffers *b)
{
    const char *p = b->input + b->scanned, *end = b->input + b->parsed, *start = b->input + b->start;
    for (; p < end; p++) {
        unsigned char ch = (unsigned char)*p;
        if (ch > ' ' && ch != 0x7f)
            continue;
        if (ch == ' ' || ch == '\t') {
            if (p > start && p[-1] == '\n')
                return 400; /* a folded line */
        } else if (ch == '\n') {
            if (p == start || p[-1] != '\r')
                return 400;
        } else if (ch == '\r') {
            if (p + 1 == end && !b->request.has_head)
                break; /* to be looked at again when its LF is there */
            if (p + 1 == end || p[1] != '\n')
                return 400;
        } else {
            return 400;
        }
    }
    b->scanned = (size_t)(p - b->input);
    return 0;
}

/* The status for a request that llhttp does not take. */
static int status_of(const struct buffers *b, llhttp_errno_t error)
{
    switch (error) {
    case HPE_INVALID_VERSION:
    case HPE_PAUSED_H2_UPGRADE:
        return 505;
    case HPE_INVALID_METHOD: { /* somebody else's, or none: by the byte where llhttp knew */
        char at = b->input[b->parsed];
        return (at >= 'A' && at <= 'Z') || (at == ' ' && b->parsed > b->start) ? 501 : 400;
    }
    default:
        return 400;
    }
}

bool span_is_host(struct span span)
{
    static const bool fine[256] = {
        ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true, ['.'] = true, ['_'] = true,
        ['~'] = true,         ['%'] = true,         ['!'] = true,         ['$'] = true, ['&'] = true, ['\''] = true,
        ['('] = true,         [')'] = true,         ['*'] = true,         ['+'] = true, [','] = true, [';'] = true,
        ['='] = true,         [':'] = true,         ['['] = true,         [']'] = true,
    };
    for (size_t i = 0; i < span.length; i++)
        if (!fine[(unsigned char)span.at[i]])
            return false;
    return true;
}

/* The complete head. 0, or the status that refuses it. */
static int check_head(struct connection *c)
{
    struct buffers *b = c->b;
    struct request *r = &b->request;
    const llhttp_t *p = &b->parser;
    struct span target = request_target(c);
    if (target.at[-2] == ' ' || strncmp(target.at + target.length, " HTTP/", 6) != 0)
        return 400;
    if (p->http_major != 1 || p->http_minor > 1)
        return 505;
    if (p->http_minor == 1 ? !request_has(c, HOST) : request_has(c, TRANSFER_ENCODING))
        return 400;
    if (!span_is_host(request_field(c, HOST)))
        return 400;
    if (request_has(c, TRANSFER_ENCODING)) {
        if (request_has(c, CONTENT_LENGTH))
            return 400;
        if (!span_is(request_field(c, TRANSFER_ENCODING), "chunked"))
            return 501;
    }
    if (!r->complete && p->content_length > (uint64_t)c->server->options.max_body)
        return 413;
    if (request_has(c, EXPECT)) {
        if (!span_is(request_field(c, EXPECT), "100-continue"))
            return 417;
        r->continue_asked = !r->complete && p->http_minor == 1;
    }
    return 0;
}

static void begin(struct connection *c)
{
    struct buffers *b = c->b;
    memset(&b->request, 0, sizeof b->request);
    b->parsed = b->scanned = b->start;
    llhttp_init(&b->parser, HTTP_REQUEST, &settings);
    b->parser.data = c;
}

/* Reads more of a head that is not complete. 0 or as request_receive. */
static int receive_more(struct connection *c)
{
    struct buffers *b = c->b;
    struct request *r = &b->request;
    if (b->parsed < b->end) /* more than max_header, and no end */
        return r->target.length > 0 && b->start + r->target.at + r->target.length == b->parsed ? 414 : 431;
    if (r->until_ns == 0)
        r->until_ns = c->now_ns + c->server->options.header_ns;
    ssize_t n = connection_fill(c, r->until_ns);
    if (n == -ETIMEDOUT)
        return 408;
    return n > 0 ? 0 : -1;
}

int request_receive(struct connection *c)
{
    struct buffers *b = c->b;
    struct request *r = &b->request;
    begin(c);
    for (;;) {
        size_t most = b->start + (size_t)c->server->options.max_header;
        llhttp_errno_t error = parse(b, b->end < most ? b->end : most);
        int status = scan_head(b);
        if (status == 0)
            status = r->refused;
        if (status == 0 && error != HPE_OK)
            status = status_of(b, error);
        if (status != 0) {
            r->has_head = false; /* what llhttp made of it does not count */
            return status;
        }
        if (r->has_head)
            break;
        status = receive_more(c);
        if (status != 0)
            return status;
    }
    int status = check_head(c);
    if (status != 0)
        return status;
    r->until_ns = 0;
    if (!r->complete)
        connection_move_down(b); /* so that there is room for the body */
    r->data = b->parsed;
    return 0;
}

void request_end(struct connection *c)
{
    c->b->start = c->b->parsed;
}

/* ---- the body ---- */

/* Parses what is there of the body. 0, or a status. */
static int parse_body(struct connection *c)
{
    struct buffers *b = c->b;
    struct request *r = &b->request;
    size_t from = b->parsed;
    char last = b->input[b->end - 1];
    llhttp_errno_t error = parse(b, b->end);
    if (error != HPE_OK)
        return r->refused != 0 ? r->refused : 400;
    r->raw += (int64_t)(b->parsed - from);
    if (r->raw - r->decoded > 16384 + 8 * r->decoded)
        return 400; /* next to no data, but sizes, extensions and trailers */
    if (r->complete && (b->parser.flags & F_CHUNKED) &&
        (b->parsed - from >= 2 ? b->input[b->parsed - 2] : r->last_raw) != '\r')
        return 400; /* a bare LF at the end */
    r->last_raw = last;
    return 0;
}

static int receive_body(struct connection *c)
{
    struct buffers *b = c->b;
    struct request *r = &b->request;
    if (r->until_ns == 0)
        r->until_ns = c->now_ns + c->server->options.body_ns;
    if (b->parsed == b->end)
        b->parsed = b->end = r->data;
    ssize_t n = connection_fill(c, r->until_ns);
    if (n == -ETIMEDOUT)
        return 408;
    return n > 0 ? 0 : -1;
}

ssize_t request_body(struct connection *c, const char **data)
{
    struct buffers *b = c->b;
    struct request *r = &b->request;
    r->data_length = 0; /* that piece is used up */
    if (r->continue_asked)
        response_continue(c);
    r->continue_asked = false;
    while (!r->complete) {
        int status = r->refused != 0 ? r->refused : b->parsed < b->end ? parse_body(c) : receive_body(c);
        if (status != 0) {
            r->refused = status;
            c->closing = true;
            return -EPROTO;
        }
        if (r->data_length > 0) {
            *data = b->input + r->data;
            return (ssize_t)r->data_length;
        }
    }
    return 0;
}
