/* weft_send into something that is no channel. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    static int i;
#ifdef MISUSE
    weft_send(&i, 1);
#else
    weft_send(c, i);
#endif
}
