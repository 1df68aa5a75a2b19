/* Something else than a case in weft_select. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
#ifdef MISUSE
    if (weft_select(weft_on_recv(c, NULL), c) < 0)
        return;
#else
    if (weft_select(weft_on_recv(c, NULL)) < 0)
        return;
#endif
}
