/* weft_on_send of two values. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
#ifdef MISUSE
    if (weft_select(weft_on_send(c, 1, 2)) < 0)
        return;
#else
    if (weft_select(weft_on_send(c, 1)) < 0)
        return;
#endif
}
