/* weft_on_recv with a flag that is no bool. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    int i;
    bool ok;
    int flag;
#ifdef MISUSE
    if (weft_select(weft_on_recv(c, &i, &flag)) < 0)
        return;
#else
    if (weft_select(weft_on_recv(c, &i, &ok)) < 0)
        return;
#endif
}
