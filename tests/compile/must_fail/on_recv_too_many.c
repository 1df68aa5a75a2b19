/* weft_on_recv with an argument too many. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i;
    bool ok;
#ifdef MISUSE
    if (weft_select(weft_on_recv(c, &i, &ok, 1)) < 0)
        return;
#else
    if (weft_select(weft_on_recv(c, &i, &ok)) < 0)
        return;
#endif
}
