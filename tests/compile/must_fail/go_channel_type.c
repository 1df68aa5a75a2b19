/* weft_go with a channel of another element type. */
#include <weft.h>

void work(weft_chan(long) results);

void snippet(void);
void snippet(void)
{
    weft_chan(int) ints = weft_chan_make(int, 1);
    weft_chan(long) longs = weft_chan_make(long, 1);
#ifdef MISUSE
    weft_go(work, ints);
#else
    weft_go(work, longs);
#endif
}
