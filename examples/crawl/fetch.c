/* HTTP requests. Written as if there were only this one: dial, write, read until the answer is complete. llhttp takes the
   answer apart; the timeout is a context's, and no call here knows of it.

   A connection on which another answer may come is kept for the next request; there are never more than requests at a
   time. */
#define _GNU_SOURCE 1 /* asprintf */
#include "crawl.h"

#include <errno.h>
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 64 << 20, LOCATION_MAX = 8192 };

/* ---- kept connections ---- */

static struct {
    weft_mutex mutex;
    int *fds; /* [mutex] the last one used comes first */
    size_t n, room;
} kept;

static int take_kept(void)
{
    weft_scoped_lock(&kept.mutex);
    return kept.n > 0 ? kept.fds[--kept.n] : -1;
}

static void keep(int fd)
{
    weft_scoped_lock(&kept.mutex);
    if (kept.n == kept.room) {
        kept.room = kept.room > 0 ? 2 * kept.room : 16;
        kept.fds = or_die(realloc(kept.fds, kept.room * sizeof *kept.fds));
    }
    kept.fds[kept.n++] = fd;
}

void fetch_end(void)
{
    for (int fd; (fd = take_kept()) >= 0;)
        weft_close_fd(fd);
    free(kept.fds);
    kept.fds = NULL;
    kept.room = 0;
}

/* ---- an answer, piece by piece ---- */

struct answer {
    struct response *response;
    enum { OTHER, LOCATION, CONTENT_TYPE } header; /* whose value comes */
    char name[32];                                 /* of a header, as far as it may be of interest */
    size_t name_length;
    char type[64];
    char location[LOCATION_MAX];
    bool in_name, complete;
    bool again; /* there may be another answer on this connection */
};

static void append(char *text, size_t size, const char *more, size_t length)
{
    size_t have = strlen(text);
    if (have + length < size) {
        memcpy(text + have, more, length);
        text[have + length] = 0;
    }
}

static int on_name(llhttp_t *parser, const char *at, size_t length)
{
    struct answer *answer = parser->data;
    if (!answer->in_name)
        answer->name[0] = 0;
    answer->in_name = true;
    append(answer->name, sizeof answer->name, at, length);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t length)
{
    struct answer *answer = parser->data;
    answer->in_name = false;
    if (strcasecmp(answer->name, "location") == 0)
        append(answer->location, sizeof answer->location, at, length);
    else if (strcasecmp(answer->name, "content-type") == 0)
        append(answer->type, sizeof answer->type, at, length);
    return 0;
}

static int on_headers(llhttp_t *parser)
{
    struct answer *answer = parser->data;
    struct response *response = answer->response;
    response->status = (int)parser->status_code;
    if (answer->location[0] != 0)
        response->location = or_die(strdup(answer->location));
    response->html =
        strncasecmp(answer->type, "text/html", 9) == 0 || strncasecmp(answer->type, "application/xhtml+xml", 21) == 0;
    return 0;
}

/* Only HTML is looked at; the rest has to be read all the same, to come to the next answer. */
static int on_body(llhttp_t *parser, const char *at, size_t length)
{
    struct response *response = ((struct answer *)parser->data)->response;
    response->received += length;
    if (!response->html)
        return 0;
    if (response->size + length > BODY_MAX)
        return HPE_USER;
    if (response->size + length > response->room) {
        response->room = 2 * (response->size + length);
        response->body = or_die(realloc(response->body, response->room));
    }
    memcpy(response->body + response->size, at, length);
    response->size += length;
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    struct answer *answer = parser->data;
    answer->complete = true;
    answer->again = llhttp_should_keep_alive(parser) != 0;
    return HPE_PAUSED;
}

/* Reads the answer. *again: the connection can be used for another one; *silent: not a byte of it has come. */
static int read_answer(int fd, struct response *response, bool *again, bool *silent)
{
    static const llhttp_settings_t calls = {
        .on_header_field = on_name,
        .on_header_value = on_value,
        .on_headers_complete = on_headers,
        .on_body = on_body,
        .on_message_complete = on_complete,
    };
    struct answer answer = {.response = response};
    llhttp_t parser;
    llhttp_init(&parser, HTTP_RESPONSE, &calls);
    parser.data = &answer;
    char buffer[16384];
    while (!answer.complete) {
        ssize_t n = weft_read(fd, buffer, sizeof buffer);
        if (n < 0)
            return (int)n;
        if (n == 0 && *silent)
            return -ECONNRESET;
        *silent = false;
        llhttp_errno_t error = n > 0 ? llhttp_execute(&parser, buffer, (size_t)n) : llhttp_finish(&parser);
        if (error == HPE_USER)
            return -EFBIG;
        if (!answer.complete && (error != HPE_OK || n == 0))
            return -EPROTO;
    }
    *again = answer.again;
    return 0;
}

/* ---- requests ---- */

static int request(int fd, const struct site *site, const char *path, struct response *response, bool *again, bool *silent)
{
    char *text;
    int length =
        asprintf(&text, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: crawl\r\nAccept: */*\r\n\r\n", path, site->host);
    if (length < 0)
        return -ENOMEM;
    ssize_t n = weft_write_all(fd, text, (size_t)length);
    free(text);
    return n < 0 ? (int)n : read_answer(fd, response, again, silent);
}

int fetch(const struct site *site, const char *path, struct response *response)
{
    weft_ctx *ctx = or_die(weft_ctx_with_timeout(weft_ctx_current(), site->timeout_ns));
    weft_scoped_ctx(ctx);
    weft_scoped_use(ctx);
    for (;;) {
        int fd = take_kept();
        bool was_kept = fd >= 0, again = false, silent = true;
        if (!was_kept && (fd = weft_dial("tcp", site->address)) < 0)
            return fd;
        int error = request(fd, site, path, response, &again, &silent);
        if (error == 0 && again) {
            keep(fd);
            return 0;
        }
        weft_close_fd(fd);
        if (error == 0 || !was_kept || !silent || error == -ETIMEDOUT || error == -ECANCELED)
            return error;
        /* The server has closed the kept connection, as it may: another try. */
    }
}

void response_clear(struct response *response)
{
    free(response->location);
    free(response->body);
    *response = (struct response){0};
}
