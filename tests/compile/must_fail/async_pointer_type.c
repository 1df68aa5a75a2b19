/* weft_async with a pointer to another type. */
#include <weft.h>

int job(int *p);

void snippet(void);
void snippet(void)
{
    static int i;
    static long l;
#ifdef MISUSE
    weft_future_free(weft_async(job, &l));
#else
    weft_future_free(weft_async(job, l ? &i : NULL));
#endif
}
