/* chan_no_membarrier.c — stress/chan_stress.c once more where membarrier is refused: then every light barrier is a fence. */
#define _GNU_SOURCE
#include "../filter.h"

#include "../stress/chan_stress.c"

/* Before weft, or anything else, can ask. */
static __attribute__((constructor)) void refuse_membarrier(void)
{
    test_refuse_call(SYS_membarrier);
}
