/* weft_on_recv into a void pointer. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i;
    void *p = &i;
#ifdef MISUSE
    if (weft_select(weft_on_recv(c, p)) < 0)
        return;
#else
    if (weft_select(weft_on_recv(c, &i)) < 0)
        return;
#endif
}
