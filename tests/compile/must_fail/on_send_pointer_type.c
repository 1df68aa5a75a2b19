/* weft_on_send of a pointer to another type. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(char *) c = weft_chan_make(char *, 1);
    static int i;
    static char text[] = "text";
#ifdef MISUSE
    if (weft_select(weft_on_send(c, &i)) < 0)
        return;
#else
    if (weft_select(weft_on_send(c, text)) < 0)
        return;
#endif
}
