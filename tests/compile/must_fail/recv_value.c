/* weft_recv into a value instead of its address. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i = 0;
#ifdef MISUSE
    weft_recv(c, i);
#else
    weft_recv(c, &i);
#endif
}
