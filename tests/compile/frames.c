/* frames.c — compiled twice, see frames.h. */
#include "frames.h"

void FRAME(weft_mutex *m, frame_fn next, int what)
{
    weft_scoped_lock(m);
    next(what);
}
