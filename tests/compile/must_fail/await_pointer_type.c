/* weft_await into another type. */
#include <weft.h>

int job(void);

void snippet(void);
void snippet(void)
{
    static int i;
    static long l;
#ifdef MISUSE
    weft_await(weft_async(job), &l);
#else
    weft_await(weft_async(job), l ? &i : NULL);
#endif
}
