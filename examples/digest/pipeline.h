/* What the goroutines of digest share with each other; the plain C parts do without it, and without weft. */
#ifndef DIGEST_PIPELINE_H
#define DIGEST_PIPELINE_H

#include "digest.h"
#include <weft.h>

/* progress.c: a goroutine that keeps a line on standard error up to date until its context ends. */
int progress(struct tally *tally);

#endif
