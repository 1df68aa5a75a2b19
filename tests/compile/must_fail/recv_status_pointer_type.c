/* weft_recv_status into another type than the channel carries. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i;
    long l;
#ifdef MISUSE
    weft_recv_status(c, &l);
#else
    weft_recv_status(c, &i);
#endif
}
