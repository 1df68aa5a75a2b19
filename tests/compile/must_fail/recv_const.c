/* weft_recv into a constant. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i = 0;
    const int constant = i;
#ifdef MISUSE
    weft_recv(c, &constant);
#else
    weft_recv(c, &i);
#endif
}
