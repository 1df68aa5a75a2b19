/* weft_recv into a void pointer. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i;
    void *p = &i;
#ifdef MISUSE
    weft_recv(c, p);
#else
    weft_recv(c, &i);
#endif
}
