/* weft_send of two values. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
#ifdef MISUSE
    weft_send(c, 1, 2);
#else
    weft_send(c, 1);
#endif
}
