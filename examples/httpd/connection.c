/* One connection, one goroutine: it reads, answers, writes.

   Batches: what is to be written waits in the output until the input has no further complete request (connection_fill
   writes before it reads), until the output is full, or a file has to follow. So a request costs one read and one
   write, and any number of requests that came together cost no more.

   Connections have buffers only while they have a request: between two, they wait with a little room on the stack. So
   an idle one is a goroutine with its one touched page, and a thousand busy ones share the few buffers that are in the
   processor's cache.

   Deadlines against slow clients: the head of a request has to be there header_ns after its first byte, however it
   trickles in; its body body_ns after that; a full output, or a piece of a file, makes its way within write_ns; and
   between requests a client may wait for idle_ns. */
#include "httpd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const int64_t LINGER = 2 * WEFT_SECOND;
static const int64_t FILE_PIECE = 262144; /* of a file, has to be taken within write_ns */

/* ---- buffers ---- */

static struct pool *pool_of(struct connection *c)
{
    return &c->server->pools[c->fd % POOLS];
}

static bool take_buffers(struct connection *c)
{
    struct pool *pool = pool_of(c);
    weft_lock(&pool->mutex);
    c->b = pool->first;
    if (c->b != NULL) {
        pool->first = c->b->next;
        pool->count--;
    }
    weft_unlock(&pool->mutex);
    if (c->b == NULL) {
        if ((c->b = malloc(sizeof *c->b)) == NULL)
            return false;
        c->b->date_second = -1;
    }
    c->b->start = c->b->end = c->b->filled = 0;
    return true;
}

static void give_buffers(struct connection *c)
{
    enum { KEPT = 16 };
    struct pool *pool = pool_of(c);
    struct buffers *b = c->b;
    c->b = NULL;
    weft_lock(&pool->mutex);
    if (pool->count < KEPT) {
        b->next = pool->first;
        pool->first = b;
        pool->count++;
        b = NULL;
    }
    weft_unlock(&pool->mutex);
    free(b);
}

/* ---- writing ---- */

static void set_write_deadline(struct connection *c, bool on)
{
    c->now_ns = weft_now();
    weft_fd_set_deadline(c->fd, POLLOUT, on ? c->now_ns + c->server->options.write_ns : INT64_MAX);
}

/* Most answers fit into what the kernel takes at once; there is a deadline only for those that have to wait. */
static void write_output(struct connection *c, int flags)
{
    struct buffers *b = c->b;
    bool waits = false;
    for (size_t done = 0; done < b->filled && !c->broken;) {
        ssize_t n = weft_sendto(c->fd, b->output + done, b->filled - done, flags | (waits ? 0 : MSG_DONTWAIT), NULL, 0);
        if (n == -EAGAIN)
            set_write_deadline(c, waits = true);
        else if (n < 0)
            c->broken = true;
        else
            done += (size_t)n;
    }
    if (waits)
        set_write_deadline(c, false);
    b->filled = 0;
}

void connection_flush(struct connection *c)
{
    write_output(c, 0);
}

char *connection_room(struct connection *c, size_t n)
{
    if (OUTPUT - c->b->filled < n)
        connection_flush(c);
    return c->b->output + c->b->filled;
}

void connection_send_file(struct connection *c, int file, int64_t offset, int64_t length)
{
    if (length == 0)
        return;
    write_output(c, MSG_MORE); /* the head, with which the first bytes shall share a packet */
    if (offset > 0 && lseek(file, offset, SEEK_SET) < 0)
        c->broken = true;
    while (length > 0 && !c->broken) {
        set_write_deadline(c, true);
        int64_t n = weft_copy_n(c->fd, file, length < FILE_PIECE ? length : FILE_PIECE);
        if (n <= 0) /* it cannot be sent, or has become shorter than was promised */
            c->broken = true;
        else
            c->b->request.sent += n;
        length -= n;
    }
    set_write_deadline(c, false);
}

/* ---- reading ---- */

void connection_move_down(struct buffers *b)
{
    if (b->start == 0)
        return;
    memmove(b->input, b->input + b->start, b->end - b->start);
    b->parsed -= b->start;
    b->scanned -= b->start;
    b->end -= b->start;
    b->start = 0;
}

/* Deadlines that move with every request are set later than needed, so that they need not be set every time. */
static void set_read_deadline(struct connection *c, int64_t deadline_ns, int64_t slack_ns)
{
    if (c->read_by_ns >= deadline_ns && c->read_by_ns - deadline_ns <= slack_ns)
        return;
    c->read_by_ns = deadline_ns + slack_ns;
    weft_fd_set_deadline(c->fd, POLLIN, c->read_by_ns);
}

