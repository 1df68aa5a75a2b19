/* harness.h — what the programs of the comparison in C and C++ share: program ROW THREADS [N], lines of JSON, and how
   often an operation is repeated. */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define HARNESS_UNUSED __attribute__((unused))

enum { CONTENDERS = 8, SIDES = 4, RING = 1000, PRIMES = 2000, MILLION = 1000000 };

struct row {
    const char *name;
    void (*measure)(const char *name);
};

static int threads = 1;
static long given_n; /* 0: as many as take a span */

/* ---- clocks ---- */

static HARNESS_UNUSED int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static HARNESS_UNUSED void block_ns(int64_t ns)
{
    struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    nanosleep(&t, NULL);
}

/* User and system time of the process. */
static HARNESS_UNUSED double cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

/* Resident memory and the page tables for it. */
static HARNESS_UNUSED double memory_bytes(void)
{
    char line[256];
    long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmRSS:", 6) == 0 || strncmp(line, "VmPTE:", 6) == 0)
            kilobytes += strtol(line + 6, NULL, 10);
    if (file)
        fclose(file);
    return (double)kilobytes * 1024;
}

/* A generator as small as that of the others. */
static HARNESS_UNUSED int64_t random_below(uint64_t *state, int64_t limit)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)(*state >> 33) % limit;
}

/* ---- results ---- */

static HARNESS_UNUSED void report(const char *name, double value, const char *unit)
{
    printf("{\"name\": \"%s\", \"value\": %.5g, \"unit\": \"%s\"}\n", name, value, unit);
}

/* For what never happened. */
static HARNESS_UNUSED void report_never(const char *name, const char *unit)
{
    printf("{\"name\": \"%s\", \"value\": null, \"unit\": \"%s\"}\n", name, unit);
}

static HARNESS_UNUSED void must(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "compare: %s\n", what);
    exit(1);
}

/* Nanoseconds that n operations take. */
static HARNESS_UNUSED int64_t timed(void (*round)(long n), long n)
{
    int64_t start = now_ns();
    round(n);
    return now_ns() - start;
}

/* Prints nanoseconds per operation; round does n of them. First more and more of them until they take a quarter of the
   span of 100 ms: that is the warm-up. */
static HARNESS_UNUSED void each(const char *name, void (*round)(long n))
{
    const int64_t span = 100000000;
    long n = given_n;
    if (n > 0) {
        timed(round, n / 10 + 1);
    } else {
        int64_t took;
        for (n = 16; (took = timed(round, n)) < span / 4; n *= 4)
            ;
        n = (long)((double)n * (double)span / (double)took);
        n = n > 0 ? n : 1;
    }
    report(name, (double)timed(round, n) / (double)n, "ns");
}

/* Prints milliseconds for the whole work, after once to warm up if that takes less than a second. */
static HARNESS_UNUSED void whole(const char *name, void (*work)(void))
{
    int64_t took = 0;
    for (int i = 0; i == 0 || (i == 1 && took < 1000000000); i++) {
        int64_t start = now_ns();
        work();
        took = now_ns() - start;
    }
    report(name, (double)took / 1e6, "ms");
}

/* ---- work that several programs do in the same way ---- */

static HARNESS_UNUSED uint32_t *numbers_up_to(long n)
{
    uint32_t *numbers = (uint32_t *)malloc((size_t)n * sizeof *numbers);
    must(numbers != NULL, "no memory");
    for (long i = 0; i < n; i++)
        numbers[i] = (uint32_t)i;
    return numbers;
}

static HARNESS_UNUSED uint64_t sum_of(const uint32_t *numbers, long n)
{
    uint64_t sum = 0;
    for (long i = 0; i < n; i++)
        sum += numbers[i];
    return sum;
}

static HARNESS_UNUSED int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The median of by how much a sleep of a millisecond takes longer. */
static HARNESS_UNUSED void report_overshoot(const char *name, void (*sleep_1ms)(void))
{
    enum { TIMES = 200 };
    static int64_t late[TIMES];
    for (int i = 0; i < TIMES; i++) {
        int64_t start = now_ns();
        sleep_1ms();
        late[i] = now_ns() - start - 1000000;
    }
    qsort(late, TIMES, sizeof *late, compare_ns);
    int64_t middle = late[TIMES / 2];
    report(name, (double)middle / 1e3, "us");
}

/* Finds the row that the command line asks for. */
static HARNESS_UNUSED const struct row *row_of(int argc, char **argv, const struct row *rows, size_t count)
{
    for (size_t i = 0; argc > 2 && i < count; i++)
        if (strcmp(rows[i].name, argv[1]) == 0) {
            threads = atoi(argv[2]);
            given_n = argc > 3 ? atol(argv[3]) : 0;
            return &rows[i];
        }
    fprintf(stderr, "usage: %s ROW THREADS [N]\n", argv[0]);
    exit(2);
}

#endif
