/* weft/time.h — durations and sleeping. A duration is an int64_t number of nanoseconds. */
#ifndef WEFT_TIME_H
#define WEFT_TIME_H

#include "macros.h"
#pragma GCC system_header /* see macros.h */

#define WEFT_NS INT64_C(1)
#define WEFT_US (1000 * WEFT_NS)
#define WEFT_MS (1000 * WEFT_US)
#define WEFT_SECOND (1000 * WEFT_MS)
#define WEFT_MINUTE (60 * WEFT_SECOND)

WEFT_BEGIN_DECLS_

/* The monotonic clock in nanoseconds (CLOCK_MONOTONIC). Never blocks. */
WEFT_API int64_t weft_now(void);
/* Sleeps for at least ns nanoseconds; ns <= 0 returns at once, INT64_MAX never wraps. Blocks only the goroutine. 0. */
WEFT_API int weft_sleep(int64_t ns);

WEFT_END_DECLS_
#endif
