/* weft_await into a value instead of its address. */
#include <weft.h>

int job(void);

void snippet(void);
void snippet(void)
{
    static int i;
#ifdef MISUSE
    weft_await(weft_async(job), i);
#else
    weft_await(weft_async(job), &i);
#endif
}
