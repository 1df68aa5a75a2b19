/* weft_send of nothing. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
#ifdef MISUSE
    weft_send(c);
#else
    weft_send(c, 1);
#endif
}
