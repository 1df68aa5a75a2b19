/* workload.h — what tests do to a scheduler besides calling it: block a thread in the kernel, burn CPU, call it on threads
   of their own, unmap its objects, count threads and descriptors. Include it first: it asks libc for its extensions. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

static inline int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Blocks the thread itself, the way somebody else's library would: weft hears nothing of it. */
static inline void nap_ns(int64_t ns)
{
    struct timespec left = {ns / 1000000000, ns % 1000000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

static inline void nap_ms(int64_t ms)
{
    nap_ns(ms * 1000000);
}

/* Computes for some time without a system call and without weft. */
static inline void burn_ns(int64_t ns)
{
    int64_t end_ns = clock_ns() + ns;
    while (clock_ns() < end_ns) {
    }
}

/* Memory of this process that is in use. */
static inline long resident_kib(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;
    CHECK(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

/* The kernel's id of the thread; a system call each time, so that no compiler keeps it across a move. */
static inline pid_t thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* For durations that a soak shortens: n after scaling, but no less than least. */
static inline int at_least(int least, int n)
{
    return n < least ? least : n;
}

/* How many names a directory has, without the dots; -1 when it cannot be read. For "/proc/self/task" and "/proc/self/fd"
   (where the descriptor of the reading itself counts every time). */
static inline int count_names(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return -1;
    int n = 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

static inline int count_threads(void)
{
    return count_names("/proc/self/task");
}

/* A page of its own for an object, so that a touch after it was given back is a fault and not luck. */
static inline void *page_take(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    return page;
}

static inline void page_give(void *page)
{
    CHECK_EQ(munmap(page, 4096), 0);
}

struct thread_job_ {
    void (*fn)(void *);
    void *argument;
};

static inline void *run_job_(void *argument)
{
    struct thread_job_ *job = argument;
    job->fn(job->argument);
    free(job);
    return NULL;
}

/* fn(argument) on a foreign thread. */
static inline pthread_t start_thread(void (*fn)(void *), void *argument)
{
    struct thread_job_ *job = malloc(sizeof *job);
    CHECK(job);
    *job = (struct thread_job_){fn, argument};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, run_job_, job), 0);
    return thread;
}

/* Waits on the calling thread until the condition holds; false after limit_ms. For the main thread of a test only. */
#define HOLDS_WITHIN(limit_ms, condition)                                                                                   \
    __extension__({                                                                                                         \
        int64_t end_ns_ = clock_ns() + (int64_t)(limit_ms)*1000000;                                                         \
        bool holds_;                                                                                                        \
        while (!(holds_ = (condition)) && clock_ns() < end_ns_)                                                             \
            nap_ms(1);                                                                                                      \
        holds_ || (condition);                                                                                              \
    })

#endif
