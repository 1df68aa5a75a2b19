/* rand.h — a small fast generator, for fairness and not for secrets. George Marsaglia, "Xorshift RNGs", J. Stat. Softw.,
   2003. */
#ifndef WI_RAND_H
#define WI_RAND_H

#include <stdint.h>

/* *state must not be 0. */
static inline uint32_t wi_random(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

/* Uniform in 0 .. n - 1, up to a bias of n / 2^32. */
static inline uint32_t wi_random_below(uint32_t *state, uint32_t n)
{
    return (uint32_t)(((uint64_t)wi_random(state) * n) >> 32);
}

#endif
