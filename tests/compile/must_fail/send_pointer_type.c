/* weft_send of a pointer to another type. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(char *) c = weft_chan_make(char *, 1);
    static int i;
    static char text[] = "text";
#ifdef MISUSE
    weft_send(c, &i);
#else
    weft_send(c, text);
#endif
}
