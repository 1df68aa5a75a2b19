/* weft_signal_ignore with a pointer for a signal. */
#include <weft.h>

void snippet(weft_chan(int) c, weft_chan(long) l, int *p);
void snippet(weft_chan(int) c, weft_chan(long) l, int *p)
{
    (void)c, (void)l, (void)p;
#ifdef MISUSE
    (void)weft_signal_ignore(1, p);
#else
    (void)weft_signal_ignore(1, *p);
#endif
}
