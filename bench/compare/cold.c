/* cold.c — starts a program some times and waits for its end: the mean of the times that took, in ms, and its most
   resident memory, in KiB. Small itself, because the kernel counts what a child had before its exec.

   usage: cold TIMES PROGRAM... */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
    int times = argc > 2 ? atoi(argv[1]) : 0;
    if (times < 1) {
        fputs("usage: cold TIMES PROGRAM...\n", stderr);
        return 2;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    struct rusage usage = {0};
    double start = now_ms();
    for (int i = 0; i < times; i++) {
        pid_t child;
        int status = 0;
        if (posix_spawn(&child, argv[2], &actions, NULL, argv + 2, environ) != 0 ||
            wait4(child, &status, 0, &usage) != child || status != 0) {
            fprintf(stderr, "cold: %s failed\n", argv[2]);
            return 1;
        }
    }
    printf("%.4f %ld\n", (now_ms() - start) / times, usage.ru_maxrss);
    return 0;
}
