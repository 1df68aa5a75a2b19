/* bench.h — what every benchmark shares: the command line, clocks, medians, and the line that is printed.

     yield                  9.8 ns   spread 9.6..10.4   3.2 x bare switch   median of 7

   name, value, unit; the same as one JSON object with --json. Every program takes [n], --smoke (a tiny n, to see that
   it runs), --json, --rounds N, and --span MS: then each number is measured with as many operations as take about so
   long instead of with n. Words are names, or their first parts up to a dot: only what they name is measured. The bare
   switch is measured anew before every round, so that a ratio compares what the same machine did at the same time. */
#ifndef BENCH_H
#define BENCH_H

#include "bare_switch.h"
#include <weft.h>

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BENCH_UNUSED __attribute__((unused))
#define BENCH_MAX_ROUNDS 15

static struct {
    const char *program;
    long n;
    bool smoke, json;
    int rounds;
    long span_ms; /* 0: rounds have n operations */
    char **words; /* the other arguments */
    int word_count;
} bench;

/* [n] --smoke --json --rounds N --span MS, and words. */
static BENCH_UNUSED void bench_begin(int argc, char **argv, long n, long smoke_n)
{
    const char *slash = strrchr(argv[0], '/');
    bench.program = slash ? slash + 1 : argv[0];
    bench.words = argv;
    bench.rounds = 7;
    long given = 0, rounds = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0) {
            bench.smoke = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            bench.json = true;
        } else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
            rounds = atol(argv[++i]);
        } else if (strcmp(argv[i], "--span") == 0 && i + 1 < argc) {
            bench.span_ms = atol(argv[++i]);
        } else if (isdigit((unsigned char)argv[i][0]) && atol(argv[i]) > 0) {
            given = atol(argv[i]);
        } else if (argv[i][0] == '-') {
            fprintf(stderr, "usage: %s [n] [--smoke] [--json] [--rounds N] [--span MS] [name ...]\n", bench.program);
            exit(2);
        } else {
            bench.words[bench.word_count++] = argv[i];
        }
    }
    bench.n = given ? given : bench.smoke ? smoke_n : n;
    if (bench.smoke)
        bench.rounds = 3;
    if (rounds > 0)
        bench.rounds = rounds < BENCH_MAX_ROUNDS ? (int)rounds : BENCH_MAX_ROUNDS;
}

/* Whether the command line asks for this name, or for everything. */
static BENCH_UNUSED bool bench_wanted(const char *name)
{
    for (int i = 0; i < bench.word_count; i++) {
        size_t length = strlen(bench.words[i]);
        if (strncmp(name, bench.words[i], length) == 0 && (name[length] == '\0' || name[length] == '.'))
            return true;
    }
    return bench.word_count == 0;
}

/* Before the first call of weft. */
static BENCH_UNUSED void bench_procs(const char *procs)
{
    setenv("WEFT_PROCS", procs, 0);
}

/* ---- clocks and memory ---- */

static BENCH_UNUSED int64_t bench_clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static BENCH_UNUSED int64_t bench_now_ns(void)
{
    return bench_clock_ns(CLOCK_MONOTONIC);
}

/* User and system time of the process. */
static BENCH_UNUSED double bench_cpu_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

/* A number of /proc/self/status: "VmRSS:", "Threads:". */
static BENCH_UNUSED long bench_status(const char *key)
{
    char line[256];
    long value = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            value = atol(line + strlen(key));
    fclose(file);
    return value;
}

/* Resident memory and the page tables for it. */
static BENCH_UNUSED double bench_memory_bytes(void)
{
    return (double)(bench_status("VmRSS:") + bench_status("VmPTE:")) * 1024;
}

static BENCH_UNUSED void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static BENCH_UNUSED void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", bench.program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* ---- series of measurements ---- */

struct bench_series {
    double values[BENCH_MAX_ROUNDS], switches[BENCH_MAX_ROUNDS];
    int n, switch_n;
};