ssize_t connection_fill(struct connection *c, int64_t deadline_ns)
{
    struct buffers *b = c->b;
    connection_flush(c);
    if (c->broken)
        return -EPIPE;
    connection_move_down(b);
    set_read_deadline(c, deadline_ns, 0);
    ssize_t n = weft_read(c->fd, b->input + b->end, INPUT - b->end);
    c->now_ns = weft_now();
    if (n > 0)
        b->end += (size_t)n;
    return n;
}

/* Waits for the first bytes of the next request, without buffers. */
static bool await_request(struct connection *c)
{
    int64_t idle_ns = c->server->options.idle_ns;
    if (c->b != NULL) {
        connection_flush(c);
        give_buffers(c);
    }
    if (c->broken || atomic_load_explicit(&c->server->stopping, memory_order_relaxed))
        return false;
    set_read_deadline(c, c->now_ns + idle_ns, idle_ns / 2);
    atomic_store_explicit(&c->busy, false, memory_order_relaxed);
    ssize_t n = weft_read(c->fd, c->first, sizeof c->first);
    if (n <= 0 || !take_buffers(c))
        return false;
    atomic_store_explicit(&c->busy, true, memory_order_relaxed);
    c->now_ns = weft_now();
    memcpy(c->b->input, c->first, (size_t)n);
    c->b->end = (size_t)n;
    return true;
}

/* ---- requests ---- */

static void log_request(struct connection *c)
{
    char peer[WEFT_ADDRESS], *line = c->b->path; /* the path is no longer needed, and stacks are to stay small */
    const struct request *r = &c->b->request;
    if (!c->server->options.log)
        return;
    if (weft_peer_address(c->fd, peer, sizeof peer) < 0)
        strcpy(peer, "-");
    struct span target = request_target(c);
    int n =
        snprintf(line, PATH, "%s \"%s %.*s\" %d %lld\n", peer, r->has_head ? llhttp_method_name(c->b->parser.method) : "-",
                 (int)(target.length < PATH / 2 ? target.length : PATH / 2), target.at, r->status, (long long)r->sent);
    weft_write_all(STDOUT_FILENO, line, (size_t)n);
}

static void answer(struct connection *c)
{
    struct buffers *b = c->b;
    struct target target;
    if (b->parser.method == HTTP_OPTIONS) {
        response_begin(c, 204, NULL, NO_BODY);
        response_field(c, "Allow", "GET, HEAD, OPTIONS");
        response_end_head(c);
        return;
    }
    int status = path_parse(request_target(c), b->path, &target);
    if (status != 0)
        response_status(c, status);
    else if (strncmp(b->path, "api/", 4) == 0)
        api_answer(c, b->path + 4, target.query);
    else
        files_answer(c, b->path, &target);
}

/* Reads what is left of the body, so that the next request can be found behind it. */
static void finish_body(struct connection *c)
{
    const char *data;
    while (!c->closing && request_body(c, &data) > 0)
        continue;
}

/* One request and its answer. False: there is none. */
static bool serve_request(struct connection *c)
{
    int refused = request_receive(c);
    if (refused < 0)
        return false;
    uint64_t served = atomic_load_explicit(&c->served, memory_order_relaxed) + 1;
    atomic_store_explicit(&c->served, served, memory_order_relaxed);
    if (served >= (uint64_t)c->server->options.max_requests)
        c->closing = true;
    if (refused > 0) {
        c->closing = true;
        response_status(c, refused);
    } else {
        answer(c);
        finish_body(c);
    }
    log_request(c);
    request_end(c);
    return true;
}

/* When httpd closes first: what the client still sends would be answered with a reset, and that could reach it before
   it has read the last answer. So no more is sent, and its side is read until it closes, too. */
static void linger(struct connection *c)
{
    int64_t deadline_ns = weft_now() + LINGER;
    weft_shutdown_fd(c->fd, SHUT_WR);
    weft_fd_set_deadline(c->fd, POLLIN, deadline_ns);
    while (weft_now() < deadline_ns && weft_read(c->fd, c->b->input, INPUT) > 0)
        continue;
}

void connection_serve(struct server *server, int fd)
{
    struct connection c = {.server = server, .fd = fd, .now_ns = weft_now()};
    server_enter(&c);
    do {
        if ((c.b == NULL || c.b->start == c.b->end) && !await_request(&c))
            break;
    } while (serve_request(&c) && !c.closing && !c.broken);
    if (c.b != NULL) {
        connection_flush(&c);
        if (c.closing && !c.broken)
            linger(&c);
        give_buffers(&c);
    }
    server_leave(&c);
    weft_close_fd(fd);
}
