/* weft_future_ready of something else. */
#include <weft.h>

int job(void);

void snippet(void);
void snippet(void)
{
    static weft_chan(int) c;
#ifdef MISUSE
    if (weft_future_ready(c))
        weft_close(c);
#else
    if (weft_future_ready(weft_async(job)))
        weft_close(c);
#endif
}
