/* weft_future_free of something else. */
#include <weft.h>

int job(void);

void snippet(void);
void snippet(void)
{
    static int i;
#ifdef MISUSE
    weft_future_free(&i);
#else
    weft_future_free(i ? weft_async(job) : NULL);
#endif
}
