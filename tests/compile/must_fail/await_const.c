/* weft_await into a constant. */
#include <weft.h>

int job(void);

void snippet(void);
void snippet(void)
{
    static int i;
    const int *p = &i;
#ifdef MISUSE
    weft_await(weft_async(job), p);
#else
    weft_await(weft_async(job), p ? &i : NULL);
#endif
}
