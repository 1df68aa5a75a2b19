/* weft_await through a void pointer. */
#include <weft.h>

int job(void);

void snippet(void);
void snippet(void)
{
    static int i;
    void *p = &i;
#ifdef MISUSE
    weft_await(weft_async(job), p);
#else
    weft_await(weft_async(job), (int *)p);
#endif
}
