/* weft_send of an integer into a channel of pointers. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(char *) c = weft_chan_make(char *, 1);
    static char text[] = "text";
#ifdef MISUSE
    weft_send(c, text[0]);
#else
    weft_send(c, text);
#endif
}
