/* weft_on_timeout with a pointer. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    static int64_t limit = 5;
#ifdef MISUSE
    if (weft_select(weft_on_timeout(&limit)) < 0)
        return;
#else
    if (weft_select(weft_on_timeout(limit)) < 0)
        return;
#endif
}
