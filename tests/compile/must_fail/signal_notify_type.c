/* weft_signal_notify of a channel of something else than int. */
#include <weft.h>

void snippet(weft_chan(int) c, weft_chan(long) l, int *p);
void snippet(weft_chan(int) c, weft_chan(long) l, int *p)
{
    (void)c, (void)l, (void)p;
#ifdef MISUSE
    (void)weft_signal_notify(l, 1);
#else
    (void)weft_signal_notify(c, 1);
#endif
}
