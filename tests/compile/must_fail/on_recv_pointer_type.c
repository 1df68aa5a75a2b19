/* weft_on_recv into another type than the channel carries. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i;
    long l;
#ifdef MISUSE
    if (weft_select(weft_on_recv(c, &l)) < 0)
        return;
#else
    if (weft_select(weft_on_recv(c, &i)) < 0)
        return;
#endif
}
