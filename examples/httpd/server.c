/* Accepting, knowing, ending connections.

   The places are a semaphore: when all are taken nobody accepts, and who comes waits in the kernel's queue. That and
   the deadlines of connection.c bound what clients can make httpd hold.

   Stopping takes two steps. First `stopping` is set, and connections that are between requests have their receiving
   side shut down, which to them looks as if the client had closed; the others answer their request with "Connection:
   close". A connection may change between the two kinds unseen, so those that are left are looked at again every now
   and then. Then, when the time is up, the context of all connections is cancelled, which ends every wait they are in.
   */
#define _GNU_SOURCE 1 /* O_PATH */
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

const struct options default_options = {
    .listen = "127.0.0.1:8080",
    .symlinks = true,
    .header_ns = 10 * WEFT_SECOND,
    .body_ns = 30 * WEFT_SECOND,
    .idle_ns = 60 * WEFT_SECOND,
    .write_ns = 30 * WEFT_SECOND,
    .stop_ns = 10 * WEFT_SECOND,
    .max_header = INPUT / 2,
    .max_body = 1 << 20,
    .max_requests = 100000,
    .max_connections = 20000,
};

int server_start(struct server *server, const struct options *options)
{
    *server = (struct server){
        .options = *options,
        .root = -1,
        .places = WEFT_SEM(options->max_connections),
        .started_ns = weft_now(),
    };
    if (options->root != NULL) {
        server->root = open(options->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (server->root < 0)
            return -weft_errno();
    }
    server->ctx = weft_ctx_with_cancel(weft_ctx_background());
    if (server->ctx == NULL) {
        server_free(server);
        return -ENOMEM;
    }
    return 0;
}

void server_free(struct server *server)
{
    for (int i = 0; i < POOLS; i++)
        for (struct buffers *b; (b = server->pools[i].first) != NULL;) {
            server->pools[i].first = b->next;
            free(b);
        }
    weft_ctx_free(server->ctx);
    if (server->root >= 0)
        close(server->root);
}

/* ---- who is there ---- */

void server_enter(struct connection *c)
{
    struct server *server = c->server;
    weft_scoped_lock(&server->mutex);
    c->next = server->first;
    c->link = &server->first;
    if (c->next != NULL)
        c->next->link = &c->next;
    server->first = c;
    server->open++;
    server->accepted++;
}

void server_leave(struct connection *c)
{
    struct server *server = c->server;
    weft_scoped_lock(&server->mutex);
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    server->open--;
    server->served += atomic_load_explicit(&c->served, memory_order_relaxed);
    weft_cond_signal(&server->left);
}

struct counts server_counts(struct server *server)
{
    weft_scoped_lock(&server->mutex);
    struct counts counts = {server->open, server->accepted, server->served};
    for (const struct connection *c = server->first; c != NULL; c = c->next)
        counts.served += atomic_load_explicit(&c->served, memory_order_relaxed);
    return counts;
}

/* ---- accepting ---- */

static void serve(struct server *server, int fd)
{
    connection_serve(server, fd);
    weft_sem_release(&server->places, 1);
    weft_wg_done(&server->running);
}

/* Connections run in the server's context, not in that of the accepting goroutine, which ends earlier. */
static int start(struct server *server, int fd)
{
    weft_scoped_use(server->ctx);
    weft_wg_add(&server->running, 1);
    int error = weft_try_go(serve, server, fd);
    if (error != 0) {
        weft_wg_done(&server->running);
        weft_close_fd(fd);
    }
    return error;
}

/* Errors that pass: descriptors or memory may be free again soon. */
static bool passes(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS || error == -EAGAIN;
}

int server_accept(struct server *server, int listener)
{
    int error;
    while ((error = weft_sem_acquire(&server->places, 1)) == 0) {
        int fd = weft_accept(listener);
        error = fd >= 0 ? start(server, fd) : fd;
        if (error == 0)
            continue;
        weft_sem_release(&server->places, 1);
        if (!passes(error))
            break;
        weft_sleep(10 * WEFT_MS);
    }
    return error;
}

/* ---- stopping ---- */

static void end_idle(struct server *server)
{
    for (struct connection *c = server->first; c != NULL; c = c->next)
        if (!atomic_load_explicit(&c->busy, memory_order_relaxed))
            weft_shutdown_fd(c->fd, SHUT_RD);
}

uint64_t server_stop(struct server *server)
{
    int64_t until_ns = weft_now() + server->options.stop_ns;
    atomic_store_explicit(&server->stopping, true, memory_order_relaxed);
    uint64_t left;
    {
        weft_scoped_lock(&server->mutex);
        for (int64_t now_ns; server->open > 0 && (now_ns = weft_now()) < until_ns;) {
            int64_t wait_ns = until_ns - now_ns;
            end_idle(server);
            weft_cond_wait_timeout(&server->left, &server->mutex, wait_ns < 50 * WEFT_MS ? wait_ns : 50 * WEFT_MS);
        }
        left = server->open;
    }
    weft_ctx_cancel(server->ctx);
    weft_wg_wait(&server->running);
    return left;
}
