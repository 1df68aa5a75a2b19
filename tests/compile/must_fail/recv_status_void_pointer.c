/* weft_recv_status into a void pointer. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i;
    void *p = &i;
#ifdef MISUSE
    weft_recv_status(c, p);
#else
    weft_recv_status(c, &i);
#endif
}
