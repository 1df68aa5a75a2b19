/* bare_switch.h — the physical limit beside which the benchmarks print: one switch between two stacks, nothing else. */
#ifndef BARE_SWITCH_H
#define BARE_SWITCH_H

#include <stdint.h>
#include <string.h>
#include <time.h>

void bare_switch(void **save, void *load);
void bare_start(void);

/* A context on the stack that ends at top (aligned to 16) that calls entry(argument), which must not return. */
static inline void *bare_context_make(char *top, void (*entry)(void *argument), void *argument)
{
#if defined(__x86_64__)
    enum { ENTRY = 4, ARGUMENT = 3, GO_ON = 6, WORDS = 7 + 1 /* keeps the stack aligned to 16 at the call */ };
#else
    enum { ENTRY = 8, ARGUMENT = 9, GO_ON = 19, WORDS = 20 };
#endif
    uint64_t *saved = (uint64_t *)(void *)top - WORDS;
#if defined(__x86_64__)
    saved++;
#endif
    memset(saved, 0, (size_t)(top - (char *)saved));
    saved[ENTRY] = (uint64_t)(uintptr_t)entry;
    saved[ARGUMENT] = (uint64_t)(uintptr_t)argument;
    saved[GO_ON] = (uint64_t)(uintptr_t)bare_start;
    return saved;
}

struct bare_pair {
    void *here, *there; /* the measuring context and the one that only switches back */
};

static inline void bare_switch_back(void *argument)
{
    struct bare_pair *pair = argument;
    for (;;)
        bare_switch(&pair->there, pair->here);
}

/* Nanoseconds that one bare switch takes: the best of a few runs of `rounds` there-and-backs. */
static inline double bare_switch_ns(unsigned rounds)
{
    static char stack[16384] __attribute__((aligned(64)));
    struct bare_pair pair = {0};
    pair.there = bare_context_make(stack + sizeof stack, bare_switch_back, &pair);
    double best = 1e9;
    for (int run = 0; run < 5; run++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (unsigned i = 0; i < rounds; i++)
            bare_switch(&pair.here, pair.there);
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ns = (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
        if (ns / rounds / 2 < best)
            best = ns / rounds / 2;
    }
    return best;
}

#endif
