/* weft_try_recv into another type than the channel carries. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i;
    long l;
#ifdef MISUSE
    weft_try_recv(c, &l);
#else
    weft_try_recv(c, &i);
#endif
}
