/* resolve.c — weft_resolve: getaddrinfo, away from the workers.

   getaddrinfo and not a resolver of our own or an asynchronous library: what a name means is the system's decision, by
   nsswitch.conf, /etc/hosts, mDNS, LDAP, containers, systemd's resolver, gai.conf; a resolver that only speaks DNS
   answers differently from every other program on the machine, and a dependency for that is a bad bargain. glibc's own
   getaddrinfo_a is the same call on threads of its own, and it knows no time limit either. What the call costs is a
   thread while it lasts, so the number of them is limited; what it lacks, an end by the caller's context, is here:

     caller                                    goroutine
       a place under the limit
       starts it, waits for `done`               getaddrinfo, by weft_blocking
         it came: takes the result               stores the result, gives the place back, releases `done`
         its context ended: leaves it            drops its reference
       drops its reference

   Both have a reference to the record; whoever drops the last one frees it and a result that nobody took. The place
   belongs to the goroutine: however many callers give up, no more than LIMIT calls are under way.

   Numbers need no looking up and no thread: getaddrinfo is called at once then. */
#define _GNU_SOURCE 1 /* EAI_NODATA, EAI_ADDRFAMILY */
#include "io/resolve.h"

#include "base/atomic.h"
#include "base/perturb.h"
#include "weft/ctx.h"
#include "weft/file.h"
#include "weft/net.h"
#include "weft/sync.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 64
#define STACK (1U << 20) /* what nsswitch.conf names may be anybody's code */

struct query {
    _Atomic int references;
    struct addrinfo hints; /* [const] */
    const char *service;   /* [const] in text, or NULL */
    const char *host;      /* [const] likewise */
    int error;             /* [goroutine until done, then the caller] */
    struct addrinfo *list; /* [likewise] the result, until somebody takes it */
    weft_sem done;         /* a unit when error and list are there */
    char text[];           /* [const] */
};

static weft_sem places = WEFT_SEM(LIMIT);

void wi_resolve_forget(void)
{
    places = (weft_sem)WEFT_SEM(LIMIT);
}

/* ---- getaddrinfo ---- */

/* error: what getaddrinfo gave; system_error: errno. */
static int error_of(int error, int system_error)
{
    switch (error) {
    case 0:
        return 0;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_FAIL:
        return -EIO;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_BADFLAGS:
    case EAI_FAMILY:
    case EAI_SOCKTYPE:
        return -EINVAL;
    case EAI_SYSTEM:
        return system_error == EINTR ? -EAGAIN : system_error ? -system_error : -EIO;
    default: /* EAI_NONAME, EAI_SERVICE, EAI_NODATA, EAI_ADDRFAMILY */
        return -ENOENT;
    }
}

static int look_up(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    errno = 0;
    int error = getaddrinfo(host, service, hints, list);
    return error_of(error, errno);
}

static bool is_number(const char *service)
{
    return service[strspn(service, "0123456789")] == '\0';
}

/* Where nothing has to be looked up: true, with the result. */
static bool look_at(const char *host, const char *service, const struct addrinfo *hints, int *error, struct addrinfo **list)
{
    if (service && !is_number(service))
        return false;
    struct addrinfo numeric = *hints;
    numeric.ai_flags |= AI_NUMERICHOST | (service ? AI_NUMERICSERV : 0);
    errno = 0;
    int status = getaddrinfo(host, service, &numeric, list);
    *error = error_of(status, errno);
    return status != EAI_NONAME || !host || (hints->ai_flags & AI_NUMERICHOST);
}

/* ---- a query ---- */

static struct query *make(const char *host, const char *service, const struct addrinfo *hints)
{
    size_t host_size = host ? strlen(host) + 1 : 0, service_size = service ? strlen(service) + 1 : 0;
    struct query *q = malloc(sizeof *q + host_size + service_size);
    if (!q)
        return NULL;
    *q = (struct query){.references = 2, .hints = *hints, .done = WEFT_SEM(1)};
    weft_sem_try_acquire(&q->done, 1);
    if (host)
        q->host = memcpy(q->text, host, host_size);
    if (service)
        q->service = memcpy(q->text + host_size, service, service_size);
    return q;
}

static void drop(struct query *q)
{
    wi_perturb();
    if (wi_sub_acq_rel(&q->references, 1) > 1) /* what either did comes before the free */
        return;
    if (q->list)
        freeaddrinfo(q->list);
    free(q);
}

/* The goroutine. (The prefix keeps it out of the stacks that reports show.) */
static void wi_look_up(struct query *q)
{
    q->error = weft_blocking(look_up, q->host, q->service, &q->hints, &q->list);
    weft_sem_release(&places, 1);
    weft_sem_release(&q->done, 1);
    drop(q);
}

static int start(struct query *q)
{
    static const weft_site site = {__FILE__, "wi_look_up", __LINE__, 1};
    const uintptr_t words[6] = {(uintptr_t)q};
    return weft_try_spawn_(WEFT_OPTIONS(.stack_size = STACK, .ctx = weft_ctx_background()), &site, (weft_fn_)wi_look_up,
                           words);
}

int weft_resolve(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    struct addrinfo asked = {.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG}; /* as without hints */
    int error;
    *result = NULL;
    if (!host && !service)
        return -EINVAL;
    if (hints)
        asked = (struct addrinfo){.ai_flags = hints->ai_flags,
                                  .ai_family = hints->ai_family,
                                  .ai_socktype = hints->ai_socktype,
                                  .ai_protocol = hints->ai_protocol};
    if (look_at(host, service, &asked, &error, result))
        return error;
    struct query *q = make(host, service, &asked);
    if (!q)
        return -ENOMEM;
    error = weft_sem_acquire(&places, 1);
    if (!error && (error = start(q)) != 0)
        weft_sem_release(&places, 1);
    if (error) {
        free(q);
        return error;
    }
    error = weft_sem_acquire(&q->done, 1);
    if (!error) {
        error = q->error;
        *result = q->list;
        q->list = NULL;
    }
    drop(q);
    return error;
}
