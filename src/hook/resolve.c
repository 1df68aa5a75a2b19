/* resolve.c — getaddrinfo and the older calls for names. libc's resolver waits inside of libc, where nobody can come
   between; so the call is made on a thread of its own, at most LIMIT of them at the same time. What it says in errno and
   h_errno comes back with it.

   A context that ends ends getaddrinfo: the thread then goes on alone, with copies of the arguments, and frees the result.
   The others write to the caller's memory and are waited for. Numbers need no looking up and no thread. */
#define _GNU_SOURCE 1
#include "hook/hook.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

const char hook_resolve_file;

#define LIMIT 64

static weft_sem places = WEFT_SEM(LIMIT); /* for threads that look something up */

static void forget(void)
{
    places = (weft_sem)WEFT_SEM(LIMIT);
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget);
}

/* ---- getaddrinfo ---- */

struct job {
    _Atomic int references; /* the caller's and the thread's */
    weft_chan(char) done;   /* closed when the results are there */
    bool has_hints;
    struct addrinfo hints;
    char *host, *service; /* copies, in `text`, or NULL */
    int result, error;
    struct addrinfo *list;
    char text[];
};

static void job_release(struct job *job)
{
    if (atomic_fetch_sub_explicit(&job->references, 1, memory_order_acq_rel) != 1) /* the last one sees what the other did */
        return;
    if (job->list)
        freeaddrinfo(job->list);
    weft_chan_free(job->done);
    free(job);
}

static struct job *job_make(const char *host, const char *service, const struct addrinfo *hints)
{
    size_t host_size = host ? strlen(host) + 1 : 0, service_size = service ? strlen(service) + 1 : 0;
    struct job *job = calloc(1, sizeof *job + host_size + service_size);
    if (!job || !(job->done = weft_chan_make(char, 0))) {
        free(job);
        return NULL;
    }
    atomic_init(&job->references, 1);
    if (hints) {
        job->has_hints = true;
        job->hints = *hints;
    }
    if (host)
        job->host = memcpy(job->text, host, host_size);
    if (service)
        job->service = memcpy(job->text + host_size, service, service_size);
    return job;
}

static void *run_job(void *argument)
{
    struct job *job = argument;
    errno = job->error;
    job->result = hook_next()->getaddrinfo(job->host, job->service, job->has_hints ? &job->hints : NULL, &job->list);
    job->error = errno;
    if (job->result != 0)
        job->list = NULL;
    weft_sem_release(&places, 1);
    weft_close(job->done);
    job_release(job);
    return NULL;
}

/* Whether getaddrinfo would answer without looking anything up; then it has. */
static bool is_numeric(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list,
                       int *result)
{
    struct addrinfo numeric = {.ai_flags = hints ? hints->ai_flags : AI_V4MAPPED | AI_ADDRCONFIG};
    if (hints) {
        numeric.ai_family = hints->ai_family;
        numeric.ai_socktype = hints->ai_socktype;
        numeric.ai_protocol = hints->ai_protocol;
    }
    if (service && !(numeric.ai_flags & AI_NUMERICSERV) && service[strspn(service, "0123456789")] != '\0')
        return false;
    numeric.ai_flags |= AI_NUMERICHOST;
    *result = hook_next()->getaddrinfo(host, service, &numeric, list);
    return *result != EAI_NONAME || !host || (hints && (hints->ai_flags & AI_NUMERICHOST));
}

/* Between hook_begin and hook_end. Its result; *error: errno. */
static int look_up(struct job *job, struct addrinfo **list, int *error)
{
    int status = weft_sem_acquire(&places, 1);
    if (status == 0) {
        job->error = *error;
        atomic_store_explicit(&job->references, 2, memory_order_relaxed);
        if (hook_thread(run_job, job) != 0)
            run_job(job);
        status = weft_recv_status(job->done, NULL);
    }
    if (status != -EPIPE) { /* not closed, which would be done */
        *error = -status;
        return EAI_SYSTEM;
    }
    *error = job->error;
    if (job->result == 0) {
        *list = job->list;
        job->list = NULL;
    }
    return job->result;
}

HOOK int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    int result, before = errno;
    if (!weft_hooked_())
        return hook_next()->getaddrinfo(host, service, hints, list);
    if (is_numeric(host, service, hints, list, &result))
        return result;
    errno = before;
    struct hook_call call = hook_begin();
    struct job *job = job_make(host, service, hints);
    int error = call.error;
    result = job ? look_up(job, list, &error) : EAI_MEMORY;
    if (job)
        job_release(job);
    hook_end(&call, 0);
    errno = error;
    return result;
}

/* ---- the others ---- */

struct elsewhere {
    void (*make)(struct elsewhere *it);
    const void *name;
    socklen_t length;
    int family;
    struct hostent *host, **found;
    char *buffer, *service;
    size_t size;
    socklen_t service_size;
    int *error;
    int flags;
    int result, h_error;
    struct hostent *answer;
};

