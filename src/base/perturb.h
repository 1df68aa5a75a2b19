/* perturb.h — a build that makes rare interleavings frequent (WEFT_PERTURB): at marked points a thread sometimes gives up
   its core, spins or sleeps. The decisions come from a seed, which can be set (WEFT_PERTURB_SEED) and printed
   (WEFT_PERTURB_VERBOSE=1); with one worker and one thread a run repeats exactly, with more it is as repeatable as the
   kernel. */
#ifndef WI_PERTURB_H
#define WI_PERTURB_H

#include <stdbool.h>

#ifdef WEFT_PERTURB
/* Between two steps of a protocol. */
void wi_perturb(void);
/* A decision that may go either way: true one time in n. */
bool wi_perturb_chance(unsigned n);
#else
static inline void wi_perturb(void)
{
}
static inline bool wi_perturb_chance(unsigned n)
{
    (void)n;
    return false;
}
#endif

#endif
