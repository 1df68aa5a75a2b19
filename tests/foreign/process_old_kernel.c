/* process_old_kernel.c — conformance/process.c once more on a kernel that knows no pidfd_open. */
#define _GNU_SOURCE
#include "../filter.h"

#define WITHOUT_PIDFD 1
#include "../conformance/process.c"

/* Before weft, or anything else, can ask. */
static __attribute__((constructor)) void refuse_pidfds(void)
{
    test_refuse_call(434); /* pidfd_open, on every machine */
}