static void make_elsewhere(void *argument)
{
    struct elsewhere *it = argument;
    h_errno = it->h_error;
    it->make(it);
    it->h_error = h_errno;
}

static void run(struct elsewhere *it)
{
    struct hook_call call = hook_begin();
    {
        weft_scoped_shield();
        weft_sem_acquire(&places, 1);
    }
    hook_end(&call, 0);
    it->h_error = h_errno;
    hook_elsewhere(make_elsewhere, it);
    h_errno = it->h_error;
    weft_sem_release(&places, 1);
}

static void make_getnameinfo(struct elsewhere *it)
{
    it->result = hook_next()->getnameinfo(it->name, it->length, it->buffer, (socklen_t)it->size, it->service,
                                          it->service_size, it->flags);
}

HOOK int getnameinfo(const struct sockaddr *address, socklen_t length, char *host, socklen_t host_size, char *service,
                     socklen_t service_size, int flags)
{
    if (!weft_hooked_())
        return hook_next()->getnameinfo(address, length, host, host_size, service, service_size, flags);
    struct elsewhere it = {.make = make_getnameinfo,
                           .name = address,
                           .length = length,
                           .buffer = host,
                           .size = host_size,
                           .service = service,
                           .service_size = service_size,
                           .flags = flags};
    run(&it);
    return it.result;
}

static void make_gethostbyname(struct elsewhere *it)
{
    it->answer = it->family < 0 ? hook_next()->gethostbyname(it->name) : hook_next()->gethostbyname2(it->name, it->family);
}

HOOK struct hostent *gethostbyname(const char *name)
{
    if (!weft_hooked_())
        return hook_next()->gethostbyname(name);
    struct elsewhere it = {.make = make_gethostbyname, .name = name, .family = -1};
    run(&it);
    return it.answer;
}

HOOK struct hostent *gethostbyname2(const char *name, int family)
{
    if (!weft_hooked_() || family < 0)
        return hook_next()->gethostbyname2(name, family);
    struct elsewhere it = {.make = make_gethostbyname, .name = name, .family = family};
    run(&it);
    return it.answer;
}

static void make_gethostbyaddr(struct elsewhere *it)
{
    it->answer = hook_next()->gethostbyaddr(it->name, it->length, it->family);
}

HOOK struct hostent *gethostbyaddr(const void *address, socklen_t length, int family)
{
    if (!weft_hooked_())
        return hook_next()->gethostbyaddr(address, length, family);
    struct elsewhere it = {.make = make_gethostbyaddr, .name = address, .length = length, .family = family};
    run(&it);
    return it.answer;
}

static void make_gethostbyname_r(struct elsewhere *it)
{
    if (it->family < 0)
        it->result = hook_next()->gethostbyname_r(it->name, it->host, it->buffer, it->size, it->found, it->error);
    else
        it->result =
            hook_next()->gethostbyname2_r(it->name, it->family, it->host, it->buffer, it->size, it->found, it->error);
}

static int by_name_r(const char *name, int family, struct hostent *host, char *buffer, size_t size, struct hostent **found,
                     int *error)
{
    struct elsewhere it = {.make = make_gethostbyname_r,
                           .name = name,
                           .family = family,
                           .host = host,
                           .buffer = buffer,
                           .size = size,
                           .found = found,
                           .error = error};
    run(&it);
    return it.result;
}

HOOK int gethostbyname_r(const char *name, struct hostent *host, char *buffer, size_t size, struct hostent **found,
                         int *error)
{
    if (!weft_hooked_())
        return hook_next()->gethostbyname_r(name, host, buffer, size, found, error);
    return by_name_r(name, -1, host, buffer, size, found, error);
}

HOOK int gethostbyname2_r(const char *name, int family, struct hostent *host, char *buffer, size_t size,
                          struct hostent **found, int *error)
{
    if (!weft_hooked_() || family < 0)
        return hook_next()->gethostbyname2_r(name, family, host, buffer, size, found, error);
    return by_name_r(name, family, host, buffer, size, found, error);
}

static void make_gethostbyaddr_r(struct elsewhere *it)
{
    it->result =
        hook_next()->gethostbyaddr_r(it->name, it->length, it->family, it->host, it->buffer, it->size, it->found, it->error);
}

HOOK int gethostbyaddr_r(const void *address, socklen_t length, int family, struct hostent *host, char *buffer, size_t size,
                         struct hostent **found, int *error)
{
    if (!weft_hooked_())
        return hook_next()->gethostbyaddr_r(address, length, family, host, buffer, size, found, error);
    struct elsewhere it = {.make = make_gethostbyaddr_r,
                           .name = address,
                           .length = length,
                           .family = family,
                           .host = host,
                           .buffer = buffer,
                           .size = size,
                           .found = found,
                           .error = error};
    run(&it);
    return it.result;
}
