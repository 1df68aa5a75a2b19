/* One connection, one goroutine: it reads, answers, writes.

   Batches: what is to be written waits in the output until the input has no further complete request (connection_fill
   writes before it reads), until the output is full, or a file has to follow. So a request costs one read and one
   write, and any number of requests that came together cost no more.

   Idle connections are cheap: after WARM without a request the buffers go back, and what is left of the connection is a
   goroutine with its one touched page of stack.

   Deadlines against slow clients: the head of a request has to be there header_ns after its first byte, however it
   trickles in; its body body_ns after that; a write, or a piece of a file, makes its way within write_ns; and between
   requests a client may wait for idle_ns. Deadlines that move with every request are set with slack, only when what is
   set is too near or too far. */
#include "httpd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static const int64_t WARM = 1 * WEFT_SECOND;
static const int64_t LINGER = 1 * WEFT_SECOND;
static const int64_t FILE_PIECE = 256 * 1024; /* of a file, has to be taken within write_ns */

/* ---- buffers ---- */

static bool take_buffers(struct connection *c)
{
    struct server *server = c->server;
    weft_lock(&server->mutex);
    c->b = server->free;
    if (c->b != NULL) {
        server->free = c->b->next;
        server->free_count--;
    }
    weft_unlock(&server->mutex);
    if (c->b == NULL && (c->b = malloc(sizeof *c->b)) == NULL)
        return false;
    c->b->start = c->b->parsed = c->b->scanned = c->b->end = c->b->filled = 0;
    c->b->date_second = -1;
    return true;
}

static void give_buffers(struct connection *c)
{
    enum { KEPT = 64 };
    struct server *server = c->server;
    struct buffers *b = c->b;
    c->b = NULL;
    weft_lock(&server->mutex);
    if (server->free_count < KEPT) {
        b->next = server->free;
        server->free = b;
        server->free_count++;
        b = NULL;
    }
    weft_unlock(&server->mutex);
    free(b);
}

/* ---- writing ---- */

static void set_deadline(int fd, int events, int64_t *set, int64_t deadline_ns, int64_t slack_ns)
{
    if (*set >= deadline_ns && *set - deadline_ns <= slack_ns)
        return;
    *set = deadline_ns + slack_ns;
    weft_fd_set_deadline(fd, events, *set);
}

static void write_within(struct connection *c)
{
    int64_t limit = c->server->options.write_ns;
    set_deadline(c->fd, POLLOUT, &c->write_by_ns, c->now_ns + limit, limit / 2);
}

void connection_flush(struct connection *c)
{
    struct buffers *b = c->b;
    if (b->filled > 0 && !c->broken) {
        write_within(c);
        c->broken = weft_write_all(c->fd, b->output, b->filled) < 0;
    }
    b->filled = 0;
}

char *connection_room(struct connection *c, size_t n)
{
    if (OUTPUT - c->b->filled < n) {
        connection_flush(c);
        c->now_ns = weft_now(); /* this may have taken its time */
    }
    return c->b->output + c->b->filled;
}

/* The head goes with MSG_MORE, so that the file's first bytes are in the same packet. */
static void flush_more(struct connection *c)
{
    struct buffers *b = c->b;
    write_within(c);
    for (size_t done = 0; done < b->filled && !c->broken;) {
        struct iovec rest = {b->output + done, b->filled - done};
        struct msghdr message = {.msg_iov = &rest, .msg_iovlen = 1};
        ssize_t n = weft_sendmsg(c->fd, &message, MSG_MORE | MSG_NOSIGNAL);
        c->broken = n < 0;
        done += n > 0 ? (size_t)n : 0;
    }
    b->filled = 0;
}

void connection_send_file(struct connection *c, int file, int64_t offset, int64_t length)
{
    if (length == 0)
        return;
    flush_more(c);
    if (offset > 0 && lseek(file, offset, SEEK_SET) < 0)
        c->broken = true;
    while (length > 0 && !c->broken) {
        c->now_ns = weft_now();
        write_within(c);
        int64_t n = weft_copy_n(c->fd, file, length < FILE_PIECE ? length : FILE_PIECE);
        if (n <= 0) /* it cannot be sent, or has become shorter than was promised */
            c->broken = true;
        else
            c->b->request.sent += n;
        length -= n;
    }
}

/* ---- reading ---- */

void connection_move_down(struct buffers *b)
{
    memmove(b->input, b->input + b->start, b->end - b->start);
    b->parsed -= b->start;
    b->scanned -= b->start;
    b->end -= b->start;
    b->start = 0;
}

ssize_t connection_fill(struct connection *c, int64_t deadline_ns, int64_t slack_ns)
{
    struct buffers *b = c->b;
    connection_flush(c);
    if (c->broken)
        return -EPIPE;
    if (b->start > 0)
        connection_move_down(b);
    set_deadline(c->fd, POLLIN, &c->read_by_ns, deadline_ns, slack_ns);
    ssize_t n = weft_read(c->fd, b->input + b->end, INPUT - b->end);
    c->now_ns = weft_now();
    if (n > 0)
        b->end += (size_t)n;
    return n;
}

/* Waits for the first bytes of the next request, without buffers if that takes long. */
static bool await_request(struct connection *c)
{
    struct buffers *b = c->b;
    b->start = b->parsed = b->scanned = b->end = 0;
    b->request.has_head = false;
    atomic_store_explicit(&c->busy, false, memory_order_relaxed);
    if (atomic_load_explicit(&c->server->stopping, memory_order_relaxed))
        return false;
    int64_t idle_ns = c->server->options.idle_ns, warm_ns = idle_ns < WARM ? idle_ns : WARM;
    int64_t until_ns = c->now_ns + idle_ns;
    ssize_t n = connection_fill(c, c->now_ns + warm_ns, warm_ns / 2);
    if (n == -ETIMEDOUT && c->now_ns < until_ns) {
        give_buffers(c);
        set_deadline(c->fd, POLLIN, &c->read_by_ns, until_ns, idle_ns / 2);
        if (weft_wait_fd(c->fd, POLLIN) < 0 || !take_buffers(c))
            return false;
        c->now_ns = weft_now();
        n = connection_fill(c, c->now_ns + WARM, WARM / 2);
    }
    atomic_store_explicit(&c->busy, true, memory_order_relaxed);
    return n > 0;
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
    for (size_t total = 0; total < 1 << 20 && weft_now() < deadline_ns;) {
        ssize_t n = weft_read(c->fd, c->b->input, INPUT);
        if (n <= 0)
            break;
        total += (size_t)n;
    }
}

void connection_serve(struct server *server, int fd)
{
    struct connection c = {.server = server, .fd = fd, .now_ns = weft_now()};
    server_enter(&c);
    if (take_buffers(&c)) {
        while (!c.closing && !c.broken) {
            if (c.b->start == c.b->end && !await_request(&c))
                break;
            if (!serve_request(&c))
                break;
        }
        if (c.b != NULL) {
            connection_flush(&c);
            if (c.closing && !c.broken)
                linger(&c);
            give_buffers(&c);
        }
    }
    server_leave(&c);
    weft_close_fd(fd);
}
