/* The same index twice in one weft_select. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
#ifdef MISUSE
    if (weft_select([1] = weft_on_recv(c, NULL), [1] = weft_on_timeout(5)) < 0)
        return;
#else
    if (weft_select([1] = weft_on_recv(c, NULL), [2] = weft_on_timeout(5)) < 0)
        return;
#endif
}