static BENCH_UNUSED int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static BENCH_UNUSED double bench_median(const double *values, int n)
{
    double sorted[BENCH_MAX_ROUNDS];
    memcpy(sorted, values, (size_t)n * sizeof *values);
    qsort(sorted, (size_t)n, sizeof *sorted, bench_compare);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static BENCH_UNUSED void bench_add(struct bench_series *series, double value)
{
    series->values[series->n++] = value;
}

static BENCH_UNUSED void bench_add_switch(struct bench_series *series)
{
    series->switches[series->switch_n++] = bare_switch_ns(bench.smoke ? 100 : 5000);
}

/* As many digits as mean something. */
static BENCH_UNUSED const char *bench_number(double value, char text[32])
{
    snprintf(text, 32, "%.*f", value >= 1000 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3, value);
    return text;
}

/* Prints the line; note is what a person should know beside it, or "". */
static BENCH_UNUSED void bench_print(const char *name, const char *unit, const struct bench_series *series, const char *note)
{
    double low = series->values[0], high = low, middle = bench_median(series->values, series->n);
    for (int i = 1; i < series->n; i++) {
        low = series->values[i] < low ? series->values[i] : low;
        high = series->values[i] > high ? series->values[i] : high;
    }
    double bare = series->switch_n ? bench_median(series->switches, series->switch_n) : 0;
    if (bench.json) {
        printf("{\"name\": \"%s\", \"value\": %.4g, \"unit\": \"%s\", \"min\": %.4g, \"max\": %.4g, \"rounds\": %d", name,
               middle, unit, low, high, series->n);
        if (bare > 0)
            printf(", \"switch_ns\": %.3f, \"ratio\": %.2f", bare, middle / bare);
        printf("}\n");
    } else {
        char a[32], b[32], c[32];
        printf("%-22s %10s %-5s", name, bench_number(middle, a), unit);
        if (series->n > 1)
            printf("   spread %s..%s", bench_number(low, b), bench_number(high, c));
        if (bare > 0)
            printf("   %.1f x bare switch", middle / bare);
        if (series->n > 1)
            printf("   median of %d", series->n);
        printf("%s%s\n", *note ? "   " : "", note);
    }
    fflush(stdout);
}

/* One number that was measured once. */
static BENCH_UNUSED void bench_print_value(const char *name, const char *unit, double value, const char *note)
{
    struct bench_series series = {.values = {value}, .n = 1};
    bench_print(name, unit, &series, note);
}

/* Warms up; how many operations a round has. */
static BENCH_UNUSED long bench_count(int64_t (*round)(long n))
{
    if (bench.span_ms == 0) {
        round(bench.n / 10 + 1);
        return bench.n;
    }
    int64_t span = bench.span_ms * 1000000, took;
    long n = 16;
    while ((took = round(n)) < span / 4)
        n *= 4;
    n = (long)((double)n * (double)span / (double)took);
    return n > 0 ? n : 1;
}

/* Nanoseconds per operation: round does n of them and returns the nanoseconds that they took. */
static BENCH_UNUSED void bench_rounds(struct bench_series *series, int64_t (*round)(long n))
{
    long n = bench_count(round);
    for (int i = 0; i < bench.rounds; i++) {
        bench_add_switch(series);
        bench_add(series, (double)round(n) / (double)n);
    }
}

/* Measures and prints them, if that is wanted. */
static BENCH_UNUSED void bench_each(const char *name, int64_t (*round)(long n))
{
    struct bench_series series = {0};
    if (!bench_wanted(name))
        return;
    bench_rounds(&series, round);
    bench_print(name, "ns", &series, "");
}

/* Prints milliseconds: work returns the nanoseconds that it took. */
static BENCH_UNUSED void bench_whole(const char *name, int64_t (*work)(void))
{
    struct bench_series series = {0};
    work();
    for (int i = 0; i < bench.rounds; i++)
        bench_add(&series, (double)work() / 1e6);
    bench_print(name, "ms", &series, "");
}

/* ---- processes of their own, for what can be measured once per process ---- */

/* Runs measure in a child that has not used weft yet, as its parent must not have either; fills count numbers. */
static BENCH_UNUSED void bench_in_child(void (*measure)(double *out), double *out, size_t count)
{
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0)
        bench_die("no pipe");
    pid_t child = fork();
    if (child < 0)
        bench_die("no process");
    if (child == 0) {
        close(ends[0]);
        measure(out);
        ssize_t written = write(ends[1], out, count * sizeof *out);
        exit(written == (ssize_t)(count * sizeof *out) ? 0 : 1);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], out, count * sizeof *out);
    close(ends[0]);
    int status;
    if (waitpid(child, &status, 0) != child || status != 0 || n != (ssize_t)(count * sizeof *out))
        bench_die("the measuring process failed");
}

#endif
