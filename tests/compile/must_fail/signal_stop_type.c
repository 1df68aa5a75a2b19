/* weft_signal_stop of a channel of something else than int. */
#include <weft.h>

void snippet(weft_chan(int) c, weft_chan(long) l, int *p);
void snippet(weft_chan(int) c, weft_chan(long) l, int *p)
{
    (void)c, (void)l, (void)p;
#ifdef MISUSE
    weft_signal_stop(l);
#else
    weft_signal_stop(c);
#endif
}
