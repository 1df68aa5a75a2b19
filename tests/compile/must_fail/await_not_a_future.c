/* weft_await of something else. */
#include <weft.h>

int job(void);

void snippet(void);
void snippet(void)
{
    static int i;
    static int *p = &i;
#ifdef MISUSE
    weft_await(p, &i);
#else
    weft_await(weft_async(job), p);
#endif
}
