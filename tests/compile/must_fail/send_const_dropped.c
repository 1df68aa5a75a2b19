/* weft_send that would drop a const. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    weft_chan(char *) c = weft_chan_make(char *, 1);
    static const char constant[] = "text";
    static char text[] = "text";
#ifdef MISUSE
    weft_send(c, constant);
#else
    weft_send(c, text);
#endif
}
